//! A message body to a stream, and a stream as a message body.

use crate::{RecvStream, ResetReason, SendStream, StreamError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Why a body did not reach the other side whole. The stream has been reset in both cases.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    /// The body itself broke off.
    #[error("the body broke off")]
    Body(#[source] E),
    /// The stream was reset, or its connection ended.
    #[error("the stream ended early")]
    Stream(#[source] StreamError),
}

/// Sends a body, its trailers included, as fast as the other side reads it. Answers with how many bytes it had.
///
/// Empty frames that do not end the stream are left out: h2 counts them against the connection.
///
/// # Errors
/// [`SendError`]. When the other side stops reading with NO_ERROR because it has answered already (RFC 9113 section
/// 8.1), that is not an error.
pub async fn send<B>(body: B, mut stream: SendStream) -> Result<u64, SendError<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut sent = 0;
    loop {
        let frame = match next_frame(body.as_mut(), &mut stream).await {
            Next::Frame(frame) => frame,
            Next::End => break,
            Next::Broken(error) => {
                stream.send_reset(ResetReason::Cancel);
                return Err(SendError::Body(error));
            }
            Next::Reset(Ok(ResetReason::NoError)) => return Ok(sent),
            Next::Reset(Ok(reason)) => return Err(SendError::Stream(reason.into())),
            Next::Reset(Err(error)) => return Err(SendError::Stream(error)),
        };
        match frame.into_data() {
            Ok(data) => {
                sent += data.len() as u64;
                let last = body.is_end_stream();
                if !send_bytes(&mut stream, data, last).await.map_err(SendError::Stream)? || last {
                    return Ok(sent);
                }
            }
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers).map_err(SendError::Stream)?;
                    return Ok(sent);
                }
            }
        }
    }
    stream.send_data(Bytes::new(), true).map_err(SendError::Stream)?;
    Ok(sent)
}

enum Next<E> {
    Frame(Frame<Bytes>),
    End,
    Broken(E),
    Reset(Result<ResetReason, StreamError>),
}

/// The body's next frame, unless the other side resets the stream first.
async fn next_frame<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, stream: &mut SendStream) -> Next<B::Error> {
    std::future::poll_fn(|cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(Next::Frame(frame)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(Next::Broken(error)),
        Poll::Ready(None) => Poll::Ready(Next::End),
        Poll::Pending => stream.poll_reset(cx).map(Next::Reset),
    })
    .await
}

/// Sends bytes as far and as fast as the other side's window allows. Answers whether the stream still takes more.
///
/// # Errors
/// When the stream was reset with another reason than NO_ERROR, or its connection ended.
pub async fn send_bytes(stream: &mut SendStream, mut data: Bytes, last: bool) -> Result<bool, StreamError> {
    if data.is_empty() {
        if last {
            stream.send_data(data, true)?;
        }
        return Ok(true);
    }
    while !data.is_empty() {
        stream.reserve_capacity(data.len());
        let granted = match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(0)) => continue,
            Some(Ok(granted)) => granted,
            Some(Err(error)) if error.reason() == Some(ResetReason::NoError) => return Ok(false),
            Some(Err(error)) => return Err(error),
            None => return Ok(false),
        };
        let chunk = data.split_to(granted.min(data.len()));
        let end = last && data.is_empty();
        stream.send_data(chunk, end)?;
    }
    Ok(true)
}

/// What a stream brings, as a message body.
///
/// A chunk's window is given back when the next one is asked for: a reader that stalls holds one window and no more.
pub struct StreamBody {
    stream: RecvStream,
    unreleased: usize,
    data_done: bool,
    length: Option<u64>,
}

impl StreamBody {
    /// The body of a stream. `length` is what Content-Length says, if the message has one.
    pub fn new(stream: RecvStream, length: Option<u64>) -> Self {
        let data_done = stream.is_end_stream();
        Self { stream, unreleased: 0, data_done, length: if data_done { Some(0) } else { length } }
    }

    fn release(&mut self) {
        if self.unreleased > 0 {
            self.stream.release(self.unreleased);
            self.unreleased = 0;
        }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        self.release();
        while !self.data_done {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) if data.is_empty() => {}
                Some(Ok(data)) => {
                    self.unreleased = data.len();
                    if let Some(length) = &mut self.length {
                        *length = length.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => self.data_done = true,
            }
        }
        match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Ok(None) => Poll::Ready(None),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        self.release();
    }
}
