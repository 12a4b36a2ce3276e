//! Distributes certificates: each region that serves one gets its key, sealed to that region.

use crate::{
    certificate,
    error::IssueError,
    issuer::{FENCE_SECONDS, Issuer},
    request::Request,
    seal::{SealError, SealingKey, seal},
};
use adit_store::{Fence, SealedKey, StoreError, StoredCertificate};
use adit_system::clock::now;

/// The purpose that private keys of certificates are sealed for.
const KEY_PURPOSE: &str = "certificate";
/// The name of the issuer among the recipients; no region has this domain.
const OWN_RECIPIENT: &str = "issuer";

/// The owner and the recipients of a certificate, issued by ACME or not.
#[derive(Clone, Debug)]
pub struct Distribution<'a> {
    /// Its id in the store.
    pub id: &'a str,
    /// The DNS names that it must have.
    pub names: &'a [String],
    /// The domains of the regions that serve it; empty: all.
    pub regions: &'a [String],
    /// A digest of the request: another one needs another certificate.
    pub made_for: String,
}

impl Issuer {
    /// The names and public keys of all recipients of a certificate's key: the regions that serve it, and the issuer.
    async fn recipients(&self, regions: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let mut all = self.store.regions().await?;
        all.retain(|(region, _)| regions.is_empty() || regions.contains(region));
        all.push((OWN_RECIPIENT.to_owned(), self.operator_key.public_text()));
        Ok(all)
    }

    /// Whether every recipient has the key, sealed to its current public key.
    pub(crate) async fn is_distributed(&self, id: &str, regions: &[String]) -> Result<bool, StoreError> {
        let wanted = self.recipients(regions).await?;
        let keys = self.store.certificate_keys(id).await?;
        Ok(wanted.len() == keys.len() && wanted.iter().all(|recipient| has(&keys, recipient)))
    }

    /// Whether a region lacks the key of a certificate and cannot get it, because this issuer's own copy cannot be opened:
    /// the key that it was sealed to is lost.
    pub(crate) async fn is_key_lost(&self, id: &str, regions: &[String]) -> Result<bool, StoreError> {
        let wanted = self.recipients(regions).await?;
        let keys = self.store.certificate_keys(id).await?;
        let lacking = wanted.iter().any(|recipient| recipient.0 != OWN_RECIPIENT && !has(&keys, recipient));
        Ok(lacking && self.open_own(id, &keys).is_err())
    }

    /// Seals the key again if the regions or their public keys have changed.
    pub(crate) async fn distribute(&self, request: &Request, fence: &Fence) -> Result<(), IssueError> {
        let Some(mut stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        if stored.regions == request.regions && self.is_distributed(&request.id, &request.regions).await? {
            return Ok(());
        }
        let Some(pem) = self.open_key(&request.id).await? else { return Ok(()) };
        stored.regions.clone_from(&request.regions);
        let keys = self.seal_all(&request.id, &request.regions, &pem).await?;
        let order = self.store.acme_order(&request.id).await?;
        if !self.store.put_certificate(&stored, &keys, fence).await? {
            return Err(IssueError::FenceLost);
        }
        // `put_certificate` removes the order, but new recipients change nothing about the CA's answers.
        if let Some(order) = order {
            self.store.put_acme_order(&order, fence).await?;
        }
        Ok(())
    }

    /// The private key of a certificate (PEM), if it was sealed to this issuer.
    ///
    /// # Errors
    /// [`IssueError`].
    pub async fn open_key(&self, id: &str) -> Result<Option<String>, IssueError> {
        self.open_own(id, &self.store.certificate_keys(id).await?)
    }

    fn open_own(&self, id: &str, keys: &[SealedKey]) -> Result<Option<String>, IssueError> {
        let own = keys.iter().find(|key| key.recipient == OWN_RECIPIENT);
        own.map(|own| open_key(&self.operator_key, id, &own.sealed)).transpose()
    }

    async fn seal_all(&self, id: &str, regions: &[String], pem: &str) -> Result<Vec<SealedKey>, IssueError> {
        let purpose = format!("{KEY_PURPOSE} {id}");
        let mut keys = Vec::new();
        for (recipient, public) in self.recipients(regions).await? {
            match seal(&public, &purpose, pem.as_bytes()) {
                // The public key stands before it, so that everybody can see whether it is the current one.
                Ok(sealed) => keys.push(SealedKey { recipient, sealed: format!("{public}/{sealed}") }),
                Err(error) => {
                    tracing::error!(region = recipient, %error, "sealing a key failed: not a valid public key");
                }
            }
        }
        Ok(keys)
    }

    pub(crate) async fn put(
        &self,
        request: &Request,
        chain: String,
        key: &str,
        fence: &Fence,
    ) -> Result<(), IssueError> {
        let distribution = Distribution {
            id: &request.id,
            names: &request.names,
            regions: &request.regions,
            made_for: request.made_for(),
        };
        self.put_checked(&distribution, chain, key, fence).await
    }

    async fn put_checked(
        &self,
        distribution: &Distribution<'_>,
        chain: String,
        key: &str,
        fence: &Fence,
    ) -> Result<(), IssueError> {
        let facts = certificate::check(&chain, key, distribution.names, now())?;
        let keys = self.seal_all(distribution.id, distribution.regions, key).await?;
        let at = (distribution.names, distribution.regions);
        let row = certificate::row(distribution.id, at, chain, &facts, distribution.made_for.clone(), now());
        match self.store.put_certificate(&row, &keys, fence).await? {
            true => Ok(()),
            false => Err(IssueError::FenceLost),
        }
    }

    /// Stores a certificate of another source for relays to serve, unless it is stored already.
    ///
    /// # Errors
    /// [`IssueError`]. The stored certificate stays then.
    pub async fn publish(
        &self,
        distribution: &Distribution<'_>,
        chain: &str,
        key: &str,
    ) -> Result<StoredCertificate, IssueError> {
        let facts = certificate::check(chain, key, distribution.names, now())?;
        let name = format!("certificate/{}", distribution.id);
        let stored = self.store.certificate(distribution.id).await?;
        let same = |stored: &StoredCertificate| {
            stored.fingerprint == facts.fingerprint
                && stored.chain == chain
                && stored.made_for == distribution.made_for
                && stored.regions == distribution.regions
                && stored.names == distribution.names
        };
        if let Some(stored) = stored.filter(same)
            && self.is_distributed(distribution.id, distribution.regions).await?
        {
            return Ok(stored);
        }
        let fence = self
            .store
            .take_fence(&name, &self.holder, FENCE_SECONDS, now())
            .await?
            .ok_or(IssueError::FenceLost)?;
        let put = self.put_checked(distribution, chain.to_owned(), key, &fence).await;
        let _ = self.store.leave_fence(&fence).await;
        put?;
        self.store.certificate(distribution.id).await?.ok_or(IssueError::FenceLost)
    }
}

fn has(keys: &[SealedKey], (recipient, public): &(String, String)) -> bool {
    let start = format!("{public}/");
    keys.iter().any(|key| key.recipient == *recipient && key.sealed.starts_with(&start))
}

/// Opens the private key of a certificate (PEM) that was sealed to one's own public key.
///
/// # Errors
/// [`IssueError::Seal`].
pub fn open_key(own: &SealingKey, id: &str, sealed: &str) -> Result<String, IssueError> {
    let text = sealed.split_once('/').map_or(sealed, |(_, text)| text);
    let opened = own.open(&format!("{KEY_PURPOSE} {id}"), text)?;
    String::from_utf8(opened).map_err(|_| SealError::Open.into())
}
