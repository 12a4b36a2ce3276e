//! Consumers in the middle of a request or connection, which they can abort.

use crate::fixture::{FaultFixture, HOST};
use adit_testkit::{
    h2::{self, Reason, client},
    wait::until,
};
use bytes::Bytes;
use http::Request;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use socket2::SockRef;
use std::sync::Arc;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// What a consumer is doing when it aborts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConsumerKind {
    /// Reads an answer that goes on, on HTTP/1.1.
    Download,
    /// Sends a body that is not whole, on HTTP/1.1.
    Upload,
    /// Waits for an answer that does not come, on HTTP/1.1.
    Wait,
    /// Reads an answer that goes on, on HTTP/2.
    Http2,
    /// Has a connection through a TCP tunnel.
    Tcp,
}

/// A consumer in the middle of a request or connection.
pub(crate) enum ActiveConsumer {
    Connection(TcpStream),
    Stream(
        h2::SendStream<Bytes>,
        #[expect(dead_code, reason = "an answer that is dropped is cut off")] h2::RecvStream,
    ),
}

impl ActiveConsumer {
    /// Aborts it: connections of an even number by a reset, the others by an end; streams by RST_STREAM.
    pub(crate) fn abort(self, number: usize) {
        match self {
            Self::Connection(tcp) if number.is_multiple_of(2) => {
                tcp.set_zero_linger().expect("it is a TCP connection");
            }
            Self::Connection(_) => {}
            Self::Stream(mut send, ..) => send.send_reset(Reason::CANCEL),
        }
    }
}

/// Starts so many consumers of a kind. `port` is that of a TCP tunnel.
pub(crate) async fn start_consumers(
    fixture: &FaultFixture,
    kind: ConsumerKind,
    count: usize,
    port: u16,
) -> Vec<ActiveConsumer> {
    if matches!(kind, ConsumerKind::Http2) {
        return http2(fixture, count).await;
    }
    let mut all = Vec::with_capacity(count);
    let before = fixture.service.requests();
    for _ in 0..count {
        let address =
            if matches!(kind, ConsumerKind::Tcp) { fixture.relay.tcp(port) } else { fixture.relay.http() };
        let mut tcp = TcpStream::connect(address).await.expect("the relay listens");
        let head = match kind {
            ConsumerKind::Upload => format!(
                "POST /echo HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
            ),
            ConsumerKind::Wait => format!("GET /hang HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
            _ => format!("GET /sse/1 HTTP/1.1\r\nhost: {HOST}\r\n\r\n"),
        };
        tcp.write_all(head.as_bytes()).await.expect("the relay reads");
        all.push(tcp);
    }
    for tcp in all.iter_mut().filter(|_| !matches!(kind, ConsumerKind::Wait)) {
        read_to(tcp, if matches!(kind, ConsumerKind::Upload) { "hello" } else { "data: 0" }).await;
    }
    until("the service has all requests", || fixture.service.requests() >= before + count as u64).await;
    all.into_iter().map(ActiveConsumer::Connection).collect()
}

async fn read_to(tcp: &mut TcpStream, end: &str) {
    let mut read = vec![];
    while !String::from_utf8_lossy(&read).contains(end) {
        let more = tcp.read_buf(&mut read).await.expect("the answer goes on");
        assert!(more > 0, "it ended: {}", String::from_utf8_lossy(&read));
    }
}

/// A hundred streams on each connection: a relay allows a consumer no more.
async fn http2(fixture: &FaultFixture, count: usize) -> Vec<ActiveConsumer> {
    let mut all = vec![];
    for first in (0..count).step_by(100) {
        let opener = http2_connection(fixture).await;
        for _ in first..count.min(first + 100) {
            let mut opener = opener.clone().ready().await.expect("the connection is open");
            let request = Request::get(format!("https://{HOST}/sse/1")).body(()).unwrap();
            let (response, send) = opener.send_request(request, false).expect("the connection is open");
            let mut body = response.await.expect("an answer").into_body();
            let first = body.data().await.expect("it goes on").expect("it goes on");
            assert!(first.starts_with(b"data: 0"));
            all.push(ActiveConsumer::Stream(send, body));
        }
    }
    all
}

/// A consumer's HTTP/2 connection by TLS.
pub(crate) async fn http2_connection(fixture: &FaultFixture) -> client::SendRequest<Bytes> {
    http2_with_window(fixture, 65_535).await
}

/// As [`http2_connection`], with another window for each stream.
pub(crate) async fn http2_with_window(fixture: &FaultFixture, window: u32) -> client::SendRequest<Bytes> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(fixture.region.ca()).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = TcpStream::connect(fixture.relay.https()).await.expect("the relay listens");
    let name = HOST.try_into().expect("a server name");
    let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
    // Streams that are not read use up their own windows, not the connection's.
    let builder = client::Builder::new()
        .initial_connection_window_size(64 << 20)
        .initial_window_size(window)
        .to_owned();
    let (opener, connection) = builder.handshake(tls).await.expect("HTTP/2");
    tokio::spawn(async move {
        let _ = connection.await;
    });
    opener
}

/// A consumer that sends a request and reads nothing of the answer. Its socket buffers a few KiB at most.
pub(crate) async fn connect_stalled(address: std::net::SocketAddr, request: &str) -> TcpStream {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    SockRef::from(&socket).set_recv_buffer_size(4096).unwrap();
    let mut tcp = socket.connect(address).await.expect("the relay listens");
    tcp.write_all(request.as_bytes()).await.expect("the relay reads");
    tcp
}
