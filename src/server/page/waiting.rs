//! Why a job waits, with the way to the job that it waits for.

use maud::{Markup, html};

use crate::base::job::JobId;
use crate::server::App;
use crate::server::archive::Standing;
use crate::server::auth::{Right, Who};
use crate::server::desk::Wait;
use crate::server::page::words;
use crate::server::project::Project;
use crate::server::wording::waits;

/// Why a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Waiting {
    text: String,
    /// The job that it waits for, and the page of it.
    link: Option<(JobId, String)>,
}

impl Waiting {
    /// Why a job waits, if it does, as someone may see it.
    pub(super) fn of(app: &App, project: &Project, standing: &Standing, who: &Who) -> Option<Self> {
        let wait = app.wait(&standing.row, who)?;
        let text = words::plain(&waits(&wait, &project.loaded()));
        let link = match wait {
            Wait::Job(job, _) => {
                let seen = app.projects.iter().filter(|project| who.may(Right::View, &project.key()));
                let of = seen.into_iter().find(|project| project.standing(job.as_str()).is_ok());
                of.map(|project| (job.clone(), words::job_page(&project.key(), job.as_str())))
            }
            Wait::Turn | Wait::Process(..) | Wait::Another | Wait::Looking | Wait::Ending => None,
        };
        Some(Self { text, link })
    }

    /// The words, in which the job is a link.
    pub(super) fn markup(&self) -> Markup {
        let parts = self.link.as_ref().and_then(|(job, page)| Some((self.text.split_once(job.as_str())?, job, page)));
        html! {
            @match parts {
                Some(((before, after), job, page)) => { (before) a #waits-for href=(page) { (job) } (after) }
                None => (self.text),
            }
        }
    }
}
