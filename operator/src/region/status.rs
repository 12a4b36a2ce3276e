//! The status of a Region. Pure: it depends on the observation, the status before and the time.

use crate::{
    controller::{Blocked, ConditionValue, conditions},
    objects::pod_selector,
    store_view::{Reachability, RelayReport},
};
use adit_api::{
    Region, RegionStatus,
    region::{ConfigRevision, RelayCounts},
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
    jiff::Timestamp,
};

/// Interval in seconds in which `sessions` and `tunnels` are written at most once.
const COUNTS_INTERVAL_SECONDS: i64 = 60;
/// Maximum certificates that a message names.
const MAX_NAMED_CERTIFICATES: usize = 3;

/// The state of the relays' Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct DeploymentState {
    /// Whether its controller has seen the newest spec.
    pub(super) is_observed: bool,
    /// Desired number of pods.
    pub(super) desired: i32,
    /// Number of pods that exist and are not ending.
    pub(super) replicas: i32,
    /// Number of ready pods.
    pub(super) ready: i32,
    /// Number of pods of the newest template.
    pub(super) updated: i32,
    /// Why it makes no progress, as its controller says.
    pub(super) problem: Option<String>,
    /// The relays' image.
    pub(super) image: Option<String>,
}

/// A certificate of the store that a region's relays should serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ExpectedCertificate {
    /// The namespace and name of its Certificate; `for` and the DNS names if it is not in this cluster.
    pub(super) name: String,
    /// Its fingerprint.
    pub(super) fingerprint: String,
    /// When it expires, in seconds since 1970.
    pub(super) not_after: u64,
}

/// All that decides about a Region's status.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct RegionObservation {
    /// Why the objects are left as they are.
    pub(super) blocked: Option<Blocked>,
    /// The relays' Deployment, if it exists.
    pub(super) deployment: Option<DeploymentState>,
    /// The relays' recent reports.
    pub(super) reports: Vec<RelayReport>,
    /// The store.
    pub(super) store: Reachability,
    /// The registry, as far as its Secret tells.
    pub(super) registry: Reachability,
    /// The revision of the configuration that relays should use.
    pub(super) revision: Option<String>,
    /// Where consumers and clients arrive.
    pub(super) address: Option<String>,
    /// The certificates that relays should serve; `None` if the store does not answer.
    pub(super) certificates: Option<Vec<ExpectedCertificate>>,
    /// When the development certificate expires (RFC 3339).
    pub(super) not_after: Option<String>,
}

/// The status of a Region from now on. `region` has the status before.
pub(super) fn status(region: &Region, observation: &RegionObservation, now: Timestamp) -> RegionStatus {
    let old = region.status.clone().unwrap_or_default();
    let generation = region.metadata.generation;
    let deployment = observation.deployment.clone().unwrap_or_default();
    let (ready, desired) = (deployment.ready, deployment.desired);
    let relays = RelayCounts {
        desired,
        ready,
        updated: deployment.updated,
        draining: count(observation.reports.iter().filter(|report| report.is_draining).count()),
        summary: format!("{ready}/{desired}"),
    };
    let config_revision =
        observation.revision.as_ref().map(|revision| config_revision(revision, &observation.reports, ready));
    let values = [
        ("Ready", readiness(region, observation, &deployment)),
        ("RelaysAvailable", availability(region, observation, &deployment)),
        ("CertificateServed", certificate_served(region, observation)),
        ("RegistryReachable", registry_reachable(observation)),
        ("StoreReachable", back_end_value(&observation.store, "The store answers")),
        ("Progressing", progress(observation, &deployment, config_revision.as_ref())),
    ];
    let mut status = RegionStatus {
        observed_generation: generation,
        conditions: conditions(&old.conditions, values, generation, now),
        relays,
        selector: Some(pod_selector(region.metadata.name.as_deref().unwrap_or_default(), "relay")),
        config_revision,
        sessions: old.sessions,
        tunnels: old.tunnels,
        counted_at: old.counted_at.clone(),
        address: observation.address.clone(),
        image: deployment.image,
        not_after: not_after(&old, observation),
    };
    update_counts(&mut status, &observation.reports, now);
    status
}

/// Whether an Event about a condition is a warning.
pub(super) fn is_problem(condition: &Condition) -> bool {
    condition.status != "True" && !(condition.type_ == "Progressing" && condition.reason == "Done")
}

fn readiness(
    region: &Region,
    observation: &RegionObservation,
    deployment: &DeploymentState,
) -> ConditionValue {
    if let Some(blocked) = &observation.blocked {
        return blocked.into();
    }
    let available = availability(region, observation, deployment);
    if available.is_true() { ConditionValue::yes("Serving", available.message) } else { available }
}

fn availability(
    region: &Region,
    observation: &RegionObservation,
    deployment: &DeploymentState,
) -> ConditionValue {
    let counts = format!("{} of {} relays are ready", deployment.ready, deployment.desired);
    if region.spec.suspended {
        return ConditionValue::no("Suspended", "All relays are stopped: spec.suspended is true");
    }
    if observation.deployment.is_none() {
        let back_ends = [&observation.store, &observation.registry];
        let missing = back_ends.into_iter().find_map(|state| match state {
            Reachability::Unreachable { reason, message } => Some(ConditionValue::no(*reason, message)),
            Reachability::Reachable | Reachability::Unknown => None,
        });
        return missing.unwrap_or(ConditionValue::no("NotCreated", "The relays have not been created yet"));
    }
    if deployment.is_observed && deployment.desired > 0 && deployment.ready >= deployment.desired {
        return ConditionValue::yes("AllReady", counts);
    }
    match &deployment.problem {
        Some(problem) => ConditionValue::no("Stuck", format!("{counts}: {problem}")),
        None => ConditionValue::no("NotReady", counts),
    }
}

fn certificate_served(region: &Region, observation: &RegionObservation) -> ConditionValue {
    let reports = &observation.reports;
    if let Some(problem) = reports.iter().find_map(|report| report.certificate_problem.as_ref()) {
        let message = format!("A relay refused a certificate and serves the one before: {problem}");
        return ConditionValue::no("RefusedByRelay", message);
    }
    let expected = observation.certificates.as_deref().unwrap_or_default();
    let serves_all = |report: &&RelayReport| {
        !report.served.is_empty() && expected.iter().all(|one| report.served.contains(&one.fingerprint))
    };
    let (all, serving) = (reports.len(), reports.iter().filter(serves_all).count());
    let names = if expected.is_empty() { "the region's Certificates".to_owned() } else { named(expected) };
    if serving > 0 && serving == all {
        return ConditionValue::yes("Served", format!("Every relay serves {names}"));
    }
    if !expected.is_empty() || reports.iter().any(|report| !report.served.is_empty()) {
        return ConditionValue::no("RollingOut", format!("{serving} of {all} relays serve {names}"));
    }
    let (name, domain) = (region.metadata.name.as_deref().unwrap_or_default(), &region.spec.domain);
    let message = format!(
        "There is no Certificate for {domain}: relays serve one of a development CA, which clients need to be given: \
         key \"ca.crt\" of ConfigMap \"{name}-ca\""
    );
    ConditionValue::no("DevelopmentCertificate", message)
}

/// The certificates' names and expiry, the first to expire first; of many only some.
fn named(expected: &[ExpectedCertificate]) -> String {
    let mut expected: Vec<_> = expected.iter().collect();
    expected.sort_by_key(|one| (one.not_after, &one.name));
    let more = expected.len().saturating_sub(MAX_NAMED_CERTIFICATES);
    let shown: Vec<_> = expected
        .iter()
        .take(MAX_NAMED_CERTIFICATES)
        .map(|one| format!("Certificate {}, which expires at {}", one.name, rfc3339(one.not_after)))
        .collect();
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    shown.join("; ") + &more
}

/// When the first of the served certificates expires.
fn not_after(old: &RegionStatus, observation: &RegionObservation) -> Option<String> {
    let is_served = |one: &&ExpectedCertificate| {
        observation.reports.iter().any(|report| report.served.contains(&one.fingerprint))
    };
    let certificates = observation.certificates.iter().flatten();
    let first = certificates.filter(is_served).map(|one| one.not_after).min();
    let serves_others = || observation.reports.iter().any(|report| !report.served.is_empty());
    match first {
        Some(end) => Some(rfc3339(end)),
        // The store has replaced what is served a moment ago, or does not answer.
        None if serves_others() => old.not_after.clone(),
        None => observation.not_after.clone(),
    }
}

/// Seconds since 1970 as RFC 3339.
fn rfc3339(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map(|time| time.to_string()).unwrap_or_default()
}

fn back_end_value(state: &Reachability, reachable: &str) -> ConditionValue {
    match state {
        Reachability::Reachable => ConditionValue::yes("Reachable", reachable),
        Reachability::Unreachable { reason, message } => ConditionValue::no(*reason, message),
        Reachability::Unknown => ConditionValue::unknown("NotObserved", "The state is not known yet"),
    }
}

fn registry_reachable(observation: &RegionObservation) -> ConditionValue {
    let reports = &observation.reports;
    let failing = reports.iter().filter(|report| !report.is_registry_up).count();
    match (&observation.registry, reports.len()) {
        (missing @ Reachability::Unreachable { .. }, _) => back_end_value(missing, ""),
        (_, 0) => back_end_value(&Reachability::Unknown, ""),
        (_, _) if failing == 0 => ConditionValue::yes("Reachable", "Every relay reaches the registry"),
        (_, all) => {
            let message = format!(
                "{failing} of {all} relays do not reach the registry; open tunnels work on, those relays refuse new ones"
            );
            ConditionValue::no("Unreachable", message)
        }
    }
}

fn progress(
    observation: &RegionObservation,
    deployment: &DeploymentState,
    revision: Option<&ConfigRevision>,
) -> ConditionValue {
    if let Some(blocked) = &observation.blocked {
        return blocked.into();
    }
    if let Some(refused) = observation.reports.iter().find_map(|report| report.refused.as_ref()) {
        let message = format!("A relay refused the newest configuration and uses the one before: {refused}");
        return ConditionValue::no("ConfigurationRefused", message);
    }
    if let Some(problem) = &deployment.problem {
        return ConditionValue::no("Stuck", problem);
    }
    let DeploymentState { is_observed, desired, replicas, updated, .. } = *deployment;
    if observation.deployment.is_some() && (!is_observed || updated < desired || replicas != desired) {
        let message = format!("{updated} of {desired} relays run the newest template");
        return ConditionValue::yes("RollingOut", message);
    }
    match revision {
        Some(revision) if revision.confirmed < revision.relays => {
            let message = format!("{} relays use the newest configuration", revision.summary);
            ConditionValue::yes("Configuring", message)
        }
        _ => ConditionValue::no("Done", "All relays run the desired configuration"),
    }
}

/// How many relays use a revision, of those that report and are not draining, and at least of the ready ones: a relay
/// that has just become ready has not reported yet.
fn config_revision(revision: &str, reports: &[RelayReport], ready: i32) -> ConfigRevision {
    let reporting: Vec<_> = reports.iter().filter(|report| !report.is_draining).collect();
    let confirmed = count(reporting.iter().filter(|report| report.revision == revision).count());
    let relays = count(reporting.len()).max(ready);
    ConfigRevision {
        revision: revision.to_owned(),
        confirmed,
        relays,
        summary: format!("{confirmed}/{relays}"),
    }
}

/// Writes `sessions` and `tunnels`, which change all the time: at most once a minute, and on a change of a tenth.
fn update_counts(status: &mut RegionStatus, reports: &[RelayReport], now: Timestamp) {
    let sum =
        |part: fn(&RelayReport) -> u32| reports.iter().map(|report| i64::from(part(report))).sum::<i64>();
    let (sessions, tunnels) = (sum(|report| report.sessions), sum(|report| report.tunnels));
    let is_recent = status
        .counted_at
        .as_ref()
        .is_some_and(|at| now.as_second() - at.0.as_second() < COUNTS_INTERVAL_SECONDS);
    let has_moved = |old: Option<i64>, new: i64| old.is_none_or(|old| (new - old).abs() * 10 > old);
    if !is_recent && (has_moved(status.sessions, sessions) || has_moved(status.tunnels, tunnels)) {
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
