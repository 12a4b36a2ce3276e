//! Hello and answer.

use crate::identity::{Identity, PresentedProof};
use adit_protocol::{
    Hello, MUX_H2, OpenTunnel, RelayId, Reply, VERSION,
    frame::{self, FrameError},
    possession::{EXPORTER_BYTES, EXPORTER_LABEL},
};
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

/// A client's connection to a relay.
pub(crate) type RelayIo = TlsStream<TcpStream>;

/// The content of one hello, beside the client's identity.
#[derive(Clone, Debug, Default)]
pub(crate) struct DialRequest {
    pub(crate) avoid: Vec<RelayId>,
    /// Relays that may accept; if there are any, all others answer `elsewhere`.
    pub(crate) only: Vec<RelayId>,
    pub(crate) tunnels: Vec<OpenTunnel>,
}

/// Why a hello got no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HelloError {
    #[error("TLS gives no exporter")]
    Exporter(#[source] rustls::Error),
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    #[error("the answer is not a relay's")]
    Frame(#[source] FrameError),
}

/// Sends a hello and reads the reply, and not a byte more: what follows belongs to the mux.
pub(super) async fn exchange(
    io: &mut RelayIo,
    identity: &Identity,
    presented: &PresentedProof,
    request: DialRequest,
) -> Result<Reply, HelloError> {
    let mut exporter = [0; EXPORTER_BYTES];
    let (_, connection) = io.get_ref();
    connection.export_keying_material(&mut exporter, EXPORTER_LABEL, None).map_err(HelloError::Exporter)?;
    let hello = Hello {
        versions: vec![VERSION],
        mux: vec![MUX_H2.to_owned()],
        client_version: crate::version::VERSION.to_owned(),
        proof: presented.proof.clone(),
        key: identity.public_key(),
        signature: identity.sign(&exporter),
        instance: identity.instance().clone(),
        avoid: request.avoid,
        only: request.only,
        tunnels: request.tunnels,
    };
    let bytes = frame::encode(&hello).map_err(HelloError::Frame)?;
    io.write_all(&bytes).await.map_err(HelloError::Connection)?;
    io.flush().await.map_err(HelloError::Connection)?;

    let mut prefix = [0; frame::PREFIX_BYTES];
    io.read_exact(&mut prefix).await.map_err(HelloError::Connection)?;
    let mut json = vec![0; frame::length(prefix).map_err(HelloError::Frame)?];
    io.read_exact(&mut json).await.map_err(HelloError::Connection)?;
    frame::decode(&json).map_err(HelloError::Frame)
}
