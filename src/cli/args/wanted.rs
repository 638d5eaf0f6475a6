//! What is wanted of a pipeline: the options of all commands that plan. Does not know what comes of it.

use clap::{Args, ValueHint};

use super::values::{assignment, from_one};
use crate::base::job::{BuildMode, Schedule};
use crate::session::Request;

/// What takes the place of what the file says; the same for all commands that plan.
#[derive(Clone, Debug, Args)]
pub struct Instead {
    /// The engine [default: that of the file, else local]
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,
    /// Replace a variable of the file: what was made with another value is built again, and replaced; it is told and kept, so it is no place for a secret
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    pub var: Vec<(String, String)>,
    /// Replace the project key of the file
    #[arg(long, value_name = "KEY")]
    pub project: Option<String>,
}

impl Instead {
    /// A request for everything.
    pub(crate) fn request(&self) -> Request {
        Request {
            engine: self.engine.clone(),
            vars: self.var.clone(),
            project: self.project.clone(),
            ..Request::default()
        }
    }
}

/// What is wanted; the same for `run` and `plan`.
#[derive(Clone, Debug, Args)]
pub struct Wanted {
    /// What to build: NAME or the path of a node, +NAME (with all above it), NAME+ (with all below it), tag:TAG, a pattern such as 'stg_*' [default: all]
    #[arg(value_name = "TARGET", value_hint = ValueHint::Other)]
    pub targets: Vec<String>,
    /// Leave these out; what reads them takes them as they are
    #[arg(long, value_name = "TARGET", value_hint = ValueHint::Other)]
    pub exclude: Vec<String>,
    /// What is built [default: that of the file, else smart]
    #[arg(long, value_enum)]
    pub mode: Option<BuildMode>,
    /// What takes the place of what the file says.
    #[command(flatten)]
    pub instead: Instead,
    /// Build these partitions, as the engine reads them (DSS: 2026-11-01/2026-11-30|FR)
    #[arg(long, value_name = "SPEC")]
    pub partition: Option<String>,
    /// How many steps run at once [default: that of the file, else the number of cores]
    #[arg(short, long, value_name = "N", value_parser = from_one)]
    pub jobs: Option<u32>,
    /// When a step may start [default: that of the file, else stages]
    #[arg(long, value_enum)]
    pub schedule: Option<Schedule>,
}

impl Wanted {
    /// What is asked for.
    pub(crate) fn request(&self) -> Request {
        Request {
            targets: self.targets.clone(),
            exclude: self.exclude.clone(),
            mode: self.mode,
            partition: self.partition.clone(),
            jobs: self.jobs,
            schedule: self.schedule,
            ..self.instead.request()
        }
    }
}
