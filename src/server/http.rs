//! Connections: accepts so many at a time, and ends those that are silent, slow or do not read. HTTP/1 only. Does not know
//! what becomes of an answer on its way out.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::server::App;
use crate::server::error::ApiError;
use crate::server::router::{Peer, finish, router, tidy};
use crate::server::wire::{Talk, Wire};

/// How long the head of a request may take to come.
const HEAD_TAKES: Duration = Duration::from_secs(5);
/// No head of a request is longer.
const LONGEST_HEAD: usize = 32 << 10;
/// So many header lines a request has at most.
const MOST_HEADERS: usize = 100;
/// What is said of a head that is more.
pub(crate) const TOO_LONG: &str = "the head of a request has 32 KiB and 100 lines at most";
/// So many connections are open at a time.
const CONNECTIONS: usize = 512;

/// Accepts connections until `stop` says so; then lets those end that are open.
pub(crate) async fn accept(listener: TcpListener, app: Arc<App>, mut stop: watch::Receiver<bool>) {
    let router = router(&app);
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut open = Open::default();
    while !*stop.borrow() {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            // The guard of what it has become is not to be kept.
            _ = async { drop(stop.changed().await) } => continue,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Such as too many open files: it passes.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if slots.available_permits() == 0 {
            open.make_room();
        }
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot,
            _ = async { drop(stop.changed().await) } => continue,
        };
        let said = Arc::new(Talk::default());
        let talk = talk(stream, peer, Arc::clone(&app), router.clone(), (stop.clone(), Arc::clone(&said)));
        let task = connections.spawn(async move {
            talk.await;
            drop(slot);
        });
        open.add(said, task);
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The connections that are open, the oldest first.
#[derive(Default)]
struct Open(Vec<(Arc<Talk>, AbortHandle)>);

impl Open {
    fn add(&mut self, said: Arc<Talk>, task: AbortHandle) {
        self.0.push((said, task));
        if self.0.len() > 2 * CONNECTIONS {
            self.0.retain(|(_, task)| !task.is_finished());
        }
    }

    /// Ends the oldest one of which the request, or the rest of it, has not come: whoever holds slots and says nothing keeps
    /// nobody away. Those who have shown a key go last.
    fn make_room(&mut self) {
        let owes = |talk: &Talk| !talk.is_understood() || talk.is_incomplete();
        let first = |known| {
            let fits = |(talk, task): &(Arc<Talk>, AbortHandle)| {
                !task.is_finished() && owes(talk) && (known || !talk.is_known())
            };
            self.0.iter().position(fits)
        };
        if let Some(i) = first(false).or_else(|| first(true)) {
            self.0.remove(i).1.abort();
        }
    }
}

async fn talk(
    stream: TcpStream,
    peer: SocketAddr,
    app: Arc<App>,
    router: Router,
    (mut stop, said): (watch::Receiver<bool>, Arc<Talk>),
) {
    drop(stream.set_nodelay(true));
    let router = TowerToHyperService::new(router);
    let hears = Arc::clone(&said);
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (app, router, hears) = (Arc::clone(&app), router.clone(), Arc::clone(&hears));
        if !request.body().is_end_stream() {
            hears.incomplete();
        }
        hears.understood();
        async move {
            let response = respond(&app, &router, (peer, &hears), request).await;
            if hears.is_incomplete() || response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE {
                hears.cut_short();
            }
            Ok::<_, Infallible>(response)
        }
    });
    let io = TokioIo::new(Wire::new(stream, said));
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

/// How long the head of a request is: what is read at once may be more than hyper would wait for.
fn head_of(request: &Request<Incoming>) -> usize {
    let lines = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    let line = request.method().as_str().len() + request.uri().to_string().len() + " HTTP/1.1\r\n ".len();
    line + lines.sum::<usize>() + 2
}

async fn respond(
    app: &App,
    router: &TowerToHyperService<Router>,
    from: (SocketAddr, &Arc<Talk>),
    request: Request<Incoming>,
) -> Response {
    let mut response = match app.door.host(request.uri(), request.headers()) {
        _ if head_of(&request) > LONGEST_HEAD => ApiError::too_long(TOO_LONG).response(),
        Err(error) => error.response(),
        Ok(()) => route(router, from, request).await,
    };
    finish(&mut response);
    response
}

async fn route(
    router: &TowerToHyperService<Router>,
    (peer, talk): (SocketAddr, &Arc<Talk>),
    request: Request<Incoming>,
) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(uri) = tidy(&parts.uri) else {
        return ApiError::wrong("the path of the request cannot be read").response();
    };
    parts.uri = uri;
    parts.extensions.insert(Peer(peer.ip()));
    parts.extensions.insert(Arc::clone(talk));
    let head = parts.method == axum::http::Method::HEAD;
    let Ok(response) = router.call(Request::from_parts(parts, Body::new(body))).await;
    let bare = response.status().is_client_error() && !is_ours(&response) && !head;
    // What axum refuses by itself is told in our way too: a path that is no text.
    let no_text = "the path of the request is no text: what it says with % is no UTF-8";
    if bare { ApiError::wrong(no_text).response() } else { response }
}

fn is_ours(response: &Response) -> bool {
    let kind = response.headers().get(axum::http::header::CONTENT_TYPE).map_or(&b""[..], |kind| kind.as_bytes());
    kind.starts_with(b"application/json") || kind.starts_with(b"text/html")
}
