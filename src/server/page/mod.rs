//! The pages for people: jobs, one job, the flow of a project. Names and what steps said are text in them, never markup. They
//! load nothing from elsewhere, and can be read without the script.

mod act;
mod ansi;
mod assets;
mod figure;
mod flow;
mod frame;
mod home;
mod job;
mod log;
mod steps;
mod waiting;
mod watch;
mod words;

use axum::http::Method;
use futures::FutureExt;

use crate::server::auth::Right::{Abort, Run};
use crate::server::error::ApiError;
use crate::server::reply::{Reply, see_other};
use crate::server::route::{Call, Needs, Route};

const fn see(path: &'static str, answer: crate::server::route::Answer) -> Route {
    Route::root(Method::GET, path, Needs::Sight, answer)
}

const fn act(path: &'static str, right: crate::server::auth::Right, answer: crate::server::route::Answer) -> Route {
    Route::post(crate::server::route::Below::Root, path, Needs::Right(right), answer)
}

/// The routes of the pages.
pub(crate) const ROUTES: &[Route] = &[
    Route::root(Method::GET, "/", Needs::Page, |call| home::home(call).boxed()),
    Route::root(Method::GET, "/live", Needs::Key, |call| home::live(call).boxed()),
    Route::root(Method::GET, "/sign-in", Needs::Nothing, |call| sign_in(call).boxed()),
    Route::root(Method::GET, "/assets/{name}", Needs::Nothing, |call| assets::asset(call).boxed()),
    see("/projects/{project}", |call| list(call).boxed()),
    see("/projects/{project}/flow", |call| flow::flow(call).boxed()),
    see("/projects/{project}/jobs/{job}", |call| job::job(call).boxed()),
    see("/projects/{project}/jobs/{job}/live", |call| watch::job(call).boxed()),
    act("/projects/{project}/jobs", Run, |call| act::start(call).boxed()),
    act("/projects/{project}/jobs/{job}/again", Run, |call| act::again(call).boxed()),
    act("/projects/{project}/jobs/{job}/abort", Abort, |call| act::abort(call).boxed()),
];

/// `GET /projects/K`: the list of its jobs.
async fn list(call: Call) -> Reply {
    Ok(see_other(&words::project_page(&call.project()?.key())))
}

/// `GET /sign-in`: asks for a key.
async fn sign_in(call: Call) -> Reply {
    Ok(frame::sign_in(call.query.get("next").unwrap_or("/"), None))
}

/// The page that asks for a key once more, and says why.
pub(crate) fn sign_in_again(next: &str, error: &ApiError) -> axum::response::Response {
    let mut page = frame::sign_in(next, Some(error.message()));
    *page.status_mut() = error.status;
    page
}

/// An error as a page, for whoever looks at pages.
pub(crate) fn sorry(error: &ApiError) -> axum::response::Response {
    frame::sorry(error)
}
