//! Clients that break the tunnel's protocol: before they are known, and after.

use crate::place::{Place, tls};
use adit_protocol::{
    ToRelay, control,
    possession::{EXPORTER_BYTES, EXPORTER_LABEL, message},
};
use adit_testkit::{
    http::{Consumer, Http2, Http2Frame, Service, frames::kind},
    region::Relay,
};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

pub(crate) const EVIL: &str = "evil.adit.localhost";

/// A client that says what a test wants it to.
struct Client {
    io: TlsStream<TcpStream>,
    key: Ed25519KeyPair,
}

impl Client {
    async fn connect(relay: &Relay, ca: &Path, key: Ed25519KeyPair) -> Self {
        let tcp = TcpStream::connect(relay.https()).await.unwrap();
        Self { io: tls(ca, b"adit/1", "connect.adit.localhost", tcp).await.unwrap(), key }
    }

    fn signature(&self) -> String {
        let exporter =
            self.io.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).unwrap();
        BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(&message(&exporter)))
    }

    /// A right hello with this proof.
    fn hello(&self, proof: Value) -> Value {
        json!({
            "versions": [1], "mux": ["h2"], "clientVersion": "0.1.0", "proof": proof,
            "key": BASE64_URL_SAFE_NO_PAD.encode(self.key.public_key()), "signature": self.signature(),
            "instance": "in_evil", "tunnels": [{"tunnel": "tn_1", "kind": "http", "name": "evil"}],
        })
    }

    /// Sends these bytes and reads the answer; `None` when the relay ends the connection without one.
    async fn say(&mut self, bytes: &[u8]) -> Option<Value> {
        // The relay may have heard enough before it has read all.
        let _ = self.io.write_all(bytes).await;
        let _ = self.io.flush().await;
        let reading = async {
            let length = self.io.read_u32().await.ok()?;
            let mut json = vec![0; length as usize];
            self.io.read_exact(&mut json).await.ok()?;
            Some(serde_json::from_slice(&json).unwrap())
        };
        tokio::time::timeout(Duration::from_secs(30), reading).await.expect("an answer or an end")
    }

    async fn greet(&mut self, hello: &Value) -> Option<Value> {
        self.say(&frame(&serde_json::to_vec(hello).unwrap())).await
    }
}

fn frame(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u32).to_be_bytes()[..], json].concat()
}

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::generate().unwrap()
}

fn token(token: &str) -> Value {
    json!({"type": "token", "token": token})
}

/// The place, and a credential of another account with its key.
pub(crate) struct Foe {
    key: Vec<u8>,
    credential: Value,
}

impl Foe {
    async fn new(place: &Place) -> Self {
        let key = key();
        let document = key.to_pkcs8v1().unwrap().as_ref().to_vec();
        let mut client = Client::connect(&place.relay, &place.region.ca(), key).await;
        let mut hello = client.hello(token(&place.region.token(&place.relay, "foe", &[])));
        hello["tunnels"] = json!([]);
        let welcome = client.greet(&hello).await.unwrap();
        assert_eq!(welcome["type"], "welcome", "{welcome}");
        // Its first session ends before a test counts any.
        let mut http2 = Http2::server(client.io, &[]).await.unwrap();
        let control = http2.receive_kind(kind::HEADERS).await.unwrap();
        http2.send(&Http2Frame::headers(control.stream, 0x1, &[(":status", "404")])).await.unwrap();
        while http2.receive().await.is_ok() {}
        Self { key: document, credential: json!({"type": "credential", "credential": welcome["credential"]}) }
    }

    async fn connect(&self, place: &Place) -> Client {
        let key = Ed25519KeyPair::from_pkcs8(&self.key).unwrap();
        Client::connect(&place.relay, &place.region.ca(), key).await
    }

    /// What it is answered when it comes with its credential and asks for these tunnels.
    pub(crate) async fn asks(&self, place: &Place, tunnels: &Value) -> Value {
        let mut client = self.connect(place).await;
        let mut hello = client.hello(self.credential.clone());
        hello["tunnels"] = tunnels.clone();
        client.greet(&hello).await.unwrap()
    }

    /// What somebody with a key of its own is answered to a token.
    pub(crate) async fn arrives(place: &Place, text: &str) -> Value {
        let mut client = Client::connect(&place.relay, &place.region.ca(), key()).await;
        let hello = client.hello(token(text));
        client.greet(&hello).await.unwrap()
    }

    /// A client that has been let in.
    pub(crate) async fn enter(&self, place: &Place) -> TlsStream<TcpStream> {
        let mut client = self.connect(place).await;
        let hello = client.hello(self.credential.clone());
        let welcome = client.greet(&hello).await.unwrap();
        assert_eq!(
            (&welcome["type"], welcome["opened"].as_array().map(Vec::len)),
            (&json!("welcome"), Some(1))
        );
        client.io
    }

    /// The same, with the control stream asked for; frame by frame from there. Gives also that stream.
    async fn asked(&self, place: &Place, settings: &[(u16, u32)]) -> (Http2<TlsStream<TcpStream>>, u32) {
        let io = self.enter(place).await;
        let mut http2 = Http2::server(io, settings).await.unwrap();
        let control = http2.receive_kind(kind::HEADERS).await.unwrap();
        (http2, control.stream)
    }

    /// The same, with the control stream open.
    pub(crate) async fn frames(&self, place: &Place, settings: &[(u16, u32)]) -> Http2<TlsStream<TcpStream>> {
        let (mut http2, control) = self.asked(place, settings).await;
        http2.send(&Http2Frame::headers(control, 0, &[(":status", "200")])).await.unwrap();
        http2
    }
}

pub(crate) async fn start() -> (Service, Place, Foe) {
    let service = Service::start().await;
    let place = Place::start(service.address()).await;
    let foe = Foe::new(&place).await;
    (service, place, foe)
}

#[tokio::test]
async fn a_client_that_hears_that_its_tunnel_is_open_can_rely_on_it() {
    let (_service, place, foe) = start().await;
    let (sessions, tunnels) = (place.number("adit_sessions_open"), place.number("adit_tunnels_open"));
    let (mut http2, control) = foe.asked(&place, &[]).await;
    // It says that its tunnel is open when it is asked for the control stream, before the relay has its answer.
    assert_eq!(place.number("adit_sessions_open"), sessions + 1);
    assert_eq!(place.number("adit_tunnels_open"), tunnels + 1);
    let consumer = Consumer::plain(place.relay.http());
    let asking = tokio::spawn(async move { consumer.get(EVIL, "/").await });
    let request = http2.receive_kind(kind::HEADERS).await.unwrap();
    assert!(request.stream > control, "{} after {control}", request.stream);
    http2.send(&Http2Frame::headers(request.stream, 0x5, &[(":status", "204")])).await.unwrap();
    assert_eq!(asking.await.unwrap().unwrap().status, 204);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table: one wrong hello after another")]
async fn a_hello_that_is_wrong_is_refused_with_a_reason_and_changes_nothing() {
    let service = Service::start().await;
    let place = Place::start(service.address()).await;
    let ca = place.region.ca();
    let unused = place.region.token(&place.relay, "foe", &[]);
    let fresh = async || Client::connect(&place.relay, &ca, key()).await;

    let raw: [(&str, Vec<u8>); 9] = [
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
    for (what, bytes) in raw {
        let answer = fresh().await.say(&bytes).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(
            (&answer["type"], &answer["code"]),
            (&json!("refused"), &json!("bad_hello")),
            "{what}: {answer}"
        );
        assert!(answer["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {answer}");
    }

    let tunnel = |n: usize| json!({"tunnel": format!("tn_{n}"), "kind": "http"});
    let many: Vec<Value> = (0..101).map(tunnel).collect();
    let relays: Vec<String> = (0..17).map(|n| format!("r-{n}")).collect();
    let long = "x".repeat(40_000);
    let cases: Vec<(&str, &str, Value, &str, &str)> = vec![
        ("versions", "another version", json!([99]), "upgrade_required", "clientVersion"),
        ("versions", "no version", json!([]), "upgrade_required", "clientVersion"),
        ("versions", "no list", json!("1"), "bad_hello", ""),
        ("versions", "a version that is no number", json!([-1]), "bad_hello", ""),
        ("mux", "another mux", json!(["yamux"]), "upgrade_required", "clientVersion"),
        ("key", "an empty key", json!(""), "possession_failed", "signature"),
        ("key", "a short key", json!("AAAA"), "possession_failed", "signature"),
        ("key", "no base64", json!("*"), "possession_failed", "signature"),
        (
            "key",
            "another key",
            json!(BASE64_URL_SAFE_NO_PAD.encode(key().public_key())),
            "possession_failed",
            "signature",
        ),
        (
            "key",
            "a key of small order",
            json!(BASE64_URL_SAFE_NO_PAD.encode([0; 32])),
            "possession_failed",
            "signature",
        ),
        ("signature", "no signature", json!(""), "possession_failed", "signature"),
        (
            "signature",
            "zeros",
            json!(BASE64_URL_SAFE_NO_PAD.encode([0; 64])),
            "possession_failed",
            "signature",
        ),
        ("signature", "a long signature", json!(long), "possession_failed", "signature"),
        ("proof", "an unknown proof", json!({"type": "password"}), "bad_hello", ""),
        ("proof", "an empty token", token(""), "token_missing", "proof.token"),
        ("proof", "no token", token("x"), "token_malformed", ""),
        ("proof", "a long token", token(&long), "token_malformed", ""),
        (
            "proof",
            "a credential of nobody's",
            json!({"type": "credential", "credential": "AAAA"}),
            "credential_invalid",
            "",
        ),
        (
            "proof",
            "a long credential",
            json!({"type": "credential", "credential": long}),
            "credential_invalid",
            "",
        ),
        ("instance", "an instance with capitals", json!("IN"), "bad_hello", "instance"),
        ("instance", "a long instance", json!("x".repeat(65)), "bad_hello", "instance"),
        ("tunnels", "many tunnels", json!(many), "bad_hello", "tunnels"),
        ("tunnels", "a tunnel twice", json!([tunnel(1), tunnel(1)]), "bad_hello", "tunnels[1].tunnel"),
        ("tunnels", "an unknown kind", json!([{"tunnel": "tn_1", "kind": "udp"}]), "bad_hello", "kind"),
        (
            "tunnels",
            "a port that is none",
            json!([{"tunnel": "tn_1", "kind": "tcp", "port": 65536}]),
            "bad_hello",
            "",
        ),
        ("avoid", "many relays", json!(relays), "bad_hello", "avoid"),
    ];
    for (field, what, value, code, named) in cases {
        let mut client = fresh().await;
        let mut hello = client.hello(token(&unused));
        hello[field] = value;
        let answer = client.greet(&hello).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!(code)), "{what}: {answer}");
        let text = answer["message"].as_str().unwrap();
        assert!(text.contains(named) && text.len() < 1000, "{what}: {text}");
    }
    for field in ["versions", "mux", "clientVersion", "proof", "key", "signature", "instance"] {
        let mut client = fresh().await;
        let mut hello = client.hello(token(&unused));
        hello.as_object_mut().unwrap().remove(field);
        let answer = client.greet(&hello).await.unwrap();
        assert_eq!(answer["code"], "bad_hello", "without {field}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(field), "{answer}");
    }
    // None of these has used the token up, nor taken the name.
    let mut client = fresh().await;
    let hello = client.hello(token(&unused));
    let welcome = client.greet(&hello).await.unwrap();
    assert_eq!((&welcome["type"], &welcome["refused"]), (&json!("welcome"), &json!([])), "{welcome}");
    place.still_serves().await;
}

#[tokio::test]
async fn what_was_overheard_is_of_no_use() {
    let (_service, place, foe) = start().await;
    let ca = place.region.ca();
    // The hello of one connection on another: its signature is for the first one's keys.
    let first = foe.connect(&place).await;
    let hello = first.hello(foe.credential.clone());
    let mut second = foe.connect(&place).await;
    assert_eq!(second.greet(&hello).await.unwrap()["code"], "possession_failed");
    // The credential with a key of one's own.
    let mut thief = Client::connect(&place.relay, &ca, key()).await;
    let hello = thief.hello(foe.credential.clone());
    assert_eq!(thief.greet(&hello).await.unwrap()["code"], "possession_failed");
    // A token that has bought a credential already.
    let used = place.region.token(&place.relay, "foe", &[]);
    let mut owner = Client::connect(&place.relay, &ca, key()).await;
    let hello = owner.hello(token(&used));
    assert_eq!(owner.greet(&hello).await.unwrap()["type"], "welcome");
    let mut thief = Client::connect(&place.relay, &ca, key()).await;
    let hello = thief.hello(token(&used));
    assert_eq!(thief.greet(&hello).await.unwrap()["code"], "token_used");
    // The name of another account.
    let mut thief = foe.connect(&place).await;
    let mut hello = thief.hello(foe.credential.clone());
    hello["tunnels"] = json!([{"tunnel": "tn_1", "kind": "http", "name": "shop"}]);
    let welcome = thief.greet(&hello).await.unwrap();
    assert_eq!(welcome["refused"][0]["code"], "name_taken", "{welcome}");
    // A ticket for it that nobody has sealed.
    let mut thief = foe.connect(&place).await;
    let mut hello = thief.hello(foe.credential.clone());
    hello["tunnels"] = json!([{"tunnel": "tn_1", "kind": "http", "name": "shop", "ticket": "AAAA"}]);
    let welcome = thief.greet(&hello).await.unwrap();
    assert_eq!(welcome["refused"][0]["code"], "name_taken", "{welcome}");
    place.still_serves().await;
}

#[tokio::test]
async fn names_that_are_none_are_refused_one_by_one() {
    let (_service, place, foe) = start().await;
    let mut client = foe.connect(&place).await;
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
    let mut hello = client.hello(foe.credential.clone());
    hello["tunnels"] = json!(tunnels);
    let welcome = client.greet(&hello).await.unwrap();
    assert_eq!(welcome["opened"], json!([]), "{welcome}");
    let refused = welcome["refused"].as_array().unwrap();
    assert_eq!(refused.len(), names.len());
    for (name, refused) in names.iter().zip(refused) {
        let expected = if reserved.contains(name) { "name_reserved" } else { "name_invalid" };
        assert_eq!(refused["code"], expected, "{name:?}: {refused}");
    }
}

#[tokio::test]
async fn what_follows_the_welcome_has_to_be_http2() {
    let (_service, place, foe) = start().await;
    let garbage: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\0\0\0\x04\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff",
        b"",
    ];
    for bytes in garbage {
        let mut io = foe.enter(&place).await;
        io.write_all(bytes).await.unwrap();
        io.flush().await.unwrap();
        let ends = async { while let Ok(1..) = io.read(&mut [0; 1024]).await {} };
        tokio::time::timeout(Duration::from_secs(30), ends).await.expect("it ends");
        place.still_serves().await;
    }
    // A session that never answers the control stream.
    let io = foe.enter(&place).await;
    let mut http2 = Http2::server(io, &[]).await.unwrap();
    assert!(http2.ends().await);
    let answer = Consumer::plain(place.relay.http()).get(EVIL, "/").await.unwrap();
    assert!(matches!(answer.status, 404 | 503), "{}", answer.status);
    place.still_serves().await;
}

#[tokio::test]
async fn a_control_stream_that_breaks_a_rule_ends_its_session_with_a_word() {
    let (_service, place, foe) = start().await;
    let cases: [(&str, Vec<u8>); 8] = [
        ("no JSON", b"{]\n".to_vec()),
        ("an empty line", b"\n".to_vec()),
        ("no UTF-8", b"\xff\n".to_vec()),
        ("an unknown message", b"{\"type\":\"sudo\"}\n".to_vec()),
        ("a relay's message", b"{\"type\":\"move\",\"deadlineMs\":1}\n".to_vec()),
        ("deep JSON", format!("{}\n", "[".repeat(60_000)).into_bytes()),
        ("a long line", format!("{{\"type\":\"{}\"}}\n", "x".repeat(64 * 1024)).into_bytes()),
        ("an endless line", vec![b' '; 65 * 1024]),
    ];
    for (what, line) in cases {
        let mut http2 = foe.frames(&place, &[]).await;
        for chunk in line.chunks(16 * 1024) {
            http2.send(&Http2Frame::new(kind::DATA, 0, 1, chunk)).await.unwrap();
        }
        let said = http2.receive_kind(kind::DATA).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let said: Value = serde_json::from_slice(&said.payload).unwrap();
        assert_eq!(
            (&said["type"], &said["code"]),
            (&json!("close"), &json!("protocol_error")),
            "{what}: {said}"
        );
        assert!(http2.ends().await, "{what}");
    }
    place.still_serves().await;
}

#[tokio::test]
async fn control_messages_about_what_is_not_ones_own_change_nothing() {
    let (_service, place, foe) = start().await;
    let (tunnels, sessions) = (place.number("adit_tunnels_open"), place.number("adit_sessions_open"));
    let mut http2 = foe.frames(&place, &[]).await;
    let mut say = async |message: &Value| {
        let line = format!("{message}\n");
        http2.send(&Http2Frame::new(kind::DATA, 0, 1, line)).await.unwrap();
        http2
            .receive_kind(kind::DATA)
            .await
            .map(|frame| serde_json::from_slice::<Value>(&frame.payload).unwrap())
    };
    let open = |name: &str| json!({"type": "open", "tunnel": "tn_2", "kind": "http", "name": name});
    assert_eq!(say(&open("shop")).await.unwrap()["code"], "name_taken");
    assert_eq!(say(&open("a_b")).await.unwrap()["code"], "name_invalid");
    let port = json!({"type": "open", "tunnel": "tn_2", "kind": "tcp", "port": 22});
    assert_eq!(say(&port).await.unwrap()["code"], "kind_not_allowed");
    let renew = |proof: Value| json!({"type": "renew", "proof": proof});
    assert_eq!(say(&renew(token("x"))).await.unwrap()["code"], "token_malformed");
    let other = place.region.token(&place.relay, "somebody-else", &[]);
    let answer = say(&renew(token(&other))).await.unwrap();
    assert_eq!(answer["type"], "renewRefused", "another account's token: {answer}");
    // A tunnel that it does not serve, though another session of another account has that id.
    let close = |tunnel: &str| json!({"type": "close", "tunnel": tunnel});
    let id = "tn_unknown";
    let line = format!("{}\n{}\n", close(id), close("tn_1"));
    http2.send(&Http2Frame::new(kind::DATA, 0, 1, line)).await.unwrap();
    place.wait("its own tunnel is closed", |place| place.number("adit_tunnels_open") == tunnels).await;
    place.still_serves().await;
    let bye = control::encode(&ToRelay::Bye {}).unwrap();
    http2.send(&Http2Frame::new(kind::DATA, 0, 1, bye)).await.unwrap();
    place.wait("its session has ended", |place| place.number("adit_sessions_open") == sessions).await;
    place.still_serves().await;
}
