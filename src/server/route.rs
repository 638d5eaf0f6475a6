//! The table of routes: what may be asked, with which right, and who answers. Does not know what the answers are.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use futures::future::BoxFuture;

use crate::server::App;
use crate::server::auth::{Right, Who};
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::query::Query;
use crate::server::reply::Reply;

/// Something that may be asked.
pub(crate) struct Route {
    /// How.
    pub(crate) method: Method,
    /// Where: below both prefixes of the API, or below the root for [`Below::Root`]. No slash at the end.
    pub(crate) path: &'static str,
    /// Below what.
    pub(crate) below: Below,
    /// What it takes.
    pub(crate) needs: Needs,
    /// Whether the answer depends on what comes behind the head of the request. What it does not depend on is not waited for.
    pub(crate) reads: bool,
    /// Who answers.
    pub(crate) answer: Answer,
}

/// Where a route lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Below {
    /// Below `/public/api` and `/dip/publicapi`.
    Api,
    /// Below `/`.
    Root,
}

/// What a request takes to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing.
    Nothing,
    /// Any key.
    Key,
    /// Any key; a browser without one is sent to where it signs in.
    Page,
    /// The right to look at the project that the path names; a browser without a key is sent to where it signs in.
    Sight,
    /// A right on the project that the path names.
    Right(Right),
}

/// Who answers a request. One thread waits for all sockets and for the time: what waits for anything else, or takes long, is
/// done aside of it.
#[derive(Clone, Copy)]
pub(crate) enum Answer {
    /// A function, called aside: it may wait for a disk.
    Aside(fn(&Call) -> Reply),
    /// A future of the thread that waits for sockets: what it has for a disk it hands to [`blocking`](crate::server::blocking).
    Here(fn(Call) -> BoxFuture<'static, Reply>),
}

impl Route {
    /// A route of the API.
    pub(crate) const fn api(method: Method, path: &'static str, needs: Needs, answer: Answer) -> Self {
        Self { method, path, below: Below::Api, needs, reads: false, answer }
    }

    /// A route outside the API.
    pub(crate) const fn root(method: Method, path: &'static str, needs: Needs, answer: Answer) -> Self {
        Self { method, path, below: Below::Root, needs, reads: false, answer }
    }

    /// A route that reads what is sent to it.
    pub(crate) const fn post(below: Below, path: &'static str, needs: Needs, answer: Answer) -> Self {
        Self { method: Method::POST, path, below, needs, reads: true, answer }
    }
}

/// A request that may be answered.
pub(crate) struct Call {
    pub(crate) app: Arc<App>,
    /// Who asks; nobody where nothing is needed.
    pub(crate) who: Option<Who>,
    /// The address it comes from.
    pub(crate) peer: IpAddr,
    /// The project that the path names.
    pub(crate) project: Option<Arc<Project>>,
    /// What the path names, in order.
    pub(crate) names: Vec<(String, String)>,
    pub(crate) method: Method,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    /// The body, where the route reads it.
    pub(crate) body: Bytes,
}

impl Call {
    /// What the path says for a placeholder.
    pub(crate) fn name(&self, placeholder: &str) -> Result<&str, ApiError> {
        let found = self.names.iter().find(|(name, _)| name == placeholder);
        found.map(|(_, value)| value.as_str()).ok_or_else(|| ApiError::broken(format!("no {placeholder} in the path")))
    }

    /// The project of the path.
    pub(crate) fn project(&self) -> Result<&Arc<Project>, ApiError> {
        self.project.as_ref().ok_or_else(|| ApiError::broken("no project in the path"))
    }

    /// Who asks.
    pub(crate) fn who(&self) -> Result<&Who, ApiError> {
        self.who.as_ref().ok_or_else(|| ApiError::unknown_key("this needs a key"))
    }
}
