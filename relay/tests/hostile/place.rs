//! A relay, a client, and what consumers need.

use adit::Tunnel;
use adit_testkit::h2;
use adit_testkit::{
    http::{Consumer, Http2, Wire},
    region::{DOMAIN, Region, Relay},
};
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// One relay with one tunnel; what is dropped first stands first.
pub(crate) struct Place {
    _tunnel: Tunnel,
    pub(crate) relay: Relay,
    pub(crate) region: Region,
}

/// The tunnel's host.
pub(crate) const HOST: &str = "shop.adit.localhost";

pub(crate) fn region() -> Region {
    Region::new(env!("CARGO_BIN_EXE_adit-relay"))
        .with("limits: {requestsPerSecond: 100000, burst: 100000, responseTimeout: 20s, bodyBytes: 1MiB}")
}

impl Place {
    /// A tunnel to a service: an address, or a URL.
    pub(crate) async fn start(service: impl ToString) -> Self {
        Self::start_in(region(), service).await
    }

    pub(crate) async fn start_in(region: Region, service: impl ToString) -> Self {
        let relay = region.start("a");
        let tunnel = Tunnel::http(service.to_string())
            .name("shop")
            .relay(format!("{DOMAIN}:{}", relay.https().port()))
            .token(region.token(&relay, "ci", &[]))
            .ca(region.ca())
            .open()
            .await
            .expect("the tunnel opens");
        Self { _tunnel: tunnel, relay, region }
    }

    pub(crate) fn plain(&self) -> Consumer {
        Consumer::plain(self.relay.http())
    }

    pub(crate) fn tls(&self, alpn: &[&[u8]]) -> Consumer {
        Consumer::tls(self.relay.https(), HOST, &self.region.ca(), alpn)
    }

    /// A consumer's HTTP/2 connection, frame by frame.
    pub(crate) async fn frames(&self, settings: &[(u16, u32)]) -> Http2<Wire> {
        let wire = self.tls(&[b"h2"]).connect().await.unwrap();
        Http2::client(wire, settings).await.unwrap()
    }

    /// A consumer's HTTP/2 connection.
    pub(crate) async fn http2(&self) -> h2::client::SendRequest<bytes::Bytes> {
        let wire = self.tls(&[b"h2"]).connect().await.unwrap();
        let (opener, connection) = h2::client::handshake(wire).await.unwrap();
        tokio::spawn(connection);
        opener
    }

    /// Everybody else is served as ever.
    pub(crate) async fn still_serves(&self) {
        let answer = self.plain().get(HOST, "/").await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// The sum over all labels of one of the relay's metrics.
    pub(crate) fn number(&self, name: &str) -> u64 {
        let (_, text) = self.relay.ask("/metrics").unwrap();
        let of = |line: &str| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        };
        text.lines().filter_map(of).sum::<f64>() as u64
    }

    /// The relay's resident memory, in MiB.
    pub(crate) fn memory(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.relay.child.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }

    pub(crate) async fn wait(&self, what: &str, state: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !state(self) {
            assert!(Instant::now() < end, "waited in vain: {what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
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
pub(crate) async fn connect(address: SocketAddr) -> Wire {
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
