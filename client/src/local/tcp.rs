//! One TCP connection of a consumer.

use super::{
    connect::{Purpose, connect},
    consumer::until_consumer_leaves,
    exchange_record::ExchangeRecord,
    local_service::LocalService,
};
use adit_mux::{RecvStream, Responder};
use http::{Request, Response, StatusCode};
use std::{pin::pin, sync::Arc};

/// Connects to the service, then copies both ways until both have ended.
pub(super) async fn serve(
    local: &Arc<LocalService>,
    request: Request<RecvStream>,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    let connected = until_consumer_leaves(&mut respond, pin!(connect(&local.tunnel, Purpose::Bytes))).await;
    let io = match connected {
        Ok((io, _)) => io,
        Err(error) => {
            record.failed(local.fail(&mut respond, &error));
            return;
        }
    };
    let Ok(send) = respond.send_response(Response::new(()), false) else { return };
    record.open(StatusCode::OK);
    let spliced = adit_mux::splice::splice(io, send, request.into_body(), record.splice_count()).await;
    if let Err(error) = spliced {
        record.broke(&error);
    }
}
