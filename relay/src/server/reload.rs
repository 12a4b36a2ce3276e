//! What changes without a new process: limits, access, certificates.
//!
//! The files are looked at every few seconds rather than watched: a mounted ConfigMap changes by a swap of links, and a
//! watch that is lost would be a change that is never seen. What is wrong changes nothing and is said.

use crate::{
    accounts::Limits,
    auth::{IssuerKeysError, Keys, TokenVerifier},
    certificates::Certificates,
    cluster::peer::tls::PeerTls,
    config::{self, Config},
    server::{read_certificates, relay::Relay},
};
use adit_config::{Version, revision};
use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::time::sleep;

/// How often the files are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The most bytes of one file that are read: more than any that a configuration accepts.
const MAX_BYTES: u64 = 4 << 20;

const POISONED: &str = "no code panics while it holds this lock";

/// The parts of the configuration that are in use and can change.
#[derive(Debug)]
pub struct LiveConfig {
    /// What an account may use whose token says nothing else.
    pub limits: Limits,
    /// The oldest client that is served.
    pub minimum_client_version: Option<Version>,
    /// Which tokens are good.
    pub tokens: TokenVerifier,
}

impl LiveConfig {
    /// The parts of a configuration.
    ///
    /// # Errors
    /// [`IssuerKeysError`]: the keys of an issuer.
    pub fn new(config: &Config, keys: &Keys) -> Result<Self, IssuerKeysError> {
        Ok(Self {
            limits: config.limits.clone(),
            minimum_client_version: config.access.minimum_client_version.clone(),
            tokens: TokenVerifier::new(&config.access, keys, &config.domain)?,
        })
    }
}

/// Which configuration a relay uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// A digest of the files whose content is in use.
    pub used: String,
    /// A digest of the files that were read last.
    read: String,
    /// Why what was read last is not used.
    pub refused: Option<String>,
}

impl Revision {
    /// The revision of a configuration that was just read.
    pub fn of(config: &Config) -> Self {
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

fn read_revision(config: &Config) -> String {
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

/// Uses what changes in the files, for as long as the relay runs.
pub async fn watch(relay: Arc<Relay>, certificates: Arc<Certificates>) {
    // The files of the configuration that is used: another one may name others.
    let mut current = relay.config.clone();
    loop {
        sleep(EVERY).await;
        if relay.closing.is_cancelled() {
            return;
        }
        let read = read_revision(&current);
        if relay.revision.lock().expect(POISONED).read == read {
            continue;
        }
        match reload(&relay, &certificates, &current) {
            Ok(config) => {
                let used = read_revision(&config);
                tracing::info!(revision = used, "configuration reloaded");
                *relay.revision.lock().expect(POISONED) =
                    Revision { read: used.clone(), used, refused: None };
                current = config;
            }
            Err(refused) => {
                tracing::error!(
                    refused,
                    "configuration reload failed; the earlier configuration stays in use"
                );
                let mut revision = relay.revision.lock().expect(POISONED);
                revision.read = read;
                revision.refused = Some(refused);
            }
        }
        relay.news.notify_one();
    }
}

/// Reads everything, and uses it only if all of it is right.
fn reload(relay: &Relay, certificates: &Certificates, current: &Config) -> Result<Config, String> {
    let config = Config::load(current.source.as_deref(), config::environment());
    let config = config.map_err(|errors| words(&errors))?;
    let live = LiveConfig::new(&config, &relay.keys).map_err(|error| words(&error))?;
    let served = read_certificates(&config).map_err(|error| words(&error))?;
    let peer = config.peer.as_ref().map(|peer| PeerTls::read(peer, &config.domain)).transpose();
    let peer = peer.map_err(|error| words(&error))?;
    let keys = current.keys_that_need_restart(&config);
    if !keys.is_empty() {
        tracing::warn!(keys = keys.join(", "), "some changed keys need a restart to take effect");
    }
    let before = relay.live.swap(Arc::new(live));
    relimit(relay, &before.limits);
    if !served.is_empty() {
        certificates.replace(served);
    }
    if let Some(peer) = peer {
        relay.peers.replace_tls(peer);
    }
    Ok(config)
}

/// Gives every account that is here its new limits.
fn relimit(relay: &Relay, before: &Limits) {
    let limits = relay.live.load().limits.clone();
    for account in relay.accounts.all() {
        if account.limits() == *before {
            account.set_limits(&limits);
        }
    }
    for session in relay.local.sessions() {
        session.usage.set_limits(&session.permissions.limits(&limits));
    }
}

/// An error and its causes in one line.
fn words(error: &dyn Error) -> String {
    let mut text = error.to_string().trim_end().replace('\n', "; ");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
