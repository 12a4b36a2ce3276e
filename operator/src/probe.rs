//! One look at an ops port, for `helm test`: the operator's image has no other program that could ask.

use http::Uri;
use std::{
    io::{self, Read, Write},
    net::{TcpStream, ToSocketAddrs},
    time::Duration,
};

/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most bytes of an answer that are read.
const MOST: u64 = 64 * 1024;

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The URL.
    #[error("{0:?} is not an http URL with a host, as in http://127.0.0.1:9090/readyz")]
    Url(String),
    /// The connection.
    #[error("cannot ask {0}")]
    Ask(String, #[source] io::Error),
    /// The answer.
    #[error("{0} answered {1}")]
    Answer(String, String),
}

/// Asks an `http` URL once. Answers with the answer's body when its status is 200.
///
/// # Errors
/// [`ProbeError`].
pub fn probe(url: &str) -> Result<String, ProbeError> {
    let no_url = || ProbeError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| no_url())?;
    let host = uri.host().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(no_url)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let answer = ask(host, uri.port_u16().unwrap_or(80), path)
        .map_err(|error| ProbeError::Ask(url.to_owned(), error))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") {
        Ok(body.to_owned())
    } else {
        Err(ProbeError::Answer(url.to_owned(), format!("{status}: {body}")))
    }
}

fn ask(host: &str, port: u16, path: &str) -> io::Result<String> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in (bare, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
                stream.write_all(request.as_bytes())?;
                let mut answer = Vec::new();
                stream.take(MOST).read_to_end(&mut answer)?;
                return Ok(String::from_utf8_lossy(&answer).into_owned());
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn server(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        url
    }

    #[test]
    fn only_a_200_is_good() {
        assert_eq!(probe(&server("HTTP/1.1 200 OK\r\n\r\nready\n")).unwrap(), "ready\n");
        let error = probe(&server("HTTP/1.1 503 Service Unavailable\r\n\r\nwaits\n")).unwrap_err();
        assert!(error.to_string().ends_with("answered HTTP/1.1 503 Service Unavailable: waits\n"), "{error}");
        assert!(matches!(probe(&server("")), Err(ProbeError::Answer(..))));
    }

    #[test]
    fn what_is_no_http_url_is_refused() {
        for bad in ["", "x", "https://h/", "http://", "/readyz"] {
            assert!(matches!(probe(bad), Err(ProbeError::Url(_))), "{bad}");
        }
    }
}
