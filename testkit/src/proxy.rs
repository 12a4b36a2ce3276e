//! Stands between a program and its Postgres and does what networks and poolers do.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
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
    dropped: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a port that the system chooses, for a Postgres on this port of 127.0.0.1.
    pub async fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let way = watch::Sender::new(Way::Open);
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        let (ways, count) = (way.subscribe(), Arc::clone(&dropped));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                connections.spawn(carry(client, to, ways.clone(), Arc::clone(&count)));
            }
        });
        Self { port, way, dropped, _tasks: tasks }
    }

    /// What becomes of connections from now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// The URL of a database by way of this proxy.
    pub fn url(&self, url: &str) -> String {
        let (start, rest) = url.split_once("127.0.0.1:").expect("a URL of this machine");
        let (_, database) = rest.split_once('/').expect("a database");
        format!("{start}127.0.0.1:{}/{database}", self.port)
    }

    /// How many notifications were kept back.
    pub fn dropped_notifications(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }
}

async fn carry(client: TcpStream, to: u16, mut ways: watch::Receiver<Way>, dropped: Arc<AtomicUsize>) {
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
        _ = answers(&mut from_server, &mut to_client, watched, &dropped) => Way::Refuse,
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
    dropped: &AtomicUsize,
) -> std::io::Result<()> {
    loop {
        let kind = from.read_u8().await?;
        let length = from.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from.read_exact(&mut body).await?;
        if kind == b'A' && *ways.borrow() == Way::WithoutNotifications {
            dropped.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut message = vec![kind];
        message.extend(length.to_be_bytes());
        message.append(&mut body);
        to.write_all(&message).await?;
    }
}
