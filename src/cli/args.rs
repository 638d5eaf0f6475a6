//! The command line. Only what can be said; what it means is in the files of the commands.

mod jobs;
mod values;
mod wanted;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

pub use self::jobs::{Import, Jobs, JobsArgs, StartArgs};
use self::values::{address, assignment, from_one, time_limit};
pub use self::wanted::{Instead, Wanted};
use crate::base::job::BuildMode;
use crate::base::text::parse_size;
use crate::draw::collapse::Collapse;
use crate::report::style::OutputMode;
use crate::session::Request;
use crate::store::gc::KEEP;

/// The heading of the options that every command has.
const EVERYWHERE: &str = "Options of every command";

/// Builds data pipelines that are declared in one TOML file.
#[derive(Debug, Parser)]
#[command(name = "kiln", version, max_term_width = 100, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "Exit codes: 0 all is built or up to date, 1 a step failed, 2 the command line or the file is \
wrong, 3 the engine or the store could not be reached, 4 nothing was selected, 70 a bug of Kiln, \
124 the time limit of the run, 129/130/143 stopped by a signal.")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command has.
    #[command(flatten)]
    pub everywhere: Everywhere,
}

impl Cli {
    /// Reads a command line. `kiln run` is tried by itself first: to define all other commands would be a tenth of what a run
    /// computes that has nothing to do. What is not understood then is read as a whole, and answered as ever.
    ///
    /// # Errors
    /// What is wrong with it; or help or the version, where that is asked for.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        if arguments.get(1).is_some_and(|command| command == "run")
            && let Ok(OnlyRun { command: JustRun::Run(args), everywhere }) = OnlyRun::try_parse_from(&arguments)
        {
            return Ok(Self { command: Command::Run(args), everywhere });
        }
        Self::try_parse_from(arguments)
    }
}

/// A command line of `kiln run`.
#[derive(Debug, Parser)]
struct OnlyRun {
    #[command(subcommand)]
    command: JustRun,
    #[command(flatten)]
    everywhere: Everywhere,
}

#[derive(Debug, Subcommand)]
enum JustRun {
    Run(RunArgs),
}

/// What every command has.
#[derive(Debug, Args)]
pub struct Everywhere {
    /// The pipeline file [default: pipeline.toml, else the only file in pipelines/]
    #[arg(short, long, global = true, value_name = "FILE", help_heading = EVERYWHERE)]
    pub file: Vec<PathBuf>,
    /// Work in this folder, as if Kiln had been started there; other paths count from it
    #[arg(short = 'C', long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub directory: Option<PathBuf>,
    /// Where history and logs are kept [default: KILN_STATE, else .kiln in the root]; `jobs list` and `jobs abort` call it --state-dir
    #[arg(long, global = true, value_name = "DIR", help_heading = EVERYWHERE)]
    pub state: Option<PathBuf>,
    /// When to use colours
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value_t = Color::Auto, help_heading = EVERYWHERE)]
    pub color: Color,
    /// Say more about what Kiln itself does (-vv: everything); KILN_LOG has the same for parts of it
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = EVERYWHERE)]
    pub verbose: u8,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build what is out of date, stage by stage, and wait for it
    #[command(
        after_help = "Examples:\n  kiln run                     all that is out of date\n  kiln run orders              `orders` and what it is made from\n  kiln run orders+             `orders` and all that is made from it\n  kiln run tag:daily -j 8 -k   all nodes with a tag, 8 at once, going on after failures\n  kiln run --exclude report+   all but `report` and what is made from it\n  kiln run --mode only orders+  `orders` and all that is made from it, whatever their state\n  kiln run --mode forced       everything, whatever its state\n  kiln run --failed            what the last run did not get done\n  kiln run -n                  only say what would be built (the same as `kiln plan`)"
    )]
    Run(RunArgs),
    /// Show what would be built, in which order and why; changes nothing
    #[command(
        after_help = "Examples:\n  kiln plan                    what `kiln run` would do\n  kiln plan --check            exit code 1 when something would be built\n  kiln plan --format json      for programs\n  kiln plan --format svg > plan.svg   a picture: what is made from what, coloured by what would happen"
    )]
    Plan(PlanArgs),
    /// Find all mistakes in pipeline files; runs nothing
    #[command(
        after_help = "Examples:\n  kiln check                     the file that `kiln run` would take\n  kiln check pipelines/*.toml    several\n  kiln check --engine prod       compare it with what is on a server, too"
    )]
    Check {
        /// The files [default: as for --file; all files in pipelines/]
        files: Vec<PathBuf>,
        /// Variables to check with, instead of those of the file
        #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
        var: Vec<(String, String)>,
        /// Compare with what is on this engine, too
        #[arg(long, value_name = "NAME")]
        engine: Option<String>,
    },
    /// List the nodes and tasks of the pipeline
    #[command(
        after_help = "Examples:\n  kiln list                  what there is, with what it is made from\n  kiln list +orders          `orders` and all that it is made from\n  kiln list --format json    for programs"
    )]
    List {
        /// What to list, in the words of `kiln run`; sources too [default: all]
        #[arg(value_name = "TARGET", value_hint = ValueHint::Other)]
        targets: Vec<String>,
        /// Leave these out
        #[arg(long, value_name = "TARGET", value_hint = ValueHint::Other)]
        exclude: Vec<String>,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show a node or recipe, as Kiln understands it
    #[command(
        after_help = "Examples:\n  kiln show orders    its inputs, the command with names filled in (…/orders.csv: where it is written first), its settings"
    )]
    Show {
        /// Its name, or the path of a node
        #[arg(value_hint = ValueHint::Other)]
        name: String,
    },
    /// Say why a node would be built or not: its inputs, the parts of its key, its last runs
    #[command(
        after_help = "Examples:\n  kiln why orders                what it is made from, and what differs from its last good build\n  kiln why orders --var x=2      the same, if a variable were another one\n  kiln why orders --format json  for programs\n\nParts of a key: `~` changed, `+` new, `-` gone, `?` not known yet."
    )]
    Why(WhyArgs),
    /// Runs of the past and of now; with --engine, the jobs of a server
    #[command(
        after_help = "Examples:\n  kiln jobs list --state FAILED --since 2026-11-01\n  kiln jobs show last\n  kiln jobs abort last -f pipelines/orders.toml   with a file, only the runs of its pipeline count\n  kiln jobs list --engine prod --output orders\n  kiln jobs start --engine prod --type RECURSIVE_FORCED_BUILD --output orders --wait\n  kiln jobs abort --engine prod --all --dry-run"
    )]
    Jobs(JobsArgs),
    /// Write a pipeline file from what another tool has
    #[command(subcommand)]
    Import(Import),
    /// Serve pipeline files over HTTP, with the jobs API of DSS
    #[command(
        after_help = "Examples:\n  kiln serve                               all pipeline files here, on 127.0.0.1:11200\n  kiln serve -f a.toml -f b.toml           two projects\n  kiln serve --listen 127.0.0.1:0          on a free port; the first line of the output says which\n  kiln serve --api-key-file keys.toml      with keys of its own for each user\n  echo $KEY | kiln serve --hash-key        what a key file holds of a key"
    )]
    Serve(ServeArgs),
    /// Take outputs that are already there as built, so that moving to Kiln rebuilds nothing
    #[command(
        after_help = "Outputs that are there count as built from their inputs, code and settings as they are now. Without targets this takes \
what Kiln has never built; with targets also what is out of date, and tasks; the exit code is 4 when nothing of these counts as built then. Nothing is run, no output is changed: \
what a run was writing in place when it was killed is left to the next `kiln run`, which puts the last good content back. It stands in \
`kiln jobs list` as a run of its own.\n\nExamples:\n  kiln adopt --dry-run    only say what would be taken\n  kiln adopt              all outputs that are there and that Kiln has not built\n  kiln adopt orders       `orders` as it is, although its code was changed (a comment, say)"
    )]
    Adopt(AdoptArgs),
    /// Take old runs out of the history, with their logs
    #[command(
        after_help = "A run is removed when it is older than --keep-days and not among the newest --keep-runs of its pipeline. What is \
left and still larger than --max-bytes loses its oldest runs too. A run that goes on is never removed, nor the newest of a pipeline, \
nor one that holds the last good build of a step. `kiln run` does the same by itself, with the defaults, at its end when the last \
time is a day ago. What runs have replaced and kept in `.kiln/replaced/` goes when it is older than --keep-days, and only with this \
command; what is kept beside its place, on another file system, stays until you remove it.\n\nExamples:\n  kiln gc --dry-run                    only say what would go\n  kiln gc --keep-days 7 --keep-runs 20\n  kiln gc --max-bytes 500MB            before `.kiln/` goes into a CI cache\n  kiln gc --recover                    the way out when Kiln says that the history is damaged"
    )]
    Gc(GcArgs),
    /// Print what makes a shell complete commands, options, names, paths and tags of nodes, variables, runs and their steps
    #[command(
        after_help = "Examples:\n  kiln completions bash > ~/.local/share/bash-completion/completions/kiln\n  kiln completions zsh > ~/.zfunc/_kiln        with `fpath+=~/.zfunc` before `compinit`\n  kiln completions fish > ~/.config/fish/completions/kiln.fish"
    )]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page of Kiln or of a command, or write all of them
    #[command(
        after_help = "Examples:\n  kiln man run | man -l -                      read one\n  kiln man --into ~/.local/share/man/man1      from then on `man kiln` and `man kiln-run` work"
    )]
    Man {
        /// The command, such as `run` or `jobs list` [default: Kiln itself]
        #[arg(conflicts_with = "into")]
        command: Vec<String>,
        /// Write all pages into this folder
        #[arg(long, value_name = "DIR")]
        into: Option<PathBuf>,
    },
    /// Print the JSON Schema of a format
    #[command(
        after_help = "Examples:\n  kiln schema pipeline > pipeline.schema.json    for an editor that completes and checks TOML\n  kiln schema plan                               what `kiln plan --format json` prints\n  kiln schema events                             what `kiln run --events FILE` writes"
    )]
    Schema {
        /// Which
        #[arg(value_enum)]
        what: SchemaOf,
    },
    /// Write a first pipeline.toml here
    #[command(
        after_help = "Examples:\n  kiln init && kiln plan    a small pipeline to begin with; a file that is there is left alone"
    )]
    Init,
    /// What the scripts of `kiln completions` ask
    #[command(hide = true)]
    Candidates {
        /// What may stand there
        what: Candidates,
        /// What is typed of it; of steps the run
        word: Option<String>,
    },
    /// What Kiln starts to watch over the processes of a run
    #[command(hide = true, name = crate::engine::local::guardian::COMMAND)]
    Guardian {
        /// How many files a process may open
        #[arg(long)]
        files: u64,
    },
}

/// What a shell can be offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[expect(missing_docs, reason = "the words say it")]
pub enum Candidates {
    Targets,
    Names,
    Tags,
    Vars,
    Runs,
    Running,
    Logs,
    Steps,
}

/// How something is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The formats that have a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SchemaOf {
    /// Pipeline files.
    Pipeline,
    /// `kiln plan --format json`.
    Plan,
    /// A line of `kiln run --events`.
    Events,
}

/// `kiln run`
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
    /// Only say what would be built; the same as `kiln plan`
    #[arg(short = 'n', long)]
    pub dry_run: bool,
    /// Build what run ID did not get done: the steps that failed, were stopped or were not started. It goes on after failures if that run did, and takes its variables unless --var is given [default: the last run that had something to do]
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "last", conflicts_with = "targets")]
    pub failed: Option<String>,
    /// Go on with what does not need a failed step; one that lacks what it needs, such as a secret, fails
    #[arg(short, long, conflicts_with_all = ["max_fail", "fail_fast"])]
    pub keep_going: bool,
    /// Go on until N steps have failed
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub max_fail: Option<u32>,
    /// Wait for a run that is in the way instead of giving up
    #[arg(long)]
    pub wait: bool,
    /// How long the run may take once its steps may start, such as 2h; then it is stopped, with exit code 124
    #[arg(long, value_name = "TIME", value_parser = time_limit)]
    pub timeout: Option<Duration>,
    /// What happens to running steps when that is enough failures
    #[arg(long, value_enum, value_name = "HOW")]
    pub fail_fast: Option<FailFast>,
    /// When the run is stopped, also end jobs on the engine that it only joined
    #[arg(long)]
    pub abort_joined: bool,
    /// Ask for a job again of which it is not known whether an earlier run started it; look on DSS first
    #[arg(long)]
    pub resubmit: bool,
    /// Write each event as a line of JSON to FILE; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub events: Option<PathBuf>,
    /// Write how each step ended to FILE, as a report of tests in JUnit's XML; `-` is standard output
    #[arg(long, value_name = "FILE|-")]
    pub junit: Option<PathBuf>,
    /// What is shown of the output of steps
    #[arg(long, value_enum, default_value_t = OutputMode::Failed)]
    pub output: OutputMode,
}

impl RunArgs {
    /// What is asked for.
    pub(crate) fn request(&self) -> Request {
        Request { abort_joined: self.abort_joined, resubmit: self.resubmit, ..self.wanted.request() }
    }
}

/// What happens to running steps after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailFast {
    /// They end by themselves.
    Wait,
    /// They are stopped.
    Kill,
}

/// `kiln serve`
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:11200", value_parser = address)]
    pub listen: SocketAddr,
    /// The keys that may ask, and for what [default: one key, kept in .kiln/api-key]
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// How many jobs run at once; further ones wait [default: --max-activities]
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub max_jobs: Option<u32>,
    /// How many steps run at once, in all jobs together [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = from_one)]
    pub max_activities: Option<u32>,
    /// Read a key from standard input (on a terminal: make one) and print its hash for a key file
    #[arg(long, conflicts_with_all = ["listen", "api_key_file", "max_jobs", "max_activities"])]
    pub hash_key: bool,
}

/// `kiln plan`
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: Wanted,
    /// How: as text or JSON, or as a picture
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub format: PlanFormat,
    /// How a picture is made smaller; every arrow between groups is drawn, faint where a longer way leads there, too [default: by stage where it shows more than 150 things, outputs among them, more than 60 stages, or more than 400 arrows; what is built stays apart while there is room]
    #[arg(long, value_enum, value_name = "HOW")]
    pub collapse: Option<Collapse>,
    /// Exit with 1 when something would be built or cannot be, or would be put back that a run which was killed was writing in place
    #[arg(long)]
    pub check: bool,
    /// Run no `tools` and `digest` commands; what depends on them is `maybe`
    #[arg(long)]
    pub no_probes: bool,
    /// Plan as for `kiln run -k`: what lacks something that it needs cannot be built, all else is
    #[arg(short, long)]
    pub keep_going: bool,
}

/// `kiln why`
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The name of a node, a recipe or a task, or the path of a node
    #[arg(value_hint = ValueHint::Other)]
    pub name: String,
    /// What would be built [default: that of the file, else smart]
    #[arg(long, value_enum)]
    pub mode: Option<BuildMode>,
    /// What takes the place of what the file says.
    #[command(flatten)]
    pub instead: Instead,
    /// Run no `tools` and `digest` commands; what depends on them is not known then
    #[arg(long)]
    pub no_probes: bool,
    /// So many of its last runs
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = from_one)]
    pub limit: u32,
    /// How
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// `kiln adopt`
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// What to take: NAME or the path of a node, +NAME (with all above it), NAME+ (with all below it), tag:TAG, a pattern such as 'stg_*' [default: all never built]
    #[arg(value_name = "TARGET", value_hint = ValueHint::Other)]
    pub targets: Vec<String>,
    /// Leave these out
    #[arg(long, value_name = "TARGET", value_hint = ValueHint::Other)]
    pub exclude: Vec<String>,
    /// What takes the place of what the file says.
    #[command(flatten)]
    pub instead: Instead,
    /// Only say what would be taken
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `kiln gc`
#[derive(Debug, Args)]
pub struct GcArgs {
    /// Keep the runs of the last N days
    #[arg(long, value_name = "N", default_value_t = KEEP.days, allow_negative_numbers = true)]
    pub keep_days: u32,
    /// Keep the newest N runs of each pipeline, however old they are
    #[arg(long, value_name = "N", default_value_t = KEEP.runs, allow_negative_numbers = true)]
    pub keep_runs: u32,
    /// Remove the oldest of the runs that would be kept, too, until history and logs are not larger than SIZE
    #[arg(long, value_name = "SIZE", default_value = "2GiB", value_parser = parse_size)]
    pub max_bytes: u64,
    /// Move a damaged history aside and begin a new one; logs stay. Removes nothing
    #[arg(long, conflicts_with_all = ["keep_days", "keep_runs", "max_bytes"])]
    pub recover: bool,
    /// Only say what would be removed or moved
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// How a plan is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanFormat {
    /// For people
    Text,
    /// For programs
    Json,
    /// A picture, for light and dark pages
    Svg,
    /// For Graphviz
    Dot,
    /// For Markdown on GitHub and GitLab
    Mermaid,
}
