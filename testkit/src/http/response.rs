//! A response as it came.

use std::io;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The most bytes of a head or a body.
const MAX_BYTES: usize = 256 * 1024 * 1024;

/// One response of HTTP/1.1, read strictly: what is not right is an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpResponse {
    /// The status.
    pub status: u16,
    /// The fields in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// The fields after a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The statuses of the interim responses before it, 100 for example.
    pub interim: Vec<u16>,
}

impl HttpResponse {
    /// The value of a field, when it came exactly once.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// The body as text. Panics when it is not UTF-8.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON. Panics when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }

    /// Reads one response. `head`: it answers a HEAD and has no body.
    pub(super) async fn read(from: &mut (impl AsyncBufRead + Unpin), head: bool) -> io::Result<Self> {
        let mut interim = Vec::new();
        loop {
            let mut answer = Self::read_head(from).await?;
            if answer.status / 100 == 1 && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            if !head && answer.status != 101 && answer.status != 204 && answer.status != 304 {
                answer.read_body(from).await?;
            }
            return Ok(answer);
        }
    }

    async fn read_head(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Self> {
        let start = line(from).await?;
        let status =
            start.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| invalid(format!("not a status line: {start:?}")))?;
        Ok(Self { status, headers: fields(from).await?, ..Self::default() })
    }

    async fn read_body(&mut self, from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<()> {
        let (coding, length) = (self.header("transfer-encoding"), self.header("content-length"));
        match (coding, length) {
            (Some("chunked"), None) => {
                while let size @ 1.. = chunk_size(from).await? {
                    self.read_exact(from, size).await?;
                    if !line(from).await?.is_empty() {
                        return Err(invalid("a chunk is longer than it says".to_owned()));
                    }
                }
                self.trailers = fields(from).await?;
                Ok(())
            }
            (None, Some(length)) => {
                let length = length.parse().map_err(|_| invalid(format!("content-length: {length}")))?;
                self.read_exact(from, length).await
            }
            (None, None) => from.take(MAX_BYTES as u64).read_to_end(&mut self.body).await.map(drop),
            both => Err(invalid(format!("framing: {both:?}"))),
        }
    }

    async fn read_exact(&mut self, from: &mut (impl AsyncBufRead + Unpin), count: usize) -> io::Result<()> {
        if self.body.len() + count > MAX_BYTES {
            return Err(invalid("the body is too long".to_owned()));
        }
        let start = self.body.len();
        self.body.resize(start + count, 0);
        from.read_exact(&mut self.body[start..]).await.map(drop)
    }
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

async fn line(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(1024 * 1024).read_until(b'\n', &mut bytes).await?;
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        let kind =
            if bytes.ends_with(b"\n") { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
        return Err(io::Error::new(
            kind,
            format!("cut off in a line: {:?}", String::from_utf8_lossy(&bytes)),
        ));
    };
    String::from_utf8(line.to_vec()).map_err(|error| invalid(error.to_string()))
}

async fn fields(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(from).await?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| invalid(format!("not a field: {line:?}")))?;
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

async fn chunk_size(from: &mut (impl AsyncBufRead + Unpin)) -> io::Result<usize> {
    let line = line(from).await?;
    usize::from_str_radix(&line, 16).map_err(|_| invalid(format!("chunk size: {line:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &str) -> io::Result<HttpResponse> {
        HttpResponse::read(&mut text.as_bytes(), false).await
    }

    #[tokio::test]
    async fn every_framing_is_read() {
        let length = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabXX").await.unwrap();
        assert_eq!((length.status, length.text()), (200, "ab"));
        let chunked = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
                       2\r\nab\r\na\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
        let chunked = read(chunked).await.unwrap();
        assert_eq!((chunked.text(), &chunked.interim[..]), ("ab0123456789", &[100][..]));
        assert_eq!(chunked.trailers, [("x-sum".to_owned(), "1".to_owned())]);
        assert_eq!(read("HTTP/1.1 502 Bad\r\n\r\nto the end").await.unwrap().text(), "to the end");
        assert!(read("HTTP/1.1 204 No\r\n\r\n").await.unwrap().body.is_empty());
    }

    #[tokio::test]
    async fn what_is_cut_off_or_wrong_is_an_error() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
            "SSH-2.0\r\n\r\n",
        ] {
            assert!(read(text).await.is_err(), "{text:?}");
        }
    }
}
