//! Files with private keys: nobody else may read them, and they appear whole or not at all.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The most bytes of a key file.
const MAX_BYTES: u64 = 64 * 1024;

/// A file with a private key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be made.
    #[error("cannot make {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{} can be read by others (mode {mode:04o}): chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// A file that was read, before it is known whether it holds a private key.
pub(super) struct PrivateFile {
    pub(super) bytes: Vec<u8>,
    /// Its mode, if others than its owner can use it.
    exposed: Option<u32>,
}

impl PrivateFile {
    pub(super) fn read(path: &Path) -> Result<Self, PrivateFileError> {
        Self::read_bounded(path).map_err(|source| PrivateFileError::Read { path: path.to_owned(), source })
    }

    fn read_bounded(path: &Path) -> io::Result<Self> {
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let exposed = is_exposed(metadata.mode(), metadata.uid()).then_some(metadata.mode() & 0o7777);
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_BYTES {
            let text = format!("it has more than {MAX_BYTES} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
        }
        Ok(Self { bytes, exposed })
    }

    /// Refuses a file that others can use.
    pub(super) fn check(&self, path: &Path) -> Result<(), PrivateFileError> {
        match self.exposed {
            Some(mode) => Err(PrivateFileError::Exposed { path: path.to_owned(), mode }),
            None => Ok(()),
        }
    }
}

/// The rule of PostgreSQL: a key is its owner's alone, but one that root owns may be read by a group. So are Secrets
/// mounted on Kubernetes with an fsGroup.
fn is_exposed(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

/// Makes a file that only its owner can read. A file that is there already stays as it is.
pub(super) fn create(path: &Path, contents: &[u8]) -> Result<(), PrivateFileError> {
    create_once(path, contents).map_err(|source| PrivateFileError::Create { path: path.to_owned(), source })
}

fn create_once(path: &Path, contents: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = parent.join(format!(".{name}.{:016x}", rand::random::<u64>()));
    let written = write_draft(&draft, contents).and_then(|()| {
        // Unlike a rename, a link never replaces a key that another relay has made meanwhile.
        match std::fs::hard_link(&draft, path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    });
    std::fs::remove_file(&draft).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })?;
    written?;
    File::open(parent)?.sync_all()
}

fn write_draft(draft: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_owner_may_use_a_key_and_a_group_only_roots() {
        for (mode, owner) in [(0o600, 1000), (0o400, 1000), (0o700, 1000), (0o640, 0), (0o440, 0)] {
            assert!(!is_exposed(0o100_000 | mode, owner), "{mode:o} of {owner}");
        }
        for (mode, owner) in [(0o644, 1000), (0o640, 1000), (0o604, 1000), (0o644, 0), (0o660, 0), (0o601, 0)]
        {
            assert!(is_exposed(mode, owner), "{mode:o} of {owner}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data/region.key");
        create(&path, b"first").unwrap();
        create(&path, b"second").unwrap();
        let file = PrivateFile::read(&path).unwrap();
        assert_eq!(file.bytes, b"first");
        file.check(&path).unwrap();
        let parent = path.parent().unwrap();
        assert_eq!(std::fs::metadata(parent).unwrap().mode() & 0o777, 0o700);
        assert_eq!(std::fs::read_dir(parent).unwrap().count(), 1, "no draft is left");

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let error = PrivateFile::read(&path).unwrap().check(&path).unwrap_err();
        let shown = path.display();
        assert_eq!(
            error.to_string(),
            format!("{shown} can be read by others (mode 0644): chmod 600 {shown}")
        );
    }

    #[test]
    fn what_is_no_small_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(PrivateFile::read(dir.path()), Err(PrivateFileError::Read { .. })));
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'A'; MAX_BYTES as usize + 1]).unwrap();
        assert!(PrivateFile::read(&large).is_err());
        assert!(create(&large.join("below/a-file"), b"x").is_err());
    }
}
