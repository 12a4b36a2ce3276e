//! The folders that one user's clients share: for sockets and locks, and for keys and credentials.

use std::{
    env, fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

/// Where running clients show their state: `$XDG_RUNTIME_DIR/adit`, else the lasting folder.
pub(super) fn runtime() -> Option<PathBuf> {
    variable("XDG_RUNTIME_DIR").map(|dir| dir.join("adit")).or_else(lasting)
}

/// Where clients keep keys and credentials: `$XDG_STATE_HOME/adit`, else `~/.local/state/adit`.
pub(super) fn lasting() -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    state.map(|dir| dir.join("adit"))
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Makes a folder that only this user can enter, if it is not there.
///
/// # Errors
/// When it cannot be made, or is another user's.
pub(super) fn make_private(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    let folder = fs::metadata(path)?;
    if folder.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the folder is another user's"));
    }
    if folder.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_others_can_enter_is_closed_to_them() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("a/adit");
        make_private(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
        make_private(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
