//! Files with secrets: nobody but their owner may read them, and they appear whole or not at all.

use std::{
    fs::{DirBuilder, File},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};
use tempfile::NamedTempFile;

/// The maximum size of a private file in bytes.
pub const MAX_BYTES: u64 = 64 * 1024;

/// A private file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// It cannot be created.
    #[error("cannot create {}", path.display())]
    Create {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Others can read or change it.
    #[error("{} can be read by others (mode {mode:04o}): chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The content of a file that may hold a secret. Whether it must be private is known only after parsing it, so
/// [`check`](Self::check) is apart from [`read`](Self::read).
#[derive(Debug)]
pub struct PrivateFile {
    /// The content.
    pub bytes: Vec<u8>,
    /// The permission bits, if others than the owner can use the file.
    exposed_mode: Option<u32>,
}

impl PrivateFile {
    /// Reads a regular file of at most [`MAX_BYTES`].
    ///
    /// # Errors
    /// [`PrivateFileError::Read`].
    pub fn read(path: &Path) -> Result<Self, PrivateFileError> {
        read_bounded(path).map_err(|source| PrivateFileError::Read { path: path.to_owned(), source })
    }

    /// Refuses a file that others can use.
    ///
    /// # Errors
    /// [`PrivateFileError::Exposed`].
    pub fn check(&self, path: &Path) -> Result<(), PrivateFileError> {
        match self.exposed_mode {
            Some(mode) => Err(PrivateFileError::Exposed { path: path.to_owned(), mode }),
            None => Ok(()),
        }
    }
}

fn read_bounded(path: &Path) -> io::Result<PrivateFile> {
    // Asked before it is opened, because opening a FIFO waits for its writer.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let exposed_mode = is_exposed(metadata.mode(), metadata.uid()).then_some(metadata.mode() & 0o7777);
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_BYTES {
        let text = format!("it has more than {MAX_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, text));
    }
    Ok(PrivateFile { bytes, exposed_mode })
}

/// The rule of PostgreSQL: a private file is its owner's alone, but a group may read one that root owns. Kubernetes mounts
/// Secrets like that with an fsGroup.
fn is_exposed(mode: u32, owner: u32) -> bool {
    let allowed = if owner == 0 { 0o740 } else { 0o700 };
    mode & 0o777 & !allowed != 0
}

/// Creates a file that only its owner can read, and its directory (mode 0700) if that is missing. An existing file stays
/// as it is, also when another process creates it meanwhile.
///
/// # Errors
/// [`PrivateFileError::Create`].
pub fn create(path: &Path, content: &[u8]) -> Result<(), PrivateFileError> {
    let created = write_draft(path, content).and_then(|draft| match draft.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => Err(error.error),
        _ => sync_directory(path),
    });
    created.map_err(|source| PrivateFileError::Create { path: path.to_owned(), source })
}

/// Writes a file that only its owner can read, and creates its directory (mode 0700) if that is missing. An existing file
/// is replaced at once: readers see the old content or the new one.
///
/// # Errors
/// The file system's; the existing file stays then.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    write_draft(path, content)?.persist(path).map_err(|error| error.error)?;
    sync_directory(path)
}

/// A temporary file (mode 0600) beside the path with the content on disk. It is removed when it is dropped.
fn write_draft(path: &Path, content: &[u8]) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut draft = tempfile::Builder::new().prefix(&format!(".{name}.")).tempfile_in(directory)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn only_the_owner_may_use_a_file_and_a_group_only_roots() {
        for (mode, owner) in [(0o600, 1000), (0o400, 1000), (0o700, 1000), (0o640, 0), (0o440, 0)] {
            assert!(!is_exposed(0o100_000 | mode, owner), "{mode:o} of {owner}");
        }
        for (mode, owner) in [(0o644, 1000), (0o640, 1000), (0o604, 1000), (0o644, 0), (0o660, 0), (0o601, 0)]
        {
            assert!(is_exposed(mode, owner), "{mode:o} of {owner}");
        }
    }

    #[test]
    fn a_file_is_created_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/data/region.key");
        create(&path, b"first").unwrap();
        create(&path, b"second").unwrap();
        let file = PrivateFile::read(&path).unwrap();
        assert_eq!(file.bytes, b"first");
        file.check(&path).unwrap();
        let parent = path.parent().unwrap();
        assert_eq!((mode(parent), mode(&path)), (0o700, 0o600));
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
    fn a_file_is_replaced_whole_and_is_private_then() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/eu.json");
        replace(&path, b"first").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        replace(&path, b"second").unwrap();
        assert_eq!(
            (PrivateFile::read(&path).unwrap().bytes.as_slice(), mode(&path)),
            (&b"second"[..], 0o600)
        );
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
        assert!(replace(&path.join("below/a-file"), b"x").is_err());
        assert_eq!(PrivateFile::read(&path).unwrap().bytes, b"second");
    }

    #[test]
    fn directories_and_large_files_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(PrivateFile::read(dir.path()), Err(PrivateFileError::Read { .. })));
        let large = dir.path().join("large");
        std::fs::write(&large, vec![b'A'; MAX_BYTES as usize + 1]).unwrap();
        assert!(PrivateFile::read(&large).is_err());
        assert!(create(&large.join("below/a-file"), b"x").is_err());
    }
}
