//! The pages of `kiln serve` in a real browser, as people use them.

mod access;
mod details;
mod driver;
mod jobs;
mod links;
mod lists;
mod logs;
mod looks;
mod many;
mod time;

use crate::serve::Server;
use crate::serve::ask::{go, up};
use crate::support::Project;
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

/// Jobs as pages tell them apart: one that has failed, one that runs, and one that waits for it.
pub(crate) struct Various {
    pub(crate) failed: String,
    pub(crate) runs: String,
    pub(crate) waits: String,
}

impl Various {
    /// Starts them in a project that has run nothing yet.
    #[track_caller]
    pub(crate) fn start(project: &Project, server: &Server) -> Self {
        let body = "{\"type\": \"RECURSIVE_BUILD\", \"outputs\": [{\"id\": \"report\"}, {\"id\": \"bad\"}, {\"type\": \"TASK\", \"id\": \"publish\"}]}";
        let failed = server.post("/public/api/projects/ORDERS/jobs/", body).json()["id"].as_str().unwrap().to_owned();
        server.wait(&failed);
        let runs = server.build("gated");
        up(&project.path("gated.up"));
        let waits = server.build("gated");
        Self { failed, runs, waits }
    }

    /// Each with the name of its page.
    pub(crate) fn pages(&self) -> [(&'static str, &str); 3] {
        [("job-failed", &self.failed), ("job-running", &self.runs), ("job-waiting", &self.waits)]
    }

    /// Lets those that go on come to their end.
    #[track_caller]
    pub(crate) fn end(self, project: &Project, server: &Server) {
        go(&project.path("gated.go"));
        assert_eq!((server.wait(&self.runs), server.wait(&self.waits)), ("DONE".to_owned(), "DONE".to_owned()));
    }
}

/// The id of the job whose page is shown.
#[track_caller]
pub(crate) fn job(browser: &Browser) -> String {
    let path = browser.text("location.pathname");
    path.rsplit('/').next().unwrap().to_owned()
}
