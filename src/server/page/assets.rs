//! The style sheet, the script and the icon. Their addresses change with their content, so that browsers keep them.

use std::sync::LazyLock;

use axum::body::Body;
use axum::http::{HeaderValue, header};

use crate::draw::svg::STYLE;
use crate::server::error::ApiError;
use crate::server::reply::{Reply, of};
use crate::server::route::Call;

const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");
/// The pages' style with that of the pictures in them.
static SHEET: LazyLock<String> = LazyLock::new(|| format!("{}\n{STYLE}", include_str!("page.css")));

/// What the addresses of the assets end with.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let all = [SHEET.as_str(), SCRIPT, ICON].concat();
    blake3::hash(all.as_bytes()).to_hex()[..12].to_owned()
});

/// `GET /assets/NAME`
pub(super) async fn asset(call: Call) -> Reply {
    let (kind, text) = match call.name("name")? {
        "page.css" => ("text/css;charset=utf-8", SHEET.as_str()),
        "page.js" => ("text/javascript;charset=utf-8", SCRIPT),
        "icon.svg" => ("image/svg+xml", ICON),
        other => return Err(ApiError::none(format!("there is no asset `{other}`"))),
    };
    let mut response = of(kind, Body::from(text));
    if call.query.get("v").is_some_and(|version| version == *VERSION) {
        let keep = HeaderValue::from_static("private, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, keep);
    }
    Ok(response)
}
