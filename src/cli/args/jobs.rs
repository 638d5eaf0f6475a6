//! What can be said to `kiln jobs` and `kiln import`. What it means is in the files of the commands.

use std::path::PathBuf;

use crate::base::job::JobState;
use crate::cli::args::{EVERYWHERE, Format};
use crate::pipeline::dss_wire::build;
use clap::{Args, Subcommand};

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
        after_help = "Examples:\n  kiln jobs list --state FAILED --since 2026-11-01\n  kiln jobs list --initiator ci --limit 100 --format json\n  kiln jobs list --engine prod --output orders"
    )]
    List {
        /// Only those in this state
        #[arg(id = "job_state", long = "state", value_name = "STATE", value_enum, ignore_case = true)]
        state: Option<JobState>,
        /// What --state is for other commands: where history and logs are kept
        // The id is that of the option of every command, whose place this one takes.
        #[arg(id = "state", long = "state-dir", value_name = "DIR", help_heading = EVERYWHERE)]
        state_dir: Option<PathBuf>,
        /// Only those that began at or after this: 2026-11-01, 2026-11-01T02:00
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only those that began before this
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// With --engine: only those that build this
        #[arg(long, value_name = "NAME", requires = "engine")]
        output: Option<String>,
        /// Only those that someone of this name started
        #[arg(long, value_name = "TEXT")]
        initiator: Option<String>,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// List what goes on
    Running {
        /// With --engine: of all projects
        #[arg(long, requires = "engine", conflicts_with = "project")]
        everywhere: bool,
        /// How
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Show a run with its steps
    Show {
        /// Its id: in full, a part that only it has, or `last`
        id: String,
        /// How; json prints its events
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print what a run's steps printed
    Log {
        /// Its id: in full, a part that only it has, or `last`
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
    Wait {
        /// Their ids
        #[arg(required = true)]
        ids: Vec<String>,
        /// At most so long: 90s, 30m, 2h
        #[arg(long, value_name = "TIME")]
        timeout: Option<String>,
    },
    /// With --engine: start a job; prints its id
    Start(StartArgs),
    /// End runs that go on elsewhere, and wait until they have ended
    Abort {
        /// Their ids: in full, a part that only one has, or `last`
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        ids: Vec<String>,
        /// All that go on
        #[arg(long)]
        all: bool,
        /// With --engine and --all: only those in this state, as DSS calls it
        #[arg(id = "job_state", long = "state", value_name = "STATE", requires = "all", requires = "engine")]
        state: Option<String>,
        /// What --state is for other commands: where history and logs are kept
        // The id is that of the option of every command, whose place this one takes.
        #[arg(id = "state", long = "state-dir", value_name = "DIR", help_heading = EVERYWHERE)]
        state_dir: Option<PathBuf>,
        /// With --engine: only say which
        #[arg(short = 'n', long, requires = "engine")]
        dry_run: bool,
    },
}

/// `kiln jobs start`
#[derive(Debug, Args)]
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
