//! A thread for each output stream: a reader that does not read must never hold up tunnels, signals or keys.

use std::{
    io::{self, Write},
    sync::mpsc as std_mpsc,
    thread,
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// How many bytes wait for a slow reader before more are refused.
const MAX_PENDING_BYTES: usize = 256 * 1024;
/// How long a slow reader holds up the end of the program.
const MAX_FLUSH_TIME: Duration = Duration::from_secs(1);

/// One output stream.
pub(super) struct Writer {
    /// Where bytes go in.
    pub(super) sink: Sink,
    /// Where a failure comes out.
    pub(super) failure: Failure,
    ended: std_mpsc::Receiver<()>,
}

/// Where bytes go in.
pub(super) struct Sink {
    chunks: mpsc::Sender<Vec<u8>>,
    pending: Vec<u8>,
}

/// Where the first failure comes out.
pub(super) struct Failure(Option<oneshot::Receiver<io::Error>>);

impl Writer {
    /// Starts a thread that writes to a stream.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(name: &str, mut stream: impl Write + Send + 'static) -> io::Result<Self> {
        let (chunks, mut incoming) = mpsc::channel::<Vec<u8>>(1);
        let (fail, failed) = oneshot::channel();
        let (end, ended) = std_mpsc::channel();
        thread::Builder::new().name(name.to_owned()).stack_size(64 * 1024).spawn(move || {
            let mut fail = Some(fail);
            while let Some(chunk) = incoming.blocking_recv() {
                if let Err(error) = stream.write_all(&chunk).and_then(|()| stream.flush())
                    && let Some(fail) = fail.take()
                {
                    // The first failure is reported; later bytes are discarded.
                    let _ = fail.send(error);
                }
            }
            drop(end);
        })?;
        Ok(Self { sink: Sink { chunks, pending: Vec::new() }, failure: Failure(Some(failed)), ended })
    }

    /// Writes the rest, and waits for a slow reader for at most a second.
    pub(super) async fn end(mut self) {
        if self.sink.is_pending() && tokio::time::timeout(MAX_FLUSH_TIME, self.sink.flush()).await.is_err() {
            return;
        }
        drop(self.sink);
        // The thread drops its sender when it ends.
        let _ = self.ended.recv_timeout(MAX_FLUSH_TIME);
    }
}

impl Sink {
    /// Whether there is room for more.
    pub(super) fn has_room(&self) -> bool {
        self.pending.len() < MAX_PENDING_BYTES
    }

    /// Whether something waits that [`Sink::flush`] can pass on.
    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether all that was written has been taken.
    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.chunks.capacity() > 0
    }

    /// Queues bytes. Returns whether there was room; otherwise nothing is queued.
    pub(super) fn write(&mut self, bytes: &[u8]) -> bool {
        let room = self.has_room();
        if room {
            self.pending.extend_from_slice(bytes);
        }
        room
    }

    /// Waits until the stream takes the queued bytes, or could take more if none are queued. It is safe to cancel.
    pub(super) async fn flush(&mut self) {
        match self.chunks.reserve().await {
            Ok(permit) if !self.pending.is_empty() => permit.send(std::mem::take(&mut self.pending)),
            Ok(_) => {}
            Err(_) => self.pending.clear(),
        }
    }
}

impl Failure {
    /// Waits for the first failure: the reader has gone away. It is safe to cancel.
    pub(super) async fn wait(&mut self) -> io::Error {
        if let Some(failed) = &mut self.0 {
            let failure = failed.await;
            self.0 = None;
            if let Ok(error) = failure {
                return error;
            }
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, time::Instant};

    #[tokio::test]
    async fn what_is_written_arrives_in_order() {
        let (mut read, write) = io::pipe().unwrap();
        let mut writer = Writer::start("test", write).unwrap();
        for line in ["a\n", "b\n"] {
            assert!(writer.sink.write(line.as_bytes()));
            writer.sink.flush().await;
        }
        writer.sink.write(b"c\n");
        writer.end().await;
        let mut text = String::new();
        read.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\nc\n");
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_costs_bounded_memory_and_time() {
        let (read, write) = io::pipe().unwrap();
        let mut writer = Writer::start("test", write).unwrap();
        let mut taken = 0;
        while writer.sink.write(&[b'x'; 1000]) {
            taken += 1000;
            let _ = tokio::time::timeout(Duration::ZERO, writer.sink.flush()).await;
        }
        assert!(taken < 4 * MAX_PENDING_BYTES + 1024 * 1024, "{taken}");
        let start = Instant::now();
        writer.end().await;
        // Without a bound it would wait for the reader for ever.
        assert!(start.elapsed() < 30 * MAX_FLUSH_TIME);
        drop(read);
    }

    #[tokio::test]
    async fn a_reader_that_went_away_is_told() {
        let (read, write) = io::pipe().unwrap();
        drop(read);
        let mut writer = Writer::start("test", write).unwrap();
        writer.sink.write(b"x");
        writer.sink.flush().await;
        assert_eq!(writer.failure.wait().await.kind(), io::ErrorKind::BrokenPipe);
        writer.sink.write(b"y");
        writer.sink.flush().await;
    }
}
