//! How a browser is signed in and out: by a link that works once, or by a form with a key.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use futures::FutureExt;

use crate::server::auth::Who;
use crate::server::auth::session::{cookie, set_cookie};
use crate::server::error::ApiError;
use crate::server::query::Query;
use crate::server::reply::{Reply, see_other};
use crate::server::route::Answer::{Aside, Here};
use crate::server::route::{Below, Call, Needs, Route};
use crate::server::router::wants_page;
use crate::server::{blocking, sign_in_again};

/// The routes of signing in and out.
pub(crate) const ROUTES: &[Route] = &[
    Route::root(Method::GET, "/sign-in/{token}", Needs::Nothing, Here(|call| link(call).boxed())),
    Route::post(Below::Root, "/sign-in", Needs::Nothing, Here(|call| form(call).boxed())),
    Route::root(Method::POST, "/sign-out", Needs::Nothing, Aside(out)),
];

async fn link(call: Call) -> Reply {
    // Whoever only looks whether it is there does not use it up.
    if call.method == Method::HEAD {
        return Err(ApiError::method("a link is followed with GET"));
    }
    match call.app.sessions.follow(call.name("token")?) {
        Some(who) => enter(&call, who, "/").await,
        None => wrong(&call, "/", "this link was used before, or is not known: sign in with the key").await,
    }
}

async fn form(call: Call) -> Reply {
    let form = Query::parse(&String::from_utf8_lossy(&call.body));
    let next = within(form.get("next").unwrap_or("/"));
    match form.get("key").and_then(|key| call.app.keys.who(key.trim())) {
        Some(who) => enter(&call, who.clone(), next).await,
        None => wrong(&call, next, "this key is not known: try again").await,
    }
}

/// Whoever reads pages is asked once more.
async fn wrong(call: &Call, next: &str, message: &str) -> Reply {
    let answered = call.app.slow.wrong(call.peer).await;
    let error = if answered {
        ApiError::signed_out(message)
    } else {
        ApiError::slow_down("too many wrong keys: try again in a while")
    };
    if wants_page(&call.headers) { Ok(sign_in_again(next, &error)) } else { Err(error) }
}

async fn enter(call: &Call, who: Who, next: &str) -> Reply {
    let app = Arc::clone(&call.app);
    let token = blocking(move || Ok(app.sessions.open(who, crate::clock::now())?)).await?;
    with_cookie(next, &set_cookie(&token, call.app.port))
}

/// A place within this server, or its first page: whoever signs in is not sent elsewhere.
fn within(place: &str) -> &str {
    let fine = place.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if fine && place.starts_with('/') && !place.starts_with("//") { place } else { "/" }
}

fn out(call: &Call) -> Reply {
    if let Some(token) = cookie(&call.headers, call.app.port) {
        call.app.sessions.close(&token);
    }
    with_cookie("/sign-in", &set_cookie("", call.app.port))
}

fn with_cookie(place: &str, cookie: &str) -> Reply {
    let mut response = see_other(place);
    *response.body_mut() = Body::empty();
    let cookie = HeaderValue::from_str(cookie).map_err(|error| ApiError::broken(error.to_string()))?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_signs_in_stays_here() {
        for place in ["/", "/projects/ORDERS/jobs/x?step=a%20b"] {
            assert_eq!(within(place), place);
        }
        for place in
            ["", "//evil.example", "/\\evil.example", "http://evil.example", "evil", "/a b", "/a\r\nx: y", "/é"]
        {
            assert_eq!(within(place), "/", "{place}");
        }
    }
}
