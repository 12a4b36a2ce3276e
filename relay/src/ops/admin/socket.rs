//! The admin socket: a file, and who may use it.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    task::{Context, Poll, ready},
};
use tokio::net::{UnixListener, UnixStream};

/// The relay cannot have its admin socket.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers there.
    #[error("the admin socket {} belongs to another relay that runs", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket has the name.
    #[error("{} is there, and is not a socket", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refused.
    #[error("cannot listen on the admin socket {}", path.display())]
    Failed {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A Unix socket with mode 0600. Its file goes with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    owner: u32,
    /// The file's device and inode: a file that has come in its place stays.
    file: (u64, u64),
}

impl AdminSocket {
    /// Listens at `path`. A socket that a dead process left there is replaced.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(path: &Path) -> Result<Self, BindError> {
        let failed = |source| BindError::Failed { path: path.to_owned(), source };
        match fs::symlink_metadata(path) {
            Ok(found) if found.mode() & 0o170_000 != 0o140_000 => {
                return Err(BindError::NotASocket(path.to_owned()));
            }
            Ok(_) => match std::os::unix::net::UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    fs::remove_file(path).map_err(failed)?;
                }
                Err(source) if source.kind() == io::ErrorKind::PermissionDenied => {
                    return Err(failed(source));
                }
                _ => return Err(BindError::InUse(path.to_owned())),
            },
            Err(_) => {}
        }
        let listener = UnixListener::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let made = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), owner: made.uid(), file: (made.dev(), made.ino()) })
    }

    /// The next connection of the relay's own user or root. The mode alone does not say it: between the binding and
    /// the change of mode another user could connect.
    pub(super) fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<UnixStream>> {
        loop {
            let (stream, _) = ready!(self.listener.poll_accept(cx))?;
            let user = stream.peer_cred()?.uid();
            if user == 0 || user == self.owner {
                return Poll::Ready(Ok(stream));
            }
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let mine = |found: &fs::Metadata| (found.dev(), found.ino()) == self.file;
        if fs::symlink_metadata(&self.path).is_ok_and(|found| mine(&found)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
