//! The integration tests of Kiln, in one binary: the real program on real files.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and is no part of Kiln"
)]

mod abort;
mod adopt;
mod by_name;
mod checked;
mod checker;
mod conformance;
mod crash;
mod docs;
mod draw;
mod dss;
mod dss_astray;
mod dss_crash;
mod dss_cut;
mod dss_docs;
mod dss_import;
mod dss_jobs;
mod dss_kiln;
mod dss_lost;
mod dss_net;
mod dss_said;
mod dss_secrets;
mod dss_server;
mod dss_start;
mod dss_stop;
mod dss_storm;
mod dss_tls;
mod dss_twice;
mod dss_ways;
mod dss_whole;
mod edges;
mod environment;
mod exclude;
mod failed;
#[cfg(feature = "failpoints")]
mod faults;
mod full;
mod gc;
mod half;
mod hindered;
mod hints;
mod inner;
mod job_logs;
mod jobs;
mod kills;
mod kinds;
mod late;
mod left;
mod links;
mod listing;
mod memo;
mod mistakes;
mod mistakes_around;
mod mistakes_commands;
mod mistakes_names;
mod mistakes_paths;
mod mistakes_slips;
mod mistakes_text;
mod mounts;
mod oracle;
mod output;
#[cfg(feature = "failpoints")]
mod overtaken;
mod page;
mod pid1;
mod pipelines;
mod probes;
mod processes;
mod quotes;
mod reading;
mod readme;
mod refusals;
mod replaced;
mod retry;
mod run;
mod running;
mod schemas;
mod secrets;
mod serve;
mod servers;
mod space;
mod store;
mod support;
mod tidy;
mod together;
mod told;
mod tree;
mod undone;
mod undone_first;
mod ways_out;
mod why;
mod words;
