//! A service that records what it receives, byte for byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nrecorded";

/// A service on 127.0.0.1 that answers every whole HTTP/1.1 request with 200 and `recorded`, and reads them strictly: a
/// second request that hides in a body, or behind one, shows as a request of its own. It ends when it is dropped.
#[derive(Debug)]
pub struct RecordingService {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    requests: Vec<String>,
    broken: Vec<String>,
    unfinished: usize,
}

impl RecordingService {
    /// Starts one on a free port. Panics when there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener");
        let seen = Arc::<Mutex<Seen>>::default();
        let accepting = tokio::spawn(accept(listener, seen.clone()));
        Self { address, seen, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The whole requests that have come since the last call: head, blank line, and the body with its framing.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.seen).requests)
    }

    /// What came in connections that ended within a request, or that were not HTTP/1.1 in every detail, since the last call.
    pub fn broken(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.seen).broken)
    }

    /// Number of connections on which a request is incomplete.
    pub fn unfinished(&self) -> usize {
        lock(&self.seen).unfinished
    }
}

impl Drop for RecordingService {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, seen: Arc<Mutex<Seen>>) {
    // Ends all connections when the recorder is dropped.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        connections.spawn(record(socket, seen.clone()));
    }
}

async fn record(mut socket: TcpStream, seen: Arc<Mutex<Seen>>) {
    let (mut bytes, mut within) = (vec![], false);
    loop {
        if within == bytes.is_empty() {
            within = !bytes.is_empty();
            let mut seen = lock(&seen);
            seen.unfinished = if within { seen.unfinished + 1 } else { seen.unfinished - 1 };
        }
        match length(&bytes) {
            Length::Known(length) if bytes.len() >= length => {
                let request: Vec<u8> = bytes.drain(..length).collect();
                lock(&seen).requests.push(String::from_utf8_lossy(&request).into_owned());
                if socket.write_all(ANSWER).await.is_err() {
                    return;
                }
            }
            Length::Never => break,
            Length::Known(_) | Length::Unknown => match socket.read_buf(&mut bytes).await {
                Ok(1..) => {}
                Ok(0) | Err(_) => break,
            },
        }
    }
    if within {
        lock(&seen).unfinished -= 1;
    }
    if !bytes.is_empty() {
        lock(&seen).broken.push(String::from_utf8_lossy(&bytes).into_owned());
    }
}

enum Length {
    Known(usize),
    /// The request is incomplete.
    Unknown,
    /// It is not HTTP/1.1.
    Never,
}

/// How many bytes the first request has, its body included.
fn length(bytes: &[u8]) -> Length {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Length::Unknown };
    let Ok(text) = std::str::from_utf8(&bytes[..head]) else { return Length::Never };
    let (mut length, mut chunked) = (None, false);
    for line in text.split("\r\n").skip(1) {
        let Some((name, value)) = line.split_once(": ") else { return Length::Never };
        match name.to_ascii_lowercase().as_str() {
            "content-length" if length.is_some() => return Length::Never,
            "content-length" => match value.parse::<usize>() {
                Ok(value) => length = Some(value),
                Err(_) => return Length::Never,
            },
            "transfer-encoding" if chunked || value != "chunked" => return Length::Never,
            "transfer-encoding" => chunked = true,
            _ => {}
        }
    }
    let body = head + 4;
    match (length, chunked) {
        (Some(_), true) => Length::Never,
        (None, true) => chunks(bytes, body),
        (length, false) => Length::Known(body + length.unwrap_or(0)),
    }
}

/// Where the chunks end that begin at `at`, with their trailers.
fn chunks(bytes: &[u8], mut at: usize) -> Length {
    loop {
        let Some(line) = bytes.get(at..).and_then(|rest| find(rest, b"\r\n")) else { return Length::Unknown };
        let digits = std::str::from_utf8(&bytes[at..at + line]).ok();
        let Some(size) = digits.and_then(|digits| usize::from_str_radix(digits, 16).ok()) else {
            return Length::Never;
        };
        if size == 0 {
            // The blank line follows at once, or behind the trailers.
            return match find(&bytes[at + line..], b"\r\n\r\n") {
                Some(end) => Length::Known(at + line + end + 4),
                None => Length::Unknown,
            };
        }
        at += line + 2 + size + 2;
        if at > bytes.len() {
            return Length::Unknown;
        }
        if bytes[at - 2..at] != *b"\r\n" {
            return Length::Never;
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
