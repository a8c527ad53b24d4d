//! Requests sent when they are due, whatever became of those before; each again until it is answered 202.
//!
//! Speaks just enough HTTP/1.1 for answers with an empty body, so that it takes little of the processor that the server
//! needs. Beside the recorder stands a bare server: the same stack, and nothing done with the body.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Connections of the sender.
const CONNECTIONS: usize = 64;
/// Before a request is sent again. The real service waits longer.
const AGAIN: Duration = Duration::from_millis(50);
/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(10);
/// So long after it was due a request is given up.
const GIVEN_UP: Duration = Duration::from_secs(120);

/// How the requests fared.
#[derive(Clone, Debug, Default)]
pub struct Fared {
    /// From when each was due until it was answered 202, sorted.
    pub latencies: Vec<Duration>,
    /// Sent again, because there was no answer or another one.
    pub again: u64,
    /// Never answered 202.
    pub given_up: u64,
    /// From the first one's time until the last answer.
    pub took: Duration,
}

impl Fared {
    /// Milliseconds that so many parts of the requests did not exceed.
    pub fn at(&self, part: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get((last as f64 * part) as usize).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
    }
}

/// Sends them all, `rate` a second.
pub async fn send(address: SocketAddr, requests: Arc<Vec<Bytes>>, rate: f64) -> Fared {
    let next = Arc::new(AtomicUsize::new(0));
    let again = Arc::new(AtomicU64::new(0));
    // A moment for the connections.
    let start = Instant::now() + Duration::from_millis(200);
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (requests, next, again) = (Arc::clone(&requests), Arc::clone(&next), Arc::clone(&again));
            tokio::spawn(async move {
                let mut connection = TcpStream::connect(address).await.ok();
                let (mut latencies, mut given_up) = (Vec::new(), 0);
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some(request) = requests.get(n) else { return (latencies, given_up) };
                    let due = start + Duration::from_secs_f64(n as f64 / rate);
                    tokio::time::sleep_until(due.into()).await;
                    loop {
                        let posted = tokio::time::timeout(PATIENCE, post(&mut connection, address, request)).await;
                        if matches!(posted, Ok(Ok(202))) {
                            latencies.push(due.elapsed());
                            break;
                        }
                        if !matches!(posted, Ok(Ok(_))) {
                            connection = None;
                        }
                        if due.elapsed() > GIVEN_UP {
                            given_up += 1;
                            break;
                        }
                        again.fetch_add(1, Ordering::Relaxed);
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            })
        })
        .collect();
    let mut fared = Fared::default();
    for task in tasks {
        let (latencies, given_up) = task.await.expect("a sender");
        fared.latencies.extend(latencies);
        fared.given_up += given_up;
    }
    fared.latencies.sort_unstable();
    fared.again = again.load(Ordering::Relaxed);
    fared.took = start.elapsed();
    fared
}

async fn post(connection: &mut Option<TcpStream>, address: SocketAddr, request: &Bytes) -> std::io::Result<u16> {
    let stream = match connection {
        Some(stream) => stream,
        None => connection.insert(TcpStream::connect(address).await?),
    };
    stream.set_nodelay(true)?;
    stream.write_all(request).await?;
    let mut head = Vec::with_capacity(512);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let status = std::str::from_utf8(&head).ok().and_then(|head| head.get(9..12)?.parse().ok());
    let status = status.unwrap_or(0);
    if status != 202 {
        // It may have a body, which nobody reads here.
        *connection = None;
    }
    Ok(status)
}

/// A server in a process of its own that answers 202 and does nothing. Killed when it goes out of scope.
pub struct Bare {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Bare {
    /// Starts this program again with `--bare`.
    pub fn start() -> Bare {
        let program = std::env::current_exe().expect("this program");
        let mut child = Command::new(program)
            .arg("--bare")
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("start the bare server");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("its address");
        Bare { child, address: line.trim().parse().expect("an address") }
    }

    /// What `--bare` does: prints its address and serves for ever.
    pub async fn serve() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        println!("{}", listener.local_addr().expect("an address"));
        let router = axum::Router::new().fallback(async |_: Bytes| StatusCode::ACCEPTED);
        axum::serve(listener, router).await.expect("serves");
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
