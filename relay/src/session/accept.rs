//! Reading a hello and answering it.

use super::{
    Sessions,
    admit::{self, AdmittedClient},
    migratable_stream::{ClientIo, MigratableStream},
    run,
};
use crate::{lanes, ops::metrics::Count};
use adit_protocol::{
    Hello, Reply,
    frame::{self, FrameError},
    possession::{EXPORTER_BYTES, EXPORTER_LABEL},
};
use rustls::server::Accepted;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::StartHandshake;

/// How long a client may take for its TLS handshake, and for its hello.
const HELLO: Duration = Duration::from_secs(5);

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
pub(crate) async fn accept(sessions: Arc<Sessions>, accepted: Accepted, tcp: TcpStream, remote: SocketAddr) {
    // A system that refuses makes nothing but a slower session.
    let _ = adit_mux::socket::configure(&tcp);
    let handshake =
        StartHandshake::from_parts(accepted, MigratableStream::new(tcp)).into_stream(sessions.tls.clone());
    let Ok(Ok(mut io)) = timeout(HELLO, handshake).await else {
        sessions.telemetry.lane().metrics.count(Count::TlsFailures);
        return;
    };
    let (hello, exporter) = match timeout(HELLO, read_hello(&mut io)).await.unwrap_or(Err(HelloError::Slow)) {
        Ok(read) => read,
        Err(error) => {
            tracing::debug!(%remote, error = &error as &dyn std::error::Error, "no hello");
            if let HelloError::Frame(error) = error {
                answer(&mut io, &Reply::Refused(sessions.bad_hello(&error))).await;
            }
            return;
        }
    };
    match admit::admit(&sessions, hello, &exporter, remote).await {
        Ok(client) => begin(sessions, io, *client).await,
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
async fn begin(sessions: Arc<Sessions>, mut io: ClientIo, mut client: AdmittedClient) {
    let lane = sessions.lanes[client.lane].clone();
    let written = async {
        io.write_all(&client.welcome).await?;
        io.flush().await
    };
    let sent = matches!(timeout(HELLO, written).await, Ok(Ok(())));
    client.welcome = vec![];
    if !sent || (lanes::current() != Some(lane.index) && io.get_mut().0.leave().is_err()) {
        client.abandon(&sessions).await;
        return;
    }
    lane.spawn(async move {
        match io.get_mut().0.arrive() {
            Ok(()) => run::run(sessions, io, client).await,
            Err(error) => {
                tracing::error!(%error, "cannot move a connection to its lane");
                client.abandon(&sessions).await;
            }
        }
    });
}
