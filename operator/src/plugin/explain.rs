//! `kubectl adit explain`: follows a public URL from DNS to the service behind it.

use super::{
    cluster::{Cluster, id_of},
    command_error::CommandError,
    complaints,
    consumer::{self, Answer, Target},
    level::Level,
    output::{Output, to_json},
    status::assess,
    tunnels::{self, Tunnel},
};
use crate::controller::find_condition;
use adit_api::{
    Complaint, Region,
    complaint::{Phase, Scope},
};
use adit_terminal::{Table, escape};
use kube::ResourceExt;
use serde::Serialize;
use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

/// Remaining validity of a certificate at which it is a warning, in days.
const MIN_VALIDITY_DAYS: i64 = 14;
/// Maximum duration of a connection attempt to one of several addresses.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// One step of the way from DNS to the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Step {
    step: &'static str,
    level: Level,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Step {
    fn new(step: &'static str, level: Level, message: impl Into<String>) -> Self {
        Self { step, level, message: message.into(), next: None }
    }

    fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }
}

/// Follows a URL. A step that fails is a problem.
pub(super) async fn explain(cluster: &Cluster, url: &str, json: bool) -> Result<Output, CommandError> {
    let target = Target::parse(url).ok_or_else(|| {
        let what = format!("{url:?} is not an http or https URL with a host");
        CommandError::usage("url", what, "kubectl adit explain https://NAME.DOMAIN/")
    })?;
    let regions: Vec<Region> = cluster.list().await?;
    let region = region_of(&regions, &target.host).ok_or_else(|| {
        let domains: Vec<_> = regions.iter().map(|region| region.spec.domain.as_str()).collect();
        let what = format!("no Region has {}", target.host);
        CommandError::usage("no_region", what, format!("the Regions' domains are: {}", domains.join(", ")))
    })?;
    let (dns, address) = dns_step(region, &target).await;
    let mut steps = vec![dns, region_step(region)];
    let tunnels = tunnels::tunnels_of(cluster, &id_of(region)).await?;
    let has_host = |tunnel: &&Tunnel| Target::parse(&tunnel.url).is_some_and(|one| one.host == target.host);
    let tunnel = tunnels.iter().find(has_host);
    steps.push(tunnel_step(tunnel, &target, region));
    // A person who may not read Complaints is not told that there are none.
    if let Ok(complaints) = cluster.visible_complaints().await {
        let account = tunnel.map(|tunnel| tunnels::account_id(&tunnel.account));
        steps.push(complaint_step(&complaints, &target.host, account.as_deref()));
    }
    if let Some(address) = address {
        steps.extend(request_steps(cluster, region, &target, address).await);
    }
    let is_problem = steps.iter().any(|step| step.level == Level::Fail);
    Ok(Output { text: if json { to_json(&steps) } else { text(&steps) }, is_problem })
}

/// The Region whose domain is above the host; the longest domain if there are several.
fn region_of<'a>(regions: &'a [Region], host: &str) -> Option<&'a Region> {
    let is_above = |region: &&Region| {
        let rest = host.strip_suffix(region.spec.domain.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    regions.iter().filter(is_above).max_by_key(|region| region.spec.domain.len())
}

async fn dns_step(region: &Region, target: &Target) -> (Step, Option<SocketAddr>) {
    let address = region.status.as_ref().and_then(|status| status.address.clone());
    let wanted = address.as_deref().unwrap_or("the address of the region's Service");
    let next = format!("set  *.{}.  to {wanted}", region.spec.domain);
    let found = match resolve(target).await {
        Ok(found) => found,
        Err(error) => return (Step::new("dns", Level::Fail, error.to_string()).next(next), None),
    };
    let ips: Vec<String> = found.iter().map(|one| one.ip().to_string()).collect();
    let (text, name) = (ips.join(", "), region.name_any());
    let step = match address {
        Some(address) if address.parse::<IpAddr>().is_ok() && !ips.contains(&address) => {
            Step::new("dns", Level::Warn, format!("{text}, but {name} is at {address}")).next(next)
        }
        Some(address) if ips.contains(&address) => {
            Step::new("dns", Level::Ok, format!("{text}, the address of {name}"))
        }
        _ => Step::new("dns", Level::Ok, text),
    };
    (step, first_reachable(&found).await)
}

/// Resolves the host as browsers and curl do: names below `localhost` are this machine (RFC 6761).
async fn resolve(target: &Target) -> std::io::Result<Vec<SocketAddr>> {
    let host = if target.host.ends_with(".localhost") { "localhost" } else { &target.host };
    Ok(lookup_host((host, target.port)).await?.collect())
}

/// The first address that accepts a connection, as consumers find it; the first of all if none does.
async fn first_reachable(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    for address in addresses {
        if matches!(timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await, Ok(Ok(_))) {
            return Some(*address);
        }
    }
    addresses.first().copied()
}

fn region_step(region: &Region) -> Step {
    let (id, (level, problems)) = (id_of(region), assess(region));
    let relays = region.status.as_ref().map(|status| status.relays.summary.as_str()).unwrap_or_default();
    match level {
        Level::Fail => Step::new("region", level, format!("{}: {}", id.name, problems.join("; ")))
            .next(format!("kubectl describe region {} -n {}", id.name, id.namespace)),
        _ => Step::new("region", Level::Ok, format!("{} is ready, {relays} relays", id.name)),
    }
}

fn tunnel_step(tunnel: Option<&Tunnel>, target: &Target, region: &Region) -> Step {
    let Some(tunnel) = tunnel else {
        let id = id_of(region);
        let message = format!("no client publishes {} on any of the relays", target.host);
        return Step::new("tunnel", Level::Fail, message).next(format!(
            "on the client's machine, adit status; here, kubectl adit tunnels {} -n {}",
            id.name, id.namespace
        ));
    };
    let relays: Vec<_> =
        tunnel.relays.iter().map(|serving| format!("{} ({})", serving.relay, serving.sessions)).collect();
    let account = tunnels::account_name(&tunnel.account);
    Step::new("tunnel", Level::Ok, format!("account {account}, sessions with {}", relays.join(", ")))
}

/// The complaints about a host, or about the account that publishes it.
fn complaint_step(all: &[Complaint], host: &str, account: Option<&str>) -> Step {
    let about: Vec<&Complaint> = all.iter().filter(|one| complaints::concerns(one, host, account)).collect();
    if let Some(one) = about.iter().find(|one| complaints::is_in_force(one)) {
        let status = one.status.clone().unwrap_or_default();
        let target = match (one.spec.scope, status.account) {
            (Scope::Account, Some(account)) => format!("account {account}"),
            _ => complaints::target(one).to_owned(),
        };
        let category = format!("{:?}", one.spec.category).to_lowercase();
        let until = one.spec.until.as_ref().map_or_else(String::new, |until| format!(" until {}", until.0));
        let id = id_of(*one);
        let next = format!("if that is over, kubectl adit lift -n {} {} --reason WHY", id.namespace, id.name);
        let message = format!("{id} keeps {target} offline{until}: {category}");
        return Step::new("complaint", Level::Fail, message).next(next);
    }
    match about.iter().find(|one| complaints::phase(one) == Phase::Open) {
        Some(one) => Step::new("complaint", Level::Warn, format!("{} waits for a decision", id_of(*one)))
            .next("kubectl adit complaints"),
        None => Step::new("complaint", Level::Ok, "none"),
    }
}

/// Sends a consumer's request to the address.
async fn request_steps(
    cluster: &Cluster,
    region: &Region,
    target: &Target,
    address: SocketAddr,
) -> Vec<Step> {
    let began = Instant::now();
    let tcp = match consumer::connect(address).await {
        Ok(tcp) => tcp,
        Err(error) => {
            return vec![Step::new(
                "connection",
                Level::Fail,
                format!("no connection to {address}: {error}"),
            )];
        }
    };
    if !target.is_tls {
        return vec![service_step(consumer::get(target, tcp).await, began)];
    }
    // Without a Certificate, relays serve one of the development CA.
    let conditions = region.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    let is_served = find_condition(conditions, "CertificateServed").is_none_or(|one| one.status == "True");
    let ca = if is_served { None } else { cluster.development_ca(&id_of(region)).await };
    let tls = match consumer::start_tls(target, tcp, ca.as_deref()).await {
        Ok(tls) => tls,
        Err(error) => return vec![Step::new("tls", Level::Fail, error.to_string())],
    };
    let trust =
        if ca.is_some() { "trusted by the region's development CA" } else { "trusted by this machine" };
    let days =
        consumer::not_after(&tls).map(|end| (end - OffsetDateTime::now_utc().unix_timestamp()) / 86_400);
    let step = match days {
        Some(days) => {
            let level = if days < MIN_VALIDITY_DAYS { Level::Warn } else { Level::Ok };
            Step::new("tls", level, format!("{trust}, expires in {days} d"))
        }
        None => Step::new("tls", Level::Ok, trust),
    };
    vec![step, service_step(consumer::get(target, tls).await, began)]
}

fn service_step(answer: std::io::Result<Answer>, began: Instant) -> Step {
    let milliseconds = began.elapsed().as_millis();
    match answer {
        Err(error) => Step::new("service", Level::Fail, format!("no answer: {error}")),
        Ok(Answer { status, code: Some(code) }) => {
            Step::new("service", Level::Fail, format!("consumers get {status} [{code}]"))
                .next(format!("adit help {code}"))
        }
        Ok(Answer { status, code: None }) => {
            Step::new("service", Level::Ok, format!("answered {status} in {milliseconds} ms"))
        }
    }
}

fn text(steps: &[Step]) -> String {
    let mut table = Table::without_headings();
    for step in steps {
        table.push([step.level.as_str(), step.step, &step.message]);
    }
    let mut text = table.to_string();
    for next in steps.iter().filter_map(|step| step.next.as_deref()) {
        text.push_str(&format!("next:  {}\n", escape(next)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn region(name: &str, domain: &str) -> Region {
        serde_json::from_value(json!({
            "apiVersion": "adit.dev/v1alpha1", "kind": "Region", "metadata": {"name": name, "namespace": "tunnels"},
            "spec": {"domain": domain, "store": {"relaySecretRef": {"name": "s", "key": "url"}}},
        }))
        .unwrap()
    }

    #[test]
    fn a_host_belongs_to_the_region_with_the_longest_domain() {
        let regions = [region("a", "example.com"), region("b", "eu.example.com")];
        let name = |host: &str| region_of(&regions, host).and_then(|region| region.metadata.name.clone());
        assert_eq!(name("shop.eu.example.com").as_deref(), Some("b"));
        assert_eq!(name("eu.example.com").as_deref(), Some("b"));
        assert_eq!(name("neu.example.com").as_deref(), Some("a"));
        assert_eq!(name("example.org"), None);
    }

    #[test]
    fn an_unpublished_name_fails_with_what_to_do_next() {
        let target = Target::parse("https://shop.eu.example.com/").unwrap();
        let step = tunnel_step(None, &target, &region("eu", "eu.example.com"));
        assert_eq!(step.level, Level::Fail);
        assert!(step.next.unwrap().contains("adit status"));
    }

    #[test]
    fn the_complaint_that_keeps_a_name_offline_is_named() {
        let complaint = |name: &str, phase: &str, hostnames: &[&str]| -> Complaint {
            serde_json::from_value(json!({
                "apiVersion": "adit.dev/v1alpha1", "kind": "Complaint",
                "metadata": {"name": name, "namespace": "tunnels"},
                "spec": {"against": {"hostname": "bank.eu.example.com"}, "category": "Phishing"},
                "status": {"phase": phase, "account": "adit|eve", "hostnames": hostnames},
            }))
            .unwrap()
        };
        let over = complaint("over", "Lifted", &[]);
        let open = complaint("open", "Open", &["shop.eu.example.com"]);
        let done = complaint("done", "Enforced", &["shop.eu.example.com"]);
        let step = complaint_step(std::slice::from_ref(&over), "shop.eu.example.com", Some("adit|eve"));
        assert_eq!((step.level, step.message.as_str()), (Level::Ok, "none"));
        let step = complaint_step(&[over.clone(), open.clone()], "shop.eu.example.com", None);
        assert_eq!((step.level, step.message.as_str()), (Level::Warn, "tunnels/open waits for a decision"));
        let step = complaint_step(&[over, open, done], "shop.eu.example.com", None);
        assert_eq!(step.level, Level::Fail);
        assert_eq!(step.message, "tunnels/done keeps account adit|eve offline: phishing");
        assert!(step.next.unwrap().contains("kubectl adit lift -n tunnels done "));
    }

    #[test]
    fn a_relay_s_own_answer_is_a_failure() {
        let step = |code: Option<&str>| {
            service_step(Ok(Answer { status: 503, code: code.map(str::to_owned) }), Instant::now())
        };
        assert_eq!(step(Some("tunnel_offline")).message, "consumers get 503 [tunnel_offline]");
        assert_eq!(step(None).level, Level::Ok);
    }
}
