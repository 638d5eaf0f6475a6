//! `kiln adopt`: takes outputs that are already there as built, and says which.

use crate::base::id::RecipeId;
use crate::base::job::BuildMode;
use crate::base::text::count;
use crate::cli::args::AdoptArgs;
use crate::cli::{Context, find, print, run};
use crate::exit;
use crate::plan::adopt::Adoption;
use crate::select::Want;
use crate::session::adopt::{look, take};
use crate::session::fail::Fail;
use crate::session::start::Origin;
use crate::session::{Request, Session};

pub(crate) fn adopt(context: &Context, args: &AdoptArgs) -> Result<u8, Fail> {
    let file = find::find(context.file.as_deref(), &context.surroundings)?;
    let (targets, exclude) = (args.targets.clone(), args.exclude.clone());
    let request = Request { targets, exclude, mode: Some(BuildMode::Smart), ..args.instead.request() };
    let session = Session::open(&context.site(), &file, &request)?;
    let (job, adoption) = if args.dry_run {
        (None, look(&session)?)
    } else {
        let again = run::command(context, &request, false);
        let (by, vars) = (context.surroundings.user(), request.vars.into_iter().collect());
        take(&session, Origin { by, again, keep_going: false, vars })?
    };
    let kept = job.map(|job| format!("recorded as {job}\n")).unwrap_or_default();
    print(&(told(&session, &adoption, args.dry_run) + &kept))?;
    Ok(if holds_some(&session, &adoption) { exit::OK } else { exit::NOTHING })
}

/// Whether something of what was asked for counts as built now, or there was nothing to ask for.
fn holds_some(session: &Session, adoption: &Adoption) -> bool {
    let mut held = adoption.current.iter().chain(adoption.taken.iter().map(|(step, _)| step));
    let all = session.selection.targets.is_empty();
    all && adoption.left.is_empty() || held.any(|step| all || session.selection.want[step.id] == Want::Target)
}

fn told(session: &Session, adoption: &Adoption, dry: bool) -> String {
    let name = |id: RecipeId| session.pipeline().recipes[id].name.as_str();
    let verb = if dry { "would take" } else { "took" };
    let word = if adoption.taken.is_empty() { "left" } else { verb }.len();
    let ids = adoption.taken.iter().map(|(step, _)| step.id).chain(adoption.left.iter().map(|(id, _)| *id));
    let width = ids.map(|id| name(id).chars().count()).max().unwrap_or_default();
    let taken = adoption.taken.iter().map(|(step, record)| {
        let paths: Vec<_> = record.outputs.iter().filter_map(|output| output.path.as_deref()).collect();
        format!("  {verb}  {:<width$}  {}", name(step.id), paths.join(", "))
    });
    let left = adoption.left.iter().map(|(id, why)| format!("  {:<1$}  {2:<width$}  {why}", "left", word, name(*id)));
    let lines: String = taken.chain(left).map(|line| format!("{}\n", line.trim_end())).collect();
    format!(
        "{lines}{verb} {}, left {}, {} up to date\n",
        count(adoption.taken.len(), "step"),
        adoption.left.len(),
        adoption.current.len()
    )
}
