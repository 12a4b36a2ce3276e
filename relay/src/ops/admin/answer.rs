//! One call of the admin API.

use super::{
    Admin,
    complaints::{self, NewComplaint, NewDecision},
    problem::ProblemDetails,
    view::{HasId, Page},
};
use crate::ops::clock::now;
use adit_protocol::SessionId;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use std::error::Error;

/// The most bytes of a call's body.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// The most items of a page, and how many there are unless the call says.
const MAX_ITEMS: usize = 1000;

/// The empty body of a POST. Unknown fields are refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmptyBody {}

/// Answers one call.
pub(super) async fn answer<B>(request: Request<B>, admin: &Admin) -> Response<Bytes>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (parts, body) = request.into_parts();
    carry_out(&parts, body, admin).await.unwrap_or_else(ProblemDetails::into_response)
}

async fn carry_out<B>(parts: &Parts, body: B, admin: &Admin) -> Result<Response<Bytes>, ProblemDetails>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let path = parts.uri.path();
    let steps: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    match steps[..] {
        ["v1", "sessions"] => method(parts, &Method::GET).and_then(|()| page(parts, (admin.sessions)())),
        ["v1", "tunnels"] => method(parts, &Method::GET).and_then(|()| page(parts, (admin.tunnels)())),
        ["v1", "sessions", id, "close"] => {
            method(parts, &Method::POST)?;
            let id: SessionId = id.parse().map_err(|error| bad_request(format!("session: {error}")))?;
            read::<EmptyBody, _>(parts, body).await?;
            if (admin.close_session)(&id) {
                Ok(accepted())
            } else {
                Err(ProblemDetails::new(
                    StatusCode::NOT_FOUND,
                    format!("session: this relay has no session {id}"),
                ))
            }
        }
        ["v1", "complaints"] if parts.method == Method::POST => {
            let new = read::<NewComplaint, _>(parts, body).await?;
            json_response(&complaints::file(&admin.store, new, now()).await?, StatusCode::CREATED)
        }
        ["v1", "complaints"] => {
            method(parts, &Method::GET)?;
            let range = range(parts.uri.query().unwrap_or_default())?;
            let items = complaints::list(&admin.store, range.after, range.limit, now()).await?;
            let next =
                (items.len() == range.limit).then(|| items.last().map(|last| last.id.clone())).flatten();
            json_response(&Page { items, next }, StatusCode::OK)
        }
        ["v1", "complaints", id] => {
            method(parts, &Method::GET)?;
            json_response(&complaints::one(&admin.store, id, now()).await?, StatusCode::OK)
        }
        ["v1", "complaints", id, "decision"] => {
            method(parts, &Method::POST)?;
            let new = read::<NewDecision, _>(parts, body).await?;
            json_response(&complaints::decide(&admin.store, id, new, now()).await?, StatusCode::OK)
        }
        ["v1", "drain"] => {
            method(parts, &Method::POST)?;
            read::<EmptyBody, _>(parts, body).await?;
            (admin.drain)();
            Ok(accepted())
        }
        _ => Err(ProblemDetails::new(
            StatusCode::NOT_FOUND,
            "path: /v1/sessions, /v1/tunnels, /v1/sessions/{id}/close, /v1/complaints, /v1/drain",
        )),
    }
}

fn method(parts: &Parts, allowed: &Method) -> Result<(), ProblemDetails> {
    if parts.method == *allowed {
        return Ok(());
    }
    Err(ProblemDetails::new(
        StatusCode::METHOD_NOT_ALLOWED,
        format!("method: it must be {allowed} for this path"),
    ))
}

fn json_response(value: &impl Serialize, status: StatusCode) -> Result<Response<Bytes>, ProblemDetails> {
    let json = serde_json::to_vec(value)
        .map_err(|error| ProblemDetails::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?;
    let mut response = Response::new(Bytes::from(json));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn bad_request(detail: String) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST, detail)
}

fn accepted() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(b"{}"));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn read<T, B>(parts: &Parts, body: B) -> Result<T, ProblemDetails>
where
    T: for<'de> Deserialize<'de>,
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let too_large =
        || ProblemDetails::new(StatusCode::PAYLOAD_TOO_LARGE, "body: it must have at most 65536 bytes");
    if body.size_hint().lower() > MAX_BODY_BYTES as u64 {
        return Err(too_large());
    }
    let bytes = match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(bytes) => bytes.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(bad_request("body: it was cut off".to_owned())),
    };
    if bytes.is_empty() {
        return serde_json::from_str("{}").map_err(|error| bad_request(format!("body: {error}")));
    }
    if let Some(kind) = parts.headers.get(header::CONTENT_TYPE)
        && !kind.as_bytes().starts_with(b"application/json")
        // What curl says with --data and no more.
        && kind != "application/x-www-form-urlencoded"
    {
        return Err(ProblemDetails::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content-type: it must be application/json",
        ));
    }
    serde_json::from_slice(&bytes).map_err(|error| bad_request(format!("body: {error}")))
}

/// The page that a call asks for.
#[derive(Debug, PartialEq, Eq)]
struct PageRange<'a> {
    limit: usize,
    after: Option<&'a str>,
}

fn range(query: &str) -> Result<PageRange<'_>, ProblemDetails> {
    let mut range = PageRange { limit: MAX_ITEMS, after: None };
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        match parameter.split_once('=') {
            Some(("limit", value)) => {
                let limit = value.parse().ok().filter(|limit| (1..=MAX_ITEMS).contains(limit));
                range.limit = limit
                    .ok_or_else(|| bad_request(format!("limit: {value:?} is not a number from 1 to 1000")))?;
            }
            Some(("after", value)) => {
                let _: SessionId = value.parse().map_err(|error| bad_request(format!("after: {error}")))?;
                range.after = Some(value);
            }
            _ => {
                let name = parameter.split('=').next().unwrap_or_default();
                return Err(bad_request(format!("{name:?}: unknown parameter; there are limit and after")));
            }
        }
    }
    Ok(range)
}

fn page<T: HasId + Serialize>(parts: &Parts, mut items: Vec<T>) -> Result<Response<Bytes>, ProblemDetails> {
    let range = range(parts.uri.query().unwrap_or_default())?;
    items.sort_by(|a, b| a.id().cmp(b.id()));
    if let Some(after) = range.after {
        items.retain(|item| item.id() > after);
    }
    let next = (items.len() > range.limit).then(|| items[range.limit - 1].id().to_owned());
    items.truncate(range.limit);
    json_response(&Page { items, next }, StatusCode::OK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        assert_eq!(range("").unwrap(), PageRange { limit: 1000, after: None });
        assert_eq!(range("limit=5&after=s-1&").unwrap(), PageRange { limit: 5, after: Some("s-1") });
        for (query, field) in [
            ("limit=0", "limit"),
            ("limit=-1", "limit"),
            ("limit=1001", "limit"),
            ("limit=x", "limit"),
            ("after=", "after"),
            ("after=A", "after"),
            ("page=-1", "\"page\""),
            ("limit", "\"limit\""),
        ] {
            let problem = range(query).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.starts_with(&format!("{field}:")), "{query}: {}", problem.detail);
        }
    }
}
