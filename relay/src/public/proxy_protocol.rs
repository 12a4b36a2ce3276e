//! PROXY protocol, versions 1 and 2 (the HAProxy specification of 2020-03-05): who the consumer behind a trusted load
//! balancer is.

use bytes::{Buf, Bytes, BytesMut};
use ppp::{HeaderResult, PartialResult, v1, v2};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The most bytes that a header may have: version 2 with room for its TLVs.
const MAX_BYTES: usize = 4096;
/// The most bytes of a header in text, its CR LF included.
const MAX_LINE: usize = 107;

/// Why a trusted load balancer's connection cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyProtocolError {
    /// The connection failed or ended.
    #[error("the connection ended before its PROXY header was whole")]
    Connection(#[from] io::Error),
    /// The first bytes are not a PROXY header.
    #[error("a trusted load balancer must send a PROXY protocol header first")]
    Invalid,
}

/// Reads the header. Answers with the consumer's address, if the load balancer tells one (it does not for its own health
/// checks), and with what came behind the header.
///
/// # Errors
/// [`ProxyProtocolError`].
pub(super) async fn read<T: AsyncRead + Unpin>(
    io: &mut T,
) -> Result<(Option<SocketAddr>, Bytes), ProxyProtocolError> {
    let mut bytes = BytesMut::with_capacity(512);
    loop {
        if io.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        // The parser is for whole lines: it takes some that are cut for wrong ones.
        let has_line = bytes.windows(2).any(|two| two == b"\r\n");
        if bytes.starts_with(b"PROXY") && !has_line && bytes.len() < MAX_LINE {
            continue;
        }
        let header = HeaderResult::parse(&bytes);
        if header.is_incomplete() && bytes.len() < MAX_BYTES {
            continue;
        }
        let (remote, length) = match header {
            HeaderResult::V1(Ok(header)) => (v1_source(&header.addresses), header.header.len()),
            HeaderResult::V2(Ok(header)) => (v2_source(&header), header.len()),
            _ => return Err(ProxyProtocolError::Invalid),
        };
        bytes.advance(length);
        return Ok((remote, bytes.freeze()));
    }
}

fn v1_source(addresses: &v1::Addresses) -> Option<SocketAddr> {
    match addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    }
}

fn v2_source(header: &v2::Header<'_>) -> Option<SocketAddr> {
    if header.command == v2::Command::Local {
        return None;
    }
    match header.addresses {
        v2::Addresses::IPv4(ip) => Some((IpAddr::V4(ip.source_address), ip.source_port).into()),
        v2::Addresses::IPv6(ip) => Some((IpAddr::V6(ip.source_address), ip.source_port).into()),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn both_versions_tell_the_consumer_and_leave_the_rest() {
        let v2 = v2::Builder::with_addresses(
            v2::Version::Two | v2::Command::Proxy,
            v2::Protocol::Stream,
            (
                "192.0.2.1:1234".parse::<SocketAddr>().unwrap(),
                "198.51.100.1:443".parse::<SocketAddr>().unwrap(),
            ),
        )
        .build()
        .unwrap();
        for header in [b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\n".to_vec(), v2] {
            let bytes = [header.as_slice(), b"GET / HTTP/1.1\r\n"].concat();
            let (remote, rest) = read(&mut bytes.as_slice()).await.unwrap();
            assert_eq!(remote, Some("192.0.2.1:1234".parse().unwrap()));
            assert_eq!(&rest[..], b"GET / HTTP/1.1\r\n");
        }
    }

    #[tokio::test]
    async fn a_header_in_pieces_is_joined_and_anything_else_is_refused() {
        let mut pieces = tokio_test_pieces(b"PROXY TCP4 192.0.2.1 198.51.100.1 1234 443\r\nx", 5);
        assert!(read(&mut pieces).await.unwrap().0.is_some());
        for bad in
            [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), vec![0; 5000], b"PROXY TCP9 a b c d\r\n".to_vec()]
        {
            let result = read(&mut bad.as_slice()).await;
            assert!(matches!(result, Err(ProxyProtocolError::Invalid)), "{result:?}");
        }
        assert!(matches!(read(&mut b"PROX".as_slice()).await, Err(ProxyProtocolError::Connection(_))));
        assert_eq!(read(&mut b"PROXY UNKNOWN\r\n".as_slice()).await.unwrap().0, None);
    }

    fn tokio_test_pieces(bytes: &'static [u8], size: usize) -> impl AsyncRead + Unpin {
        let (mut near, far) = tokio::io::duplex(size);
        tokio::spawn(async move {
            for piece in bytes.chunks(size) {
                tokio::io::AsyncWriteExt::write_all(&mut near, piece).await.unwrap();
            }
        });
        far
    }

    /// What comes of a header that arrives in two pieces.
    fn in_two(bytes: &[u8], at: usize) -> Result<(Option<SocketAddr>, Bytes), ProxyProtocolError> {
        let (first, second) = bytes.split_at(at.min(bytes.len()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(read(&mut tokio::io::AsyncReadExt::chain(first, second)))
    }

    const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(
            start in 0..4_usize,
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            at: usize,
        ) {
            let start = [&b""[..], b"PROXY ", b"PROXY TCP4 ", V2][start];
            let _ = in_two(&[start, &bytes].concat(), at);
        }

        #[test]
        fn no_line_of_text_panics(line in "PROXY (TCP4|TCP6|UNKNOWN|UDP4)?[ 0-9a-f.:]{0,120}(\r\n|\n|\r)?", at: usize) {
            let _ = in_two(line.as_bytes(), at);
        }

        #[test]
        fn a_header_is_the_same_however_it_arrives(
            port: u16, ip: [u8; 4], tlvs in 0..300_u16, at in 0..400_usize, rest: Vec<u8>, v1: bool,
        ) {
            let header = if v1 {
                let ip = IpAddr::from(ip);
                format!("PROXY TCP4 {ip} 127.0.0.1 {port} 443\r\n").into_bytes()
            } else {
                let tlvs = if tlvs < 3 { vec![] } else { [&[4], &(tlvs - 3).to_be_bytes()[..], &vec![0; usize::from(tlvs) - 3]].concat() };
                let length = (12 + tlvs.len() as u16).to_be_bytes();
                [V2, &[0x21, 0x11], &length, &ip, &[127, 0, 0, 1], &port.to_be_bytes(), &[1, 187], &tlvs].concat()
            };
            // What is read with the header's last byte is kept; the rest is still in the connection.
            let bytes = [&header[..], &rest].concat();
            let (remote, kept) = in_two(&bytes, at).unwrap();
            proptest::prop_assert_eq!(remote, Some(SocketAddr::from((ip, port))));
            proptest::prop_assert!(rest.starts_with(&kept));
        }
    }
}
