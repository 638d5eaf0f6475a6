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
use crate::server::route::Answer::{self, Aside, Here};
use crate::server::route::{Below, Call, Needs, Route};

const fn see(path: &'static str, answer: Answer) -> Route {
    Route::root(Method::GET, path, Needs::Sight, answer)
}

const fn act(path: &'static str, right: crate::server::auth::Right, answer: Answer) -> Route {
    Route::post(Below::Root, path, Needs::Right(right), answer)
}

/// The routes of the pages.
pub(crate) const ROUTES: &[Route] = &[
    Route::root(Method::GET, "/", Needs::Page, Aside(home::home)),
    Route::root(Method::GET, "/live", Needs::Key, Aside(home::live)),
    Route::root(Method::GET, "/sign-in", Needs::Nothing, Aside(sign_in)),
    Route::root(Method::GET, "/assets/{name}", Needs::Nothing, Aside(assets::asset)),
    see("/projects/{project}", Aside(list)),
    see("/projects/{project}/flow", Here(|call| flow::flow(call).boxed())),
    see("/projects/{project}/jobs/{job}", Aside(job::job)),
    see("/projects/{project}/jobs/{job}/live", Aside(watch::job)),
    act("/projects/{project}/jobs", Run, Aside(act::start)),
    act("/projects/{project}/jobs/{job}/again", Run, Aside(act::again)),
    act("/projects/{project}/jobs/{job}/abort", Abort, Aside(act::abort)),
];

/// `GET /projects/K`: the list of its jobs.
fn list(call: &Call) -> Reply {
    Ok(see_other(&words::project_page(&call.project()?.key())))
}

/// `GET /sign-in`: asks for a key.
fn sign_in(call: &Call) -> Reply {
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
