//! Asks a running relay, for `adit-relay admin`.

use super::table;
use crate::cli::{CliError, ExitReason};
use crate::ops::admin::{Page, ProblemDetails, SessionView, TunnelView};
use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::net::UnixStream;

/// The most bytes of an answer.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long one call may take.
const MAX_CALL_TIME: Duration = Duration::from_secs(10);

/// A call of the admin API that failed.
#[derive(Debug, thiserror::Error)]
pub enum AdminClientError {
    /// Nobody answers on the socket.
    #[error("cannot reach a relay at {}", socket.display())]
    Connect {
        /// Where.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The relay refused the call.
    #[error("the relay refused: {detail} ({status})")]
    Refused {
        /// The status.
        status: u16,
        /// The relay's own words.
        detail: String,
    },
    /// The connection broke, or the answer is not one of the admin API.
    #[error("the relay's answer is not complete")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No answer within 10 s.
    #[error("the relay did not answer within 10 s")]
    Timeout,
}

impl From<AdminClientError> for CliError {
    fn from(error: AdminClientError) -> Self {
        let (exit, code) = match &error {
            AdminClientError::Connect { .. } | AdminClientError::Timeout => {
                (ExitReason::Unreachable, "relay_unreachable")
            }
            AdminClientError::Refused { .. } => (ExitReason::Refused, "admin_refused"),
            AdminClientError::Answer(_) => (ExitReason::Unexpected, "admin_answer"),
        };
        let next = match &error {
            AdminClientError::Connect { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                "run it as the relay's user, or with sudo: the socket is the relay's own"
            }
            AdminClientError::Connect { .. } => {
                "check that the relay runs, and name its socket with --socket"
            }
            AdminClientError::Refused { .. } => {
                "adit-relay admin sessions; adit-relay admin tunnels: what there is"
            }
            AdminClientError::Answer(_) => "use the adit-relay of the version that runs, then try again",
            AdminClientError::Timeout => "read the relay's log, then try again",
        };
        let failure = Self::new(exit, code, error.to_string(), next);
        match std::error::Error::source(&error) {
            Some(source) => failure.because(source),
            None => failure,
        }
    }
}

/// All sessions of the relay at `socket`, page by page.
///
/// # Errors
/// [`AdminClientError`].
pub async fn sessions(socket: &Path) -> Result<Vec<SessionView>, AdminClientError> {
    all(socket, "/v1/sessions").await
}

/// All tunnels of the relay at `socket`, page by page.
///
/// # Errors
/// [`AdminClientError`].
pub async fn tunnels(socket: &Path) -> Result<Vec<TunnelView>, AdminClientError> {
    all(socket, "/v1/tunnels").await
}

/// Calls a POST of the admin API.
///
/// # Errors
/// [`AdminClientError`].
pub async fn post(socket: &Path, path: &str) -> Result<(), AdminClientError> {
    send::<serde_json::Value>(socket, Method::POST, path, String::new()).await.map(drop)
}

/// Prints the sessions as a table or JSON.
///
/// # Errors
/// [`AdminClientError`].
pub async fn print_sessions(socket: &Path, json: bool, now: u64) -> Result<String, AdminClientError> {
    let sessions = sessions(socket).await?;
    Ok(if json { to_json(&sessions) } else { table::sessions(&sessions, now) })
}

/// Prints the tunnels as a table or JSON.
///
/// # Errors
/// [`AdminClientError`].
pub async fn print_tunnels(socket: &Path, json: bool, now: u64) -> Result<String, AdminClientError> {
    let tunnels = tunnels(socket).await?;
    Ok(if json { to_json(&tunnels) } else { table::tunnels(&tunnels, now) })
}

/// JSON for scripts.
pub(super) fn to_json(items: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(items).expect("what this program shows is JSON");
    text.push('\n');
    text
}

pub(super) async fn all<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<Vec<T>, AdminClientError> {
    let mut items = Vec::new();
    let mut query = String::new();
    loop {
        let mut page: Page<T> = send(socket, Method::GET, &format!("{path}{query}"), String::new()).await?;
        let empty = page.items.is_empty();
        items.append(&mut page.items);
        match page.next {
            Some(next) if !empty => query = format!("?after={next}"),
            _ => return Ok(items),
        }
    }
}

/// One call; a body that is not empty is JSON.
pub(super) async fn send<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> Result<T, AdminClientError> {
    tokio::time::timeout(MAX_CALL_TIME, exchange_json(socket, method, path, body))
        .await
        .unwrap_or(Err(AdminClientError::Timeout))
}

async fn exchange_json<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    body: String,
) -> Result<T, AdminClientError> {
    let connected = UnixStream::connect(socket).await;
    let stream =
        connected.map_err(|source| AdminClientError::Connect { socket: socket.to_owned(), source })?;
    let broken = |error: hyper::Error| AdminClientError::Answer(error.into());
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let exchange = async {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "adit-relay");
        let request = request.header(header::CONTENT_TYPE, "application/json");
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| AdminClientError::Answer(error.into()))?;
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
            .collect()
            .await
            .map_err(AdminClientError::Answer)?;
        let body = body.to_bytes();
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|error| AdminClientError::Answer(error.into()));
        }
        let problem: ProblemDetails =
            serde_json::from_slice(&body).map_err(|error| AdminClientError::Answer(error.into()))?;
        Err(AdminClientError::Refused { status: problem.status, detail: problem.detail })
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end as soon as the answer is there.
        _ = &mut connection => exchange.await,
    }
}
