//! Sends requests to a DSS server and gives what came back: the only file that knows HTTP and TLS. The key goes to the one
//! server and nowhere else. Does not know what a job is, nor when to try again.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder};

use crate::engine::dss::body::{Body, Much, TooLong};
use crate::engine::dss::settings::{Auth, Settings};
use crate::engine::dss::tls;
use crate::files::read_short;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How often a redirect on the same server is followed.
const REDIRECTS: usize = 3;

/// A request to the API.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Whether it is a POST, which may have an effect.
    pub(super) post: bool,
    /// The path behind the prefix, as it goes on the wire.
    pub(super) path: String,
    /// The body: JSON.
    pub(super) body: Option<String>,
    /// How long the whole answer may take.
    pub(super) timeout: Duration,
    /// How much of the answer is kept.
    pub(super) much: Much,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub(super) struct Response {
    /// The status.
    pub(super) status: u16,
    /// `Retry-After`
    pub(super) retry_after: Option<String>,
    /// `Date`: the server's clock.
    pub(super) date: Option<String>,
    /// Where a redirect leads that was not followed, and whether that is on the same server.
    pub(super) location: Option<String>,
    pub(super) same_server: bool,
    /// The body, or the end of it.
    pub(super) body: Vec<u8>,
    pub(super) cut: bool,
}

/// Why nothing came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SendError {
    /// The request was never sent: there was no connection.
    NotSent(String),
    /// There was no connection that can be trusted; the request was never sent.
    Tls(String),
    /// The request may have been sent, and its answer was cut off or did not come in time.
    Cut(String),
    /// The request was sent, and its answer is longer than that.
    Long(String),
}

/// The way to a server.
pub(super) trait Transport: Send + Sync {
    /// Sends a request once.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>>;
}

/// The way to a server over HTTP.
pub(super) struct Http {
    base: String,
    /// Keeps connections open for the next request.
    get: Client,
    /// Makes a connection for each request: one that cannot be made shows that nothing was sent.
    post: Client,
}

impl Http {
    /// Opens the way; connects to nothing yet.
    ///
    /// # Errors
    /// What cannot be used of the settings.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let auth = settings.auth.as_ref().map_err(|problem| problem.message.clone())?;
        // Where another part of the process has chosen a provider, that one serves as well.
        drop(rustls::crypto::ring::default_provider().install_default());
        let build = |builder: ClientBuilder| builder.build().map_err(|error| chain(&error));
        Ok(Self {
            base: format!("{}{}", settings.url, settings.prefix),
            get: build(builder(settings, auth)?.pool_idle_timeout(Duration::from_secs(20)))?,
            post: build(builder(settings, auth)?.pool_max_idle_per_host(0))?,
        })
    }

    async fn once(&self, request: &Request, url: &str) -> Result<Response, SendError> {
        let builder = if request.post { self.post.post(url) } else { self.get.get(url) };
        let builder = match &request.body {
            Some(body) => builder.header("Content-Type", "application/json").body(body.clone()),
            None => builder,
        };
        let mut answer = builder.send().await.map_err(|error| failed(&error))?;
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let mut response = Response {
            status: answer.status().as_u16(),
            retry_after: header(RETRY_AFTER),
            date: header(DATE),
            location: header(LOCATION),
            same_server: header(LOCATION).is_some_and(|to| same_server(url, &to).is_some()),
            body: Vec::new(),
            cut: false,
        };
        let mut body = Body::new(request.much);
        loop {
            match answer.chunk().await {
                Ok(None) => {
                    (response.body, response.cut) = body.end();
                    return Ok(response);
                }
                Ok(Some(bytes)) => body
                    .push(&bytes)
                    .map_err(|TooLong(limit)| SendError::Long(format!("more than {} MiB", limit >> 20)))?,
                Err(error) => return Err(SendError::Cut(chain(&error))),
            }
        }
    }

    /// Sends, and follows redirects of a request without effect as long as they stay on the server.
    async fn follow(&self, request: Request) -> Result<Response, SendError> {
        let mut url = format!("{}{}", self.base, request.path);
        for _ in 0..REDIRECTS {
            let response = self.once(&request, &url).await?;
            let next = response.location.as_deref().filter(|_| (300..400).contains(&response.status));
            match next.and_then(|next| same_server(&url, next)) {
                Some(next) if !request.post => url = next,
                _ => return Ok(response),
            }
        }
        self.once(&request, &url).await
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        async move {
            let within = request.timeout;
            let late = || SendError::Cut(format!("no answer within {}", crate::base::text::duration(within)));
            tokio::time::timeout(within, self.follow(request)).await.unwrap_or_else(|_| Err(late()))
        }
        .boxed()
    }
}

fn builder(settings: &Settings, auth: &Auth) -> Result<ClientBuilder, String> {
    let mut headers = HeaderMap::new();
    let value = HeaderValue::from_str(&auth.header());
    let mut value = value.map_err(|_| "the key holds what no header can hold; is it the right file?".to_owned())?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    let mut builder = Client::builder()
        .default_headers(headers)
        .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT)
        .tls_danger_accept_invalid_certs(settings.insecure_tls);
    if let Some(ca) = &settings.ca_file {
        let shown = ca.display();
        let pem = read_short(ca).map_err(|error| format!("ca_file {shown}: {error}"))?;
        let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| format!("ca_file {shown}: {error}"))?;
        if certificates.is_empty() {
            return Err(format!("ca_file {shown} holds no certificate (PEM)"));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    Ok(builder)
}

/// The address that a redirect leads to, where it is on the same server.
fn same_server(from: &str, to: &str) -> Option<String> {
    let from = reqwest::Url::parse(from).ok()?;
    let to = from.join(to).ok()?;
    (from.origin() == to.origin()).then(|| to.to_string())
}

fn failed(error: &reqwest::Error) -> SendError {
    let text = chain(error);
    if error.is_builder() {
        return SendError::NotSent(text);
    }
    if !error.is_connect() {
        // Bytes of TLS are no answer in HTTP.
        let mute = text.contains("invalid HTTP version") && error.url().is_some_and(|url| url.scheme() == "http");
        return if mute { SendError::Tls(tls::NO_HTTP.to_owned()) } else { SendError::Cut(text) };
    }
    match tls::words(error) {
        Some(words) => SendError::Tls(words),
        None => SendError::NotSent(text),
    }
}

/// An error with its causes, less the address, which may be long.
fn chain(error: &reqwest::Error) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(error);
    while let Some(error) = cause {
        let text = error.to_string();
        if !texts.iter().any(|known| known.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    match texts.as_slice() {
        [] => error.to_string(),
        texts => texts.join(": "),
    }
}
