//! One WebSocket, or another Upgrade (RFC 9110 section 7.8), of a consumer.

use super::{
    connect::{Purpose, ServiceError, connect},
    consumer::until_consumer_leaves,
    exchange_record::ExchangeRecord,
    headers,
    http1::{RequestBody, ServiceConnection},
    io::Prefixed,
    local_service::{LocalService, refuse},
};
use adit_mux::{ConnectProtocol, RecvStream, Responder};
use adit_protocol::{Code, stream};
use base64::{Engine, prelude::BASE64_STANDARD};
use http::{
    HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE},
    request,
};
use http_body::Body;
use std::{pin::pin, sync::Arc};

const NOT_FOR_UPGRADES: [HeaderName; 2] = [http::header::CONTENT_LENGTH, http::header::TRANSFER_ENCODING];

/// Asks the service to switch protocols, then copies both ways until both have ended.
pub(super) async fn serve(
    local: &Arc<LocalService>,
    request: Request<RecvStream>,
    mut respond: Responder,
    record: &mut ExchangeRecord,
) {
    let (mut head, from) = request.into_parts();
    let Some(own_key) = prepare(&mut head, local.tunnel.spec.host_header.as_deref()) else {
        record.status(refuse(&mut respond, StatusCode::BAD_REQUEST, Code::BadRequest));
        return;
    };
    let asked = until_consumer_leaves(&mut respond, pin!(ask(local, head))).await;
    let (answer, mut conn) = match asked {
        Ok(answer) => answer,
        Err(error) => {
            record.failed(local.fail(&mut respond, &error));
            return;
        }
    };
    let (mut head, body) = answer.into_parts();
    headers::from_service(&mut head);
    if head.status != StatusCode::SWITCHING_PROTOCOLS {
        record.status(head.status);
        if head.status.is_success() {
            // On this stream a success alone would say that the service has switched.
            head.headers.insert(stream::UPGRADE_IGNORED, HeaderValue::from_static("1"));
        }
        let end = body.is_end_stream();
        let Ok(to) = respond.send_response(Response::from_parts(head, ()), end) else { return };
        if !end
            && let Err(error) = conn.drive_until(pin!(adit_mux::body::send(record.counted(body), to))).await
        {
            record.broke(&error);
        }
        return;
    }
    head.status = StatusCode::OK;
    for name in NOT_FOR_UPGRADES {
        head.headers.remove(name);
    }
    if own_key {
        head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    }
    let (read_ahead, io) = match conn.into_bytes().await {
        Ok(parts) => parts,
        Err(error) => {
            record.failed(local.fail(&mut respond, &error));
            return;
        }
    };
    let Ok(send) = respond.send_response(Response::from_parts(head, ()), false) else { return };
    record.open(StatusCode::SWITCHING_PROTOCOLS);
    let io = Prefixed::new(read_ahead, io);
    if let Err(error) = adit_mux::splice::splice(io, send, from, record.splice_count()).await {
        record.broke(&error);
    }
}

/// Makes an extended CONNECT a GET with Upgrade. Answers whether the WebSocket key is the client's own: a consumer that
/// speaks HTTP/2 sends none (RFC 8441 section 5). `None` when the protocol's name is none.
fn prepare(head: &mut request::Parts, host_header: Option<&str>) -> Option<bool> {
    let protocol =
        head.extensions.get::<ConnectProtocol>().map_or_else(Default::default, |p| p.as_str().to_owned());
    let upgrade = HeaderValue::try_from(&protocol).ok().filter(|_| is_protocol(&protocol))?;
    headers::to_http1(head, host_header, false);
    head.method = Method::GET;
    for name in NOT_FOR_UPGRADES {
        head.headers.remove(name);
    }
    let own_key = protocol.eq_ignore_ascii_case("websocket") && !head.headers.contains_key(SEC_WEBSOCKET_KEY);
    if own_key {
        let key = BASE64_STANDARD.encode(rand::random::<[u8; 16]>());
        let key = HeaderValue::try_from(key).expect("base64 is a header's value");
        head.headers.insert(SEC_WEBSOCKET_KEY, key);
    }
    head.headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    head.headers.insert(UPGRADE, upgrade);
    Some(own_key)
}

/// Whether it is a protocol's name, with or without a version (RFC 9110 section 7.8).
fn is_protocol(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
    };
    text.len() <= 64 && text.splitn(2, '/').all(token)
}

async fn ask(
    local: &LocalService,
    head: request::Parts,
) -> Result<(Response<hyper::body::Incoming>, Box<ServiceConnection>), ServiceError> {
    let (io, _) = connect(&local.tunnel, Purpose::Bytes).await?;
    let mut conn = ServiceConnection::new(io).await?;
    let answer = conn.send_once(Request::from_parts(head, RequestBody::Empty)).await?;
    Ok((answer, conn))
}
