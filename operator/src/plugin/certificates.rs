//! `kubectl adit certificates` and `renew`: what relays serve, until when, and another one now.

use super::{Answer, Failure, complaints::shown, kubectl::Kubectl, request::pretty, table::columns};
use crate::certificate::RENEW_ANNOTATION;
use adit_api::Certificate;
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt;

/// All Certificates, those that end first at the top; a problem if one is not served everywhere.
pub(super) fn certificates(kubectl: &Kubectl, json: bool) -> Result<Answer, Failure> {
    let mut found = kubectl.certificates()?;
    let end = |one: &Certificate| one.status.as_ref().and_then(|status| status.not_after.clone());
    found.sort_by_key(|one| (end(one), one.namespace(), one.name_any()));
    let is_problem = found.iter().any(|one| !is_good(one));
    let text = if json { pretty(&found) } else { text(&found) };
    Ok(Answer { text, is_problem })
}

/// Asks for another certificate.
pub(super) fn renew(kubectl: &Kubectl, name: &str, json: bool) -> Result<Answer, Failure> {
    let wish = format!("{RENEW_ANNOTATION}={}", Timestamp::now());
    let found = kubectl.annotate_certificate(name, &wish)?;
    if found.spec.secret_ref.is_some() {
        return Err(Failure::usage(
            "not_issued_here",
            format!("Certificate {name:?} is of a Secret: whoever keeps that renews it"),
            "renew the Secret; relays follow".to_owned(),
        ));
    }
    let text = if json {
        pretty(&found)
    } else {
        let revision = found.status.and_then(|status| status.revision).unwrap_or(0);
        format!(
            "another certificate is asked for; revision {revision} is served until it is there\n\
             next: kubectl adit certificates\n"
        )
    };
    Ok(Answer { text, is_problem: false })
}

fn condition<'a>(certificate: &'a Certificate, kind: &str) -> Option<&'a Condition> {
    certificate.status.as_ref()?.conditions.iter().find(|one| one.type_ == kind)
}

fn is_true(certificate: &Certificate, kind: &str) -> bool {
    condition(certificate, kind).is_some_and(|one| one.status == "True")
}

/// It is there and everywhere, and its renewal does not fail.
fn is_good(certificate: &Certificate) -> bool {
    let fails = condition(certificate, "Ready").is_some_and(|one| one.reason == "RenewalFailing");
    is_true(certificate, "Ready") && is_true(certificate, "RolledOut") && !fails
}

fn text(certificates: &[Certificate]) -> String {
    if certificates.is_empty() {
        return "there are no Certificates here\n".to_owned();
    }
    let head = ["CERTIFICATE", "READY", "SERVED", "EXPIRES", "RENEWS", "NAMES"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    rows.extend(certificates.iter().map(|one| {
        let status = one.status.clone().unwrap_or_default();
        vec![
            format!("{}/{}", one.namespace().unwrap_or_default(), one.name_any()),
            or_none(condition(one, "Ready").map(|one| one.status.clone())),
            status.served.summary,
            or_none(status.not_after),
            or_none(status.renewal_time),
            one.spec.dns_names.join(","),
        ]
    }));
    let mut text = columns(&rows);
    for one in certificates.iter().filter(|one| !is_good(one)) {
        let said = ["Ready", "RolledOut"]
            .iter()
            .filter_map(|kind| condition(one, kind))
            .find(|one| one.status != "True" || one.reason == "RenewalFailing");
        let why = said.map_or("the operator has not looked at it yet".to_owned(), |one| {
            format!("{}: {}", one.reason, shown(&one.message))
        });
        let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
        text.push_str(&format!("{namespace}/{name}: {why}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn certificate(name: &str, ready: (&str, &str, &str), rolled_out: &str) -> Certificate {
        let condition = |kind: &str, (status, reason, message): (&str, &str, &str)| {
            json!({"type": kind, "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-11-21T10:00:00Z"})
        };
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Certificate",
            "metadata": {"name": name, "namespace": "tunnels"},
            "spec": {"dnsNames": ["eu.example.com", "*.eu.example.com"], "selfSigned": {}},
            "status": {
                "notAfter": "2027-02-19T10:00:00Z", "served": {"summary": "1/2", "regions": []},
                "conditions": [condition("Ready", ready), condition("RolledOut", (rolled_out, "RollingOut", "1 of 2 relays serve it"))],
            },
        }))
        .unwrap()
    }

    #[test]
    fn what_is_wrong_stands_below_in_the_ca_s_own_words() {
        let good = certificate("good", ("True", "Issued", "valid"), "True");
        let partly = certificate("partly", ("True", "Issued", "valid"), "False");
        let limited = certificate("limited", ("False", "RateLimited", "too many\u{1b}[2J"), "False");
        let failing = certificate("failing", ("True", "RenewalFailing", "caa: forbidden"), "True");
        assert!(is_good(&good) && !is_good(&partly) && !is_good(&limited) && !is_good(&failing));
        let text = text(&[good, partly, limited, failing]);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines[0].starts_with("CERTIFICATE      READY  SERVED"), "{text}");
        assert!(
            lines[1].ends_with("2027-02-19T10:00:00Z  -       eu.example.com,*.eu.example.com"),
            "{text}"
        );
        assert_eq!(lines[5], "tunnels/partly: RollingOut: 1 of 2 relays serve it");
        assert_eq!(lines[6], "tunnels/limited: RateLimited: too many?[2J");
        assert_eq!(lines[7], "tunnels/failing: RenewalFailing: caa: forbidden");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn none_is_said() {
        assert_eq!(text(&[]), "there are no Certificates here\n");
    }
}
