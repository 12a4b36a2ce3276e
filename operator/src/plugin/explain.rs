//! `kubectl adit explain`: a public URL, followed from DNS to the service behind it.

use super::{
    Answer, Failure, complaints,
    kubectl::{Kubectl, place},
    request::{Got, Target, Tls, plain, pretty},
    status::{Level, judged},
    table::columns,
    tunnels::{self, Tunnel},
};
use adit_api::{Complaint, Region, complaint::Scope};
use kube::ResourceExt;
use serde::Serialize;
use std::{
    net::{SocketAddr, TcpStream, ToSocketAddrs},
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// A certificate that ends sooner is said.
const SOON_DAYS: i64 = 14;

/// How long one of several addresses may take for a connection.
const REACH: Duration = Duration::from_secs(3);

/// One step of the way.
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

pub(super) fn explain(kubectl: &Kubectl, url: &str, json: bool) -> Result<Answer, Failure> {
    let target = target(url).ok_or_else(|| {
        Failure::usage(
            "url",
            format!("{url:?} is not an http or https URL with a host"),
            "kubectl adit explain https://NAME.DOMAIN/".to_owned(),
        )
    })?;
    let regions = kubectl.regions()?;
    let region = region_of(&regions, &target.host).ok_or_else(|| {
        let domains: Vec<_> = regions.iter().map(|region| region.spec.domain.as_str()).collect();
        let what = format!("no Region has {}", target.host);
        Failure::usage("no_region", what, format!("the Regions' domains are: {}", domains.join(", ")))
    })?;
    let (dns, address) = dns(region, &target);
    let mut steps = vec![dns, standing(region)];
    let tunnels = tunnels::of(kubectl, region)?;
    let found =
        tunnels.iter().find(|tunnel| self::target(&tunnel.url).is_some_and(|one| one.host == target.host));
    steps.push(tunnel(found, &target, region));
    // Who may not see complaints is not told that there are none.
    if let Ok(all) = kubectl.complaints_anywhere() {
        let account = found.map(|tunnel| tunnels::key(&tunnel.account));
        steps.push(complaint(&all, &target.host, account.as_deref()));
    }
    if let Some(address) = address {
        steps.extend(asked(kubectl, region, &target, address));
    }
    let worst = steps.iter().map(|step| step.level).max().unwrap_or(Level::Ok);
    let text = if json { pretty(&steps) } else { shown(&steps) };
    Ok(Answer { text, is_problem: worst == Level::Fail })
}

fn target(url: &str) -> Option<Target> {
    let uri: http::Uri = url.parse().ok()?;
    let is_tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let host = uri.host()?.trim_end_matches('.').to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Some(Target { host, port, is_tls, path })
}

/// The Region whose domain the host is below: the longest, should one be within another.
fn region_of<'a>(regions: &'a [Region], host: &str) -> Option<&'a Region> {
    let has = |region: &&Region| {
        host.strip_suffix(region.spec.domain.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    regions.iter().filter(has).max_by_key(|region| region.spec.domain.len())
}

fn dns(region: &Region, target: &Target) -> (Step, Option<SocketAddr>) {
    let address = region.status.as_ref().and_then(|status| status.address.clone());
    let domain = &region.spec.domain;
    let next = format!(
        "set  *.{domain}.  to {}",
        address.as_deref().unwrap_or("the address of the region's Service")
    );
    let found: Vec<SocketAddr> = match resolved(target) {
        Ok(found) => found,
        Err(error) => return (Step::new("dns", Level::Fail, error.to_string()).next(next), None),
    };
    let ips: Vec<String> = found.iter().map(|one| one.ip().to_string()).collect();
    let text = ips.join(", ");
    let (_, name) = place(region);
    let step = match address {
        Some(address) if address.parse::<std::net::IpAddr>().is_ok() && !ips.contains(&address) => {
            let message = format!("{text}, but {name} is at {address}");
            Step::new("dns", Level::Warn, message).next(next)
        }
        Some(address) if ips.contains(&address) => {
            Step::new("dns", Level::Ok, format!("{text}, the address of {name}"))
        }
        _ => Step::new("dns", Level::Ok, text),
    };
    // As consumers do it: the first of them that takes a connection.
    let takes = |address: &&SocketAddr| TcpStream::connect_timeout(address, REACH).is_ok();
    (step, found.iter().find(takes).or(found.first()).copied())
}

/// As browsers and curl do it: names below `localhost` are this machine (RFC 6761), whatever its resolver knows.
fn resolved(target: &Target) -> std::io::Result<Vec<SocketAddr>> {
    let host = target.host.as_str();
    let host = if host.ends_with(".localhost") { "localhost" } else { host };
    Ok((host, target.port).to_socket_addrs()?.collect())
}

fn standing(region: &Region) -> Step {
    let (namespace, name) = place(region);
    let (level, problems) = judged(region);
    let relays = region.status.as_ref().map(|status| status.relays.summary.clone()).unwrap_or_default();
    match level {
        Level::Fail => Step::new("region", level, format!("{name}: {}", problems.join("; ")))
            .next(format!("kubectl describe region {name} -n {namespace}")),
        _ => Step::new("region", Level::Ok, format!("{name} is ready, {relays} relays")),
    }
}

fn tunnel(tunnel: Option<&Tunnel>, target: &Target, region: &Region) -> Step {
    let (namespace, name) = place(region);
    let Some(tunnel) = tunnel else {
        let message = format!("no client publishes {} on any of the relays", target.host);
        return Step::new("tunnel", Level::Fail, message).next(format!(
            "on the client's machine, adit status; here, kubectl adit tunnels {name} -n {namespace}"
        ));
    };
    let relays: Vec<_> =
        tunnel.relays.iter().map(|served| format!("{} ({})", served.relay, served.sessions)).collect();
    let account = tunnels::account(&tunnel.account);
    Step::new("tunnel", Level::Ok, format!("account {account}, sessions with {}", relays.join(", ")))
}

/// What complaints there are about a host, or about the account that publishes it.
fn complaint(all: &[Complaint], host: &str, account: Option<&str>) -> Step {
    let about: Vec<&Complaint> = all.iter().filter(|one| complaints::concerns(one, host, account)).collect();
    if let Some(one) = about.iter().find(|one| complaints::is_in_force(one)) {
        let status = one.status.clone().unwrap_or_default();
        let who = match (one.spec.scope, status.account) {
            (Scope::Account, Some(account)) => format!("account {}", complaints::shown(&account)),
            _ => complaints::against(one),
        };
        let category = format!("{:?}", one.spec.category).to_lowercase();
        let until = one.spec.until.as_ref().map_or_else(String::new, |until| format!(" until {}", until.0));
        let message = format!("{} keeps {who} offline{until}: {category}", complaints::place(one));
        let (namespace, name) = (one.namespace().unwrap_or_default(), one.name_any());
        return Step::new("complaint", Level::Fail, message)
            .next(format!("if that is over, kubectl adit lift -n {namespace} {name} --reason WHY"));
    }
    match about.iter().find(|one| complaints::phase(one) == adit_api::complaint::Phase::Open) {
        Some(one) => {
            Step::new("complaint", Level::Warn, format!("{} waits for a decision", complaints::place(one)))
                .next("kubectl adit complaints")
        }
        None => Step::new("complaint", Level::Ok, "none"),
    }
}

/// What a consumer finds at the address.
fn asked(kubectl: &Kubectl, region: &Region, target: &Target, address: SocketAddr) -> Vec<Step> {
    let began = Instant::now();
    if !target.is_tls {
        return vec![answered(plain(target, address), began)];
    }
    // What no Certificate is there for is served with the development CA's.
    let development = region.status.as_ref().and_then(|status| status.condition("CertificateServed"));
    let authority = development.filter(|one| one.status != "True").and_then(|_| kubectl.authority(region));
    let tls = match Tls::open(target, address, authority.as_deref()) {
        Ok(tls) => tls,
        Err(error) => return vec![Step::new("tls", Level::Fail, error.to_string())],
    };
    let trusted = if authority.is_some() {
        "trusted by the region's development CA"
    } else {
        "trusted by this machine"
    };
    let days = tls.not_after().map(|end| (end - OffsetDateTime::now_utc().unix_timestamp()) / 86_400);
    let step = match days {
        Some(days) if days < SOON_DAYS => {
            Step::new("tls", Level::Warn, format!("{trusted}, expires in {days} d"))
        }
        Some(days) => Step::new("tls", Level::Ok, format!("{trusted}, expires in {days} d")),
        None => Step::new("tls", Level::Ok, trusted),
    };
    vec![step, answered(tls.get(target), began)]
}

fn answered(got: std::io::Result<Got>, began: Instant) -> Step {
    let took = began.elapsed().as_millis();
    match got {
        Err(error) => Step::new("service", Level::Fail, format!("no answer: {error}")),
        Ok(Got { status, code: Some(code) }) => {
            Step::new("service", Level::Fail, format!("consumers get {status} [{code}]"))
                .next(format!("adit help {code}"))
        }
        Ok(Got { status, code: None }) => {
            Step::new("service", Level::Ok, format!("answered {status} in {took} ms"))
        }
    }
}

fn shown(steps: &[Step]) -> String {
    let row = |step: &Step| vec![step.level.word().to_owned(), step.step.to_owned(), step.message.clone()];
    let mut text = columns(&steps.iter().map(row).collect::<Vec<_>>());
    for next in steps.iter().filter_map(|step| step.next.as_deref()) {
        text.push_str(&format!("next:  {next}\n"));
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
    fn a_host_belongs_to_the_region_with_the_longest_domain_above_it() {
        let regions = [region("a", "example.com"), region("b", "eu.example.com")];
        let name = |host: &str| region_of(&regions, host).and_then(|region| region.metadata.name.clone());
        assert_eq!(name("shop.eu.example.com").as_deref(), Some("b"));
        assert_eq!(name("eu.example.com").as_deref(), Some("b"));
        assert_eq!(name("neu.example.com").as_deref(), Some("a"));
        assert_eq!(name("example.org"), None);
    }

    #[test]
    fn a_url_is_taken_apart_as_a_consumer_does() {
        let target = target("https://Shop.eu.example.com:8443/cart?x=1").unwrap();
        assert_eq!(
            (target.host.as_str(), target.port, target.path.as_str()),
            ("shop.eu.example.com", 8443, "/cart?x=1")
        );
        assert_eq!(self::target("http://a.b").unwrap().port, 80);
        for bad in ["shop.eu.example.com", "ftp://a.b/", "https://"] {
            assert!(self::target(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_name_that_nobody_publishes_is_said_with_what_to_do() {
        let target = target("https://shop.eu.example.com/").unwrap();
        let step = tunnel(None, &target, &region("eu", "eu.example.com"));
        assert_eq!(step.level, Level::Fail);
        assert!(step.next.unwrap().contains("adit status"));
    }

    #[test]
    fn the_complaint_that_keeps_a_name_or_its_owner_out_is_named_with_what_to_do() {
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
        let step = super::complaint(std::slice::from_ref(&over), "shop.eu.example.com", Some("adit|eve"));
        assert_eq!((step.level, step.message.as_str()), (Level::Ok, "none"));
        let step = super::complaint(&[over.clone(), open.clone()], "shop.eu.example.com", None);
        assert_eq!((step.level, step.message.as_str()), (Level::Warn, "tunnels/open waits for a decision"));
        let step = super::complaint(&[over, open, done], "shop.eu.example.com", None);
        assert_eq!(step.level, Level::Fail);
        assert_eq!(step.message, "tunnels/done keeps account adit|eve offline: phishing");
        assert!(step.next.unwrap().contains("kubectl adit lift -n tunnels done "));
    }

    #[test]
    fn the_relay_s_own_answer_is_a_failure_and_a_service_s_is_not() {
        let step = |code: Option<&str>| {
            answered(Ok(Got { status: 503, code: code.map(str::to_owned) }), Instant::now())
        };
        assert_eq!(step(Some("tunnel_offline")).message, "consumers get 503 [tunnel_offline]");
        assert_eq!(step(None).level, Level::Ok);
    }
}
