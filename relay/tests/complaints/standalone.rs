//! One relay with its own store: complaints by `adit-relay admin complaints`.

use crate::place::{ended, http, status};
use adit::Client;
use adit_testkit::{
    http::{Consumer, Service},
    region::{Region, Relay},
    wait::until,
};
use std::process::{Command, Output};

fn admin(relay: &Relay, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit-relay"));
    command.args(["admin", "complaints"]).args(words).arg("--config").arg(&relay.config).output().unwrap()
}

fn said(relay: &Relay, words: &[&str]) -> String {
    let output = admin(relay, words);
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn client(region: &Region, relay: &Relay, service: &Service, account: &str, name: &str) -> Client {
    let builder = Client::builder().relay(format!("{}:{}", region.domain(), relay.https().port()));
    let token = region.token(relay, account, &[]);
    builder.ca(region.ca()).token(token).tunnel(http(service, name)).start().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complaint_takes_an_account_offline_until_it_is_lifted() {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay")).with("provider: {abuse: abuse@example.com}");
    let mut relay = region.start("a");
    let service = Service::start().await;
    let eve = client(&region, &relay, &service, "eve", "login-bank");
    let bob = client(&region, &relay, &service, "bob", "blog");
    let (host, other) = ("login-bank.adit.localhost", "blog.adit.localhost");
    crate::place::is_up(&eve).await;
    crate::place::is_up(&bob).await;
    assert_eq!(status(relay.http(), host).await, 200);

    let url = "https://login-bank.adit.localhost/verify";
    let filed = said(&relay, &["file", "--url", url, "--category", "Phishing", "--by", "ana"]);
    let id = filed.trim();
    assert!(said(&relay, &["list"]).contains("Open"));
    assert!(said(&relay, &["show", id]).contains("adit|eve"), "who it is about is known before the decision");
    assert_eq!(status(relay.http(), host).await, 200);

    let why = ["--reason", "a copy of a bank", "--by", "ana"];
    let asked = admin(&relay, &[&["acknowledge", id][..], &why].concat());
    assert_eq!(asked.status.code(), Some(2), "nobody is there who could agree");
    let would = said(&relay, &[&["acknowledge", id, "--dry-run"][..], &why].concat());
    assert!(would.contains("takes account adit|eve (1 names) offline"), "{would}");
    said(&relay, &[&["acknowledge", id, "--yes"][..], &why].concat());
    let problem = ended(&eve).await;
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("suspended", 5));
    assert_eq!(problem.message, "account eve is suspended");
    assert_eq!(problem.why, Some(format!("phishing, complaint {id}")));
    assert_eq!(problem.next.as_deref(), Some("write to abuse@example.com and name the complaint"));

    let page = Consumer::plain(relay.http()).get(host, "/").await.unwrap();
    assert_eq!((page.status, page.header("adit-error")), (403, Some("suspended")));
    assert_eq!(status(relay.http(), other).await, 200);
    until("it is enforced", || said(&relay, &["show", id]).contains("Enforced")).await;
    // Another name, another token, another credential.
    assert_eq!(ended(&client(&region, &relay, &service, "eve", "another")).await.code, "suspended");
    // A relay that starts anew still knows.
    relay.child.kill();
    region.start_again(&mut relay);
    relay.wait_ready();
    assert_eq!(ended(&client(&region, &relay, &service, "eve", "another")).await.code, "suspended");
    assert_eq!(status(relay.http(), host).await, 403);
    until("it is enforced by the new process too", || said(&relay, &["show", id]).contains("1/1")).await;

    said(&relay, &["lift", id, "--yes", "--reason", "cleaned up", "--by", "ana"]);
    until("the relay has let it go", || relay.metric("adit_suspensions") == 0).await;
    let back = client(&region, &relay, &service, "eve", "login-bank");
    crate::place::is_up(&back).await;
    assert_eq!(status(relay.http(), host).await, 200);
    let story = said(&relay, &["show", id]);
    for line in ["filed by ana", "acknowledged by ana: a copy of a bank", "lifted by ana: cleaned up"] {
        assert!(story.contains(line), "{line}: {story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_complaint_is_said_and_changes_nothing() {
    let region = Region::new(env!("CARGO_BIN_EXE_adit-relay"));
    let relay = region.start("a");
    let file = |words: &[&str]| admin(&relay, &[&["file"][..], words].concat());
    for (words, code, said) in [
        (&["--category", "Spam"][..], 2, "--url"),
        (&["--url", "x", "--hostname", "y", "--category", "Spam"], 2, "--hostname"),
        (&["--url", "ftp://x.example.com", "--category", "Spam"], 4, "is not a URL of a tunnel"),
        (&["--hostname", "*.example.com", "--category", "Spam"], 4, "is not a hostname"),
        (&["--account", "eve", "--category", "Spam"], 4, "is not an account"),
        (&["--hostname", "a.example.com", "--category", "Rude"], 4, "is not one of Phishing"),
    ] {
        let output = file(words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
    assert_eq!(said(&relay, &["list", "--json"]).trim(), "[]");
    let id = said(&relay, &["file", "--account", "adit|eve", "--category", "Spam"]).trim().to_owned();
    for (words, said) in [
        (&["acknowledge", &id, "--yes", "--reason", "x", "--until", "2020-01-01T00:00:00Z"][..], "is over"),
        (&["acknowledge", &id, "--yes", "--reason", "x", "--until", "tomorrow"], "until"),
        (&["acknowledge", &id, "--yes", "--reason", " "], "a decision has a reason"),
        (&["acknowledge", &id, "--yes", "--reason", "x", "--scope", "hostname"], "scope"),
        (&["lift", "cpl-nothing", "--yes", "--reason", "x"], "there is no"),
    ] {
        let output = admin(&relay, words);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(4) && error.contains(said), "{words:?}: {error}");
    }
    assert!(said(&relay, &["show", &id]).contains("Open"));
}
