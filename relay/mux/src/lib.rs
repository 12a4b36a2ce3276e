//! The multiplexed connection between a client and a relay, or between two relays.
//!
//! It is HTTP/2 (RFC 9113) on any byte stream, spoken by the `h2` crate. The opener ([`open`]) opens every stream, the
//! acceptor ([`accept`]) takes them: on a tunnel the relay is the opener although the client dialled. This crate has
//! the settings that both ends need, of TCP too ([`socket`]), one flush for the frames of many streams ([`buffered`]),
//! liveness ([`ping`]), and the copies: a message body to and from a stream ([`body`]), a byte stream to and from a stream
//! ([`splice`]).

pub mod body;
pub mod buffered;
pub mod ping;
pub mod socket;
pub mod splice;

use buffered::{Buffered, Flusher};
use bytes::Bytes;
use futures_util::Future;
use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};

/// The most streams that a session carries at once, its control stream not counted.
pub const MAX_STREAMS: usize = 1000;

/// How many bytes of one stream may be unread: what a reader that stalls can hold at the other end.
pub const STREAM_WINDOW_BYTES: u32 = 512 * 1024;

/// How many bytes of a connection may be unread. HTTP/2's largest window: [`MAX_STREAMS`] readers that all stall cannot
/// use it up, so none of them slows another stream.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// The largest DATA frame: large frames cost fewer wake-ups and TLS records of full size.
const FRAME_BYTES: u32 = 64 * 1024;

/// How many bytes wait in one stream's send buffer before [`body::send`] is made to wait.
const SEND_BUFFER_BYTES: usize = 256 * 1024;

/// The most bytes of decoded headers of one message, each field with 32 bytes of overhead (RFC 9113 section 6.5.2).
const HEADER_LIST_BYTES: u32 = 64 * 1024;

/// The streams that consumers reset are remembered for this long, so that late frames of theirs do no harm.
const RESET_MEMORY: Duration = Duration::from_secs(10);

/// Consumers may all go away at once: no number of resets ends a connection whose other end is authenticated.
const RESETS_REMEMBERED: usize = 4 * MAX_STREAMS;

/// h2 charges small DATA frames against a budget of the connection's whole life. Both ends are authenticated and never
/// send empty ones, so the budget is as large as can be.
const DATA_FRAME_BUDGET: usize = usize::MAX / 2;

/// Opens streams on a connection.
pub type Opener = h2::client::SendRequest<Bytes>;

/// The side that opens streams. The returned [`Driver`] has to be polled for anything to happen.
///
/// # Errors
/// When the byte stream fails.
pub async fn open<T>(io: T) -> Result<(Opener, ping::Pinger, Driver<T>), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (io, flusher) = Buffered::new(io);
    let traffic = io.traffic();
    let (opener, mut connection) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(None)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .enable_push(false)
        .handshake(io)
        .await?;
    let pinger = ping::Pinger::new(connection.ping_pong().expect("taken for the first time"), traffic);
    Ok((opener, pinger, Driver { connection, flusher }))
}

/// The side that takes streams: poll [`Acceptor::next`] until it ends.
///
/// # Errors
/// When the byte stream fails, or its first bytes are not HTTP/2's.
pub async fn accept<T>(io: T) -> Result<(Acceptor<T>, ping::Pinger), h2::Error>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (io, flusher) = Buffered::new(io);
    let traffic = io.traffic();
    let handshake = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        // The opener keeps to MAX_STREAMS. A stream that it resets counts here until its task has noticed.
        .max_concurrent_streams(RESETS_REMEMBERED as u32)
        .max_concurrent_reset_streams(RESETS_REMEMBERED)
        .max_pending_accept_reset_streams(RESETS_REMEMBERED)
        .reset_stream_duration(RESET_MEMORY)
        .max_local_error_reset_streams(None)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .enable_connect_protocol()
        .handshake(io);
    let mut handshake = std::pin::pin!(handshake);
    let mut connection = std::future::poll_fn(|cx| {
        let polled = handshake.as_mut().poll(cx);
        flusher.poll(cx);
        polled
    })
    .await?;
    let pinger = ping::Pinger::new(connection.ping_pong().expect("taken for the first time"), traffic);
    Ok((Acceptor { connection, flusher }, pinger))
}

/// The accepting side's connection.
pub struct Acceptor<T> {
    connection: h2::server::Connection<Buffered<T>, Bytes>,
    flusher: Flusher<T>,
}

/// One stream that the other side has opened.
pub type Accepted = (http::Request<h2::RecvStream>, h2::server::SendResponse<Bytes>);

impl<T: AsyncRead + AsyncWrite + Unpin> Acceptor<T> {
    /// The next stream, or `None` once the connection has ended cleanly. All streams make progress only while this is polled.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Option<Result<Accepted, h2::Error>> {
        std::future::poll_fn(|cx| {
            let polled = self.connection.poll_accept(cx);
            self.flusher.poll(cx);
            polled
        })
        .await
    }

    /// Says that no further streams are taken (GOAWAY); those that are open go on.
    pub fn graceful_shutdown(&mut self) {
        self.connection.graceful_shutdown();
    }
}

/// The opening side's connection: a future that ends with it. All streams make progress only while it is polled.
pub struct Driver<T: AsyncRead + AsyncWrite + Unpin> {
    connection: h2::client::Connection<Buffered<T>, Bytes>,
    flusher: Flusher<T>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Future for Driver<T> {
    type Output = Result<(), h2::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let polled = Pin::new(&mut self.connection).poll(cx);
        self.flusher.poll(cx);
        polled
    }
}
