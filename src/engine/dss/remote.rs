//! What commands ask a DSS server: its jobs, their logs, its flow. Prints nothing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use serde_json::Value;
use tokio::time::Instant;

use crate::base::span::Problem;
use crate::engine::api::Ended;
use crate::engine::dss::asks::Followed;
use crate::engine::dss::before::{Alike, LISTS};
use crate::engine::dss::calls::Calls;
use crate::engine::dss::elders::Elders;
use crate::engine::dss::fault::{Fault, Kind, Made};
use crate::engine::dss::find::{Found, Search};
use crate::engine::dss::growing::Growing;
use crate::engine::dss::judge::{self, Verdict};
use crate::engine::dss::settings::Auth;
use crate::engine::dss::spec::Spec;
use crate::engine::dss::told::is_failed;
use crate::engine::dss::{Dss, DssEngine};
use crate::event::{Failure, FailureCode};
use crate::pipeline::dss_wire::{FlowGraph, JobItem, JobStatus, Target, Thing};

/// How long a command tries to read something.
const PATIENCE: Duration = Duration::from_secs(20);

/// Why a server did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteError {
    /// What went wrong.
    pub message: String,
    /// Whether the server does not know what it was asked about.
    pub not_found: bool,
}

impl RemoteError {
    /// What asks in the background has ended, which it does not.
    #[must_use]
    pub fn ended() -> Self {
        Self { message: "this is a bug in Kiln: nobody asks the server any more".to_owned(), not_found: false }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RemoteError {}

impl From<Fault> for RemoteError {
    fn from(fault: Fault) -> Self {
        Self { message: fault.to_string(), not_found: fault.kind == Kind::NotFound }
    }
}

/// A server, as commands see it.
pub struct Remote {
    dss: Arc<Dss>,
    calls: Calls,
}

/// What a project has: the things of each kind, with the flow that joins them.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// The flow.
    pub graph: FlowGraph,
    /// Datasets.
    pub datasets: Vec<Thing>,
    /// Managed folders.
    pub folders: Vec<Thing>,
    /// Saved models.
    pub models: Vec<Thing>,
}

/// What is asked for with `kiln jobs start`.
#[derive(Clone, Debug)]
pub struct Start {
    /// The build type.
    pub kind: String,
    /// What is built.
    pub targets: Vec<Target>,
    /// Whether the schema of outputs is updated before each recipe.
    pub auto_update_schema: bool,
    /// Whether the Hive metastore is brought up to date behind the job.
    pub refresh_hive_metastore: bool,
}

impl DssEngine {
    /// The server, as commands see it.
    ///
    /// # Errors
    /// What the way to it lacks.
    pub fn remote(&self) -> Result<Remote, Problem> {
        let calls = self.dss.calls()?.patient(PATIENCE);
        Ok(Remote { dss: Arc::clone(&self.dss), calls })
    }
}

impl Remote {
    /// The project of nodes that name none.
    #[must_use]
    pub fn project(&self) -> &str {
        &self.dss.settings.project
    }

    /// Where the server is.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.dss.settings.url
    }

    /// The line of a pipeline file that names the key that is used.
    #[must_use]
    pub fn key_line(&self) -> String {
        let word = match self.dss.settings.auth {
            Ok(Auth::Token(_)) => "jwt",
            Ok(Auth::Key(_)) | Err(_) => "api_key",
        };
        self.dss.settings.key_from.line(word)
    }

    /// The page of a job for people.
    #[must_use]
    pub fn page(&self, project: &str, job: &str) -> String {
        self.dss.page(project, job)
    }

    /// All jobs of a project, the newest first as far as they tell when they began.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn jobs(&self, project: &str) -> Result<Vec<JobItem>, RemoteError> {
        let mut jobs = self.calls.jobs(project, None).await?;
        jobs.sort_by_key(|job| std::cmp::Reverse(began_ms(job)));
        Ok(jobs)
    }

    /// The jobs that go on: of a project, or of all.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn running(&self, project: Option<&str>) -> Result<Vec<JobItem>, RemoteError> {
        let asked = match project {
            Some(project) => self.calls.running(project).await,
            None => self.calls.running_everywhere().await,
        };
        match (asked, project) {
            (Ok(jobs), _) => Ok(jobs),
            // Servers before 15.2 take the question for the id of a job; some keys may not see what others run.
            (Err(fault), Some(project)) if fault.kind == Kind::Forbidden || (!fault.hopeless() && !fault.passing()) => {
                let jobs = self.calls.jobs(project, None).await?;
                Ok(jobs.into_iter().filter(|job| !job.over()).collect())
            }
            (Err(fault), None) if fault.kind == Kind::NotFound => Err(RemoteError {
                message: "this server has no list of the jobs of all projects (DSS 15.2 has); name one with --project"
                    .to_owned(),
                not_found: true,
            }),
            (Err(fault), _) => Err(fault.into()),
        }
    }

    /// A job: as it is understood, and as the server tells it, secrets masked.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn status(&self, project: &str, job: &str) -> Result<(JobStatus, Value), RemoteError> {
        let value = self.calls.status_value(project, job).await?;
        let status = serde_json::from_value(value.clone());
        Ok((status.map_err(|error| Fault::odd(error.to_string()))?, value))
    }

    /// A job, without patience: who asks has other ways to find it.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn glance(&self, project: &str, job: &str) -> Result<JobStatus, RemoteError> {
        Ok(self.calls.patient(Duration::ZERO).status(project, job).await?)
    }

    /// How a job stands as the list of jobs tells it, where its status does not; empty where that does not either.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn listed(&self, project: &str, job: &str) -> Result<String, RemoteError> {
        let jobs = self.calls.jobs(project, None).await?;
        let line = jobs.into_iter().find(|line| line.id() == Some(job));
        Ok(line.and_then(|line| line.state).unwrap_or_default())
    }

    /// The whole log of a job or of one of its activities, secrets masked.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn log(&self, project: &str, job: &str, activity: Option<&str>) -> Result<String, RemoteError> {
        Ok(self.calls.log(project, job, activity).await?)
    }

    /// A log to be followed with [`Remote::more`].
    #[must_use]
    pub fn growing(&self) -> Growing {
        Growing::new(&self.calls.mask)
    }

    /// What is new of a log, line by line; all that is left of it where the job is `over`.
    ///
    /// # Errors
    /// Why the server does not say; that a job is over and its log shorter than before.
    pub async fn more(
        &self,
        project: &str,
        job: &str,
        activity: Option<&str>,
        log: &mut Growing,
        over: bool,
    ) -> Result<String, RemoteError> {
        let raw = match self.calls.raw_log(project, job, activity).await {
            Ok(raw) => raw,
            // A job that waits for its turn, or an activity that has not begun, has none yet.
            Err(fault) if fault.kind == Kind::NotFound && !over => return Ok(String::new()),
            Err(fault) => return Err(fault.into()),
        };
        match log.more(&raw, over) {
            Ok(text) => Ok(text),
            Err(_) if !over => Ok(String::new()),
            Err(shorter) => Err(RemoteError { message: shorter.to_string(), not_found: false }),
        }
    }

    /// Why a job failed, with the end of its log and its page.
    pub async fn why(&self, project: &str, job: &str, status: &JobStatus) -> Failure {
        let broken = status.activities().filter(|(_, activity)| is_failed(activity));
        let mut failure = match judge::failed_of(status, job, broken) {
            Verdict::Ended(Ended::Failed(failure)) => failure,
            Verdict::Busy(why) => Failure::new(FailureCode::Remote, format!("job {job} failed: {why}")),
            Verdict::Ended(_) | Verdict::Aborted => Failure::new(FailureCode::Remote, format!("job {job} failed")),
        };
        if failure.tail.is_empty() {
            // That it failed is known, whether there is a log or not.
            failure.tail =
                self.calls.log_end(project, job, None).await.map(|log| judge::tail(&log)).unwrap_or_default();
        }
        Failure { page: Some(self.page(project, job)), ..failure }
    }

    /// Asks a job to end.
    ///
    /// # Errors
    /// Why the server does not.
    pub async fn abort(&self, project: &str, job: &str) -> Result<(), RemoteError> {
        match self.calls.abort(project, job).await {
            Ok(()) => Ok(()),
            // A job that has ended already is what was wanted.
            Err(fault) => match self.calls.status(project, job).await {
                Ok(status) if crate::pipeline::dss_wire::is_over(status.state()) => Ok(()),
                Ok(_) | Err(_) => Err(fault.into()),
            },
        }
    }

    /// Waits for the ends of jobs, and tells each when it comes. False where the time was over before. Needs
    /// the engine's background to go on.
    ///
    /// # Errors
    /// Why the server cannot be asked any more.
    pub async fn wait(
        &self,
        project: &str,
        jobs: &[String],
        timeout: Option<Duration>,
        mut ended: impl FnMut(&str, Option<&JobStatus>),
    ) -> Result<bool, RemoteError> {
        let mut ends: FuturesUnordered<_> =
            jobs.iter().map(|job| async move { (job, self.dss.follow(project, job).await) }).collect();
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                end = ends.next() => match end {
                    None => return Ok(true),
                    Some((job, Ok(Followed::Over(status) | Followed::Listed(status, _)))) => ended(job, Some(&status)),
                    Some((_, Ok(Followed::Lost(fault)))) => return Err(fault.into()),
                    Some((job, Ok(Followed::Gone) | Err(_))) => ended(job, None),
                },
                () = late => return Ok(false),
            }
        }
    }

    /// Starts a job. An answer that is lost is looked for, and nothing is asked for twice. Needs the
    /// engine's background to go on.
    ///
    /// # Errors
    /// Why there is none, or that it is not known.
    pub async fn start(&self, project: &str, start: Start) -> Result<String, RemoteError> {
        let spec = Spec { kind: start.kind, targets: start.targets };
        let (mut before, mut elders) = (Alike::default(), Elders::default());
        for _ in 0..LISTS {
            let jobs = self.calls.jobs(project, None).await?;
            elders.add(&jobs);
            if before.add(&jobs, &spec) {
                break;
            }
        }
        let known = before.ids(&spec);
        let request = spec.request(start.auto_update_schema, start.refresh_hive_metastore);
        let fault = match self.calls.start(project, &request).await {
            Ok(id) => return Ok(id),
            Err(fault) => fault,
        };
        if fault.busy() {
            let way_out = "`kiln jobs running` shows the other job, `kiln jobs wait` waits for its end";
            return Err(RemoteError { message: format!("{fault}; {way_out}"), not_found: false });
        }
        if fault.made() == Made::Nothing {
            return Err(fault.into());
        }
        let search = Search {
            dss: &self.dss,
            calls: &self.calls,
            project,
            spec: &spec,
            known: &known,
            elders: &elders,
            later: false,
        };
        self.look_for(search, &fault).await
    }

    async fn look_for(&self, search: Search<'_>, fault: &Fault) -> Result<String, RemoteError> {
        let page = self.dss.jobs_page(search.project);
        let way_out = "a job that is there and not wanted is aborted there; `kiln jobs list` shows it too";
        let unknown =
            |what: &str| RemoteError { message: format!("{fault}; {what}; see {page}: {way_out}"), not_found: false };
        match search.run(self.dss.settings.submit_grace, PATIENCE).await {
            Found::Jobs(jobs) => match jobs.as_slice() {
                [one] => Ok(one.id().unwrap_or_default().to_owned()),
                several => {
                    let ids: Vec<_> = several.iter().filter_map(JobItem::id).collect();
                    Err(unknown(&format!("any of these may be the job: {}", ids.join(", "))))
                }
            },
            Found::Foreign(jobs) => {
                let ids: Vec<_> = jobs.iter().filter_map(JobItem::id).collect();
                let by = jobs.first().map(|job| self.dss.started_by(job)).unwrap_or_default();
                Err(unknown(&format!("no job of ours was found, but one of somebody else: {}{by}", ids.join(", "))))
            }
            Found::None | Found::Short => Err(unknown("no job was found, and there may be one all the same")),
            Found::Unclear(open) => Err(unknown(&format!("one of these may be the job: {}", open.join(", ")))),
            Found::Silence(silence) => Err(unknown(&format!("and whether there is a job cannot be asked: {silence}"))),
        }
    }

    /// What a project has.
    ///
    /// # Errors
    /// Why the server does not say.
    pub async fn contents(&self, project: &str) -> Result<Project, RemoteError> {
        let contents = Project {
            graph: self.calls.graph(project).await?,
            datasets: self.calls.things(project, "datasets").await?,
            folders: self.calls.things(project, "managedfolders").await?,
            models: self.calls.things(project, "savedmodels").await?,
        };
        // Each dataset is a node of the flow: an answer with none is not the flow.
        if contents.graph.nodes.is_empty() && !contents.datasets.is_empty() {
            let some = crate::base::text::count(contents.datasets.len(), "dataset");
            let message = format!("DSS gives an empty flow of project {project}, which has {some}: try again");
            return Err(RemoteError { message, not_found: false });
        }
        Ok(contents)
    }
}

/// When a job began or was asked for, in milliseconds since 1970; 0 where nothing tells.
#[must_use]
pub fn began_ms(job: &JobItem) -> i64 {
    let start = job.start_ms.filter(|ms| *ms > 0);
    start.or_else(|| job.def.as_ref().and_then(|def| def.initiated_ms)).unwrap_or(0)
}
