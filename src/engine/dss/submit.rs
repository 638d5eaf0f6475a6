//! How a step comes to its job: one that a run that died left, one that goes on already, or one that is asked for, with
//! care that no answer that is lost makes two of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::base::text::duration;
use crate::clock;
use crate::engine::api::{Ended, LeftBehind, Notice, Stop};
use crate::engine::dss::before::Before;
use crate::engine::dss::calls::Backoff;
use crate::engine::dss::elders::{Elders, Witness};
use crate::engine::dss::fault::{Fault, Kind, Made};
use crate::engine::dss::find::{Found, Search};
use crate::engine::dss::silence::NOTICE;
use crate::engine::dss::spec::{Relation, Spec};
use crate::engine::dss::watched::{BELIEVED, ended_as};
use crate::engine::dss::work::{Course, Go, Job, failed, reached, stopped};
use crate::event::{Failure, FailureCode, Intent, RemoteJob};
use crate::pipeline::dss_wire::{JobItem, JobStatus, is_over};

/// How long after its end a job of a run that died still counts for the next one.
const FRESH: Duration = Duration::from_secs(3_600);

/// What came of one request.
enum Posted {
    /// A job.
    Job(String),
    /// Another job is building the same.
    Busy(String),
    /// Perhaps a job. Where the server did answer, with an error of no words, it is not asked again.
    Perhaps(Fault),
}

impl Course {
    /// The job that a run that died had for this, where it still counts.
    pub(super) async fn resumed(&mut self) -> Go<Option<Job>> {
        let mut left = std::mem::take(&mut self.left);
        while let Some(first) = left.first() {
            match self.resumed_from(first).await {
                Ok(None) => {
                    let done = left.remove(0).job;
                    done.iter().for_each(|job| self.dss.does_not_count(&job.id));
                }
                Ok(job) => {
                    self.found_left();
                    return Ok(job);
                }
                Err(ended) => {
                    // It could not be looked for: another attempt, or the next run, has to.
                    if self.whole.is_none() {
                        self.dss.keep_left(left);
                    }
                    return Err(ended);
                }
            }
        }
        self.found_left();
        Ok(None)
    }

    /// All that was left was looked for. What was left for one step is taken from the beginning.
    fn found_left(&self) {
        if self.whole.is_some() {
            self.dss.forget_left();
        }
    }

    async fn resumed_from(&mut self, left: &LeftBehind) -> Go<Option<Job>> {
        self.go_on()?;
        match &left.job {
            Some(job) => self.resume_job(left, job).await,
            None => self.resume_intent(left).await,
        }
    }

    async fn resume_job(&mut self, left: &LeftBehind, remote: &RemoteJob) -> Go<Option<Job>> {
        self.say(&format!("run {} left job {}", left.run, remote.id));
        let job = Job { id: remote.id.clone(), joined: remote.joined, named: false, twice: None };
        let jobs = self.list().await.map_err(|ended| may_go_on(ended, left, remote))?;
        let line = jobs.iter().find(|line| line.id() == Some(&remote.id));
        let relation = line.map_or(Relation::Unclear, |line| self.dss.relation(&self.spec, &remote.id, line));
        if relation != Relation::Unclear && line.is_some_and(|line| line.tells() && !line.over()) {
            return self.take_or_wait(job, relation == Relation::Same).await;
        }
        let over = line.is_some_and(JobItem::over);
        let told = line.and_then(end_of).is_some();
        let status = match self.status(&remote.id, over, told).await.map_err(|ended| may_go_on(ended, left, remote))? {
            Ok(status) if status.removed == Some(true) => {
                self.dss.is_gone(&remote.id);
                return Ok(None);
            }
            Ok(status) => status,
            Err(fault) if fault.kind == Kind::NotFound && !fault.page => {
                if line.is_none() && self.comes_back(&job.id).await.map_err(|ended| may_go_on(ended, left, remote))? {
                    return Box::pin(self.resume_job(left, remote)).await;
                }
                self.tell(&format!("job {} of run {} vanished from DSS", job.id, left.run));
                self.dss.vanished(&job.id, &self.spec);
                return Ok(None);
            }
            // Its status cannot be read: its end is what the list tells.
            Err(fault) if over && !fault.is_away() && !fault.hopeless() => match line.and_then(end_of) {
                Some(state) => Arc::new(ended_as(state, JobStatus::default())),
                None => return Err(self.refused(&fault)),
            },
            Err(fault) => return Err(self.refused(&fault)),
        };
        let same = match status.definition().map(|def| self.spec.relation(def)) {
            None | Some(Relation::Unclear) => left.intent.request.is_empty() || left.intent.request == self.spec.text(),
            Some(relation) => relation == Relation::Same,
        };
        if !is_over(status.state()) {
            return self.take_or_wait(job, same).await;
        }
        let took = status.base.as_ref().and_then(|base| Some(base.end_ms? - base.def.as_ref()?.initiated_ms?));
        Ok(self.ended_before(job, status.state(), same, fresh(left, took)).await)
    }

    /// A job as it is now, for as long as it takes to be told. `over` says that a list told that it has ended, `told` that it
    /// told how.
    async fn status(&mut self, job: &str, over: bool, told: bool) -> Go<Result<Arc<JobStatus>, Fault>> {
        let began = Instant::now();
        let mut backoff = Backoff::new();
        loop {
            let status = async {
                if over {
                    // As everywhere else, what has ended is asked for at once.
                    let _slot = self.dss.ends.acquire().await.ok()?;
                    let calls = self.calls.patient(Duration::ZERO);
                    return Some(calls.status(self.spec.project(), job).await.map(Arc::new));
                }
                self.dss.look(self.spec.project(), job).await
            };
            match self.answer(status).await? {
                None => return Err(stopped("the run is over")),
                Some(Err(fault)) if fault.passing() && began.elapsed() < self.status_after(&fault, told) => {
                    self.rest(backoff.next(fault.retry_after)).await?;
                }
                Some(answer) => return Ok(answer),
            }
        }
    }

    /// How long the status of a job is waited for, with such a fault.
    fn status_after(&self, fault: &Fault, told: bool) -> Duration {
        let lost_after = self.lost_after(fault);
        if told && !fault.is_away() { lost_after.min(BELIEVED) } else { lost_after }
    }

    /// How long the server is waited for, with such a fault.
    pub(super) fn lost_after(&self, fault: &Fault) -> Duration {
        self.calls.peer.patience(fault, self.dss.settings.lost_after)
    }

    /// A job of a run that died has ended: it counts if it did what is asked for now, and not long ago.
    async fn ended_before(&mut self, job: Job, state: &str, same: bool, fresh: bool) -> Option<Job> {
        if state == "DONE" && same && fresh {
            self.accepted(&job).await;
            return Some(job);
        }
        let why = match (state, same) {
            ("DONE", true) => "ended more than an hour ago",
            ("DONE", false) => "built in another way",
            _ => "did not end well",
        };
        self.say(&format!("job {} {why}: it does not count", job.id));
        None
    }

    /// A run died while it asked for a job: there may be one.
    async fn resume_intent(&mut self, left: &LeftBehind) -> Go<Option<Job>> {
        self.say(&format!("run {} may have started a job; looking for it", left.run));
        let Ok(spec) = serde_json::from_str::<Spec>(&left.intent.request) else { return Ok(None) };
        let known: BTreeSet<String> = left.intent.known.iter().cloned().collect();
        let (one, joined) = match self.search(&spec, &known, &Elders::of(&left.intent), true).await? {
            Found::Jobs(mut found) if found.len() == 1 => (found.remove(0), false),
            Found::Foreign(found) => (foremost(found), true),
            Found::None if self.dss.settings.resubmit => {
                self.dss.unseen(&left.run, &spec);
                return Ok(None);
            }
            Found::Silence(fault) if !self.calls.peer.is_met() => return Err(self.refused(&fault)),
            Found::Silence(fault) => return Err(self.unknown(&fault.to_string(), AGAIN)),
            Found::Jobs(_) | Found::None | Found::Short | Found::Unclear(_) if self.dss.resubmit => {
                self.say("it is not known whether there is a job of it: it does not count, as --resubmit says");
                self.dss.unseen(&left.run, &spec);
                return Ok(None);
            }
            Found::Jobs(found) => return Err(self.several(&found)),
            Found::Unclear(open) => return Err(self.unclear(&open)),
            Found::None => {
                let message =
                    format!("run {} may have started a job, and none was found; `resubmit = false`", left.run);
                return Err(self.unknown(&message, "with `resubmit = true` it is asked for"));
            }
            Found::Short => {
                let at = left.at.strftime("%Y-%m-%d %H:%M:%S UTC");
                let message = format!("run {} may have started a job ({at}), and {SHORT}", left.run);
                return Err(self.unknown(&message, &self.by_hand()));
            }
        };
        let job = RemoteJob { id: one.id().unwrap_or_default().to_owned(), page: None, joined };
        self.resume_job(left, &job).await
    }

    /// A job that goes on is this step's, or stands in its way.
    async fn take_or_wait(&mut self, job: Job, same: bool) -> Go<Option<Job>> {
        if same {
            self.accepted(&job).await;
            return Ok(Some(job));
        }
        self.wait_for(&job.id, "builds the same in another way").await?;
        Ok(None)
    }

    /// A job for the step, or why DSS has none yet.
    pub(super) async fn obtain(&mut self) -> Go<Result<Job, String>> {
        loop {
            let Before { running, known, elders } = self.before().await?;
            let Some(running) = &running else { return self.submit(known, &elders).await };
            if let Some(job) = self.meet_running(running).await? {
                return Ok(Ok(job));
            }
        }
    }

    /// Waits for the end of a job that is not this step's.
    pub(super) async fn wait_for(&mut self, job: &str, why: &str) -> Go<()> {
        self.say(&format!("job {job} {why}; waiting for its end"));
        let follow = self.dss.follow(self.spec.project(), job);
        tokio::pin!(follow);
        let (began, limit) = (Instant::now(), self.dss.settings.busy_limit);
        tokio::select! {
            biased;
            _ = &mut follow => return Ok(()),
            rest = self.rest(began + NOTICE.min(limit)) => rest?,
        }
        let page = self.dss.page(self.spec.project(), job);
        let text = format!("job {job} {why}; waiting for its end, for {} at most: {page}", duration(limit));
        self.updates.tell(false, text);
        tokio::select! {
            biased;
            _ = &mut follow => Ok(()),
            rest = self.rest(began + limit) => {
                rest?;
                Err(failed(FailureCode::Refused, format!("job {job} {why}, and has not ended in time")))
            }
        }
    }

    /// Asks for a job. Who is stopped once an answer was lost may have one.
    async fn submit(&mut self, known: BTreeSet<String>, elders: &Elders) -> Go<Result<Job, String>> {
        let mut lost = Vec::new();
        match self.ask(known, elders, &mut lost).await {
            Err(Ended::Stopped(_)) if !lost.is_empty() => Err(stopped(ANSWER_LOST)),
            submitted => submitted,
        }
    }

    /// The same. An answer that is lost is looked for; only where no job turns up one more is asked for.
    async fn ask(
        &mut self,
        known: BTreeSet<String>,
        elders: &Elders,
        lost: &mut Vec<Fault>,
    ) -> Go<Result<Job, String>> {
        loop {
            let twice = !lost.is_empty();
            // Another job of it may turn up.
            let watched = twice || self.dss.has_vanished(&self.spec);
            self.go_on()?;
            let (known_to, elder) = (known.iter().cloned().collect(), elders.newest());
            let intent = Intent { request: self.spec.text(), known: known_to, elders: elder, listed: elders.listed() };
            if self.updates.notice(Notice::Submitting(intent.clone())).await.is_err() {
                return Err(stopped("the history cannot be kept"));
            }
            self.go_on()?;
            let fault = match self.post().await? {
                Posted::Job(id) => {
                    self.dss.testify(Witness::of(&id, &intent));
                    let job = Job { id, joined: false, named: true, twice: watched.then(|| known.clone()) };
                    self.accepted(&job).await;
                    return Ok(Ok(job));
                }
                Posted::Busy(why) if twice => {
                    let job = self.in_the_way(&why, Some(&known)).await?;
                    return job.map(Ok).ok_or_else(|| self.is_there(&why));
                }
                Posted::Busy(why) => return Ok(Err(why)),
                Posted::Perhaps(fault) => fault,
            };
            self.say(&format!("{fault}; looking for the job"));
            lost.push(fault.clone());
            match self.search(&self.spec.clone(), &known, elders, false).await? {
                Found::Jobs(found) => {
                    let one = self.only(found, if watched { 2 } else { 1 })?;
                    let id = one.id().unwrap_or_default().to_owned();
                    let job = Job { id, joined: false, named: false, twice: watched.then(|| known.clone()) };
                    self.accepted(&job).await;
                    return Ok(Ok(job));
                }
                Found::Foreign(found) => return Ok(Ok(self.take_foreign(&foremost(found), known).await)),
                Found::Unclear(open) => return Err(self.unclear(&open)),
                // The same answer would come again.
                Found::None if twice || fault.made() == Made::Hardly => {
                    return Err(self.unknown(&told(lost, None), AGAIN));
                }
                Found::None if !self.dss.settings.resubmit => {
                    let help = "with `resubmit = true` it is asked for once more";
                    return Err(self.unknown(&told(lost, None), help));
                }
                Found::None => {}
                Found::Short => {
                    return Err(self.unknown(&format!("{}; {SHORT}", told(lost, None)), &self.by_hand()));
                }
                Found::Silence(silence) => return Err(self.unknown(&told(lost, Some(&silence)), AGAIN)),
            }
            self.say("no job was found: asking once more");
        }
    }

    /// The answer was lost, and the only job for the same is one that somebody else seems to have started: it is taken, and
    /// left alone when the run is stopped. Should ours turn up all the same, it is ended.
    async fn take_foreign(&self, found: &JobItem, known: BTreeSet<String>) -> Job {
        let id = found.id().unwrap_or_default().to_owned();
        let by = self.dss.started_by(found);
        self.tell(&format!(
            "the answer was lost, and job {id} builds the same{by}: it is taken, as one of somebody else"
        ));
        let job = Job { id, joined: true, named: false, twice: Some(known) };
        self.accepted(&job).await;
        job
    }

    /// Sends the request, until it was sent for certain.
    async fn post(&mut self) -> Go<Posted> {
        let (settings, request) = (&self.dss.settings, self.request.clone());
        let (began, lost_after) = (Instant::now(), settings.lost_after);
        let project = self.spec.project().to_owned();
        let mut backoff = Backoff::new();
        let mut kill = self.stop.clone();
        loop {
            let calls = self.calls.clone();
            self.rest(calls.peer.quiet_until()).await?;
            let answer = tokio::select! {
                biased;
                // The name of a job that has come is not thrown away.
                answer = calls.start(&project, &request) => answer,
                () = reached(&mut kill, Stop::Kill) => {
                    return Err(stopped("a job may have been started: there was no time for the answer"));
                }
            };
            let fault = match answer {
                Ok(id) => return Ok(Posted::Job(id)),
                Err(fault) => fault,
            };
            let unheard = matches!(fault.kind, Kind::Unreachable | Kind::TooMany);
            if unheard && began.elapsed() < lost_after {
                self.say(&format!("{fault}; trying again"));
                self.rest(backoff.next(fault.retry_after)).await?;
            } else if fault.busy() {
                return Ok(Posted::Busy(fault.message));
            } else if fault.made() != Made::Nothing {
                return Ok(Posted::Perhaps(fault));
            } else {
                return Err(self.refused(&fault));
            }
        }
    }

    /// Looks for a job that this run asked for, behind those that were listed before, or another run (`later`). Being asked to
    /// stop does not end that at once: a job that is found can be aborted.
    async fn search(&self, spec: &Spec, known: &BTreeSet<String>, elders: &Elders, later: bool) -> Go<Found> {
        let settings = &self.dss.settings;
        let search = Search { dss: &self.dss, calls: &self.calls, project: spec.project(), spec, known, elders, later };
        let (mut ask, mut kill) = (self.stop.clone(), self.stop.clone());
        let unknown = || stopped(ANSWER_LOST);
        let patience = async {
            reached(&mut ask, Stop::Ask).await;
            tokio::time::sleep(settings.grace).await;
        };
        let told = async {
            tokio::time::sleep(NOTICE).await;
            let text = format!("looking for a job that may be there, for {}", duration(settings.submit_grace));
            self.updates.tell(false, text);
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            found = search.run(settings.submit_grace, settings.lost_after) => Ok(found),
            () = patience => Err(unknown()),
            () = reached(&mut kill, Stop::Kill) => Err(unknown()),
            () = told => Err(unknown()),
        }
    }

    /// The one job of those that were found. Of two for two requests the later one is aborted when it is noticed again.
    fn only(&self, mut found: Vec<JobItem>, requests: usize) -> Go<JobItem> {
        if found.len() > requests { Err(self.several(&found)) } else { Ok(found.remove(0)) }
    }

    fn several(&self, found: &[JobItem]) -> Ended {
        let ids: Vec<_> = found.iter().filter_map(JobItem::id).collect();
        let message = format!("the answer was lost, and any of these jobs may be it: {}", ids.join(", "));
        self.unknown(&message, &self.by_hand())
    }

    fn unclear(&self, open: &[String]) -> Ended {
        let what = "the answer was lost, and DSS does not tell of these whether one of them is the job";
        self.unknown(&format!("{what}: {}", open.join(", ")), &self.by_hand())
    }

    /// What was asked for is being built behind an answer that was lost: that job is there, and nothing names it.
    pub(super) fn is_there(&self, why: &str) -> Ended {
        let what = "the answer was lost, and the job may be the one that DSS speaks of";
        self.unknown(&format!("{what}: {why}"), AGAIN)
    }

    /// The way out where DSS may never tell whether there is a job: people see it on its page.
    fn by_hand(&self) -> String {
        let names = self.spec.names();
        let engine = &self.dss.settings.name;
        format!(
            "{AGAIN}, and should that end so too, `kiln run --engine {engine} --resubmit` asks for {names} again, once \
             that page shows no job of it that goes on"
        )
    }

    /// It is not known whether there is a job: what is known, and the way out.
    fn unknown(&self, what: &str, help: &str) -> Ended {
        let page = self.dss.jobs_page(self.spec.project());
        let failure = Failure::new(FailureCode::SubmissionUnknown, format!("{what}; see {page}: {help}"));
        Ended::Failed(Failure { page: Some(page), ..failure })
    }
}

/// What is said of a step that is stopped once it has asked for a job.
const ANSWER_LOST: &str = "a job may have been started: its answer was lost";
/// Lists that are cut off.
const SHORT: &str = "the lists of DSS do not show whether there is one: they do not show all that was there before";
/// The way out where it is not known whether there is a job.
const AGAIN: &str = "a job that is there and not wanted is aborted there; then run again";

/// How a job ended, where a list tells it.
fn end_of(line: &JobItem) -> Option<&str> {
    line.state.as_deref().filter(|state| is_over(state))
}

/// Of jobs that somebody else started, one that goes on.
fn foremost(mut found: Vec<JobItem>) -> JobItem {
    let on = found.iter().position(|job| !job.over()).unwrap_or_default();
    found.swap_remove(on)
}

/// Requests whose answers were lost, and no job was found, or DSS cannot be asked for one.
fn told(lost: &[Fault], silence: Option<&Fault>) -> String {
    let may = match lost {
        [_] => "there may be one all the same",
        _ => "there may be one of each request all the same",
    };
    let told: Vec<String> = lost.iter().map(Fault::to_string).collect();
    let told = told.join("; then ");
    match silence {
        None => format!("no job was found, and {may}: {told}"),
        Some(silence) => format!("DSS cannot be asked for the job, and {may}: {told}; {silence}"),
    }
}

/// The run was stopped before the job of a run that died was asked for.
fn may_go_on(ended: Ended, left: &LeftBehind, job: &RemoteJob) -> Ended {
    match ended {
        Ended::Stopped(_) => stopped(format!("job {} of run {} may go on: it was not asked for", job.id, left.run)),
        other @ (Ended::Staged(_) | Ended::Built(_) | Ended::Current(_) | Ended::Failed(_)) => other,
    }
}

/// Whether a job of a run that died still counts, which took `took` milliseconds until it ended. Spans are compared, not the
/// clocks of two machines.
fn fresh(left: &LeftBehind, took: Option<i64>) -> bool {
    let since = Duration::try_from(clock::now().duration_since(left.at)).unwrap_or_default();
    let took = Duration::from_millis(u64::try_from(took.unwrap_or(0)).unwrap_or(0));
    since.saturating_sub(took) < FRESH
}
