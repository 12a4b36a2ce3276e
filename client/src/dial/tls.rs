//! TLS to relays: version 1.3 only, ALPN `adit/1`, and the authorities that are trusted.

use super::{error::DialError, hello::RelayIo};
use crate::{
    problem::Problem,
    tls::{provider, read_certificates, system_verifier},
};
use adit_protocol::ALPN;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Trusts these authorities alone.
fn verifier_of(
    authorities: Vec<CertificateDer<'static>>,
) -> Result<Arc<dyn ServerCertVerifier>, Box<dyn std::error::Error>> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority)?;
    }
    Ok(WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build()?)
}

/// Makes TLS connections to relays.
#[derive(Debug)]
pub(crate) struct RelayTls {
    config: Arc<ClientConfig>,
    ca: Option<PathBuf>,
    verifier: Arc<RecordingVerifier>,
}

impl RelayTls {
    /// Trusts the authorities of a PEM file, or those of the system.
    ///
    /// # Errors
    /// `config_invalid` when the file is of no use or the system has no authorities.
    pub(crate) fn new(ca: Option<&Path>) -> Result<Self, Problem> {
        let failed = |why: String| Problem::new("config_invalid").with("message", why);
        let inner = match ca {
            Some(path) => read_certificates(path)
                .and_then(|found| verifier_of(found).map_err(|e| e.to_string()))
                .map_err(|why| failed(format!("ca: {} {why}", path.display())))?,
            None => system_verifier(vec![]).map_err(|e| failed(format!("ca: {e}")))?,
        };
        let verifier = Arc::new(RecordingVerifier { inner, issuer: Mutex::default() });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|e| failed(e.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = Resumption::in_memory_sessions(4);
        Ok(Self { config: Arc::new(config), ca: ca.map(Path::to_owned), verifier })
    }

    /// TLS to the relay behind this connection.
    pub(crate) async fn connect(&self, host: &str, tcp: TcpStream) -> Result<RelayIo, DialError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| DialError::NotARelay)?;
        let io = TlsConnector::from(self.config.clone())
            .connect(name, tcp)
            .await
            .map_err(|error| self.explain(error))?;
        if io.get_ref().1.alpn_protocol() == Some(ALPN) { Ok(io) } else { Err(DialError::NotARelay) }
    }

    fn explain(&self, error: io::Error) -> DialError {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(problem)) => DialError::Certificate {
                error: problem.clone(),
                issuer: self.verifier.issuer(),
                ca: self.ca.clone(),
            },
            // rustls says `access_denied` where it has no certificate for the name.
            Some(rustls::Error::AlertReceived(
                rustls::AlertDescription::UnrecognisedName | rustls::AlertDescription::AccessDenied,
            )) => DialError::NameRefused,
            Some(
                rustls::Error::AlertReceived(rustls::AlertDescription::NoApplicationProtocol)
                | rustls::Error::InvalidMessage(_),
            ) => DialError::NotARelay,
            _ => DialError::Tls(error),
        }
    }
}

/// Verifies as the inner verifier does, and remembers the issuer of a refused certificate.
#[derive(Debug)]
struct RecordingVerifier {
    inner: Arc<dyn ServerCertVerifier>,
    issuer: Mutex<Option<String>>,
}

impl RecordingVerifier {
    fn issuer(&self) -> Option<String> {
        self.issuer.lock().expect("no code panics while it holds this lock").clone()
    }
}

/// The issuer's name as a person would say it.
fn issuer_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let issuer = certificate.issuer();
    let name = issuer.iter_common_name().chain(issuer.iter_organization()).next()?.as_str().ok()?;
    Some(name.chars().filter(|c| !c.is_control()).take(100).collect())
}

impl ServerCertVerifier for RecordingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now).inspect_err(
            |_| {
                let topmost = intermediates.last().unwrap_or(end_entity);
                *self.issuer.lock().expect("no code panics while it holds this lock") = issuer_of(topmost);
            },
        )
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
