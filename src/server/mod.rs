//! The job server: the jobs API of DSS over HTTP, for pipeline files of this machine. Puts the parts together; the parts do
//! not know one another but through [`App`].

mod abort;
mod archive;
mod ask;
mod audit;
pub(crate) mod auth;
mod clerk;
mod desk;
mod dss;
mod error;
mod held;
mod http;
mod jobs;
mod listing;
mod live;
mod logs;
mod lost;
mod page;
mod project;
mod query;
mod reply;
mod route;
mod router;
mod sign_in;
#[cfg(test)]
mod tests;
mod timeline;
mod touch;
mod turn;
mod wire;
mod wording;
mod work;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};

use crate::base::job::JobId;
use crate::cause::Cause;
use crate::engine::api::Stop;
use crate::exit;
use crate::server::archive::Archive;
use crate::server::auth::door::Door;
use crate::server::auth::keys::Keys;
use crate::server::auth::session::Sessions;
use crate::server::auth::slow::Slow;
use crate::server::auth::{Right, Who};
use crate::server::desk::Wait;
use crate::server::error::ApiError;
use crate::server::jobs::Jobs;
use crate::server::project::Project;
use crate::server::route::{Call, Route};
use crate::session::Site;
use crate::session::fail::Fail;
use crate::signal::Signals;
use crate::store::read::RunRow;

/// The version of DSS whose API this speaks.
pub(crate) const DSS_VERSION: &str = "14.0.0";
/// So many streams of events are open at a time.
const STREAMS: usize = 128;
/// So many look at the history and at logs at a time: each has a thread and memory of its own, whoever has asked.
const LOOKS: usize = 16;
/// So many plans are made at a time for pages.
const PLANS: usize = 2;

/// How long connections may take to end once everything else has.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the server is started with.
pub(crate) struct Options {
    /// The pipeline files.
    pub(crate) files: Vec<PathBuf>,
    /// Where it listens.
    pub(crate) listen: SocketAddr,
    /// The keys that it knows.
    pub(crate) key_file: Option<PathBuf>,
    /// So many jobs run at once.
    pub(crate) max_jobs: usize,
    /// So many steps run at once, in all jobs together.
    pub(crate) max_activities: usize,
    /// Whether a link is told that signs a browser in.
    pub(crate) link: bool,
}

/// Something that whoever started the server wants to know.
pub(crate) enum Notice<'a> {
    /// It listens here.
    Listening(SocketAddr),
    /// A browser that follows this is signed in, once.
    Link(String),
    /// The key that it made for itself is in this file.
    Key(PathBuf),
    /// Something about its keys is not as it should be.
    Warning(&'a str),
    /// A pipeline file has changed and was read again.
    ReadAgain(&'a str),
    /// A pipeline file has changed and has mistakes: what it said before counts.
    Broken(&'a Fail),
    /// It ends, and waits for what runs.
    Ending(&'a Cause),
}

/// Tells whoever started the server.
pub(crate) type Tell = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// All that requests are answered with.
pub(crate) struct App {
    pub(crate) site: Site,
    pub(crate) projects: Vec<Arc<Project>>,
    pub(crate) archives: Vec<Arc<Archive>>,
    pub(crate) jobs: Jobs,
    pub(crate) keys: Keys,
    pub(crate) sessions: Sessions,
    pub(crate) slow: Slow,
    pub(crate) door: Door,
    pub(crate) streams: Arc<Semaphore>,
    /// Pages that look at what is out of date.
    pub(crate) plans: Arc<Semaphore>,
    /// Ends the commands that are run for those.
    pub(crate) stop: watch::Sender<Stop>,
    pub(crate) port: u16,
}

impl App {
    /// Why jobs wait, as far as someone may know that: what goes on in projects that he may not look at is not told. Those that
    /// do not wait are left out. May block.
    pub(crate) fn waits(&self, rows: &[RunRow], who: &Who) -> HashMap<JobId, Wait> {
        let waits = self.jobs.waits(rows);
        if waits.is_empty() {
            return HashMap::new();
        }
        let last = self.projects.iter().map(|project| (project.number, project.last()));
        let hidden: Vec<_> = last.filter(|(_, last)| !who.may(Right::View, &last.pipeline.project)).collect();
        let hides = |wait: &Wait, of: Option<usize>| {
            hidden.iter().any(|(number, last)| match wait {
                Wait::Job(..) => of == Some(*number),
                Wait::Process(away, _) => away.pipeline.as_ref() == Some(&last.pipeline.name),
                Wait::Turn | Wait::Another | Wait::Looking | Wait::Ending => false,
            })
        };
        let seen = |(job, (wait, of))| (job, if hides(&wait, of) { Wait::Another } else { wait });
        waits.into_iter().map(seen).collect()
    }

    /// Why a job waits, as above; none if it does not.
    pub(crate) fn wait(&self, row: &RunRow, who: &Who) -> Option<Wait> {
        self.waits(std::slice::from_ref(row), who).remove(&row.id)
    }
}

impl Call {
    /// Notes in the audit log what someone does. May block: it is done where what it notes is done, so that whoever hangs up
    /// does not keep one from the other.
    pub(crate) fn note(&self, what: &str, job: &JobId, about: &str) {
        let (Some(who), Some(project)) = (&self.who, &self.project) else { return };
        let line = audit::Line {
            at: crate::clock::now().to_string(),
            key: &who.key,
            from: self.peer,
            what,
            project: &project.last().pipeline.project,
            job: job.as_str(),
            about,
        };
        audit::note(&project.archive.folder, &line);
    }
}

/// Does what may wait for a disk, aside from those who wait for sockets. It is done to its end, whoever waits for that.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ApiError::broken(format!("this is a bug: {error}"))))
}

/// All routes.
pub(crate) fn routes() -> impl Iterator<Item = &'static Route> {
    dss::ROUTES.iter().chain(sign_in::ROUTES).chain(page::ROUTES)
}

/// An error as a page, for whoever looks at pages.
pub(crate) fn sorry(error: &ApiError) -> axum::response::Response {
    page::sorry(error)
}

/// The page that asks a browser for a key once more.
pub(crate) fn sign_in_again(next: &str, error: &ApiError) -> axum::response::Response {
    page::sign_in_again(next, error)
}

/// Serves until a signal comes, and then until what runs has ended. Returns the exit code.
pub(crate) fn serve(site: Site, options: Options, tell: &Tell) -> Result<u8, Fail> {
    if !options.listen.ip().is_loopback() && options.key_file.is_none() {
        let help = "give --api-key-file FILE, or listen on 127.0.0.1".to_owned();
        return Err(Fail::Usage(format!("--listen {}: others can reach this address", options.listen), Some(help)));
    }
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(LOOKS).build();
    let runtime = runtime.map_err(|error| Fail::because("the server cannot run", &error))?;
    let (projects, archives) = open(&site, &options, tell)?;
    let keys = keys(&options, &archives, tell)?;
    let served: Vec<String> = projects.iter().map(|project| project.key()).collect();
    keys.doubts(&served).iter().for_each(|doubt| tell(Notice::Warning(doubt)));
    let served = runtime.block_on(async {
        let signals = Signals::catch().map_err(|error| Fail::because("signals cannot be caught", &error))?;
        let listener = TcpListener::bind(options.listen).await;
        let at = |error: io::Error| Fail::because(&format!("--listen {}", options.listen), &error);
        let listener = listener.map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let door = Door::new(address, keys.hosts.clone());
        let (jobs, ended) = Jobs::begin(site.clone(), &archives, options.max_jobs, options.max_activities)?;
        let sessions = archives.first().map(|archive| Sessions::kept(&archive.folder, &keys)).unwrap_or_default();
        let app = App {
            site,
            projects,
            archives,
            jobs,
            keys,
            sessions,
            slow: Slow::default(),
            door,
            streams: Arc::new(Semaphore::new(STREAMS)),
            plans: Arc::new(Semaphore::new(PLANS)),
            stop: watch::Sender::new(Stop::Go),
            port: address.port(),
        };
        let app = Arc::new(app);
        if let Some(who) = app.keys.own().filter(|_| options.link) {
            let token = app.sessions.link(who.clone())?;
            tell(Notice::Link(format!("http://{address}/sign-in/{token}")));
        }
        Ok(run(app, listener, (signals, ended), tell).await)
    });
    // Whoever is held up by a disk keeps nobody from ending.
    runtime.shutdown_timeout(LAST_WORDS);
    served
}

type Opened = (Vec<Arc<Project>>, Vec<Arc<Archive>>);

/// Opens the projects, and the histories that they are kept in.
fn open(site: &Site, options: &Options, tell: &Tell) -> Result<Opened, Fail> {
    let mut archives = Vec::new();
    let taken = Arc::default();
    let mut projects: Vec<Arc<Project>> = Vec::new();
    for file in options.files.iter().enumerate() {
        let file = (file.0, file.1.as_path());
        projects.push(Arc::new(Project::open(file, site, Arc::clone(tell), &taken, &mut archives)?));
    }
    Ok((projects, archives))
}

fn keys(options: &Options, archives: &[Arc<Archive>], tell: &Tell) -> Result<Keys, Fail> {
    match (&options.key_file, archives.first()) {
        (Some(file), _) => {
            if let Some(about) = auth::keys::private(file)? {
                tell(Notice::Warning(&about));
            }
            Keys::read(file)
        }
        (None, Some(archive)) => {
            let (key, about) = auth::keys::own(&archive.folder)?;
            if let Some(about) = about {
                tell(Notice::Warning(&about));
            }
            tell(Notice::Key(archive.folder.join("api-key")));
            Ok(Keys::one(&key))
        }
        (None, None) => Err(Fail::Usage("there is no pipeline file to serve".to_owned(), None)),
    }
}

async fn run(
    app: Arc<App>,
    listener: TcpListener,
    (signals, mut ended): (Signals, oneshot::Receiver<()>),
    tell: &Tell,
) -> u8 {
    let (stop, stopped) = watch::channel(false);
    let mut caught = signals.listen();
    if let Ok(address) = listener.local_addr() {
        tell(Notice::Listening(address));
    }
    let serving = http::accept(listener, Arc::clone(&app), stopped);
    let ending = async {
        let mut is_ending = false;
        let code = loop {
            tokio::select! {
                // Also when nobody has asked for it: without its thread no job begins, and none can be asked to end.
                ended = &mut ended => match ended {
                    Ok(()) => break exit::OK,
                    Err(_) => {
                        tracing::error!("the thread of the jobs crashed: this is a bug; the server ends");
                        break exit::BUG;
                    }
                },
                Some(cause) = caught.recv() => {
                    if !std::mem::replace(&mut is_ending, true) {
                        tell(Notice::Ending(&cause));
                    }
                    app.jobs.end(cause);
                    app.stop.send_replace(Stop::Kill);
                }
            }
        };
        app.stop.send_replace(Stop::Kill);
        stop.send_replace(true);
        code
    };
    let work = async {
        let mut serving = std::pin::pin!(serving);
        let ended = tokio::select! {
            () = &mut serving => None,
            code = ending => Some(code),
        };
        // Whoever watched may hear of the end; then nobody is waited for.
        if ended.is_some() && tokio::time::timeout(LAST_WORDS, serving).await.is_err() {
            tracing::debug!("connections were broken off");
        }
        ended.unwrap_or(exit::OK)
    };
    tokio::select! {
        code = work => code,
        () = live::look(Arc::clone(&app)) => exit::OK,
    }
}
