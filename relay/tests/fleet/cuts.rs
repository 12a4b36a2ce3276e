//! A TCP stream that is cut anywhere on its way never ends as if it were whole.

use crate::{fixture::FleetFixture, killed_client};
use adit_testkit::{
    process::Child,
    soak::{Record, scale},
    wait::{until_done, until_ok},
};
use std::{io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// Where the stream is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutPoint {
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
enum TrafficKind {
    /// Nothing: both ends wait.
    Idle,
    /// More than fits, to the service, which does not read.
    Up,
    /// More than fits, to the consumer, who does not read.
    Down,
}

struct TcpPath {
    consumer: TcpStream,
    service: TcpStream,
}

impl TcpPath {
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

    /// The consumer's end and the service's; `None` if the relay closes the connection, as one does that does not know
    /// the tunnel yet.
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
    async fn fill(&mut self, traffic: TrafficKind) {
        let from = match traffic {
            TrafficKind::Idle => return,
            TrafficKind::Up => &mut self.consumer,
            TrafficKind::Down => &mut self.service,
        };
        let chunk = vec![7; 64 * 1024];
        while let Ok(written) = timeout(Duration::from_millis(100), from.write(&chunk)).await {
            written.expect("it is open");
        }
    }
}

/// Asserts that a connection ends by a reset.
async fn assert_reset(mut tcp: TcpStream, what: &str) {
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
    until_done(what, reading).await;
}

struct CutFixture {
    fleet: FleetFixture,
    client: Child,
    listener: TcpListener,
    port: u16,
}

impl CutFixture {
    async fn start() -> Self {
        let fleet = FleetFixture::empty("lanes: 1").await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = *fleet.region.tcp_ports().start();
        let service = listener.local_addr().unwrap().to_string();
        let client = killed_client::start_client(&fleet, "ci", &service, &port.to_string());
        let fixture = Self { fleet, client, listener, port };
        fixture.until_two_relays().await;
        fixture
    }

    async fn until_two_relays(&self) {
        self.fleet.until_two_relays_have_sessions().await;
    }

    /// The relay where consumers come in: one without a session of the client, or one with a session.
    async fn entry(&self, through_a_peer: bool) -> usize {
        if through_a_peer { self.fleet.relay_without_session() } else { self.fleet.relays_with_sessions()[0] }
    }

    async fn cut(&mut self, cut: CutPoint, traffic: TrafficKind, through_a_peer: bool) {
        let what = format!("{cut:?}, {traffic:?}, through a peer: {through_a_peer}");
        let entry = self.entry(through_a_peer).await;
        let address = self.fleet.relays[entry].tcp(self.port);
        let mut path = TcpPath::open(address, &self.listener).await;
        path.fill(traffic).await;
        let TcpPath { consumer, service } = path;
        match cut {
            CutPoint::Consumer => {
                consumer.set_zero_linger().unwrap();
                drop(consumer);
                assert_reset(service, &what).await;
            }
            CutPoint::Service => {
                service.set_zero_linger().unwrap();
                drop(service);
                assert_reset(consumer, &what).await;
            }
            CutPoint::Client => {
                self.client.kill();
                tokio::join!(assert_reset(consumer, &what), assert_reset(service, &what));
                let address = self.listener.local_addr().unwrap().to_string();
                self.client =
                    killed_client::start_client(&self.fleet, "ci", &address, &self.port.to_string());
            }
            CutPoint::Entry | CutPoint::Home => {
                let victims = if cut == CutPoint::Home && through_a_peer {
                    self.fleet.relays_with_sessions()
                } else {
                    vec![entry]
                };
                for victim in &victims {
                    self.fleet.relays[*victim].child.kill();
                }
                tokio::join!(assert_reset(consumer, &what), assert_reset(service, &what));
                for victim in victims {
                    self.fleet.restart(victim);
                }
            }
        }
        self.until_two_relays().await;
        self.fleet.until_streams_ended().await;
    }
}

async fn cut_everywhere(name: &'static str, through_a_peer: bool, cuts: &[CutPoint]) {
    let record = Record::begin(name);
    let mut fixture = CutFixture::start().await;
    let rounds = scale(1, 10);
    for _ in 0..rounds {
        for cut in cuts {
            for traffic in [TrafficKind::Idle, TrafficKind::Up, TrafficKind::Down] {
                fixture.cut(*cut, traffic, through_a_peer).await;
            }
        }
    }
    record.end(format!("{} cuts, each was seen as one", rounds * cuts.len() * 3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_stream_that_is_cut_does_not_look_whole() {
    let cuts = [CutPoint::Consumer, CutPoint::Service, CutPoint::Client, CutPoint::Entry];
    cut_everywhere("a TCP stream is cut on its way through one relay", false, &cuts).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tcp_stream_that_is_cut_does_not_look_whole_behind_a_peer() {
    let cuts = [CutPoint::Consumer, CutPoint::Service, CutPoint::Client, CutPoint::Entry, CutPoint::Home];
    cut_everywhere("a TCP stream is cut on its way through a peer", true, &cuts).await;
}
