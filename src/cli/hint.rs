//! What is said to a command line that clap does not understand: what other tools call so, by Kiln's own words. Does not
//! know what commands do.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, Error};

use crate::base::text::nearest;
use crate::cli::args::Cli;

/// Words, and what is said to them.
type Words = &'static [(&'static [&'static str], &'static str)];

/// Words that other tools have for commands, and what is said here.
const COMMANDS: Words = &[
    (&["build", "make", "repro", "start", "exec", "rn", "all", "up"], "`kiln run` builds what is out of date"),
    (&["status", "diff", "dry-run", "st"], "`kiln plan` says what is out of date, `kiln jobs list` what runs did"),
    (&["dag", "graph", "draw", "visualize", "viz"], "`kiln plan --format svg >plan.svg` draws what is made from what"),
    (
        &["clean", "prune", "purge"],
        "`kiln gc` takes old runs out of the history; outputs are files: remove them as such",
    ),
    (&["test"], "a check is a task: `kiln run NAME`"),
    (&["version"], "`kiln --version`"),
    (
        &["docs", "doc", "manual"],
        "`kiln man` prints how Kiln is used, `kiln list` and `kiln plan --format svg` show the pipeline",
    ),
    (
        &["metrics", "stats", "profile", "timings"],
        "`kiln jobs show last` says how long each step took, `kiln why NODE` how its last runs went",
    ),
    (&["help"], "`kiln --help`, `kiln run --help`, or `kiln man run`"),
    (&["force", "rebuild"], "`kiln run --mode forced` builds anyway"),
    (&["retry", "resume"], "`kiln run --failed` builds what the last run did not get done"),
    (&["explain"], "`kiln why NODE` says why it would be built"),
    (&["validate", "lint", "parse", "compile"], "`kiln check` finds all mistakes in pipeline files"),
    (&["ps", "top"], "`kiln jobs running` lists what goes on"),
    (&["watch", "follow", "tail"], WATCH),
    (&["log", "logs", "history"], "`kiln jobs log last` prints what steps printed, `kiln jobs list` lists runs"),
    (
        &["abort", "stop", "kill", "cancel", "wait"],
        "`kiln jobs abort last` ends a run, `kiln jobs wait last` waits for it",
    ),
];

/// The same for what stands behind `kiln jobs`.
const JOBS: Words = &[
    (&["stop", "kill", "cancel", "end"], "`kiln jobs abort ID` ends a run"),
    (&["ps", "top"], "`kiln jobs running` lists what goes on"),
    (
        &["status", "info", "inspect", "describe"],
        "`kiln jobs show ID` says how a run went, `kiln jobs list` lists runs",
    ),
    (&["retry", "resume", "restart", "rerun"], "`kiln run --failed` builds what the last run did not get done"),
    (&["watch", "follow", "tail"], WATCH),
];

/// What is said to those who want to see a run go on.
const WATCH: &str = "`kiln jobs log last --follow` prints what steps print until the run has ended, `kiln jobs wait last` waits for that";

/// The same for options.
const OPTIONS: Words = &[
    (
        &["--forced", "--force", "--always-make", "-B", "-F", "--forceall", "--full-refresh", "--no-cache", "--rerun"],
        "`--mode forced` builds whatever the state",
    ),
    (&["--stale", "--outdated", "--changed"], "`kiln plan` says what is out of date, `kiln run` builds it"),
    (&["--failed"], "`kiln run -n --failed` says what that would build"),
    (&["--only"], "`--mode only` builds nothing but the targets"),
    (
        &["--target", "--targets", "--select", "-s", "-t"],
        "targets stand by themselves: NAME, +NAME, NAME+, tag:TAG, 'stg_*'; `-f FILE` names the pipeline file",
    ),
    (&["--skip", "--without", "--ignore", "--not"], "`--exclude TARGET` leaves out what a target stands for"),
    (&["--tag", "--tags"], "write tag:TAG, as in `kiln run tag:daily`"),
    (&["--cores", "--threads", "--parallel", "--workers"], "`-j N` runs so many steps at once"),
    (&["--retries", "--restart-times"], "how often a step is tried stands in the file: retry = { max = 3 }"),
    (
        &["--models", "-m", "--until"],
        "targets stand by themselves: NAME, +NAME, NAME+, tag:TAG, 'stg_*'; what they are made from is built with them",
    ),
    (&["--touch"], "`kiln adopt` takes what is there for built"),
    (
        &["--unlock", "--rerun-incomplete", "--ri", "--resume", "--continue"],
        "nothing is needed: the next `kiln run` goes on where the last one ended",
    ),
    (&["--config", "--set", "--define", "--param", "--params"], "`--var NAME=VALUE` sets a value of [vars]"),
    (
        &["--dag", "--rulegraph", "--filegraph", "--graph"],
        "`kiln plan --format svg >plan.svg` draws what is made from what",
    ),
    (&["--snakefile", "--makefile", "--pipeline"], "`-f FILE` names the pipeline file"),
    (&["--use-conda", "--use-singularity", "--sdm"], "what enters an environment stands in `shell` of the file"),
    (&["--profile"], "`--engine NAME` says what carries the steps out"),
    (&["-o", "--out", "--output-file"], "`>` takes what is printed: kiln plan --format svg >plan.svg"),
];

/// Says what may have been meant, where that is known, instead of the word that is spelled most alike.
pub(super) fn hint(error: Error) -> Error {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let unknown = |kind, words| said(kind).and_then(|word| known(words, word));
    let hint = if error.kind() == ErrorKind::InvalidSubcommand {
        // It is the usage that tells below which command the word stands.
        let usage = error.get(ContextKind::Usage).map(ToString::to_string).unwrap_or_default();
        let jobs = usage.contains("kiln jobs ");
        let near = || {
            let word = said(ContextKind::InvalidSubcommand)?;
            let kiln = Cli::command();
            let commands = if jobs { kiln.find_subcommand("jobs")? } else { &kiln };
            let names =
                commands.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name);
            let none = error.get(ContextKind::SuggestedSubcommand).is_none();
            nearest(word, names).filter(|_| none).map(|near| format!("did you mean `{near}`?"))
        };
        unknown(ContextKind::InvalidSubcommand, if jobs { JOBS } else { COMMANDS }).or_else(near)
    } else if error.kind() == ErrorKind::UnknownArgument {
        let below_zero = || {
            let number = said(ContextKind::InvalidArg)?.strip_prefix('-')?;
            let is_number = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| "no number is below 0 here".to_owned())
        };
        unknown(ContextKind::InvalidArg, OPTIONS).or_else(below_zero)
    } else if error.kind() == ErrorKind::ArgumentConflict {
        let both = [said(ContextKind::InvalidArg), said(ContextKind::PriorArg)].into_iter().flatten();
        let failed = |text: &str| text.starts_with("--failed");
        let targets = |text: &str| text.contains("[TARGET]");
        (both.clone().any(failed) && both.clone().any(targets))
            .then(|| "targets or --failed, not both: it takes what an earlier run did not get done".to_owned())
    } else {
        said(ContextKind::InvalidArg).filter(|option| option.starts_with("--state ")).and_then(|_| {
            // What is empty is no folder of any command.
            let folder = said(ContextKind::InvalidValue).filter(|folder| !folder.is_empty())?;
            Some(format!("here --state is that of a run; `--state-dir {folder}` says where history and logs are kept"))
        })
    };
    match hint {
        None if error.kind() == ErrorKind::UnknownArgument => without_dashes(error),
        None => error,
        Some(hint) => instead(error, hint),
    }
}

fn known(words: Words, word: &str) -> Option<String> {
    words.iter().find(|(others, _)| others.contains(&word)).map(|(_, hint)| (*hint).to_owned())
}

/// Nothing that Kiln is told by itself begins with a `-`, as `-- -o` would.
fn without_dashes(mut error: Error) -> Error {
    drop(error.remove(ContextKind::Suggested));
    error
}

fn instead(mut error: Error, hint: String) -> Error {
    for alike in [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue] {
        drop(error.remove(alike));
    }
    if error.kind() == ErrorKind::ArgumentConflict {
        // It tells one of the two, as if the other were wrong.
        drop(error.remove(ContextKind::Usage));
    }
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
    error
}
