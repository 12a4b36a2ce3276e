//! The relay under attack, and what hostile consumers and clients send.

use crate::relay_fixture::{self, HOST, RelayFixture};
use adit_testkit::{
    http::{Consumer, ConsumerConnection},
    region::TestRegion,
};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{io, net::SocketAddr, path::Path, sync::Arc};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A region without limits on requests, a short response timeout, and bodies of up to 1 MiB.
pub(crate) fn region() -> TestRegion {
    relay_fixture::region()
        .with("limits: {requestsPerSecond: 100000, burst: 100000, responseTimeout: 20s, bodyBytes: 1MiB}")
}

/// A relay of [`region`] that serves [`HOST`] by a service, given by its address or URL.
pub(crate) async fn publish(service: impl ToString) -> RelayFixture {
    RelayFixture::publishing(region(), service).await
}

/// The fields that a request of HTTP/2 begins with.
pub(crate) fn get(path: &str) -> [(&str, &str); 4] {
    [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

/// A request for the h2 crate.
pub(crate) fn request(method: &str, path: &str) -> http::request::Builder {
    Request::builder().method(method).uri(format!("https://{HOST}{path}"))
}

/// A connection in clear to an address.
pub(crate) async fn connect(address: SocketAddr) -> ConsumerConnection {
    Consumer::plain(address).connect().await.unwrap()
}

/// A TLS connection of a client's kind on any stream.
pub(crate) async fn tls<T>(ca: &Path, alpn: &[u8], name: &str, io: T) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, io).await
}
