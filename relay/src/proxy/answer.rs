//! What a consumer gets for a request.

use super::{headers, request_record::RequestRecord};
use adit_mux::{RecvStream, SendStream, StreamError, body::StreamBody};
use bytes::Bytes;
use http::{Response, response};
use http_body::{Body, Frame, SizeHint};
use hyper::upgrade::OnUpgrade;
use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

/// What came back for a request.
pub(crate) enum Answered {
    /// A message.
    Message(response::Parts, RecvStream),
    /// The relay itself answers: it sends the consumer on, or proves to a CA what it serves.
    Own(Response<Answer>),
    /// The service has switched to the other protocol.
    Switched(response::Parts, OnUpgrade, SendStream, RecvStream),
}

/// The body of what a consumer gets.
pub(crate) enum Answer {
    /// A page of the relay's own, or nothing.
    Page(Bytes),
    /// What the service sends; the record is told once it is over.
    Stream(StreamBody, Box<RequestRecord>),
}

impl Answer {
    /// How many bytes a page has; 0 for what the service sends.
    pub(crate) fn page_len(&self) -> usize {
        match self {
            Self::Page(bytes) => bytes.len(),
            Self::Stream(..) => 0,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut *self {
            Self::Page(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Page(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(body, record) => {
                let mut frame = ready!(Pin::new(&mut *body).poll_frame(cx));
                match &mut frame {
                    Some(Ok(frame)) => match frame.data_ref() {
                        Some(data) => record.add(data.len()),
                        None => {
                            if let Some(trailers) = frame.trailers_mut() {
                                headers::clean_trailers(trailers);
                            }
                        }
                    },
                    Some(Err(_)) => record.broken(),
                    None => {}
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Page(bytes) => bytes.is_empty(),
            Self::Stream(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Page(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(body, _) => body.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Self::Stream(body, record) = self
            && !body.is_end_stream()
        {
            record.left();
        }
    }
}
