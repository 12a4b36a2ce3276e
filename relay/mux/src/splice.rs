//! Copies between a byte stream and a stream of a session, in both directions.
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

/// The size of the first read buffer: an idle connection holds no more.
const MIN_READ_BYTES: usize = 4 * 1024;
/// The size of the largest read buffer: one frame.
const MAX_READ_BYTES: usize = 64 * 1024;

/// The bytes that a splice has copied, counted while it runs.
#[derive(Debug, Default)]
pub struct SpliceCounters {
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

    /// Whether the connection is reset when it is closed without a shutdown, as the kernel does when this process is killed:
    /// that would look like an orderly end otherwise.
    fn set_reset_on_close(&mut self, on: bool);
}

impl Abort for tokio::net::TcpStream {
    fn abort(&mut self) {
        // A linger time of zero discards what is unsent and sends RST (RFC 9293 section 3.10.4).
        let _ = self.set_zero_linger();
    }

    fn set_reset_on_close(&mut self, on: bool) {
        // An error says that the connection has failed already.
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
    count: &SpliceCounters,
) -> Result<(), SpliceError>
where
    T: AsyncRead + AsyncWrite + Abort + Unpin,
{
    io.set_reset_on_close(true);
    let (mut reader, mut writer) = tokio::io::split(io);
    let result = {
        let up = to_stream(&mut reader, &mut send, &count.sent);
        let down = to_connection(recv, &mut writer, &count.received);
        tokio::try_join!(up, down).map(|_| ())
    };
    let mut io = reader.unsplit(writer);
    match &result {
        Ok(()) => io.set_reset_on_close(false),
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
    let mut size = MIN_READ_BYTES;
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
            (size * 4).min(MAX_READ_BYTES)
        } else if read < size / 4 {
            MIN_READ_BYTES
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
