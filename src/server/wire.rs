//! The socket of a connection. It breaks off when its reader takes nothing; what hyper refuses before anyone is asked is told
//! as JSON; and whoever still sends what nobody reads gets to see why, before it is closed. Knows no routes.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::server::error::ApiError;
use crate::server::http::TOO_LONG;
use crate::server::router::finish;

/// How long a reader may take none of what there is for it.
const READER_SLEEPS: Duration = Duration::from_secs(30);
/// How long someone who still sends has to read why nobody listens.
const LINGERS: Duration = Duration::from_secs(1);
/// So much of what nobody reads is taken in meanwhile.
const UNHEARD: usize = 4 << 20;

/// What became of the request of a connection.
#[derive(Debug, Default)]
pub(crate) struct Talk {
    understood: AtomicBool,
    /// The rest of the request has not been read.
    owes: AtomicBool,
    known: AtomicBool,
    cut_short: AtomicBool,
}

impl Talk {
    /// It was one that can be read.
    pub(crate) fn understood(&self) {
        self.understood.store(true, Ordering::Relaxed);
    }

    /// Whether it has come, and can be read.
    pub(crate) fn is_understood(&self) -> bool {
        self.understood.load(Ordering::Relaxed)
    }

    /// It has a body, which has not come yet.
    pub(crate) fn incomplete(&self) {
        self.owes.store(true, Ordering::Relaxed);
    }

    /// All of it has come.
    pub(crate) fn complete(&self) {
        self.owes.store(false, Ordering::Relaxed);
    }

    /// Whether some of it has not been read.
    pub(crate) fn is_incomplete(&self) -> bool {
        self.owes.load(Ordering::Relaxed)
    }

    /// Whoever sent it is known.
    pub(crate) fn known(&self) {
        self.known.store(true, Ordering::Relaxed);
    }

    /// Whether whoever sent it is known.
    pub(crate) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// It was answered, and perhaps not read to its end.
    pub(crate) fn cut_short(&self) {
        self.cut_short.store(true, Ordering::Relaxed);
    }
}

/// The socket of a connection.
pub(crate) struct Wire {
    stream: TcpStream,
    talk: Arc<Talk>,
    waits: Option<Pin<Box<Sleep>>>,
    /// What is still to be said of a request that cannot be read.
    refusal: Option<Bytes>,
    /// Until when what nobody reads is taken in, and how much of it still.
    lingers: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, talk: Arc<Talk>) -> Self {
        Self { stream, talk, waits: None, refusal: None, lingers: None }
    }

    /// What writing came to. While it waits, a clock runs.
    fn watch<T>(&mut self, poll: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.waits = None;
            return poll;
        }
        let waits = self.waits.get_or_insert_with(|| Box::pin(tokio::time::sleep(READER_SLEEPS)));
        match waits.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader takes nothing"))),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Says something else in the place of a bare answer of hyper's own, of which `said` is the beginning.
    fn refuse(&mut self, said: &[u8], context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut rest = self.refusal.take().unwrap_or_else(|| refusal(said));
        while !rest.is_empty() {
            let poll = Pin::new(&mut self.stream).poll_write(context, &rest);
            match self.watch(poll, context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => rest = rest.slice(n..),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.refusal = Some(rest);
                    return Poll::Pending;
                }
            }
        }
        // All that hyper says about it has been said.
        self.refusal = Some(rest);
        Poll::Ready(Ok(()))
    }

    /// Takes in what nobody reads. Closed with that in it, the connection would be reset, and the answer be lost.
    fn linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let (until, left) = self.lingers.get_or_insert_with(|| (Box::pin(tokio::time::sleep(LINGERS)), UNHEARD));
        let mut space = [0; 16 << 10];
        loop {
            let mut unheard = ReadBuf::new(&mut space);
            match Pin::new(&mut self.stream).poll_read(context, &mut unheard) {
                Poll::Ready(Ok(())) if (1..*left).contains(&unheard.filled().len()) => *left -= unheard.filled().len(),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return until.as_mut().poll(context),
            }
        }
    }
}

/// A whole answer that tells why a request cannot be read, where hyper would say only the status.
fn refusal(said: &[u8]) -> Bytes {
    let status = said.get(9..12).and_then(|status| StatusCode::from_bytes(status).ok());
    let error = match status {
        Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG) => ApiError::too_long(TOO_LONG),
        _ => ApiError::wrong("this is no request of HTTP/1.1: its first line, or one of its headers, cannot be read"),
    };
    let body = error.json();
    let mut response = error.response();
    finish(&mut response);
    let mut text = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
    for (name, value) in response.headers() {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(format!("content-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()).bytes());
    text.into()
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.talk.is_understood() {
            ready!(self.refuse(bytes, context))?;
            return Poll::Ready(Ok(bytes.len()));
        }
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(poll, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingers.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
        }
        if !self.talk.is_understood() || self.talk.cut_short.load(Ordering::Relaxed) {
            ready!(self.linger(context));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.talk.is_understood() {
            ready!(self.refuse(parts.first().map_or(&[], |part| part), context))?;
            return Poll::Ready(Ok(parts.iter().map(|part| part.len()).sum()));
        }
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
