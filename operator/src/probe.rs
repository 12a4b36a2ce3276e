//! One request to an ops port, for `helm test`: the operator's image has no other program that could send it.

use bytes::Bytes;
use http::{StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{error::Error, time::Duration};

/// Maximum duration of a request with its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum size of the body of an answer.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The URL is invalid.
    #[error("{0:?} is not an http URL with a host, as in http://127.0.0.1:9090/readyz")]
    Url(String),
    /// There was no answer.
    #[error("cannot send a request to {0}")]
    Request(String, #[source] Box<dyn Error + Send + Sync>),
    /// The answer did not come in time.
    #[error("{0} did not answer within {seconds} s", seconds = PROBE_TIMEOUT.as_secs())]
    TimedOut(String),
    /// The status of the answer is not 200.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// The URL.
        url: String,
        /// The status.
        status: StatusCode,
        /// The body.
        body: String,
    },
}

/// Sends a GET request to an `http` URL. Returns the body of an answer with the status 200.
///
/// # Errors
/// [`ProbeError`].
pub async fn probe(url: &str) -> Result<String, ProbeError> {
    let uri: Option<Uri> = url.parse().ok();
    let uri = uri.filter(|uri| uri.host().is_some() && uri.scheme_str() == Some("http"));
    let uri = uri.ok_or_else(|| ProbeError::Url(url.to_owned()))?;
    let answer = tokio::time::timeout(PROBE_TIMEOUT, get(uri)).await;
    let (status, body) = answer
        .map_err(|_| ProbeError::TimedOut(url.to_owned()))?
        .map_err(|error| ProbeError::Request(url.to_owned(), error))?;
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(ProbeError::Status { url: url.to_owned(), status, body })
    }
}

async fn get(uri: Uri) -> Result<(StatusCode, String), Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.get(uri).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    async fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).await.unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        url
    }

    #[tokio::test]
    async fn only_a_200_succeeds() {
        let ready = server("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nready\n").await;
        assert_eq!(probe(&ready).await.unwrap(), "ready\n");
        let waiting = server("HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\n\r\nwaiting").await;
        let error = probe(&waiting).await.unwrap_err();
        assert!(error.to_string().ends_with("answered 503 Service Unavailable: waiting"), "{error}");
        assert!(matches!(probe(&server("").await).await, Err(ProbeError::Request(..))));
    }

    #[tokio::test]
    async fn other_urls_are_refused() {
        for bad in ["", "x", "https://h/", "http://", "/readyz"] {
            assert!(matches!(probe(bad).await, Err(ProbeError::Url(_))), "{bad}");
        }
    }
}
