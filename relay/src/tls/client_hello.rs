//! The first message of a TLS connection, read without taking it away.
//!
//! What the relay does with a connection depends on its ClientHello. The bytes stay whole, so that a connection that
//! belongs to a passthrough tunnel could be handed on as it came; all others are handed to rustls.

use bytes::BytesMut;
use rustls::server::{Accepted, Acceptor};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes that a ClientHello may have with its record headers; post-quantum key shares need some 1,800.
pub const MAX_BYTES: usize = 16 * 1024;

/// A ClientHello and its bytes.
pub struct Received {
    /// What rustls made of it.
    pub accepted: Accepted,
    /// The bytes as they came, and whatever came right behind them.
    pub bytes: BytesMut,
}

/// Why a connection has no ClientHello that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientHelloError {
    /// The connection failed or ended.
    #[error("the connection ended before its ClientHello was whole")]
    Connection(#[from] io::Error),
    /// What came is not a ClientHello. An alert has been sent.
    #[error("not a ClientHello")]
    Invalid(#[source] rustls::Error),
    /// More than [`MAX_BYTES`].
    #[error("the ClientHello has more than {MAX_BYTES} bytes")]
    TooLong,
}

/// Reads one, of which `begun` has been read already.
///
/// # Errors
/// [`ClientHelloError`].
pub async fn read<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    begun: &[u8],
) -> Result<Received, ClientHelloError> {
    let mut acceptor = Acceptor::default();
    let mut bytes = BytesMut::with_capacity(2048);
    bytes.extend_from_slice(begun);
    let mut fed = 0;
    loop {
        if bytes.len() >= MAX_BYTES {
            return Err(ClientHelloError::TooLong);
        }
        if fed == bytes.len() && io.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let mut unread = &bytes[fed..];
        while !unread.is_empty() {
            if acceptor.read_tls(&mut unread)? == 0 {
                return Err(ClientHelloError::TooLong);
            }
        }
        fed = bytes.len();
        match acceptor.accept() {
            Ok(Some(accepted)) => return Ok(Received { accepted, bytes }),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut out = vec![];
                alert.write_all(&mut out)?;
                // The connection is of no use whether or not the alert arrives.
                let _ = io.write_all(&out).await;
                return Err(ClientHelloError::Invalid(error));
            }
        }
    }
}
