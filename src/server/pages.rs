//! The pages for people. Names and what steps said are text in them, never markup. They load nothing from elsewhere.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, header};
use futures::FutureExt;

use crate::server::auth::{Right, Who};
use crate::server::error::ApiError;
use crate::server::project::Project;
use crate::server::reply::{Reply, of};
use crate::server::route::{Call, Needs, Route};
use crate::store::filter::RunFilter;

/// The routes of the pages.
pub(crate) const ROUTES: &[Route] = &[
    Route::root(Method::GET, "/", Needs::Page, |call| start(call).boxed()),
    Route::root(Method::GET, "/sign-in", Needs::Nothing, |call| sign_in(call).boxed()),
];

/// What a page may do: show itself, and send its forms here.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// So many jobs of a project are shown.
const SHOWN: u32 = 50;

/// `GET /`: the projects with their last jobs.
async fn start(call: Call) -> Reply {
    let (app, who) = (Arc::clone(&call.app), call.who()?.clone());
    let work = move || {
        let mut body = String::new();
        for project in app.projects.iter().filter(|project| who.may(Right::View, &project.key())) {
            project_table(&mut body, project)?;
        }
        Ok::<_, ApiError>(page("Kiln", &format!("{body}{}", signed_in(&who))))
    };
    let text = tokio::task::spawn_blocking(work).await;
    html(text.unwrap_or_else(|error| Err(ApiError::broken(error.to_string())))?)
}

fn project_table(body: &mut String, project: &Project) -> Result<(), ApiError> {
    let loaded = project.loaded();
    let pipeline = loaded.pipeline.name.clone();
    let filter = RunFilter { pipeline: Some(pipeline), limit: Some(SHOWN), ..RunFilter::default() };
    let mut rows = project.archive.ask(Vec::new(), |reader| reader.runs(&filter))?;
    rows.iter_mut().for_each(|row| row.see_death(&project.archive.folder));
    *body += "<h2>";
    *body += &escape(&loaded.pipeline.project);
    *body += "</h2><table><tr><th>job<th>state<th>by<th>targets<th>why</tr>";
    for row in rows {
        let targets = if row.targets.is_empty() { "all".to_owned() } else { row.targets.join(" ") };
        let cells = [row.id.to_string(), row.state.to_string(), row.by, targets, row.why.unwrap_or_default()];
        let cells: String = cells.iter().map(|cell| format!("<td>{}", escape(cell))).collect();
        writeln!(body, "<tr>{cells}</tr>").map_err(|error| ApiError::broken(error.to_string()))?;
    }
    *body += "</table>";
    Ok(())
}

fn signed_in(who: &Who) -> String {
    format!("<form method=post action=/sign-out>{} <button>sign out</button></form>", escape(&who.key))
}

/// `GET /sign-in`: asks for a key.
async fn sign_in(_: Call) -> Reply {
    let form = "<form method=post action=/sign-in><label>API key <input type=password name=key autofocus></label> \
                <button>sign in</button></form>";
    html(page("Kiln: sign in", form))
}

fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!("<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><h1>{title}</h1>{body}</html>\n")
}

fn html(text: String) -> Reply {
    let mut response = of("text/html;charset=utf-8", Body::from(text));
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// A text as it stands in a page.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
