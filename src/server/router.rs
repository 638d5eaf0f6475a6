//! From a request to the one who answers it: is it for us, what does it want, may it. Every answer, also to what is not known,
//! leaves through here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawPathParams, Request};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use axum::routing::{MethodFilter, MethodRouter, on};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::server::auth::session::cookie;
use crate::server::auth::{Right, Who, shown, shows};
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::query::Query;
use crate::server::reply::see_other;
use crate::server::route::{Answer, Below, Call, Needs, Route};
use crate::server::wire::Talk;
use crate::server::{App, DSS_VERSION, blocking, routes, sorry};

/// No request has a longer body.
const LONGEST_BODY: usize = 1 << 20;
/// How long a body may take to come.
const BODY_TAKES: Duration = Duration::from_secs(10);
/// The same of those who have shown no key: what they send is the form of the page that asks for one.
const LONGEST_FORM: usize = 16 << 10;
/// How long such a form may take to come.
const FORM_TAKES: Duration = Duration::from_secs(5);
/// Where the API lies.
pub(crate) const PREFIXES: [&str; 2] = ["/public/api", "/dip/publicapi"];

/// Where a request comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// The router with all routes.
pub(crate) fn router(app: &Arc<App>) -> Router {
    let mut paths: HashMap<String, MethodRouter> = HashMap::new();
    for route in routes() {
        let prefixes: &[&str] = match route.below {
            Below::Api => &PREFIXES,
            Below::Root => &[""],
        };
        for prefix in prefixes {
            let router = paths.remove(&format!("{prefix}{}", route.path)).unwrap_or_default();
            paths.insert(format!("{prefix}{}", route.path), router.merge(method(app, route)));
        }
    }
    let router = paths.into_iter().fold(Router::new(), |router, (path, methods)| router.route(&path, methods));
    router.method_not_allowed_fallback(wrong_method).fallback(unknown)
}

fn method(app: &Arc<App>, route: &'static Route) -> MethodRouter {
    let app = Arc::clone(app);
    let filter = MethodFilter::try_from(route.method.clone()).unwrap_or(MethodFilter::TRACE);
    on(filter, move |params: RawPathParams, request: Request| {
        let app = Arc::clone(&app);
        async move {
            let names = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let page = route.below == Below::Root && wants_page(request.headers());
            let sorry = |error: ApiError| if page { sorry(&error) } else { error.response() };
            answer(app, route, names, request).await.unwrap_or_else(sorry)
        }
    })
}

/// Whether whoever asks looks at pages: what went wrong is told to him as one.
pub(crate) fn wants_page(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    accept.contains("text/html")
}

/// Whether the browser is one that is signed in.
fn signed_in(app: &App, headers: &HeaderMap) -> bool {
    cookie(headers, app.port).is_some_and(|token| app.sessions.who(&token, crate::clock::now()).is_some())
}

/// Where a browser signs in that wants to see `here`.
fn sign_in_to(here: &str) -> String {
    if here == "/" {
        return "/sign-in".to_owned();
    }
    let next: String = form_urlencoded::byte_serialize(here.as_bytes()).collect();
    format!("/sign-in?next={next}")
}

async fn wrong_method(request: Request) -> Response {
    let (method, path) = (request.method(), shorten(request.uri().path()));
    ApiError::method(format!("{path} cannot be asked with {method}")).response()
}

async fn unknown(request: Request) -> Response {
    let (method, path) = (request.method(), shorten(request.uri().path()));
    let error = ApiError::none(format!("{method} {path} is not part of this API"));
    if wants_page(request.headers()) { sorry(&error) } else { error.response() }
}

fn shorten(path: &str) -> String {
    path.chars().take(200).collect()
}

async fn answer(
    app: Arc<App>,
    route: &'static Route,
    names: Vec<(String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    app.door.origin(&parts.method, &parts.headers)?;
    let peer = parts.extensions.get::<Peer>().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.0);
    let who = match route.needs {
        Needs::Nothing => None,
        Needs::Page | Needs::Sight if !shows(&parts.headers) && !signed_in(&app, &parts.headers) => {
            let here = parts.uri.path_and_query().map_or("/", |here| here.as_str());
            return Ok(see_other(&sign_in_to(here)));
        }
        Needs::Key | Needs::Page | Needs::Sight | Needs::Right(_) => Some(identify(&app, &parts.headers, peer).await?),
    };
    if who.is_some() && !shows(&parts.headers) {
        app.door.page(&parts.method, &parts.headers)?;
    }
    let right = match route.needs {
        Needs::Right(right) => Some(right),
        Needs::Sight => Some(Right::View),
        Needs::Nothing | Needs::Key | Needs::Page => None,
    };
    let key = names.iter().find(|(name, _)| name == "project").map(|(_, key)| key.clone());
    let project = match (key, who.clone(), right) {
        (Some(key), Some(who), Some(right)) => {
            let app = Arc::clone(&app);
            Some(blocking(move || allowed(&app, &who, right, &key)).await?)
        }
        _ => None,
    };
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let body = if route.reads {
        let talk = parts.extensions.get::<Arc<Talk>>();
        if who.is_some() {
            talk.inspect(|talk| talk.known());
        }
        let body = read(&parts.headers, body, who.is_some()).await?;
        talk.inspect(|talk| talk.complete());
        body
    } else {
        Bytes::new()
    };
    let call = Call { app, who, peer, project, names, method: parts.method, query, headers: parts.headers, body };
    match route.answer {
        Answer::Aside(answer) => blocking(move || answer(&call)).await,
        Answer::Here(answer) => answer(call).await,
    }
}

/// Who asks. Takes its time where the key is wrong.
async fn identify(app: &App, headers: &HeaderMap, peer: IpAddr) -> Result<Who, ApiError> {
    if let Some(who) = shown(headers).iter().find_map(|key| app.keys.who(key)) {
        return Ok(who.clone());
    }
    if !shows(headers) {
        let Some(token) = cookie(headers, app.port) else {
            return Err(ApiError::unknown_key("this needs a key: none was given"));
        };
        // Nobody guesses what a cookie says. One that is out of date is no attempt, and its browser is to ask nobody.
        let who = app.sessions.who(&token, crate::clock::now());
        return who.ok_or_else(|| ApiError::signed_out("this browser is not signed in any more"));
    }
    if app.slow.wrong(peer).await {
        Err(ApiError::unknown_key("this needs a key: the one that was given is not known"))
    } else {
        Err(ApiError::slow_down("too many wrong keys"))
    }
}

/// The project of that key, if one may do this there. Whoever may not look at a project is not told whether there is one.
/// May block.
fn allowed(app: &App, who: &Who, right: Right, key: &str) -> Result<Arc<Project>, ApiError> {
    if !who.may(Right::View, key) && !who.may(Right::View, "*") {
        return Err(ApiError::forbidden(format!("key `{}` may not look at project `{key}`", who.key)));
    }
    // Who may look at all but some hears of those what he would hear if they were not there.
    let project = named(app, key).filter(|_| who.may(Right::View, key)).ok_or_else(|| {
        let keys: Vec<_> = app.projects.iter().map(|p| p.key()).filter(|key| who.may(Right::View, key)).collect();
        let near = crate::base::text::did_you_mean(key, keys.iter().map(String::as_str));
        ApiError::none(format!("project `{key}` does not exist{}", near.map(|n| format!("; {n}")).unwrap_or_default()))
    })?;
    if !who.may(right, key) {
        return Err(ApiError::forbidden(format!(
            "key `{}` has no right `{}` on project `{key}`",
            who.key,
            right.word()
        )));
    }
    Ok(Arc::clone(project))
}

/// The project of that key. The one that had it last is looked at first: a file that takes long, or is not to be read at all,
/// holds up nobody who asks for another one.
fn named<'a>(app: &'a App, key: &str) -> Option<&'a Arc<Project>> {
    let had = app.projects.iter().find(|project| project.last().pipeline.project == key);
    had.filter(|project| project.key() == key).or_else(|| app.projects.iter().find(|project| project.key() == key))
}

/// The whole body, if it is not too long and comes in time. Of who is not known less is taken, and not for so long.
async fn read(headers: &HeaderMap, body: Body, known: bool) -> Result<Bytes, ApiError> {
    let (longest, takes) = if known { (LONGEST_BODY, BODY_TAKES) } else { (LONGEST_FORM, FORM_TAKES) };
    let too_long = || ApiError::too_large(format!("a request has {longest} bytes at most"));
    let said = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > longest as u64) {
        return Err(too_long());
    }
    match tokio::time::timeout(takes, Limited::new(body, longest).collect()).await {
        Err(_) => Err(ApiError::too_slow("the rest of the request did not come")),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(too_long()),
        Ok(Err(error)) => Err(ApiError::wrong(format!("the request cannot be read: {error}"))),
        Ok(Ok(body)) => Ok(body.to_bytes()),
    }
}

/// The request as the routes know it: one slash where there are several, none at the end.
pub(crate) fn tidy(uri: &Uri) -> Option<Uri> {
    let path = uri.path();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let tidy = format!("/{}", parts.join("/"));
    let whole = match uri.query() {
        Some(query) => format!("{tidy}?{query}"),
        None => tidy,
    };
    whole.parse().ok()
}

/// What every answer says.
pub(crate) fn finish(response: &mut Response) {
    let headers = response.headers_mut();
    let mut say = |name: &'static str, value: &'static str| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    say("dss-version", DSS_VERSION);
    say("dss-api-version", "1");
    say("server", concat!("kiln/", env!("CARGO_PKG_VERSION")));
    say("cache-control", "no-store");
    say("content-security-policy", "default-src 'none'; frame-ancestors 'none'; sandbox");
    say("cross-origin-resource-policy", "same-origin");
    say("referrer-policy", "no-referrer");
    say("x-content-type-options", "nosniff");
    say("x-frame-options", "DENY");
}
