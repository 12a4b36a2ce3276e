//! A TCP stream that is cut anywhere on its way never ends as if it were whole.

use crate::{fixture::FleetFixture, killed_client};
use adit_testkit::{
    process::Child,
    soak::{Record, scale},
    wait::until_ok,
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Where the stream is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The consumer resets its connection.
    Consumer,
    /// The service resets its connection.
    Service,
    /// The client's process is killed.
    Client,
    /// The relay where the consumer came in is killed.
    Entry,
    /// The relay that has the client's session is killed.
    Home,
}

/// What is on its way while it is cut.
#[derive(Clone, Copy, Debug)]
enum Traffic {
    /// Nothing: both ends wait.
    Idle,
    /// More than fits, to the service, which does not read.
    Up,
    /// More than fits, to the consumer, who does not read.
    Down,
}

struct Line {
    consumer: TcpStream,
    service: TcpStream,
}

impl Line {
    async fn open(entry: SocketAddr, listener: &TcpListener) -> Self {
        let (mut consumer, mut service) = until_ok("the relay knows the tunnel", || async {
            Self::arrived(entry, listener).await.ok_or("the connection ended")
        })
        .await;
        let mut bytes = [0; 3];
        service.read_exact(&mut bytes).await.unwrap();
        service.write_all(b"say").await.unwrap();
        consumer.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"say");
        Self { consumer, service }
    }

    /// The consumer's end and the service's; nothing when the relay ends the connection, as one does that has not heard
    /// of the tunnel yet.
    async fn arrived(entry: SocketAddr, listener: &TcpListener) -> Option<(TcpStream, TcpStream)> {
        let mut consumer = TcpStream::connect(entry).await.ok()?;
        consumer.write_all(b"ask").await.ok()?;
        let mut byte = [0; 1];
        tokio::select! {
            accepted = listener.accept() => Some((consumer, accepted.unwrap().0)),
            _ = consumer.peek(&mut byte) => None,
        }
    }

    /// Sends until nothing more fits for a moment.
    async fn fill(&mut self, traffic: Traffic) {
        let from = match traffic {
            Traffic::Idle => return,
            Traffic::Up => &mut self.consumer,
            Traffic::Down => &mut self.service,
        };
        let chunk = vec![7; 64 * 1024];
        while let Ok(written) = timeout(Duration::from_millis(100), from.write(&chunk)).await {
            written.expect("it is open");
        }
    }
}

/// Reads to the end, which has to be a reset.
async fn is_reset(mut tcp: TcpStream, what: &str) {
    let mut buffer = vec![0; 256 * 1024];
    let reading = async {
        loop {
            match tcp.read(&mut buffer).await {
                Ok(0) => panic!("{what}: it looks like a clean end"),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return,
                Err(error) => panic!("{what}: {error}"),
            }
        }
    };
    timeout(Duration::from_secs(60), reading).await.unwrap_or_else(|_| panic!("{what}: nothing happens"));
}

struct Stage {
    fleet: FleetFixture,
    client: Child,
    listener: TcpListener,
    port: u16,
}

impl Stage {
    async fn set() -> Self {
        let fleet = FleetFixture::empty("lanes: 1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = *fleet.region.tcp_ports().start();
        let service = listener.local_addr().unwrap().to_string();
        let client = killed_client::client(&fleet, "ci", &service, &port.to_string());
        let stage = Self { fleet, client, listener, port };
        stage.is_whole().await;
        stage
    }

    async fn is_whole(&self) {
        self.fleet.until_two_relays_have_sessions().await;
    }

    /// A relay where consumers come in, and the one that has the session which serves them.
    async fn entry(&self, through_a_peer: bool) -> usize {
        if through_a_peer { self.fleet.relay_without_session() } else { self.fleet.relays_with_sessions()[0] }
    }

    async fn cut(&mut self, cut: Cut, traffic: Traffic, through_a_peer: bool) {
        let what = format!("{cut:?}, {traffic:?}, through a peer: {through_a_peer}");
        let entry = self.entry(through_a_peer).await;
        let address = self.fleet.relays[entry].tcp(self.port);
        let mut line = Line::open(address, &self.listener).await;
        line.fill(traffic).await;
        let Line { consumer, service } = line;
        match cut {
            Cut::Consumer => {
                consumer.set_zero_linger().unwrap();
                drop(consumer);
                is_reset(service, &what).await;
            }
            Cut::Service => {
                service.set_zero_linger().unwrap();
                drop(service);
                is_reset(consumer, &what).await;
            }
            Cut::Client => {
                self.client.kill();
                tokio::join!(is_reset(consumer, &what), is_reset(service, &what));
                let address = self.listener.local_addr().unwrap().to_string();
                self.client = killed_client::client(&self.fleet, "ci", &address, &self.port.to_string());
            }
            Cut::Entry | Cut::Home => {
                let victims = if cut == Cut::Home && through_a_peer {
                    self.fleet.relays_with_sessions()
                } else {
                    vec![entry]
                };
                for victim in &victims {
                    self.fleet.relays[*victim].child.kill();
                }
                tokio::join!(is_reset(consumer, &what), is_reset(service, &what));
                for victim in victims {
                    self.fleet.restart(victim);
                }
            }
        }
        self.is_whole().await;
        self.fleet.until_streams_ended().await;
    }
}

async fn every_cut(name: &'static str, through_a_peer: bool, cuts: &[Cut]) {
    let record = Record::begin(name);
    let mut stage = Stage::set().await;
    let rounds = scale(1, 10);
    for _ in 0..rounds {
        for cut in cuts {
            for traffic in [Traffic::Idle, Traffic::Up, Traffic::Down] {
                stage.cut(*cut, traffic, through_a_peer).await;
            }
        }
    }
    record.end(format!("{} cuts, each was seen as one", rounds * cuts.len() * 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_stream_that_is_cut_does_not_look_whole() {
    let cuts = [Cut::Consumer, Cut::Service, Cut::Client, Cut::Entry];
    every_cut("a TCP stream is cut on its way through one relay", false, &cuts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_stream_that_is_cut_does_not_look_whole_behind_a_peer() {
    let cuts = [Cut::Consumer, Cut::Service, Cut::Client, Cut::Entry, Cut::Home];
    every_cut("a TCP stream is cut on its way through a peer", true, &cuts).await;
}
