//! The socket on which a running client serves its snapshot.

use super::{
    super::folder,
    snapshot::{self, ClientSnapshot},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    time::timeout,
};

/// How many readers are answered at once; more wait.
const MAX_READERS: usize = 8;
/// How long a reader may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// A client's socket; it is taken away when this is dropped.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
    readers: Arc<Semaphore>,
}

impl Socket {
    /// Listens in the folder under this process's id.
    ///
    /// # Errors
    /// When the folder cannot be made or is another's, or the path is too long for a socket.
    pub(crate) fn bind(folder: &Path) -> io::Result<Self> {
        folder::make_private(folder)?;
        let path = snapshot::socket(folder, std::process::id());
        // Between bind and listen a connection is refused, and `adit status` would take the socket for one that a killed
        // client left behind: it gets its name when it listens.
        let unnamed = path.with_extension("new");
        match std::fs::remove_file(&unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&unnamed)?;
        std::fs::rename(&unnamed, &path)?;
        Ok(Self { listener, path, readers: Arc::new(Semaphore::new(MAX_READERS)) })
    }

    /// Waits for a reader. It is safe to cancel.
    pub(crate) async fn accept(&self) -> UnixStream {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => return stream,
                // No file descriptor is free: the next try would fail at once as well.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Answers a reader without waiting for it.
    pub(crate) fn answer(&self, mut stream: UnixStream, client: &ClientSnapshot) {
        let Ok(permit) = self.readers.clone().try_acquire_owned() else { return };
        let text = serde_json::to_vec(client).unwrap_or_default();
        tokio::spawn(async move {
            // A reader that goes away or does not read is its own problem.
            let _ = timeout(WRITE_TIMEOUT, stream.write_all(&text)).await;
            drop(permit);
        });
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
