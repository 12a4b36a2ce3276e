//! One relay with its own store: complaints by `adit-relay admin complaints`.

use crate::{
    fixture::{client_problem, http_tunnel, status, until_open},
    relay_fixture::{RelayFixture, region},
};
use adit::Client;
use adit_testkit::{http::Service, region::DOMAIN, wait::until};

/// Runs `adit-relay admin complaints`, which has to succeed; returns what it printed.
fn complaints(fixture: &RelayFixture, arguments: &[&str]) -> String {
    fixture.admin_output(&[&["complaints"], arguments].concat())
}

/// Runs `adit-relay admin complaints`, which has to fail; returns its exit code and its message.
fn complaints_error(fixture: &RelayFixture, arguments: &[&str]) -> (Option<i32>, String) {
    let output = fixture.admin(&[&["complaints"], arguments].concat());
    assert!(!output.status.success(), "{arguments:?}");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn client(fixture: &RelayFixture, service: &Service, account: &str, name: &str) -> Client {
    let RelayFixture { relay, region, .. } = fixture;
    let builder = Client::builder().relay(format!("{DOMAIN}:{}", relay.https().port())).ca(region.ca());
    let token = region.token(relay, account, &[]);
    builder.token(token).tunnel(http_tunnel(service.address(), name)).start().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_complaint_takes_an_account_offline_until_it_is_lifted() {
    let mut fixture = RelayFixture::start(region().with("provider: {abuse: abuse@example.com}"));
    let service = Service::start().await;
    let eve = client(&fixture, &service, "eve", "login-bank");
    let bob = client(&fixture, &service, "bob", "blog");
    let (host, other) = ("login-bank.adit.localhost", "blog.adit.localhost");
    until_open(&eve).await;
    until_open(&bob).await;
    assert_eq!(status(fixture.relay.http(), host).await, 200);

    let url = "https://login-bank.adit.localhost/verify";
    let filed = complaints(&fixture, &["file", "--url", url, "--category", "Phishing", "--by", "ana"]);
    let id = filed.trim();
    assert!(complaints(&fixture, &["list"]).contains("Open"));
    assert!(
        complaints(&fixture, &["show", id]).contains("adit|eve"),
        "who it is about is known before the decision"
    );
    assert_eq!(status(fixture.relay.http(), host).await, 200);

    let why = ["--reason", "a copy of a bank", "--by", "ana"];
    let (code, _) = complaints_error(&fixture, &[&["acknowledge", id][..], &why].concat());
    assert_eq!(code, Some(2), "nobody can confirm it");
    let would = complaints(&fixture, &[&["acknowledge", id, "--dry-run"][..], &why].concat());
    assert!(would.contains("account adit|eve (1 name) goes offline"), "{would}");
    complaints(&fixture, &[&["acknowledge", id, "--yes"][..], &why].concat());
    let problem = client_problem(&eve).await;
    assert_eq!((problem.code.as_str(), problem.exit_code()), ("suspended", 5));
    assert_eq!(problem.message, "account eve is suspended");
    assert_eq!(problem.why, Some(format!("phishing, complaint {id}")));
    assert_eq!(problem.next.as_deref(), Some("write to abuse@example.com and name the complaint"));

    let page = fixture.consumer().get(host, "/").await.unwrap();
    assert_eq!((page.status, page.header("adit-error")), (403, Some("suspended")));
    assert_eq!(status(fixture.relay.http(), other).await, 200);
    until("it is enforced", || complaints(&fixture, &["show", id]).contains("Enforced")).await;
    // Another name, another token, another credential.
    assert_eq!(client_problem(&client(&fixture, &service, "eve", "another")).await.code, "suspended");
    // A relay that starts anew still knows.
    fixture.relay.child.kill();
    fixture.restart();
    assert_eq!(client_problem(&client(&fixture, &service, "eve", "another")).await.code, "suspended");
    assert_eq!(status(fixture.relay.http(), host).await, 403);
    until("it is enforced by the new process too", || complaints(&fixture, &["show", id]).contains("1/1"))
        .await;

    complaints(&fixture, &["lift", id, "--yes", "--reason", "cleaned up", "--by", "ana"]);
    until("the relay has let it go", || fixture.relay.metric("adit_suspensions") == 0).await;
    let back = client(&fixture, &service, "eve", "login-bank");
    until_open(&back).await;
    assert_eq!(status(fixture.relay.http(), host).await, 200);
    let story = complaints(&fixture, &["show", id]);
    for line in ["filed by ana", "acknowledged by ana: a copy of a bank", "lifted by ana: cleaned up"] {
        assert!(story.contains(line), "{line}: {story}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_complaint_is_said_and_changes_nothing() {
    let fixture = RelayFixture::start(region());
    for (words, code, said) in [
        (&["--category", "Spam"][..], 2, "--url"),
        (&["--url", "x", "--hostname", "y", "--category", "Spam"], 2, "--hostname"),
        (&["--url", "ftp://x.example.com", "--category", "Spam"], 4, "is not a URL of a tunnel"),
        (&["--hostname", "*.example.com", "--category", "Spam"], 4, "is not a hostname"),
        (&["--account", "eve", "--category", "Spam"], 4, "is not an account"),
        (&["--hostname", "a.example.com", "--category", "Rude"], 4, "is not one of Phishing"),
    ] {
        let (found, error) = complaints_error(&fixture, &[&["file"][..], words].concat());
        assert_eq!(found, Some(code), "{words:?}: {error}");
        assert!(error.contains(said), "{words:?}: {error}");
    }
    assert_eq!(complaints(&fixture, &["list", "--json"]).trim(), "[]");
    let id = complaints(&fixture, &["file", "--account", "adit|eve", "--category", "Spam"]).trim().to_owned();
    for (words, said) in [
        (&["acknowledge", &id, "--yes", "--reason", "x", "--until", "2020-01-01T00:00:00Z"][..], "is over"),
        (&["acknowledge", &id, "--yes", "--reason", "x", "--until", "tomorrow"], "until"),
        (&["acknowledge", &id, "--yes", "--reason", " "], "a decision has a reason"),
        (&["acknowledge", &id, "--yes", "--reason", "x", "--scope", "hostname"], "scope"),
        (&["lift", "cpl-nothing", "--yes", "--reason", "x"], "there is no"),
    ] {
        let (code, error) = complaints_error(&fixture, words);
        assert!(code == Some(4) && error.contains(said), "{words:?}: {error}");
    }
    assert!(complaints(&fixture, &["show", &id]).contains("Open"));
}
