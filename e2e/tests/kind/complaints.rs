//! Complaints: decided with kubectl, enforced on every relay, and reported to a client in another region.

use adit_e2e::{
    kubectl::{run, until},
    namespace::Namespace,
    region::Region,
    root,
};
use adit_testkit::http::Service;
use serde_json::json;
use std::time::Duration;

/// The status that a consumer of a tunnel gets.
async fn status(region: &Region, name: &str) -> u16 {
    let answer = region.consumer(name).await.get(&region.host(name), "/").await;
    answer.map_or(0, |answer| answer.status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_complaint_takes_its_target_offline() {
    let namespace = Namespace::new("complaints").await;
    let (eu, us) = (namespace.region("eu", json!({})).await, namespace.region("us", json!({})).await);
    eu.wait_ready().await;
    us.wait_ready().await;
    let service = Service::start().await;
    let here = eu.client("eve", "login-bank", service.address()).await;
    let mut there = us.client("eve", "elsewhere", service.address()).await;
    let _bob = us.client("bob", "blog", service.address()).await;
    let statuses =
        async || [status(&eu, "login-bank").await, status(&us, "elsewhere").await, status(&us, "blog").await];
    until("all are served", async || (statuses().await == [200; 3]).then_some(())).await;

    let example = std::fs::read_to_string(root().join("docs/examples/complaint.yaml")).unwrap();
    let example = example
        .replace("namespace: tunnels", &format!("namespace: {}", namespace.name()))
        .replace("eu.example.com", &eu.domain());
    run("kubectl", &["apply", "-f", "-"], &example).await.unwrap();
    let found = namespace.condition("complaint", "cpl-7f3k", "Ready", "True").await;
    assert_eq!(found["status"]["account"], "adit|eve", "{found}");
    assert_eq!(statuses().await, [200; 3], "nothing is done before the decision");
    let waiting = eu.adit(&["complaints"]).await.unwrap();
    assert!(waiting.starts_with("1 open") && waiting.contains("Open"), "{waiting}");

    let decision = r#"{"spec": {"decision": "Acknowledged"}}"#;
    namespace.kubectl(&["patch", "cpl/cpl-7f3k", "--type", "merge", "-p", decision]).await;
    // Relays that other tests have killed count until they are proven gone.
    namespace.kubectl(&["wait", "cpl/cpl-7f3k", "--for=condition=Enforced", "--timeout=180s"]).await;
    assert_eq!(statuses().await, [403, 403, 200]);
    let ended = there.process.wait(Duration::from_secs(60)).and_then(|ended| ended.code());
    assert_eq!(ended, Some(5), "{}", there.output());
    for line in [
        "error: account eve is suspended [suspended]",
        "why:   phishing, complaint cpl-7f3k",
        "next:  write to",
    ] {
        assert!(there.output().contains(line), "{line}: {}", there.output());
    }
    drop(here);

    let enforced = eu.adit(&["complaints"]).await.unwrap();
    assert!(enforced.starts_with("none is open") && enforced.contains("Enforced"), "{enforced}");
    let unsure = eu.adit(&["lift", "cpl-7f3k", "--reason", "cleaned up"]).await.unwrap_err();
    assert!(unsure.contains("exit status: 2") && unsure.contains("may come back"), "{unsure}");
    let would = eu.adit(&["lift", "cpl-7f3k", "--reason", "cleaned up", "--dry-run"]).await.unwrap();
    assert!(would.starts_with("would lift cpl-7f3k"), "{would}");
    eu.adit(&["lift", "cpl-7f3k", "--reason", "cleaned up", "--yes"]).await.unwrap();
    let lifted = namespace.condition("complaint", "cpl-7f3k", "Enforced", "False").await;
    assert_eq!(lifted["status"]["phase"], "Lifted", "{lifted}");
    let _back = us.client_after_suspension("eve", "elsewhere", service.address()).await;
    until("it is served again", async || (status(&us, "elsewhere").await == 200).then_some(())).await;

    let again = ["acknowledge", "cpl-7f3k", "--reason", "it does so again", "--yes", "--timeout", "180s"];
    let said = eu.adit(&again).await.unwrap();
    assert!(
        said.contains("account adit|eve goes offline") && said.contains("sessions were closed"),
        "{said}"
    );
    assert_eq!(status(&us, "elsewhere").await, 403);
    let nobody = eu.adit(&["dismiss", "cpl-nobody", "--reason", "x", "--yes"]).await.unwrap_err();
    assert!(nobody.contains("[no_complaint]"), "{nobody}");
    namespace.kubectl(&["delete", "complaints.adit.dev", "--all", "--timeout=60s"]).await;
    namespace.end().await;
}
