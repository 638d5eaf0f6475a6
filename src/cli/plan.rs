//! `kiln plan`, and `kiln run --dry-run`.

use crate::base::job::JobState;
use crate::base::text::one_line;
use crate::cli::args::{PlanArgs, PlanFormat, RunArgs};
use crate::cli::{Context, failed, find, note, print, to_the_end};
use crate::draw::collapse::collapse;
use crate::draw::picture::{Picture, picture};
use crate::draw::{svg, text as diagram};
use crate::exit;
use crate::plan::estimate::estimate;
use crate::plan::json::PlanJson;
use crate::plan::reason::Action;
use crate::report::plan::{Heading, text};
use crate::session::fail::Fail;
use crate::session::{Known, Planned, Session};

pub(crate) fn plan(context: &Context, args: &PlanArgs) -> Result<u8, Fail> {
    let is_picture = matches!(args.format, PlanFormat::Svg | PlanFormat::Dot | PlanFormat::Mermaid);
    if args.collapse.is_some() && !is_picture {
        let help = "say --format svg, dot or mermaid".to_owned();
        return Err(Fail::Usage("--collapse is for pictures".to_owned(), Some(help)));
    }
    let file = find::find(context.file.as_deref(), &context.surroundings)?;
    let session = to_the_end(Session::open(&context.site(), &file, &args.wanted.request())?);
    show(context, &session, args)
}

fn show(context: &Context, session: &Session, args: &PlanArgs) -> Result<u8, Fail> {
    let shown = show_plan(context, session, args);
    if let Err(Fail::Mistakes(_, problems)) = &shown
        && !args.keep_going
        && problems.iter().all(|problem| problem.obstacle || problem.warning)
    {
        note("with -k the plan is shown all the same, with what cannot be built");
    }
    // A run that is refused has done it all the same.
    if let Err(Fail::Mistakes(..)) = &shown
        && let Ok((known, _)) = session.look(false, false)
    {
        session.to_put_back(&known).iter().for_each(|put_back| tracing::warn!("{put_back}"));
    }
    shown
}

fn show_plan(context: &Context, session: &Session, args: &PlanArgs) -> Result<u8, Fail> {
    let mut planned = to_the_end(session.plan_to_run(!args.no_probes, args.keep_going)?.0);
    let left = session.passed_over(&mut planned);
    planned.plan.take_in(left, &session.loaded.graph);
    for problem in session.obstacles(&planned.plan, args.keep_going)? {
        tracing::warn!("{}", problem.message);
    }
    session.unmatched(&planned).iter().for_each(|empty| note(empty));
    let graph = &session.loaded.graph;
    let estimate = estimate(&planned.plan, graph, session.schedule, session.jobs);
    let (pipeline, selection) = (session.pipeline(), &session.selection);
    let engine = session.engine.name();
    let put_back = session.to_put_back(&planned.known);
    let something = !put_back.is_empty() || planned.plan.steps.iter().any(|step| step.action != Action::Skip);
    match args.format {
        PlanFormat::Text => {
            let state = state(context, &planned.known);
            let (now, put_back) = (planned.facts.now, put_back.as_slice());
            let failed = &session.failed_last(&planned.plan);
            let heading = Heading { engine, state: &state, jobs: session.jobs, now, put_back, failed };
            print(&context.style().fold(&text(pipeline, selection, &planned.plan, &estimate, &heading)))?;
        }
        PlanFormat::Json => {
            let json = PlanJson::new(pipeline, selection, &planned.plan, &estimate, engine).with(put_back);
            let json = serde_json::to_string_pretty(&json).map_err(|error| Fail::because("the plan", &error))?;
            print(&format!("{json}\n"))?;
        }
        PlanFormat::Svg => print(&svg::svg(&drawn(session, &planned, args)))?,
        PlanFormat::Dot => print(&diagram::dot(&drawn(session, &planned, args)))?,
        PlanFormat::Mermaid => {
            let picture = drawn(session, &planned, args);
            let text = diagram::mermaid(&picture);
            if let Some(said) = diagram::too_much_for_mermaid(&picture, &text) {
                tracing::warn!("{said}; --collapse makes it smaller");
            }
            print(&text)?;
        }
    }
    Ok(if args.check && something { exit::FAILED } else { exit::OK })
}

/// The picture of a plan.
fn drawn(session: &Session, planned: &Planned, args: &PlanArgs) -> Picture {
    let pipeline = session.pipeline();
    let title = format!("{} · {}", pipeline.name, planned.plan.counts());
    let picture = collapse(picture(pipeline, &session.loaded.graph, Some(&planned.plan), &title), args.collapse);
    for remark in &picture.remarks {
        tracing::warn!("{remark}");
    }
    picture
}

/// `kiln run -n`
pub(crate) fn dry_run(context: &Context, args: RunArgs) -> Result<u8, Fail> {
    let (session, args) = failed::session(context, &args)?;
    let session = to_the_end(session);
    let (wanted, keep_going, format) = (args.wanted, args.keep_going, PlanFormat::Text);
    show(context, &session, &PlanArgs { wanted, format, collapse: None, check: false, no_probes: false, keep_going })
}

/// So many letters are shown of why the last run did not end well.
const WHY: usize = 120;

/// The state that a plan rests on: when the last run ended, and why if that was no good end.
fn state(context: &Context, known: &Known) -> String {
    let date = |at| context.style().date(at, crate::clock::now());
    match &known.last_run {
        None => "never run".to_owned(),
        Some(run) if run.state == JobState::Running => format!("a run goes on since {}", date(run.start)),
        Some(run) if run.state == JobState::Queued => format!("a job waits for its turn since {}", date(run.start)),
        Some(run) => {
            let ill = [JobState::Failed, JobState::Aborted].contains(&run.state);
            let why = run.why.as_ref().filter(|_| ill).map(|why| format!(", {}", one_line(why, WHY)));
            let ill = if ill { format!(" ({}{})", run.state, why.unwrap_or_default()) } else { String::new() };
            format!("state of {}{ill}", date(run.end.unwrap_or(run.start)))
        }
    }
}
