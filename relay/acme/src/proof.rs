//! Challenges: makes relays answer them, or sets TXT records, and checks the answer before the CA does.

mod challenge;
mod self_check;

pub(crate) use challenge::Challenge;

use crate::{
    client::Http,
    dns::{DnsError, Resolvers, Server},
    error::IssueError,
    request::{Dns01, Proof, Request},
};
use adit_store::{ChallengeKind, Store, StoredChallenge};
use adit_system::clock::now;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hickory_proto::rr::{RData, Record, RecordType};
use http_body_util::Full;
use instant_acme::ChallengeType;
use self_check::{Observation, self_check};
use std::{net::SocketAddr, time::Duration};
use tokio::time::{Instant, sleep};

/// The seconds after its last report during which a relay counts as alive and must confirm challenges.
pub const RELAY_ALIVE_SECONDS: u64 = 30;
/// The maximum time for that. It is longer than [`RELAY_ALIVE_SECONDS`], so that a killed relay does not count any more.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(40);
/// The maximum time for which relays answer a challenge, in seconds.
const CHALLENGE_TTL_SECONDS: u64 = 3600;
/// The maximum time until the name server itself has a TXT record.
const TXT_TIMEOUT: Duration = Duration::from_secs(20);
/// The maximum number of self-checks of one answer.
const MAX_SELF_CHECKS: usize = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl Proof {
    pub(crate) fn challenge_type(&self) -> ChallengeType {
        match self {
            Self::Http01 => ChallengeType::Http01,
            Self::TlsAlpn01 => ChallengeType::TlsAlpn01,
            Self::Dns01(_) => ChallengeType::Dns01,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01(_) => "dns-01",
        }
    }
}

/// A TXT record that was set.
pub(crate) struct TxtRecord {
    name: String,
    text: String,
}

/// Solves the challenges of one order.
pub(crate) struct ChallengeSolver<'a> {
    pub(crate) store: &'a Store,
    pub(crate) http: &'a Http,
    pub(crate) resolvers: &'a Resolvers,
    /// The address at which this process answers; absent: the addresses of the names.
    pub(crate) own: Option<SocketAddr>,
    pub(crate) request: &'a Request,
}

impl ChallengeSolver<'_> {
    /// Makes the answers available to the CA and checks them. TXT records are noted in `set` before anything can fail.
    pub(crate) async fn prepare(
        &self,
        wanted: &[Challenge],
        set: &mut Vec<TxtRecord>,
    ) -> Result<(), IssueError> {
        let kind = match &self.request.proof {
            Proof::Http01 => ChallengeKind::Http01,
            Proof::TlsAlpn01 => ChallengeKind::TlsAlpn01,
            Proof::Dns01(dns) => return self.set_records(dns, wanted, set).await,
        };
        let challenge = |one: &Challenge| StoredChallenge {
            kind,
            name: one.name.clone(),
            token: one.token.clone(),
            answer: one.answer.clone(),
            expires: now() + CHALLENGE_TTL_SECONDS,
        };
        let challenges: Vec<_> = wanted.iter().map(challenge).collect();
        let version = self.store.put_challenges(&self.request.id, &challenges, now()).await?;
        self.wait_for_relays(version).await?;
        for one in wanted {
            self.check_answer(kind, one).await?;
        }
        Ok(())
    }

    /// Waits until every live relay has confirmed that it answers the challenges of this version.
    async fn wait_for_relays(&self, version: u64) -> Result<(), IssueError> {
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        loop {
            let relays = self.store.relays_seen().await?;
            let since = now().saturating_sub(RELAY_ALIVE_SECONDS);
            let live = relays.iter().filter(|relay| relay.seen >= since);
            let missing: Vec<_> = live.filter(|relay| relay.challenges_version < version).collect();
            let Some(first) = missing.first() else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(IssueError::Unconfirmed(format!("relay {} of {}", first.relay, first.region)));
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Checks an answer as the CA would. A wrong answer or a name that does not exist would cost one of the few validations
    /// that may fail. A network in which this process cannot reach its own public address proves nothing.
    async fn check_answer(&self, kind: ChallengeKind, wanted: &Challenge) -> Result<(), IssueError> {
        let port = match kind {
            ChallengeKind::Http01 => 80,
            ChallengeKind::TlsAlpn01 => 443,
        };
        let unanswered = |found: String| IssueError::Unanswered { name: wanted.name.clone(), found };
        let mut found = String::new();
        for turn in 0..MAX_SELF_CHECKS {
            if turn > 0 {
                sleep(POLL_INTERVAL * 5).await;
            }
            let address = match self.own {
                Some(own) => own,
                None => match self.resolvers.addresses(&wanted.name).await {
                    Ok(addresses) => match addresses.first() {
                        Some(address) => SocketAddr::new(*address, port),
                        None => {
                            found = "the name has no address".to_owned();
                            continue;
                        }
                    },
                    Err(error) if error.is_nonexistent() => {
                        found = "the name does not exist in DNS".to_owned();
                        continue;
                    }
                    Err(error) => {
                        tracing::debug!(name = wanted.name, %error, "self-check skipped: the name cannot be looked up");
                        return Ok(());
                    }
                },
            };
            match self_check(kind, address, wanted).await {
                Observation::Expected => return Ok(()),
                Observation::Unexpected(other) => found = other,
                Observation::Unreachable => {
                    tracing::debug!(name = wanted.name, %address, "self-check skipped: the address cannot be reached");
                    return Ok(());
                }
            }
        }
        Err(unanswered(found))
    }

    /// The name of the TXT record for a name.
    async fn record_name(&self, dns: &Dns01, name: &str) -> Result<String, IssueError> {
        let own = format!("_acme-challenge.{name}");
        let first = match dns {
            Dns01::Rfc2136 { server, .. } => Some(Server::new(server)),
            Dns01::HttpReq { .. } => None,
        };
        let failed = |source| IssueError::Dns { name: name.to_owned(), source };
        self.resolvers.follow_aliases(&own, first.as_ref()).await.map_err(failed)
    }

    async fn set_records(
        &self,
        dns: &Dns01,
        wanted: &[Challenge],
        set: &mut Vec<TxtRecord>,
    ) -> Result<(), IssueError> {
        for one in wanted {
            let name = self.record_name(dns, &one.name).await?;
            set.push(TxtRecord { name: name.clone(), text: one.text.clone() });
            self.change(dns, &name, &one.text, true).await?;
        }
        if let Dns01::Rfc2136 { server, .. } = dns {
            let server = Server::new(server);
            for one in set.iter() {
                self.wait_for_record(&server, one).await?;
            }
        }
        Ok(())
    }

    /// Waits until the name server itself has the record.
    async fn wait_for_record(&self, server: &Server, set: &TxtRecord) -> Result<(), IssueError> {
        let deadline = Instant::now() + TXT_TIMEOUT;
        loop {
            let found = server.lookup(&set.name, RecordType::TXT).await;
            let has = |record: &Record| matches!(&record.data, RData::TXT(txt) if txt.txt_data.concat() == set.text.as_bytes());
            match found {
                Ok(answers) if answers.iter().any(has) => return Ok(()),
                Ok(_) | Err(DnsError::Code { .. }) if Instant::now() < deadline => sleep(POLL_INTERVAL).await,
                Ok(_) => {
                    let found = "the name server does not have the TXT record that it was given".to_owned();
                    return Err(IssueError::Unanswered { name: set.name.clone(), found });
                }
                Err(source) => return Err(IssueError::Dns { name: set.name.clone(), source }),
            }
        }
    }

    async fn change(&self, dns: &Dns01, name: &str, text: &str, add: bool) -> Result<(), IssueError> {
        match dns {
            Dns01::Rfc2136 { server, key } => {
                let failed = |source| IssueError::Dns { name: name.to_owned(), source };
                Server::new(server).update(key, name, text, add).await.map_err(failed)
            }
            Dns01::HttpReq { url, login } => {
                let path = if add { "present" } else { "cleanup" };
                let body = serde_json::json!({ "fqdn": format!("{name}."), "value": text }).to_string();
                let mut request = http::Request::post(format!("{}/{path}", url.trim_end_matches('/')))
                    .header(http::header::CONTENT_TYPE, "application/json");
                if let Some(login) = login {
                    let value = format!("Basic {}", BASE64_STANDARD.encode(login));
                    request = request.header(http::header::AUTHORIZATION, value);
                }
                let refused = |answer: String| IssueError::HttpReq {
                    name: name.to_owned(),
                    service: url.clone(),
                    answer,
                };
                let request =
                    request.body(Full::new(Bytes::from(body))).map_err(|error| refused(error.to_string()))?;
                let response = self.http.call(request).await.map_err(|error| refused(error.to_string()))?;
                if response.status().is_success() {
                    Ok(())
                } else {
                    Err(refused(response.status().to_string()))
                }
            }
        }
    }

    /// Removes the TXT records. A failure is only logged: a record that stays does no harm.
    pub(crate) async fn clean_up(&self, set: &[TxtRecord]) {
        if let Proof::Dns01(dns) = &self.request.proof {
            for one in set {
                if let Err(error) = self.change(dns, &one.name, &one.text, false).await {
                    tracing::debug!(
                        name = one.name,
                        error = error.error_chain(),
                        "removing a TXT record failed"
                    );
                }
            }
        }
    }
}
