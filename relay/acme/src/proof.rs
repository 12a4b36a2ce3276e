//! Proofs of control over names: answers that relays give, or TXT records.

mod look;

use crate::{
    client::Http,
    dns::{Answer, DnsError, Record, Resolvers, Server},
    failure::Failure,
    request::{Dns01, Proof, Request},
};
use adit_store::{ChallengeKind, Store, StoredChallenge};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::Full;
use instant_acme::ChallengeType;
use look::{Sight, look};
use std::{
    net::SocketAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{Instant, sleep};

/// For how many seconds after its last report a relay counts as alive: it has to confirm challenges.
pub const CONFIRM_SECONDS: u64 = 30;
/// How long relays may take for that. One that was killed does not count any more by then.
const CONFIRM: Duration = Duration::from_secs(40);
/// How long challenges are answered at most, in seconds.
const ANSWERED_SECONDS: u64 = 3600;
/// How long a TXT record may take to arrive at the name server itself.
const ARRIVE: Duration = Duration::from_secs(20);
/// How often one's own answer is looked for.
const LOOKS: usize = 4;
const POLL: Duration = Duration::from_millis(100);

/// What the CA wants to see for one name.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The name, without a wildcard.
    pub(crate) name: String,
    /// The CA's token.
    pub(crate) token: String,
    /// The key authorization.
    pub(crate) answer: String,
    /// Its digest as a TXT record has it.
    pub(crate) text: String,
}

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
pub(crate) struct Set {
    name: String,
    text: String,
}

/// Where proofs are put and looked for.
pub(crate) struct Prover<'a> {
    pub(crate) store: &'a Store,
    pub(crate) http: &'a Http,
    pub(crate) resolvers: &'a Resolvers,
    /// Where this very relay answers; absent: wherever the names lead to.
    pub(crate) own: Option<SocketAddr>,
    pub(crate) request: &'a Request,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Prover<'_> {
    /// Makes everything ready for the CA to look, and has looked itself when this returns. What was set in DNS is noted
    /// in `set` before anything can fail.
    pub(crate) async fn prepare(&self, wanted: &[Wanted], set: &mut Vec<Set>) -> Result<(), Failure> {
        let kind = match &self.request.proof {
            Proof::Http01 => ChallengeKind::Http01,
            Proof::TlsAlpn01 => ChallengeKind::TlsAlpn01,
            Proof::Dns01(dns) => return self.set_records(dns, wanted, set).await,
        };
        let challenge = |one: &Wanted| StoredChallenge {
            kind,
            name: one.name.clone(),
            token: one.token.clone(),
            answer: one.answer.clone(),
            expires: now() + ANSWERED_SECONDS,
        };
        let challenges: Vec<_> = wanted.iter().map(challenge).collect();
        let version = self.store.put_challenges(&self.request.id, &challenges, now()).await?;
        self.confirmed(version).await?;
        for one in wanted {
            self.look(kind, one).await?;
        }
        Ok(())
    }

    /// Waits until every live relay answers the challenges of this version.
    async fn confirmed(&self, version: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + CONFIRM;
        loop {
            let relays = self.store.relays_seen().await?;
            let since = now().saturating_sub(CONFIRM_SECONDS);
            let live = relays.iter().filter(|relay| relay.seen >= since);
            let missing: Vec<_> = live.filter(|relay| relay.challenges_version < version).collect();
            let Some(first) = missing.first() else { return Ok(()) };
            if Instant::now() >= deadline {
                return Err(Failure::Unconfirmed(format!("relay {} of {}", first.relay, first.region)));
            }
            sleep(POLL).await;
        }
    }

    /// Looks for one's own answer as the CA would. A wrong answer, and a name that does not exist, would only cost one
    /// of the few validations that may fail; a network that does not let one reach one's own address says nothing.
    async fn look(&self, kind: ChallengeKind, wanted: &Wanted) -> Result<(), Failure> {
        let port = match kind {
            ChallengeKind::Http01 => 80,
            ChallengeKind::TlsAlpn01 => 443,
        };
        let unanswered = |found: String| Failure::Unanswered { name: wanted.name.clone(), found };
        let mut found = String::new();
        for turn in 0..LOOKS {
            if turn > 0 {
                sleep(POLL * 5).await;
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
                        tracing::debug!(name = wanted.name, %error, "a name cannot be looked up: the CA will see");
                        return Ok(());
                    }
                },
            };
            match look(kind, address, wanted).await {
                Sight::Answer => return Ok(()),
                Sight::Other(other) => found = other,
                Sight::Nothing => {
                    tracing::debug!(name = wanted.name, %address, "cannot reach one's own address: the CA will see");
                    return Ok(());
                }
            }
        }
        Err(unanswered(found))
    }

    /// The name of the TXT record for a name.
    async fn record_name(&self, dns: &Dns01, name: &str) -> Result<String, Failure> {
        let own = format!("_acme-challenge.{name}");
        let first = match dns {
            Dns01::Rfc2136 { server, .. } => Some(Server::new(server)),
            Dns01::HttpReq { .. } => None,
        };
        let failed = |source| Failure::Dns { name: name.to_owned(), source };
        self.resolvers.follow(&own, first.as_ref()).await.map_err(failed)
    }

    async fn set_records(&self, dns: &Dns01, wanted: &[Wanted], set: &mut Vec<Set>) -> Result<(), Failure> {
        for one in wanted {
            let name = self.record_name(dns, &one.name).await?;
            set.push(Set { name: name.clone(), text: one.text.clone() });
            self.change(dns, &name, &one.text, true).await?;
        }
        if let Dns01::Rfc2136 { server, .. } = dns {
            let server = Server::new(server);
            for one in set.iter() {
                self.arrived(&server, one).await?;
            }
        }
        Ok(())
    }

    /// Waits until the name server itself has the record.
    async fn arrived(&self, server: &Server, set: &Set) -> Result<(), Failure> {
        let deadline = Instant::now() + ARRIVE;
        loop {
            let found = server.ask(&set.name, Record::Txt).await;
            let has = |answer: &Answer| matches!(answer, Answer::Txt(text) if *text == set.text);
            match found {
                Ok(answers) if answers.iter().any(has) => return Ok(()),
                Ok(_) | Err(DnsError::Code { .. }) if Instant::now() < deadline => sleep(POLL).await,
                Ok(_) => {
                    let found = "the name server does not have the TXT record that it was given".to_owned();
                    return Err(Failure::Unanswered { name: set.name.clone(), found });
                }
                Err(source) => return Err(Failure::Dns { name: set.name.clone(), source }),
            }
        }
    }

    async fn change(&self, dns: &Dns01, name: &str, text: &str, add: bool) -> Result<(), Failure> {
        match dns {
            Dns01::Rfc2136 { server, key } => {
                let failed = |source| Failure::Dns { name: name.to_owned(), source };
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
                let refused =
                    |answer: String| Failure::HttpReq { name: name.to_owned(), service: url.clone(), answer };
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

    /// Takes everything away again. What fails here costs nothing but order.
    pub(crate) async fn clean_up(&self, set: &[Set]) {
        if let Proof::Dns01(dns) = &self.request.proof {
            for one in set {
                if let Err(error) = self.change(dns, &one.name, &one.text, false).await {
                    tracing::debug!(name = one.name, error = error.words(), "a TXT record stays");
                }
            }
        }
    }
}
