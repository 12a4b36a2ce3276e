//! Answers to ACME challenges, from memory, at the public ports. A path that is no open challenge goes to the tunnels.

use adit_store::{ChallengeKind, ChallengeSet, StoredChallenge};
use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    server::ClientHello,
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The ALPN name of tls-alpn-01 validation (RFC 8737 section 3).
const ACME_ALPN: &[u8] = b"acme-tls/1";
/// The path prefix of http-01 answers (RFC 8555 section 8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// The challenges that are open.
#[derive(Debug, Default)]
pub(crate) struct Challenges {
    version: AtomicU64,
    answers: ArcSwap<Answers>,
}

#[derive(Debug, Default)]
struct Answers {
    /// By token: the name and the answer.
    http: HashMap<String, (String, Bytes)>,
    /// By name.
    alpn: HashMap<String, Arc<ServerConfig>>,
}

/// A certificate for a challenge that cannot be made.
#[derive(Debug, thiserror::Error)]
enum ChallengeError {
    #[error("cannot make the certificate of a challenge")]
    Make(#[from] rcgen::Error),
    #[error("cannot serve the certificate of a challenge")]
    Serve(#[from] rustls::Error),
}

impl Challenges {
    /// The version of the set that is answered.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// Replaces the open challenges; returns whether the set has changed.
    pub(crate) fn replace(&self, set: &ChallengeSet) -> bool {
        if set.version == self.version() {
            return false;
        }
        let mut answers = Answers::default();
        for one in &set.list {
            match one.kind {
                ChallengeKind::Http01 => {
                    let answer = (one.name.clone(), Bytes::from(one.answer.clone()));
                    answers.http.insert(one.token.clone(), answer);
                }
                ChallengeKind::TlsAlpn01 => match certificate(one) {
                    Ok(config) => {
                        answers.alpn.insert(one.name.clone(), config);
                    }
                    Err(error) => {
                        tracing::error!(
                            name = one.name,
                            error = &error as &dyn std::error::Error,
                            "cannot answer an ACME challenge"
                        );
                    }
                },
            }
        }
        self.answers.store(Arc::new(answers));
        self.version.store(set.version, Ordering::Relaxed);
        true
    }

    /// The answer for a CA that asks for this path of a host.
    pub(crate) fn http(&self, host: &str, path: &str) -> Option<Bytes> {
        let token = path.strip_prefix(CHALLENGE_PATH)?;
        let answers = self.answers.load();
        let (name, answer) = answers.http.get(token)?;
        (name == host).then(|| answer.clone())
    }

    /// The TLS configuration for a CA's handshake (RFC 8737), if its name has an open challenge.
    pub(crate) fn alpn(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        if !hello.alpn()?.any(|name| name == ACME_ALPN) {
            return None;
        }
        self.answers.load().alpn.get(&hello.server_name()?.to_ascii_lowercase()).cloned()
    }
}

/// The certificate that answers a tls-alpn-01 challenge (RFC 8737 section 3).
fn certificate(challenge: &StoredChallenge) -> Result<Arc<ServerConfig>, ChallengeError> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec![challenge.name.clone()])?;
    let digest = digest(&SHA256, challenge.answer.as_bytes());
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest.as_ref())];
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    // Its extension is critical, and none that certificates for handshakes have: rustls' own check would refuse it.
    let certified = CertifiedKey::new(vec![certificate.der().clone()], any_supported_type(&key)?);
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![ACME_ALPN.to_vec()];
    Ok(Arc::new(config))
}
