//! Which configuration a relay uses, as a digest of its files.

use crate::config::Config;
use adit_config::revision;
use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// The most bytes of one file that are read: more than any that a configuration accepts.
const MAX_BYTES: u64 = 4 << 20;

/// What a relay reports in the store beside its numbers.
#[derive(Debug)]
pub(crate) struct Status {
    revision: Mutex<Revision>,
    /// Notified when there is news for the store.
    pub(super) news: Notify,
}

impl Status {
    /// The status of a relay that uses this configuration.
    pub(super) fn new(config: &Config) -> Self {
        Self { revision: Mutex::new(Revision::of(config)), news: Notify::new() }
    }

    /// Which configuration it uses.
    pub(super) fn revision(&self) -> MutexGuard<'_, Revision> {
        self.revision.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which configuration a relay uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Revision {
    /// A digest of the files whose content is in use.
    pub(super) used: String,
    /// A digest of the files that were read last.
    pub(super) read: String,
    /// Why what was read last is not used.
    pub(super) refused: Option<String>,
}

impl Revision {
    /// The revision of a configuration that was just read.
    pub(super) fn of(config: &Config) -> Self {
        let used = read_revision(config);
        Self { read: used.clone(), used, refused: None }
    }
}

/// The files that a configuration was made of.
fn files(config: &Config) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = config.source.iter().cloned().collect();
    if let adit_config::Tokens::Issuers(issuers) = &config.access.tokens {
        files.extend(issuers.iter().map(|issuer| issuer.keys.clone()));
    }
    files.extend(config.keys.iter().flat_map(|keys| [keys.region.clone(), keys.tokens.clone()]));
    files.extend(config.peer.iter().flat_map(|peer| [peer.ca.clone(), peer.cert.clone(), peer.key.clone()]));
    files.extend(config.certificates.iter().flat_map(|pair| [pair.cert.clone(), pair.key.clone()]));
    files
}

/// A digest of the files as they are now.
pub(super) fn read_revision(config: &Config) -> String {
    let contents: Vec<Vec<u8>> = files(config).iter().map(|path| content(path)).collect();
    revision::of(contents.iter().map(Vec::as_slice))
}

/// A file's content; nothing of one that cannot be read, which loading will say.
fn content(path: &Path) -> Vec<u8> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let _ = std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
    bytes
}
