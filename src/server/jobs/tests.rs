//! What the thread of the jobs makes of what it is told.

use super::*;

fn clerk() -> Clerk {
    let environment = std::iter::empty().collect();
    let site = Site { folder: PathBuf::new(), state: None, environment, cores: 1, grace: Duration::ZERO };
    Clerk {
        site,
        archives: Vec::new(),
        desk: Desk::new(1),
        orders: HashMap::new(),
        at_work: HashMap::new(),
        pipelines: Pipelines::default(),
        journals: HashMap::new(),
        permits: Arc::new(Semaphore::new(1)),
        answers: Vec::new(),
        ends: Vec::new(),
        asked: HashMap::new(),
        ending: None,
        to: mpsc::channel().0,
    }
}

#[test]
fn a_job_on_its_way_back_is_asked_to_end_too() {
    let (mut clerk, job) = (clerk(), JobId::from_text("job"));
    assert!(!clerk.abort(&job, &Cause::Died, false));
    // It takes no signals any more, and has not told yet that it has to wait again.
    let (signals, _) = signals::unbounded_channel();
    let (stop, stopped) = watch::channel(Stop::Go);
    let thread = std::thread::spawn(|| {});
    clerk.at_work.insert(job.clone(), AtWork { number: 0, signals, stop, thread });
    assert!(clerk.abort(&job, &Cause::Died, false));
    assert_eq!((clerk.asked.get(&job), *stopped.borrow()), (Some(&Cause::Died), Stop::Kill));
}
