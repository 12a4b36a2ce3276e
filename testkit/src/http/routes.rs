//! What the service answers.

use super::{
    body::{Body, Frames, pattern},
    websocket,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::json;
use std::{convert::Infallible, io, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How many bytes of the pattern travel at once.
const CHUNK: u64 = 64 * 1024;

pub(super) async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let mut steps = path.trim_start_matches('/').split('/');
    let (route, first, second) = (steps.next().unwrap_or_default(), steps.next(), steps.next());
    let number = |step: Option<&str>| step.and_then(|step| step.parse::<u64>().ok()).unwrap_or(0);
    let millis = |step: Option<&str>| Duration::from_millis(number(step));
    Ok(match route {
        "" => Response::new(Body::whole("hello")),
        "request" => describe(&request),
        "echo" => echo(request),
        "upload" => upload(request).await,
        "bytes" => bytes(number(first), Some(number(first)), false),
        "chunked" => bytes(number(first), None, false),
        "cut" => bytes(number(first), Some(2 * number(first)), true),
        "slow" => {
            tokio::time::sleep(millis(first)).await;
            Response::new(Body::whole("slow"))
        }
        "hang" => std::future::pending().await,
        "drip" => drip(number(first), millis(second), "text/plain", false, |_| "drip\n".to_owned()),
        "sse" => {
            let event = |i| format!("data: {i}\n\n");
            drip(number(first), Duration::from_millis(10), "text/event-stream", true, event)
        }
        "status" => with_status(number(first)),
        "header" => with_header(first.unwrap_or_default(), second.unwrap_or_default()),
        "trailers" => with_trailers(),
        "ws" => websocket::accept(request),
        "upgrade" => upgrade(request),
        route if route.starts_with("grpc.") => grpc(request),
        _ => with_status(404),
    })
}

fn with_status(status: u64) -> Response<Body> {
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = Response::new(Body::whole(""));
    *response.status_mut() = status.unwrap_or(StatusCode::BAD_REQUEST);
    response
}

fn with_type(kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn describe(request: &Request<Incoming>) -> Response<Body> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> =
        request.headers().iter().map(|(name, value)| json!([name.as_str(), text(value)])).collect();
    let version = match request.version() {
        Version::HTTP_2 => "HTTP/2",
        Version::HTTP_10 => "HTTP/1.0",
        _ => "HTTP/1.1",
    };
    let description = json!({
        "method": request.method().as_str(), "target": request.uri().to_string(), "version": version,
        "headers": headers,
    });
    with_type("application/json", Body::whole(description.to_string()))
}

fn echo(request: Request<Incoming>) -> Response<Body> {
    let kind = request.headers().get(header::CONTENT_TYPE).cloned();
    let (frames, body) = Body::stream(None);
    tokio::spawn(copy(request.into_body(), frames, None));
    let mut response = Response::new(body);
    if let Some(kind) = kind {
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    response
}

/// Copies frames as they come. `last`: trailers in place of those that came.
async fn copy(mut from: Incoming, to: Frames, last: Option<HeaderMap>) {
    while let Some(frame) = from.frame().await {
        match frame {
            Ok(frame) if frame.is_trailers() && last.is_some() => {}
            frame => {
                if to.send(frame.map_err(io::Error::other)).await.is_err() {
                    return;
                }
            }
        }
    }
    if let Some(last) = last {
        let _ = to.send(Ok(Frame::trailers(last))).await;
    }
}

async fn upload(request: Request<Incoming>) -> Response<Body> {
    let mut body = request.into_body();
    let (mut bytes, mut intact) = (0_u64, true);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return with_status(400) };
        if let Ok(data) = frame.into_data() {
            intact &= data == pattern(bytes, bytes + data.len() as u64);
            bytes += data.len() as u64;
        }
    }
    with_type("application/json", Body::whole(json!({"bytes": bytes, "intact": intact}).to_string()))
}

fn bytes(count: u64, length: Option<u64>, cut: bool) -> Response<Body> {
    let (frames, body) = Body::stream(length);
    tokio::spawn(async move {
        let mut at = 0;
        while at < count {
            let to = count.min(at + CHUNK);
            if frames.send(Ok(Frame::data(pattern(at, to)))).await.is_err() {
                return;
            }
            at = to;
        }
        if cut {
            // What was sent has to be on its way before the connection breaks.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let _ = frames.send(Err(io::ErrorKind::ConnectionReset.into())).await;
        }
    });
    with_type("application/octet-stream", body)
}

fn drip(
    count: u64,
    pause: Duration,
    kind: &'static str,
    stay: bool,
    chunk: impl Fn(u64) -> String + Send + Sync + 'static,
) -> Response<Body> {
    let (frames, body) = Body::stream(None);
    tokio::spawn(async move {
        for i in 0..count {
            if i > 0 {
                tokio::time::sleep(pause).await;
            }
            if frames.send(Ok(Frame::data(chunk(i).into()))).await.is_err() {
                return;
            }
        }
        if stay {
            comment(&frames).await;
        }
    });
    with_type(kind, body)
}

/// Sends a comment each second until the reader is gone: an end is noticed by writing only.
async fn comment(frames: &Frames) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if frames.send(Ok(Frame::data(Bytes::from_static(b":\n\n")))).await.is_err() {
            return;
        }
    }
}

fn with_header(name: &str, value: &str) -> Response<Body> {
    let mut bytes = Vec::new();
    let mut rest = value.as_bytes();
    while let [first, after @ ..] = rest {
        let decoded =
            after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match decoded.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(&bytes)) else {
        return with_status(400);
    };
    let mut response = Response::new(Body::whole("header"));
    response.headers_mut().insert(name, value);
    response
}

fn with_trailers() -> Response<Body> {
    let (frames, body) = Body::stream(None);
    tokio::spawn(async move {
        let _ = frames.send(Ok(Frame::data(Bytes::from_static(b"body")))).await;
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("4"));
        trailers.insert("x-more", HeaderValue::from_static("yes"));
        let _ = frames.send(Ok(Frame::trailers(trailers))).await;
    });
    let mut response = with_type("text/plain", body);
    response.headers_mut().insert(header::TRAILER, HeaderValue::from_static("x-sum, x-more"));
    response
}

fn grpc(request: Request<Incoming>) -> Response<Body> {
    let (frames, body) = Body::stream(None);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    tokio::spawn(copy(request.into_body(), frames, Some(trailers)));
    with_type("application/grpc", body)
}

fn upgrade(request: Request<Incoming>) -> Response<Body> {
    let Some(token) = request.headers().get(header::UPGRADE).cloned() else { return with_status(426) };
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut io = TokioIo::new(upgraded);
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(n @ 1..) = io.read(&mut buffer).await {
            if io.write_all(&buffer[..n]).await.is_err() {
                return;
            }
        }
        let _ = io.shutdown().await;
    });
    let mut response = with_status(101);
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(header::UPGRADE, token);
    response
}
