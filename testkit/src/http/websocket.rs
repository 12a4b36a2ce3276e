//! As much of WebSocket (RFC 6455) as tests need: whole frames, no extensions.

use super::{
    HttpResponse,
    body::Body,
    consumer::{Consumer, ConsumerConnection},
};
use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most bytes of a frame's payload.
const MAX_PAYLOAD: u64 = 64 * 1024 * 1024;

/// One frame: its opcode and its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebSocketFrame {
    /// 1 text, 2 binary, 8 close, 9 ping, 10 pong.
    pub opcode: u8,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

/// What a server answers to a key (RFC 6455 section 4.2.2).
fn accept_value(key: &[u8]) -> String {
    let guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &[key, guid].concat()))
}

/// Answers a WebSocket's request; then echoes text and binary frames, answers pings, and closes when asked.
pub(super) fn accept(request: Request<Incoming>) -> Response<Body> {
    let mut response = Response::new(Body::whole(""));
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        *response.status_mut() = StatusCode::BAD_REQUEST;
        return response;
    };
    let accept = HeaderValue::try_from(accept_value(key.as_bytes())).expect("base64");
    let headers = response.headers_mut();
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Some(protocol) = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL) {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol.clone());
    }
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let _ = echo(TokioIo::new(upgraded)).await;
        }
    });
    response
}

async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    loop {
        let mut frame = read(&mut io).await?;
        let close = frame.opcode == 8;
        if frame.opcode == 9 {
            frame.opcode = 10;
        }
        write(&mut io, &frame, None).await?;
        if close {
            return io.shutdown().await;
        }
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin)) -> io::Result<WebSocketFrame> {
    let mut head = [0; 2];
    io.read_exact(&mut head).await?;
    let length = match head[1] & 0x7f {
        126 => u64::from(io.read_u16().await?),
        127 => io.read_u64().await?,
        short => u64::from(short),
    };
    if length > MAX_PAYLOAD {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the frame is too long"));
    }
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        io.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length as usize];
    io.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(WebSocketFrame { opcode: head[0] & 0x0f, payload })
}

async fn write(
    io: &mut (impl AsyncWrite + Unpin),
    frame: &WebSocketFrame,
    mask: Option<[u8; 4]>,
) -> io::Result<()> {
    let mut bytes = vec![0x80 | frame.opcode];
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match frame.payload.len() {
        short @ 0..126 => bytes.push(masked | short as u8),
        medium @ 126..65_536 => {
            bytes.push(masked | 126);
            bytes.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            bytes.push(masked | 127);
            bytes.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend_from_slice(mask)).unwrap_or_default();
    bytes.extend(frame.payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    io.write_all(&bytes).await?;
    io.flush().await
}

impl Consumer {
    /// Opens a WebSocket.
    ///
    /// # Errors
    /// As [`Consumer::connect`] and [`WebSocket::open`].
    pub async fn websocket(&self, host: &str, path: &str) -> io::Result<WebSocket> {
        WebSocket::open(self.connect().await?, host, path).await
    }
}

/// A consumer's WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    wire: ConsumerConnection,
}

impl WebSocket {
    /// Opens a WebSocket on a fresh connection.
    ///
    /// # Errors
    /// The connection fails, or the answer is not 101 with the right key: the answer is in the error's words.
    pub async fn open(mut wire: ConsumerConnection, host: &str, path: &str) -> io::Result<Self> {
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        let answer: HttpResponse = wire.send(request.as_bytes()).await?;
        if answer.status != 101
            || answer.header("sec-websocket-accept") != Some(&accept_value(key.as_bytes()))
        {
            return Err(io::Error::other(format!("no WebSocket: {answer:?}")));
        }
        Ok(Self { wire })
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, opcode: u8, payload: impl Into<Vec<u8>>) -> io::Result<()> {
        let frame = WebSocketFrame { opcode, payload: payload.into() };
        write(&mut self.wire, &frame, Some(rand::random())).await
    }

    /// The next frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn receive(&mut self) -> io::Result<WebSocketFrame> {
        read(&mut self.wire).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_the_standard_has_its_answer() {
        assert_eq!(accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
