//! How a browser is signed in and out: by a link that works once, or by a form with a key.

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use futures::FutureExt;

use crate::server::auth::Who;
use crate::server::auth::session::{cookie, set_cookie};
use crate::server::error::ApiError;
use crate::server::query::Query;
use crate::server::reply::{Reply, see_other};
use crate::server::route::{Call, Needs, Route};

/// The routes of signing in and out.
pub(crate) const ROUTES: &[Route] = &[
    Route::root(Method::GET, "/sign-in/{token}", Needs::Nothing, |call| link(call).boxed()),
    Route::root(Method::POST, "/sign-in", Needs::Nothing, |call| form(call).boxed()),
    Route::root(Method::POST, "/sign-out", Needs::Nothing, |call| out(call).boxed()),
];

async fn link(call: Call) -> Reply {
    match call.app.sessions.follow(call.name("token")?) {
        Some(who) => enter(&call, who),
        None => wrong(&call, "this link was used before, or is not known").await,
    }
}

async fn form(call: Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    match form.get("key").and_then(|key| call.app.keys.who(key.trim())) {
        Some(who) => enter(&call, who.clone()),
        None => wrong(&call, "this key is not known").await,
    }
}

async fn wrong(call: &Call, message: &str) -> Reply {
    let answered = call.app.slow.wrong(call.peer).await;
    Err(if answered { ApiError::unknown_key(message) } else { ApiError::slow_down("too many wrong keys") })
}

fn enter(call: &Call, who: Who) -> Reply {
    let token = call.app.sessions.open(who, crate::clock::now())?;
    with_cookie(&set_cookie(&token, call.app.port))
}

async fn out(call: Call) -> Reply {
    if let Some(token) = cookie(&call.headers, call.app.port) {
        call.app.sessions.close(&token);
    }
    with_cookie(&set_cookie("", call.app.port))
}

fn with_cookie(cookie: &str) -> Reply {
    let mut response = see_other("/");
    *response.body_mut() = Body::empty();
    let cookie = HeaderValue::from_str(cookie).map_err(|error| ApiError::broken(error.to_string()))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}
