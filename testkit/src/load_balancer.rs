//! A load balancer in TCP mode in front of several relays: haproxy, which checks each relay's `/readyz`.

use crate::{port::Port, process::Child, region::RelayProcess, wait::block_until};
use std::{fmt::Write as _, net::SocketAddr, process::Command};
use tempfile::TempDir;

/// haproxy, ended when it is dropped.
#[derive(Debug)]
pub struct LoadBalancer {
    _child: Child,
    _folder: TempDir,
    https: Port,
    http: Port,
}

impl LoadBalancer {
    /// Starts it in front of these relays.
    ///
    /// Panics when it does not start.
    pub fn start(relays: &[&RelayProcess]) -> Self {
        let folder =
            tempfile::Builder::new().prefix("adit-haproxy-").tempdir().expect("a folder can be made");
        let (https, http) = (Port::take(), Port::take());
        let mut config = String::from(
            "global\n  maxconn 4000\ndefaults\n  mode tcp\n  timeout connect 2s\n  timeout client 300s\n  \
             timeout server 300s\n  timeout check 5s\n  option redispatch\n  retries 3\n",
        );
        let lists = [
            ("https", &https, relays.iter().map(|r| r.https()).collect::<Vec<_>>()),
            ("http", &http, relays.iter().map(|r| r.http()).collect()),
        ];
        for (name, port, addresses) in lists {
            write!(
                config,
                "frontend {name}\n  bind 127.0.0.1:{port}\n  default_backend {name}\nbackend {name}\n  balance roundrobin\n  \
                 option httpchk GET /readyz\n  default-server check inter 100ms fall 1 rise 1\n"
            )
            .expect("a string takes everything");
            for (relay, address) in relays.iter().zip(addresses) {
                let (id, ops) = (&relay.name, relay.ops());
                writeln!(config, "  server {id} {address} addr {} port {}", ops.ip(), ops.port())
                    .expect("a string takes everything");
            }
        }
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, config).expect("a file can be written");
        let program = ["/usr/sbin/haproxy", "haproxy"]
            .into_iter()
            .find(|p| !p.starts_with('/') || std::path::Path::new(p).exists());
        let mut command = Command::new(program.expect("one of two"));
        command.arg("-db").arg("-f").arg(&file);
        let balancer = Self { _child: Child::start(&command), _folder: folder, https, http };
        balancer.wait();
        balancer
    }

    fn wait(&self) {
        block_until("haproxy listens", || std::net::TcpStream::connect(self.http()).is_ok());
    }

    /// Where clients, and consumers by TLS, find a relay.
    pub fn https(&self) -> SocketAddr {
        self.https.address()
    }

    /// Where consumers in clear find a relay.
    pub fn http(&self) -> SocketAddr {
        self.http.address()
    }
}
