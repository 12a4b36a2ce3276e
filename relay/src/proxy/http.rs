//! One request of a consumer, from its head to the head of its answer.

use super::{
    Proxy,
    answer::{Answer, Answered},
    consumer::Consumer,
    error_page::Requester,
    headers::{self, BadRequest, CheckedRequest, Intent, Role},
    redirect,
    refusal::Refusal,
    request_record::RequestRecord,
    retry::{self, Attempt, AttemptError, RetryPolicy},
    upgrade,
    upload::Upload,
};
use crate::{
    config::PlainHttp,
    ops::{metrics::Count, telemetry::Telemetry},
    routing::{
        route::{self, Route},
        upstream::{Failure, Upstream},
    },
};
use adit_mux::{RecvStream, body::StreamBody};
use adit_protocol::{Code, Endpoint, stream};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header, request, response};
use http_body::Body;
use hyper::{body::Incoming, upgrade::OnUpgrade};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// Answers one request. Whatever happens, the consumer gets an answer.
pub(crate) async fn answer(
    proxy: Arc<Proxy>,
    consumer: &Arc<Consumer>,
    request: Request<Incoming>,
) -> Response<Answer> {
    let from_h1 = request.version() < Version::HTTP_2;
    let mut closes = from_h1 && (proxy.lifecycle.draining.is_cancelled() || !consumer.permit.is_inside());
    let asker = Requester::of(request.method(), request.headers());
    let mut record = Box::new(RequestRecord::begin(&proxy, consumer, &request));
    let mut response = match serve(&proxy, consumer, request, &mut record).await {
        Ok(Answered::Message(parts, mut recv)) => {
            record.set_status(parts.status);
            record.measure(&parts.headers, &mut recv);
            Response::from_parts(parts, Answer::Stream(StreamBody::new(recv, None), record))
        }
        Ok(Answered::Own(response)) => {
            record.set_status(response.status());
            response
        }
        Ok(Answered::Switched(parts, on, send, recv)) => {
            record.set_status(parts.status);
            tokio::spawn(upgrade::copy(on, send, recv, record));
            return Response::from_parts(parts, Answer::Page(Bytes::new()));
        }
        Err(mut refusal) => {
            // A session that was lost by a suspension is not one that comes back.
            if matches!(refusal.code, Code::SessionLost | Code::TunnelOffline) && record.is_suspended() {
                refusal = Code::Suspended.into();
            }
            if refusal.is_bad_request() {
                proxy.telemetry.lane().metrics.count(Count::BadRequests);
            }
            // Where a request that breaks a rule ends is not for sure: nothing behind it is read as another one.
            closes |= from_h1 && refusal.is_bad_request();
            let response = refusal.page(&proxy, asker, record.host(), record.id(), record.begun_us());
            record.refused(refusal.code, response.status(), response.body().page_len());
            response
        }
    };
    if closes {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

async fn serve(
    proxy: &Arc<Proxy>,
    consumer: &Consumer,
    request: Request<Incoming>,
    record: &mut RequestRecord,
) -> Result<Answered, Refusal> {
    if !consumer.permit.is_inside() {
        return Err(Code::Overloaded.into());
    }
    let (mut parts, body) = request.into_parts();
    let CheckedRequest { target, intent } = headers::check(&parts, &consumer.downstream)?;
    record.set_target(target.clone());
    if let Some(answer) = proxy.challenges.http(target.host(), parts.uri.path()) {
        return Ok(Answered::Own(Response::new(Answer::Page(answer))));
    }
    if consumer.server_name.as_ref().is_some_and(|name| name != target.host()) {
        return Err(BadRequest::misdirected().into());
    }
    if !consumer.downstream.is_secure() && proxy.plain_http == PlainHttp::Redirect {
        return Ok(Answered::Own(redirect::response(proxy, &target, &parts.uri)));
    }
    let route = match route::find(&proxy.routing, Endpoint::Host(target.host().clone())).await {
        Ok(route) => route,
        Err(_) if proxy.suspensions.was_suspended(&Endpoint::Host(target.host().clone())) => {
            return Err(Code::Suspended.into());
        }
        Err(none) => return Err(none.into()),
    };
    record.set_owner(route.account(), route.tunnel());
    if proxy.suspensions.is_suspended(route.account(), route.endpoint()) {
        return Err(Code::Suspended.into());
    }
    let usage = route.usage(&proxy.accounts, &proxy.live);
    usage.check_request(Instant::now())?;
    record.hold(usage.clone(), usage.try_stream()?);
    let limits = usage.limits();
    if let Some(length) = body.size_hint().exact() {
        usage.check_body(length)?;
    }
    let from_h1 = parts.version < Version::HTTP_2;
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    headers::forward(&mut parts, &consumer.downstream, &target);
    parts.headers.insert(stream::REQUEST_ID, record.id().to_value());
    let patience = limits.response_timeout;
    let mut answered = match (intent, on_upgrade) {
        (Intent::Upgrade(token), Some(on)) => {
            let sent = within(patience, None, upgrade::send(proxy, &route, &parts, &token, record)).await;
            let (mut head, send, recv) = sent??;
            let ignored = upgrade::was_ignored(&mut head, from_h1)?;
            if head.status == StatusCode::OK && !ignored {
                clean(&mut head, Role::Upgrade, target.host(), &proxy.routing.domain)?;
                upgrade::answered((head, send, recv), on, &token, from_h1)
            } else {
                Answered::Message(head, recv)
            }
        }
        _ => {
            let upload = (!body.is_end_stream()).then(|| record.expect_upload());
            let sent = send(proxy, &route, parts, body, limits.body_bytes, record);
            let (parts, recv) = within(patience, upload.as_deref(), sent).await??;
            Answered::Message(parts, recv)
        }
    };
    if let Answered::Message(parts, _) = &mut answered {
        clean(parts, Role::Request, target.host(), &proxy.routing.domain)?;
    }
    Ok(answered)
}

/// Waits for an answer: so long, and again so long whenever the consumer has sent more of its body meanwhile.
///
/// # Errors
/// 504.
async fn within<T>(
    patience: Duration,
    upload: Option<&Upload>,
    answer: impl Future<Output = T>,
) -> Result<T, Refusal> {
    let (mut answer, mut before) = (std::pin::pin!(answer), 0);
    loop {
        if let Ok(answered) = timeout(patience, answer.as_mut()).await {
            return Ok(answered);
        }
        let sent = upload.map_or(0, |upload| upload.bytes.load(Ordering::Relaxed));
        if sent == before {
            return Err(Code::ServiceTimeout.into());
        }
        before = sent;
    }
}

/// Checks and cleans the head of a response that came over a stream.
fn clean(parts: &mut response::Parts, role: Role, host: &str, domain: &str) -> Result<(), Refusal> {
    parts.version = Version::HTTP_11;
    match headers::check_response(parts, role, host, domain) {
        Ok(headers::Answer::Service) => Ok(()),
        Ok(headers::Answer::Client(code)) => Err(code.into()),
        Err(_) => Err(Code::ServiceProtocol.into()),
    }
}

/// Sends a request, again where that is allowed, and waits for the head of its answer.
async fn send(
    proxy: &Proxy,
    route: &Route,
    parts: request::Parts,
    body: Incoming,
    max_body_bytes: Option<u64>,
    record: &mut RequestRecord,
) -> Result<(response::Parts, RecvStream), Refusal> {
    let mut attempt = RequestAttempt {
        telemetry: &proxy.telemetry,
        method: parts.method.clone(),
        head: Some(Request::from_parts(parts, ())),
        has_body: !body.is_end_stream(),
        body: Some(body),
        max_body_bytes,
        record,
    };
    let (answer, upstream) = retry::send(proxy, route, &mut attempt).await?;
    record.through(upstream);
    Ok(answer)
}

/// A request on its way to an upstream.
struct RequestAttempt<'a> {
    telemetry: &'a Telemetry,
    method: Method,
    /// Taken by the last attempt.
    head: Option<Request<()>>,
    has_body: bool,
    /// Taken by the first attempt that opens a stream, if there is a body.
    body: Option<Incoming>,
    max_body_bytes: Option<u64>,
    record: &'a mut RequestRecord,
}

impl Attempt for RequestAttempt<'_> {
    type Answer = (response::Parts, RecvStream);
    type Error = Refusal;

    async fn run(
        &mut self,
        upstream: &Upstream,
        is_last: bool,
    ) -> Result<Self::Answer, AttemptError<Refusal>> {
        let head = if is_last { self.head.take() } else { self.head.clone() };
        let head = head.expect("only the last attempt takes it");
        let (response, send) = upstream.open(self.telemetry, head, !self.has_body).await?;
        let body = if self.has_body { self.body.take() } else { None };
        let upload = body.map(|body| self.record.upload(body, self.max_body_bytes, send));
        match response.await {
            Ok(response) => Ok(response.into_parts()),
            Err(error) => match upload.and_then(|upload| upload.refused.get().cloned()) {
                Some(bad) => Err(AttemptError::Final(bad.into())),
                None => Err(Failure::of_stream(&error).into()),
            },
        }
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::of_request(&self.method, self.body.is_none())
    }
}
