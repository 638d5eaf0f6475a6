//! Connections: accepts so many at a time, and ends those that are silent, slow or do not read. HTTP/1 only.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Sleep;

use crate::server::App;
use crate::server::error::ApiError;
use crate::server::router::{Peer, finish, router, tidy};

/// How long the head of a request may take to come.
const HEAD_TAKES: Duration = Duration::from_secs(5);
/// How long a reader may take none of what there is for it.
const READER_SLEEPS: Duration = Duration::from_secs(30);
/// No head of a request is longer.
const LONGEST_HEAD: usize = 32 << 10;
/// So many header lines a request has at most.
const MOST_HEADERS: usize = 100;
/// So many connections are open at a time.
const CONNECTIONS: usize = 512;

/// Accepts connections until `stop` says so; then lets those end that are open.
pub(crate) async fn accept(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let router = router(&app);
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    while !*stop.borrow() {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            (place, accepted) = accepted => match accepted {
                Ok((stream, peer)) => {
                    let talk = talk(stream, peer, Arc::clone(&app), router.clone(), stop.clone());
                    connections.spawn(async move {
                        talk.await;
                        drop(place);
                    });
                }
                // Such as too many open files: it passes.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
            // The guard of what it has become is not to be kept.
            _ = async { drop(stop.changed().await) } => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn talk(stream: TcpStream, peer: SocketAddr, app: Arc<App>, router: Router, mut stop: watch::Receiver<bool>) {
    drop(stream.set_nodelay(true));
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (app, router) = (Arc::clone(&app), router.clone());
        async move { Ok::<_, Infallible>(respond(&app, &router, peer, request).await) }
    });
    let io = TokioIo::new(Awake::new(stream));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TAKES)
        // A kept connection is closed by the server at some time, and a client that asks just then loses its request:
        // DSS's own would give a job up for that.
        .keep_alive(false)
        .max_buf_size(LONGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = async { drop(stop.wait_for(|stop| *stop).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "a connection was broken off");
    }
}

async fn respond(
    app: &App,
    router: &TowerToHyperService<Router>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Response {
    let mut response = match app.door.host(request.uri(), request.headers()) {
        Err(error) => error.response(),
        Ok(()) => route(router, peer, request).await,
    };
    finish(&mut response);
    response
}

async fn route(router: &TowerToHyperService<Router>, peer: SocketAddr, request: Request<Incoming>) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(uri) = tidy(&parts.uri) else {
        return ApiError::wrong("the path of the request cannot be read").response();
    };
    parts.uri = uri;
    parts.extensions.insert(Peer(peer.ip()));
    let head = parts.method == axum::http::Method::HEAD;
    let Ok(response) = router.call(Request::from_parts(parts, Body::new(body))).await;
    let bare = response.status().is_client_error() && !is_ours(&response) && !head;
    // What axum refuses by itself, such as a path that is no text, is told in our way too.
    if bare { ApiError::wrong("the request cannot be read").response() } else { response }
}

fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(axum::http::header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.starts_with(b"application/json") || kind.starts_with(b"text/html")
}

/// A connection that breaks off when its reader takes nothing for too long.
struct Awake {
    stream: TcpStream,
    waits: Option<Pin<Box<Sleep>>>,
}

impl Awake {
    fn new(stream: TcpStream) -> Self {
        Self { stream, waits: None }
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
}

impl AsyncRead for Awake {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Awake {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(poll, context)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(poll, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(poll, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
