//! One client for each local service: two tunnels to one service are rarely meant.
//!
//! A client holds a lock on a file for each service that it publishes. The system gives the lock back when the client
//! ends, however it ends.

use super::{folder, status::snapshot};
use crate::{problem::Problem, service::Service};
use adit_protocol::TunnelId;
use serde::{Deserialize, Serialize};
use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// A service that this client alone publishes, as long as it holds this.
#[derive(Debug)]
pub(super) struct ServiceLock {
    file: File,
}

/// The content of a lock file: its holder.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    tunnel: Option<TunnelId>,
}

impl ServiceLock {
    /// Takes a service for this client. `None`: there is no place for locks, so nothing is claimed.
    ///
    /// # Errors
    /// `already_open` if another client has it.
    pub(super) fn take(folder: &Path, service: &Service) -> Result<Option<Self>, Problem> {
        if folder::make_private(folder).is_err() {
            return Ok(None);
        }
        let path = folder.join(file_name(service));
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let Ok(mut file) = opened else { return Ok(None) };
        match file.try_lock() {
            Ok(()) => {
                let claim = Self { file };
                claim.note(None);
                Ok(Some(claim))
            }
            Err(TryLockError::WouldBlock) => Err(already_open(folder, service, &mut file)),
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Writes the tunnel into the lock file, for the message of another client.
    pub(super) fn note(&self, tunnel: Option<&TunnelId>) {
        let holder = Holder { pid: std::process::id(), tunnel: tunnel.cloned() };
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        // The content only improves a message; the lock itself does not need it.
        let _ = (&self.file)
            .rewind()
            .and_then(|()| self.file.set_len(0))
            .and_then(|()| (&self.file).write_all(&text));
    }
}

/// Names of this computer count as one.
fn file_name(service: &Service) -> String {
    let host = match service.host.as_str() {
        "localhost" | "::1" | "0.0.0.0" | "::" => "127.0.0.1",
        host => host,
    };
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    format!("service-{}-{}.lock", host.chars().take(200).map(plain).collect::<String>(), service.port)
}

fn already_open(folder: &Path, service: &Service, file: &mut File) -> Problem {
    let mut text = String::new();
    let read = file.take(4096).read_to_string(&mut text);
    let holder: Option<Holder> = read.ok().and_then(|_| serde_json::from_str(&text).ok());
    let mut problem =
        Problem::new("already_open").with("service", service.to_string()).with("port", service.port);
    let Some(holder) = holder else { return problem };
    problem = problem.with("pid", holder.pid);
    let Some(id) = holder.tunnel else { return problem };
    problem = problem.with("tunnel", id.as_str());
    let other = snapshot::read(&snapshot::socket(folder, holder.pid));
    let url =
        other.and_then(|client| client.tunnels.into_iter().find(|t| t.tunnel == id)).and_then(|t| t.url);
    match url {
        Some(url) => problem.with("url", url),
        None => problem,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adit_protocol::Kind;

    fn service(text: &str) -> Service {
        Service::parse(Kind::Http, text).unwrap()
    }

    #[test]
    fn the_second_client_is_told_which_tunnel_there_is() {
        let place = tempfile::tempdir().unwrap();
        let first = ServiceLock::take(place.path(), &service("3000")).unwrap().unwrap();
        first.note(Some(&"tn_1".parse().unwrap()));
        let problem = ServiceLock::take(place.path(), &service("localhost:3000")).unwrap_err();
        assert_eq!((problem.code.as_str(), problem.status), ("already_open", 409));
        assert_eq!(
            (&problem.details["tunnel"], &problem.details["pid"]),
            (&"tn_1".into(), &std::process::id().into())
        );
        assert!(ServiceLock::take(place.path(), &service("3001")).unwrap().is_some());
        drop(first);
        assert!(ServiceLock::take(place.path(), &service("3000")).unwrap().is_some());
    }

    #[test]
    fn without_a_place_for_locks_nothing_is_refused() {
        assert!(ServiceLock::take(Path::new("/proc/adit"), &service("3000")).unwrap().is_none());
    }
}
