//! One connection to a peer, from its address to the peer's first word.

use super::tls::PeerTls;
use crate::ops::metrics::{Count, LaneMetrics};
use adit_mux::{Opener, StreamError};
use std::{io, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::oneshot, time::timeout};
use tokio_rustls::TlsConnector;

/// Maximum time of a dial.
pub(crate) const MAX_DIAL_TIME: Duration = Duration::from_secs(5);

/// Why a dial has not led to a link.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// It took too long.
    #[error("the peer did not answer in {} s", MAX_DIAL_TIME.as_secs())]
    Slow,
    /// There is no connection, or TLS failed.
    #[error("the peer cannot be reached")]
    Connect(#[source] io::Error),
    /// The transport did not start.
    #[error("the link did not start")]
    Start(#[source] StreamError),
    /// The link was cut before the peer had said what it takes.
    #[error("the link was cut before the peer had said what it takes")]
    Cut,
}

/// Dials, and watches over the link until it ends. Counts what comes of it.
///
/// # Errors
/// [`DialError`].
pub(super) async fn dial(
    address: &str,
    tls: &PeerTls,
    metrics: &Arc<LaneMetrics>,
) -> Result<Opener, DialError> {
    let dialled =
        timeout(MAX_DIAL_TIME, connect(address, tls, metrics.clone())).await.unwrap_or(Err(DialError::Slow));
    metrics.count(if dialled.is_ok() { Count::PeerDials } else { Count::PeerFailures });
    dialled
}

async fn connect(address: &str, tls: &PeerTls, metrics: Arc<LaneMetrics>) -> Result<Opener, DialError> {
    let tcp = TcpStream::connect(address).await.map_err(DialError::Connect)?;
    adit_mux::socket::configure(&tcp).map_err(DialError::Connect)?;
    let io = TlsConnector::from(tls.client.clone()).connect(tls.name.clone(), tcp).await;
    let (opener, pinger, driver) =
        adit_mux::open(io.map_err(DialError::Connect)?).await.map_err(DialError::Start)?;
    let (told, answered) = oneshot::channel();
    let mut told = Some(told);
    let measured = move |_| {
        if let Some(told) = told.take() {
            // A dial that has been given up does not mind.
            let _ = told.send(());
        }
    };
    tokio::spawn(async move {
        // A peer that hangs is noticed by its silence; what was under way on the link fails then.
        let lost = tokio::select! { ended = driver => ended.is_err(), _ = pinger.between_relays().watch(measured) => true };
        if lost {
            metrics.count(Count::PeerFailures);
        }
    });
    // A peer's settings come before its first answer to a ping. Without them no Upgrade could be sent.
    answered.await.map_err(|_| DialError::Cut)?;
    Ok(opener)
}
