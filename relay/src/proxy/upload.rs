//! The body of a consumer's request on its way to the service.

use super::headers::{self, BadRequest};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::{
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

/// What is known of a request's body while it is sent.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    /// How many bytes have been sent.
    pub(crate) bytes: AtomicU64,
    /// Why it was broken off, if the consumer is to blame.
    pub(crate) refused: OnceLock<BadRequest>,
}

/// Why a consumer's body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The consumer's connection failed, or its body broke HTTP's rules.
    #[error("the consumer's body broke off")]
    Consumer(#[source] hyper::Error),
    /// It has more bytes than the account may send.
    #[error("the body is larger than the account's limit")]
    TooLarge,
    /// Its trailers would change what the request is.
    #[error("the trailers are not allowed")]
    Trailers(#[source] BadRequest),
}

/// A consumer's body, counted, and cut where the account's limit is.
pub(crate) struct UploadBody {
    body: Incoming,
    most: u64,
    upload: Arc<Upload>,
}

impl UploadBody {
    /// `most` is the limit in bytes.
    pub(crate) fn new(body: Incoming, most: Option<u64>, upload: Arc<Upload>) -> Self {
        Self { body, most: most.unwrap_or(u64::MAX), upload }
    }

    fn refuse(&self, bad: BadRequest) {
        // The first reason is the one that counts.
        let _ = self.upload.refused.set(bad);
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let frame = frame.map_err(|error| {
                // Whoever went away reads no answer; whoever is still there has broken HTTP's rules.
                self.refuse(BadRequest::body());
                UploadError::Consumer(error)
            })?;
            let Some(data) = frame.data_ref() else {
                let Some(trailers) = frame.trailers_ref() else { continue };
                headers::check_trailers(trailers).map_err(|bad| {
                    self.refuse(bad.clone());
                    UploadError::Trailers(bad)
                })?;
                return Poll::Ready(Some(Ok(frame)));
            };
            if data.is_empty() {
                continue;
            }
            let sent = self.upload.bytes.fetch_add(data.len() as u64, Ordering::Relaxed) + data.len() as u64;
            if sent > self.most {
                self.refuse(BadRequest::too_long());
                return Poll::Ready(Some(Err(UploadError::TooLarge)));
            }
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
