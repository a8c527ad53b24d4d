//! Many readers at a time, in a process of their own: each asks for a page, takes all of it, and asks for the next.
//!
//! Speaks just enough HTTP/1.1 to know where an answer ends, so that it takes little of the processor that the server needs.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What the readers saw of one kind of page.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct Seen {
    /// Answers per second.
    pub rate: f64,
    /// Milliseconds from a request to the end of its answer: median, 99 in a hundred, the longest.
    pub p50: f64,
    /// 99 in a hundred.
    pub p99: f64,
    /// The longest.
    pub worst: f64,
    /// Bytes of an answer, on average, as they travel.
    pub bytes: f64,
    /// Answers other than 200.
    pub failed: u64,
}

/// Reads these pages with so many readers for some time.
pub async fn read(address: &str, paths: Vec<String>, readers: usize, span: Duration, encoding: &str) -> Seen {
    let paths = std::sync::Arc::new(paths);
    let start = Instant::now();
    let tasks: Vec<_> = (0..readers)
        .map(|reader| {
            let (address, paths, encoding) = (address.to_owned(), std::sync::Arc::clone(&paths), encoding.to_owned());
            tokio::spawn(async move {
                let mut connection = Connection::open(&address).await;
                let mut seen = Vec::new();
                let mut n = reader * 7;
                while start.elapsed() < span {
                    let asked = Instant::now();
                    let (status, bytes) = connection.get(&paths[n % paths.len()], &encoding).await;
                    seen.push((asked.elapsed(), status, bytes));
                    n += 1;
                }
                seen
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await.expect("a reader"));
    }
    let took = start.elapsed().as_secs_f64();
    let mut times: Vec<f64> = all.iter().map(|(time, ..)| time.as_secs_f64() * 1e3).collect();
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    Seen {
        rate: all.len() as f64 / took,
        p50: at(0.5),
        p99: at(0.99),
        worst: at(1.0),
        bytes: all.iter().map(|(.., bytes)| *bytes as f64).sum::<f64>() / all.len() as f64,
        failed: all.iter().filter(|(_, status, _)| *status != 200).count() as u64,
    }
}

struct Connection {
    stream: TcpStream,
    held: Vec<u8>,
}

impl Connection {
    async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.expect("connected");
        stream.set_nodelay(true).expect("an option");
        Connection { stream, held: Vec::with_capacity(1 << 16) }
    }

    /// Status and bytes of the body as they came.
    async fn get(&mut self, path: &str, encoding: &str) -> (u16, usize) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {encoding}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await.expect("sent");
        let head = loop {
            match self.held.windows(4).position(|end| end == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.more().await,
            }
        };
        let text = String::from_utf8_lossy(&self.held[..head]).to_ascii_lowercase();
        let status = text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
        let end = match length.and_then(|length| length.trim().parse::<usize>().ok()) {
            Some(length) => head + length,
            None => self.chunks(head).await,
        };
        while self.held.len() < end {
            self.more().await;
        }
        self.held.drain(..end);
        (status, end - head)
    }

    /// Where a chunked body that begins at `at` ends.
    async fn chunks(&mut self, mut at: usize) -> usize {
        loop {
            let line = loop {
                match self.held.get(at..).and_then(|rest| rest.windows(2).position(|end| end == b"\r\n")) {
                    Some(line) => break line,
                    None => self.more().await,
                }
            };
            let size = std::str::from_utf8(&self.held[at..at + line]).expect("a size");
            let size = usize::from_str_radix(size.split(';').next().unwrap_or(size), 16).expect("a size");
            at += line + 2 + size + 2;
            if size == 0 {
                return at;
            }
        }
    }

    async fn more(&mut self) {
        let read = self.stream.read_buf(&mut self.held).await.expect("an answer");
        assert!(read > 0, "the server closed the connection");
    }
}
