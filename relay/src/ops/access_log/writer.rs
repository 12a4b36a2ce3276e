//! The thread that writes lines. Only it ever waits for a disk or a pipe.

use super::{Chunk, FLUSH_INTERVAL, Shared, lock};
use crate::config::AccessLogPath;
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    sync::{Arc, Weak, atomic::Ordering, mpsc},
    time::{Duration, Instant},
};

/// Minimum time between two reports of a failure.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

struct Writer {
    shared: Arc<Shared>,
    path: AccessLogPath,
    file: File,
    /// A line was cut off by a failure: the next one starts anew.
    torn: bool,
    reported: Option<Instant>,
}

pub(super) fn start(
    shared: Arc<Shared>,
    path: AccessLogPath,
    chunks: mpsc::Receiver<Chunk>,
    end: mpsc::Sender<()>,
) -> io::Result<()> {
    let file = open(&path)?;
    let mut writer = Writer { shared, path, file, torn: false, reported: None };
    let run = move || {
        writer.run(&chunks);
        drop(end);
    };
    std::thread::Builder::new().name("access-log".to_owned()).spawn(run)?;
    Ok(())
}

fn open(path: &AccessLogPath) -> io::Result<File> {
    match path {
        AccessLogPath::File(path) => OpenOptions::new().append(true).create(true).mode(0o640).open(path),
        // A duplicate of the descriptor, because std's own writer would cut chunks up at line ends.
        AccessLogPath::Stdout | AccessLogPath::Off => {
            Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?))
        }
    }
}

impl Writer {
    fn run(&mut self, chunks: &mpsc::Receiver<Chunk>) {
        let mut swept = Instant::now();
        loop {
            let closing = self.shared.closing.load(Ordering::Relaxed);
            if let Ok(chunk) = chunks.recv_timeout(FLUSH_INTERVAL.saturating_sub(swept.elapsed())) {
                self.write(&chunk);
            }
            if closing || swept.elapsed() >= FLUSH_INTERVAL {
                self.sweep(chunks);
                swept = Instant::now();
            }
            if closing {
                // The last buffer of a lane that ended meanwhile.
                chunks.try_iter().for_each(|chunk| self.write(&chunk));
                return;
            }
            if self.shared.reopening.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
        }
    }

    /// Writes what the lanes have, what they handed over before it first.
    fn sweep(&mut self, chunks: &mpsc::Receiver<Chunk>) {
        let lanes: Vec<_> = lock(&self.shared.lanes).iter().filter_map(Weak::upgrade).collect();
        for lane in lanes {
            let rest = lane.take();
            while let Ok(chunk) = chunks.try_recv() {
                self.write(&chunk);
            }
            self.write(&rest);
        }
    }

    fn write(&mut self, chunk: &Chunk) {
        if chunk.lines == 0 {
            return;
        }
        let newline = if self.torn { self.file.write_all(b"\n") } else { Ok(()) };
        if let Err(error) = newline.and_then(|()| self.file.write_all(&chunk.bytes)) {
            self.torn = true;
            self.shared.count_dropped(chunk.lines);
            self.report("cannot write the access log", &error);
        } else {
            self.torn = false;
        }
    }

    fn reopen(&mut self) {
        match open(&self.path) {
            Ok(file) => {
                self.file = file;
                self.torn = false;
            }
            Err(error) => self.report("cannot reopen the access log", &error),
        }
    }

    fn report(&mut self, what: &str, error: &io::Error) {
        if self.reported.is_none_or(|at| at.elapsed() >= REPORT_INTERVAL) {
            self.reported = Some(Instant::now());
            tracing::warn!(%error, dropped = self.shared.dropped.load(Ordering::Relaxed), "{what}");
        }
    }
}
