//! One line for each request that a consumer made, and the id by which it is found again.
//!
//! Each lane formats into a buffer of its own ([`LaneLog`]); full buffers, and every 100 ms all others, go to one
//! writer thread. When the disk is full or a pipe is blocked, lines are dropped and counted: serving goes on.

mod combined;
mod entry;
mod json;
mod redact;
pub mod request_id;
mod stamp;
mod text;
mod writer;

pub use entry::LogEntry;
pub use request_id::{RequestId, RequestIds, now_us};

use crate::{
    config::{self, AccessLogFormat, AccessLogPath},
    ops::metrics::{MetricKind, Metrics},
};
use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

/// Size at which a lane hands its buffer to the writer.
const CHUNK_BYTES: usize = 32 * 1024;
/// Maximum number of full buffers that wait for the writer: 2 MiB.
const MAX_WAITING_CHUNKS: usize = 64;
/// Maximum time that a line stays in its lane's buffer.
const FLUSH_INTERVAL: Duration = Duration::from_millis(100);

/// The access log's destination cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the access log {path:?}")]
pub struct AccessLogError {
    path: AccessLogPath,
    #[source]
    source: io::Error,
}

/// The access log of one relay. Its lines stop when it is closed.
pub struct AccessLog {
    shared: Option<Arc<Shared>>,
    ended: Mutex<Option<mpsc::Receiver<()>>>,
}

/// The access log of one lane. Every thread may write to it; one that has it for itself never waits.
pub struct LaneLog {
    shared: Option<Arc<Shared>>,
    buffer: Mutex<Buffer>,
}

/// State shared by lanes and writer.
struct Shared {
    format: AccessLogFormat,
    full: mpsc::SyncSender<Chunk>,
    lanes: Mutex<Vec<Weak<LaneLog>>>,
    dropped: AtomicU64,
    closing: AtomicBool,
    reopening: AtomicBool,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u64,
    stamp: stamp::TimestampCache,
}

/// Some whole lines.
struct Chunk {
    bytes: Vec<u8>,
    lines: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AccessLog {
    /// Opens the log and starts its writer. A file that is not there is made with mode 0640.
    ///
    /// # Errors
    /// The file cannot be opened for appending, or no thread can be started.
    pub fn open(config: &config::AccessLog) -> Result<Self, AccessLogError> {
        if config.path == AccessLogPath::Off {
            return Ok(Self { shared: None, ended: Mutex::new(None) });
        }
        let (full, chunks) = mpsc::sync_channel(MAX_WAITING_CHUNKS);
        let (end, ended) = mpsc::channel();
        let shared = Arc::new(Shared {
            format: config.format,
            full,
            lanes: Mutex::default(),
            dropped: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            reopening: AtomicBool::new(false),
        });
        let started = writer::start(Arc::clone(&shared), config.path.clone(), chunks, end);
        started.map_err(|source| AccessLogError { path: config.path.clone(), source })?;
        Ok(Self { shared: Some(shared), ended: Mutex::new(Some(ended)) })
    }

    /// The log of one lane.
    pub fn lane(&self) -> Arc<LaneLog> {
        let lane = Arc::new(LaneLog { shared: self.shared.clone(), buffer: Mutex::default() });
        if let Some(shared) = &self.shared {
            let mut lanes = lock(&shared.lanes);
            lanes.retain(|lane| lane.strong_count() > 0);
            lanes.push(Arc::downgrade(&lane));
        }
        lane
    }

    /// How many lines were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.dropped.load(Ordering::Relaxed))
    }

    /// Shows the dropped lines among the metrics, as `adit_access_log_dropped`.
    pub fn show_in(&self, metrics: &Metrics) {
        if let Some(shared) = self.shared.clone() {
            let help = "Lines of the access log dropped because they could not be written in time";
            let read = move || shared.dropped.load(Ordering::Relaxed);
            metrics.watch("adit_access_log_dropped", help, MetricKind::Counter, read);
        }
    }

    /// Opens the file anew, for log rotation. When that fails the old file stays in use.
    pub fn reopen(&self) {
        if let Some(shared) = &self.shared {
            shared.reopening.store(true, Ordering::Relaxed);
        }
    }

    /// Writes what is there and ends the writer; waits for at most `timeout`, because a pipe may be blocked. Returns
    /// whether everything was written or dropped. Lines that come later are dropped.
    pub fn close(&self, timeout: Duration) -> bool {
        let (Some(shared), Some(ended)) = (&self.shared, lock(&self.ended).take()) else { return true };
        shared.closing.store(true, Ordering::Relaxed);
        ended.recv_timeout(timeout) != Err(mpsc::RecvTimeoutError::Timeout)
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").field("dropped", &self.dropped()).finish_non_exhaustive()
    }
}

impl LaneLog {
    /// Whether lines go anywhere: what is not written need not be gathered.
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// Writes one line, or drops it with others when the writer is behind.
    pub fn write(&self, entry: &LogEntry<'_>) {
        let Some(shared) = &self.shared else { return };
        let mut buffer = lock(&self.buffer);
        let Buffer { bytes, lines, stamp } = &mut *buffer;
        match shared.format {
            AccessLogFormat::Json => json::push(bytes, entry, stamp),
            AccessLogFormat::Combined => combined::push(bytes, entry, stamp),
        }
        *lines += 1;
        if bytes.len() >= CHUNK_BYTES {
            shared.hand_over(buffer.take());
        }
    }

    /// What is in the buffer now.
    fn take(&self) -> Chunk {
        lock(&self.buffer).take()
    }
}

impl Drop for LaneLog {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            let rest = self.take();
            if rest.lines > 0 {
                shared.hand_over(rest);
            }
        }
    }
}

impl fmt::Debug for LaneLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneLog").field("on", &self.is_on()).finish_non_exhaustive()
    }
}

impl Buffer {
    fn take(&mut self) -> Chunk {
        // A little more than a chunk, so that the line that fills it does not move it.
        let fresh = if self.bytes.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK_BYTES + 1024) };
        Chunk { bytes: std::mem::replace(&mut self.bytes, fresh), lines: std::mem::take(&mut self.lines) }
    }
}

impl Shared {
    fn hand_over(&self, chunk: Chunk) {
        if let Err(mpsc::TrySendError::Full(chunk) | mpsc::TrySendError::Disconnected(chunk)) =
            self.full.try_send(chunk)
        {
            self.count_dropped(chunk.lines);
        }
    }

    fn count_dropped(&self, lines: u64) {
        self.dropped.fetch_add(lines, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
