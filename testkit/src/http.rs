//! Services and consumers that speak HTTP.
//!
//! [`Service`] is what a tunnel's owner would run: it echoes, streams, stalls and breaks off on demand. [`Consumer`]
//! opens connections of its own and sends bytes as they are, so that requests can be wrong in every way. [`RecordingService`]
//! writes down what reaches a service, [`Http2Connection`] speaks HTTP/2 frame by frame.

mod body;
mod consumer;
pub mod frames;
mod recording_service;
mod response;
mod routes;
mod service;
mod websocket;

pub use body::{Body, pattern};
pub use consumer::{Consumer, ConsumerConnection};
pub use frames::{Http2Connection, Http2Frame};
pub use recording_service::RecordingService;
pub use response::HttpResponse;
pub use service::Service;
pub use websocket::{WebSocket, WebSocketFrame};
