//! The listener: so many connections at a time, and none that is held without being used.
//!
//! Whoever opens connections and says nothing must not be able to keep others out. A connection counts as used while
//! bytes come or go; a live page's stream has its keep-alive comments.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

/// A TCP listener with limits.
#[derive(Debug)]
pub struct Limited {
    inner: TcpListener,
    places: Arc<Semaphore>,
    idle: Duration,
}

impl Limited {
    /// At most `connections` at a time; each is closed after `idle` without a byte in either direction.
    pub fn new(inner: TcpListener, connections: usize, idle: Duration) -> Limited {
        Limited { inner, places: Arc::new(Semaphore::new(connections.max(1))), idle }
    }
}

impl Listener for Limited {
    type Io = Connection;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Connection, Self::Addr) {
        // Nobody closes the semaphore; were it closed, waiting for ever would be the safe answer.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return std::future::pending().await };
        let (stream, address) = Listener::accept(&mut self.inner).await;
        // Pages are small and complete when they are written: nothing is gained by waiting for more.
        let _ = stream.set_nodelay(true);
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(now + self.idle));
        (Connection { stream, used: now, idle: self.idle, timer, _place: place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// One connection; gives its place free when it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When a byte came or went last.
    used: Instant,
    idle: Duration,
    timer: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(cx, buf) {
            self.used = Instant::now();
            return Poll::Ready(read);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            // What was written meanwhile did not touch the timer.
            let until = self.used + self.idle;
            if until <= Instant::now() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.timer.as_mut().reset(until);
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        self.used = Instant::now();
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs));
        self.used = Instant::now();
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn serve(connections: usize, idle: Duration) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let pages = Router::new().route("/", get(|| async { "hello" }));
        tokio::spawn(async move { axum::serve(Limited::new(listener, connections, idle), pages).await });
        address
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let address = serve(9, Duration::from_millis(60)).await;
        let mut silent = TcpStream::connect(address).await.expect("connected");
        let mut heard = Vec::new();
        // Ends because the other side closes, or with its error; never with an answer.
        let _ = silent.read_to_end(&mut heard).await;
        assert!(heard.is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_until_there_is_one() {
        let address = serve(1, Duration::from_secs(60)).await;
        let mut first = TcpStream::connect(address).await.expect("connected");
        let mut other = TcpStream::connect(address).await.expect("connected by the system");
        other.write_all(ASK).await.expect("sent");
        let mut answer = [0; 15];
        for _ in 0..2 {
            first.write_all(ASK).await.expect("sent");
            let mut whole = vec![0; 4096];
            let read = first.read(&mut whole).await.expect("an answer");
            assert!(whole[..read].ends_with(b"hello"));
        }
        // The server has been at work meanwhile, and not for the other.
        let waiting = other.try_read(&mut answer).expect_err("no answer yet");
        assert_eq!(waiting.kind(), io::ErrorKind::WouldBlock);
        drop(first);
        other.read_exact(&mut answer).await.expect("an answer, now that there is a place");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}
