//! The relay's own folder, `dataDir`: made when it is missing, and locked for as long as the relay runs.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The file that is locked. It holds the process id of the relay that has the lock.
const LOCK_FILE: &str = "relay.lock";

/// Why a relay cannot use its data folder.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// The folder cannot be made.
    #[error("cannot make the data folder {}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The folder is there, and the relay cannot write in it.
    #[error("cannot write in the data folder {}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another relay runs with this folder.
    #[error("another relay uses the data folder {}: process {holder}", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process id of the other relay, as far as it is known.
        holder: String,
    },
}

impl DataDirError {
    /// The next step of whoever starts the relay.
    pub fn next(&self) -> String {
        match self {
            Self::Create { path, .. } | Self::Write { path, .. } => {
                format!("give the folder to the relay's user: sudo chown -R USER {}", path.display())
            }
            Self::InUse { .. } => "stop the other relay, or give each its own dataDir".to_owned(),
        }
    }
}

/// The lock of a data folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct DataDirLock {
    _file: File,
}

impl DataDirLock {
    /// Makes the folder if it is missing (mode 0700), and locks it.
    ///
    /// # Errors
    /// [`DataDirError`].
    pub(super) fn take(folder: &Path) -> Result<Self, DataDirError> {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|source| DataDirError::Create { path: folder.to_owned(), source })?;
        let failed = |source| DataDirError::Write { path: folder.to_owned(), source };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(folder.join(LOCK_FILE))
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // The number helps, and is not needed.
                let _ = file.take(20).read_to_string(&mut holder);
                return Err(DataDirError::InUse {
                    path: folder.to_owned(),
                    holder: holder.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_has_one_relay_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/data");
        let held = DataDirLock::take(&path).unwrap();
        let error = DataDirLock::take(&path).unwrap_err();
        let shown = path.display();
        let process = std::process::id();
        assert_eq!(
            error.to_string(),
            format!("another relay uses the data folder {shown}: process {process}")
        );
        drop(held);
        DataDirLock::take(&path).unwrap();
    }

    #[test]
    fn a_path_that_is_no_folder_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "x").unwrap();
        let error = DataDirLock::take(&file.join("data")).unwrap_err();
        assert!(matches!(error, DataDirError::Create { .. }), "{error}");
        assert!(error.to_string().contains(&file.display().to_string()));
    }
}
