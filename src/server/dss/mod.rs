//! The part of the DSS public API that a pipeline file can stand for: the table of its routes. What is not in it is answered
//! with 404 and the path by name.

mod datasets;
mod flow;
mod folders;
mod jobs;
mod list;
mod logs;
mod misc;
mod projects;
mod recipes;
mod start;
pub(crate) mod state;

use axum::http::Method;
use futures::FutureExt;

use crate::server::auth::Right::{Abort, Clear, Run, View};
use crate::server::route::{Below, Needs, Route};

const fn get(path: &'static str, answer: crate::server::route::Answer) -> Route {
    Route::api(Method::GET, path, Needs::Right(View), answer)
}

/// The routes of the API.
pub(crate) const ROUTES: &[Route] = &[
    Route::api(Method::GET, "/projects", Needs::Key, |call| projects::list(call).boxed()),
    get("/projects/{project}", |call| projects::get(call).boxed()),
    get("/projects/{project}/metadata", |call| projects::metadata(call).boxed()),
    get("/projects/{project}/variables", |call| projects::variables(call).boxed()),
    Route::api(Method::PUT, "/projects/{project}/variables", Needs::Right(View), |call| {
        projects::set_variables(call).boxed()
    }),
    get("/projects/{project}/jobs", |call| list::list(call).boxed()),
    Route::post(Below::Api, "/projects/{project}/jobs", Needs::Right(Run), |call| start::start(call).boxed()),
    get("/projects/{project}/jobs/running", |call| list::running(call).boxed()),
    get("/projects/{project}/jobs/{job}", |call| jobs::status(call).boxed()),
    get("/projects/{project}/jobs/{job}/log", |call| logs::log(call).boxed()),
    get("/projects/{project}/jobs/{job}/events", |call| logs::events(call).boxed()),
    Route::api(Method::POST, "/projects/{project}/jobs/{job}/abort", Needs::Right(Abort), |call| {
        jobs::abort(call).boxed()
    }),
    Route::api(Method::GET, "/jobs/running", Needs::Key, |call| list::running_everywhere(call).boxed()),
    get("/projects/{project}/flow/graph", |call| flow::graph(call).boxed()),
    get("/projects/{project}/flow/zones", |call| flow::zones(call).boxed()),
    get("/projects/{project}/flow/zones/{zone}", |call| flow::zone(call).boxed()),
    get("/projects/{project}/flow/zones/{zone}/graph", |call| flow::zone_graph(call).boxed()),
    get("/projects/{project}/datasets", |call| datasets::list(call).boxed()),
    get("/projects/{project}/datasets/{dataset}", |call| datasets::get(call).boxed()),
    get("/projects/{project}/datasets/{dataset}/info", |call| datasets::info(call).boxed()),
    get("/projects/{project}/datasets/{dataset}/metadata", |call| datasets::metadata(call).boxed()),
    get("/projects/{project}/datasets/{dataset}/schema", |call| datasets::schema(call).boxed()),
    get("/projects/{project}/datasets/{dataset}/partitions", |call| datasets::partitions(call).boxed()),
    Route::api(Method::DELETE, "/projects/{project}/datasets/{dataset}/data", Needs::Right(Clear), |call| {
        datasets::clear(call).boxed()
    }),
    get("/projects/{project}/managedfolders", |call| folders::list(call).boxed()),
    get("/projects/{project}/managedfolders/{folder}", |call| folders::get(call).boxed()),
    get("/projects/{project}/managedfolders/{folder}/contents", |call| folders::contents(call).boxed()),
    get("/projects/{project}/managedfolders/{folder}/contents/{*path}", |call| folders::file(call).boxed()),
    get("/projects/{project}/savedmodels", |call| folders::models(call).boxed()),
    get("/projects/{project}/savedmodels/{model}", |call| folders::model(call).boxed()),
    get("/projects/{project}/recipes", |call| recipes::list(call).boxed()),
    get("/projects/{project}/recipes/{recipe}", |call| recipes::get(call).boxed()),
    get("/projects/{project}/recipes/{recipe}/status", |call| recipes::status(call).boxed()),
    Route::api(Method::GET, "/auth/info", Needs::Key, |call| misc::auth(call).boxed()),
    Route::api(Method::GET, "/instance-info", Needs::Key, |call| misc::instance(call).boxed()),
    Route::api(Method::GET, "/futures", Needs::Key, |call| misc::futures(call).boxed()),
    Route::root(Method::GET, "/healthz", Needs::Nothing, |call| misc::health(call).boxed()),
];
