//! Stops work for consumers who have left.

use super::connect::ServiceError;
use adit_mux::Responder;
use std::{pin::Pin, task::Poll};

/// Awaits a future, or fails with [`ServiceError::ConsumerLeft`] once the consumer has reset its stream.
pub(super) async fn until_consumer_leaves<T>(
    respond: &mut Responder,
    mut future: impl Future<Output = Result<T, ServiceError>> + Unpin,
) -> Result<T, ServiceError> {
    std::future::poll_fn(|cx| {
        if let Poll::Ready(done) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(done);
        }
        respond.poll_reset(cx).map(|_| Err(ServiceError::ConsumerLeft))
    })
    .await
}
