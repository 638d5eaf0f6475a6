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
use crate::server::route::Answer::{self, Aside, Here};
use crate::server::route::{Below, Needs, Route};

const fn get(path: &'static str, answer: Answer) -> Route {
    Route::api(Method::GET, path, Needs::Right(View), answer)
}

/// The routes of the API.
pub(crate) const ROUTES: &[Route] = &[
    Route::api(Method::GET, "/projects", Needs::Key, Aside(projects::list)),
    get("/projects/{project}", Aside(projects::get)),
    get("/projects/{project}/metadata", Aside(projects::metadata)),
    get("/projects/{project}/variables", Aside(projects::variables)),
    Route::api(Method::PUT, "/projects/{project}/variables", Needs::Right(View), Aside(projects::set_variables)),
    get("/projects/{project}/jobs", Aside(list::list)),
    Route::post(Below::Api, "/projects/{project}/jobs", Needs::Right(Run), Aside(start::start)),
    get("/projects/{project}/jobs/running", Aside(list::running)),
    get("/projects/{project}/jobs/{job}", Aside(jobs::status)),
    get("/projects/{project}/jobs/{job}/log", Aside(logs::log)),
    get("/projects/{project}/jobs/{job}/events", Aside(logs::events)),
    Route::api(Method::POST, "/projects/{project}/jobs/{job}/abort", Needs::Right(Abort), Aside(jobs::abort)),
    Route::api(Method::GET, "/jobs/running", Needs::Key, Aside(list::running_everywhere)),
    get("/projects/{project}/flow/graph", Aside(flow::graph)),
    get("/projects/{project}/flow/zones", Aside(flow::zones)),
    get("/projects/{project}/flow/zones/{zone}", Aside(flow::zone)),
    get("/projects/{project}/flow/zones/{zone}/graph", Aside(flow::zone_graph)),
    get("/projects/{project}/datasets", Aside(datasets::list)),
    get("/projects/{project}/datasets/{dataset}", Aside(datasets::get)),
    get("/projects/{project}/datasets/{dataset}/info", Aside(datasets::info)),
    get("/projects/{project}/datasets/{dataset}/metadata", Aside(datasets::metadata)),
    get("/projects/{project}/datasets/{dataset}/schema", Aside(datasets::schema)),
    get("/projects/{project}/datasets/{dataset}/partitions", Aside(datasets::partitions)),
    Route::api(
        Method::DELETE,
        "/projects/{project}/datasets/{dataset}/data",
        Needs::Right(Clear),
        Aside(datasets::clear),
    ),
    get("/projects/{project}/managedfolders", Aside(folders::list)),
    get("/projects/{project}/managedfolders/{folder}", Aside(folders::get)),
    get("/projects/{project}/managedfolders/{folder}/contents", Aside(folders::contents)),
    get("/projects/{project}/managedfolders/{folder}/contents/{*path}", Aside(folders::file)),
    get("/projects/{project}/savedmodels", Aside(folders::models)),
    get("/projects/{project}/savedmodels/{model}", Aside(folders::model)),
    get("/projects/{project}/recipes", Aside(recipes::list)),
    get("/projects/{project}/recipes/{recipe}", Aside(recipes::get)),
    get("/projects/{project}/recipes/{recipe}/status", Aside(recipes::status)),
    Route::api(Method::GET, "/auth/info", Needs::Key, Aside(misc::auth)),
    Route::api(Method::GET, "/instance-info", Needs::Key, Aside(misc::instance)),
    Route::api(Method::GET, "/futures", Needs::Key, Aside(misc::futures)),
    Route::root(Method::GET, "/healthz", Needs::Nothing, Here(|_| misc::health().boxed())),
];
