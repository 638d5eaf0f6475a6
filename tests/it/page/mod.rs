//! The pages of `kiln serve` in a real browser, as people use them.

mod access;
mod driver;
mod jobs;
mod links;
mod lists;
mod logs;
mod looks;
mod many;
mod time;

use crate::serve::Server;
use driver::Browser;

/// Signs in by typing the key, on the way to a page.
#[track_caller]
pub(crate) fn sign_in(browser: &Browser, server: &Server, path: &str) {
    sign_in_at(browser, &server.url, &server.key, path);
}

/// Signs in at a server that is reached by this address.
#[track_caller]
pub(crate) fn sign_in_at(browser: &Browser, url: &str, key: &str, path: &str) {
    browser.go(&format!("{url}{path}"));
    browser.until("document.activeElement.id === 'key'");
    browser.write("#key", &format!("{key}{}", driver::ENTER));
    browser.until("document.querySelector('form[action=\"/sign-out\"]')");
    let here = browser.text("location.pathname + location.search");
    assert_eq!(here, path);
}

/// The id of the job whose page is shown.
#[track_caller]
pub(crate) fn job(browser: &Browser) -> String {
    let path = browser.text("location.pathname");
    path.rsplit('/').next().unwrap().to_owned()
}
