//! The last known suspensions, in the relay's own folder: what it goes by when it starts and the store is away.

use adit_store::Suspensions;
use adit_system::private_file;
use std::{
    io,
    path::{Path, PathBuf},
};

fn file(folder: &Path) -> PathBuf {
    folder.join("suspensions.json")
}

/// Keeps them. What was kept before stays until the new ones are written whole.
///
/// # Errors
/// The folder cannot be written to.
pub(crate) fn keep(folder: &Path, all: &Suspensions) -> io::Result<()> {
    private_file::replace(&file(folder), &serde_json::to_vec(all)?)
}

/// What was kept last; nothing if there is nothing that can be read.
pub(crate) fn last(folder: &Path) -> Option<Suspensions> {
    let path = file(folder);
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .inspect_err(
                |error| tracing::warn!(path = %path.display(), %error, "cannot be read, and is passed over"),
            )
            .ok(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "cannot be read");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_store::{Suspended, Suspension};

    #[test]
    fn what_was_kept_last_is_found_again_and_rubbish_is_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(last(folder.path()), None);
        let suspension = Suspension {
            id: "s".to_owned(),
            target: Suspended::Port { region: "eu.example.com".to_owned(), port: 1 },
            until: Some(5),
            reason: "spam".to_owned(),
            complaint: Some("cpl".to_owned()),
            since: 1,
            hostnames: vec!["a.example.com".to_owned()],
        };
        for version in [3, 4] {
            let all = Suspensions { version, list: vec![suspension.clone(); version as usize] };
            keep(folder.path(), &all).unwrap();
            assert_eq!(last(folder.path()), Some(all));
        }
        std::fs::write(file(folder.path()), "{\"version\": 4, \"li").unwrap();
        assert_eq!(last(folder.path()), None);
    }
}
