//! The way from a command to a DSS server: opened, asked, its jobs found by parts of their ids.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use futures::future::{BoxFuture, OptionFuture};

use crate::base::span::Source;
use crate::cli::Context;
use crate::engine::api::{Engine as _, Opening, Terms};
use crate::engine::dss::DssEngine;
use crate::engine::dss::remote::{Remote, RemoteError};
use crate::pipeline::dss_wire::JobItem;
use crate::pipeline::paths::OWN;
use crate::pipeline::raw_engine::{RawDss, RawEngine};
use crate::pipeline::types::Pipeline;
use crate::session::fail::Fail;
use crate::session::load::{self, Given};
use crate::session::{Request, opening, state};
use crate::store::read::shared::Shared;

/// A server that a file declares.
pub(crate) struct Server {
    pub(crate) engine: DssEngine,
    pub(crate) remote: Remote,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) project: String,
    pub(crate) runtime: tokio::runtime::Runtime,
    /// What the engine does all the time, while the server is asked.
    background: RefCell<Option<BoxFuture<'static, ()>>>,
}

impl Server {
    /// The server that the engine of that name is.
    pub(crate) fn open(context: &Context, file: &Path, name: &str, project: Option<&str>) -> Result<Self, Fail> {
        let loaded = load::load(file, &Given::default())?;
        if !matches!(loaded.pipeline.engines.get(name), Some((RawEngine::Dss(_), _))) {
            let message = format!("{} declares no engine `{name}`", loaded.source.name);
            let help = format!("declare it:\n[engine.{name}]\nkind = \"dss\"\nurl = \"https://dss.example.com\"");
            return Err(Fail::Usage(message, Some(help)));
        }
        let site = context.site();
        let request = Request { project: project.map(str::to_owned), ..Request::default() };
        let store = Arc::new(Shared::new(&state(&site, &loaded.root)));
        let opening = opening(&site, &loaded, &store, &request, name);
        Self::of(&opening, &loaded.source)
    }

    /// The server that Dataiku's own tools are configured for.
    pub(crate) fn configured(context: &Context, project: &str) -> Result<Self, Fail> {
        let name = "prod".to_owned();
        let engine = RawEngine::Dss(Box::new(RawDss { kind: "dss".to_owned(), ..RawDss::default() }));
        let engines = std::iter::once((name.clone(), (engine, 0..0))).collect();
        let pipeline = Pipeline { project: project.to_owned(), engines, ..Pipeline::default() };
        let site = context.site();
        let source = Source::new("the environment", "");
        let opening = Opening {
            name,
            terms: Terms::default(),
            pipeline: Arc::new(pipeline),
            root: site.folder.clone(),
            state: site.folder.join(OWN),
            own: Vec::new(),
            environment: site.environment.clone(),
            digests: Box::new(crate::base::file::Memory::default()),
            grace: site.grace,
            open_files: site.open_files.clone(),
        };
        Self::of(&opening, &source)
    }

    fn of(opening: &Opening, source: &Source) -> Result<Self, Fail> {
        let mistakes = |problems| Fail::Mistakes(source.clone(), problems);
        let pipeline = Arc::clone(&opening.pipeline);
        let engine = DssEngine::open(opening).map_err(mistakes)?;
        let remote = engine.remote().map_err(|problem| mistakes(vec![problem]))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Fail::because("the server cannot be asked", &error))?;
        let project = remote.project().to_owned();
        let background = RefCell::new(engine.background());
        Ok(Self { engine, remote, pipeline, project, runtime, background })
    }

    /// Asks the server something, to the end.
    pub(crate) fn ask<T>(&self, asking: impl Future<Output = Result<T, RemoteError>>) -> Result<T, Fail> {
        let mut background = self.background.borrow_mut();
        let result = self.runtime.block_on(async {
            tokio::select! {
                result = asking => result,
                Some(()) = OptionFuture::from(background.as_mut()) => Err(RemoteError::ended()),
            }
        });
        result.map_err(|error| Fail::Surroundings(error.to_string()))
    }

    /// The job that an id means: `last`, a whole id, or a part that only one has.
    pub(crate) fn find(&self, text: &str) -> Result<String, Fail> {
        if text.trim_start_matches('…').is_empty() {
            let help = format!("name one of `kiln jobs list --engine {}`, or `last`", self.name());
            return Err(Fail::Usage("an empty id names no job".to_owned(), Some(help)));
        }
        let whole = || self.runtime.block_on(self.remote.glance(&self.project, text));
        if text != "last" && whole().is_ok_and(|status| !status.state().is_empty()) {
            return Ok(text.to_owned());
        }
        let jobs = self.ask(self.remote.jobs(&self.project))?;
        let part = text.trim_start_matches('…');
        let fits = |job: &&JobItem| text == "last" || job.id().is_some_and(|id| id.contains(part));
        let mut found: Vec<&str> = jobs.iter().filter(fits).filter_map(JobItem::id).collect();
        if text == "last" {
            found.truncate(1);
        }
        match found.as_slice() {
            [one] => Ok((*one).to_owned()),
            [] => {
                let help = format!("`kiln jobs list --engine {}` shows them", self.name());
                Err(Fail::Usage(format!("project {} has no job `{text}`", self.project), Some(help)))
            }
            several => {
                let some: Vec<_> = several.iter().take(5).copied().collect();
                let help = format!("among them: {}", some.join(", "));
                Err(Fail::Usage(format!("`{text}` is part of the ids of {} jobs", several.len()), Some(help)))
            }
        }
    }

    pub(crate) fn name(&self) -> &str {
        self.engine.name()
    }
}
