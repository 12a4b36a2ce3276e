//! An issuer's keys in a file that may be replaced at any time.

use super::PublicKeys;
use std::{
    fs::{File, Metadata},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// The most bytes of a file of public keys.
const MAX_BYTES: u64 = 1 << 20;
/// A file that was changed less than this before it was read may change again without another time stamp.
const SETTLED: Duration = Duration::from_secs(2);

/// A file of public keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It cannot be read.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// It begins like a JSON Web Key Set and is none.
    #[error("is not a JSON Web Key Set")]
    Json(#[source] serde_json::Error),
    /// It is not PEM.
    #[error("is neither a JSON Web Key Set nor PEM")]
    Pem,
    /// It has a private or secret key, which should not be here.
    #[error("has a private key: only the public ones belong here")]
    Private,
    /// None of its keys can verify tokens.
    #[error("has no public key of Ed25519, P-256 or RSA with 2048 to 8192 bits")]
    NoKey,
    /// There are too many.
    #[error("has more than {} keys", super::MAX_KEYS)]
    TooMany,
}

/// Metadata that changes when a file is changed or replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileStamp {
    modified: (i64, i64),
    changed: (i64, i64),
    device: u64,
    inode: u64,
    length: u64,
}

impl FileStamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
        }
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let changed = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        now >= changed + SETTLED
    }
}

/// An issuer's keys. Whenever they are asked for the file is looked at, and read again if it has changed; while it
/// cannot be read the last keys stay.
#[derive(Debug)]
pub(in crate::auth) struct KeyFile {
    path: PathBuf,
    read: Mutex<LastRead>,
}

#[derive(Debug)]
struct LastRead {
    stamp: FileStamp,
    /// Whether the file had not been changed shortly before.
    settled: bool,
    keys: Arc<PublicKeys>,
}

impl KeyFile {
    pub(in crate::auth) fn open(path: &Path) -> Result<Self, KeySetError> {
        let (stamp, bytes) = read(path).map_err(KeySetError::Read)?;
        let keys = Arc::new(PublicKeys::parse(&bytes)?);
        let settled = stamp.is_settled(SystemTime::now());
        Ok(Self { path: path.to_owned(), read: Mutex::new(LastRead { stamp, settled, keys }) })
    }

    pub(in crate::auth) fn keys(&self) -> Arc<PublicKeys> {
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = std::fs::metadata(&self.path).map(|metadata| FileStamp::of(&metadata));
        if now.is_ok_and(|stamp| stamp == last.stamp) && last.settled {
            return last.keys.clone();
        }
        match read(&self.path) {
            Ok((stamp, bytes)) => {
                let is_new = stamp != last.stamp;
                last.stamp = stamp;
                last.settled = stamp.is_settled(SystemTime::now());
                match PublicKeys::parse(&bytes) {
                    Ok(keys) => last.keys = Arc::new(keys),
                    Err(error) if is_new => self.warn(&error),
                    Err(_) => {}
                }
            }
            Err(error) => self.warn(&KeySetError::Read(error)),
        }
        last.keys.clone()
    }

    fn warn(&self, error: &KeySetError) {
        let error = error as &dyn std::error::Error;
        tracing::warn!(file = %self.path.display(), error, "cannot reload the issuer's keys; the earlier ones stay in use");
    }
}

fn read(path: &Path) -> io::Result<(FileStamp, Vec<u8>)> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut file = File::open(path)?;
    let stamp = FileStamp::of(&file.metadata()?);
    let mut bytes = Vec::new();
    (&mut file).take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("it has more than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok((stamp, bytes))
}
