//! One client's connection: hello, admission, control, drain.
//!
//! `admit` decides who is let in, `open` gives tunnels their endpoints, `run` is the session's life on its lane, and
//! `control` its conversation with the client.

pub mod admit;
pub mod control;
pub mod migratable_stream;
pub mod open;
pub mod random_name;
pub mod run;

use crate::{lanes::Lane, ops::metrics::Count, server::relay::Relay};
use adit_protocol::{
    Hello, Reply,
    frame::{self, FrameError},
    possession::{EXPORTER_BYTES, EXPORTER_LABEL},
};
use admit::Admission;
use migratable_stream::MigratableStream;
use rustls::server::Accepted;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{StartHandshake, server::TlsStream};

/// How long a client may take for its TLS handshake, and for its hello.
const HELLO: Duration = Duration::from_secs(5);

/// A client's connection, which can move to another lane.
pub type ClientIo = TlsStream<MigratableStream>;

/// Why a connection did not get as far as an answer to its hello.
#[derive(Debug, thiserror::Error)]
enum HelloError {
    #[error("the connection failed")]
    Connection(#[from] io::Error),
    #[error("the frame is not valid")]
    Frame(#[from] FrameError),
    #[error("TLS gives no exporter")]
    Exporter(#[source] rustls::Error),
    #[error("took longer than {} s", HELLO.as_secs())]
    Slow,
}

/// Serves one client's connection to the end.
pub async fn accept(relay: Arc<Relay>, accepted: Accepted, tcp: TcpStream, remote: SocketAddr) {
    // A system that refuses makes nothing but a slower session.
    let _ = adit_mux::socket::prepare(&tcp);
    let handshake = StartHandshake::from_parts(accepted, MigratableStream::new(tcp))
        .into_stream(relay.tls.clients.clone());
    let Ok(Ok(mut io)) = timeout(HELLO, handshake).await else {
        relay.telemetry().metrics.count(Count::TlsFailures);
        return;
    };
    let (hello, exporter) = match timeout(HELLO, read_hello(&mut io)).await.unwrap_or(Err(HelloError::Slow)) {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%remote, error = &error as &dyn std::error::Error, "no hello");
            if let HelloError::Frame(error) = error {
                answer(&mut io, &Reply::Refused(relay.bad_hello(&error))).await;
            }
            return;
        }
    };
    match admit::admit(&relay, hello, &exporter, remote).await {
        Ok(admission) => begin(relay, io, *admission).await,
        Err(reply) => answer(&mut io, &reply).await,
    }
}

async fn read_hello(io: &mut ClientIo) -> Result<(Hello, [u8; EXPORTER_BYTES]), HelloError> {
    let exporter = io
        .get_ref()
        .1
        .export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None)
        .map_err(HelloError::Exporter)?;
    let mut prefix = [0; frame::PREFIX_BYTES];
    io.read_exact(&mut prefix).await?;
    let mut json = vec![0; frame::length(prefix)?];
    io.read_exact(&mut json).await?;
    Ok((frame::decode(&json)?, exporter))
}

/// The last answer on a connection.
async fn answer(io: &mut ClientIo, reply: &Reply) {
    let Ok(frame) = frame::encode(reply) else { return };
    // The client may have gone: there is nobody left to tell.
    let _ = timeout(HELLO, async {
        io.write_all(&frame).await?;
        io.shutdown().await
    })
    .await;
}

/// Moves the connection to its lane and starts the session there.
async fn begin(relay: Arc<Relay>, mut io: ClientIo, mut admission: Admission) {
    let lane: Lane = relay.lanes[admission.lane].clone();
    let written = async {
        io.write_all(&admission.welcome).await?;
        io.flush().await
    };
    let sent = matches!(timeout(HELLO, written).await, Ok(Ok(())));
    admission.welcome = vec![];
    if !sent || (crate::lanes::current() != Some(lane.index) && io.get_mut().0.leave().is_err()) {
        admission.abandon(&relay).await;
        return;
    }
    lane.spawn(async move {
        match io.get_mut().0.arrive() {
            Ok(()) => run::run(relay, io, admission).await,
            Err(error) => {
                tracing::error!(%error, "a connection could not change its lane");
                admission.abandon(&relay).await;
            }
        }
    });
}
