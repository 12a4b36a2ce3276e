//! What is said of a Region. Pure: what was seen and what was said before give what is said now.

use adit_api::{
    Region, RegionStatus,
    region::{ConfigRevision, RelayCounts},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// How often `sessions` and `tunnels` are written at most.
const COUNTS_SECONDS: i64 = 60;
/// How many certificates are named.
const MOST_NAMED: usize = 3;

/// Something that may work, with the words for when it does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// It works.
    Good,
    /// It does not.
    Bad {
        /// One word in CamelCase.
        reason: &'static str,
        /// What is wrong, and what to do.
        message: String,
    },
    /// Nobody has said yet.
    #[default]
    Unknown,
}

/// The last word of a relay about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The revision of the configuration that it uses.
    pub revision: String,
    /// Whether it is draining.
    pub draining: bool,
    /// Its sessions.
    pub sessions: u32,
    /// The tunnels on them.
    pub tunnels: u32,
    /// Whether it reaches the registry.
    pub registry_up: bool,
    /// Why it does not use a newer configuration that it has read.
    pub refused: Option<String>,
    /// The fingerprints of the certificates of the store that it serves.
    pub served: Vec<String>,
    /// Why it does not serve one of them.
    pub certificate_problem: Option<String>,
}

/// The relays' Deployment as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeploymentSeen {
    /// Whether its controller has seen its newest spec.
    pub is_observed: bool,
    /// Pods that are wanted now.
    pub wanted: i32,
    /// Pods that are there and not ending.
    pub replicas: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those of the newest template.
    pub updated: i32,
    /// Why it does not get on, in its controller's words.
    pub stuck: Option<String>,
    /// The relays' image.
    pub image: Option<String>,
}

/// A certificate of the store that a region's relays should serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its Certificate's namespace and name; of one that is not in this cluster, the DNS names.
    pub called: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// When it ends, in seconds since 1970.
    pub not_after: u64,
}

/// All that was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Observed {
    /// What keeps the operator from its work altogether: what is there stays as it is.
    pub stopped: Option<(&'static str, String)>,
    /// The relays' Deployment; nothing when it is not there.
    pub deployment: Option<DeploymentSeen>,
    /// What relays have said not long ago.
    pub reports: Vec<Report>,
    /// The store, as operator and relays see it.
    pub store: State,
    /// The registry's URL: whether it is there at all.
    pub registry: State,
    /// The revision that relays should use.
    pub revision: Option<String>,
    /// Where consumers arrive.
    pub address: Option<String>,
    /// The certificates that relays should serve; nothing while the store has not said.
    pub certificates: Option<Vec<Wanted>>,
    /// When the certificate of the development CA ends, which stands in without another one (RFC 3339).
    pub not_after: Option<String>,
}

/// What is said of a Region now. `region` has what was said before.
pub fn status(region: &Region, observed: &Observed, now: Timestamp) -> RegionStatus {
    let old = region.status.clone().unwrap_or_default();
    let generation = region.metadata.generation;
    let seen = observed.deployment.clone().unwrap_or_default();
    let (ready, wanted) = (seen.ready, seen.wanted);
    let relays = RelayCounts {
        desired: wanted,
        ready,
        updated: seen.updated,
        draining: count(observed.reports.iter().filter(|report| report.draining).count()),
        summary: format!("{ready}/{wanted}"),
    };
    let config_revision = observed.revision.clone().map(|revision| confirmed(revision, &observed.reports));
    let conditions = [
        ("Ready", readiness(region, observed, &seen)),
        ("RelaysAvailable", availability(region, observed, &seen)),
        ("CertificateServed", certificate(region, observed)),
        ("RegistryReachable", registry(observed)),
        ("StoreReachable", said(&observed.store, "Reachable", "the store answers")),
        ("Progressing", progress(observed, &seen, config_revision.as_ref())),
    ];
    let condition = |(kind, said): (&str, Said)| condition(&old, kind, said, generation, now);
    let mut status = RegionStatus {
        observed_generation: generation,
        conditions: conditions.into_iter().map(condition).collect(),
        relays,
        selector: Some(selector(region)),
        config_revision,
        sessions: old.sessions,
        tunnels: old.tunnels,
        counted_at: old.counted_at.clone(),
        address: observed.address.clone(),
        image: seen.image,
        not_after: not_after(&old, observed),
    };
    recount(&mut status, &observed.reports, now);
    status
}

type Said = (&'static str, &'static str, String);

fn condition(
    old: &RegionStatus,
    kind: &str,
    said: Said,
    generation: Option<i64>,
    now: Timestamp,
) -> Condition {
    let (status, reason, message) = said;
    let since = old.condition(kind).filter(|before| before.status == status);
    Condition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since.map_or(Time(now), |before| before.last_transition_time.clone()),
    }
}

fn selector(region: &Region) -> String {
    let name = region.metadata.name.as_deref().unwrap_or_default();
    let labels = crate::objects::pod_labels(name, "relay");
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn readiness(region: &Region, observed: &Observed, seen: &DeploymentSeen) -> Said {
    if let Some((reason, message)) = &observed.stopped {
        return ("False", reason, message.clone());
    }
    match availability(region, observed, seen) {
        ("True", _, message) => ("True", "Serving", message),
        not => not,
    }
}

fn availability(region: &Region, observed: &Observed, seen: &DeploymentSeen) -> Said {
    let of = format!("{} of {} relays are ready", seen.ready, seen.wanted);
    if region.spec.suspended {
        return ("False", "Suspended", "spec.suspended: all relays are stopped".to_owned());
    }
    if observed.deployment.is_none() {
        let why = [&observed.store, &observed.registry].into_iter().find_map(|state| match state {
            State::Bad { reason, message } => Some(("False", *reason, message.clone())),
            State::Good | State::Unknown => None,
        });
        return why.unwrap_or(("False", "NotMade", "there are no relays yet".to_owned()));
    }
    if seen.is_observed && seen.wanted > 0 && seen.ready >= seen.wanted {
        return ("True", "AllReady", of);
    }
    match &seen.stuck {
        Some(stuck) => ("False", "Stuck", format!("{of}: {stuck}")),
        None => ("False", "NotReady", of),
    }
}

fn certificate(region: &Region, observed: &Observed) -> Said {
    let reports = &observed.reports;
    if let Some(problem) = reports.iter().find_map(|report| report.certificate_problem.as_ref()) {
        return (
            "False",
            "RefusedByRelay",
            format!("a relay goes on with the certificate before: {problem}"),
        );
    }
    let wanted = observed.certificates.as_deref().unwrap_or_default();
    let has_all = |report: &&Report| {
        !report.served.is_empty() && wanted.iter().all(|one| report.served.contains(&one.fingerprint))
    };
    let (all, with) = (reports.len(), reports.iter().filter(has_all).count());
    let what = match wanted {
        [] => "the Certificates of its region".to_owned(),
        wanted => named(wanted),
    };
    if with > 0 && with == all {
        return ("True", "Served", format!("every relay serves {what}"));
    }
    if !wanted.is_empty() || reports.iter().any(|report| !report.served.is_empty()) {
        return ("False", "RollingOut", format!("{with} of {all} relays serve {what}"));
    }
    let (name, domain) = (region.metadata.name.as_deref().unwrap_or_default(), &region.spec.domain);
    let message = format!(
        "there is no Certificate for {domain}: relays serve one of a development CA, which clients need to be given: \
         key \"ca.crt\" of ConfigMap \"{name}-ca\""
    );
    ("False", "DevelopmentCertificate", message)
}

/// Certificates and their ends, those that end first at the front, of many only some.
fn named(wanted: &[Wanted]) -> String {
    let mut wanted: Vec<_> = wanted.iter().collect();
    wanted.sort_by_key(|one| (one.not_after, &one.called));
    let more = wanted.len().saturating_sub(MOST_NAMED);
    let shown = wanted.iter().take(MOST_NAMED);
    let shown: Vec<_> = shown
        .map(|one| format!("Certificate {}, which ends at {}", one.called, rfc3339(one.not_after)))
        .collect();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    shown.join("; ") + &more
}

/// When the first of the served certificates ends.
fn not_after(old: &RegionStatus, observed: &Observed) -> Option<String> {
    let is_served =
        |one: &&Wanted| observed.reports.iter().any(|report| report.served.contains(&one.fingerprint));
    let found = observed.certificates.iter().flatten().filter(is_served).map(|one| one.not_after).min();
    let serves_unknown = || observed.reports.iter().any(|report| !report.served.is_empty());
    match found {
        Some(end) => Some(rfc3339(end)),
        // What is served was replaced in the store just now, or the store is away.
        None if serves_unknown() => old.not_after.clone(),
        None => observed.not_after.clone(),
    }
}

/// Seconds since 1970 as RFC 3339 writes them.
fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn said(state: &State, good: &'static str, words: &str) -> Said {
    match state {
        State::Good => ("True", good, words.to_owned()),
        State::Bad { reason, message } => ("False", reason, message.clone()),
        State::Unknown => ("Unknown", "NotSeen", "nothing has been seen of it yet".to_owned()),
    }
}

fn registry(observed: &Observed) -> Said {
    let away = observed.reports.iter().filter(|report| !report.registry_up).count();
    match (&observed.registry, observed.reports.len()) {
        (State::Bad { .. }, _) => said(&observed.registry, "Reachable", ""),
        (_, 0) => said(&State::Unknown, "Reachable", ""),
        (_, _) if away == 0 => ("True", "Reachable", "every relay reaches it".to_owned()),
        (_, all) => {
            let message = format!(
                "{away} of {all} relays do not reach it; open tunnels go on, new ones are refused there"
            );
            ("False", "Unreachable", message)
        }
    }
}

fn progress(observed: &Observed, seen: &DeploymentSeen, revision: Option<&ConfigRevision>) -> Said {
    if let Some((reason, message)) = &observed.stopped {
        return ("False", reason, message.clone());
    }
    let refused = observed.reports.iter().find_map(|report| report.refused.clone());
    if let Some(refused) = refused {
        return (
            "False",
            "ConfigurationRefused",
            format!("a relay goes on with its configuration: {refused}"),
        );
    }
    if let Some(stuck) = &seen.stuck {
        return ("False", "Stuck", stuck.clone());
    }
    if observed.deployment.is_some()
        && (!seen.is_observed || seen.updated < seen.wanted || seen.replicas != seen.wanted)
    {
        let message = format!("{} of {} relays are of the newest template", seen.updated, seen.wanted);
        return ("True", "RollingOut", message);
    }
    match revision {
        Some(revision) if revision.confirmed < revision.relays => {
            let message = format!("{} relays use the newest configuration", revision.summary);
            ("True", "Configuring", message)
        }
        _ => ("False", "Done", "everything is as it was asked for".to_owned()),
    }
}

fn confirmed(revision: String, reports: &[Report]) -> ConfigRevision {
    let living: Vec<_> = reports.iter().filter(|report| !report.draining).collect();
    let confirmed = count(living.iter().filter(|report| report.revision == revision).count());
    let relays = count(living.len());
    ConfigRevision { revision, confirmed, relays, summary: format!("{confirmed}/{relays}") }
}

/// Counts anew, at most once a minute and only on a change of a tenth: the numbers move all the time.
fn recount(status: &mut RegionStatus, reports: &[Report], now: Timestamp) {
    let sum = |part: fn(&Report) -> u32| reports.iter().map(|report| i64::from(part(report))).sum::<i64>();
    let (sessions, tunnels) = (sum(|report| report.sessions), sum(|report| report.tunnels));
    let recent =
        status.counted_at.as_ref().is_some_and(|at| now.as_second() - at.0.as_second() < COUNTS_SECONDS);
    let moved = |old: Option<i64>, new: i64| old.is_none_or(|old| (new - old).abs() * 10 > old);
    if !recent && (moved(status.sessions, sessions) || moved(status.tunnels, tunnels)) {
        status.sessions = Some(sessions);
        status.tunnels = Some(tunnels);
        status.counted_at = Some(Time(now));
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
