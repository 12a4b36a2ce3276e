//! Certificates that the API server refuses.

use crate::cluster::Cluster;
use adit_api::Certificate;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

/// A Certificate, and attempts to change it.
struct Kept {
    api: Api<DynamicObject>,
    good: Value,
    _cluster: Cluster,
}

impl Kept {
    async fn new(good: Value) -> Self {
        let cluster = Cluster::new().await;
        let resource = ApiResource::erase::<Certificate>(&());
        let api = Api::namespaced_with(cluster.client.clone(), &cluster.namespace, &resource);
        let object = json!({"apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
            "metadata": {"name": "eu"}, "spec": good});
        api.patch("eu", &PatchParams::apply("person"), &Patch::Apply(&object)).await.unwrap();
        Self { api, good, _cluster: cluster }
    }

    /// Asserts that a value at a path (null removes it) is refused with a message that contains all of these texts.
    async fn refuses(&self, path: &str, value: Value, expected: &[&str]) {
        let before = self.api.get("eu").await.unwrap();
        let mut changed = before.clone();
        changed.data["spec"] = self.good.clone();
        let (way, last) = path.rsplit_once('.').unwrap_or(("", path));
        let within = way.split('.').filter(|key| !key.is_empty());
        let at = within.fold(&mut changed.data["spec"], |at, key| &mut at[key]).as_object_mut().unwrap();
        if value.is_null() {
            at.remove(last);
        } else {
            at.insert(last.to_owned(), value.clone());
        }
        let message = self.api.replace("eu", &PostParams::default(), &changed).await;
        let message = message.expect_err(&format!("{path}: {value}"));
        let kube::Error::Api(status) = message else { panic!("{path}: {value}: {message}") };
        for expected in expected {
            assert!(status.message.contains(expected), "{path}: {value}: {expected}: {}", status.message);
        }
        assert_eq!(self.api.get("eu").await.unwrap(), before, "the object is unchanged");
    }
}

fn by_dns() -> Value {
    json!({
        "dnsNames": ["eu.example.com", "*.eu.example.com"],
        "acme": {
            "server": "https://ca.example/dir",
            "solver": {"dns01": {"rfc2136": {"server": "ns.example:53", "keyName": "adit",
                "secretRef": {"name": "tsig", "key": "key"}}}},
        },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_dns_names_are_refused() {
    let kept = Kept::new(by_dns()).await;
    kept.refuses("dnsNames", json!([]), &["spec.dnsNames: Invalid value: 0", "should have at least 1 items"])
        .await;
    kept.refuses("dnsNames", Value::Null, &["spec.dnsNames", "Required value"]).await;
    let many: Vec<String> = (0..101).map(|n| format!("n{n}.example.com")).collect();
    kept.refuses("dnsNames", json!(many), &["spec.dnsNames: Too many: 101: must have at most 100 items"])
        .await;
    let twice = json!(["a.example", "a.example"]);
    kept.refuses("dnsNames", twice, &["spec.dnsNames[1]: Duplicate value: \"a.example\""]).await;
    let no_name = "is not a DNS name, which is written like www.example.com or *.example.com";
    let long_label = format!("{}.example", "a".repeat(64));
    for bad in [
        "",
        "localhost",
        "a_b.example",
        "a b.example",
        "-a.example",
        "a..example",
        ".example.com",
        "example.com.",
        "A.example",
        "a.*.example",
        "*.*.example",
        "*",
        "*.",
        "a*.example",
        "https://a.example",
        "a.example:443",
        "user@a.example",
        "еu.example.com",
        "münchen.example",
        "::1",
        "[2001:db8::1]",
        &long_label,
    ] {
        let field_and_value = format!("spec.dnsNames[0]: Invalid value: {bad:?}");
        kept.refuses("dnsNames", json!([bad]), &[&field_and_value, no_name]).await;
    }
    for address in ["10.0.0.1", "127.0.0.1"] {
        let expected =
            format!("spec.dnsNames[0]: Invalid value: {address:?}: is an IP address, not a DNS name");
        kept.refuses("dnsNames", json!([address]), &[&expected]).await;
    }
    // The message names the bad one of several names.
    let second = json!(["good.example", "bad_.example"]);
    kept.refuses("dnsNames", second, &["spec.dnsNames[1]: Invalid value: \"bad_.example\"", no_name]).await;
    let overlong = format!("{}example", "a.".repeat(130));
    kept.refuses("dnsNames", json!([overlong]), &["spec.dnsNames[0]: Too long: may not be more than 253"])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proofs_that_cannot_prove_the_names_are_refused() {
    let kept = Kept::new(by_dns()).await;
    let expected = "acme.solver: http01 and tlsAlpn01 cannot prove a wildcard in dnsNames; use dns01";
    kept.refuses("acme.solver", json!({"http01": {}}), &[expected]).await;
    kept.refuses("acme.solver", json!({"tlsAlpn01": {}}), &[expected]).await;
    kept.refuses("acme.solver", json!({}), &["spec.acme.solver"]).await;
    kept.refuses("acme.solver", Value::Null, &["spec.acme.solver", "Required value"]).await;
    kept.refuses("acme.solver.http01", json!({}), &["spec.acme.solver"]).await;
    kept.refuses("acme.solver.dns01", json!({}), &["spec.acme.solver.dns01"]).await;
    let rfc2136 = "spec.acme.solver.dns01.rfc2136";
    let at = |field: &str| format!("acme.solver.dns01.rfc2136.{field}");
    for field in ["server", "keyName", "secretRef"] {
        kept.refuses(&at(field), Value::Null, &[&format!("{rfc2136}.{field}: Required value")]).await;
    }
    kept.refuses(&at("keyName"), json!(""), &[&format!("{rfc2136}.keyName"), "at least 1 chars"]).await;
    kept.refuses(&at("secretRef.name"), json!(""), &[&format!("{rfc2136}.secretRef.name")]).await;
    kept.refuses(&at("secretRef.key"), Value::Null, &[&format!("{rfc2136}.secretRef.key: Required value")])
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_one_issuer_is_required() {
    let kept = Kept::new(by_dns()).await;
    let one = "needs exactly one of acme, secretRef and selfSigned";
    kept.refuses("selfSigned", json!({}), &["spec: Invalid value", one]).await;
    kept.refuses("secretRef", json!({"name": "own"}), &["spec: Invalid value", one]).await;
    kept.refuses("acme", Value::Null, &["spec: Invalid value", one]).await;
    let kept = Kept::new(json!({"dnsNames": ["own.example.com"], "secretRef": {"name": "own"}})).await;
    kept.refuses("secretRef.name", json!(""), &["spec.secretRef.name"]).await;
    let expected = "renewBefore: has no effect with secretRef, whose certificate others renew";
    kept.refuses("renewBefore", json!("1d"), &[expected]).await;
    kept.refuses("revokeOnDelete", json!(true), &["revokeOnDelete: has no effect without acme"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_names_than_the_profile_allows_are_refused() {
    let names = |count: usize| json!((0..count).map(|n| format!("n{n}.example.com")).collect::<Vec<_>>());
    let mut good = by_dns();
    good["acme"]["profile"] = json!("shortlived");
    good["dnsNames"] = names(25);
    let kept = Kept::new(good).await;
    kept.refuses("dnsNames", names(26), &["dnsNames: the profile shortlived allows 25 names at most"]).await;
    kept.refuses("acme.profile", json!(""), &["spec.acme.profile", "at least 1 chars"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invalid_values_of_certificates_are_refused() {
    let kept = Kept::new(by_dns()).await;
    let by_https = "spec.acme.server: Invalid value: \"http://ca.example/dir\": is not a URL by https";
    kept.refuses("acme.server", json!("http://ca.example/dir"), &[by_https]).await;
    for bad in ["https://10.0.0.1/dir", "https://me:secret@ca.example/dir", "https:///dir"] {
        let expected = "spec.acme.server: Invalid value";
        kept.refuses("acme.server", json!(bad), &[expected, bad, "does not name its host"]).await;
    }
    let expected = "spec.acme.email: Invalid value: \"ops@\": is not an e-mail address";
    kept.refuses("acme.email", json!("ops@"), &[expected]).await;
    kept.refuses("acme.caBundle", json!(""), &["spec.acme.caBundle", "at least 1 chars"]).await;
    let binding = json!({"keyId": "", "secretRef": {"name": "eab", "key": "key"}});
    let expected = ["spec.acme.externalAccountBinding.keyId", "at least 1 chars"];
    kept.refuses("acme.externalAccountBinding", binding, &expected).await;
    let expected = "spec.renewBefore: Invalid value: \"soon\": is not a duration";
    kept.refuses("renewBefore", json!("soon"), &[expected]).await;
    let expected = "spec.privateKey.algorithm: Unsupported value: \"DSA\"";
    kept.refuses("privateKey", json!({"algorithm": "DSA"}), &[expected]).await;
    let expected = "spec.privateKey.rotation: Unsupported value: \"Sometimes\"";
    kept.refuses("privateKey", json!({"rotation": "Sometimes"}), &[expected]).await;
    let expected = "spec.regions[0]: Invalid value: \"eu_west.example\": is not a domain";
    kept.refuses("regions", json!(["eu_west.example"]), &[expected]).await;
    kept.refuses(
        "regions",
        json!(["eu.example", "eu.example"]),
        &["spec.regions[1]: Duplicate value: \"eu.example\""],
    )
    .await;
    kept.refuses("secretName", json!(""), &["spec.secretName", "at least 1 chars"]).await;
}
