//! The first message of a TLS connection, read without taking it away.
//!
//! What the relay does with a connection depends on its ClientHello.

use bytes::BytesMut;
use rustls::server::{Accepted, Acceptor};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes that a ClientHello may have with its record headers; post-quantum key shares need some 1,800.
pub(super) const MAX_BYTES: usize = 16 * 1024;

/// Why a connection has no ClientHello that can be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientHelloError {
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
pub(super) async fn read<T: AsyncRead + AsyncWrite + Unpin>(
    io: &mut T,
    begun: &[u8],
) -> Result<Accepted, ClientHelloError> {
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
            Ok(Some(accepted)) => return Ok(accepted),
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::{Arc, LazyLock};

    static HELLO: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
        config.alpn_protocols = vec![adit_protocol::ALPN.to_vec()];
        let name = "connect.adit.localhost".try_into().unwrap();
        let mut bytes = vec![];
        ClientConnection::new(Arc::new(config), name).unwrap().write_tls(&mut bytes).unwrap();
        bytes
    });

    /// Reads what arrives in three pieces, the first of them together with what came before.
    fn in_pieces(bytes: &[u8], cuts: (usize, usize)) -> Result<Accepted, ClientHelloError> {
        let (first, rest) = bytes.split_at(cuts.0.min(bytes.len()));
        let (second, third) = rest.split_at(cuts.1.min(rest.len()));
        let mut io = tokio::io::join(second.chain(third), tokio::io::sink());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut io, first))
    }

    proptest! {
        #[test]
        fn a_client_hello_is_the_same_however_it_arrives(cuts in (0..2000_usize, 0..2000_usize)) {
            let received = in_pieces(&HELLO, cuts).unwrap();
            let hello = received.client_hello();
            prop_assert_eq!(hello.server_name(), Some("connect.adit.localhost"));
        }

        #[test]
        fn a_client_hello_with_other_bytes_is_read_or_refused(
            changes in proptest::collection::vec((0..2000_usize, any::<u8>()), 0..8),
            length in 0..3000_usize,
            cuts in (0..2000_usize, 0..2000_usize),
        ) {
            let mut bytes = HELLO.clone();
            for (at, byte) in changes {
                let at = at % bytes.len();
                bytes[at] = byte;
            }
            bytes.truncate(length);
            let _ = in_pieces(&bytes, cuts);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000), record: bool, cuts: (usize, usize)) {
            let start: &[u8] = if record { b"\x16\x03\x01" } else { b"" };
            let _ = in_pieces(&[start, &bytes].concat(), cuts);
        }
    }

    #[test]
    fn an_endless_client_hello_is_too_long() {
        // Records of one byte each: the message of 64 KiB that they promise never ends.
        let record = [0x16, 3, 1, 0, 1, 1];
        let mut bytes = vec![0x16, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
        bytes.extend(record.iter().cycle().take(6 * 10_000));
        assert!(in_pieces(&bytes, (0, 0)).is_err());
    }
}
