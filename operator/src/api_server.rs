//! Calls to the API server, each with a timeout.

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use std::time::Duration;
use tokio::time::timeout;

/// Maximum duration of one call to the API server.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A call to the API server that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The API server refused the call or could not be reached.
    #[error("cannot {action} {target}")]
    Failed {
        /// The verb, for example `read`.
        action: &'static str,
        /// The object or objects, for example `Secret eu-keys`.
        target: String,
        /// What the client reports.
        source: Box<kube::Error>,
    },
    /// No answer came within [`CALL_TIMEOUT`].
    #[error("cannot {action} {target}: no answer from the API server within {} s", CALL_TIMEOUT.as_secs())]
    TimedOut {
        /// The verb.
        action: &'static str,
        /// The object or objects.
        target: String,
    },
}

impl CallError {
    /// The HTTP status of the API server's answer; `None` if there was no answer.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Failed { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            Self::TimedOut { .. } => None,
        }
    }

    /// Whether the API server understood the call and will refuse it again until something else changes.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self.code(), Some(400 | 403 | 422))
    }
}

/// Awaits one call to the API server for at most [`CALL_TIMEOUT`].
///
/// # Errors
/// [`CallError`], with `action` and `target` for its message.
pub(crate) async fn call<T>(
    action: &'static str,
    target: impl Into<String>,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, CallError> {
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(CallError::Failed { action, target: target.into(), source: Box::new(error) }),
        Err(_) => Err(CallError::TimedOut { action, target: target.into() }),
    }
}

/// The objects of kind `K` in one namespace, or in all.
pub(crate) fn scoped_api<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}
