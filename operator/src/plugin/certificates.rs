//! `kubectl adit certificates` and `renew`: what relays serve, until when, and another one now.

use super::{
    Answer, Failure, PROBLEM, complaints::shown, decide::patience, kubectl::Kubectl, request::pretty,
    table::columns,
};
use adit_api::{Certificate, certificate::RENEW_ANNOTATION};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt;
use std::{
    thread::sleep,
    time::{Duration, Instant},
};

/// Between two looks while something is waited for.
const PAUSE: Duration = Duration::from_millis(500);

/// All Certificates, those that end first at the top; a problem if one is not served everywhere.
pub(super) fn certificates(kubectl: &Kubectl, json: bool) -> Result<Answer, Failure> {
    let mut found = kubectl.certificates()?;
    let end = |one: &Certificate| one.status.as_ref().and_then(|status| status.not_after.clone());
    found.sort_by_key(|one| (end(one), one.namespace(), one.name_any()));
    let is_problem = found.iter().any(|one| !is_good(one));
    let text = if json { pretty(&found) } else { text(&found) };
    Ok(Answer { text, is_problem })
}

/// Asks for another certificate. With a time to wait, that is waited for.
pub(super) fn renew(
    kubectl: &Kubectl,
    name: &str,
    wait: Option<&String>,
    json: bool,
) -> Result<Answer, Failure> {
    let wait = wait.map(|timeout| patience(timeout).map(|patience| (timeout, patience))).transpose()?;
    let wish = format!("{RENEW_ANNOTATION}={}", Timestamp::now());
    let before = kubectl.annotate_certificate(name, &wish)?;
    if before.spec.secret_ref.is_some() {
        return Err(Failure::usage(
            "not_issued_here",
            format!("Certificate {name:?} is of a Secret: whoever keeps that renews it"),
            "renew the Secret; relays follow".to_owned(),
        ));
    }
    let Some((timeout, patience)) = wait else {
        let text = format!(
            "another certificate is asked for; revision {} is served until it is there\n\
             next: kubectl adit certificates\n",
            revision(&before)
        );
        return Ok(Answer { text: if json { pretty(&before) } else { text }, is_problem: false });
    };
    let end = Instant::now() + patience;
    loop {
        let now = kubectl.certificate(name)?;
        let failure = |code, what, why: String| Failure {
            what,
            code,
            why: Some(shown(&why)),
            next: Some(
                "kubectl adit certificates; docs/certificates.md says what the reasons mean".to_owned(),
            ),
            exit: PROBLEM,
        };
        match outcome(&before, &now) {
            Outcome::Served => {
                let served =
                    now.status.as_ref().map(|status| status.served.summary.clone()).unwrap_or_default();
                let text = format!("revision {} is served by {served} relays\n", revision(&now));
                return Ok(Answer { text: if json { pretty(&now) } else { text }, is_problem: false });
            }
            Outcome::Failed(why) => {
                let what = format!("no other certificate was issued for {name}; the one before is served");
                return Err(failure("not_renewed", what, why));
            }
            Outcome::UnderWay(why) if Instant::now() >= end => {
                let what = format!("{name} is not renewed and served everywhere after {timeout}");
                return Err(failure("not_renewed", what, why));
            }
            Outcome::UnderWay(_) => sleep(PAUSE),
        }
    }
}

/// How a wish stands.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Every relay serves another certificate.
    Served,
    /// The attempt has failed: why.
    Failed(String),
    /// Not yet: what is said of it.
    UnderWay(String),
}

fn revision(certificate: &Certificate) -> i64 {
    certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0)
}

fn outcome(before: &Certificate, now: &Certificate) -> Outcome {
    let next = |one: &Certificate| one.status.as_ref().and_then(|status| status.next_attempt.clone());
    let said = |kind: &str| {
        condition(now, kind).map_or("the operator has not looked at it yet".to_owned(), |one| {
            format!("{}: {}", one.reason, one.message)
        })
    };
    if revision(now) > revision(before) {
        return if is_true(now, "RolledOut") {
            Outcome::Served
        } else {
            Outcome::UnderWay(said("RolledOut"))
        };
    }
    // Each attempt that fails says when the next one is.
    if next(now).is_some() && next(now) != next(before) {
        return Outcome::Failed(said("Issuing"));
    }
    Outcome::UnderWay(said("Issuing"))
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
    fn a_wish_is_fulfilled_when_another_one_is_served_everywhere_and_fails_with_its_attempt() {
        let with = |revision: i64, next: &str, rolled_out: &str| {
            let mut one = certificate("one", ("True", "Issued", "valid"), rolled_out);
            let status = one.status.as_mut().unwrap();
            status.revision = Some(revision);
            status.next_attempt = Some(next.to_owned()).filter(|next| !next.is_empty());
            one
        };
        let before = with(3, "10:00", "True");
        for waits in ["10:00", ""] {
            assert!(matches!(outcome(&before, &with(3, waits, "True")), Outcome::UnderWay(_)));
        }
        let rolling = outcome(&before, &with(4, "", "False"));
        assert_eq!(rolling, Outcome::UnderWay("RollingOut: 1 of 2 relays serve it".to_owned()));
        assert_eq!(outcome(&before, &with(4, "", "True")), Outcome::Served);
        assert!(matches!(outcome(&before, &with(3, "10:10", "True")), Outcome::Failed(_)));
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
