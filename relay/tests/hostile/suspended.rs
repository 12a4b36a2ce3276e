//! Clients that are suspended, and show a ticket or a credential that was good before.

use crate::{
    client::{EVIL, Foe, start},
    place::Place,
};
use serde_json::{Value, json};
use std::process::Command;

/// `adit-relay admin complaints`; gives what it printed.
fn desk(place: &Place, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_adit-relay"));
    command.args(["admin", "complaints"]).args(words).arg("--config").arg(&place.relay.config);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Files a complaint, acknowledges it, and waits until the relay goes by it.
async fn suspended(place: &Place, against: &[&str], scope: &[&str]) -> String {
    let id = desk(place, &[&["file", "--category", "Spam"], against].concat());
    desk(place, &[&["acknowledge", &id, "--yes", "--reason", "seen"], scope].concat());
    place.wait("the relay goes by it", |place| place.number("adit_suspensions") == 1).await;
    id
}

async fn lifted(place: &Place, id: &str) {
    desk(place, &["lift", id, "--yes", "--reason", "over"]);
    place.wait("the relay has let it go", |place| place.number("adit_suspensions") == 0).await;
}

/// Asks for the endpoint of an earlier session by its ticket alone, without a name.
async fn resumed(place: &Place, foe: &Foe, ticket: &Value) -> Value {
    foe.asks(place, &json!([{"tunnel": "tn_1", "kind": "http", "ticket": ticket}])).await
}

#[tokio::test]
async fn a_ticket_opens_nothing_while_its_name_or_its_account_is_suspended() {
    let (_service, place, foe) = start().await;
    let welcome = foe.asks(&place, &json!([{"tunnel": "tn_1", "kind": "http", "name": "evil"}])).await;
    let ticket = welcome["opened"][0]["ticket"].clone();
    let is_good = async || {
        let welcome = resumed(&place, &foe, &ticket).await;
        let url = welcome["opened"][0]["url"].as_str().unwrap_or_default();
        assert!(url.starts_with(&format!("https://{EVIL}")), "{welcome}");
    };
    is_good().await;

    // The name alone: the client is let in, and does not get it.
    let id = suspended(&place, &["--hostname", EVIL], &["--scope", "hostname"]).await;
    let welcome = resumed(&place, &foe, &ticket).await;
    assert_eq!((&welcome["type"], &welcome["opened"]), (&json!("welcome"), &json!([])), "{welcome}");
    let refused = &welcome["refused"][0];
    assert_eq!(refused["code"], "suspended", "{welcome}");
    let words = refused["message"].as_str().unwrap();
    assert!(words.contains(EVIL) && words.contains(&format!("spam, complaint {id}")), "{words}");
    place.still_serves().await;
    lifted(&place, &id).await;
    is_good().await;

    // The account: it is not let in, with the ticket, without one, and by a token that is new.
    let id = suspended(&place, &["--account", "adit|foe"], &[]).await;
    let fresh = place.region.token(&place.relay, "foe", &[]);
    for answer in [
        resumed(&place, &foe, &ticket).await,
        foe.asks(&place, &json!([])).await,
        Foe::arrives(&place, &fresh).await,
    ] {
        assert_eq!((&answer["type"], &answer["code"]), (&json!("refused"), &json!("suspended")), "{answer}");
        assert_eq!(answer["suspension"]["complaint"], json!(id), "{answer}");
        assert_eq!(answer["suspension"]["reason"], "spam", "{answer}");
    }
    place.still_serves().await;
    lifted(&place, &id).await;
    is_good().await;
}
