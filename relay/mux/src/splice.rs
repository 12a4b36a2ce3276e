//! A byte stream and a stream, copied into each other in both directions.
//!
//! Half-close is END_STREAM; a reset is RST_STREAM on one side and an aborted connection on the other. A connection that
//! breaks is never made to look like one that ended.

use crate::{RecvStream, ResetReason, SendStream, StreamError, body::send_bytes};
use bytes::{Bytes, BytesMut};
use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
    task::Poll,
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

/// The first read's size: an idle connection holds no more.
const LEAST_READ: usize = 4 * 1024;
/// The largest read: one frame.
const MOST_READ: usize = 64 * 1024;

/// How many bytes have been copied so far. They are counted while the copy goes on.
#[derive(Debug, Default)]
pub struct Count {
    /// From the byte stream to the stream.
    pub sent: AtomicU64,
    /// From the stream to the byte stream.
    pub received: AtomicU64,
}

/// Why a copy broke off. Both directions have ended; the caller aborts the connection so that its other end sees a reset.
#[derive(Debug, thiserror::Error)]
pub enum SpliceError {
    /// The byte stream failed; the stream has been reset.
    #[error("the connection failed")]
    Connection(#[source] io::Error),
    /// The stream was reset, or its connection ended.
    #[error("the stream was reset")]
    Stream(#[source] StreamError),
}

/// A connection that can be ended so that its other end sees a reset.
pub trait Abort {
    /// Ends the connection with a reset as soon as it is dropped.
    fn abort(&mut self);

    /// From now on, or no longer, an end that nobody prepares is a reset, too: also one that comes because this process is
    /// killed, which the system would otherwise make look like an orderly end.
    fn guard(&mut self, on: bool);
}

impl Abort for tokio::net::TcpStream {
    fn abort(&mut self) {
        // A linger time of zero discards what is unsent and sends RST (RFC 9293 section 3.10.4).
        let _ = self.set_zero_linger();
    }

    fn guard(&mut self, on: bool) {
        // A connection that has failed already needs no guard.
        let _ = socket2::SockRef::from(&*self).set_linger(on.then_some(Duration::ZERO));
    }
}

/// Copies until both directions have ended.
///
/// # Errors
/// [`SpliceError`] after which `io` has been aborted.
pub async fn splice<T>(
    mut io: T,
    mut send: SendStream,
    recv: RecvStream,
    count: &Count,
) -> Result<(), SpliceError>
where
    T: AsyncRead + AsyncWrite + Abort + Unpin,
{
    io.guard(true);
    let (mut reader, mut writer) = tokio::io::split(io);
    let result = {
        let up = to_stream(&mut reader, &mut send, &count.sent);
        let down = to_connection(recv, &mut writer, &count.received);
        tokio::try_join!(up, down).map(|_| ())
    };
    let mut io = reader.unsplit(writer);
    match &result {
        Ok(()) => io.guard(false),
        Err(error) => {
            if matches!(error, SpliceError::Connection(_)) {
                send.send_reset(ResetReason::Cancel);
            }
            io.abort();
        }
    }
    result
}

async fn to_stream<T: AsyncRead>(
    reader: &mut ReadHalf<T>,
    send: &mut SendStream,
    count: &AtomicU64,
) -> Result<(), SpliceError> {
    let mut size = LEAST_READ;
    loop {
        let mut buffer = BytesMut::with_capacity(size);
        let read = {
            let mut read = std::pin::pin!(reader.read_buf(&mut buffer));
            std::future::poll_fn(|cx| match read.as_mut().poll(cx) {
                Poll::Ready(read) => Poll::Ready(read.map_err(SpliceError::Connection)),
                Poll::Pending => match send.poll_reset(cx) {
                    // The other side has ended both directions; the copy of the other direction says how.
                    Poll::Ready(Ok(ResetReason::NoError)) => Poll::Ready(Ok(0)),
                    Poll::Ready(Ok(reason)) => Poll::Ready(Err(SpliceError::Stream(reason.into()))),
                    Poll::Ready(Err(error)) => Poll::Ready(Err(SpliceError::Stream(error))),
                    Poll::Pending => Poll::Pending,
                },
            })
            .await?
        };
        if read == 0 {
            // The stream may have ended already, with NO_ERROR.
            let _ = send.send_data(Bytes::new(), true);
            return Ok(());
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        if !send_bytes(send, buffer.freeze(), false).await.map_err(SpliceError::Stream)? {
            return Ok(());
        }
        size = if read == size {
            (size * 4).min(MOST_READ)
        } else if read < size / 4 {
            LEAST_READ
        } else {
            size
        };
    }
}

async fn to_connection<T: AsyncWrite>(
    mut recv: RecvStream,
    writer: &mut WriteHalf<T>,
    count: &AtomicU64,
) -> Result<(), SpliceError> {
    while let Some(data) = recv.data().await {
        let data = data.map_err(SpliceError::Stream)?;
        let length = data.len();
        writer.write_all(&data).await.map_err(SpliceError::Connection)?;
        // TLS keeps what it could not send at once; the other end has to see it now.
        writer.flush().await.map_err(SpliceError::Connection)?;
        count.fetch_add(length as u64, Ordering::Relaxed);
        recv.release(length);
    }
    // The other end may have closed already, which is no error of this direction.
    let _ = writer.shutdown().await;
    Ok(())
}
