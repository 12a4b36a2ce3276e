//! Complaints: decided on the API server, enforced by real relays of two regions, reported to a real client.

use crate::cluster::{Cluster, MAX_WAIT, until};
use adit_api::{Complaint, complaint::Phase};
use adit_store::Store;
use adit_testkit::{
    http::{Consumer, Service},
    postgres::Postgres,
    process::Child,
    redis::Redis,
    region::{RelayProcess, TestRegion},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// Another program of this workspace; `cargo test --workspace` has built it.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_adit-operator")).with_file_name(name);
    assert!(path.is_file(), "{} is not built: cargo test --workspace", path.display());
    path
}

/// One relay of a region, with its own Redis.
pub(crate) struct RelayFixture {
    pub(crate) relay: RelayProcess,
    region: TestRegion,
    _redis: Redis,
}

pub(crate) fn relay_fixture(domain: &str, name: &str, store: &str) -> RelayFixture {
    let redis = Redis::start();
    let lines = "provider: {abuse: abuse@example.com}\ndrainTimeout: 2s";
    let region = TestRegion::of_domain(program("adit-relay"), domain).with(lines);
    let region = region.registry(redis.url()).store(store);
    RelayFixture { relay: region.start(name), region, _redis: redis }
}

impl RelayFixture {
    /// Starts a client of an account that publishes a name.
    pub(crate) fn client(&self, folder: &Path, account: &str, name: &str, service: &Service) -> Child {
        // Clients with one state folder find one another and do not publish a service twice.
        let own = folder.join(name);
        std::fs::create_dir_all(&own).unwrap();
        let token = folder.join(format!("{name}.token"));
        std::fs::write(&token, self.region.token(&self.relay, account, &[])).unwrap();
        let mut command = Command::new(program("adit"));
        command
            .args(["http", &service.address().to_string(), "--name", name])
            .arg("--relay")
            .arg(format!("{}:{}", self.region.domain(), self.relay.https().port()))
            .arg("--ca")
            .arg(self.region.ca())
            .arg("--token-file")
            .arg(token)
            .env("XDG_STATE_HOME", &own)
            .env("XDG_CONFIG_HOME", &own)
            .env("XDG_RUNTIME_DIR", &own);
        Child::start_with_output(&command, &folder.join(format!("{name}.output")))
    }

    pub(crate) async fn status(&self, name: &str) -> u16 {
        let host = format!("{name}.{}", self.region.domain());
        Consumer::plain(self.relay.http()).get(&host, "/").await.map_or(0, |answer| answer.status)
    }
}

pub(crate) struct ComplaintFixture<'a> {
    cluster: &'a Cluster,
    pub(crate) api: Api<Complaint>,
}

impl<'a> ComplaintFixture<'a> {
    pub(crate) fn new(cluster: &'a Cluster) -> Self {
        Self { cluster, api: Api::namespaced(cluster.client.clone(), &cluster.namespace) }
    }

    pub(crate) async fn apply(&self, name: &str, spec: Value) -> kube::Result<DynamicObject> {
        let resource = kube::api::ApiResource::erase::<Complaint>(&());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client.clone(), &self.cluster.namespace, &resource);
        let object = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Complaint", "metadata": {"name": name}, "spec": spec});
        api.patch(name, &PatchParams::apply("person").force(), &Patch::Apply(&object)).await
    }

    pub(crate) async fn patch(&self, name: &str, spec: Value) -> kube::Result<Complaint> {
        self.api.patch(name, &PatchParams::default(), &Patch::Merge(json!({ "spec": spec }))).await
    }

    /// Waits until a Complaint has reached a phase for its newest generation.
    pub(crate) async fn is(&self, name: &str, phase: Phase) -> Complaint {
        let end = Instant::now() + MAX_WAIT;
        loop {
            let found = self.api.get(name).await.unwrap();
            let status = found.status.clone().unwrap_or_default();
            if status.phase == Some(phase) && status.observed_generation == found.metadata.generation {
                return found;
            }
            assert!(Instant::now() < end, "{name} is {status:?}; {}", self.cluster.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn condition(complaint: &Complaint, kind: &str) -> (String, String, String) {
    let status = complaint.status.as_ref().unwrap();
    let one = status.conditions.iter().find(|one| one.type_ == kind).unwrap();
    (one.status.clone(), one.reason.clone(), one.message.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_complaint_is_enforced_in_both_regions() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    migrated(&complaints).await;
    let eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let us = relay_fixture("us.localhost", "us-a", &cluster.store);
    let mut here = eu.client(folder.path(), "eve", "login-bank", &service);
    let mut there = us.client(folder.path(), "eve", "elsewhere", &service);
    let _bob = us.client(folder.path(), "bob", "blog", &service);
    until("all are served", async || {
        [eu.status("login-bank").await, us.status("elsewhere").await, us.status("blog").await] == [200; 3]
    })
    .await;

    let spec = json!({"against": {"url": "https://login-bank.eu.localhost/verify"}, "category": "Phishing",
        "description": "Copies the sign-in page of Example Bank.", "evidence": ["https://bank.example/report/4711"]});
    complaints.apply("cpl-7f3k", spec).await.unwrap();
    let open = complaints.is("cpl-7f3k", Phase::Open).await;
    assert_eq!(open.status.as_ref().unwrap().account.as_deref(), Some("adit|eve"));
    assert_eq!(condition(&open, "Enforced").0, "False");
    assert_eq!(us.status("elsewhere").await, 200, "nothing happens before the decision");

    complaints.patch("cpl-7f3k", json!({"decision": "Acknowledged"})).await.unwrap();
    let done = complaints.is("cpl-7f3k", Phase::Enforced).await;
    assert_eq!(
        [eu.status("login-bank").await, us.status("elsewhere").await, us.status("blog").await],
        [403, 403, 200]
    );
    let status = done.status.clone().unwrap();
    assert_eq!((status.relays.summary.as_str(), status.relays.confirmed), ("2/2", 2));
    assert_eq!(status.hostnames, ["elsewhere.us.localhost", "login-bank.eu.localhost"]);
    assert!(status.acknowledged_at.is_some() && status.enforced_at >= status.acknowledged_at, "{status:?}");
    assert_eq!(condition(&done, "Enforced").1, "AllRelays");
    for (client, name) in [(&mut here, "login-bank"), (&mut there, "elsewhere")] {
        let ended = client.wait(Duration::from_secs(60));
        let output = std::fs::read_to_string(folder.path().join(format!("{name}.output"))).unwrap();
        assert_eq!(ended.and_then(|status| status.code()), Some(5), "{output}");
        for line in [
            "error: account eve is suspended [suspended]",
            "why:   phishing, complaint cpl-7f3k",
            "next:  write to abuse@example.com and name the complaint",
        ] {
            assert!(output.contains(line), "{line}: {output}");
        }
    }
    assert!(status.sessions_closed >= 2, "{status:?}");
    let events: Api<k8s_openapi::api::events::v1::Event> =
        Api::namespaced(cluster.client.clone(), &cluster.namespace);
    until("there is an event of it", async || {
        let told = events.list(&ListParams::default()).await.unwrap();
        told.items.iter().any(|event| event.reason.as_deref() == Some("Enforced"))
    })
    .await;
}

/// The history of a complaint. Retries, because the store of a busy machine may be slow.
pub(crate) async fn history(store: &Store, id: &str) -> Vec<String> {
    let end = Instant::now() + MAX_WAIT;
    loop {
        match store.complaint_history(id).await {
            Ok(history) => return history.into_iter().map(|entry| entry.what).collect(),
            Err(error) => assert!(Instant::now() < end, "{error:?}"),
        }
    }
}

/// Waits until the operator has migrated the store.
pub(crate) async fn migrated(complaints: &ComplaintFixture<'_>) {
    let spec = json!({"against": {"hostname": "nobody.eu.localhost"}, "category": "Other"});
    complaints.apply("first", spec).await.unwrap();
    complaints.is("first", Phase::Open).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_does_not_confirm_is_named() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    let (folder, service) = (tempfile::tempdir().unwrap(), Service::start().await);
    migrated(&complaints).await;
    let mut eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let us = relay_fixture("us.localhost", "us-a", &cluster.store);
    let eve = json!({"against": {"account": "adit|eve"}, "category": "Spam", "decision": "Acknowledged"});
    complaints.apply("cpl-1", eve).await.unwrap();
    complaints.is("cpl-1", Phase::Enforced).await;

    // A relay that has not confirmed is named, and the condition stays False.
    eu.relay.child.stop();
    complaints
        .apply(
            "cpl-8",
            json!({"against": {"account": "adit|mallory"}, "category": "Spam", "decision": "Acknowledged"}),
        )
        .await
        .unwrap();
    until("it waits for the relay that does not answer", async || {
        let found = complaints.api.get("cpl-8").await.unwrap();
        let known = found.status.as_ref().is_some_and(|status| status.relays.summary == "1/2");
        known && condition(&found, "Enforced").2 == "1 of 2 relays have not confirmed it: a of eu.localhost"
    })
    .await;
    eu.relay.child.cont();
    let seen = complaints.is("cpl-8", Phase::Enforced).await;
    assert_eq!(condition(&seen, "Ready").1, "NotYetSeen");

    // The suspension outlives the object; a Complaint with the decision Lifted ends it.
    complaints.api.delete("cpl-1", &DeleteParams::default()).await.unwrap();
    until("it is gone", async || complaints.api.get_opt("cpl-1").await.unwrap().is_none()).await;
    let mut again = us.client(folder.path(), "eve", "again", &service);
    assert_eq!(again.wait(Duration::from_secs(60)).and_then(|status| status.code()), Some(5));
    complaints
        .apply("free", json!({"against": {"account": "adit|eve"}, "category": "Other", "decision": "Lifted"}))
        .await
        .unwrap();
    complaints.is("free", Phase::Lifted).await;
    until("the relays let it in again", async || {
        let mut back = us.client(folder.path(), "eve", "back", &service);
        let end = Instant::now() + Duration::from_secs(20);
        while back.is_running() && us.status("back").await != 200 && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        us.status("back").await == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_complaints_are_refused_and_unusual_ones_accepted() {
    let cluster = Cluster::new().await;
    let mut operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    let account = json!({"account": "adit|eve"});
    for (spec, said) in [
        (json!({"against": {}, "category": "Spam"}), "against"),
        (json!({"against": {"account": "eve"}, "category": "Spam"}), "is not an account"),
        (json!({"against": {"url": "shop"}, "category": "Spam"}), "is not a URL"),
        (json!({"against": account, "category": "Rude"}), "category"),
        (json!({"against": account, "category": "Spam", "scope": "Hostname"}), "scope: Hostname needs"),
    ] {
        let refused = complaints.apply("bad", spec).await.unwrap_err().to_string();
        assert!(refused.contains(said), "{said}: {refused}");
    }
    // Two about an unknown name, and an expired one.
    let unseen =
        json!({"against": {"hostname": "new.eu.localhost"}, "category": "Spam", "decision": "Acknowledged"});
    complaints.apply("one", unseen.clone()).await.unwrap();
    let one = complaints.is("one", Phase::Enforced).await;
    assert_eq!(condition(&one, "Ready").1, "NotYetSeen");
    assert_eq!(one.status.unwrap().account, None);
    complaints.apply("two", unseen.clone()).await.unwrap();
    let two = complaints.is("two", Phase::Enforced).await;
    assert!(
        condition(&two, "Ready").2.contains("is kept offline by one too"),
        "{:?}",
        condition(&two, "Ready")
    );
    let mut over = unseen.clone();
    over["until"] = json!("2020-01-01T00:00:00Z");
    complaints.apply("over", over).await.unwrap();
    complaints.is("over", Phase::Expired).await;

    // Edits after the decision.
    let back = complaints.patch("one", json!({"decision": "Pending"})).await.unwrap_err().to_string();
    assert!(back.contains("cannot be Pending again"), "{back}");
    let other = complaints
        .patch("one", json!({"against": {"hostname": "x.eu.localhost"}}))
        .await
        .unwrap_err()
        .to_string();
    assert!(other.contains("cannot be changed"), "{other}");
    complaints.patch("one", json!({"decision": "Dismissed"})).await.unwrap();
    let dismissed = complaints.is("one", Phase::Dismissed).await;
    assert!(
        condition(&dismissed, "Ready").2.contains("stays offline because of two"),
        "{:?}",
        condition(&dismissed, "Ready")
    );

    // A deletion with onDelete: Lift while no operator runs.
    operator.term();
    assert!(operator.wait(MAX_WAIT).is_some(), "{}", cluster.log());
    complaints.patch("two", json!({"onDelete": "Lift"})).await.unwrap();
    complaints.api.delete("two", &DeleteParams::default()).await.unwrap();
    assert!(complaints.api.get_opt("two").await.unwrap().is_some(), "it waits for the operator");
    let _operator = cluster.operator();
    until("it is gone", async || complaints.api.get_opt("two").await.unwrap().is_none()).await;
    complaints.patch("one", json!({"description": "again"})).await.unwrap();
    until("nothing keeps the name offline", async || {
        let one = complaints.is("one", Phase::Dismissed).await;
        !condition(&one, "Ready").2.contains("stays offline")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_the_store_loses_no_decision() {
    let mut postgres = tokio::task::spawn_blocking(Postgres::start).await.unwrap();
    let mut cluster = Cluster::new().await;
    cluster.store = postgres.database();
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    migrated(&complaints).await;
    let _eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let mut us = relay_fixture("us.localhost", "us-a", &cluster.store);
    us.relay.child.stop();
    let spec = json!({"against": {"account": "adit|eve"}, "category": "Spam", "decision": "Acknowledged"});
    complaints.apply("cpl-1", spec).await.unwrap();
    let waits = "1 of 2 relays have not confirmed it: us-a of us.localhost";
    until("one of two has confirmed", async || {
        let found = complaints.api.get("cpl-1").await.unwrap();
        found.status.is_some() && condition(&found, "Enforced").2 == waits
    })
    .await;

    postgres.stop();
    complaints.patch("cpl-1", json!({"description": "reviewed again"})).await.unwrap();
    let end = Instant::now() + MAX_WAIT;
    loop {
        let (status, reason, message) = condition(&complaints.api.get("cpl-1").await.unwrap(), "Enforced");
        if (status.as_str(), reason.as_str()) == ("False", "StoreUnavailable") && message.ends_with(waits) {
            break;
        }
        assert!(Instant::now() < end, "{status} {reason}: {message}; {}", cluster.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The store and the relay come back.
    us.relay.child.cont();
    postgres.restart();
    let done = complaints.is("cpl-1", Phase::Enforced).await;
    assert_eq!(done.status.clone().unwrap().relays.summary, "2/2");
    let store = Store::open(&cluster.store.parse().unwrap()).unwrap();
    let id = done.metadata.uid.unwrap();
    assert_eq!(
        history(&store, &id).await,
        ["filed", "acknowledged", "enforced"],
        "nothing is lost, nothing is done twice"
    );
    let judged = store.complaint(&id).await.unwrap().unwrap();
    assert_eq!(store.suspensions_version().await.unwrap(), judged.version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_decides_with_kubectl_adit() {
    let cluster = Cluster::new().await;
    let _operator = cluster.operator();
    let complaints = ComplaintFixture::new(&cluster);
    let adit = async |arguments: &[&str]| cluster.kubectl_adit(arguments).await;
    migrated(&complaints).await;
    let mut eu = relay_fixture("eu.localhost", "a", &cluster.store);
    let spec = json!({"against": {"account": "adit|eve"}, "category": "Spam"});
    complaints.apply("cpl-1", spec).await.unwrap();
    complaints.is("cpl-1", Phase::Open).await;
    let (code, waiting) = adit(&["complaints"]).await;
    assert!(code == Some(0) && waiting.starts_with("2 open, oldest "), "{waiting}");
    let (code, status) = adit(&["status", "-o", "json"]).await;
    let status: Value = serde_json::from_str(&status).unwrap();
    let one = status["complaints"].as_array().unwrap().iter().find(|one| one["complaint"] == "cpl-1");
    let said = one.map(|one| (&one["phase"], &one["against"], &one["message"]));
    let wanted = (&json!("Open"), &json!("adit|eve"), &json!("waits for a decision"));
    assert_eq!((code, said), (Some(0), Some(wanted)), "{status}");

    let reason = ["cpl-1", "--reason", "sends spam"];
    let acknowledge = [&["acknowledge"][..], &reason].concat();
    let (code, unsure) = adit(&acknowledge).await;
    assert!(code == Some(2) && unsure.contains("[unconfirmed]"), "there is no terminal: {unsure}");
    let (code, would) = adit(&[&acknowledge[..], &["--dry-run"]].concat()).await;
    let what = "would acknowledge cpl-1: account adit|eve goes offline in every region";
    assert!(code == Some(0) && would.starts_with(what), "{would}");
    let bad = [&acknowledge[..], &["--dry-run", "--scope", "hostname"]].concat();
    let (code, refused) = adit(&bad).await;
    assert!(code == Some(2) && refused.contains("scope: Hostname needs"), "{refused}");
    assert_eq!(complaints.is("cpl-1", Phase::Open).await.metadata.annotations, None, "nothing was changed");

    let yes = [&acknowledge[..], &["--yes", "--until", "2999-01-01T00:00:00Z"]].concat();
    let (code, done) = adit(&yes).await;
    assert!(code == Some(0) && done.contains("offline on 1/1 relays after"), "{done}");
    let (code, listed) = adit(&["complaints", "-o", "json"]).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((code, &listed[1]["metadata"]["name"]), (Some(0), &json!("cpl-1")), "{listed}");
    let annotations = &listed[1]["metadata"]["annotations"];
    assert_eq!(annotations["adit.dev/reason"], "sends spam", "{listed}");
    assert_ne!(annotations["adit.dev/decided-by"], "", "the API server knows who asks: {listed}");
    assert_eq!(listed[1]["spec"]["until"], "2999-01-01T00:00:00Z", "{listed}");

    // A relay that does not confirm is named.
    eu.relay.child.stop();
    complaints
        .apply("cpl-2", json!({"against": {"account": "adit|mallory"}, "category": "Spam"}))
        .await
        .unwrap();
    complaints.is("cpl-2", Phase::Open).await;
    let slow = ["acknowledge", "cpl-2", "--reason", "x", "--yes", "--timeout", "10s", "--by", "ana"];
    let (code, slow) = adit(&slow).await;
    assert!(
        code == Some(8) && slow.contains("1 of 1 relays have not confirmed it: a of eu.localhost"),
        "{slow}"
    );
    eu.relay.child.cont();
    assert_eq!(complaints.is("cpl-2", Phase::Enforced).await.annotations()["adit.dev/decided-by"], "ana");

    for (deed, phase) in [("lift", Phase::Lifted), ("dismiss", Phase::Dismissed)] {
        let (code, done) = adit(&[&[deed][..], &reason, &["--yes"]].concat()).await;
        assert_eq!(code, Some(0), "{done}");
        complaints.is("cpl-1", phase).await;
    }
    assert!(!adit(&["complaints"]).await.1.contains("cpl-1"));
    assert!(adit(&["complaints", "--all"]).await.1.contains("cpl-1"));
    let (code, nobody) = adit(&["lift", "cpl-9", "--reason", "x", "--yes"]).await;
    assert!(code == Some(2) && nobody.contains("[no_complaint]"), "{nobody}");
}
