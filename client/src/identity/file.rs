//! The state file: the client's key and credential for one region, kept between runs, readable by the user alone.

use crate::problem::Problem;
use adit_system::private_file::{self, PrivateFile};
use aws_lc_rs::signature::Ed25519KeyPair;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The content of a state file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SavedIdentity {
    /// The private key as PKCS #8, in base64.
    key: String,
    pub(crate) credential: String,
    pub(crate) expires: u64,
    #[serde(default)]
    pub(crate) token: Option<String>,
}

impl SavedIdentity {
    pub(crate) fn new(
        key: &Ed25519KeyPair,
        credential: String,
        expires: u64,
        token: Option<String>,
    ) -> io::Result<Self> {
        let key = key.to_pkcs8().map_err(|_| io::Error::other("the key cannot be written"))?;
        Ok(Self { key: BASE64_STANDARD.encode(key.as_ref()), credential, expires, token })
    }

    pub(crate) fn key_pair(&self) -> Option<Ed25519KeyPair> {
        let key = BASE64_STANDARD.decode(&self.key).ok()?;
        Ed25519KeyPair::from_pkcs8(&key).ok()
    }
}

/// The path of a state file.
pub(crate) struct StateFile(PathBuf);

impl StateFile {
    /// The file of one region in this folder, which is made when it is needed.
    pub(crate) fn new(folder: &Path, region: &str) -> Self {
        Self(folder.join(format!("{region}.json")))
    }

    /// Loads the file of an earlier run; `None` if there is none or it cannot be read: a new token replaces it.
    pub(crate) fn load(&self) -> Option<SavedIdentity> {
        serde_json::from_slice(&PrivateFile::read(&self.0).ok()?.bytes).ok()
    }

    /// Whether [`StateFile::save`] would succeed.
    ///
    /// # Errors
    /// `state_unwritable` with the folder and the system's reason.
    pub(crate) fn check_writable(&self) -> Result<(), Problem> {
        let folder = self.0.parent().unwrap_or(Path::new("."));
        let probe = folder.join(format!(".{}.probe", std::process::id()));
        let written = make_folder(folder).and_then(|()| {
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&probe)
        });
        let _ = fs::remove_file(&probe);
        written.map(drop).map_err(|error| {
            let folder = folder.display().to_string();
            Problem::new("state_unwritable").with("folder", folder).with("message", error.to_string())
        })
    }

    /// Writes it, all or nothing.
    ///
    /// # Errors
    /// When the file system does not take it.
    pub(crate) fn save(&self, saved: &SavedIdentity) -> io::Result<()> {
        private_file::replace(&self.0, &serde_json::to_vec(saved)?)
    }
}

fn make_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::KeyPair;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_comes_back_and_is_its_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = StateFile::new(&folder.path().join("adit"), "eu.example.com");
        assert!(file.load().is_none());
        let key = Ed25519KeyPair::generate().unwrap();
        file.save(&SavedIdentity::new(&key, "sealed".into(), 7, None).unwrap()).unwrap();
        let loaded = file.load().unwrap();
        assert_eq!(loaded.key_pair().unwrap().public_key().as_ref(), key.public_key().as_ref());
        assert_eq!((loaded.credential.as_str(), loaded.expires), ("sealed", 7));
        let mode = fs::metadata(folder.path().join("adit/eu.example.com.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(folder.path().join("adit/eu.example.com.json"), "{garbage").unwrap();
        assert!(file.load().is_none());
    }
}
