//! What a transport has to do for a session: open streams at one end, and accept them at the other.
//!
//! [`crate::http2`] is the one transport so far. Another is a file beside it that implements both traits and passes
//! `tests/contract.rs`; the types of [`crate::stream`] become enums then, so that nothing above them changes. Every method is
//! dispatched statically: a request costs no allocation for it.

use crate::{AcceptedStream, OpenedStream, StreamError};
use futures_util::Future;
use http::Request;

/// The end of a session that opens streams: the relay, although the client has dialled.
pub trait OpenStreams: Clone + Send + Sync + 'static {
    /// Opens a stream with this head, as soon as the other side takes one more. With `end` the request has no body.
    ///
    /// # Errors
    /// [`StreamError`] if the connection has ended, or takes no streams any more. No stream was opened.
    fn open(
        &self,
        head: Request<()>,
        end: bool,
    ) -> impl Future<Output = Result<OpenedStream, StreamError>> + Send;

    /// Whether no stream can be opened any more.
    fn has_ended(&self) -> bool;

    /// Whether the other side takes extended CONNECT (RFC 8441 section 3), as its settings say; they come before its first
    /// answer.
    fn allows_extended_connect(&self) -> bool;
}

/// The end of a session that accepts streams: the client, or a relay that another relay has dialled.
pub trait AcceptStreams: Send {
    /// The next stream, or `None` once the connection has ended in an orderly way. All streams make progress only while this is
    /// polled.
    ///
    /// # Errors
    /// [`StreamError`] if the connection breaks.
    fn accept(&mut self) -> impl Future<Output = Option<Result<AcceptedStream, StreamError>>> + Send;

    /// Accepts no further streams (GOAWAY); those that are open go on.
    fn drain(&mut self);
}
