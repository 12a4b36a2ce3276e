//! The service that `make run` publishes: one page that shows what a request looks like once it has come through.
//!
//! It listens on a free port of the loopback interface and prints the address as its first line.

use std::convert::Infallible;
use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(async move {
            let service = service_fn(|request| async move { Ok::<_, Infallible>(answer(&request)) });
            // A consumer that goes away in the middle is nothing to report.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

/// The page as HTML for browsers and as text for everything else.
fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let browser = request
        .headers()
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"));
    let line = format!("{} {} {:?}", request.method(), request.uri(), request.version());
    let (kind, body) = if browser {
        ("text/html; charset=utf-8", page(&line, request.headers()))
    } else {
        ("text/plain; charset=utf-8", text(&line, request.headers()))
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    response.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    response
}

fn text(line: &str, headers: &HeaderMap) -> String {
    let mut text = format!("It works. This is what reached the service:\n\n{line}\n");
    for (name, value) in headers {
        let _ = writeln!(text, "{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    text
}

fn page(line: &str, headers: &HeaderMap) -> String {
    let mut rows = String::new();
    for (name, value) in headers {
        let value = escaped(&String::from_utf8_lossy(value.as_bytes()));
        let _ = write!(rows, "<tr><th scope=\"row\">{name}</th><td>{value}</td></tr>");
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>It works</title><style>\
         :root{{color-scheme:light dark;font:1rem/1.5 system-ui,sans-serif}}\
         main{{max-width:50rem;margin:3rem auto;padding:0 1rem}}code,td{{overflow-wrap:anywhere}}\
         th{{text-align:left;padding-right:1.5rem;vertical-align:top;font-weight:600}}</style>\
         <main><h1>It works</h1><p>This page comes from a small service on a port of its own. Your browser asked \
         the relay; the relay asked the client; the client asked the service. This is what reached it:</p>\
         <p><code>{}</code></p><table>{rows}</table></main></html>",
        escaped(line)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
