//! A service that tunnels publish.

use super::routes;
use crate::port::Port;
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::{
    io,
    net::SocketAddr,
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{
    io::Interest,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A service on 127.0.0.1 that speaks HTTP/1.1 and HTTP/2 in clear. It ends, with all its connections, when it is
/// dropped.
///
/// | path | answer |
/// | --- | --- |
/// | `/` | `hello` |
/// | `/request` | the request as JSON: `method`, `target`, `version`, `headers` (a list of pairs) |
/// | `/echo` | the request's body and trailers, as they come |
/// | `/upload` | `{"bytes": n, "intact": true}`, where intact says that it was [`super::pattern`] |
/// | `/bytes/N` | N bytes of the pattern, with Content-Length; `/chunked/N` without |
/// | `/slow/MS` | `slow`, after so many milliseconds |
/// | `/hang` | nothing |
/// | `/drip/N/MS` | N chunks `drip\n`, so many milliseconds apart |
/// | `/sse/N` | N server-sent events `data: i`, 10 ms apart; then a comment each second |
/// | `/cut/N` | N bytes of a body that is announced twice as long, then the connection breaks |
/// | `/status/CODE` | an answer of that status |
/// | `/header/NAME/VALUE` | an answer with that field; the value percent-encoded |
/// | `/trailers` | `body`, with the trailers `x-sum: 4` and `x-more: yes` |
/// | `/ws` | a WebSocket that echoes text and binary messages |
/// | `/upgrade` | 101 to any `Upgrade`, then an echo of bytes |
/// | `/grpc.*` | gRPC: the body back, `grpc-status: 0` as a trailer |
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
    _port: Option<Port>,
}

/// Counts of a service.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    connections: AtomicU64,
    open: AtomicU64,
}

impl Service {
    /// Starts a service on a free port. Panics when there is none.
    pub async fn start() -> Self {
        // While the value lives, no other test gets the port.
        let port = Port::take();
        Self::listen(port.address(), Some(port)).await
    }

    /// Starts a service at an address. Panics when it is taken.
    pub async fn start_at(address: SocketAddr) -> Self {
        Self::listen(address, None).await
    }

    async fn listen(address: SocketAddr, port: Option<Port>) -> Self {
        let listener = TcpListener::bind(address).await.expect("the service's port is free");
        let address = listener.local_addr().expect("a bound listener");
        let counts = Arc::new(Counts::default());
        let accepting = tokio::spawn(accept(listener, Arc::clone(&counts)));
        Self { address, counts, accepting, _port: port }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port on which it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many requests have come, WebSockets included.
    pub fn requests(&self) -> u64 {
        self.counts.requests.load(Ordering::Relaxed)
    }

    /// How many connections have come.
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> u64 {
        self.counts.open.load(Ordering::Relaxed)
    }

    /// Runs until the service fails, which it does not.
    pub async fn run(mut self) {
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, counts: Arc<Counts>) {
    // Ends all connections when the service is dropped.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                counts.connections.fetch_add(1, Ordering::Relaxed);
                counts.open.fetch_add(1, Ordering::Relaxed);
                let open = Open(Arc::clone(&counts));
                connections.spawn(async move { serve(socket, &open.0).await });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

struct Open(Arc<Counts>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until it ends or the other end resets it.
async fn serve(socket: TcpStream, counts: &Arc<Counts>) {
    let _ = socket.set_nodelay(true);
    let Ok(reset) = Reset::watch(&socket) else { return };
    tokio::select! {
        () = speak(socket, counts) => {}
        () = reset.wait() => {}
    }
}

/// Notices a reset by itself: hyper reads nothing while an answer is pending, because connections may be half-closed.
struct Reset(TcpStream);

impl Reset {
    fn watch(socket: &TcpStream) -> io::Result<Self> {
        let another: std::net::TcpStream = socket.as_fd().try_clone_to_owned()?.into();
        TcpStream::from_std(another).map(Self)
    }

    async fn wait(&self) {
        let _ = self.0.ready(Interest::ERROR).await;
    }
}

async fn speak(socket: TcpStream, counts: &Arc<Counts>) {
    let mut start = [0; 4];
    // HTTP/2 with prior knowledge begins with `PRI `.
    let http2 = loop {
        match socket.peek(&mut start).await {
            Ok(0) | Err(_) => return,
            Ok(n) if start[..n] != b"PRI "[..n] => break false,
            Ok(4) => break true,
            Ok(_) => tokio::task::yield_now().await,
        }
    };
    let counts = Arc::clone(counts);
    let service = service_fn(move |request| {
        counts.requests.fetch_add(1, Ordering::Relaxed);
        routes::answer(request)
    });
    let io = TokioIo::new(socket);
    if http2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.timer(TokioTimer::new()).max_concurrent_streams(10_000).enable_connect_protocol();
        let _ = server.serve_connection(io, service).await;
    } else {
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(None).half_close(true);
        let _ = server.serve_connection(io, service).with_upgrades().await;
    }
}
