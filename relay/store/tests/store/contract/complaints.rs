//! Complaints become suspensions once, and keep their history.

use crate::fixture::{NOW, REGION, StoreFixture, host, reservation};
use adit_protocol::Account;
use adit_store::{Complaint, Decision, Filing, RelayStatus, Scope, Store, Subject, Suspended};

fn filing(id: &str, decision: Decision) -> Filing {
    Filing {
        id: id.to_owned(),
        name: format!("cpl-{id}"),
        source: format!("tunnels/cpl-{id}"),
        subject: Subject::of_url("https://shop.eu.example.com/login").unwrap(),
        against: "https://shop.eu.example.com/login".to_owned(),
        category: "Phishing".to_owned(),
        description: "a copy of a bank's page".to_owned(),
        reporter: "fraud@bank.example".to_owned(),
        evidence: vec!["https://bank.example/report/4711".to_owned()],
        decision,
        scope: Scope::Account,
        until: None,
        by: "ana".to_owned(),
        why: "seen".to_owned(),
    }
}

async fn history(store: &Store, id: &str) -> Vec<String> {
    store.complaint_history(id).await.unwrap().into_iter().map(|entry| entry.what).collect()
}

async fn targets(store: &Store, now: u64) -> Vec<(String, Suspended)> {
    let all = store.suspensions(now).await.unwrap().list;
    all.into_iter().map(|one| (one.id, one.target)).collect()
}

fn eve() -> Suspended {
    Suspended::Account(Account::managed("eve"))
}

async fn names_of_eve(store: &Store) {
    store.reserve(&reservation("shop", "eve", "i-1")).await.unwrap();
    store.reserve(&reservation("blog", "eve", "i-1")).await.unwrap();
    store.reserve(&reservation("other", "bob", "i-1")).await.unwrap();
}

pub(crate) async fn a_complaint_is_enforced_once_and_remembered(fixture: StoreFixture) {
    let (store, beside) = (fixture.open().await, fixture.open().await);
    names_of_eve(&store).await;
    let open = store.judge(&filing("1", Decision::Pending), NOW).await.unwrap();
    assert_eq!(open.complaint.account_text().as_deref(), Some("adit|eve"));
    assert_eq!((targets(&store, NOW).await.len(), store.suspensions_version().await.unwrap()), (0, 0));

    let judged = store.judge(&filing("1", Decision::Acknowledged), NOW + 5).await.unwrap();
    assert_eq!((judged.complaint.version, judged.complaint.acknowledged_at), (1, Some(NOW + 5)));
    assert_eq!(judged.complaint.hostnames, ["blog.eu.example.com", "shop.eu.example.com"]);
    let all = beside.suspensions(NOW + 5).await.unwrap();
    assert_eq!((all.version, all.list.len()), (1, 1));
    let one = &all.list[0];
    assert_eq!((&one.target, one.reason.as_str()), (&eve(), "phishing"));
    assert_eq!(one.complaint.as_deref(), Some("cpl-1"));
    assert_eq!(one.hostnames, ["blog.eu.example.com", "shop.eu.example.com"]);

    // Two operators at once, again and again.
    for now in [NOW + 6, NOW + 7] {
        let acknowledged = filing("1", Decision::Acknowledged);
        let (a, b) = tokio::join!(store.judge(&acknowledged, now), beside.judge(&acknowledged, now));
        assert_eq!((a.unwrap().complaint, b.unwrap().complaint.version), (judged.complaint.clone(), 1));
    }
    let enforced = store.complaint_enforced("1", 1, NOW + 8).await.unwrap().unwrap();
    assert_eq!(enforced.enforced_at, Some(NOW + 8));
    let again = beside.complaint_enforced("1", 1, NOW + 9).await.unwrap().unwrap();
    assert_eq!(again.enforced_at, Some(NOW + 8));
    assert_eq!(history(&store, "1").await, ["filed", "acknowledged", "enforced"]);

    let lifted = store.judge(&filing("1", Decision::Lifted), NOW + 10).await.unwrap();
    assert_eq!(lifted.complaint.version, 2);
    assert_eq!(targets(&store, NOW + 10).await, []);
    assert_eq!(history(&store, "1").await, ["filed", "acknowledged", "enforced", "lifted"]);
    let first = &store.complaint_history("1").await.unwrap()[1];
    assert_eq!((first.at, first.who.as_str(), first.why.as_str()), (NOW + 5, "ana", "seen"));
    let all: Vec<Complaint> = store.complaints(None, 10).await.unwrap();
    assert_eq!((all.len(), store.complaint("1").await.unwrap()), (1, Some(lifted.complaint)));
    assert_eq!(store.complaint("2").await.unwrap(), None);
}

pub(crate) async fn who_is_acknowledged_at_once_is_the_same_to_two_operators(fixture: StoreFixture) {
    let stores = [fixture.open().await, fixture.open().await, fixture.open().await];
    names_of_eve(&stores[0]).await;
    let judge = |store: Store| async move {
        tokio::spawn(async move { store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap() })
            .await
            .unwrap()
    };
    let (a, b, c) =
        tokio::join!(judge(stores[0].clone()), judge(stores[1].clone()), judge(stores[2].clone()));
    assert!(a == b && b == c, "{a:?} {b:?} {c:?}");
    assert_eq!(stores[0].suspensions_version().await.unwrap(), 1, "enforced once");
    assert_eq!(history(&stores[1], "1").await, ["filed", "acknowledged"]);
}

pub(crate) async fn edits_after_the_decision_change_what_is_enforced(fixture: StoreFixture) {
    let store = fixture.open().await;
    names_of_eve(&store).await;
    let acknowledged = filing("1", Decision::Acknowledged);
    store.judge(&acknowledged, NOW).await.unwrap();
    // The offender's name has another owner by now: the complaint stays about the offender.
    let narrow = Filing { scope: Scope::Hostname, until: Some(NOW + 100), ..acknowledged.clone() };
    let judged = store.judge(&narrow, NOW + 1).await.unwrap();
    assert_eq!(judged.complaint.version, 2);
    let name = Suspended::Hostname("shop.eu.example.com".to_owned());
    assert_eq!(targets(&store, NOW + 1).await, [("1".to_owned(), name)]);
    assert_eq!(targets(&store, NOW + 100).await, [], "its time is over");
    let expired = Filing { until: Some(NOW - 5), ..acknowledged.clone() };
    store.judge(&expired, NOW + 2).await.unwrap();
    assert_eq!(targets(&store, NOW + 2).await, [], "what has ended is not enforced");
    store.judge(&acknowledged, NOW + 3).await.unwrap();
    assert_eq!(targets(&store, NOW + 3).await, [("1".to_owned(), eve())]);
    store.judge(&filing("1", Decision::Dismissed), NOW + 4).await.unwrap();
    assert_eq!(targets(&store, NOW + 4).await, []);
    let expected = ["filed", "acknowledged", "changed", "changed", "changed", "dismissed"];
    assert_eq!(history(&store, "1").await, expected);
}

pub(crate) async fn what_nobody_has_had_is_kept_out_by_its_name(fixture: StoreFixture) {
    let store = fixture.open().await;
    let judged = store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap();
    assert_eq!((judged.complaint.account, judged.complaint.hostnames.len()), (None, 0));
    let name = Suspended::Hostname("shop.eu.example.com".to_owned());
    assert_eq!(targets(&store, NOW).await, [("1".to_owned(), name)]);
    let port = Subject::of_url("tcp://eu.example.com:20022").unwrap();
    store.judge(&Filing { subject: port, ..filing("2", Decision::Acknowledged) }, NOW).await.unwrap();
    let port = Suspended::Port { region: REGION.to_owned(), port: 20022 };
    assert_eq!(targets(&store, NOW).await[1], ("2".to_owned(), port));
    // Whose account is named is offline, also if it has never been seen.
    let account = Subject::of_account("adit|eve").unwrap();
    store.judge(&Filing { subject: account, ..filing("3", Decision::Acknowledged) }, NOW).await.unwrap();
    assert_eq!(targets(&store, NOW).await[2], ("3".to_owned(), eve()));
}

pub(crate) async fn complaints_about_one_account_lift_their_own_suspension_alone(fixture: StoreFixture) {
    let store = fixture.open().await;
    names_of_eve(&store).await;
    store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap();
    let second = store.judge(&filing("2", Decision::Acknowledged), NOW).await.unwrap();
    assert_eq!(second.others, ["cpl-1"]);
    let contrary = store.judge(&filing("3", Decision::Dismissed), NOW).await.unwrap();
    assert_eq!(contrary.others, ["cpl-1", "cpl-2"]);
    let lifted = store.judge(&filing("2", Decision::Lifted), NOW + 1).await.unwrap();
    assert_eq!(lifted.others, ["cpl-1"], "the other one still holds");
    assert_eq!(targets(&store, NOW + 1).await, [("1".to_owned(), eve())]);
}

pub(crate) async fn a_deleted_complaint_keeps_its_suspension_until_it_is_lifted(fixture: StoreFixture) {
    let store = fixture.open().await;
    names_of_eve(&store).await;
    store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap();
    store.complaint_gone("1", false, "ana", NOW + 1).await.unwrap();
    store.complaint_gone("1", false, "ana", NOW + 2).await.unwrap();
    assert_eq!(targets(&store, NOW + 2).await, [("1".to_owned(), eve())]);
    store.judge(&filing("2", Decision::Acknowledged), NOW + 3).await.unwrap();
    store.complaint_gone("2", true, "ana", NOW + 4).await.unwrap();
    assert_eq!(targets(&store, NOW + 4).await, [("1".to_owned(), eve())], "its own alone");
    assert_eq!(history(&store, "2").await, ["filed", "acknowledged", "deleted"]);

    // Another one about the same account, decided as lifted, frees it.
    let freed = store.judge(&filing("3", Decision::Lifted), NOW + 5).await.unwrap();
    assert_eq!((targets(&store, NOW + 5).await.len(), freed.others.len()), (0, 0));
    assert_eq!(history(&store, "1").await, ["filed", "acknowledged", "deleted", "lifted"]);
    store.complaint_gone("9", true, "ana", NOW).await.unwrap();
}

pub(crate) async fn closed_sessions_are_counted_once_for_each_relay(fixture: StoreFixture) {
    let store = fixture.open().await;
    names_of_eve(&store).await;
    store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap();
    let relay = |id: &str, version| RelayStatus {
        region: REGION.to_owned(),
        relay: id.parse().unwrap(),
        started: NOW,
        seen: NOW,
        suspensions_version: version,
        config_revision: String::new(),
        config_refused: None,
        draining: false,
        sessions: 0,
        tunnels: 0,
        registry_up: true,
        challenges_version: 0,
        served: vec![],
        certificate_problem: None,
    };
    let mut confirmations = store.confirmations();
    confirmations.next().await;
    store.confirm(&relay("a", 1), &[("1".to_owned(), 2)]).await.unwrap();
    confirmations.next().await;
    store.confirm(&relay("a", 1), &[("1".to_owned(), 2)]).await.unwrap();
    store.confirm(&relay("b", 1), &[("1".to_owned(), 1)]).await.unwrap();
    let judged = store.judge(&filing("1", Decision::Acknowledged), NOW).await.unwrap();
    assert_eq!(judged.sessions_closed, 3);
    assert_eq!(store.relays_seen().await.unwrap().len(), 2);
    assert!(store.held_name(REGION, &host("shop")).await.unwrap().is_some(), "the name stays the offender's");
}
