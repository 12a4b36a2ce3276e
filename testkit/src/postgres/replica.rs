//! A second server that follows the first one, and takes its place.

use super::{Postgres, START_TIMEOUT};
use crate::process::Signal;
use std::{thread, time::Instant};

impl Postgres {
    /// Starts a server with an empty database, gives that one's URL, and a server that follows the first one. Blocks its
    /// thread for a few seconds.
    pub fn pair() -> (Self, String, Self) {
        let first = Self::start();
        let (url, second) = (first.database(), first.replica());
        (first, url, second)
    }

    /// Starts a server that follows this one and takes reads alone. From then on this one says that a change is made only
    /// once the other has it too. Blocks its thread for a few seconds.
    ///
    /// Panics when the other does not follow.
    pub fn replica(&self) -> Self {
        let mut replica = Self::empty();
        let data = replica.folder.join("data").to_string_lossy().into_owned();
        let port = self.port.to_string();
        replica.run(
            "pg_basebackup",
            &["-R", "-D", &data, "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-c", "fast", "--no-sync"],
        );
        replica.restart();
        // Only here: the other follows nobody who would have to wait for it once it has taken this one's place.
        self.sql("ALTER SYSTEM SET synchronous_commit = on");
        self.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.sql("SELECT pg_reload_conf()");
        let end = Instant::now() + START_TIMEOUT;
        while self.sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") != "1" {
            assert!(Instant::now() < end, "the replica does not follow within {START_TIMEOUT:?}");
            thread::sleep(std::time::Duration::from_millis(20));
        }
        replica
    }

    /// Ends the server and all its processes at once, as a crash does: connections are cut, nothing is put in order first.
    pub fn crash(&mut self) {
        self.thaw();
        if let Some(mut server) = self.server.take() {
            // What `pg_ctl stop --mode immediate` sends.
            server.signal(Signal::Quit);
            assert!(server.wait(START_TIMEOUT).is_some(), "postgres did not end: {}", server.output());
        }
    }

    /// Lets a replica take changes from now on, whatever has become of the server that it followed.
    pub fn promote(&mut self) {
        let data = self.folder.join("data").to_string_lossy().into_owned();
        self.run("pg_ctl", &["promote", "--wait", "--timeout", "60", "-D", &data]);
    }

    /// What a statement answers, as psql prints it without any decoration.
    pub fn sql(&self, statement: &str) -> String {
        let answer = self.run("psql", &["-X", "-q", "-A", "-t", "-c", statement, &self.url("postgres")]);
        answer.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_is_there_after_a_crash() {
        let mut first = Postgres::start();
        first.sql("CREATE TABLE words (word text)");
        let mut second = first.replica();
        assert_eq!(second.sql("SELECT pg_is_in_recovery()"), "t");
        for n in 0..20 {
            first.sql(&format!("INSERT INTO words VALUES ('word {n}')"));
        }
        first.crash();
        second.promote();
        assert_eq!(second.sql("SELECT count(*) FROM words"), "20");
        second.sql("INSERT INTO words VALUES ('one more')");
    }
}
