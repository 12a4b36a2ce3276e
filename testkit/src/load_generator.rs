//! Steady load: consumers that send one request after another, as HTTP clients do.

use crate::{
    http::{Consumer, ConsumerConnection},
    wait::MAX_WAIT,
};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinHandle;

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Shared {
    fn failed(&self, failure: String) {
        self.failures.lock().expect("no panic while it is locked").push(failure);
    }
}

/// Consumers, each with a connection of its own.
#[derive(Debug)]
pub struct LoadGenerator {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

impl LoadGenerator {
    /// Starts `each` consumers at every address. They send GETs of this host and path.
    pub fn start(addresses: &[SocketAddr], each: usize, host: &str, path: &str) -> Self {
        let consumers = addresses.iter().flat_map(|address| std::iter::repeat_n(*address, each));
        Self::of(consumers.map(Consumer::plain), host, path)
    }

    /// Starts these consumers, as [`LoadGenerator::start`] does.
    pub fn of(consumers: impl IntoIterator<Item = Consumer>, host: &str, path: &str) -> Self {
        let shared = Arc::new(Shared::default());
        let request = Arc::<[u8]>::from(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n").into_bytes());
        let work = |consumer| tokio::spawn(work(shared.clone(), consumer, request.clone()));
        let workers = consumers.into_iter().map(work).collect();
        Self { shared, workers }
    }

    /// Number of requests that were answered with 200.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more requests have been answered.
    ///
    /// Panics after [`MAX_WAIT`].
    pub async fn until_answered(&self, requests: u64) {
        let (goal, end) = (self.answered() + requests, Instant::now() + MAX_WAIT);
        while self.answered() < goal {
            assert!(
                Instant::now() < end,
                "only {} of {goal} answers; {:?}",
                self.answered(),
                self.failures()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The failures so far.
    pub fn failures(&self) -> Vec<String> {
        self.shared.failures.lock().expect("no panic while it is locked").clone()
    }

    /// Stops the load once the requests under way have ended. Returns the number of answered requests, and the failures.
    pub async fn stop(self) -> (u64, Vec<String>) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.expect("a worker does not panic");
        }
        (self.shared.answered.load(Ordering::Relaxed), self.shared.failures.lock().expect("as above").clone())
    }
}

async fn work(shared: Arc<Shared>, consumer: Consumer, request: Arc<[u8]>) {
    let mut wire: Option<ConsumerConnection> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        if let Err(error) = ask(&consumer, &mut wire, &request).await {
            wire = None;
            shared.failed(format!("{}: {error}", consumer.address()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        } else {
            shared.answered.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One request. A kept-alive connection that ends before any byte of the answer says that the server closed it while
/// the request was on its way: every HTTP client sends a GET again then (RFC 9110 section 9.2.2).
async fn ask(
    consumer: &Consumer,
    wire: &mut Option<ConsumerConnection>,
    request: &[u8],
) -> Result<(), String> {
    let reused = wire.is_some();
    let mut connection = match wire.take() {
        Some(wire) => wire,
        None => consumer.connect().await.map_err(|error| format!("connect: {error}"))?,
    };
    let answer = match connection.send(request).await {
        Err(error) if reused && is_closed(&error) => {
            connection = consumer.connect().await.map_err(|error| format!("connect again: {error}"))?;
            connection.send(request).await
        }
        other => other,
    };
    let answer = answer.map_err(|error| format!("answer: {error}"))?;
    if answer.header("connection") != Some("close") {
        *wire = Some(connection);
    }
    if answer.status == 200 {
        Ok(())
    } else {
        Err(format!("status {} {:?}", answer.status, answer.header("adit-error")))
    }
}

fn is_closed(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
