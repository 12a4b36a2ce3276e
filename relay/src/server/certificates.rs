//! The certificates of a relay: where they come from, and what renews them.

use super::{error::ServeError, relay::Relay};
use crate::{
    certificates::{
        Certificates,
        development::DevelopmentCa,
        issuer::{OwnCertificate, reachable},
        read_certificates,
        served::{serve_cached, write_cache},
    },
    config::{Acme, Config},
    ops::{Component, clock::now},
};
use adit_acme::{Issuer, dns::Resolvers};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// What a relay serves certificates from, for its first lines.
#[derive(Clone, Debug)]
pub enum CertificateSource {
    /// Files.
    Files(usize),
    /// The development CA, whose certificate is in this file.
    Development(std::path::PathBuf),
}

/// The certificates to start with, where they come from, and the development CA if it is used.
pub(super) type Certified = (Arc<Certificates>, CertificateSource, Option<DevelopmentCa>);

/// The certificates of files, or else of the development CA.
pub(super) fn certificates(config: &Config) -> Result<Certified, ServeError> {
    let certificates = Arc::new(Certificates::default());
    if config.certificates.is_empty() {
        let ca = DevelopmentCa::load_or_create(&config.data_dir)?;
        certificates.replace(vec![ca.issue(&config.domain, time::OffsetDateTime::now_utc())?]);
        let source = CertificateSource::Development(ca.path().to_owned());
        return Ok((certificates, source, Some(ca)));
    }
    let read = read_certificates(&config.certificates)?;
    let source = CertificateSource::Files(read.len());
    certificates.replace(read);
    Ok((certificates, source, None))
}

/// Reads certificates and challenges whenever the store may have changed, for as long as the relay runs.
pub(super) async fn watch(relay: Arc<Relay>) {
    let mut changes = relay.store.changes();
    loop {
        changes.next().await;
        if relay.lifecycle.closing.is_cancelled() {
            return;
        }
        read_once(&relay).await;
    }
}

/// Reads certificates and challenges. A store that is away changes nothing.
pub(super) async fn read_once(relay: &Relay) {
    let keys = relay.keys.region.sealing_keys();
    let mut news = false;
    match relay.store.challenges(now()).await {
        Ok(set) => news |= relay.certificates.challenges.replace(&set),
        Err(error) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "cannot read the ACME challenges; retrying"
        ),
    }
    match relay.store.certificates_for(&relay.config.domain).await {
        Ok(set) => {
            if relay.certificates.served.take(&set, &keys, &relay.certificates.resolver, now()) {
                news = true;
                write_cache(&relay.config.data_dir, &set);
            }
        }
        Err(error) => tracing::debug!(
            error = &error as &dyn std::error::Error,
            "cannot read the certificates; retrying"
        ),
    }
    relay.telemetry.health.report(Component::Certificate, relay.certificates.problem(now()));
    if news {
        relay.status.news.notify_one();
    }
}

/// Serves the certificates that were kept, until the store has been read.
pub(super) fn serve_kept(relay: &Relay) {
    let (keys, parts) = (relay.keys.region.sealing_keys(), &relay.certificates);
    serve_cached(&parts.served, &relay.config.data_dir, &keys, &parts.resolver, now());
}

/// The certificate that the relay gets for itself. `own` is where it answers in clear and by TLS.
pub(super) fn own_certificate(
    relay: &Relay,
    acme: Acme,
    own: (Option<SocketAddr>, Option<SocketAddr>),
) -> OwnCertificate {
    let operator_key =
        relay.keys.region.sealing_keys().into_iter().next().expect("a region has at least one key");
    let issuer = Issuer {
        store: relay.store.clone(),
        operator_key,
        holder: format!("{}-{:08x}", relay.routing.relay, rand::random::<u32>()),
        resolvers: Resolvers::new(&acme.resolvers),
        own_http: own.0.map(reachable),
        own_tls: own.1.map(reachable),
    };
    OwnCertificate { domain: relay.config.domain.clone(), acme, issuer }
}

/// A development certificate is issued anew every day: it never comes near its end.
pub(super) async fn renew_development(domain: String, ca: DevelopmentCa, certificates: Arc<Certificates>) {
    loop {
        tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
        match ca.issue(&domain, time::OffsetDateTime::now_utc()) {
            Ok(certificate) => certificates.replace(vec![certificate]),
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "cannot issue a development certificate"
                );
            }
        }
    }
}
