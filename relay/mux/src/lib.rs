//! The multiplexed connection between a client and a relay, or between two relays.
//!
//! One side opens every stream ([`OpenStreams`]), the other accepts them ([`AcceptStreams`]): on a session the relay opens,
//! although the client has dialled. The transport is [`http2`]: [`open`] and [`accept`] start its two sides on any byte stream.
//! What flows on it is the same whatever the transport: a [`stream`], message bodies to and from it ([`body`]), byte streams
//! to and from it ([`splice`]). Below are one flush for the frames of many streams ([`buffered`]), liveness ([`ping`]), and
//! the settings of TCP ([`socket`]).

pub mod body;
pub mod buffered;
mod error;
pub mod http2;
mod limits;
pub mod ping;
pub mod socket;
pub mod splice;
pub mod stream;
mod transport;

pub use error::{ResetReason, StreamError};
pub use http2::{Acceptor, Driver, Opener, accept, open};
pub use limits::{MAX_STREAMS, STREAM_WINDOW_BYTES};
pub use stream::{
    AcceptedStream, ConnectProtocol, OpenedStream, RecvStream, Responder, ResponseFuture, SendStream,
    UnreadBytes,
};
pub use transport::{AcceptStreams, OpenStreams};
