//! Services and consumers that speak HTTP.
//!
//! [`Service`] is what a tunnel's owner would run: it echoes, streams, stalls and breaks off on demand. [`Consumer`]
//! opens connections of its own and sends bytes as they are, so that requests can be wrong in every way. [`Recorder`]
//! writes down what reaches a service, [`Http2`] speaks HTTP/2 frame by frame.

mod answer;
mod body;
mod consumer;
pub mod frames;
mod recorder;
mod routes;
mod service;
mod websocket;

pub use answer::Answer;
pub use body::{Body, pattern};
pub use consumer::{Consumer, Wire};
pub use frames::{Http2, Http2Frame};
pub use recorder::Recorder;
pub use service::Service;
pub use websocket::{Frame, WebSocket};
