//! Bodies that a task fills.

use bytes::Bytes;
use hyper::body::{self, SizeHint};
use std::{
    io,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// A body whose frames come from a task, or that is there already.
#[derive(Debug)]
pub struct Body {
    frames: Option<mpsc::Receiver<io::Result<body::Frame<Bytes>>>>,
    whole: Option<Bytes>,
    /// What Content-Length says, where it is known.
    length: Option<u64>,
}

/// Fills a [`Body`].
pub(super) type Frames = mpsc::Sender<io::Result<body::Frame<Bytes>>>;

impl Body {
    /// A body that is there already.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let length = Some(bytes.len() as u64);
        Self { frames: None, whole: Some(bytes).filter(|bytes| !bytes.is_empty()), length }
    }

    /// A body that ends when the sender is dropped; an error breaks the connection off. `length`: what Content-Length
    /// says, true or not.
    pub(super) fn stream(length: Option<u64>) -> (Frames, Self) {
        let (sender, frames) = mpsc::channel(4);
        (sender, Self { frames: Some(frames), whole: None, length })
    }
}

impl body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<body::Frame<Bytes>, io::Error>>> {
        if let Some(whole) = self.whole.take() {
            return Poll::Ready(Some(Ok(body::Frame::data(whole))));
        }
        match &mut self.frames {
            Some(frames) => frames.poll_recv(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_none() && self.frames.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.frames, self.length) {
            (None, _) => SizeHint::with_exact(self.whole.as_ref().map_or(0, Bytes::len) as u64),
            (Some(_), Some(length)) => SizeHint::with_exact(length),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

/// Bytes `from..to` of the endless pattern that `/bytes/N` sends. It has the period 251, so that a byte that is lost,
/// doubled or moved shows.
pub fn pattern(from: u64, to: u64) -> Bytes {
    /// Long enough that what a service sends at once is a piece of it, which costs nothing.
    static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0..=250).cycle().take(251 * 1024).collect());
    let (start, length) = ((from % 251) as usize, to.saturating_sub(from) as usize);
    if start + length <= PATTERN.len() {
        return PATTERN.slice(start..start + length);
    }
    PATTERN.iter().copied().cycle().skip(start).take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_the_same_wherever_a_piece_of_it_begins() {
        for (from, to) in [(0, 0), (0, 1000), (250, 252), (251 * 9, 251 * 9 + 70_000), (77, 700_000)] {
            let bytes = pattern(from, to);
            assert!(bytes.iter().copied().eq((from..to).map(|at| (at % 251) as u8)), "{from}..{to}");
        }
    }
}
