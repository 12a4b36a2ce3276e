//! Certificates and Complaints that the rules refuse, each with its reason.

use super::rules::{broken, with};
use serde_json::{Value, json};

fn certificate() -> Value {
    json!({
        "apiVersion": "adit.dev/v1alpha1", "kind": "Certificate", "metadata": {"name": "wildcard"},
        "spec": {
            "dnsNames": ["eu.example.com", "*.eu.example.com"],
            "acme": {
                "server": "https://acme-v02.api.letsencrypt.org/directory", "email": "ops@example.com",
                "solver": {"dns01": {"rfc2136": {"server": "192.0.2.53:53", "keyName": "adit", "secretRef": {"name": "tsig", "key": "secret"}}}}
            }
        }
    })
}

fn complaint() -> Value {
    json!({
        "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint", "metadata": {"name": "cpl-7f3k"},
        "spec": {"against": {"url": "https://login-bank.eu.example.com/verify"}, "category": "Phishing", "until": "2027-01-01T00:00:00Z"}
    })
}

#[test]
fn valid_objects_break_no_rule() {
    assert_eq!(broken("Certificate", &certificate(), None), Vec::<String>::new());
    assert_eq!(broken("Complaint", &complaint(), None), Vec::<String>::new());
    let account = with(&complaint(), "spec.against", json!({"account": "adit|acme-ci"}));
    assert_eq!(broken("Complaint", &account, None), Vec::<String>::new());
}

#[test]
fn bad_certificates_are_refused_with_field_and_rule() {
    let names: Vec<String> = (0..26).map(|number| format!("n{number}.example.com")).collect();
    for (path, value, error) in [
        (
            "spec.dnsNames",
            json!(["a_b.example"]),
            "spec.dnsNames[0]: is not a DNS name, which is written like www.example.com or *.example.com",
        ),
        (
            "spec.dnsNames",
            json!(["example.com."]),
            "spec.dnsNames[0]: is not a DNS name, which is written like www.example.com or *.example.com",
        ),
        ("spec.dnsNames", json!(["10.0.0.1"]), "spec.dnsNames[0]: is an IP address, not a DNS name"),
        (
            "spec.acme.solver",
            json!({"http01": {}}),
            "spec: acme.solver: http01 and tlsAlpn01 cannot prove a wildcard in dnsNames; use dns01",
        ),
        ("spec.acme.server", json!("http://ca.example"), "spec.acme.server: is not a URL by https"),
        ("spec.acme.email", json!("ops"), "spec.acme.email: is not an e-mail address"),
        ("spec.selfSigned", json!({}), "spec: needs exactly one of acme, secretRef and selfSigned"),
        (
            "spec.acme.solver.dns01",
            json!({"httpReq": {"url": "https://169.254.169.254/latest"}}),
            "spec.acme.solver.dns01.httpReq.url: does not name its host: IP addresses, user names and passwords are not allowed",
        ),
    ] {
        let found = broken("Certificate", &with(&certificate(), path, value.clone()), None);
        assert!(found.contains(&error.to_owned()), "{path}: {value}: {found:?}");
    }
    let short =
        with(&with(&certificate(), "spec.acme.profile", json!("shortlived")), "spec.dnsNames", json!(names));
    assert_eq!(
        broken("Certificate", &short, None),
        ["spec: dnsNames: the profile shortlived allows 25 names at most"]
    );
    let none = with(&certificate(), "spec", json!({"dnsNames": ["a.example"]}));
    assert_eq!(
        broken("Certificate", &none, None),
        ["spec: needs exactly one of acme, secretRef and selfSigned"]
    );
}

#[test]
fn bad_complaints_are_refused_with_field_and_rule() {
    for (path, value, error) in [
        (
            "spec.against",
            json!({"url": "login-bank"}),
            "spec.against.url: is not a URL, which is written like https://name.eu.example.com/path",
        ),
        (
            "spec.against",
            json!({"account": "acme"}),
            "spec.against.account: is not an account, which is written like adit|acme-ci: issuer, |, subject",
        ),
        (
            "spec.against",
            json!({"hostname": "a_b"}),
            "spec.against.hostname: is not a DNS name, which is written like www.example.com or *.example.com",
        ),
    ] {
        let found = broken("Complaint", &with(&complaint(), path, value.clone()), None);
        assert!(found.contains(&error.to_owned()), "{path}: {value}: {found:?}");
    }
    let other = with(&complaint(), "spec.against", json!({"account": "adit|acme-ci"}));
    assert_eq!(
        broken("Complaint", &other, Some(&complaint())),
        ["spec.against: cannot be changed; create another Complaint"]
    );
}
