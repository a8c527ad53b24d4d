//! Just enough HTTP/1.1 to serve a client, and to misbehave on purpose.
//!
//! A library server cannot be told to send half a body, to reset a connection in the middle of one, or to answer in
//! forty small chunks; this one can. It reads whole requests (`Content-Length` or chunked), keeps connections alive and
//! notices when the peer goes away while an answer is held.

use crate::clock::{Clock, SystemClock};
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest head of a request, in bytes.
const HEAD_LIMIT: usize = 64 * 1024;
/// Largest body of a request, in bytes.
const BODY_LIMIT: usize = 4 * 1024 * 1024;

/// One request as it stood on the wire.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Upper-case method.
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// Fields in order; names as sent.
    pub fields: Vec<(String, String)>,
    /// Body after removal of any chunking.
    pub body: Vec<u8>,
}

impl Request {
    /// The path without the query, undecoded.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of the first query parameter of this name, form-decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| lenient_decode(value))
        })
    }

    /// The first field of this name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The media type of the body, lower case, without parameters.
    pub fn media_type(&self) -> String {
        let text = self.field("content-type").unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }
}

/// Percent-decodes, leaving what is not valid as it is.
fn lenient_decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// How an answer is put on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Manner {
    /// In one piece, with `Content-Length`.
    #[default]
    Whole,
    /// Chunked, in so many pieces with a pause before each.
    Chunked(usize, Duration),
    /// `Content-Length` announces all, half is sent, then the connection is closed in order.
    Short,
    /// As `Short`, but the connection is reset.
    Reset,
    /// Nothing is sent; the connection is closed.
    Silence,
}

/// An answer and how to send it.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    /// Status code.
    pub status: u16,
    /// Fields besides `Content-Length`, `Date`, `Connection` and `Transfer-Encoding`.
    pub fields: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Manner.
    pub manner: Manner,
}

impl Reply {
    /// An answer without a body.
    pub fn empty(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    /// An HTML page, as web servers and proxies answer on their own account.
    pub fn html(status: u16, body: &str) -> Self {
        Reply::empty(status).with("Content-Type", "text/html").carrying(body.as_bytes().to_vec())
    }

    /// Adds a field.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.fields.push((name.to_owned(), value.into()));
        self
    }

    /// Sets the body.
    pub fn carrying(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }
}

/// One connection of a client.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// What is wrong with a request that cannot be read.
fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl Connection {
    /// Takes an accepted socket.
    pub fn new(stream: TcpStream) -> Self {
        // Small answers must not wait for the acknowledgement of the one before.
        let _ = stream.set_nodelay(true);
        Connection { stream, buffer: Vec::new() }
    }

    /// Reads the next request; `None` when the peer has closed.
    ///
    /// # Errors
    /// The socket failed, or what came is not a request this server reads.
    pub async fn next_request(&mut self) -> io::Result<Option<Request>> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > HEAD_LIMIT {
                return Err(bad("request head too large"));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(bad("request cut short")) };
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).map_err(|_| bad("request head is not UTF-8"))?;
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target)) = (first.next(), first.next()) else { return Err(bad("no request line")) };
        let fields: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':').map(|(n, v)| (n.trim().to_owned(), v.trim().to_owned())))
            .collect();
        let mut request =
            Request { method: method.to_ascii_uppercase(), target: target.to_owned(), fields, body: Vec::new() };
        if request.field("expect").is_some_and(|e| e.eq_ignore_ascii_case("100-continue")) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        if request.field("transfer-encoding").is_some_and(|t| t.to_ascii_lowercase().contains("chunked")) {
            request.body = self.chunked_body().await?;
        } else if let Some(length) = request.field("content-length") {
            let length: usize = length.parse().map_err(|_| bad("Content-Length is not a number"))?;
            request.body = self.exactly(length).await?;
        }
        Ok(Some(request))
    }

    async fn chunked_body(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| bad("bad chunk size"))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            if body.len() + size > BODY_LIMIT {
                return Err(bad("request body too large"));
            }
            body.extend(self.exactly(size).await?);
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..at]).into_owned();
                self.buffer.drain(..at + 2);
                return Ok(line);
            }
            if self.buffer.len() > HEAD_LIMIT || self.fill().await? == 0 {
                return Err(bad("request cut short"));
            }
        }
    }

    async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        if length > BODY_LIMIT {
            return Err(bad("request body too large"));
        }
        while self.buffer.len() < length {
            if self.fill().await? == 0 {
                return Err(bad("request body cut short"));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(4 * 1024);
        self.stream.read_buf(&mut self.buffer).await
    }

    /// Resolves when the peer has closed or broken the connection. Safe to drop at any time.
    pub async fn gone(&mut self) {
        while self.buffer.len() < HEAD_LIMIT {
            match self.fill().await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        std::future::pending::<()>().await;
    }

    /// Sends an answer; `true` if the peer got it whole and the connection can go on.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn send(&mut self, reply: &Reply, close: bool) -> io::Result<bool> {
        if reply.manner == Manner::Silence {
            return Ok(false);
        }
        let mut head = format!("HTTP/1.1 {} {}\r\nDate: {}\r\n", reply.status, reason(reply.status), http_date());
        for (name, value) in &reply.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let chunked = matches!(reply.manner, Manner::Chunked(..));
        if chunked {
            head.push_str("Transfer-Encoding: chunked\r\n");
        } else if reply.status != 204 {
            head.push_str(&format!("Content-Length: {}\r\n", reply.body.len()));
        }
        head.push_str(if close { "Connection: close\r\n\r\n" } else { "\r\n" });
        let mut wire = head.into_bytes();
        match reply.manner {
            Manner::Whole | Manner::Silence => {
                wire.extend_from_slice(&reply.body);
                self.stream.write_all(&wire).await?;
            }
            Manner::Chunked(pieces, pause) => {
                self.stream.write_all(&wire).await?;
                let size = reply.body.len().div_ceil(pieces.max(1)).max(1);
                for piece in reply.body.chunks(size) {
                    tokio::time::sleep(pause).await;
                    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
                    chunk.extend_from_slice(piece);
                    chunk.extend_from_slice(b"\r\n");
                    self.stream.write_all(&chunk).await?;
                }
                self.stream.write_all(b"0\r\n\r\n").await?;
            }
            Manner::Short | Manner::Reset => {
                wire.extend_from_slice(&reply.body[..reply.body.len() / 2]);
                self.stream.write_all(&wire).await?;
                self.stream.flush().await?;
                if reply.manner == Manner::Reset {
                    // Let the half arrive first: a reset may throw away what the peer has not read yet.
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    self.reset();
                }
                return Ok(false);
            }
        }
        self.stream.flush().await?;
        Ok(!close)
    }

    /// Makes the coming close a reset instead of an orderly end.
    pub fn reset(&mut self) {
        let _ = self.stream.set_zero_linger();
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn http_date() -> String {
    SystemClock.now().to_chrono().format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// The reason phrase of a status.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (Connection, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Connection::new(listener.accept().await.unwrap().0), client)
    }

    #[tokio::test]
    async fn requests_are_read_however_the_bytes_are_cut() {
        let (mut server, mut client) = pair().await;
        let wire = b"POST /a?x=1%2b1&y= HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloPOST /b HTTP/1.1\r\n\
                     Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
        let sender = tokio::spawn(async move {
            for byte in wire {
                client.write_all(&[*byte]).await.unwrap();
                client.flush().await.unwrap();
            }
        });
        let first = server.next_request().await.unwrap().unwrap();
        assert_eq!((first.path(), first.query("x").as_deref(), &first.body[..]), ("/a", Some("1+1"), &b"hello"[..]));
        let second = server.next_request().await.unwrap().unwrap();
        assert_eq!((second.path(), &second.body[..]), ("/b", &b"abcde"[..]));
        sender.await.unwrap();
        assert!(server.next_request().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_short_answer_announces_more_than_it_brings() {
        let (mut server, mut client) = pair().await;
        let reply = Reply { manner: Manner::Short, ..Reply::html(200, "0123456789") };
        assert!(!server.send(&reply, false).await.unwrap());
        drop(server);
        let mut got = String::new();
        client.read_to_string(&mut got).await.unwrap();
        assert!(got.contains("Content-Length: 10\r\n") && got.ends_with("\r\n\r\n01234"), "{got}");
    }
}
