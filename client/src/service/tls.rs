//! TLS to services that speak `https`.

use super::{Scheme, TunnelSpec, UpstreamProtocol};
use crate::{
    problem::Problem,
    tls::{provider, read_certificates, system_verifier},
};
use rustls::{ClientConfig, client::danger::ServerCertVerifier, pki_types::ServerName};
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// How to speak TLS with one service.
#[derive(Clone)]
pub(crate) struct ServiceTls {
    /// The name that the service's certificate has to be for.
    pub(crate) name: ServerName<'static>,
    /// For requests: the versions of HTTP that the tunnel's settings allow.
    pub(crate) requests: TlsConnector,
    /// For Upgrades, which only HTTP/1.1 has.
    pub(crate) upgrades: TlsConnector,
}

impl std::fmt::Debug for ServiceTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServiceTls").field(&self.name).finish()
    }
}

impl ServiceTls {
    /// How to speak TLS with the service of this tunnel; `None` if it does not.
    ///
    /// # Errors
    /// `config_invalid` when the authorities to trust cannot be read.
    pub(crate) fn new(spec: &TunnelSpec) -> Result<Option<Self>, Problem> {
        if spec.service.scheme != Scheme::Https {
            return Ok(None);
        }
        let failed = |field: &str, why: String| {
            Problem::new("config_invalid").with("message", format!("{field}: {why}"))
        };
        let extra = match &spec.upstream_ca {
            Some(path) => read_certificates(path)
                .map_err(|why| failed("upstreamCa", format!("{} {why}", path.display())))?,
            None => vec![],
        };
        let verifier = system_verifier(extra).map_err(|e| failed("upstreamCa", e.to_string()))?;
        let name = ServerName::try_from(spec.service.host.clone())
            .map_err(|_| failed("service", format!("{} cannot be in a certificate", spec.service.host)))?;
        let requests: &[&[u8]] = match spec.upstream_protocol {
            UpstreamProtocol::Auto => &[b"h2", b"http/1.1"],
            UpstreamProtocol::Http1 => &[b"http/1.1"],
            UpstreamProtocol::Http2 => &[b"h2"],
        };
        let connector = |alpn| connector(&verifier, alpn).map_err(|e| failed("service", e.to_string()));
        Ok(Some(Self { name, requests: connector(requests)?, upgrades: connector(&[b"http/1.1"])? }))
    }
}

fn connector(verifier: &Arc<dyn ServerCertVerifier>, alpn: &[&[u8]]) -> Result<TlsConnector, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}
