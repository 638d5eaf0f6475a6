//! One attempt at a step on DSS, from the look for a job that is there already to the end of its job. What DSS is asked is
//! in the files beside this one.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{SemaphorePermit, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::base::id::RecipeId;
use crate::base::job::{BuildMode, JobId};
use crate::base::text::duration;
use crate::clock;
use crate::engine::api::{Attempt, Attempted, Ended, LeftBehind, Notice, Stop, Updates, Work};
use crate::engine::dss::Dss;
use crate::engine::dss::asks::Followed;
use crate::engine::dss::calls::{Backoff, Calls};
use crate::engine::dss::fault::{Fault, Kind, Made, is_busy};
use crate::engine::dss::judge::{self, Verdict};
use crate::engine::dss::part::{self, Part};
use crate::engine::dss::spec::Spec;
use crate::engine::dss::told::Told;
use crate::engine::dss::whole::{Progress, Whole};
use crate::event::{Failure, FailureCode, Intent, RemoteJob};
use crate::pipeline::dss_wire::{JobStatus, StartJob, build, is_over};

/// The work of a recipe.
pub(super) struct DssWork {
    pub(super) dss: Arc<Dss>,
    pub(super) calls: Calls,
    pub(super) id: RecipeId,
}

impl Work for DssWork {
    fn describe(&self) -> String {
        let spec = self.dss.spec(self.id);
        let url = &self.dss.settings.url;
        match &self.dss.whole {
            Some(_) => format!("{} {} in the job of the run, on {url}", build::of(self.dss.mode), spec.names()),
            None => format!("{} {} on {url}", spec.kind, spec.names()),
        }
    }

    fn run(&self, attempt: Attempt, updates: Updates, stop: watch::Receiver<Stop>) -> BoxFuture<'static, Attempted> {
        let dss = &self.dss;
        *dss.updates.lock().unwrap_or_else(PoisonError::into_inner) = Some(updates.clone());
        // What is tried again is tried by itself.
        let part = dss.whole.as_ref().filter(|_| attempt.number == 1).map(|whole| dss.part(whole, self.id));
        let spec = dss.spec(self.id);
        let mut course = Course {
            request: dss.request(&spec, &BTreeSet::from([self.id])),
            left: if part.is_some() { Vec::new() } else { dss.take_left(&dss.pipeline.recipes[self.id].name) },
            own: Some((dss.pipeline.recipes[self.id].name.clone(), attempt.job.clone())),
            dss: Arc::clone(dss),
            calls: self.calls.clone(),
            spec,
            log: dss.state.join(&attempt.log),
            updates,
            stop,
            whole: None,
        };
        async move {
            if !course.can_be_kept() {
                return stopped(NOT_STARTED);
            }
            let Some(part) = part else { return course.run().await };
            if let Some(ended) = part.run(&mut course).await {
                return course.dressed(ended, &part).await;
            }
            match course.slot(&part.whole).await {
                Ok(_slot) => course.run().await,
                Err(ended) => ended,
            }
        }
        .map(Attempted::from)
        .boxed()
    }
}

/// What is said of a step that is stopped while it has no job.
const NOT_STARTED: &str = "stopped before a job was started";

/// What ends an attempt early stands on the right.
pub(super) type Go<T> = Result<T, Ended>;

/// A job that a step waits for.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: String,
    /// Whether someone else started it.
    pub(super) joined: bool,
    /// Whether DSS named it in the answer to our request.
    pub(super) named: bool,
    /// The jobs that there were before it was asked for, where another one may turn up: it was asked for twice, or what was
    /// taken is somebody else's.
    pub(super) twice: Option<BTreeSet<String>>,
}

/// How waiting for a job went.
enum End {
    /// The step is over.
    Over(Ended),
    /// The step has to begin again.
    Again(String),
}

/// An attempt.
pub(super) struct Course {
    pub(super) dss: Arc<Dss>,
    pub(super) calls: Calls,
    pub(super) spec: Spec,
    pub(super) request: StartJob,
    /// What runs that died had for it, or an attempt before.
    pub(super) left: Vec<LeftBehind>,
    /// The step and the run, unless it is for many steps.
    pub(super) own: Option<(String, JobId)>,
    pub(super) log: std::path::PathBuf,
    pub(super) updates: Updates,
    pub(super) stop: watch::Receiver<Stop>,
    /// Where the job is told of, if it is that of many steps.
    pub(super) whole: Option<Arc<Whole>>,
}

impl Course {
    pub(super) async fn run(mut self) -> Ended {
        match self.course().await {
            Ok(ended) | Err(ended) => ended,
        }
    }

    async fn course(&mut self) -> Go<Ended> {
        let mut backoff = Backoff::new();
        // How long it may begin again: the time in which its own job goes on, or one that it joined, is none of that.
        let mut until: Option<Instant> = None;
        let mut job = self.resumed().await?;
        // What there was before a request whose answer was lost, and whether something was in the way of the next one.
        let (mut lost, mut met) = (None, false);
        loop {
            let next = match job.take() {
                Some(job) => Ok(job),
                None => self.obtain().await?,
            };
            let end = match next {
                Ok(job) => {
                    lost = job.twice.clone().or(lost);
                    let began = Instant::now();
                    let end = self.follow_job(job).await?;
                    until = until.map(|until| until + began.elapsed());
                    end
                }
                Err(busy) => End::Again(busy),
            };
            if let End::Again(why) = &end
                && is_busy(why)
            {
                job = self.in_the_way(why, lost.as_ref()).await?;
                if job.is_some() {
                    continue;
                }
                if lost.is_some() && std::mem::replace(&mut met, true) {
                    return Err(self.is_there(why));
                }
            }
            match end {
                End::Over(ended) => return Ok(ended),
                End::Again(why) => {
                    let (now, limit, first) = (Instant::now(), self.dss.settings.busy_limit, until.is_none());
                    if now >= *until.get_or_insert(now + limit) {
                        return Err(failed(FailureCode::Remote, why));
                    }
                    match first {
                        true => self.tell(&format!("{why}; trying again, for {} at most", duration(limit))),
                        false => self.say(&format!("{why}; trying again")),
                    }
                    self.rest(backoff.next(None)).await?;
                }
            }
        }
    }

    /// Makes the folder of the log, so that it is known before a job is asked for whether there can be one.
    fn can_be_kept(&self) -> bool {
        self.kept(self.log.parent().map_or(Ok(()), std::fs::create_dir_all))
    }

    /// A line in the step's log. No file is kept open: of one job for all, thousands of steps go on at once.
    pub(super) fn say(&self, line: &str) {
        let line = format!("{line}\n");
        self.updates.output(line.as_bytes());
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.log);
        self.kept(file.and_then(|mut file| file.write_all(line.as_bytes())));
    }

    /// Whether the log could be kept. If not the attempt goes on all the same; the run is told.
    fn kept(&self, log: std::io::Result<()>) -> bool {
        log.map_err(|error| self.updates.trouble(format!("{}: {error}", self.log.display()))).is_ok()
    }

    /// Says something that people should know while it goes on.
    pub(super) fn tell(&self, text: &str) {
        self.say(text);
        self.updates.tell(false, text);
    }

    /// Waits, unless it is asked to stop.
    pub(super) async fn rest(&mut self, until: Instant) -> Go<()> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = reached(&mut stop, Stop::Ask) => Err(stopped(NOT_STARTED)),
            () = sleep_until(until) => Ok(()),
        }
    }

    /// Waits for an answer without effect, unless it is asked to stop.
    pub(super) async fn answer<T>(&self, answer: impl Future<Output = T>) -> Go<T> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            answer = answer => Ok(answer),
            () = reached(&mut stop, Stop::Ask) => Err(stopped(NOT_STARTED)),
        }
    }

    /// Ends the attempt where it was asked to stop.
    pub(super) fn go_on(&self) -> Go<()> {
        if *self.stop.borrow() == Stop::Go { Ok(()) } else { Err(stopped(NOT_STARTED)) }
    }

    /// There is a job: it is on disk before it is waited for.
    pub(super) async fn accepted(&self, job: &Job) {
        if !job.joined {
            self.dss.remember(&job.id, &self.spec, job.named);
        }
        let page = self.dss.page(self.spec.project(), &job.id);
        self.say(&format!("{} job {}: {page}", if job.joined { "joined" } else { "is" }, job.id));
        if let Some(whole) = &self.whole {
            // Each step tells it.
            whole.progress.send_modify(|progress| (progress.job, progress.status) = (Some(job.clone()), None));
            return;
        }
        let remote = RemoteJob { id: job.id.clone(), page: Some(page), joined: job.joined };
        // Where nothing can be kept any more nothing else starts; this job is followed to its end all the same.
        if self.updates.notice(Notice::Accepted(remote)).await.is_err() {
            tracing::debug!(job = job.id, "the history is kept no longer");
        }
    }

    /// The end of a job; where it is that of many steps, they hear how far it is.
    fn follow(&self, job: &str) -> oneshot::Receiver<Followed> {
        let live = self.whole.as_ref().map(|whole| whole.progress.clone());
        self.dss.follow_live(self.spec.project(), job, live)
    }

    /// A slot for a job of a step that the job of all left undone.
    async fn slot<'a>(&mut self, whole: &'a Whole) -> Go<SemaphorePermit<'a>> {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            () = reached(&mut stop, Stop::Ask) => Err(stopped(NOT_STARTED)),
            slot = whole.slots.acquire() => slot.map_err(|_| stopped(NOT_STARTED)),
        }
    }

    async fn follow_job(&mut self, job: Job) -> Go<End> {
        let mut follow = self.follow(&job.id);
        let mut stop = self.stop.clone();
        let mut job = job;
        loop {
            let again = Instant::now() + (self.dss.settings.submit_grace / 4).max(Duration::from_millis(50));
            tokio::select! {
                biased;
                followed = &mut follow => {
                    // Whoever is asked to stop meanwhile ends it as any other.
                    if matches!(followed, Ok(Followed::Gone)) && self.comes_back(&job.id).await.unwrap_or(true) {
                        follow = self.follow(&job.id);
                        continue;
                    }
                    if job.twice.is_some() {
                        job = self.double(&job, true).await.unwrap_or(job);
                        self.may_turn_up(&job);
                    }
                    let end = self.over(followed.unwrap_or(Followed::Gone), &job).await;
                    if matches!(end, Ok(End::Over(_))) {
                        self.counts(&job);
                    }
                    return end;
                }
                () = reached(&mut stop, Stop::Ask) => return self.end_early(follow, &job).await,
                () = sleep_until(again), if job.twice.is_some() => {
                    if let Some(earlier) = self.double(&job, false).await {
                        job = earlier;
                        follow = self.follow(&job.id);
                    }
                }
            }
        }
    }

    /// Ends the job, and waits until DSS says that it has ended, for as long as there is time.
    async fn end_early(&mut self, follow: oneshot::Receiver<Followed>, job: &Job) -> Go<End> {
        let page = self.dss.page(self.spec.project(), &job.id);
        if job.joined && !self.dss.abort_joined {
            return Err(stopped(format!("job {} goes on: it was joined, not started, by this run", job.id)));
        }
        let deadline = Instant::now() + self.dss.settings.grace;
        let mut kill = self.stop.clone();
        let calls = self.calls.patient(self.dss.settings.grace);
        let asked = AtomicBool::new(false);
        let end = async {
            match calls.abort(self.spec.project(), &job.id).await {
                Ok(()) => asked.store(true, Ordering::Relaxed),
                // What has ended cannot be aborted either; and what DSS did not see the end of may be done.
                Err(fault) if !fault.passing() && fault.made() == Made::Nothing && self.goes_on(job).await => {
                    return Err(fault);
                }
                Err(fault) => self.say(&format!("job {} could not be aborted: {fault}", job.id)),
            }
            Ok(follow.await.unwrap_or(Followed::Gone))
        };
        let late = || Err(late(&job.id, asked.load(Ordering::Relaxed), page.clone()));
        let followed = tokio::select! {
            biased;
            followed = end => followed,
            () = sleep_until(deadline) => return late(),
            () = reached(&mut kill, Stop::Kill) => return late(),
        };
        let followed = match followed {
            Ok(followed) => followed,
            Err(fault) => return Err(not_aborted(&job.id, &fault, page)),
        };
        match followed {
            Followed::Over(status) | Followed::Listed(status, _) if status.state() == "ABORTED" => {
                self.settled(&Arc::new(Told::new(*status)));
                self.say(&format!("job {} is aborted", job.id));
                Err(stopped(format!("job {} was aborted", job.id)))
            }
            Followed::Gone => Err(stopped(format!("job {} is gone", job.id))),
            Followed::Lost(_) => late(),
            over @ (Followed::Over(_) | Followed::Listed(..)) => self.over(over, job).await,
        }
    }

    /// Whether a job goes on, as far as its status tells.
    async fn goes_on(&self, job: &Job) -> bool {
        let calls = self.calls.patient(Duration::from_secs(5));
        match calls.status(self.spec.project(), &job.id).await {
            Ok(status) => status.removed != Some(true) && !is_over(status.state()),
            Err(fault) => fault.kind != Kind::NotFound || fault.page,
        }
    }

    /// What the end of the job means.
    async fn over(&self, followed: Followed, job: &Job) -> Go<End> {
        let id = &job.id;
        let status = match followed {
            Followed::Over(status) => status,
            Followed::Listed(status, fault) => {
                self.tell(&format!("the status of job {id} cannot be read, its end is what lists tell: {fault}"));
                status
            }
            Followed::Gone => {
                self.dss.vanished(id, &self.spec);
                return Err(self.page(failed(FailureCode::Lost, format!("job {id} vanished from DSS")), id));
            }
            Followed::Lost(fault) => {
                self.leave(job);
                return Err(self.page(failed(FailureCode::Lost, format!("job {id} may go on: {fault}")), id));
            }
        };
        self.say(&format!("job {id} is {}", status.state()));
        let told = Arc::new(Told::new(*status));
        let status = &told.status;
        self.settled(&told);
        let strict = matches!(self.dss.mode, BuildMode::Only | BuildMode::Forced);
        match judge::judge(&told, &self.spec, id, strict) {
            // What was built is built: the steps that were not come to a job of their own.
            Verdict::Busy(_) if self.whole.is_some() && judge::some_done(status) => {
                Ok(End::Over(Ended::Current(Vec::new())))
            }
            Verdict::Busy(why) => Ok(End::Again(why)),
            Verdict::Aborted if job.joined => Ok(End::Again(format!("job {id} was aborted by whoever started it"))),
            Verdict::Aborted if self.whole.is_some() => Ok(End::Over(Ended::Current(Vec::new()))),
            Verdict::Aborted => {
                let message = format!("job {id} was aborted on DSS, not by Kiln");
                Err(self.page(failed(FailureCode::Lost, message), id))
            }
            // Each step has its own view of it.
            Verdict::Ended(_) if self.whole.is_some() => Ok(End::Over(Ended::Current(Vec::new()))),
            Verdict::Ended(ended) => Ok(End::Over(self.page(self.with_tail(ended, status, id).await, id))),
        }
    }

    /// The job may go on: another attempt looks for it first.
    fn leave(&self, job: &Job) {
        let Some((step, run)) = self.own.clone() else { return };
        let intent = Intent { request: self.spec.text(), ..Intent::default() };
        let job = Some(RemoteJob { id: job.id.clone(), page: None, joined: job.joined });
        self.dss.keep_left(vec![LeftBehind { step, run, intent, job, at: clock::now() }]);
    }

    /// The last word of DSS on the job, for the steps that wait for it.
    fn settled(&self, told: &Arc<Told>) {
        if let Some(whole) = &self.whole {
            let status = Some(Arc::clone(told));
            whole.progress.send_modify(|progress| progress.status = status);
        }
    }

    /// How a step ended that was part of a job, with the end of its log and its page.
    async fn dressed(&self, mut ended: Ended, part: &Part) -> Ended {
        let Progress { job, status, .. } = part.whole.progress.borrow().clone();
        let (Some(job), Some(told)) = (job, status) else { return ended };
        let project = part.all.project();
        if let (Ended::Failed(failure), Some(activity)) = (&mut ended, part::broken(&told, &self.spec)) {
            let log = self.calls.patient(Duration::from_secs(5)).log_end(project, &job.id, Some(activity)).await;
            failure.tail = log.map_or_else(|_| std::mem::take(&mut failure.tail), |log| judge::tail(&log));
        }
        let ended = self.with_tail(ended, &told.status, &job.id).await;
        page_of(ended, self.dss.page(project, &job.id))
    }

    /// A failure with the last lines of the log, which DSS does not always send along.
    async fn with_tail(&self, ended: Ended, status: &JobStatus, job: &str) -> Ended {
        let Ended::Failed(mut failure) = ended else { return ended };
        if failure.tail.is_empty() && status.state() == "FAILED" {
            let log = self.calls.patient(Duration::from_secs(5)).log_end(self.spec.project(), job, None).await;
            failure.tail = log.map(|log| judge::tail(&log)).unwrap_or_default();
        }
        let tail = failure.tail.iter().chain([&failure.message]);
        self.say(&tail.map(String::as_str).collect::<Vec<_>>().join("\n"));
        Ended::Failed(failure)
    }

    fn page(&self, ended: Ended, job: &str) -> Ended {
        page_of(ended, self.dss.page(self.spec.project(), job))
    }

    /// A call that went wrong, as the end of the attempt.
    pub(super) fn refused(&self, fault: &Fault) -> Ended {
        self.refused_for("", fault)
    }

    /// The same, with what was asked for before it.
    pub(super) fn refused_for(&self, what: &str, fault: &Fault) -> Ended {
        failed(fault.code(self.calls.peer.is_met()), format!("{what}{fault}"))
    }
}

/// A failure with the page where people can see more of it.
fn page_of(ended: Ended, page: String) -> Ended {
    match ended {
        Ended::Failed(failure) => Ended::Failed(Failure { page: Some(page), ..failure }),
        Ended::Staged(_) | Ended::Built(_) | Ended::Current(_) | Ended::Stopped(_) => ended,
    }
}

pub(super) fn failed(code: FailureCode, message: impl Into<String>) -> Ended {
    Ended::Failed(Failure::new(code, message))
}

pub(super) fn stopped(message: impl Into<String>) -> Ended {
    Ended::Stopped(Failure::new(FailureCode::Stopped, message))
}

/// There is no more time to wait for the end of a job. `asked` says whether DSS has answered that it will end it.
fn late(job: &str, asked: bool, page: String) -> Ended {
    let not = if asked { "" } else { ", unless it was not asked to: the request to abort it was not answered" };
    let failure = Failure::new(FailureCode::Stopped, format!("job {job} still ends on DSS{not}: {page}"));
    Ended::Stopped(Failure { page: Some(page), ..failure })
}

/// DSS does not end a job.
fn not_aborted(job: &str, fault: &Fault, page: String) -> Ended {
    let message = format!("job {job} goes on, DSS does not abort it: {fault}; abort it by hand: {page}");
    Ended::Stopped(Failure { page: Some(page), ..Failure::new(FailureCode::Stopped, message) })
}

/// Waits until work is asked to stop as urgently as that.
pub(super) async fn reached(stop: &mut watch::Receiver<Stop>, level: Stop) {
    if stop.wait_for(|stop| *stop >= level).await.is_err() {
        std::future::pending::<()>().await; // the run that could ask has gone
    }
}
