//! A proxy between a program and its Postgres that fails as networks do, or filters as poolers do.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// What the proxy does with connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyMode {
    /// Forwards everything.
    Forward,
    /// Closes all connections, new ones too.
    Refuse,
    /// Keeps connections open and forwards nothing on them any more, not even later; accepts new ones and forwards nothing.
    Blackhole,
    /// Forwards everything but notifications, as a transaction pooler does.
    WithoutNotifications,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct PostgresProxy {
    port: u16,
    mode: watch::Sender<ProxyMode>,
    to: Arc<AtomicU16>,
    count: Arc<Count>,
    _tasks: JoinSet<()>,
}

/// Counts of notifications.
#[derive(Debug, Default)]
struct Count {
    dropped: AtomicUsize,
    /// By channel.
    passed: Mutex<HashMap<String, usize>>,
}

impl PostgresProxy {
    /// Listens on a port that the system chooses, and forwards to this port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let mode = watch::Sender::new(ProxyMode::Forward);
        let (to, count) = (Arc::new(AtomicU16::new(to)), Arc::new(Count::default()));
        let mut tasks = JoinSet::new();
        let (modes, upstream, counted) = (mode.subscribe(), Arc::clone(&to), Arc::clone(&count));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let to = upstream.load(Ordering::Relaxed);
                connections.spawn(forward(client, to, modes.clone(), Arc::clone(&counted)));
            }
        });
        Self { port, mode, to, count, _tasks: tasks }
    }

    /// Sets what the proxy does from now on.
    pub fn set_mode(&self, mode: ProxyMode) {
        self.mode.send_replace(mode);
    }

    /// Forwards new connections to this port of 127.0.0.1 from now on. Open ones stay where they are, as with a virtual
    /// address that moves from one server to another.
    pub fn set_upstream(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }

    /// The URL of a database by mode of this proxy.
    pub fn url(&self, url: &str) -> String {
        let (start, rest) = url.split_once("127.0.0.1:").expect("a URL of this machine");
        let (_, database) = rest.split_once('/').expect("a database");
        format!("{start}127.0.0.1:{}/{database}", self.port)
    }

    /// Number of notifications that were not forwarded.
    pub fn dropped_notifications(&self) -> usize {
        self.count.dropped.load(Ordering::Relaxed)
    }

    /// Number of notifications of a channel that were forwarded.
    pub fn passed_notifications(&self, channel: &str) -> usize {
        self.count.passed.lock().unwrap_or_else(PoisonError::into_inner).get(channel).copied().unwrap_or(0)
    }
}

async fn forward(client: TcpStream, to: u16, mut modes: watch::Receiver<ProxyMode>, count: Arc<Count>) {
    let mode = *modes.borrow_and_update();
    match mode {
        ProxyMode::Refuse => return,
        ProxyMode::Blackhole => return discard(client).await,
        ProxyMode::Forward | ProxyMode::WithoutNotifications => {}
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let watched = modes.clone();
    let changed = async {
        loop {
            if modes.changed().await.is_err() {
                return ProxyMode::Refuse;
            }
            let mode = *modes.borrow_and_update();
            if matches!(mode, ProxyMode::Refuse | ProxyMode::Blackhole) {
                return mode;
            }
        }
    };
    let mode = tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => ProxyMode::Refuse,
        _ = forward_messages(&mut from_server, &mut to_client, watched, &count) => ProxyMode::Refuse,
        mode = changed => mode,
    };
    if mode == ProxyMode::Blackhole {
        // The server's connection stays open as well: neither end notices anything.
        std::future::pending::<()>().await;
    }
}

/// Reads and discards everything.
async fn discard(mut client: TcpStream) {
    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
}

/// Forwards a server's messages: a type, a length that includes itself, a body. `A` is a NotificationResponse.
async fn forward_messages(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    modes: watch::Receiver<ProxyMode>,
    count: &Count,
) -> std::io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        if kind == b'A' {
            if *modes.borrow() == ProxyMode::WithoutNotifications {
                count.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // The process id of the sender, four bytes long, and then the channel's name.
            let channel =
                body.get(4..).unwrap_or_default().split(|byte| *byte == 0).next().unwrap_or_default();
            let channel = String::from_utf8_lossy(channel).into_owned();
            *count.passed.lock().unwrap_or_else(PoisonError::into_inner).entry(channel).or_default() += 1;
        }
        let mut message = vec![kind];
        message.extend(length.to_be_bytes());
        message.append(&mut body);
        to.write_all(&message).await?;
    }
}
