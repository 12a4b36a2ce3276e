//! The protocol between an Adit client and a relay, without IO and without a clock.
//!
//! A client dials a relay over TLS 1.3 with the ALPN name [`ALPN`]. It sends one [`Hello`] as a length-prefixed
//! JSON [`frame`]; the relay answers with one [`Reply`]. After a [`Welcome`] both sides speak HTTP/2 with the roles
//! turned round: the relay is the HTTP/2 client (RFC 9113), every stream that it opens is one request, WebSocket or
//! TCP connection of a consumer. The first stream carries [`control`] messages as JSON lines in both directions.
//! The headers of all other streams are in [`stream`]. How a tunnel's options travel, and what a further kind of tunnel takes, is
//! told by [`options`] and [`endpoint`].

pub mod account;
pub mod code;
pub mod control;
pub mod endpoint;
pub mod frame;
pub mod hello;
pub mod id;
pub mod name;
pub mod options;
pub mod possession;
pub mod stream;
pub mod suspension;

pub use account::Account;
pub use code::Code;
pub use control::{ToClient, ToRelay};
pub use endpoint::{Endpoint, Kind};
pub use hello::{
    Hello, HelloRedirect, HelloRefusal, OpenTunnel, OpenedTunnel, Proof, RefusedTunnel, Reply, Welcome,
};
pub use id::{InstanceId, RelayId, SessionId, TunnelId};
pub use name::Name;
pub use options::TunnelOptions;
pub use suspension::SuspensionNotice;

/// The ALPN protocol name (RFC 7301) by which a relay tells a client's connection from a consumer's.
pub const ALPN: &[u8] = b"adit/1";

/// The only version of the protocol so far, as it stands in [`Hello::versions`].
pub const VERSION: u32 = 1;

/// The multiplexer HTTP/2, the only one so far, as it stands in [`Hello::mux`].
pub const MUX_H2: &str = "h2";

/// The first label of the host that clients dial: `connect.<region domain>`.
pub const CONNECT_LABEL: &str = "connect";
