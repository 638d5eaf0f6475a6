//! From a file and a request to a plan: what the command line and the server share. Reads no environment and no arguments.

pub(crate) mod adopt;
pub(crate) mod again;
mod cache;
pub(crate) mod command;
mod dead;
pub(crate) mod fail;
pub(crate) mod finish;
pub(crate) mod home;
pub(crate) mod image;
pub(crate) mod lacking;
pub(crate) mod load;
pub(crate) mod locks;
pub(crate) mod memo;
mod memo_format;
pub(crate) mod part;
mod passed;
pub(crate) mod refused;
pub(crate) mod start;
pub(crate) mod targets;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::base::file::FileDigest;
use crate::base::id::{DenseMap, NodeId, RecipeId};
use crate::base::job::{BuildMode, JobState, Schedule};
use crate::base::span::{Problem, Problems, merged};
use crate::base::text::did_you_mean;
use crate::engine::api::{Engine, Environment, Evidence, Observed, Opening, Terms};
use crate::engine::limit::OpenFiles;
use crate::engine::outputs::Outputs;
use crate::engine::{Opened, engine};
use crate::pipeline::paths::OWN;
use crate::pipeline::types::{Pipeline, Settings};
use crate::plan::decide::Basis;
use crate::plan::facts::Facts;
use crate::plan::put_back::PutBack;
use crate::plan::record::{History, MemoryHistory};
use crate::plan::{Lack, Plan, Step};
use crate::select::{Choice, SelectError, Selection, Want, select};
use crate::session::fail::Fail;
use crate::session::lacking::{Hindered, note_unseen};
use crate::session::load::{Given, Loaded, own_paths};
use crate::session::part::{Part, Since};
use crate::session::targets::Paths;
use crate::store::lock::is_held;
use crate::store::read::digests::StoredDigests;
use crate::store::read::shared::Shared;
use crate::store::read::{RunRow, Unfinished};
use crate::store::{FILE, StoreError};

/// Where requests are made; the same for all of a process.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// The working directory.
    pub(crate) folder: PathBuf,
    /// The same as it was asked for, where that was said.
    pub(crate) directory: Option<PathBuf>,
    /// The folder of the state, where it is not that of the root.
    pub(crate) state: Option<PathBuf>,
    /// Kiln's own environment.
    pub(crate) environment: Environment,
    /// How many steps run at once unless said otherwise.
    pub(crate) cores: u32,
    /// How long a child may take to end when it is asked to.
    pub(crate) grace: Duration,
    /// How many files may be open.
    pub(crate) open_files: OpenFiles,
}

/// What is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The targets as they were given; none for all.
    pub(crate) targets: Vec<String>,
    /// What is left out of them, as it was given.
    pub(crate) exclude: Vec<String>,
    /// What is built, where it is not what the file says.
    pub(crate) mode: Option<BuildMode>,
    /// The engine, where it is not that of the file.
    pub(crate) engine: Option<String>,
    /// Variables that replace those of the file.
    pub(crate) vars: Vec<(String, String)>,
    /// The project key, where it is not that of the file.
    pub(crate) project: Option<String>,
    /// The partitions, as the engine reads them.
    pub(crate) partition: Option<String>,
    /// Whether a stopped run also ends jobs that it only joined.
    pub(crate) abort_joined: bool,
    /// Whether a job is asked for again of which it is not known whether a run before had started it.
    pub(crate) resubmit: bool,
    /// How many steps run at once, where it is not what the file says.
    pub(crate) jobs: Option<u32>,
    /// When a step may start, where it is not what the file says.
    pub(crate) schedule: Option<Schedule>,
}

impl Request {
    /// What a file is read with for it.
    pub(crate) fn given(&self) -> Given<'_> {
        Given { vars: &self.vars, project: self.project.as_deref(), engine: self.engine.as_deref() }
    }

    /// What is built.
    fn mode(&self, settings: &Settings) -> BuildMode {
        self.mode.or(settings.mode).unwrap_or_default()
    }
}

/// A request, understood.
pub(crate) struct Session {
    pub(crate) loaded: Loaded,
    /// The store in the folder of the state, to ask.
    pub(crate) store: Arc<Shared>,
    pub(crate) engine: Arc<dyn Engine>,
    /// The outputs below the root, whichever engine builds.
    pub(crate) outputs: Arc<dyn Outputs>,
    pub(crate) selection: Selection,
    pub(crate) jobs: u32,
    pub(crate) schedule: Schedule,
    /// What has to be looked at, where that is not all.
    pub(crate) part: Option<Part>,
}

/// What the store knows about a pipeline.
pub(crate) struct Known {
    pub(crate) history: Box<dyn History>,
    pub(crate) durations: HashMap<String, u64>,
    pub(crate) last_run: Option<RunRow>,
    /// Runs whose process died, and that no run has ended since, with what they were about to put in place and still can be.
    dead: Vec<Unfinished>,
    /// What of that is not in place yet.
    ahead: Vec<PutBack>,
    /// Whether this process itself held the lock when it was asked.
    alone: bool,
}

/// Which steps lack which input.
#[derive(Default)]
pub(crate) struct Lacks {
    pub(crate) inputs: Vec<Lack>,
    /// What has to be named to build such an input, where something makes it.
    named: HashMap<NodeId, Vec<NodeId>>,
}

/// A plan with what keeps its steps from being built: inputs that they lack, and what is needed to look at them.
type Outlook = (Planned, Lacks, Vec<(RecipeId, Problem)>);

/// A plan with all that it rests on.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) facts: Facts,
    pub(crate) seen: Vec<FileDigest>,
    pub(crate) known: Known,
}

impl Session {
    /// Understands a request about a file.
    pub(crate) fn open(site: &Site, file: &Path, request: &Request) -> Result<Self, Fail> {
        Self::of(site, image::load(site, file, &request.given())?, request)
    }

    /// With only that looked at which changes since there was nothing to do have to do with.
    pub(crate) fn since(self, since: Since) -> Self {
        let part = since.part(&self.loaded);
        if let Some(part) = &part {
            let steps = part.steps.values().filter(|looked| **looked).count();
            tracing::debug!(steps, "only what has changed is looked at");
        }
        Self { part, ..self }
    }

    /// Looks only at what a plan builds from now on, if that is little: all else is as it was seen.
    pub(crate) fn narrow(&mut self, site: &Site, planned: &Planned) {
        if self.part.is_some() || !part::is_small(planned.plan.active().count(), planned.plan.steps.len()) {
            return;
        }
        let Some(ground) = memo::ground(site, self, planned) else { return };
        let mut steps = DenseMap::filled(self.pipeline().recipes.len(), false);
        // What is out of date and left is told by the next look too.
        planned.plan.active().chain(planned.plan.left()).for_each(|step| steps[step.id] = true);
        self.part = Some(Part { steps, mark: None, ground });
    }

    /// Keeps what saves the next request for this file the reading of it.
    pub(crate) fn keep_image(&self, site: &Site, file: &Path, request: &Request) {
        image::keep(site, file, &self.loaded, &request.given());
    }

    /// Understands a request about a file that was read.
    pub(crate) fn of(site: &Site, loaded: Loaded, request: &Request) -> Result<Self, Fail> {
        let state = state(site, &loaded.root);
        let settings = &loaded.pipeline.settings;
        let mode = request.mode(settings);
        let schedule = request.schedule.or(settings.schedule).unwrap_or(Schedule::Stages);
        let store = Arc::new(Shared::new(&state));
        let Opened { engine, outputs } = open_engine(site, &loaded, &store, request)?;
        let said = engine.max_parallel().or(settings.max_parallel);
        let jobs = request.jobs.or(said).unwrap_or(site.cores);
        let can_build = |id: RecipeId| engine.can_build(id);
        let paths = Paths::new(&loaded, &site.folder);
        let names = |given: &[String]| given.iter().map(|target| paths.name(target)).collect::<Vec<_>>();
        let (targets, exclude) = (names(&request.targets), names(&request.exclude));
        let choice = Choice { targets: &targets, exclude: &exclude, mode };
        let selection = select(&loaded.pipeline, &loaded.graph, choice, &can_build);
        let selection = selection.map_err(unselected)?;
        let (file, root) = (&loaded.source.name, loaded.root.display());
        let selected = selection.want.values().filter(|want| **want != Want::No).count();
        tracing::debug!(file, %root, state = %state.display(), engine = engine.name(), %mode, selected, "the pipeline is read");
        Ok(Self { loaded, store, engine, outputs, selection, jobs, schedule, part: None })
    }

    /// The pipeline.
    pub(crate) fn pipeline(&self) -> &Arc<Pipeline> {
        &self.loaded.pipeline
    }

    /// Looks at what was built before, and at what is there; `alone` where this process itself holds the lock, and has not
    /// finished what runs that died left.
    pub(crate) fn look(&self, probes: bool, alone: bool) -> Result<(Known, Observed), Fail> {
        let mut known =
            known(&self.store, (&self.pipeline().name, self.engine.name()), self.concerned().as_deref(), alone)?;
        // A run may begin, or end, between two looks: what it has there is not left.
        let goes_on = || !alone && is_held(&self.loaded.root.join(OWN), &self.pipeline().name);
        if !goes_on() && finish::refuse_of_others(self).is_err() && !goes_on() {
            finish::refuse_of_others(self)?;
        }
        known.ahead = dead::ahead(&mut known.dead, known.history.as_ref(), self.outputs.as_ref());
        let mut observed = self.engine.observe(&self.wanted(), probes);
        if let Some(part) = &self.part {
            observed.facts.settled = part.steps.values().map(|looked| !looked).collect();
        }
        known.history = dead::settle(&known.dead, self.pipeline(), &mut observed.facts, known.history);
        Ok((known, observed))
    }

    /// Looks, and decides.
    pub(crate) fn plan(&self, probes: bool) -> Result<Planned, Fail> {
        Ok(self.plan_to_run(probes, false)?.0)
    }

    /// As [`Session::plan`]; with `keep_going` steps may lack what they need: they cannot be built, and all others can.
    pub(crate) fn plan_to_run(&self, probes: bool, keep_going: bool) -> Result<(Planned, Hindered), Fail> {
        let (mut planned, lacks, wrong) = self.outlook(probes)?;
        if keep_going {
            let hindered = self.hindered(&mut planned.plan, &lacks, wrong);
            return Ok((planned, hindered));
        }
        if wrong.is_empty() && lacks.inputs.is_empty() {
            return Ok((planned, Hindered::default()));
        }
        Err(self.refusal(problems_of(wrong), &planned.plan, &lacks))
    }

    /// All that a run of this plan is refused for, where something is: one kind is not to hide another.
    fn refusal(&self, mut found: Problems, plan: &Plan, lacks: &Lacks) -> Fail {
        found.extend(self.missing(lacks));
        let ids: BTreeSet<_> =
            plan.active().map(|step| step.id).chain(lacks.inputs.iter().map(|lack| lack.step)).collect();
        let obstacles = self.engine.obstacles(&ids.into_iter().collect::<Vec<_>>());
        let key = |problem: &Problem| (problem.code, problem.message.clone());
        let mut told: HashSet<_> = found.iter().map(key).collect();
        found.extend(obstacles.into_iter().filter(|problem| told.insert(key(problem))));
        self.mistakes(found)
    }

    /// Refuses a plan in which steps lack these inputs.
    pub(crate) fn whole(&self, lacks: &Lacks) -> Result<(), Fail> {
        let missing = || self.mistakes(self.missing(lacks));
        if lacks.inputs.is_empty() { Ok(()) } else { Err(missing()) }
    }

    /// Looks, and decides. Says which steps lack which input, too: such a plan can be shown, and not be run.
    pub(crate) fn sketch(&self, probes: bool) -> Result<(Planned, Lacks), Fail> {
        let (planned, lacks, wrong) = self.outlook(probes)?;
        if wrong.is_empty() {
            Ok((planned, lacks))
        } else {
            Err(self.refusal(problems_of(wrong), &planned.plan, &lacks))
        }
    }

    /// As [`Session::sketch`], where steps may also need what is not there even to look at them.
    fn outlook(&self, probes: bool) -> Result<Outlook, Fail> {
        let (known, Observed { mut facts, mut seen, wrong }) = self.look(probes, false)?;
        let wrong = self.own(wrong);
        note_unseen(&mut facts, &wrong);
        let history = known.history.as_ref();
        let basis = Basis { pipeline: self.pipeline(), facts: &facts, history, mode: self.selection.mode };
        let (plan, lacks) = Plan::make(&basis, &self.loaded.graph, &self.selection, &known.durations);
        self.can_leave_out(&plan, &facts)?;
        let (lacks, more) = self.lacks(lacks, history);
        seen.extend(more);
        tracing::debug!(read = seen.len(), remembered = known.durations.len(), counts = ?plan.counts(), "it is decided");
        Ok((Planned { plan, facts, seen, known }, lacks, wrong))
    }

    /// The steps that would be built and failed when they were last tried, with what happened. Good to know, and no more than that.
    pub(crate) fn failed_last(&self, plan: &Plan) -> BTreeMap<String, String> {
        let name = |step: &Step| self.pipeline().recipes[step.id].name.as_str();
        let names: HashSet<&str> = plan.active().map(name).collect();
        if names.is_empty() {
            return BTreeMap::new();
        }
        let asked = self.store.ask(|reader| reader.failed_last(&self.pipeline().name, &|step| names.contains(step)));
        asked.ok().flatten().unwrap_or_default()
    }

    /// What a run of this plan would be refused for, or would only fail for with `keep_going`; gives the warnings.
    pub(crate) fn obstacles(&self, plan: &Plan, keep_going: bool) -> Result<Problems, Fail> {
        let ids: Vec<_> = plan.active().map(|step| step.id).collect();
        let mut found = self.engine.obstacles(&ids);
        if keep_going {
            found.retain(|problem| problem.warning);
        }
        if found.iter().all(|problem| problem.warning) { Ok(merged(found)) } else { Err(self.mistakes(found)) }
    }

    /// Finds what would keep a first run from beginning before a state is made for it. Gives the digests of what was
    /// read, which no one needs to read again.
    pub(crate) fn preflight(&self, keep_going: bool) -> Result<Vec<FileDigest>, Fail> {
        if self.store.state().join(FILE).exists() {
            return Ok(Vec::new());
        }
        let (Planned { mut plan, seen, .. }, mut lacks, mut wrong) = self.outlook(false)?;
        let mut hindered = Hindered::default();
        if keep_going {
            hindered = self.hindered(&mut plan, &std::mem::take(&mut lacks), std::mem::take(&mut wrong));
        }
        let free = plan.active().filter(|step| !hindered.contains_key(&step.id));
        let unready: Vec<_> = free.filter_map(|step| self.engine.prepare(step.id).err()).flatten().collect();
        if wrong.is_empty() && lacks.inputs.is_empty() && unready.is_empty() {
            return Ok(seen);
        }
        // Commands are asked only now: what is wrong with them is told too.
        if !keep_going {
            wrong.extend(self.engine.observe(&self.wanted(), true).wrong);
        }
        Err(self.refusal([problems_of(wrong), unready].concat(), &plan, &lacks))
    }

    /// What the next run does first: it finishes what a run that was killed was about to put in place, and undoes what that
    /// had been writing there. Of a run that goes on nothing is.
    pub(crate) fn to_put_back(&self, known: &Known) -> Vec<PutBack> {
        let rows =
            known.dead.iter().flat_map(|run| run.publishing.iter().map(|row| (run.job.clone(), row.step.clone())));
        // What was complete is not undone.
        let undone = self.outputs.put_back(&rows.collect());
        let found: Vec<_> = known.ahead.iter().cloned().chain(undone).collect();
        let held = |state: &Path| is_held(state, &self.pipeline().name);
        let goes_on = || !known.alone && (held(self.store.state()) || held(&self.loaded.root.join(OWN)));
        if found.is_empty() || goes_on() { Vec::new() } else { found }
    }

    /// What proves later that the facts are still so.
    fn evidence(&self, facts: &Facts) -> Option<Evidence> {
        self.engine.evidence(&self.wanted(), facts)
    }

    /// The steps that are looked at.
    pub(crate) fn wanted(&self) -> DenseMap<RecipeId, bool> {
        let looked = |id| self.part.as_ref().is_none_or(|part| part.steps[id]);
        self.selection.want.iter().map(|(id, want)| *want != Want::No && looked(id)).collect()
    }

    /// The steps whose last builds a decision asks for: those that are looked at, and what makes their inputs; none for all.
    fn concerned(&self) -> Option<Vec<&str>> {
        let Part { steps, .. } = self.part.as_ref()?;
        let ids = steps.iter().filter(|(_, looked)| **looked).map(|(id, _)| id);
        let needs = |id: RecipeId| self.loaded.graph.needs[id].iter().copied().chain([id]);
        let ids: BTreeSet<_> = ids.flat_map(needs).collect();
        Some(ids.into_iter().map(|id| self.pipeline().recipes[id].name.as_str()).collect())
    }

    fn mistakes(&self, problems: Problems) -> Fail {
        Fail::Mistakes(self.loaded.source.clone(), merged(problems))
    }
}

fn problems_of(wrong: Vec<(RecipeId, Problem)>) -> Problems {
    wrong.into_iter().map(|(_, problem)| problem).collect()
}

/// Why nothing was selected.
pub(crate) fn unselected(error: SelectError) -> Fail {
    match error {
        SelectError::Target { message, help } => Fail::Usage(message, Some(help)),
        SelectError::Nothing(_) => Fail::Nothing(error.to_string()),
    }
}

/// Whether what earlier runs saw may be taken for what is.
pub(crate) fn remembers(site: &Site) -> bool {
    !site.environment.contains_key("KILN_NO_MEMO")
}

/// The folder of the state.
pub(crate) fn state(site: &Site, root: &Path) -> PathBuf {
    match &site.state {
        Some(state) => site.folder.join(state),
        None => root.join(OWN),
    }
}

/// What the store knows of a pipeline; of its steps only what it knows of these, where some are named.
fn known(
    store: &Arc<Shared>,
    (pipeline, engine): (&str, &str),
    steps: Option<&[&str]>,
    alone: bool,
) -> Result<Known, Fail> {
    let known = store.ask(|reader| {
        let mut last_run = reader.last_run(pipeline)?;
        // The last run need not be the one that died: a server had jobs waiting behind it, or outputs were adopted since.
        let goes_on = !alone && is_held(store.state(), pipeline);
        let dead = if goes_on { Vec::new() } else { reader.unfinished(pipeline)? };
        if let Some(run) = &mut last_run
            && let Some(dead) = dead.iter().find(|dead| dead.job == run.id)
        {
            run.state = JobState::Aborted;
            dead.last_word.iter().for_each(|word| run.end_with(word.clone()));
        }
        let history = Box::new(reader.history(pipeline, steps)?.by(store));
        let durations = reader.durations(pipeline, engine, steps)?;
        Ok(Known { history, durations, last_run, dead, ahead: Vec::new(), alone })
    });
    let unknown = || {
        let history = Box::new(MemoryHistory::default());
        Known { history, durations: HashMap::new(), last_run: None, dead: Vec::new(), ahead: Vec::new(), alone }
    };
    Ok(known.map_err(unread)?.unwrap_or_else(unknown))
}

/// Why nothing is known of earlier runs.
pub(crate) fn unread(error: StoreError) -> Fail {
    Fail::because("the history cannot be read", &error)
}

/// Opens the engine that was asked for, by the command line or by the file.
pub(crate) fn open_engine(
    site: &Site,
    loaded: &Loaded,
    store: &Arc<Shared>,
    request: &Request,
) -> Result<Opened, Fail> {
    let asked = request.engine.as_deref();
    let said = loaded.pipeline.settings.engine.as_ref();
    let name = asked.or(said.map(|(name, _)| name.as_str())).unwrap_or(crate::engine::local::NAME);
    let Some(open) = engine(name, &loaded.pipeline) else {
        let message = format!("unknown engine `{name}`");
        let declared = loaded.pipeline.engines.keys().map(String::as_str);
        let known = std::iter::once(crate::engine::local::NAME).chain(declared);
        let help = did_you_mean(name, known.clone()).unwrap_or_else(|| {
            let known = known.collect::<Vec<_>>().join(", ");
            format!("known are: {known}; another one is declared with `[engine.{name}]`")
        });
        return Err(match (asked, said) {
            (None, Some((_, span))) => {
                let problem = Problem::new("unknown-engine", message).at(span, "this one").help(help);
                Fail::Mistakes(loaded.source.clone(), vec![problem])
            }
            _ => Fail::Usage(message, Some(help)),
        });
    };
    let opened = open(opening(site, loaded, store, request, name));
    opened.map_err(|problems| Fail::Mistakes(loaded.source.clone(), problems))
}

/// What the engine of that name is opened with.
pub(crate) fn opening(site: &Site, loaded: &Loaded, store: &Arc<Shared>, request: &Request, name: &str) -> Opening {
    Opening {
        name: name.to_owned(),
        terms: Terms {
            mode: request.mode(&loaded.pipeline.settings),
            project: request.project.clone(),
            partition: request.partition.clone(),
            abort_joined: request.abort_joined,
            resubmit: request.resubmit,
        },
        pipeline: Arc::clone(&loaded.pipeline),
        root: loaded.root.clone(),
        state: store.state().to_owned(),
        own: own_paths(Path::new(&loaded.source.name), &loaded.root),
        environment: site.environment.clone(),
        digests: Box::new(StoredDigests(Arc::clone(store))),
        grace: site.grace,
        open_files: site.open_files.clone(),
    }
}
