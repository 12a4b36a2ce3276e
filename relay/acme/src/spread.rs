//! Where a certificate and its key go: each region that serves it gets the key, sealed to that region.

use crate::{
    certificate,
    failure::Failure,
    issuer::{FENCE_SECONDS, Issuer, now},
    request::Request,
    seal::{SealError, SealingKey, seal},
};
use adit_store::{Fence, SealedKey, StoreError, StoredCertificate};

/// What the private keys of certificates are sealed for.
const KEY_PURPOSE: &str = "certificate";
/// The recipient of who issues; no region has this domain.
const KEEPER: &str = "issuer";

/// Whose certificate it is and where it goes, whoever issued it.
#[derive(Clone, Debug)]
pub struct Spread<'a> {
    /// Under which it is kept.
    pub id: &'a str,
    /// The names that it is for.
    pub names: &'a [String],
    /// The domains of the regions; empty: all.
    pub regions: &'a [String],
    /// A digest of what was asked for.
    pub made_for: String,
}

impl Issuer {
    /// Who should have a certificate's key: the regions that serve it, and who issues.
    async fn recipients(&self, regions: &[String]) -> Result<Vec<(String, String)>, StoreError> {
        let mut all = self.store.regions().await?;
        all.retain(|(region, _)| regions.is_empty() || regions.contains(region));
        all.push((KEEPER.to_owned(), self.keeper.public_text()));
        Ok(all)
    }

    /// Whether all that should have the key have it, each sealed to what is its public key now.
    pub(crate) async fn is_spread(&self, id: &str, regions: &[String]) -> Result<bool, StoreError> {
        let wanted = self.recipients(regions).await?;
        let keys = self.store.certificate_keys(id).await?;
        Ok(wanted.len() == keys.len() && wanted.iter().all(|recipient| has(&keys, recipient)))
    }

    /// Whether a region lacks the key of a certificate and cannot get it, as this issuer's own copy cannot be opened: what
    /// that was sealed to is lost.
    pub(crate) async fn is_out_of_reach(&self, id: &str, regions: &[String]) -> Result<bool, StoreError> {
        let wanted = self.recipients(regions).await?;
        let keys = self.store.certificate_keys(id).await?;
        let lacking = wanted.iter().any(|recipient| recipient.0 != KEEPER && !has(&keys, recipient));
        Ok(lacking && self.open_own(id, &keys).is_err())
    }

    /// Seals the key anew if regions have come, gone, or changed their keys.
    pub(crate) async fn spread(&self, request: &Request, fence: &Fence) -> Result<(), Failure> {
        let Some(mut stored) = self.store.certificate(&request.id).await? else { return Ok(()) };
        if stored.regions == request.regions && self.is_spread(&request.id, &request.regions).await? {
            return Ok(());
        }
        let Some(pem) = self.open_key(&request.id).await? else { return Ok(()) };
        stored.regions.clone_from(&request.regions);
        let keys = self.seal_all(&request.id, &request.regions, &pem).await?;
        let order = self.store.acme_order(&request.id).await?;
        if !self.store.put_certificate(&stored, &keys, fence).await? {
            return Err(Failure::Lost);
        }
        // Where it goes has nothing to do with what the CA has said.
        if let Some(order) = order {
            self.store.put_acme_order(&order, fence).await?;
        }
        Ok(())
    }

    /// The private key of a certificate (PEM), if it was sealed to this issuer.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn open_key(&self, id: &str) -> Result<Option<String>, Failure> {
        self.open_own(id, &self.store.certificate_keys(id).await?)
    }

    fn open_own(&self, id: &str, keys: &[SealedKey]) -> Result<Option<String>, Failure> {
        let own = keys.iter().find(|key| key.recipient == KEEPER);
        own.map(|own| open_key(&self.keeper, id, &own.sealed)).transpose()
    }

    async fn seal_all(&self, id: &str, regions: &[String], pem: &str) -> Result<Vec<SealedKey>, Failure> {
        let purpose = format!("{KEY_PURPOSE} {id}");
        let mut keys = Vec::new();
        for (recipient, public) in self.recipients(regions).await? {
            match seal(&public, &purpose, pem.as_bytes()) {
                // The public key stands before it, so that anyone can see whether it is still the right one.
                Ok(sealed) => keys.push(SealedKey { recipient, sealed: format!("{public}/{sealed}") }),
                Err(error) => tracing::error!(region = recipient, %error, "a region's public key is none"),
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
    ) -> Result<(), Failure> {
        let spread = Spread {
            id: &request.id,
            names: &request.names,
            regions: &request.regions,
            made_for: request.made_for(),
        };
        self.put_checked(&spread, chain, key, fence).await
    }

    async fn put_checked(
        &self,
        spread: &Spread<'_>,
        chain: String,
        key: &str,
        fence: &Fence,
    ) -> Result<(), Failure> {
        let facts = certificate::check(&chain, key, spread.names, now())?;
        let keys = self.seal_all(spread.id, spread.regions, key).await?;
        let at = (spread.names, spread.regions);
        let row = certificate::row(spread.id, at, chain, &facts, spread.made_for.clone(), now());
        match self.store.put_certificate(&row, &keys, fence).await? {
            true => Ok(()),
            false => Err(Failure::Lost),
        }
    }

    /// Has relays serve a certificate that came from elsewhere, unless they do already.
    ///
    /// # Errors
    /// [`Failure`]: what is served stays.
    pub async fn publish(
        &self,
        spread: &Spread<'_>,
        chain: &str,
        key: &str,
    ) -> Result<StoredCertificate, Failure> {
        let facts = certificate::check(chain, key, spread.names, now())?;
        let name = format!("certificate/{}", spread.id);
        let stored = self.store.certificate(spread.id).await?;
        let same = |stored: &StoredCertificate| {
            stored.fingerprint == facts.fingerprint
                && stored.chain == chain
                && stored.made_for == spread.made_for
                && stored.regions == spread.regions
                && stored.names == spread.names
        };
        if let Some(stored) = stored.filter(same)
            && self.is_spread(spread.id, spread.regions).await?
        {
            return Ok(stored);
        }
        let fence =
            self.store.take_fence(&name, &self.holder, FENCE_SECONDS, now()).await?.ok_or(Failure::Lost)?;
        let put = self.put_checked(spread, chain.to_owned(), key, &fence).await;
        let _ = self.store.leave_fence(&fence).await;
        put?;
        self.store.certificate(spread.id).await?.ok_or(Failure::Lost)
    }
}

fn has(keys: &[SealedKey], (recipient, public): &(String, String)) -> bool {
    let start = format!("{public}/");
    keys.iter().any(|key| key.recipient == *recipient && key.sealed.starts_with(&start))
}

/// Opens the private key of a certificate (PEM) that was sealed to one's own public key.
///
/// # Errors
/// [`Failure::Seal`].
pub fn open_key(own: &SealingKey, id: &str, sealed: &str) -> Result<String, Failure> {
    let text = sealed.split_once('/').map_or(sealed, |(_, text)| text);
    let opened = own.open(&format!("{KEY_PURPOSE} {id}"), text)?;
    String::from_utf8(opened).map_err(|_| SealError::Open.into())
}
