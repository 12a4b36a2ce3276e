//! Suspensions as the relay looks them up: for every request and every stream.

use adit_protocol::{Account, Endpoint};
use adit_store::{Suspended, Suspension, Suspensions};
use std::collections::HashMap;

/// Positions in the list of suspensions.
type Hits = Vec<u32>;

/// All suspensions, by whom they keep out.
#[derive(Debug, Default)]
pub struct Index {
    all: Suspensions,
    accounts: HashMap<Account, Hits>,
    endpoints: HashMap<Endpoint, Hits>,
    /// Endpoints that were taken offline together with their account.
    with_account: HashMap<Endpoint, Hits>,
}

impl Index {
    /// The index of a region's relay.
    pub fn new(all: Suspensions, domain: &str) -> Self {
        let mut index = Self::default();
        for (at, suspension) in (0_u32..).zip(&all.list) {
            match &suspension.target {
                Suspended::Account(account) => {
                    index.accounts.entry(account.clone()).or_default().push(at);
                    let endpoints = suspension
                        .hostnames
                        .iter()
                        .filter_map(|key| Endpoint::from_provider_key(key, domain));
                    for endpoint in endpoints {
                        index.with_account.entry(endpoint).or_default().push(at);
                    }
                }
                Suspended::Hostname(host) => {
                    index.endpoints.entry(Endpoint::host(host)).or_default().push(at);
                }
                Suspended::Port { region, port } if region == domain => {
                    index.endpoints.entry(Endpoint::Tcp(*port)).or_default().push(at);
                }
                Suspended::Port { .. } => {}
            }
        }
        index.all = all;
        index
    }

    /// What was read, to be kept or passed on.
    pub fn all(&self) -> &Suspensions {
        &self.all
    }

    /// The version of what was read.
    pub fn version(&self) -> u64 {
        self.all.version
    }

    /// The first of them that has not ended at `now`, which is asked only if one of them ends at all.
    fn in_force(&self, hits: Option<&Hits>, now: impl Fn() -> u64) -> Option<&Suspension> {
        let all = hits?.iter().filter_map(|at| self.all.list.get(*at as usize));
        all.into_iter().find(|suspension| suspension.until.is_none_or(|until| until > now()))
    }

    /// What keeps an account out.
    pub fn account(&self, account: &Account, now: impl Fn() -> u64) -> Option<&Suspension> {
        if self.accounts.is_empty() { None } else { self.in_force(self.accounts.get(account), now) }
    }

    /// What keeps an endpoint offline, whoever serves it.
    pub fn endpoint(&self, endpoint: &Endpoint, now: impl Fn() -> u64) -> Option<&Suspension> {
        if self.endpoints.is_empty() { None } else { self.in_force(self.endpoints.get(endpoint), now) }
    }

    /// What keeps an account from serving an endpoint. What holds for the account goes first.
    pub fn against(
        &self,
        account: &Account,
        endpoint: &Endpoint,
        now: impl Fn() -> u64 + Copy,
    ) -> Option<&Suspension> {
        self.account(account, now).or_else(|| self.endpoint(endpoint, now))
    }

    /// Why nobody serves an endpoint, if that is because its account or the endpoint itself was taken offline.
    pub fn gone(&self, endpoint: &Endpoint, now: impl Fn() -> u64 + Copy) -> Option<&Suspension> {
        self.endpoint(endpoint, now).or_else(|| self.in_force(self.with_account.get(endpoint), now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn suspension(id: &str, target: Suspended, until: Option<u64>, hostnames: &[&str]) -> Suspension {
        Suspension {
            id: id.to_owned(),
            target,
            until,
            reason: "phishing".to_owned(),
            complaint: None,
            since: 1,
            hostnames: hostnames.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_suspension_is_found_by_account_or_endpoint_until_it_ends() {
        let (ada, bob) = (Account::managed("ada"), Account::managed("bob"));
        let (shop, blog) = (Endpoint::host("shop.eu.example"), Endpoint::host("blog.eu.example"));
        let port = |region: &str, port| Suspended::Port { region: region.to_owned(), port };
        let list = vec![
            suspension("host", Suspended::Hostname("shop.eu.example".to_owned()), Some(100), &[]),
            suspension("short", Suspended::Account(ada.clone()), Some(20), &[]),
            suspension(
                "account",
                Suspended::Account(ada.clone()),
                Some(50),
                &["blog.eu.example", "eu.example/tcp:7"],
            ),
            suspension("port", port("eu.example", 20022), None, &[]),
            suspension("elsewhere", port("us.example", 20023), None, &[]),
        ];
        let index = Index::new(Suspensions { version: 3, list }, "eu.example");
        let found = |account: &Account, endpoint: &Endpoint, now: u64| {
            index.against(account, endpoint, || now).map(|found| found.id.as_str())
        };
        assert_eq!(found(&ada, &blog, 19), Some("short"));
        assert_eq!(found(&ada, &blog, 49), Some("account"), "the longer of two holds");
        assert_eq!(found(&ada, &shop, 49), Some("account"), "all of it is offline, not the name alone");
        assert_eq!(found(&ada, &shop, 50), Some("host"));
        assert_eq!(found(&ada, &blog, 50), None);
        assert_eq!(found(&bob, &shop, 99), Some("host"));
        assert_eq!(found(&bob, &shop, 100), None);
        assert_eq!(found(&bob, &blog, 1), None, "the next owner of a name is no offender");
        assert_eq!(found(&bob, &Endpoint::Tcp(20022), 1), Some("port"));
        assert_eq!(found(&bob, &Endpoint::Tcp(20023), 1), None, "another region's port");
        let gone =
            |endpoint: &Endpoint, now: u64| index.gone(endpoint, || now).map(|found| found.id.as_str());
        assert_eq!((gone(&blog, 49), gone(&blog, 50)), (Some("account"), None));
        assert_eq!((gone(&Endpoint::Tcp(7), 1), gone(&shop, 1)), (Some("account"), Some("host")));
    }

    #[test]
    fn ten_thousand_suspensions_cost_a_stream_no_more_than_one() {
        let suspended = |at: usize| {
            let target = if at.is_multiple_of(2) {
                Suspended::Account(Account::managed(format!("offender-{at}")))
            } else {
                Suspended::Hostname(format!("offender-{at}.eu.example.com"))
            };
            suspension(&format!("s-{at}"), target, Some(2_000_000_000), &["a.eu.example.com"])
        };
        let all = Suspensions { version: 1, list: (0..10_000).map(suspended).collect() };
        let index = Index::new(all, "eu.example.com");
        let (account, endpoint) = (Account::managed("an-innocent"), Endpoint::host("shop.eu.example.com"));
        let (begun, rounds) = (Instant::now(), 200_000_u32);
        let mut hits = 0;
        for _ in 0..rounds {
            let found = index.against(std::hint::black_box(&account), std::hint::black_box(&endpoint), || 1);
            hits += u32::from(found.is_some());
        }
        let each = begun.elapsed() / rounds;
        assert_eq!(hits, 0);
        assert!(index.against(&Account::managed("offender-9998"), &endpoint, || 1).is_some());
        if std::env::var_os("SOAK").is_some() {
            println!(
                "soak: a stream is checked against 10,000 suspensions | {rounds} times, {} ns each | -",
                each.as_nanos()
            );
            assert!(each.as_nanos() < 1000, "{each:?}");
        }
    }
}
