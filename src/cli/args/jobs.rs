//! What can be said to `kiln jobs` and `kiln import`. What it means is in the files of the commands.

use std::path::PathBuf;
use std::time::Duration;

use crate::base::job::JobState;
use crate::cli::args::Format;
use crate::cli::args::values::{from_one, time};
use crate::pipeline::dss_wire::build;
use clap::{Args, Subcommand, ValueHint};

/// `kiln jobs`
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Jobs,
    /// The jobs of this engine of the file, instead of the runs here
    #[arg(long, global = true, value_name = "NAME")]
    pub engine: Option<String>,
    /// With --engine: the project key [default: that of the engine]
    #[arg(long, global = true, value_name = "KEY", requires = "engine")]
    pub project: Option<String>,
}

/// `kiln import`
#[derive(Debug, Subcommand)]
pub enum Import {
    /// From the flow of a project on a DSS server; prints a commented pipeline file
    #[command(
        after_help = "Examples:\n  kiln import dss ORDERS > pipeline.toml             with DKU_DSS_URL and DKU_API_KEY\n  kiln import dss ORDERS --target orders_by_day      only what that is made from\n  kiln import dss ORDERS --engine prod -f other.toml with the server that another file names"
    )]
    Dss {
        /// The project key
        project: String,
        /// The engine of the file that says where the server is [default: DKU_DSS_URL, ~/.dataiku/config.json]
        #[arg(long, value_name = "NAME")]
        engine: Option<String>,
        /// Only this dataset, folder or model, and what it is made from
        #[arg(long, value_name = "NODE")]
        target: Option<String>,
    },
}

/// `kiln jobs`
#[derive(Debug, Subcommand)]
pub enum Jobs {
    /// List runs, the newest first
    #[command(
        after_help = "Examples:\n  kiln jobs list --state FAILED --since 2026-11-01\n  kiln jobs list --output orders --since 2d\n  kiln jobs list --initiator ci --limit 100 --format json\n  kiln jobs list --engine prod --output orders"
    )]
    List {
        /// Only those in this state; where history and logs are kept is --state-dir here
        #[arg(id = "job_state", long = "state", value_name = "STATE", value_enum, ignore_case = true)]
        state: Option<JobState>,
        /// What --state is for other commands: where history and logs are kept
        // The id is that of the option of every command, whose place this one takes.
        #[arg(id = "state", long = "state-dir", value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// Only those that began at or after this: 2026-11-01, 2026-11-01T02:00, yesterday, or so long ago: 2d, 12h
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those that began before this
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Only those that built this, or would have, or were asked for it by name or tag, or for everything, whatever was excluded
        #[arg(long, value_name = "NODE", value_hint = ValueHint::Other)]
        output: Option<String>,
        /// Only those that someone of this name started
        #[arg(long, value_name = "TEXT")]
        initiator: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = from_one)]
        limit: u32,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List what goes on
    #[command(
        after_help = "Examples:\n  kiln jobs running                             here\n  kiln jobs running --engine prod               in the project on a server\n  kiln jobs running --engine prod --everywhere  in all projects there"
    )]
    Running {
        /// With --engine: of all projects
        #[arg(long, requires = "engine", conflicts_with = "project")]
        everywhere: bool,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show a run with its steps
    #[command(
        after_help = "Examples:\n  kiln jobs show last                  the last run, with what became of each step\n  kiln jobs show 09-11-55 --format json   its events, one on each line\n  kiln jobs show ID --engine prod      a job on a server, with its activities"
    )]
    Show {
        /// Its id: in full, a part that only it has, or `last`
        id: String,
        /// How; json prints its events
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print what a run's steps printed
    #[command(
        after_help = "Examples:\n  kiln jobs log last                    all of it, step by step\n  kiln jobs log last orders --tail 20   the end of one step\n  kiln jobs log orders                  the last log of a step, whichever run it was\n  kiln jobs log last --follow           go on until the run has ended\n  kiln jobs log ID --engine prod --activity build_orders_NP   one activity of a job on DSS"
    )]
    Log {
        /// Its id: in full, a part that only it has, or `last`; or a step, for its last log
        // Shells offer other words here than where only a run is meant.
        #[arg(id = "run_or_step", value_name = "ID")]
        id: String,
        /// Only this step
        step: Option<String>,
        /// Only this activity of a job on DSS; here, only this step
        #[arg(long, value_name = "ACTIVITY", conflicts_with = "step")]
        activity: Option<String>,
        /// Only the last lines: of each step, where there are several
        #[arg(long, value_name = "N")]
        tail: Option<usize>,
        /// Go on until the run has ended
        #[arg(long)]
        follow: bool,
    },
    /// Wait until runs have ended: exit code 0 when all are DONE, 1 otherwise
    #[command(
        after_help = "Examples:\n  kiln jobs wait last                       the run that goes on here\n  kiln jobs wait ID1 ID2 --engine prod --timeout 2h   two jobs on a server, for two hours at most"
    )]
    Wait {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// At most so long: 90s, 30m, 2h; then with exit code 1
        #[arg(long, value_name = "TIME", value_parser = time)]
        timeout: Option<Duration>,
    },
    /// With --engine: start a job; prints its id
    Start(StartArgs),
    /// End runs that go on elsewhere, and wait until they have ended
    #[command(
        after_help = "Examples:\n  kiln jobs abort last                          the run that goes on here\n  kiln jobs abort ID --engine prod              a job on a server\n  kiln jobs abort --all --engine prod --dry-run say which jobs of the project would be ended\n  kiln jobs abort --all --engine prod --state NOT_STARTED   only those that wait"
    )]
    Abort {
        /// Their ids: in full, a part that only one has, or `last`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All that go on
        #[arg(long)]
        all: bool,
        /// With --engine and --all: only those in this state, as DSS calls it; the folder of the state is --state-dir here
        #[arg(id = "job_state", long = "state", value_name = "STATE", requires = "all", requires = "engine")]
        state: Option<String>,
        /// What --state is for other commands: where history and logs are kept
        // The id is that of the option of every command, whose place this one takes.
        #[arg(id = "state", long = "state-dir", value_name = "DIR")]
        state_dir: Option<PathBuf>,
        /// With --engine: only say which
        #[arg(short = 'n', long, requires = "engine")]
        dry_run: bool,
    },
}

/// `kiln jobs start`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  kiln jobs start --engine prod --output orders\n  kiln jobs start --engine prod --type RECURSIVE_FORCED_BUILD --output orders --output folder:O2ue6CX3 --wait\n  kiln jobs start --engine prod --output orders --partition 2026-11-01/2026-11-30"
)]
pub struct StartArgs {
    /// The build type
    #[arg(long = "type", value_name = "TYPE", default_value = build::SMART, value_parser = build::ALL)]
    pub kind: String,
    /// What to build: a node of the file, or NAME, dataset:NAME, folder:ID, model:ID; a project may stand before it: P.NAME
    #[arg(long, value_name = "OUTPUT", required = true)]
    pub output: Vec<String>,
    /// The partitions, as DSS reads them: 2026-11-01/2026-11-30|FR
    #[arg(long, value_name = "SPEC")]
    pub partition: Option<String>,
    /// Update the schema of outputs before each recipe
    #[arg(long)]
    pub auto_update_schema: bool,
    /// Bring the Hive metastore up to date behind the job
    #[arg(long)]
    pub refresh_hive_metastore: bool,
    /// Wait until it has ended: exit code 0 when it is DONE, 1 otherwise
    #[arg(long)]
    pub wait: bool,
}
