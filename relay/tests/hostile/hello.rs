//! Hellos that break the tunnel's protocol.

use crate::{
    client::{RawClient, frame, key, start, token},
    fixture::publish,
    relay_fixture::RelayFixture,
};
use adit_testkit::http::Service;
use aws_lc_rs::signature::KeyPair;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

async fn connect(fixture: &RelayFixture) -> RawClient {
    RawClient::connect(&fixture.relay, &fixture.region.ca(), key()).await
}

#[tokio::test]
async fn a_malformed_hello_is_refused_with_a_reason() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let cases: [(&str, Vec<u8>); 9] = [
        ("a length of 0", vec![0; 4]),
        ("a length of 64 KiB and 1", vec![0, 1, 0, 1]),
        ("a length of 4 GiB", vec![0xff; 4]),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("no JSON", frame(b"{")),
        ("no object", frame(b"[]")),
        ("deep JSON", frame("[".repeat(60_000).as_bytes())),
        ("deep JSON in a field", frame(format!("{{\"versions\":{}", "[".repeat(60_000)).as_bytes())),
        ("no UTF-8", frame(b"{\"versions\":\"\xff\"}")),
    ];
    for (what, bytes) in cases {
        let mut client = connect(&fixture).await;
        let answer = client.send(&bytes).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!("bad_hello")), "{what}");
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {answer}");
    }
    fixture.assert_serves().await;
}

/// A field of the hello, what is wrong with the value, the value, the code of the refusal, and a word of its message.
type Case = (&'static str, &'static str, Value, &'static str, &'static str);

fn wrong_versions_and_keys() -> Vec<Case> {
    let base64 = |bytes: &[u8]| json!(BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let another_key = base64(key().public_key().as_ref());
    let long = json!("x".repeat(40_000));
    vec![
        ("versions", "another version", json!([99]), "upgrade_required", "clientVersion"),
        ("versions", "no version", json!([]), "upgrade_required", "clientVersion"),
        ("versions", "no list", json!("1"), "bad_hello", ""),
        ("versions", "a version that is not a number", json!([-1]), "bad_hello", ""),
        ("mux", "another mux", json!(["yamux"]), "upgrade_required", "clientVersion"),
        ("key", "an empty key", json!(""), "possession_failed", "signature"),
        ("key", "a short key", json!("AAAA"), "possession_failed", "signature"),
        ("key", "no base64", json!("*"), "possession_failed", "signature"),
        ("key", "another key", another_key, "possession_failed", "signature"),
        ("key", "a key of small order", base64(&[0; 32]), "possession_failed", "signature"),
        ("signature", "no signature", json!(""), "possession_failed", "signature"),
        ("signature", "zeros", base64(&[0; 64]), "possession_failed", "signature"),
        ("signature", "a long signature", long, "possession_failed", "signature"),
    ]
}

fn wrong_proofs_and_tunnels() -> Vec<Case> {
    let tunnel = |n: usize| json!({"tunnel": format!("tn_{n}"), "kind": "http"});
    let many: Vec<Value> = (0..101).map(tunnel).collect();
    let relays: Vec<String> = (0..17).map(|n| format!("r-{n}")).collect();
    let long = "x".repeat(40_000);
    let credential = |text: &str| json!({"type": "credential", "credential": text});
    let unknown_kind = json!([{"tunnel": "tn_1", "kind": "sctp"}]);
    let port = json!([{"tunnel": "tn_1", "kind": "tcp", "port": 65536}]);
    vec![
        ("proof", "an unknown proof", json!({"type": "password"}), "bad_hello", ""),
        ("proof", "an empty token", token(""), "token_missing", "proof.token"),
        ("proof", "not a token", token("x"), "token_malformed", ""),
        ("proof", "a long token", token(&long), "token_malformed", ""),
        ("proof", "a made-up credential", credential("AAAA"), "credential_invalid", ""),
        ("proof", "a long credential", credential(&long), "credential_invalid", ""),
        ("instance", "an instance with capitals", json!("IN"), "bad_hello", "instance"),
        ("instance", "a long instance", json!("x".repeat(65)), "bad_hello", "instance"),
        ("tunnels", "many tunnels", json!(many), "bad_hello", "tunnels"),
        ("tunnels", "a tunnel twice", json!([tunnel(1), tunnel(1)]), "bad_hello", "tunnels[1].tunnel"),
        ("tunnels", "an unknown kind", unknown_kind, "bad_hello", "kind"),
        ("tunnels", "a port out of range", port, "bad_hello", ""),
        ("avoid", "many relays", json!(relays), "bad_hello", "avoid"),
    ]
}

#[tokio::test]
async fn a_wrong_hello_is_refused_and_changes_nothing() {
    let service = Service::start().await;
    let fixture = publish(service.address()).await;
    let unused = fixture.region.token(&fixture.relay, "foe", &[]);
    for (field, what, value, code, named) in
        wrong_versions_and_keys().into_iter().chain(wrong_proofs_and_tunnels())
    {
        let mut client = connect(&fixture).await;
        let mut hello = client.hello(token(&unused));
        hello[field] = value;
        let answer = client.send_hello(&hello).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!(code)), "{what}: {answer}");
        let text = answer["message"].as_str().unwrap();
        assert!(text.contains(named) && text.len() < 1000, "{what}: {text}");
    }
    for field in ["versions", "mux", "clientVersion", "proof", "key", "signature", "instance"] {
        let mut client = connect(&fixture).await;
        let mut hello = client.hello(token(&unused));
        hello.as_object_mut().unwrap().remove(field);
        let answer = client.send_hello(&hello).await.unwrap();
        assert_eq!(answer["code"], "bad_hello", "without {field}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{answer}");
    }
    // None of these has used the token up, nor taken the name.
    let mut client = connect(&fixture).await;
    let hello = client.hello(token(&unused));
    let welcome = client.send_hello(&hello).await.unwrap();
    assert_eq!((&welcome["type"], &welcome["refused"]), (&json!("welcome"), &json!([])), "{welcome}");
    fixture.assert_serves().await;
}

#[tokio::test]
async fn what_was_overheard_is_of_no_use() {
    let (_service, fixture, hostile) = start().await;
    let ca = fixture.region.ca();
    // The hello of one connection on another: its signature is for the first one's keys.
    let first = hostile.connect(&fixture).await;
    let hello = first.hello(hostile.credential.clone());
    let mut second = hostile.connect(&fixture).await;
    assert_eq!(second.send_hello(&hello).await.unwrap()["code"], "possession_failed");
    // The credential with a key of one's own.
    let mut thief = RawClient::connect(&fixture.relay, &ca, key()).await;
    let hello = thief.hello(hostile.credential.clone());
    assert_eq!(thief.send_hello(&hello).await.unwrap()["code"], "possession_failed");
    // A token that has bought a credential already.
    let used = fixture.region.token(&fixture.relay, "foe", &[]);
    let mut owner = RawClient::connect(&fixture.relay, &ca, key()).await;
    let hello = owner.hello(token(&used));
    assert_eq!(owner.send_hello(&hello).await.unwrap()["type"], "welcome");
    let mut thief = RawClient::connect(&fixture.relay, &ca, key()).await;
    let hello = thief.hello(token(&used));
    assert_eq!(thief.send_hello(&hello).await.unwrap()["code"], "token_used");
    // The name of another account.
    let mut thief = hostile.connect(&fixture).await;
    let mut hello = thief.hello(hostile.credential.clone());
    hello["tunnels"] = json!([{"tunnel": "tn_1", "kind": "http", "name": "shop"}]);
    let welcome = thief.send_hello(&hello).await.unwrap();
    assert_eq!(welcome["refused"][0]["code"], "name_taken", "{welcome}");
    // A ticket for it that nobody has sealed.
    let mut thief = hostile.connect(&fixture).await;
    let mut hello = thief.hello(hostile.credential.clone());
    hello["tunnels"] = json!([{"tunnel": "tn_1", "kind": "http", "name": "shop", "ticket": "AAAA"}]);
    let welcome = thief.send_hello(&hello).await.unwrap();
    assert_eq!(welcome["refused"][0]["code"], "name_taken", "{welcome}");
    fixture.assert_serves().await;
}

#[tokio::test]
async fn names_that_are_none_are_refused_one_by_one() {
    let (_service, fixture, hostile) = start().await;
    let mut client = hostile.connect(&fixture).await;
    let bad = [
        "",
        "-",
        "-a",
        "a-",
        "a_b",
        "a.b",
        "a b",
        "*",
        "*.a",
        "a.",
        "A",
        "bücher",
        "аdmin",
        "xn--",
        "a\0",
        "a\r\nb",
        "../a",
        "a/b",
        "\u{202e}a",
    ];
    let long = "a".repeat(64);
    let reserved = ["www", "mail", "connect", "mta-sts", "wpad", "adit-probe-1"];
    let names: Vec<&str> = bad.into_iter().chain([long.as_str()]).chain(reserved).collect();
    let tunnels: Vec<Value> = names
        .iter()
        .enumerate()
        .map(|(n, name)| json!({"tunnel": format!("tn_{n}"), "kind": "http", "name": name}))
        .collect();
    let mut hello = client.hello(hostile.credential.clone());
    hello["tunnels"] = json!(tunnels);
    let welcome = client.send_hello(&hello).await.unwrap();
    assert_eq!(welcome["opened"], json!([]), "{welcome}");
    let refused = welcome["refused"].as_array().unwrap();
    assert_eq!(refused.len(), names.len());
    for (name, refused) in names.iter().zip(refused) {
        let expected = if reserved.contains(name) { "name_reserved" } else { "name_invalid" };
        assert_eq!(refused["code"], expected, "{name:?}: {refused}");
    }
}
