//! `kubectl adit certificates` and `renew`: what relays serve, when it expires, and another certificate now.

use super::{
    cluster::{Cluster, id_of},
    command_error::{CommandError, PROBLEM_EXIT_CODE},
    output::{Output, to_json},
    wait::{parse_timeout, wait_until},
};
use crate::controller::find_condition;
use adit_api::{Certificate, certificate::RENEW_ANNOTATION};
use adit_terminal::{Table, escape};
use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp};
use kube::ResourceExt;
use serde_json::json;

/// What is said of a Certificate without conditions.
const NO_STATUS: &str = "the operator has not written a status yet";

/// Shows all Certificates, those that expire first at the top. One that is not served everywhere is a problem.
pub(super) async fn certificates(cluster: &Cluster, json: bool) -> Result<Output, CommandError> {
    let mut found: Vec<Certificate> = cluster.list().await?;
    let not_after = |one: &Certificate| one.status.as_ref().and_then(|status| status.not_after.clone());
    found.sort_by_key(|one| (not_after(one), one.namespace(), one.name_any()));
    let is_problem = found.iter().any(|one| !is_good(one));
    let text = if json { to_json(&found) } else { text(&found) };
    Ok(Output { text, is_problem })
}

/// Requests another certificate. With `wait`, a timeout, it waits until every relay serves it.
pub(super) async fn renew(
    cluster: &Cluster,
    name: &str,
    wait: Option<&str>,
    json: bool,
) -> Result<Output, CommandError> {
    let wait = wait.map(|text| parse_timeout(text).map(|timeout| (text, timeout))).transpose()?;
    let before: Certificate = cluster.get(name).await?;
    if before.spec.secret_ref.is_some() {
        let what = format!("Certificate {name:?} comes from a Secret, which others renew");
        return Err(CommandError::usage("not_issued_here", what, "renew the Secret; relays follow"));
    }
    let patch = json!({ "metadata": { "annotations": { RENEW_ANNOTATION: Timestamp::now().to_string() } } });
    let before: Certificate = cluster.merge_patch(name, &patch, false).await?;
    let Some((text, timeout)) = wait else {
        let text = format!(
            "another certificate was requested; relays serve revision {} until they have it\n\
             next: kubectl adit certificates\n",
            revision(&before)
        );
        return Ok(Output::new(if json { to_json(&before) } else { text }));
    };
    let read = async || cluster.get::<Certificate>(name).await;
    let is_done = |now: &Certificate| !matches!(renewal(&before, now), Renewal::InProgress(_));
    let now = wait_until(timeout, read, is_done).await?;
    let (what, why) = match renewal(&before, &now) {
        Renewal::Served => {
            let relays = now.status.as_ref().map(|status| status.served.summary.as_str()).unwrap_or_default();
            let text = format!("revision {} is served by {relays} relays\n", revision(&now));
            return Ok(Output::new(if json { to_json(&now) } else { text }));
        }
        Renewal::Failed(why) => {
            (format!("the renewal of {name} failed; relays serve the certificate before"), why)
        }
        Renewal::InProgress(why) => {
            (format!("{name} is not renewed and served everywhere after {text}"), why)
        }
    };
    Err(CommandError {
        what,
        code: "not_renewed",
        why: Some(escape(&why).into_owned()),
        next: Some("kubectl adit certificates; docs/certificates.md explains the reasons".to_owned()),
        exit_code: PROBLEM_EXIT_CODE,
    })
}

/// How far a renewal has come.
#[derive(Debug, PartialEq, Eq)]
enum Renewal {
    /// Every relay serves another certificate.
    Served,
    /// The attempt failed, for this reason.
    Failed(String),
    /// It has not ended; the condition that tells why.
    InProgress(String),
}

fn revision(certificate: &Certificate) -> i64 {
    certificate.status.as_ref().and_then(|status| status.revision).unwrap_or(0)
}

fn renewal(before: &Certificate, now: &Certificate) -> Renewal {
    let next_attempt = |one: &Certificate| one.status.as_ref().and_then(|status| status.next_attempt.clone());
    let message = |kind: &str| condition(now, kind).map_or_else(|| NO_STATUS.to_owned(), message_of);
    if revision(now) > revision(before) {
        let is_served = is_true(now, "RolledOut");
        return if is_served { Renewal::Served } else { Renewal::InProgress(message("RolledOut")) };
    }
    // Each attempt that fails sets the time of the next one.
    if next_attempt(now).is_some() && next_attempt(now) != next_attempt(before) {
        return Renewal::Failed(message("Issuing"));
    }
    Renewal::InProgress(message("Issuing"))
}

fn message_of(condition: &Condition) -> String {
    format!("{}: {}", condition.reason, condition.message)
}

fn condition<'a>(certificate: &'a Certificate, kind: &str) -> Option<&'a Condition> {
    find_condition(&certificate.status.as_ref()?.conditions, kind)
}

fn is_true(certificate: &Certificate, kind: &str) -> bool {
    condition(certificate, kind).is_some_and(|one| one.status == "True")
}

/// Whether every relay serves the certificate and its renewal does not fail.
fn is_good(certificate: &Certificate) -> bool {
    let fails = condition(certificate, "Ready").is_some_and(|one| one.reason == "RenewalFailing");
    is_true(certificate, "Ready") && is_true(certificate, "RolledOut") && !fails
}

fn text(certificates: &[Certificate]) -> String {
    if certificates.is_empty() {
        return "there are no Certificates here\n".to_owned();
    }
    let mut table = Table::new(["CERTIFICATE", "READY", "SERVED", "EXPIRES", "RENEWS", "NAMES"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for one in certificates {
        let status = one.status.clone().unwrap_or_default();
        table.push([
            id_of(one).to_string(),
            or_dash(condition(one, "Ready").map(|one| one.status.clone())),
            status.served.summary,
            or_dash(status.not_after),
            or_dash(status.renewal_time),
            one.spec.dns_names.join(","),
        ]);
    }
    let mut text = table.to_string();
    for one in certificates.iter().filter(|one| !is_good(one)) {
        let problem = ["Ready", "RolledOut"]
            .iter()
            .filter_map(|kind| condition(one, kind))
            .find(|one| one.status != "True" || one.reason == "RenewalFailing");
        let problem = problem.map_or_else(|| NO_STATUS.to_owned(), message_of);
        text.push_str(&format!("{}: {}\n", id_of(one), escape(&problem)));
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
    fn a_renewal_ends_served_by_all_relays_or_failed() {
        let with = |revision: i64, next: &str, rolled_out: &str| {
            let mut one = certificate("one", ("True", "Issued", "valid"), rolled_out);
            let status = one.status.as_mut().unwrap();
            status.revision = Some(revision);
            status.next_attempt = Some(next.to_owned()).filter(|next| !next.is_empty());
            one
        };
        let before = with(3, "10:00", "True");
        for waits in ["10:00", ""] {
            assert!(matches!(renewal(&before, &with(3, waits, "True")), Renewal::InProgress(_)));
        }
        let rolling = renewal(&before, &with(4, "", "False"));
        assert_eq!(rolling, Renewal::InProgress("RollingOut: 1 of 2 relays serve it".to_owned()));
        assert_eq!(renewal(&before, &with(4, "", "True")), Renewal::Served);
        assert!(matches!(renewal(&before, &with(3, "10:10", "True")), Renewal::Failed(_)));
    }

    #[test]
    fn problems_stand_below_the_table() {
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
        assert_eq!(lines[6], "tunnels/limited: RateLimited: too many\\u{1b}[2J");
        assert_eq!(lines[7], "tunnels/failing: RenewalFailing: caa: forbidden");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn an_empty_list_is_a_sentence() {
        assert_eq!(text(&[]), "there are no Certificates here\n");
    }
}
