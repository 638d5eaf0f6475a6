//! What GitHub shows of a run besides its log: an annotation at the place of each step that failed, and a table on the page of
//! the job. Does not know the environment in which GitHub tells where that goes.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::api::Reporter;
use super::feed::skipped_why;
use super::past::{changed, reasons};
use super::style::{Style, step_word};
use super::summary;
use crate::base::span::{Problem, Source};
use crate::base::text::{clean, millis};
use crate::event::{Event, Outcome, Stamped};
use crate::view::{RunView, StepState, StepView};

/// So many annotations of a kind are shown of one command.
const ANNOTATIONS: usize = 10;
/// So many steps are listed.
const ROWS: usize = 50;
/// So many failures are told in full: a page takes a megabyte.
const FAILURES: usize = 20;

/// Where GitHub looks for files.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The folder of the repository.
    pub top: PathBuf,
    /// The folder that the names of files start from.
    pub folder: PathBuf,
}

impl Workspace {
    /// The path of a file as GitHub knows it.
    fn path(&self, file: &str) -> String {
        let full = self.folder.join(file);
        full.strip_prefix(&self.top).unwrap_or(Path::new(file)).display().to_string()
    }

    /// A line that makes an annotation at a place.
    fn annotation(&self, kind: &str, file: &str, line: &str, title: &str, text: &str) -> String {
        let (file, line, title) = (property(&self.path(file)), property(line), property(title));
        format!("::{kind} file={file},line={line},title={title}::{}\n", data(text))
    }

    /// An annotation for each mistake in a file.
    #[must_use]
    pub fn mistakes(&self, source: &Source, problems: &[Problem]) -> String {
        let one = |problem: &Problem| {
            let kind = if problem.warning { "warning" } else { "error" };
            let line = problem.labels.first().map_or(1, |label| source.line(label.span.start));
            self.annotation(kind, &source.name, &line.to_string(), problem.code, &problem.in_line())
        };
        problems.iter().take(ANNOTATIONS).map(one).collect()
    }
}

/// Text behind the colons of a command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The value of a property of a command.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Annotations as steps fail, and the table when the run has ended.
#[derive(Debug)]
pub struct Github<W, P> {
    out: W,
    page: Option<P>,
    workspace: Workspace,
    style: Style,
    state: String,
    annotated: usize,
    /// What kept steps from beginning: it is shown at the first of them.
    told: HashSet<String>,
}

impl<W: Write, P: Write> Github<W, P> {
    /// Annotations go to `out`, the table to `page` if there is one. `state` is the state's folder as it is put before the
    /// paths of logs.
    pub fn new(out: W, page: Option<P>, workspace: Workspace, style: Style, state: impl Into<String>) -> Self {
        Self { out, page, workspace, style, state: state.into(), annotated: 0, told: HashSet::new() }
    }

    fn annotate(&mut self, step: &StepView) -> io::Result<()> {
        let (Some(failure), true) = (&step.failure, self.annotated < ANNOTATIONS) else { return Ok(()) };
        if summary::obstacle(step).is_some_and(|why| !self.told.insert(why.to_owned())) {
            return Ok(());
        }
        self.annotated += 1;
        let (file, line) = step.plan.place.rsplit_once(':').unwrap_or((&step.plan.place, "1"));
        let (name, why) = (clean(&step.plan.id), summary::squeezed(failure));
        let text = summary::words(step, &self.style, &self.state, true);
        // GitHub shows none without a text behind its title.
        let (title, text) = match text.trim_end() {
            "" => (name, why.as_str()),
            text => (format!("{name}: {why}"), text),
        };
        let line = self.workspace.annotation("error", file, line, &title, text);
        self.out.write_all(line.as_bytes())
    }
}

impl<W: Write, P: Write> Reporter for Github<W, P> {
    fn event(&mut self, view: &RunView, event: &Stamped) -> io::Result<()> {
        if let Event::StepEnded(ended) = &event.event
            && ended.outcome == Outcome::Failed
            && let Some(step) = view.step(&ended.step)
        {
            self.annotate(step)?;
        }
        if let (Event::RunEnded(_), Some(to)) = (&event.event, &mut self.page) {
            let page = page(view, &self.style, &self.state);
            // Nobody has asked for it: no run fails for it.
            if let Err(error) = to.write_all(page.as_bytes()).and_then(|()| to.flush()) {
                tracing::warn!("the page of the job on GitHub cannot be written: {error}");
            }
        }
        Ok(())
    }

    fn tells_unkept(&self) -> bool {
        true
    }

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// What the page of the job tells of a run that could not begin.
#[must_use]
pub fn refused(of: &str, why: &str) -> String {
    format!("### {}: the run could not begin\n\n{}\n", text(of), fenced(&format!("{}\n", why.trim_end())))
}

/// Lines as they are.
fn fenced(lines: &str) -> String {
    let fence = "`".repeat(longest_run(lines, '`').max(2) + 1);
    format!("{fence}text\n{lines}{fence}\n")
}

/// The table in Markdown: what did not end well comes first, then what took longest.
fn page(view: &RunView, style: &Style, state: &str) -> String {
    let name = view.head.as_ref().map_or("", |head| &head.started.pipeline);
    let counts = summary::counts(view).render(false, None);
    let mut out = format!("### {}: {}\n\n", text(name), text(&counts));
    let mut steps: Vec<_> = view.steps.iter().filter(|step| step.state != StepState::Current).collect();
    steps.sort_by_key(|step| (rank(step.state), std::cmp::Reverse(step.whole_ms())));
    if !steps.is_empty() {
        out += "| step | | took | why |\n|---|---|--:|---|\n";
    }
    for step in steps.iter().take(ROWS) {
        let (word, _) = step_word(step.state);
        let took = if step.attempt > 0 { millis(step.whole_ms()) } else { String::new() };
        let _ = writeln!(out, "| {} | {word} | {took} | {} |", text(&step.plan.id), text(&why(view, step)));
    }
    if steps.len() > ROWS {
        let _ = writeln!(out, "| … and {} more | | | |", steps.len() - ROWS);
    }
    for step in view.in_state(StepState::Failed).take(FAILURES) {
        let said = summary::failed(view, step, style, state);
        let (name, said) = (html(&clean(&step.plan.id)), fenced(&said));
        let _ = write!(out, "\n<details><summary>{name}</summary>\n\n{said}\n</details>\n");
    }
    out + "\n"
}

fn rank(state: StepState) -> u8 {
    match state {
        StepState::Failed => 0,
        StepState::Stopped | StepState::Running | StepState::Retrying | StepState::Publishing => 1,
        StepState::Skipped | StepState::Waiting => 2,
        StepState::Built | StepState::Same | StepState::Current => 3,
    }
}

/// Why it did not end well, or else why it was to be built.
fn why(view: &RunView, step: &StepView) -> String {
    match (step.state, &step.failure) {
        (StepState::Failed | StepState::Stopped, Some(failure)) => summary::message(failure, Some(step)),
        (StepState::Skipped, _) => skipped_why(view, step.because.as_deref()),
        _ => {
            let now = view.head.as_ref().map_or(jiff::Timestamp::UNIX_EPOCH, |head| head.at);
            let flaky = step.flaky().then(|| format!("flaky: {}", summary::attempts(step)));
            let why = reasons(&step.plan.reasons, step.state, &|node| changed(view, node), now);
            flaky.into_iter().chain(why).collect::<Vec<_>>().join("; ")
        }
    }
}

/// A text that means nothing else in a table of Markdown.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in html(&clean(text)).chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#' | '@' => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

/// A text that means nothing else in HTML, where Markdown's own ways of saying so mean nothing.
fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// How many of a character there are in a row at most.
fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
}
