//! The certificates of the store: read whenever it has changed, validated, swapped, confirmed.

use super::{Certificates, pem::Certificate};
use crate::lock::POISONED;
use adit_acme::{SealingKey, certificate, open_key};
use adit_store::{CertificateSet, StoredCertificate};
use adit_system::private_file;
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Mutex,
};

/// The store's certificates that this relay serves.
#[derive(Debug, Default)]
pub(crate) struct ServedCertificates {
    state: Mutex<ServedState>,
}

#[derive(Debug, Default)]
struct ServedState {
    version: u64,
    /// By the certificates' ids: the last good one of each.
    good: BTreeMap<String, (String, Certificate)>,
    problem: Option<String>,
}

impl ServedCertificates {
    /// The fingerprints of the certificates that are served.
    pub(crate) fn fingerprints(&self) -> Vec<String> {
        let state = self.state.lock().expect(POISONED);
        state.good.values().map(|(fingerprint, _)| fingerprint.clone()).collect()
    }

    /// The reason why a certificate of the store is not served.
    pub(crate) fn problem(&self) -> Option<String> {
        self.state.lock().expect(POISONED).problem.clone()
    }

    /// When the first of them ends, in seconds since 1970; 0 without one.
    pub(crate) fn not_after(&self) -> u64 {
        let state = self.state.lock().expect(POISONED);
        state.good.values().map(|(_, certificate)| certificate.not_after).min().unwrap_or(0)
    }

    /// Takes a set over. A certificate that is no good leaves the last good one of its id in place. Says whether there is
    /// anything new.
    pub(crate) fn take(
        &self,
        set: &CertificateSet,
        keys: &[SealingKey],
        certificates: &Certificates,
        now: u64,
    ) -> bool {
        let mut state = self.state.lock().expect(POISONED);
        if set.version == state.version && state.problem.is_none() {
            return false;
        }
        let before = (state.version, state.problem.take());
        let mut good = BTreeMap::new();
        for (stored, sealed) in &set.list {
            let known = state.good.remove(&stored.id);
            if let Some(known) = known.as_ref().filter(|(fingerprint, _)| *fingerprint == stored.fingerprint)
            {
                good.insert(stored.id.clone(), known.clone());
                continue;
            }
            match open(stored, sealed, keys, now) {
                Ok(certificate) => {
                    tracing::info!(
                        names = stored.names.join(","),
                        fingerprint = stored.fingerprint,
                        "serving a new certificate"
                    );
                    good.insert(stored.id.clone(), (stored.fingerprint.clone(), certificate));
                }
                Err(problem) => {
                    if before.1.is_none() || before.0 != set.version {
                        tracing::error!(names = stored.names.join(","), problem, "certificate rejected");
                    }
                    state.problem = Some(format!("{}: {problem}", stored.names.join(", ")));
                    good.extend(known.map(|known| (stored.id.clone(), known)));
                }
            }
        }
        certificates.replace_stored(good.values().map(|(_, certificate)| certificate));
        state.good = good;
        state.version = set.version;
        before != (state.version, state.problem.clone())
    }
}

/// Validates a certificate and opens its key.
fn open(
    stored: &StoredCertificate,
    sealed: &str,
    keys: &[SealingKey],
    now: u64,
) -> Result<Certificate, String> {
    let opened = keys.iter().find_map(|own| open_key(own, &stored.id, sealed).ok());
    let pem = opened.ok_or("its private key is not sealed to this region's key")?;
    certificate::check(&stored.chain, &pem, &stored.names, now).map_err(|unfit| unfit.to_string())?;
    let chain = certificate::chain(&stored.chain).map_err(|unfit| unfit.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|error| error.to_string())?;
    Certificate::new(chain, &key).map_err(|error| error.to_string())
}

/// A row of the file in which the last certificates are kept. Their keys stay sealed.
#[derive(Serialize, Deserialize)]
struct CachedCertificate {
    id: String,
    names: Vec<String>,
    chain: String,
    fingerprint: String,
    sealed: String,
}

fn cache_file(folder: &Path) -> PathBuf {
    folder.join("certificates.json")
}

/// Writes the certificates to the data folder, for a start without the store.
pub(crate) fn write_cache(folder: &Path, set: &CertificateSet) {
    let rows = set.list.iter().map(|(stored, sealed)| CachedCertificate {
        id: stored.id.clone(),
        names: stored.names.clone(),
        chain: stored.chain.clone(),
        fingerprint: stored.fingerprint.clone(),
        sealed: sealed.clone(),
    });
    let written = serde_json::to_vec(&rows.collect::<Vec<_>>())
        .map_err(io::Error::other)
        .and_then(|bytes| private_file::replace(&cache_file(folder), &bytes));
    if let Err(error) = written {
        tracing::warn!(%error, "cannot write the certificate cache");
    }
}

/// Serves the certificates of the data folder until the store has been read.
pub(crate) fn serve_cached(
    served: &ServedCertificates,
    folder: &Path,
    keys: &[SealingKey],
    certificates: &Certificates,
    now: u64,
) {
    let Ok(bytes) = fs::read(cache_file(folder)) else { return };
    let Ok(rows) = serde_json::from_slice::<Vec<CachedCertificate>>(&bytes) else { return };
    let list = rows.into_iter().map(|kept| {
        let stored = StoredCertificate {
            id: kept.id,
            names: kept.names,
            regions: Vec::new(),
            chain: kept.chain,
            fingerprint: kept.fingerprint,
            not_before: 0,
            not_after: 0,
            revision: 0,
            issued_at: 0,
            made_for: String::new(),
        };
        (stored, kept.sealed)
    });
    // A version that no store has: whatever it says is newer.
    let set = CertificateSet { version: u64::MAX, list: list.collect() };
    served.take(&set, keys, certificates, now);
}
