//! Stands between a program and its Postgres and does what networks and poolers do.

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

/// What becomes of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// All goes through.
    Open,
    /// Connections are cut, new ones too.
    Refuse,
    /// Those that are there stay and carry nothing more, for good; new ones are taken and carry nothing.
    Swallow,
    /// All goes through but notifications, as behind a transaction pooler.
    WithoutNotifications,
}

/// The proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    way: watch::Sender<Way>,
    to: Arc<AtomicU16>,
    count: Arc<Count>,
    _tasks: JoinSet<()>,
}

/// What has become of notifications.
#[derive(Debug, Default)]
struct Count {
    dropped: AtomicUsize,
    /// By their channels.
    passed: Mutex<HashMap<String, usize>>,
}

impl Proxy {
    /// Listens on a port that the system chooses, for a Postgres on this port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let way = watch::Sender::new(Way::Open);
        let (to, count) = (Arc::new(AtomicU16::new(to)), Arc::new(Count::default()));
        let mut tasks = JoinSet::new();
        let (ways, lead, counted) = (way.subscribe(), Arc::clone(&to), Arc::clone(&count));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                let to = lead.load(Ordering::Relaxed);
                connections.spawn(carry(client, to, ways.clone(), Arc::clone(&counted)));
            }
        });
        Self { port, way, to, count, _tasks: tasks }
    }

    /// What becomes of connections from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// New connections lead to this port of 127.0.0.1 from now on; those that are there stay where they are, as behind an
    /// address that moves from one server to another.
    pub fn lead_to(&self, port: u16) {
        self.to.store(port, Ordering::Relaxed);
    }

    /// The URL of a database by way of this proxy.
    pub fn url(&self, url: &str) -> String {
        let (start, rest) = url.split_once("127.0.0.1:").expect("a URL of this machine");
        let (_, database) = rest.split_once('/').expect("a database");
        format!("{start}127.0.0.1:{}/{database}", self.port)
    }

    /// How many notifications were kept back.
    pub fn dropped_notifications(&self) -> usize {
        self.count.dropped.load(Ordering::Relaxed)
    }

    /// How many notifications of a channel have been passed on.
    pub fn passed_notifications(&self, channel: &str) -> usize {
        self.count.passed.lock().unwrap_or_else(PoisonError::into_inner).get(channel).copied().unwrap_or(0)
    }
}

async fn carry(client: TcpStream, to: u16, mut ways: watch::Receiver<Way>, count: Arc<Count>) {
    let way = *ways.borrow_and_update();
    match way {
        Way::Refuse => return,
        Way::Swallow => return swallow(client).await,
        Way::Open | Way::WithoutNotifications => {}
    }
    let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let watched = ways.clone();
    let changed = async {
        loop {
            if ways.changed().await.is_err() {
                return Way::Refuse;
            }
            let way = *ways.borrow_and_update();
            if matches!(way, Way::Refuse | Way::Swallow) {
                return way;
            }
        }
    };
    let way = tokio::select! {
        _ = tokio::io::copy(&mut from_client, &mut to_server) => Way::Refuse,
        _ = answers(&mut from_server, &mut to_client, watched, &count) => Way::Refuse,
        way = changed => way,
    };
    if way == Way::Swallow {
        // The server's end stays open as well: nobody is told anything.
        std::future::pending::<()>().await;
    }
}

/// Takes all that comes, without a word.
async fn swallow(mut client: TcpStream) {
    let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
}

/// Carries a server's messages: a type, a length that counts itself, a body. `A` is a notification.
async fn answers(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    ways: watch::Receiver<Way>,
    count: &Count,
) -> std::io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        if kind == b'A' {
            if *ways.borrow() == Way::WithoutNotifications {
                count.dropped.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // Whose it is, four bytes long, and then the channel's name.
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
