//! `kiln why`: why a step would be built or not, from what it is made, and what became of it in its last runs.

use std::collections::HashSet;
use std::path::Path;

use serde::{Serialize, Serializer};

use crate::base::digest::Digest;
use crate::base::id::RecipeId;
use crate::base::job::JobId;
use crate::base::text::{apart, clean, did_you_mean, duration, millis, one_line};
use crate::cause::Cause;
use crate::cli::args::{Format, WhyArgs};
use crate::cli::table::table;
use crate::cli::{Context, find, print};
use crate::exit;
use crate::pipeline::types::{Item, Pipeline, Rebuild};
use crate::plan::Step;
use crate::plan::decide::Basis;
use crate::plan::key;
use crate::plan::put_back::PutBack;
use crate::plan::reason::{Action, Reason, ReasonCode, is_digest, sentences};
use crate::plan::record::LastGood as Recorded;
use crate::plan::why::{InputNow, PartNow, PartState, Why, why as parts_of};
use crate::report::past;
use crate::report::style::{Style, UP_TO_DATE};
use crate::session::fail::Fail;
use crate::session::image::load;
use crate::session::load::Loaded;
use crate::session::targets::Paths;
use crate::session::{Request, Session, unread};
use crate::store::StoreError;
use crate::store::read::{Reader, StepRun};
use crate::view::{RunView, StepState};

/// A longer value is cut on a terminal, in characters.
const VALUE: usize = 60;
/// So is a longer reason.
const WHY: usize = 80;

/// The answer.
#[derive(Serialize)]
struct Answer {
    version: u32,
    step: String,
    outputs: Vec<String>,
    place: String,
    stage: u32,
    action: Action,
    reasons: Vec<Reason>,
    /// What happened when it was last tried, where it failed then and would be tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_last: Option<String>,
    /// What a run would be refused for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    obstacles: Vec<String>,
    /// Of its inputs and outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    put_back: Vec<PutBack>,
    last_good: Option<LastGood>,
    #[serde(flatten)]
    why: Why,
    #[serde(serialize_with = "with_words")]
    runs: Vec<StepRun>,
}

/// What became of it in a run.
#[derive(Serialize)]
struct Run<'a> {
    state: &'static str,
    #[serde(flatten)]
    run: &'a StepRun,
}

fn with_words<S: Serializer>(runs: &[StepRun], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(runs.iter().map(|run| Run { state: run.word(), run }))
}

/// The last good build.
#[derive(Serialize)]
struct LastGood {
    job: JobId,
    built_at: jiff::Timestamp,
    /// Whether it was not built then, but taken as built.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    adopted: bool,
    key: Digest,
}

pub(crate) fn why(context: &Context, args: &WhyArgs) -> Result<u8, Fail> {
    let path = find::find(context.file.as_deref(), &context.surroundings)?;
    let site = context.site();
    let mut request = Request { mode: args.mode, ..args.instead.request() };
    let loaded = load(&site, &path, &request.given())?;
    let name = Paths::new(&loaded, &context.surroundings.folder).name(&args.name);
    let Some(id) = step_of(&loaded, &name)? else {
        return source(&loaded, &name, args.format);
    };
    let recipe = loaded.pipeline.recipes[id].name.clone();
    request.targets = vec![recipe.clone()];
    let session = Session::of(&site, loaded, &request)?;
    let planned = session.plan(!args.no_probes)?;
    let pipeline = session.pipeline();
    let (facts, history) = (&planned.facts, planned.known.history.as_ref());
    let basis = Basis { pipeline, facts, history, mode: session.selection.mode };
    let mut why = parts_of(&basis, &planned.plan, id);
    let found = planned.plan.steps.iter().find(|step| step.id == id);
    let Some(Step { stage, action, mut reasons, .. }) = found.cloned() else {
        return Err(Fail::Nothing(format!("nothing was selected: {recipe} is not wanted")));
    };
    let last_good = last_good(&session, history.last(&recipe))?;
    let touched = pipeline.recipes[id].inputs.iter().chain(&pipeline.recipes[id].outputs);
    let touched: Vec<_> = touched.map(|node| pipeline.nodes[*node].name.as_str()).collect();
    let mut put_back = session.to_put_back(&planned.known);
    put_back.retain(|put_back| touched.contains(&put_back.output.as_str()));
    let obstacles = if action == Action::Skip { Vec::new() } else { obstacles(&session, id) };
    let action = if action == Action::Build && !obstacles.is_empty() { Action::Cannot } else { action };
    // Nothing is replaced then.
    reasons.retain(|reason| obstacles.is_empty() || reason.code != ReasonCode::OutputForeign);
    // Of what was never built nothing can have changed since.
    if is_as_it_is(pipeline, id, last_good.as_ref()) {
        let states =
            why.inputs.iter_mut().map(|now| &mut now.state).chain(why.parts.iter_mut().map(|now| &mut now.state));
        states.filter(|state| **state == PartState::New).for_each(|state| *state = PartState::Same);
    }
    let answer = Answer {
        version: 1,
        outputs: pipeline.output_names(id).map(str::to_owned).collect(),
        place: session.loaded.place(pipeline.recipes[id].span.start),
        stage,
        action,
        reasons,
        failed_last: session.failed_last(&planned.plan).remove(&recipe),
        obstacles,
        put_back,
        last_good,
        why,
        runs: runs(&session, &recipe, args.limit)?,
        step: recipe,
    };
    match args.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&answer).map_err(|error| Fail::because("the answer", &error))?;
            print(&format!("{json}\n"))?;
        }
        Format::Text => print(&text(context, pipeline, id, &answer, facts.now))?,
    }
    Ok(exit::OK)
}

/// The last good build, and whether Kiln made it.
fn last_good(session: &Session, last: Option<&Recorded>) -> Result<Option<LastGood>, Fail> {
    let Some(last) = last else { return Ok(None) };
    let run = session.store.ask(|reader| reader.run(&last.job)).map_err(unread)?.flatten();
    let adopted = run.is_some_and(|run| run.cause() == Some(Cause::Adopted));
    Ok(Some(LastGood { job: last.job.clone(), built_at: last.built_at, adopted, key: last.key }))
}

/// What a run would be refused for, with a way out.
fn obstacles(session: &Session, id: RecipeId) -> Vec<String> {
    let found = session.engine.obstacles(&[id]).into_iter().filter(|problem| !problem.warning);
    found.map(|problem| problem.in_line()).collect()
}

/// The step that a name stands for; none for a source.
fn step_of(loaded: &Loaded, name: &str) -> Result<Option<RecipeId>, Fail> {
    let pipeline = &loaded.pipeline;
    match pipeline.names.get(name) {
        Some(Item::Recipe(id)) => Ok(Some(*id)),
        Some(Item::Node(id)) => Ok(pipeline.nodes[*id].maker),
        None => {
            let help = did_you_mean(name, pipeline.names.keys().map(String::as_str))
                .unwrap_or_else(|| "`kiln list` shows what there is".to_owned());
            Err(Fail::Usage(format!("there is nothing called `{name}`"), Some(help)))
        }
    }
}

/// A source is not built: who reads it is all that can be told.
fn source(loaded: &Loaded, name: &str, format: Format) -> Result<u8, Fail> {
    let pipeline = &loaded.pipeline;
    let readers = pipeline.node(name).into_iter().flat_map(|node| {
        pipeline.recipes.values().filter(move |recipe| recipe.inputs.contains(&node)).map(|recipe| recipe.name.clone())
    });
    let readers: Vec<String> = readers.collect();
    match format {
        Format::Json => {
            let json = serde_json::json!({ "version": 1, "source": name, "readers": readers });
            print(&format!("{json:#}\n"))?;
        }
        Format::Text => {
            let readers = if readers.is_empty() { "nothing".to_owned() } else { readers.join(", ") };
            print(&format!("{}: a source, no recipe makes it; read by {readers}\n", name))?;
        }
    }
    Ok(exit::OK)
}

fn runs(session: &Session, step: &str, most: u32) -> Result<Vec<StepRun>, Fail> {
    let runs = session.store.ask(|reader| {
        let mut runs = reader.step_runs(&session.pipeline().name, step, most)?;
        runs.iter_mut().try_for_each(|run| see_death(reader, session.store.state(), step, run))?;
        Ok(runs)
    });
    Ok(runs.map_err(unread)?.unwrap_or_default())
}

/// What became of a step in a run whose process died, although nothing has told the store yet.
fn see_death(reader: &Reader, state: &Path, step: &str, run: &mut StepRun) -> Result<(), StoreError> {
    let row = if run.state.is_over() { None } else { reader.run(&run.job)? };
    let Some(mut row) = row else { return Ok(()) };
    reader.see_death(&mut row, state)?;
    if !row.state.is_over() {
        return Ok(());
    }
    let mut view = RunView::fold(&reader.events(&run.job, 0)?);
    row.end(&mut view);
    let Some(step) = view.step(step) else { return Ok(()) };
    let why = step.failure.as_ref().map(|failure| failure.message.clone());
    (run.state, run.why) = (step.state, run.why.take().or(why).or(row.why));
    Ok(())
}

fn text(context: &Context, pipeline: &Pipeline, id: RecipeId, answer: &Answer, now: jiff::Timestamp) -> String {
    let style = context.style();
    // Where nobody reads it from a screen it is whole.
    let most = style.width.map_or(usize::MAX, |_| VALUE);
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    let kind = match (pipeline.recipes[id].task, pipeline.node(&answer.step)) {
        (true, _) => "task",
        (false, Some(node)) => pipeline.nodes[node].kind.word(),
        (false, None) => "recipe",
    };
    line(&format!("{} · {kind} · {} · stage {}", answer.step, answer.place, answer.stage));
    let explicit = pipeline.recipes[id].rebuild == Rebuild::Explicit;
    let there = is_as_it_is(pipeline, id, answer.last_good.as_ref());
    let named = format!("only when it is named: `kiln run {}`", answer.step);
    match answer.action {
        Action::Build if explicit => line(&format!("  would be built, but {named}")),
        Action::Skip if there => {
            line("  would not be built: `rebuild = \"never\"`, and what is there counts, whoever made it");
        }
        action @ (Action::Build | Action::Maybe | Action::Ask | Action::Cannot | Action::Skip) => {
            line(&format!("  {}", verdict(action, &answer.reasons)));
            if explicit && action != Action::Skip {
                line(&format!("  {named}"));
            }
        }
    }
    let failed = answer.failed_last.iter().map(|why| format!("failed last time: {}", one_line(why, most)));
    for reason in sentences(&answer.reasons, now).into_iter().chain(failed) {
        line(&format!("    {reason}"));
    }
    for obstacle in &answer.obstacles {
        line(&format!("  in the way: {obstacle}"));
    }
    for put_back in &answer.put_back {
        line(&format!("  {put_back}"));
    }
    match &answer.last_good {
        None => line("  no good build is known"),
        Some(last) => {
            let what = if last.adopted { "adopted" } else { "last good build" };
            line(&format!("  {what} {} by {}", style.date(last.built_at, now), last.job.short()));
            due(pipeline, id, answer, &style, now).iter().for_each(|due| line(due));
        }
    }
    // Of what was never built all is new, and that is told.
    let show = Show { most, first: answer.last_good.is_none() };
    if !answer.why.inputs.is_empty() {
        line("inputs");
        indented(&mut line, answer.why.inputs.iter().map(|now| show.input(now)));
    }
    line(&heading(answer));
    let inputs: HashSet<&str> = answer.why.inputs.iter().map(|input| input.node.as_str()).collect();
    let parts = answer.why.parts.iter().filter(|part| !is_told(part, &inputs));
    indented(&mut line, parts.map(|part| show.part(part)));
    if !answer.runs.is_empty() {
        line("last runs");
        indented(&mut line, answer.runs.iter().map(|run| run_row(run, &style.date(run.began, now), most)));
    }
    out
}

/// When a step that is up to date is built again for its age alone.
fn due(pipeline: &Pipeline, id: RecipeId, answer: &Answer, style: &Style, now: jiff::Timestamp) -> Option<String> {
    let (Rebuild::Age(age), Action::Skip) = (&pipeline.recipes[id].rebuild, answer.action) else { return None };
    let due = answer.last_good.as_ref()?.built_at.checked_add(*age).ok()?;
    Some(format!("  due {}, when that is older than {}", style.date(due, now), duration(*age)))
}

/// Whether what is there counts, whoever made it.
fn is_as_it_is(pipeline: &Pipeline, id: RecipeId, last_good: Option<&LastGood>) -> bool {
    pipeline.recipes[id].rebuild == Rebuild::Never && last_good.is_none()
}

fn verdict(action: Action, reasons: &[Reason]) -> &'static str {
    let open = reasons.iter().any(|reason| reason.code == ReasonCode::MayChange);
    match action {
        Action::Skip if open => "may go out of date, and would not be built",
        Action::Skip if !reasons.is_empty() => "is out of date, and would not be built",
        Action::Build => "would be built",
        Action::Maybe => "might be built: that is open until something else is built or probed",
        Action::Ask => "the engine decides",
        Action::Cannot => "cannot be built",
        Action::Skip => "would not be built: nothing that it is made from has changed",
    }
}

/// `key 77ab3c01, built with 5c01aa10`
fn heading(answer: &Answer) -> String {
    let short = |digest: Digest| digest.to_string()[..8].to_owned();
    let now = answer.why.key.map_or_else(|| "not known yet".to_owned(), short);
    let how = if answer.last_good.as_ref().is_some_and(|last| last.adopted) { "adopted" } else { "built" };
    match answer.last_good.as_ref().map(|last| short(last.key)) {
        None => format!("key {now}"),
        Some(last) if last == now => format!("key {now}, as it was {how} with"),
        Some(last) => format!("key {now}, last {how} with {last}"),
    }
}

/// Rows of cells, in columns.
fn indented(line: &mut dyn FnMut(&str), rows: impl Iterator<Item = Vec<String>>) {
    table(&rows.collect::<Vec<_>>()).lines().for_each(|row| line(&format!("  {row}")));
}

/// Whether a part of the key stands among the inputs, with nothing more to be said of it.
fn is_told(part: &PartNow, inputs: &HashSet<&str>) -> bool {
    let path =
        part.name.strip_prefix(key::INPUT_PATH).filter(|_| matches!(part.state, PartState::Same | PartState::New));
    part.name.strip_prefix(key::INPUT).or(path).is_some_and(|node| inputs.contains(node))
}

/// How inputs and parts are shown.
struct Show {
    /// A value has so many columns at most.
    most: usize,
    /// Whether there is nothing that they could be compared with.
    first: bool,
}

impl Show {
    fn input(&self, input: &InputNow) -> Vec<String> {
        let path = input.path.clone().unwrap_or_default();
        let (mark, change) = self.change(input.state, input.old.as_deref(), input.new.as_deref());
        vec![format!("{mark} {}", input.node), path, change]
    }

    fn part(&self, part: &PartNow) -> Vec<String> {
        let (mark, change) = self.change(part.state, part.old.as_deref(), part.new.as_deref());
        vec![format!("{mark} {}", clean(&part.name)), change]
    }

    fn change(&self, state: PartState, old: Option<&str>, new: Option<&str>) -> (&'static str, String) {
        let state = if self.first && state == PartState::New { PartState::Same } else { state };
        let mark = match state {
            PartState::Same => " ",
            PartState::Changed => "~",
            PartState::New => "+",
            PartState::Gone => "-",
            PartState::Open | PartState::Missing => "?",
        };
        (mark, change(state, old, new, self.most))
    }
}

fn change(state: PartState, old: Option<&str>, new: Option<&str>, most: usize) -> String {
    let value = |text: &str| value(text, most);
    let known = old.is_some();
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    match state {
        PartState::Same => value(new),
        PartState::Changed if is_digest(old) || is_digest(new) => format!("{} → {}", value(old), value(new)),
        PartState::Changed => {
            let (old, new) = apart(old, new, most);
            format!("{old} → {new}")
        }
        PartState::New => format!("{}, is new", value(new)),
        PartState::Gone => format!("{}, no longer part of it", value(old)),
        PartState::Open if known => format!("{} → not known yet", value(old)),
        PartState::Open => "not known yet".to_owned(),
        PartState::Missing => "not there".to_owned(),
    }
}

/// A value as it is shown: digests are cut, other values stand on one line.
fn value(text: &str, most: usize) -> String {
    if is_digest(text) { text[..8].to_owned() } else { one_line(text, most) }
}

fn run_row(run: &StepRun, began: &str, most: usize) -> Vec<String> {
    let reasons = || past::reasons(&run.reasons, run.state, &|_| None, run.began).into_iter().next();
    // What was adopted was not built: it took no time, and why it would have been is no reason for anything.
    let why = run.why.clone().or_else(|| reasons().filter(|_| !run.adopted)).unwrap_or_default();
    let took = run.took_ms.filter(|_| !run.adopted).map(millis).unwrap_or_default();
    let took = match run.whole_ms {
        Some(whole) => format!("{took}, {} with {} attempts", millis(whole), run.attempt),
        None => took,
    };
    // The history has a shorter word.
    let state = if run.state == StepState::Current && !run.adopted { UP_TO_DATE } else { run.word() };
    vec![run.job.short(), began.to_owned(), state.to_owned(), format!("{took:>6}"), one_line(&why, most.max(WHY))]
}
