//! The admin API: JSON over HTTP on a Unix socket that only the relay's own user and root can use.
//!
//! - `GET /v1/sessions`, `GET /v1/tunnels`: a page of what there is, `?limit=` (1 to 1000) and `?after=` (an id);
//! - `POST /v1/sessions/{id}/close`: ends one session; its client may come back;
//! - `POST /v1/drain`: as SIGTERM does;
//! - `/v1/complaints`: see [`complaints`].
//!
//! A POST has an empty body or `{}`, of 64 KiB at most. Errors are `application/problem+json`.

mod answer;
pub mod complaints;
mod problem;
mod socket;
mod view;

pub(crate) use problem::ProblemDetails;
pub use socket::{AdminSocket, BindError};
pub use view::{Page, SessionView, TunnelView};

use crate::ops::connection::{self, ConnectionLimits};
use adit_protocol::SessionId;
use std::{convert::Infallible, fmt, sync::Arc, task::Context, time::Duration};
use tokio_util::sync::CancellationToken;

const CONNECTION_LIMITS: ConnectionLimits =
    ConnectionLimits { connections: 16, lifetime: Duration::from_secs(60) };

/// What the admin API can read and do. Each function is called on the runtime that serves the socket, and must not
/// wait.
pub struct Admin {
    /// The sessions of this relay, in any order.
    pub sessions: Box<dyn Fn() -> Vec<SessionView> + Send + Sync>,
    /// The tunnels of this relay, in any order.
    pub tunnels: Box<dyn Fn() -> Vec<TunnelView> + Send + Sync>,
    /// Begins to close a session; `false` when there is none of this id.
    pub close_session: Box<dyn Fn(&SessionId) -> bool + Send + Sync>,
    /// Where complaints are.
    pub store: adit_store::Store,
    /// Begins to drain; more than once is the same as once.
    pub drain: Box<dyn Fn() + Send + Sync>,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Answers on `socket` until `stop`, then takes the socket's file away. At most 16 connections are open at once.
pub async fn serve(socket: AdminSocket, admin: Arc<Admin>, stop: CancellationToken) {
    let accept = move |cx: &mut Context<'_>| socket.poll_accept(cx);
    connection::serve(CONNECTION_LIMITS, accept, stop, move |request| {
        let admin = Arc::clone(&admin);
        async move { Ok::<_, Infallible>(answer::answer(request, &admin).await) }
    })
    .await;
}
