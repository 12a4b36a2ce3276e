//! Consumers that send bytes as they are.

use super::HttpResponse;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

/// Maximum time of one operation of a consumer.
const IO_TIMEOUT: Duration = Duration::from_secs(30);

/// Where connections go, and how.
#[derive(Clone)]
pub struct Consumer {
    address: SocketAddr,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Consumer {
    /// Connections in clear.
    pub fn plain(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }

    /// Connections over TLS. `name` is the server name, `ca` a PEM file, `alpn` what is offered.
    ///
    /// Panics when the file has no certificate or the name is none.
    pub fn tls(address: SocketAddr, name: &str, ca: &Path, alpn: &[&[u8]]) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca).expect("the CA's file") {
            roots.add(certificate.expect("the CA's file is PEM")).expect("a CA certificate");
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config =
            config.expect("the default versions").with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let name = ServerName::try_from(name.to_owned()).expect("a server name");
        Self { address, tls: Some((TlsConnector::from(Arc::new(config)), name)) }
    }

    /// Where its connections go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same, with another server name. Panics when this consumer has no TLS, or the name is none.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        let (_, old) = self.tls.as_mut().expect("a consumer with TLS");
        *old = ServerName::try_from(name.to_owned()).expect("a server name");
        self
    }

    /// Opens a connection, within 30 s.
    ///
    /// # Errors
    /// Nobody listens, or TLS fails.
    pub async fn connect(&self) -> io::Result<ConsumerConnection> {
        let opening = async {
            let socket = TcpStream::connect(self.address).await?;
            socket.set_nodelay(true)?;
            Ok(match &self.tls {
                None => ConsumerConnection::new(socket),
                Some((connector, name)) => {
                    ConsumerConnection::new(connector.connect(name.clone(), socket).await?)
                }
            })
        };
        in_time(opening).await
    }

    /// Sends bytes on a connection of their own and reads the answer.
    ///
    /// # Errors
    /// As [`Consumer::connect`] and [`ConsumerConnection::send`].
    pub async fn send(&self, request: impl AsRef<[u8]>) -> io::Result<HttpResponse> {
        self.connect().await?.send(request.as_ref()).await
    }

    /// GETs a path.
    ///
    /// # Errors
    /// As [`Consumer::send`].
    pub async fn get(&self, host: &str, path: &str) -> io::Result<HttpResponse> {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.tls.as_ref().map(|(_, name)| name);
        f.debug_struct("Consumer").field("address", &self.address).field("tls", &name).finish()
    }
}

async fn in_time<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(IO_TIMEOUT, future).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One connection. It can be read and written as bytes too.
pub struct ConsumerConnection {
    stream: BufReader<Box<dyn Stream>>,
}

impl ConsumerConnection {
    fn new(stream: impl Stream + 'static) -> Self {
        Self { stream: BufReader::new(Box::new(stream)) }
    }

    /// Sends one request as it is, and reads its answer within 30 s. When the request begins with `HEAD `, the answer
    /// is read without a body.
    ///
    /// A server may answer and close before it has read everything: a failed write is no error as long as an answer
    /// can be read.
    ///
    /// # Errors
    /// No answer came, or it is not HTTP/1.1 in every detail.
    pub async fn send(&mut self, request: &[u8]) -> io::Result<HttpResponse> {
        let written =
            in_time(async { self.stream.write_all(request).await.and(self.stream.flush().await) }).await;
        let answer = self.answer(request.starts_with(b"HEAD ")).await;
        match (answer, written) {
            (Ok(answer), _) => Ok(answer),
            (Err(_), Err(error)) | (Err(error), Ok(())) => Err(error),
        }
    }

    /// Reads one more answer within 30 s. `head`: it answers a HEAD.
    ///
    /// # Errors
    /// As [`ConsumerConnection::send`].
    pub async fn answer(&mut self, head: bool) -> io::Result<HttpResponse> {
        in_time(HttpResponse::read(&mut self.stream, head)).await
    }

    /// Reads the next line, without its end, within 30 s; `None` at the end of the connection.
    ///
    /// # Errors
    /// The connection was reset.
    pub async fn line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        let read = in_time(self.stream.read_line(&mut line)).await?;
        Ok((read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Reads until the other side ends, within 30 s.
    ///
    /// # Errors
    /// The connection was reset: what a cut stream must look like.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        in_time(self.stream.read_to_end(&mut bytes)).await?;
        Ok(bytes)
    }
}

impl fmt::Debug for ConsumerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsumerConnection").finish_non_exhaustive()
    }
}

impl AsyncRead for ConsumerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ConsumerConnection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
