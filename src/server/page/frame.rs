//! What all pages have: head, bar, the way back, the place where news are told. Does not know what a page is about.

use axum::body::Body;
use axum::http::{HeaderValue, header};
use maud::{DOCTYPE, Markup, html};

use crate::server::auth::Who;
use crate::server::error::ApiError;
use crate::server::page::assets::VERSION;
use crate::server::reply::{Reply, of};

/// What a page may do: load what is here, talk with this server, send its forms here. What the script makes of texts that
/// are markup goes through one place, which is named here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types kiln";

/// A page.
pub(super) struct Frame<'a> {
    /// What the tab is called.
    pub(super) title: &'a str,
    /// Who looks.
    pub(super) who: Option<&'a Who>,
    /// The way here: names and addresses.
    pub(super) crumbs: &'a [(&'a str, String)],
    /// Where the page hears its news, if there may be some.
    pub(super) live: Option<&'a str>,
    pub(super) main: Markup,
}

impl Frame<'_> {
    /// The answer with this page.
    pub(super) fn reply(&self) -> Reply {
        Ok(answer(self.markup()))
    }

    fn markup(&self) -> Markup {
        let version = VERSION.as_str();
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) " · Kiln" }
                    link rel="icon" type="image/svg+xml" href={ "/assets/icon.svg?v=" (version) };
                    link rel="stylesheet" href={ "/assets/page.css?v=" (version) };
                    script src={ "/assets/page.js?v=" (version) } defer {}
                }
                body {
                    a class="pass" href="#main" { "Skip to the content" }
                    (self.bar())
                    p #link class="link" role="status" hidden {}
                    p #said class="unseen" role="status" aria-live="polite" {}
                    main #main tabindex="-1" data-live=[self.live] { (self.main) }
                }
            }
        }
    }

    fn bar(&self) -> Markup {
        html! {
            header class="bar" {
                nav aria-label="Place" {
                    a class="home" href="/" {
                        img src={ "/assets/icon.svg?v=" (VERSION.as_str()) } alt="" width="22" height="22";
                        "Kiln"
                    }
                    @for (i, (name, address)) in self.crumbs.iter().enumerate() {
                        span class="slash" aria-hidden="true" { "/" }
                        a href=(address) aria-current=[(i + 1 == self.crumbs.len()).then_some("page")] { (name) }
                    }
                }
                @if let Some(who) = self.who {
                    form method="post" action="/sign-out" {
                        span class="quiet" { (who.key) }
                        button class="plain" { "Sign out" }
                    }
                }
            }
        }
    }
}

/// A piece of a page.
pub(super) fn piece(piece: Markup) -> axum::response::Response {
    answer(piece)
}

fn answer(page: Markup) -> axum::response::Response {
    let mut response = of("text/html;charset=utf-8", Body::from(page.into_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    // Without any referrer, forms would say that they come from nowhere, and be refused.
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// The page that asks for a key, and goes on to `next`; `wrong` says why it asks again.
pub(super) fn sign_in(next: &str, wrong: Option<&str>) -> axum::response::Response {
    let main = html! {
        section class="card narrow" {
            h1 { "Sign in" }
            @if let Some(wrong) = wrong { p #wrong class="wrong" role="alert" { (wrong) } }
            p class="quiet" {
                "With the API key of this server. Without a key file it is in " code { ".kiln/api-key" } " beside the pipeline."
            }
            form method="post" action="/sign-in" class="column" {
                input type="hidden" name="next" value=(next);
                label for="key" { "API key" }
                input #key type="password" name="key" autocomplete="current-password" required autofocus
                    aria-invalid=[wrong.map(|_| "true")] aria-describedby=[wrong.map(|_| "wrong")];
                button class="main" { "Sign in" }
            }
        }
    };
    answer(Frame { title: "Sign in", who: None, crumbs: &[], live: None, main }.markup())
}

/// An error as a page.
pub(super) fn sorry(error: &ApiError) -> axum::response::Response {
    let status = error.status;
    let main = html! {
        section class="card narrow" {
            h1 { (status.canonical_reason().unwrap_or("Error")) }
            p class="pre" { (error.message()) }
            p { a href="/" { "All jobs" } }
        }
    };
    let mut page = answer(Frame { title: "Sorry", who: None, crumbs: &[], live: None, main }.markup());
    *page.status_mut() = status;
    page
}
