//! The keys of a relay.

use super::{InvalidRegionKey, InvalidTokenKey, RegionKeys, TokenKeys};
use adit_system::private_file::{self, PrivateFile, PrivateFileError};
use std::{
    io,
    path::{Path, PathBuf},
};

/// The keys that every relay of a region shares.
#[derive(Clone, Debug)]
pub struct Keys {
    /// They seal credentials and tickets.
    pub region: RegionKeys,
    /// They sign the provider's own tokens.
    pub tokens: TokenKeys,
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be read or made, or others can read it.
    #[error(transparent)]
    File(#[from] PrivateFileError),
    /// The region key's file has something else.
    #[error("{}", file.display())]
    Region {
        /// The file.
        file: PathBuf,
        /// The rule that it breaks.
        source: InvalidRegionKey,
    },
    /// The token key's file has something else.
    #[error("{}", file.display())]
    Tokens {
        /// The file.
        file: PathBuf,
        /// The rule that it breaks.
        source: InvalidTokenKey,
    },
}

impl Keys {
    /// The region key's file in a data directory.
    pub const REGION_FILE: &str = "region.key";
    /// The token key's file in a data directory.
    pub const TOKEN_FILE: &str = "token.key";

    /// Reads the keys of a data directory. Those that are missing are made, and the directory with them.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load_or_create(data_dir: &Path) -> Result<Self, KeysError> {
        let (region, tokens) = (data_dir.join(Self::REGION_FILE), data_dir.join(Self::TOKEN_FILE));
        create_if_missing(&region, || RegionKeys::generate().to_text())?;
        create_if_missing(&tokens, TokenKeys::generate)?;
        Self::load(&region, &tokens)
    }

    /// Reads the keys from files.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(region: &Path, tokens: &Path) -> Result<Self, KeysError> {
        Ok(Self { region: load_region(region)?, tokens: TokenKeys::load(tokens)? })
    }
}

impl TokenKeys {
    /// Reads token keys from a file. Only one with a private key has to be hidden from others.
    ///
    /// # Errors
    /// [`KeysError`].
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let file = PrivateFile::read(path)?;
        let keys =
            Self::parse(&file.bytes).map_err(|source| KeysError::Tokens { file: path.to_owned(), source })?;
        if keys.is_private() {
            file.check(path)?;
        }
        Ok(keys)
    }
}

fn load_region(path: &Path) -> Result<RegionKeys, KeysError> {
    let file = PrivateFile::read(path)?;
    let keys = RegionKeys::parse(&file.bytes);
    let keys = keys.map_err(|source| KeysError::Region { file: path.to_owned(), source })?;
    file.check(path)?;
    Ok(keys)
}

fn create_if_missing(path: &Path, text: impl FnOnce() -> String) -> Result<(), KeysError> {
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            tracing::info!(path = %path.display(), "generating a key");
            Ok(private_file::create(path, text().as_bytes())?)
        }
        // Whatever else is wrong with it shows when it is read.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{error::Error, os::unix::fs::PermissionsExt};

    #[test]
    fn keys_are_made_once_and_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let first = Keys::load_or_create(dir.path()).unwrap();
        let again = Keys::load_or_create(dir.path()).unwrap();
        assert_eq!(first.region, again.region);
        assert_eq!(first.tokens.sign(b"x"), again.tokens.sign(b"x"));
        for file in [Keys::REGION_FILE, Keys::TOKEN_FILE] {
            let mode = dir.path().join(file).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn relays_that_start_at_once_share_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let all: Vec<Keys> = std::thread::scope(|scope| {
            let load = || {
                start.wait();
                Keys::load_or_create(&dir.path().join("data")).unwrap()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(all.iter().all(|keys| keys.region == all[0].region));
        assert!(all.iter().all(|keys| keys.tokens.sign(b"x") == all[0].tokens.sign(b"x")));
    }

    #[test]
    fn a_bad_key_file_is_named_and_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (region, tokens) = (dir.path().join(Keys::REGION_FILE), dir.path().join(Keys::TOKEN_FILE));
        std::fs::write(&region, "not a key").unwrap();
        let error = Keys::load_or_create(dir.path()).unwrap_err();
        assert_eq!(error.to_string(), region.display().to_string());
        assert_eq!(error.source().unwrap().to_string(), "line 1 is not 32 bytes in base64");
        assert_eq!(std::fs::read(&region).unwrap(), b"not a key");

        std::fs::remove_file(&region).unwrap();
        Keys::load_or_create(dir.path()).unwrap();
        std::fs::set_permissions(&tokens, PermissionsExt::from_mode(0o644)).unwrap();
        let error = Keys::load_or_create(dir.path()).unwrap_err();
        assert!(matches!(error, KeysError::File(PrivateFileError::Exposed { mode: 0o644, .. })), "{error}");
    }

    #[test]
    fn a_relay_that_signs_nothing_needs_the_public_key_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token.pub");
        let text = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
                    -----END PUBLIC KEY-----\n";
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        assert!(!TokenKeys::load(&path).unwrap().is_private());
    }
}
