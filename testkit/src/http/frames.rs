//! HTTP/2 frame by frame (RFC 9113), so that it can be wrong in every way.

use std::{io, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf},
    time::timeout,
};

/// Maximum time of one operation.
const IO_TIMEOUT: Duration = Duration::from_secs(30);
/// The connection preface of a client (RFC 9113 section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (RFC 9113 section 6).
pub mod kind {
    #![allow(missing_docs, reason = "they are the standard's names")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PUSH_PROMISE: u8 = 5;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// END_STREAM of HEADERS and DATA, ACK of SETTINGS and PING.
pub const END_STREAM: u8 = 1;
/// END_HEADERS of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http2Frame {
    /// One of [`kind`].
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream's number; 0 for the connection.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Http2Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// A HEADERS frame with these fields as literals, END_HEADERS set.
    pub fn headers(stream: u32, flags: u8, fields: &[(&str, &str)]) -> Self {
        Self::new(kind::HEADERS, flags | END_HEADERS, stream, literals(fields))
    }

    /// The bytes of the frame.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.payload.len() as u32).to_be_bytes()[1..].to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    /// The code of a RST_STREAM or GOAWAY frame.
    pub fn code(&self) -> Option<u32> {
        let at = match self.kind {
            kind::RST_STREAM => 0,
            kind::GOAWAY => 4,
            _ => return None,
        };
        self.payload.get(at..at + 4).map(|code| u32::from_be_bytes(code.try_into().expect("four bytes")))
    }
}

/// Fields as HPACK literals that enter no table (RFC 7541 section 6.2.2).
pub fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![];
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            length(text.len(), &mut block);
            block.extend(text.as_bytes());
        }
    }
    block
}

/// An integer with a prefix of seven bits (RFC 7541 section 5.1).
fn length(mut length: usize, block: &mut Vec<u8>) {
    if length < 127 {
        return block.push(length as u8);
    }
    block.push(127);
    length -= 127;
    while length >= 128 {
        block.push(128 | (length % 128) as u8);
        length /= 128;
    }
    block.push(length as u8);
}

/// One connection, either end of it.
#[derive(Debug)]
pub struct Http2Connection<T> {
    reader: ReadHalf<T>,
    writer: WriteHalf<T>,
    /// What has come while something was sent.
    inbox: std::collections::VecDeque<Http2Frame>,
    partial: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite> Http2Connection<T> {
    fn new(io: T) -> Self {
        let (reader, writer) = tokio::io::split(io);
        Self { reader, writer, inbox: Default::default(), partial: vec![] }
    }

    /// The end that opens streams: it sends the preface and these settings.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn client(io: T, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut connection = Self::new(io);
        let first = [&PREFACE[..], &settings_frame(settings).bytes()].concat();
        connection.send_bytes(&first).await?;
        Ok(connection)
    }

    /// The end that takes streams: it reads the preface and sends these settings.
    ///
    /// # Errors
    /// The connection is gone, or its first bytes are something else.
    pub async fn server(io: T, settings: &[(u16, u32)]) -> io::Result<Self> {
        let mut connection = Self::new(io);
        let mut preface = [0; 24];
        in_time(connection.reader.read_exact(&mut preface)).await?;
        if preface != *PREFACE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no preface"));
        }
        connection.send(&settings_frame(settings)).await?;
        Ok(connection)
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send(&mut self, frame: &Http2Frame) -> io::Result<()> {
        self.send_bytes(&frame.bytes()).await
    }

    /// Sends bytes, and takes in what comes meanwhile, so that neither end waits for the other.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Self { reader, writer, inbox, partial } = self;
        let writing = async {
            writer.write_all(bytes).await?;
            writer.flush().await
        };
        let reading = async {
            loop {
                match read(reader, partial).await {
                    Ok(frame) => inbox.push_back(frame),
                    // Whether the other end still reads is for the writer to find out.
                    Err(_) => return std::future::pending::<()>().await,
                }
            }
        };
        in_time(async {
            tokio::select! { written = writing => written, () = reading => Ok(()) }
        })
        .await
    }

    /// The next frame. SETTINGS and PING are answered as they have to be, and returned all the same.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn receive(&mut self) -> io::Result<Http2Frame> {
        let frame = match self.inbox.pop_front() {
            Some(frame) => frame,
            None => in_time(read(&mut self.reader, &mut self.partial)).await?,
        };
        if frame.flags & 1 == 0 && matches!(frame.kind, kind::SETTINGS | kind::PING) {
            let payload = if frame.kind == kind::PING { frame.payload.clone() } else { vec![] };
            // A connection that has ended answers with what it had sent before.
            let _ = self.send(&Http2Frame::new(frame.kind, 1, 0, payload)).await;
        }
        Ok(frame)
    }

    /// The next frame of this type; others are passed over.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn receive_kind(&mut self, kind: u8) -> io::Result<Http2Frame> {
        loop {
            let frame = self.receive().await?;
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// The code with which the other end ends the connection; `None` when it ends without a word.
    pub async fn goaway(&mut self) -> Option<u32> {
        self.receive_kind(kind::GOAWAY).await.ok()?.code()
    }

    /// Whether the connection ends within 30 s.
    pub async fn ends(&mut self) -> bool {
        loop {
            match self.receive().await {
                Ok(_) => {}
                Err(error) => return error.kind() != io::ErrorKind::TimedOut,
            }
        }
    }
}

fn settings_frame(settings: &[(u16, u32)]) -> Http2Frame {
    let payload: Vec<u8> = settings
        .iter()
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat())
        .collect();
    Http2Frame::new(kind::SETTINGS, 0, 0, payload)
}

/// The next frame. It can be dropped: what has come of it waits in `partial`.
async fn read(reader: &mut (impl AsyncRead + Unpin), partial: &mut Vec<u8>) -> io::Result<Http2Frame> {
    loop {
        if partial.len() >= 9 {
            let length = u32::from_be_bytes([0, partial[0], partial[1], partial[2]]) as usize;
            if partial.len() >= 9 + length {
                let frame: Vec<u8> = partial.drain(..9 + length).collect();
                let stream = u32::from_be_bytes(frame[5..9].try_into().expect("four bytes")) & 0x7fff_ffff;
                return Ok(Http2Frame::new(frame[3], frame[4], stream, &frame[9..]));
            }
        }
        if reader.read_buf(partial).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn in_time<T>(future: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(IO_TIMEOUT, future).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
