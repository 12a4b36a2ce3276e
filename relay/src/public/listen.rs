//! Listening sockets: one for each lane and address, among which the kernel spreads connections (SO_REUSEPORT). One that
//! comes in on a busy lane moves on to an idle one.

use crate::{
    lanes::Lane,
    ops::{Component, Health},
};
use socket2::{Domain, Protocol, Socket, Type};
use std::{future::Future, io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
};
use tokio_util::sync::CancellationToken;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 4096;

/// How long a lane waits when the system has no file descriptor left for another connection.
const EXHAUSTED: Duration = Duration::from_millis(50);

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// The cause.
    pub source: io::Error,
}

impl BindError {
    /// The next step of whoever starts the relay.
    pub(crate) fn next(&self) -> String {
        let port = self.address.port();
        match self.source.kind() {
            io::ErrorKind::AddrInUse => {
                format!("stop what holds the port: ss -ltnp 'sport = :{port}' shows it")
            }
            io::ErrorKind::PermissionDenied => format!(
                "ports below 1024 need AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit; or use a higher port than {port}"
            ),
            io::ErrorKind::AddrNotAvailable => {
                format!("use an address of this machine (ip addr shows them), or :{port} for all of them")
            }
            _ => "check listen: in relay.yaml".to_owned(),
        }
    }
}

/// One address, with a socket for each lane.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The address; with port 0 asked for, the port that the system gave.
    pub(crate) address: SocketAddr,
    sockets: Vec<std::net::TcpListener>,
}

impl Listener {
    /// Binds an address once for each lane.
    ///
    /// # Errors
    /// [`BindError`], with the port in use above all.
    pub(crate) fn bind(mut address: SocketAddr, lanes: usize) -> Result<Self, BindError> {
        let mut sockets = vec![];
        let failed = |source| BindError { address, source };
        // SO_REUSEPORT would let two relays share a port without a word: a bind without it first finds the other one.
        if address.port() != 0 {
            drop(socket(address, false).map_err(failed)?);
        }
        for _ in 0..lanes {
            let socket = socket(address, true).map_err(|source| BindError { address, source })?;
            socket.listen(BACKLOG).map_err(|source| BindError { address, source })?;
            let listener = std::net::TcpListener::from(socket);
            address = listener.local_addr().map_err(|source| BindError { address, source })?;
            sockets.push(listener);
        }
        Ok(Self { address, sockets })
    }

    /// Accepts on all lanes, with a task for each connection, until `closed`. A socket that can accept no more is reported:
    /// the relay is not live without it.
    pub(crate) fn serve<F, S>(
        self,
        lanes: &[Lane],
        closed: &CancellationToken,
        health: &Arc<Health>,
        connection: Arc<S>,
    ) where
        S: Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let address = self.address;
        for (lane, socket) in lanes.iter().zip(self.sockets) {
            let (connection, closed, own) = (connection.clone(), closed.clone(), lane.clone());
            let health = health.clone();
            lane.spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    error = accept(&own, socket, connection) => {
                        tracing::error!(%address, %error, "listener failed");
                        health.report(Component::Listeners, Some(format!("{address}: {error}")));
                    }
                }
            });
        }
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // [::] takes IPv4 too, so that one address in the configuration is enough.
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Accepts until the socket fails for good; returns why.
async fn accept<F, S>(lane: &Lane, socket: std::net::TcpListener, connection: Arc<S>) -> io::Error
where
    S: Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = match TcpListener::from_std(socket) {
        Ok(listener) => listener,
        Err(error) => return error,
    };
    loop {
        match listener.accept().await {
            Ok((tcp, remote)) => {
                // Small frames must not wait for the acknowledgement of earlier ones.
                if tcp.set_nodelay(true).is_err() {
                    continue;
                }
                match lane.less_busy_lane() {
                    None => drop(tokio::spawn(connection(tcp, remote))),
                    Some(other) => hand_over(other, tcp, remote, connection.clone()),
                }
            }
            Err(error) => match AcceptFailure::of(&error) {
                AcceptFailure::Connection => {}
                AcceptFailure::Exhaustion => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(EXHAUSTED).await;
                }
                AcceptFailure::Socket => return error,
            },
        }
    }
}

fn hand_over<F, S>(to: &Handle, tcp: TcpStream, remote: SocketAddr, connection: Arc<S>)
where
    S: Fn(TcpStream, SocketAddr) -> F + Send + Sync + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let Ok(tcp) = tcp.into_std() else { return };
    to.spawn(async move {
        if let Ok(tcp) = TcpStream::from_std(tcp) {
            connection(tcp, remote).await;
        }
    });
}

/// The scope of a failed accept (Linux, accept(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptFailure {
    /// The connection that was accepted, whose pending network errors Linux returns from accept.
    Connection,
    /// The process or the system: most often no descriptor or memory is left. A later accept can succeed.
    Exhaustion,
    /// The listening socket itself: no later accept can succeed.
    Socket,
}

impl AcceptFailure {
    fn of(error: &io::Error) -> Self {
        use libc::{
            EBADF, ECONNABORTED, ECONNREFUSED, ECONNRESET, EHOSTDOWN, EHOSTUNREACH, EINTR, EINVAL, ENETDOWN,
            ENETUNREACH, ENONET, ENOPROTOOPT, ENOTSOCK, EOPNOTSUPP, EPERM, EPROTO,
        };
        match error.raw_os_error() {
            Some(EBADF | EINVAL | ENOTSOCK) => Self::Socket,
            Some(
                ECONNABORTED | ECONNREFUSED | ECONNRESET | EHOSTDOWN | EHOSTUNREACH | EINTR | ENETDOWN
                | ENETUNREACH | ENONET | ENOPROTOOPT | EOPNOTSUPP | EPERM | EPROTO,
            ) => Self::Connection,
            _ => Self::Exhaustion,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::{self, Lanes};
    use std::{sync::mpsc, time::Instant};

    #[test]
    fn connections_that_come_in_on_a_busy_lane_move_to_an_idle_one() {
        const CONNECTIONS: usize = 40;
        let lanes = Lanes::start(2).unwrap();
        let busy = lanes.all()[0].spawn(async {
            loop {
                let begun = Instant::now();
                while begun.elapsed() < Duration::from_millis(2) {}
                tokio::task::yield_now().await;
            }
        });
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = listener.address;
        let (tell, told) = mpsc::channel();
        let closed = CancellationToken::new();
        let connection = move |tcp: TcpStream, _| {
            let tell = tell.clone();
            async move {
                // It can only be read on a lane whose runtime it has joined.
                tcp.readable().await.unwrap();
                tell.send(lanes::current()).unwrap();
            }
        };
        listener.serve(lanes.all(), &closed, &Arc::default(), Arc::new(connection));
        let end = Instant::now() + Duration::from_secs(60);
        while lanes.all()[0].less_busy_lane().is_none() {
            assert!(Instant::now() < end, "the busy lane never finds the idle one");
            std::thread::sleep(Duration::from_millis(10));
        }
        let idle = (0..CONNECTIONS).filter(|_| {
            // Few at a time move.
            std::thread::sleep(Duration::from_millis(50));
            drop(std::net::TcpStream::connect(address).unwrap());
            told.recv_timeout(Duration::from_secs(60)).unwrap() == Some(1)
        });
        let idle = idle.count();
        assert!(idle >= CONNECTIONS - 4, "{idle} of {CONNECTIONS} connections were served on the idle lane");
        closed.cancel();
        busy.abort();
    }

    #[test]
    fn a_relay_with_a_listener_that_died_is_not_live() {
        let lanes = Lanes::start(2).unwrap();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let (address, one) = (listener.address, listener.sockets[1].try_clone().unwrap());
        let (health, closed) = (Arc::new(Health::default()), CancellationToken::new());
        listener.serve(lanes.all(), &closed, &health, Arc::new(|_, _| async {}));
        assert!(health.is_live());
        // A listening socket that is shut down accepts nothing from then on.
        socket2::SockRef::from(&one).shutdown(std::net::Shutdown::Both).unwrap();
        let end = Instant::now() + Duration::from_secs(60);
        while health.is_live() {
            assert!(Instant::now() < end, "the dead listener is never reported");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(health.live_text().contains(&format!("listeners: {address}: ")), "{}", health.live_text());
        closed.cancel();
    }

    #[test]
    fn only_errors_of_the_socket_itself_end_a_listener() {
        let of = |code| AcceptFailure::of(&io::Error::from_raw_os_error(code));
        for code in [libc::ECONNABORTED, libc::EPROTO, libc::ENETDOWN, libc::EHOSTUNREACH, libc::EPERM] {
            assert_eq!(of(code), AcceptFailure::Connection, "{code}");
        }
        for code in [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(of(code), AcceptFailure::Exhaustion, "{code}");
        }
        for code in [libc::EBADF, libc::EINVAL, libc::ENOTSOCK] {
            assert_eq!(of(code), AcceptFailure::Socket, "{code}");
        }
    }
}
