//! Answers that went well: JSON, text, streams.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use futures::Stream;
use serde::Serialize;

use crate::server::error::{ApiError, JSON};

/// What a request comes to.
pub(crate) type Reply = Result<Response, ApiError>;

/// A JSON answer.
pub(crate) fn json(value: &impl Serialize) -> Reply {
    let text = serde_json::to_vec(value).map_err(|error| ApiError::broken(error.to_string()))?;
    Ok(of(JSON, Body::from(text)))
}

/// An answer of a type.
pub(crate) fn of(kind: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// An answer that is made while it is read, no faster than it is read.
pub(crate) fn stream(
    kind: &'static str,
    parts: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
) -> Response {
    of(kind, Body::from_stream(parts))
}

/// An answer that sends the browser elsewhere.
pub(crate) fn see_other(place: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SEE_OTHER;
    let place = HeaderValue::from_str(place).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, place);
    response
}
