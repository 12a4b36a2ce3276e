//! Free ports.
//!
//! A port that was found free by binding to port 0 can be someone else's a moment later. Here a port is taken with a
//! file lock first, so that tests that run at the same time, also in different processes, never get the same one;
//! the lock goes with the process, however that ends. The range lies below the ports that the system gives to outgoing
//! connections.

use std::{
    fmt,
    fs::{File, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

/// The first port that is given out.
const FIRST: u16 = 10_000;

/// How many there are.
const COUNT: u16 = 9_000;

/// One port or several in a row, nobody else's as long as this value lives.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    locks: Vec<File>,
}

/// One port that is nobody else's as long as this value lives.
#[derive(Debug)]
pub struct Port(Ports);

impl Port {
    /// Takes a port on which nothing listens.
    ///
    /// Panics when there is none.
    pub fn take() -> Self {
        Self(Ports::take(1))
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.0.first
    }

    /// The port on 127.0.0.1.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number()).into()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}

impl Ports {
    /// Takes `count` ports in a row, 1 to 100, on which nothing listens.
    ///
    /// Panics when there are none.
    pub fn take(count: u16) -> Self {
        assert!((1..=100).contains(&count), "{count} ports at once");
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let places = u32::from(COUNT - count + 1);
        for _ in 0..places {
            // Each process begins somewhere else, so that one need not try the ports of all others first.
            let turn = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
            let place = (std::process::id().wrapping_mul(2_654_435_761).wrapping_add(turn)) % places;
            let first = FIRST + u16::try_from(place).expect("there are fewer places than ports");
            let locks: Vec<File> = (first..first + count).map_while(lock_free).collect();
            if locks.len() == usize::from(count) {
                return Self { first, locks };
            }
        }
        panic!("no {count} free ports from {FIRST} to {}", FIRST + COUNT - 1);
    }

    /// The first port.
    pub fn first(&self) -> u16 {
        self.first
    }

    /// The last port.
    pub fn last(&self) -> u16 {
        self.first + u16::try_from(self.locks.len() - 1).expect("at most 100 ports are taken")
    }
}

/// Locks one port, unless somebody has locked it or listens on it.
fn lock_free(port: u16) -> Option<File> {
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(folder().join(port.to_string()))
        .expect("the lock file of a port can be made");
    lock.try_lock().ok()?;
    TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).ok()?;
    Some(lock)
}

/// The folder of the lock files: the same for all processes of one user.
fn folder() -> PathBuf {
    let user = std::env::var("USER").unwrap_or_default();
    let folder = std::env::temp_dir().join(format!("adit-test-ports-{user}"));
    std::fs::create_dir_all(&folder).expect("the folder of the ports' lock files can be made");
    folder
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ports_that_are_held_at_once_differ() {
        let held: Vec<Port> = std::thread::scope(|scope| {
            let takers: Vec<_> =
                (0..8).map(|_| scope.spawn(|| (0..25).map(|_| Port::take()).collect::<Vec<_>>())).collect();
            takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect()
        });
        let numbers: HashSet<u16> = held.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 200);
    }

    #[test]
    fn a_port_that_something_listens_on_is_not_given_out() {
        let port = Port::take();
        let number = port.number();
        let listener = TcpListener::bind(port.address()).unwrap();
        drop(port);
        assert!(lock_free(number).is_none());
        drop(listener);
    }

    #[test]
    fn a_held_port_is_not_given_out_and_a_dropped_one_is() {
        let port = Port::take();
        let number = port.number();
        assert!(lock_free(number).is_none());
        drop(port);
        // Another test may hold it for a moment.
        assert!((0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(5));
            lock_free(number).is_some()
        }));
    }

    #[test]
    fn several_ports_are_in_a_row() {
        let ports = Ports::take(20);
        assert_eq!(ports.last() - ports.first(), 19);
        assert!((ports.first()..=ports.last()).all(|port| lock_free(port).is_none()));
    }
}
