//! Errors as the API tells them: always a JSON object with `errorType`, `message` and `detailedMessage`.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::Response;
use serde_json::json;

use crate::session::fail::Fail;
use crate::store::StoreError;

/// The type of JSON, as DSS writes it.
pub(crate) const JSON: &str = "application/json;charset=utf-8";

/// Why a request is not answered as it was meant.
#[derive(Debug)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    kind: &'static str,
    message: String,
    /// A header that belongs to the answer.
    header: Option<(header::HeaderName, &'static str)>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, kind, message: message.into(), header: None }
    }

    /// The request makes no sense.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "java.lang.IllegalArgumentException", message)
    }

    /// There is no such thing.
    pub(crate) fn none(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "com.dataiku.dip.server.controllers.NotFoundException", message)
    }

    /// No key, or a wrong one.
    pub(crate) fn unknown_key(message: impl Into<String>) -> Self {
        let header = (header::WWW_AUTHENTICATE, "Basic realm=\"kiln\", charset=\"UTF-8\"");
        Self { header: Some(header), ..Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedException", message) }
    }

    /// A browser that is not signed in any more.
    pub(crate) fn signed_out(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "UnauthorizedException", message)
    }

    /// The key does not give the right to do this.
    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "ForbiddenException", message)
    }

    /// The request was meant for another server.
    pub(crate) fn misdirected(message: impl Into<String>) -> Self {
        Self::new(StatusCode::MISDIRECTED_REQUEST, "MisdirectedRequestException", message)
    }

    /// The path is right and the method is not.
    pub(crate) fn method(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowedException", message)
    }

    /// It cannot be done as things stand.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "ConflictException", message)
    }

    /// The body is too large.
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "PayloadTooLargeException", message)
    }

    /// The head of the request is too long.
    pub(crate) fn too_long(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "RequestHeaderFieldsTooLargeException", message)
    }

    /// The rest of the request did not come in time.
    pub(crate) fn too_slow(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "RequestTimeoutException", message)
    }

    /// Too many of something at once.
    pub(crate) fn busy(message: impl Into<String>) -> Self {
        let header = (header::RETRY_AFTER, "5");
        Self {
            header: Some(header),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailableException", message)
        }
    }

    /// Too many wrong keys.
    pub(crate) fn slow_down(message: impl Into<String>) -> Self {
        let header = (header::RETRY_AFTER, "5");
        Self { header: Some(header), ..Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException", message) }
    }

    /// Something here does not work.
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "ServerException", message)
    }

    /// What is wrong, in words.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// What the answer says.
    pub(crate) fn json(&self) -> String {
        json!({ "errorType": self.kind, "message": self.message, "detailedMessage": self.message }).to_string()
    }

    /// The answer.
    pub(crate) fn response(self) -> Response {
        let mut response = Response::new(Body::from(self.json()));
        let Self { status, header, .. } = self;
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(JSON));
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        response
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let message = format!("the history cannot be read: {error}");
        if is_locked(&message) { Self::busy(message) } else { Self::broken(message) }
    }
}

/// Whether another process has the history for longer than one waits for it.
fn is_locked(message: &str) -> bool {
    message.ends_with("database is locked")
}

/// What is wrong, for who asks over HTTP: a way out that is one of the command line is none for him.
pub(crate) fn words(fail: &Fail) -> String {
    match fail {
        Fail::Usage(message, Some(help)) if ["--", "`kiln "].iter().any(|word| help.contains(word)) => message.clone(),
        Fail::Mistakes(..) | Fail::Usage(..) | Fail::Nothing(_) | Fail::Surroundings(_) => fail.plain(),
    }
}

impl From<Fail> for ApiError {
    fn from(fail: Fail) -> Self {
        let message = words(&fail);
        match fail {
            Fail::Usage(..) | Fail::Nothing(_) => Self::wrong(message),
            Fail::Mistakes(..) => Self::conflict(message),
            Fail::Surroundings(_) if is_locked(&message) => Self::busy(message),
            Fail::Surroundings(_) => Self::broken(message),
        }
    }
}
