//! Suspended clients with a ticket or a credential from before.

use crate::{
    client::{EVIL, HostileClient, start},
    relay_fixture::RelayFixture,
};
use adit_testkit::wait::until;
use serde_json::{Value, json};

/// Runs `adit-relay admin complaints`; returns what it printed.
fn complaints(fixture: &RelayFixture, arguments: &[&str]) -> String {
    fixture.admin_output(&[&["complaints"], arguments].concat()).trim().to_owned()
}

/// Files a complaint, acknowledges it, and waits until the relay enforces it. Returns its id.
async fn suspend(fixture: &RelayFixture, against: &[&str], scope: &[&str]) -> String {
    let id = complaints(fixture, &[&["file", "--category", "Spam"], against].concat());
    complaints(fixture, &[&["acknowledge", &id, "--yes", "--reason", "seen"], scope].concat());
    until("the relay enforces it", || fixture.relay.metric("adit_suspensions") == 1).await;
    id
}

/// Lifts a complaint, and waits until the relay has removed the suspension.
async fn lift(fixture: &RelayFixture, id: &str) {
    complaints(fixture, &["lift", id, "--yes", "--reason", "over"]);
    until("the relay has removed it", || fixture.relay.metric("adit_suspensions") == 0).await;
}

/// Asks for the endpoint of an earlier session by its ticket alone, without a name.
async fn resume(fixture: &RelayFixture, hostile: &HostileClient, ticket: &Value) -> Value {
    hostile.request_tunnels(fixture, &json!([{"tunnel": "tn_1", "kind": "http", "ticket": ticket}])).await
}

#[tokio::test]
async fn a_ticket_opens_nothing_during_a_suspension() {
    let (_service, fixture, hostile) = start().await;
    let welcome =
        hostile.request_tunnels(&fixture, &json!([{"tunnel": "tn_1", "kind": "http", "name": "evil"}])).await;
    let ticket = welcome["opened"][0]["ticket"].clone();
    let is_good = async || {
        let welcome = resume(&fixture, &hostile, &ticket).await;
        let url = welcome["opened"][0]["url"].as_str().unwrap_or_default();
        assert!(url.starts_with(&format!("https://{EVIL}")), "{welcome}");
    };
    is_good().await;

    // The name alone: the client is let in, and does not get it.
    let id = suspend(&fixture, &["--hostname", EVIL], &["--scope", "hostname"]).await;
    let welcome = resume(&fixture, &hostile, &ticket).await;
    assert_eq!((&welcome["type"], &welcome["opened"]), (&json!("welcome"), &json!([])), "{welcome}");
    let refused = &welcome["refused"][0];
    assert_eq!(refused["code"], "suspended", "{welcome}");
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains(EVIL) && words.contains(&format!("spam, complaint {id}")), "{words}");
    fixture.assert_serves().await;
    lift(&fixture, &id).await;
    is_good().await;

    // The account: it is not let in, with the ticket, without one, and by a token that is new.
    let id = suspend(&fixture, &["--account", "adit|foe"], &[]).await;
    let fresh = fixture.region.token(&fixture.relay, "foe", &[]);
    for answer in [
        resume(&fixture, &hostile, &ticket).await,
        hostile.request_tunnels(&fixture, &json!([])).await,
        HostileClient::present_token(&fixture, &fresh).await,
    ] {
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!("suspended")), "{answer}");
        assert_eq!(answer["suspension"]["complaint"], json!(id), "{answer}");
        assert_eq!(answer["suspension"]["reason"], "spam", "{answer}");
    }
    fixture.assert_serves().await;
    lift(&fixture, &id).await;
    is_good().await;
}
