//! Message bodies sent to a stream, and received from one.

use crate::{RecvStream, ResetReason, SendStream, StreamError};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// Why a body was not sent whole. The stream has been reset in both cases.
#[derive(Debug, thiserror::Error)]
pub enum SendError<E> {
    /// The body itself broke off.
    #[error("the body broke off")]
    Body(#[source] E),
    /// The stream was reset, or its connection ended.
    #[error("the stream ended early")]
    Stream(#[source] StreamError),
}

/// Sends a body and its trailers as fast as the other side reads, and returns the body's length in bytes.
///
/// Empty frames that do not end the stream are not sent: h2 counts them against the connection.
///
/// # Errors
/// [`SendError`]. A reset with NO_ERROR is none: the other side has answered and needs no more of the body (RFC 9113 section 8.1).
pub async fn send<B>(body: B, mut stream: SendStream) -> Result<u64, SendError<B::Error>>
where
    B: Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    let mut sent = 0;
    loop {
        let frame = match next_event(body.as_mut(), &mut stream).await {
            BodyEvent::Frame(frame) => frame,
            BodyEvent::End => break,
            BodyEvent::Broken(error) => {
                stream.send_reset(ResetReason::Cancel);
                return Err(SendError::Body(error));
            }
            BodyEvent::Reset(Ok(ResetReason::NoError)) => return Ok(sent),
            BodyEvent::Reset(Ok(reason)) => return Err(SendError::Stream(reason.into())),
            BodyEvent::Reset(Err(error)) => return Err(SendError::Stream(error)),
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

enum BodyEvent<E> {
    Frame(Frame<Bytes>),
    End,
    Broken(E),
    Reset(Result<ResetReason, StreamError>),
}

/// The body's next frame, unless the other side resets the stream first.
async fn next_event<B: Body<Data = Bytes>>(
    mut body: Pin<&mut B>,
    stream: &mut SendStream,
) -> BodyEvent<B::Error> {
    std::future::poll_fn(|cx| match body.as_mut().poll_frame(cx) {
        Poll::Ready(Some(Ok(frame))) => Poll::Ready(BodyEvent::Frame(frame)),
        Poll::Ready(Some(Err(error))) => Poll::Ready(BodyEvent::Broken(error)),
        Poll::Ready(None) => Poll::Ready(BodyEvent::End),
        Poll::Pending => stream.poll_reset(cx).map(BodyEvent::Reset),
    })
    .await
}

/// Sends bytes as fast as the other side's window allows, and returns whether the stream accepts more. With `last` the
/// direction ends.
///
/// # Errors
/// [`StreamError`] if the stream was reset with another reason than NO_ERROR, or its connection ended.
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

/// The bytes and trailers received on a stream, as a message body.
///
/// A chunk's window is released when the next chunk is polled: a reader that stalls holds one window and no more.
pub struct StreamBody {
    stream: RecvStream,
    unreleased: usize,
    data_done: bool,
    length: Option<u64>,
}

impl StreamBody {
    /// The body of a stream; `length` is the message's Content-Length in bytes, if it has one.
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
