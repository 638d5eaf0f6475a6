//! What the thread of the jobs makes of what it is told.

use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::*;
use crate::base::job::BuildMode;
use crate::engine::limit::OpenFiles;
use crate::server::ask::{Asked, order};
use crate::server::desk::Touch;
use crate::server::project::Project;
use crate::store::lock::{Lock, here_now};

/// So many datasets have nothing to do with one another.
const NODES: usize = 20;

/// A clerk of one project, of which it is told nothing unless somebody does.
struct Office {
    clerk: Clerk,
    project: Arc<Project>,
    archive: Arc<Archive>,
    _folder: tempfile::TempDir,
}

fn office() -> Office {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pipeline.toml");
    let node = |i| format!("[dataset.n{i}]\npath = \"n{i}\"\nrun = \"true\"\n");
    let nodes: String = (0..NODES).map(node).collect();
    std::fs::write(&file, format!("[pipeline]\nformat = 1\nname = \"p\"\n{nodes}")).unwrap();
    let environment = std::iter::empty().collect();
    let site = Site {
        folder: dir.path().to_owned(),
        directory: None,
        state: None,
        environment,
        cores: 1,
        grace: Duration::ZERO,
        open_files: OpenFiles::default(),
    };
    let mut archives = Vec::new();
    let project = Project::open((0, &file), &site, Arc::new(|_| {}), &Arc::default(), &mut archives).unwrap();
    let clerk = Clerk::new(site, &archives, (1, 1), mpsc::channel().0).unwrap();
    Office { clerk, project: Arc::new(project), archive: archives.remove(0), _folder: dir }
}

impl Office {
    fn order(&self, node: usize) -> Box<Order> {
        let asked =
            Asked { targets: vec![format!("n{node}")], mode: BuildMode::Smart, engine: None, keep_going: false };
        Box::new(
            order(&self.clerk.site, &self.project, self.project.fresh().unwrap(), asked, "who".to_owned()).unwrap(),
        )
    }

    /// Asks for a node. The answer comes once it is kept.
    fn ask(&mut self, node: usize) -> Receiver<Result<JobId, ApiError>> {
        let (tell, told) = mpsc::channel();
        let message = Message::Start(self.order(node), tell);
        assert!(self.clerk.hear(std::iter::once(message)));
        told
    }

    /// The same, and it is kept.
    fn kept(&mut self, node: usize) -> JobId {
        let told = self.ask(node);
        self.clerk.answer();
        told.recv().unwrap().unwrap()
    }

    /// How a job stands in the history, and why.
    fn stands(&self, job: &JobId) -> (JobState, Option<Cause>) {
        let row = self.archive.ask(None, |reader| reader.run(job)).unwrap().unwrap();
        (row.state, row.cause())
    }

    /// Has a job at work, of which nothing else is there. Returns what it hears.
    fn at_work(&mut self, job: &JobId) -> (signals::UnboundedReceiver<Cause>, watch::Receiver<Stop>) {
        let (signals, heard) = signals::unbounded_channel();
        let (stop, stopped) = watch::channel(Stop::Go);
        let thread = std::thread::spawn(|| {});
        self.clerk.at_work.insert(job.clone(), AtWork { number: 0, signals, stop, thread });
        (heard, stopped)
    }
}

#[test]
fn a_job_on_its_way_back_is_asked_to_end_too() {
    let (mut office, job) = (office(), JobId::from_text("job"));
    assert!(!office.clerk.abort(&job, &Cause::Died, false));
    // It takes no signals any more, and has not told yet that it has to wait again.
    let (heard, stopped) = office.at_work(&job);
    drop(heard);
    assert!(office.clerk.abort(&job, &Cause::Died, false));
    assert_eq!((office.clerk.asked.get(&job), *stopped.borrow()), (Some(&Cause::Died), Stop::Kill));
}

#[test]
fn what_many_jobs_wait_for_is_asked_for_once() {
    let mut office = office();
    let lock = Lock::take(&office.archive.folder, "p", &here_now()).unwrap();
    let jobs: Vec<JobId> = (0..NODES).map(|node| office.kept(node)).collect();
    office.clerk.call();
    assert_eq!(office.clerk.pipelines.tries, 1);
    // Those that come later wait for the same, and whoever asks why they wait changes nothing.
    office.clerk.call();
    let (tell, told) = mpsc::channel();
    let before = office.archive.asked.load(Ordering::SeqCst);
    assert!(!office.clerk.hear(std::iter::once(Message::Why(jobs, tell))));
    let waits = told.recv().unwrap();
    assert_eq!(waits.len(), NODES);
    assert!(
        waits
            .values()
            .all(|(wait, _)| matches!(wait, Wait::Process(away, None) if away.pipeline.as_deref() == Some("p")))
    );
    assert_eq!((office.clerk.pipelines.tries, office.archive.asked.load(Ordering::SeqCst) - before), (1, 1));
    // It is tried again, once for all of them.
    office.clerk.pipelines.ask_anew();
    office.clerk.call();
    assert_eq!((office.clerk.pipelines.tries, office.clerk.desk.waiting()), (2, NODES));
    drop(lock);
}

#[test]
fn a_job_that_is_back_waits_again_or_ends_if_it_was_asked_to() {
    let mut office = office();
    let job = JobId::from_text("job");
    for asked in [None, Some(Cause::Died)] {
        office.clerk.desk.add(job.clone(), 0, Touch::default());
        assert_eq!(office.clerk.desk.call(|_| true), std::slice::from_ref(&job));
        let _hears = office.at_work(&job);
        asked.iter().for_each(|why| drop(office.clerk.asked.insert(job.clone(), why.clone())));
        // There is something left that would be made: it has to wait for a turn of its own.
        let order = office.order(0);
        assert!(office.clerk.hear(std::iter::once(Message::Back(job.clone(), order))));
        assert!(office.clerk.at_work.is_empty() && office.clerk.asked.is_empty());
        assert_eq!(office.clerk.orders.contains_key(&job), asked.is_none());
        assert_eq!(office.clerk.ends.len(), usize::from(asked.is_some()));
        office.clerk.orders.clear();
        office.clerk.desk.over(&job);
    }
}

#[test]
fn at_the_end_what_waits_is_aborted_and_what_runs_is_asked_once_more_for_each_signal() {
    let mut office = office();
    let (waits, runs) = (office.kept(0), JobId::from_text("runs"));
    office.clerk.desk.add(runs.clone(), 0, Touch::default());
    let (mut heard, _stopped) = office.at_work(&runs);
    office.clerk.hear(std::iter::once(Message::End(Cause::Died)));
    assert!(matches!(office.ask(1).recv().unwrap(), Err(error) if error.message() == "the server is ending"));
    office.clerk.answer();
    assert_eq!(office.stands(&waits), (JobState::Aborted, Some(Cause::Died)));
    office.clerk.hear(std::iter::once(Message::End(Cause::Died)));
    let mut times = 0;
    while heard.try_recv().is_ok() {
        times += 1;
    }
    assert_eq!(times, 2);
}

#[test]
fn of_a_job_that_cannot_be_kept_nothing_is_left() {
    let mut office = office();
    let aborted = office.kept(0);
    let store = office.archive.folder.join("kiln.db");
    let tell = |sql: &str| {
        let told = std::process::Command::new("sqlite3").arg(&store).arg(sql).status();
        assert!(told.unwrap().success(), "{sql}");
    };
    tell("ALTER TABLE events RENAME TO gone");
    let told = office.ask(1);
    office.clerk.abort(&aborted, &Cause::Died, false);
    office.clerk.answer();
    assert!(matches!(told.recv().unwrap(), Err(error) if error.message().contains("no job can be kept")));
    assert!(office.clerk.orders.is_empty() && office.clerk.journals.is_empty());
    assert_eq!((office.clerk.desk.waiting(), office.archive.lost()), (0, vec![aborted.clone()]));
    // How the other one ended is kept as soon as that can be.
    office.clerk.keep_lost();
    assert_eq!(office.archive.lost(), std::slice::from_ref(&aborted));
    tell("ALTER TABLE gone RENAME TO events");
    office.clerk.keep_lost();
    assert!(office.archive.lost().is_empty());
    assert_eq!(office.stands(&aborted), (JobState::Aborted, Some(Cause::Died)));
}
