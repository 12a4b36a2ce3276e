//! One order, from its current state to a certificate.

use crate::{
    account::account,
    certificate,
    client::Http,
    error::{CaRefusal, IssueError},
    issuer::Issuer,
    proof::{Challenge, ChallengeSolver, TxtRecord},
    request::{Proof, Request},
    retry::{attempt, retry_delay},
    seal::seal,
};
use adit_store::{Fence, StoredCertificate, StoredOrder};
use adit_system::clock;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeStatus, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The maximum time that the CA may take for a validation or for signing.
const MAX_CA_TIME: Duration = Duration::from_secs(60);
/// The maximum age of an order that is continued, in seconds. An older one could expire before it is done.
const MAX_ORDER_AGE_SECONDS: u64 = 3600;
/// The maximum number of times that an attempt starts again because the CA does not know the account or the order.
const MAX_RESTARTS: usize = 3;
/// The purpose that private keys of pending orders are sealed for.
const ORDER_PURPOSE: &str = "acme order";

/// One attempt to get a certificate.
pub(crate) struct Attempt<'a> {
    pub(crate) issuer: &'a Issuer,
    pub(crate) http: &'a Http,
    pub(crate) request: &'a Request,
    pub(crate) fence: &'a Fence,
    pub(crate) stored: Option<&'a StoredCertificate>,
    pub(crate) row: StoredOrder,
}

impl Attempt<'_> {
    /// Gets a certificate and stores it.
    pub(crate) async fn run(&mut self) -> Result<(), IssueError> {
        let mut tries = 0;
        loop {
            match self.once().await {
                Err(failure) if failure.is_forgotten() && tries < MAX_RESTARTS => {
                    tracing::info!(
                        certificate = self.request.id,
                        failure = failure.error_chain(),
                        "the CA does not know the account or the order; creating both again"
                    );
                    self.forget().await?;
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    /// Drops the account and the order, so that both are created again.
    async fn forget(&mut self) -> Result<(), IssueError> {
        let account = self.request.account_id(&self.issuer.operator_key.public_text());
        self.issuer.store.put_acme_account(&account, None).await?;
        (self.row.url, self.row.key) = (None, None);
        self.save().await
    }

    async fn save(&self) -> Result<(), IssueError> {
        match self.issuer.store.put_acme_order(&self.row, self.fence).await? {
            true => Ok(()),
            false => Err(IssueError::FenceLost),
        }
    }

    async fn once(&mut self) -> Result<(), IssueError> {
        let account = account(self.issuer, self.http, self.request).await?;
        let (mut order, key) = self.order(&account).await?;
        let names = self.request.names.len();
        if order.state().status == OrderStatus::Pending {
            let mut set = Vec::new();
            let solved = self.solve_challenges(&mut order, &mut set).await;
            self.solver().clean_up(&set).await;
            solved?;
        }
        if order.state().status == OrderStatus::Ready {
            self.row.state = "ready".to_owned();
            self.save().await?;
            let mut params = CertificateParams::new(self.request.names.clone())?;
            params.distinguished_name = DistinguishedName::new();
            let csr = params.serialize_request(&key)?;
            let finalized = attempt!(names, order.finalize_csr(csr.der()).await);
            // A process that was killed after this call finds the order finalized.
            if let Err(failure) = finalized {
                attempt!(names, order.refresh().await.map(drop))?;
                if order.state().status == OrderStatus::Ready {
                    return Err(failure);
                }
            }
        }
        self.poll(&mut order, &[OrderStatus::Processing, OrderStatus::Ready], "the CA's signing").await?;
        self.fail_if_invalid(&mut order).await?;
        let chain = attempt!(names, order.certificate().await)?
            .ok_or(IssueError::Protocol(Error::Str("no certificate")))?;
        self.issuer.put(self.request, chain, &key.serialize_pem(), self.fence).await
    }

    fn solver(&self) -> ChallengeSolver<'_> {
        ChallengeSolver {
            store: &self.issuer.store,
            http: self.http,
            resolvers: &self.issuer.resolvers,
            own: match self.request.proof {
                Proof::TlsAlpn01 => self.issuer.own_tls,
                Proof::Http01 | Proof::Dns01(_) => self.issuer.own_http,
            },
            request: self.request,
        }
    }

    /// The pending order, or a new one. It is in the store before it is used.
    async fn order(&mut self, account: &Account) -> Result<(Order, KeyPair), IssueError> {
        let made_for = self.request.made_for();
        let names = self.request.names.len();
        let now = clock::now();
        let young = self.row.made_for == made_for && self.row.ordered_at + MAX_ORDER_AGE_SECONDS > now;
        if let (Some(url), Some(key), true) = (&self.row.url, self.key_of_the_order(), young) {
            let mut order = attempt!(names, account.order(url.clone()).await)?;
            if order.state().status != OrderStatus::Invalid {
                return Ok((order, key));
            }
        }
        let key = self.key().await?;
        let sealed =
            seal(&self.issuer.operator_key.public_text(), ORDER_PURPOSE, key.serialize_pem().as_bytes())?;
        let mut order = self.new_order(account).await?;
        self.row.made_for = made_for;
        self.row.url = Some(order.url().to_owned());
        self.row.key = Some(sealed);
        self.row.ordered_at = now;
        self.row.state = state_name(order.state().status).to_owned();
        self.row.challenges = "[]".to_owned();
        self.save().await?;
        Ok((order, key))
    }

    async fn new_order(&self, account: &Account) -> Result<Order, IssueError> {
        let identifiers: Vec<_> =
            self.request.names.iter().map(|name| Identifier::Dns(name.clone())).collect();
        let wanted = || match &self.request.ca.profile {
            Some(profile) => NewOrder::new(&identifiers).profile(profile),
            None => NewOrder::new(&identifiers),
        };
        let same = self.stored.filter(|stored| stored.made_for == self.request.made_for());
        let leaf = same.and_then(|stored| certificate::chain(&stored.chain).ok());
        let before = leaf.as_ref().and_then(|chain| CertificateIdentifier::try_from(&chain[0]).ok());
        if let Some(before) = before {
            let replacing = wanted().replaces(before);
            match attempt!(identifiers.len(), account.new_order(&replacing).await) {
                Ok(order) => return Ok(order),
                // Without the hint that it is a renewal it is an order like any other. A CA that has just issued may not
                // find its own order yet, and calls that an error of its own; one whose account was another then calls it
                // unauthorized.
                Err(IssueError::Protocol(Error::Unsupported(_) | Error::Other(_))) => {}
                Err(IssueError::Ca(refused))
                    if ["alreadyReplaced", "malformed", "conflict", "serverInternal", "unauthorized"]
                        .contains(&refused.kind.as_str()) => {}
                Err(other) => return Err(other),
            }
        }
        attempt!(identifiers.len(), account.new_order(&wanted()).await)
    }

    /// The key of the pending order. If it cannot be opened, because the key that it was sealed to is lost, a new order is
    /// made.
    fn key_of_the_order(&self) -> Option<KeyPair> {
        let opened = self.issuer.operator_key.open(ORDER_PURPOSE, self.row.key.as_ref()?);
        let key = opened.inspect_err(|error| {
            tracing::warn!(certificate = self.request.id, %error, "cannot open the key of the order; creating another order");
        });
        KeyPair::from_pem(&String::from_utf8_lossy(&key.ok()?)).ok()
    }

    /// The key for a new order: a new one, or the stored certificate's unless it cannot be opened.
    async fn key(&self) -> Result<KeyPair, IssueError> {
        if !self.request.rotate
            && let Some(stored) = self.stored
            && let Some(pem) = self.key_of_the_certificate(&stored.id).await?
            && let Ok(key) = KeyPair::from_pem(&pem)
            && std::mem::discriminant(&self.request.algorithm) == std::mem::discriminant(&algorithm_of(&key))
        {
            return Ok(key);
        }
        Ok(self.request.algorithm.generate()?)
    }

    async fn key_of_the_certificate(&self, id: &str) -> Result<Option<String>, IssueError> {
        match self.issuer.open_key(id).await {
            Err(IssueError::Seal(error)) => {
                tracing::warn!(certificate = id, %error, "cannot open the key of the certificate; creating another key");
                Ok(None)
            }
            opened => opened,
        }
    }

    /// Solves the challenges of all names that the CA has not validated.
    async fn solve_challenges(
        &mut self,
        order: &mut Order,
        set: &mut Vec<TxtRecord>,
    ) -> Result<(), IssueError> {
        let kind = self.request.proof.challenge_type();
        let names = self.request.names.len();
        load_authorizations(order, names).await?;
        let mut wanted = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status != AuthorizationStatus::Pending {
                continue;
            }
            let name = authorization.identifier().identifier.clone();
            let Identifier::Dns(name) = name else { continue };
            let offered: Vec<String> =
                authorization.challenges.iter().map(|one| type_name(&one.r#type)).collect();
            let Some(challenge) = authorization.challenge(kind.clone()) else {
                let kind = self.request.proof.name();
                return Err(IssueError::NoChallenge { name, kind, offered: offered.join(", ") });
            };
            let answer = challenge.key_authorization();
            wanted.push(Challenge {
                name,
                token: challenge.token.clone(),
                answer: answer.as_str().to_owned(),
                text: answer.dns_value(),
            });
        }
        self.solver().prepare(&wanted, set).await?;
        self.set_ready(order).await?;
        self.poll(order, &[OrderStatus::Pending], "the CA's validation").await?;
        self.fail_if_invalid(order).await
    }

    /// Tells the CA that all challenges are ready.
    async fn set_ready(&mut self, order: &mut Order) -> Result<(), IssueError> {
        let kind = self.request.proof.challenge_type();
        let (mut nonces, mut connects) = (0, 0);
        let names = self.request.names.len();
        'all: loop {
            let mut authorizations = order.authorizations();
            while let Some(authorization) = authorizations.next().await {
                let mut authorization = authorization?;
                if authorization.status != AuthorizationStatus::Pending {
                    continue;
                }
                let Some(mut challenge) = authorization.challenge(kind.clone()) else { continue };
                if challenge.status != ChallengeStatus::Pending {
                    continue;
                }
                match challenge.set_ready().await {
                    Ok(()) => {}
                    Err(error) => match retry_delay(&error, &mut nonces, &mut connects, names) {
                        Some(pause) => {
                            sleep(pause).await;
                            // Challenges that the CA has accepted are no longer pending.
                            attempt!(names, order.refresh().await.map(drop))?;
                            load_authorizations(order, names).await?;
                            continue 'all;
                        }
                        // The caller reports a validation that has failed, with its name.
                        None if matches!(error, Error::Api(_)) => break 'all,
                        None => return Err(error.into()),
                    },
                }
            }
            break;
        }
        Ok(())
    }

    /// Waits while the order is in one of these states.
    async fn poll(
        &mut self,
        order: &mut Order,
        states: &[OrderStatus],
        what: &'static str,
    ) -> Result<(), IssueError> {
        let deadline = Instant::now() + MAX_CA_TIME;
        let mut pause = Duration::from_millis(100);
        let names = self.request.names.len();
        while states.contains(&order.state().status) {
            if Instant::now() >= deadline {
                return Err(IssueError::Timeout(what));
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
            attempt!(names, order.refresh().await.map(drop))?;
        }
        Ok(())
    }

    /// Fails with the CA's reason if the order is invalid, and notes the failed validations.
    async fn fail_if_invalid(&mut self, order: &mut Order) -> Result<(), IssueError> {
        if order.state().status != OrderStatus::Invalid {
            return Ok(());
        }
        let own = order.state().error.as_ref().map(CaRefusal::from);
        load_authorizations(order, self.request.names.len()).await?;
        let mut shown = Vec::new();
        let mut first = None;
        let mut failed = Vec::new();
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let authorization = authorization?;
            let name = authorization.identifier().to_string();
            let problem = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref());
            let refused = problem.map(CaRefusal::from);
            let state = format!("{:?}", authorization.status).to_ascii_lowercase();
            shown.push(
                json!({ "name": name, "state": state, "problem": refused.as_ref().map(ToString::to_string) }),
            );
            if let Some(refused) = refused {
                failed.push((authorization.url().to_owned(), name.clone()));
                first.get_or_insert((name, refused));
            }
        }
        let directory = &self.request.ca.directory;
        for (url, name) in failed {
            let now = clock::now();
            self.issuer.store.note_failed_validation(&url, directory, &name, now).await?;
        }
        self.row.challenges = json!(shown).to_string();
        self.row.state = "invalid".to_owned();
        (self.row.url, self.row.key) = (None, None);
        match (first, own) {
            (Some((name, refused)), _) => Err(IssueError::Validation { name, refused }),
            (None, Some(refused)) => Err(IssueError::Ca(refused)),
            (None, None) => Err(IssueError::Protocol(Error::Str("an invalid order without a reason"))),
        }
    }
}

/// Fetches all authorizations of an order.
async fn load_authorizations(order: &mut Order, names: usize) -> Result<(), IssueError> {
    attempt!(names, {
        let mut all = order.authorizations();
        let mut loaded = Ok(());
        while let Some(one) = all.next().await {
            if let Err(error) = one {
                loaded = Err(error);
                break;
            }
        }
        loaded
    })
}

fn algorithm_of(key: &KeyPair) -> certificate::KeyAlgorithm {
    if key.is_compatible(&rcgen::PKCS_ECDSA_P256_SHA256) {
        certificate::KeyAlgorithm::EcdsaP256
    } else if key.is_compatible(&rcgen::PKCS_ECDSA_P384_SHA384) {
        certificate::KeyAlgorithm::EcdsaP384
    } else {
        certificate::KeyAlgorithm::Rsa2048
    }
}

fn state_name(status: OrderStatus) -> &'static str {
    match status {
        OrderStatus::Pending => "pending",
        OrderStatus::Ready => "ready",
        OrderStatus::Processing => "processing",
        OrderStatus::Valid => "valid",
        OrderStatus::Invalid => "invalid",
    }
}

/// The type of a challenge as CAs write it.
fn type_name(kind: &ChallengeType) -> String {
    match kind {
        ChallengeType::Http01 => "http-01".to_owned(),
        ChallengeType::TlsAlpn01 => "tls-alpn-01".to_owned(),
        ChallengeType::Dns01 => "dns-01".to_owned(),
        other => format!("{other:?}"),
    }
}
