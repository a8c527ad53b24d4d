//! The listener: so many connections at a time, and none that is held without being used.
//!
//! Whoever opens connections and says nothing, or says it byte by byte, or asks and does not take the answer, must not be able
//! to keep others out. A connection counts as used while something of an answer goes out: what a client sends is cheap for
//! it. A live page's stream has its keep-alive comments. While no place is free, patience is short.

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

/// How long connections live without being used.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Usually.
    pub idle: Duration,
    /// While no place is free for others.
    pub crowded: Duration,
}

impl Patience {
    fn now(&self, crowded: bool) -> Duration {
        if crowded { self.crowded.min(self.idle) } else { self.idle }
    }
}

/// A TCP listener with limits.
#[derive(Debug)]
pub struct Limited {
    inner: TcpListener,
    places: Arc<Semaphore>,
    patience: Patience,
}

impl Limited {
    /// At most `connections` at a time; each is closed when nothing of an answer has gone out for as long as `patience` says.
    pub fn new(inner: TcpListener, connections: usize, patience: Patience) -> Limited {
        Limited { inner, places: Arc::new(Semaphore::new(connections.max(1))), patience }
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
        let timer = Box::pin(tokio::time::sleep_until(now + self.patience.now(true)));
        (Connection { stream, used: now, patience: self.patience, timer, place }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// One connection; gives its place free when it is dropped.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// When a byte went out last, or when it was opened.
    used: Instant,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    place: OwnedSemaphorePermit,
}

impl Connection {
    /// Ready when the connection has been of no use for too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            // The connection that takes the last place may be the one that somebody needs next.
            let crowded = self.place.semaphore().available_permits() == 0;
            let until = self.used + self.patience.now(crowded);
            if until <= now {
                return Poll::Ready(io::ErrorKind::TimedOut.into());
            }
            // It may become crowded meanwhile.
            self.timer.as_mut().reset(until.min(now + self.patience.now(true)));
        }
    }

    fn used(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(written) => {
                self.used = Instant::now();
                Poll::Ready(written)
            }
            Poll::Pending => self.poll_overdue(cx).map(Err),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // A client that sends on and on is looked at too: its bytes do not count.
        if let Poll::Ready(error) = self.poll_overdue(cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.used(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.used(written, cx)
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

    const LONG: Duration = Duration::from_secs(60);

    async fn serve(connections: usize, idle: Duration, crowded: Duration, pages: Router) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let limited = Limited::new(listener, connections, Patience { idle, crowded });
        tokio::spawn(async move { axum::serve(limited, pages).await });
        address
    }

    fn hello() -> Router {
        Router::new().route("/", get(|| async { "hello" }))
    }

    const ASK: &[u8] = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let address = serve(9, Duration::from_millis(60), LONG, hello()).await;
        let mut silent = TcpStream::connect(address).await.expect("connected");
        let mut heard = Vec::new();
        // Ends because the other side closes, or with its error; never with an answer.
        let _ = silent.read_to_end(&mut heard).await;
        assert!(heard.is_empty());
    }

    #[tokio::test]
    async fn who_finds_no_place_waits_until_there_is_one() {
        let address = serve(1, LONG, LONG, hello()).await;
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

    #[tokio::test]
    async fn a_request_that_comes_byte_by_byte_is_not_waited_for() {
        let address = serve(9, Duration::from_millis(100), LONG, hello()).await;
        let (mut hears, mut says) = TcpStream::connect(address).await.expect("connected").into_split();
        // Each byte comes in good time, and the head never ends.
        let trickle = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(5));
            says.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ").await?;
            loop {
                ticks.tick().await;
                says.write_all(b"x").await?;
            }
            #[allow(unreachable_code, reason = "tells the type of the error")]
            io::Result::Ok(())
        });
        let mut heard = Vec::new();
        let _ = hears.read_to_end(&mut heard).await;
        assert!(!heard.windows(5).any(|part| part == b"hello"));
        trickle.await.expect("a task").expect_err("the connection is closed");
    }

    #[tokio::test]
    async fn who_holds_all_places_with_nothing_to_say_loses_them() {
        let address = serve(3, LONG, Duration::from_millis(50), hello()).await;
        let mut silent = Vec::new();
        for _ in 0..3 {
            silent.push(TcpStream::connect(address).await.expect("connected"));
        }
        let mut honest = TcpStream::connect(address).await.expect("connected by the system");
        honest.write_all(ASK).await.expect("sent");
        let mut answer = [0; 15];
        honest.read_exact(&mut answer).await.expect("an answer, long before the usual patience ends");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_is_given_up() {
        struct Endless(#[allow(dead_code, reason = "tells by being dropped")] tokio::sync::mpsc::Sender<()>);
        impl futures_core::Stream for Endless {
            type Item = io::Result<axum::body::Bytes>;
            fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
                Poll::Ready(Some(Ok(axum::body::Bytes::from_static(&[0; 65_536]))))
            }
        }
        let (held, mut dropped) = tokio::sync::mpsc::channel(1);
        let held = Arc::new(std::sync::Mutex::new(Some(held)));
        let page = get(move || async move {
            let held = held.lock().expect("not poisoned").take().expect("asked once");
            axum::body::Body::from_stream(Endless(held))
        });
        let address = serve(9, Duration::from_millis(100), LONG, Router::new().route("/", page)).await;
        let mut client = TcpStream::connect(address).await.expect("connected");
        client.write_all(ASK).await.expect("sent");
        // Not a byte is read: the answer ends because nobody takes it.
        assert_eq!(dropped.recv().await, None);
        drop(client);
    }
}
