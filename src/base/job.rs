//! Words that a run is spoken of in: job ids, states, build modes, schedules.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The id of a run, such as `build_orders_2026-11-23T12-00-00.123`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct JobId(String);

/// Who makes ids of runs of a pipeline: at any time there is at most one of each. What one has made the other cannot see before it
/// is in the history, so each has milliseconds of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// Who holds the lock of the pipeline, for a run that begins now: the even ones.
    Run,
    /// Who holds the lock of the queue, for a run that waits for its turn: the odd ones.
    Queue,
}

impl JobId {
    /// The id of a run of the pipeline `name` that is asked for at that time.
    #[must_use]
    pub fn at(name: &str, at: Timestamp, maker: Maker) -> Self {
        let own = i64::from(maker == Maker::Queue);
        let at = at + SignedDuration::from_millis(i64::from(at.as_millisecond() & 1 != own));
        Self::new(name, &at.strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string())
    }

    /// The first such id from that time on that is not taken.
    ///
    /// # Errors
    /// Why it cannot be told whether one is.
    pub fn free<E>(
        name: &str,
        mut at: Timestamp,
        maker: Maker,
        is_taken: impl Fn(&Self) -> Result<bool, E>,
    ) -> Result<Self, E> {
        loop {
            let job = Self::at(name, at, maker);
            if !is_taken(&job)? {
                return Ok(job);
            }
            at += SignedDuration::from_millis(1);
        }
    }

    /// The id of a run of the pipeline `name` that begins at `stamp` (`2026-11-23T12-00-00.123`).
    #[must_use]
    pub fn new(name: &str, stamp: &str) -> Self {
        Self(format!("build_{name}_{stamp}"))
    }

    /// Takes a written id as it stands.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The end of the id, from the day of the month on, behind `…`: enough to name a run of these weeks.
    #[must_use]
    pub fn short(&self) -> String {
        match self.0.rfind('T') {
            Some(t) if t >= 2 => format!("…{}", &self.0[t - 2..]),
            _ => self.0.clone(),
        }
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[derive(borsh::BorshSerialize, borsh::BorshDeserialize, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] #[value(name = $word)] $variant,)*
        }

        impl $name {
            /// The one with that word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The word for it, in files, on the command line and in output.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.word())
            }
        }
    )*};
}

words! {
    /// Where a run stands.
    JobState {
        /// It waits for its turn.
        Queued = "NOT_STARTED",
        /// It goes on.
        Running = "RUNNING",
        /// All that was asked for is built or up to date.
        Done = "DONE",
        /// A step failed.
        Failed = "FAILED",
        /// It was stopped, or its process died.
        Aborted = "ABORTED",
    }

    /// What a run builds; the same words for every engine.
    #[derive(Default)]
    BuildMode {
        /// What is out of date on the way to the targets.
        #[default]
        Smart = "smart",
        /// The targets, whatever their state, and nothing else.
        Only = "only",
        /// The targets and all that they are made from, whatever their state.
        Forced = "forced",
        /// What has no output at all.
        Missing = "missing",
    }

    /// When a step may start.
    Schedule {
        /// When the stage before its own has ended.
        Stages = "stages",
        /// When its own inputs are there, the longest remaining way first.
        Eager = "eager",
    }
}

impl BuildMode {
    /// How what such a run did not get done is built: whatever the state where it built so, but not what is above, which it
    /// has built.
    #[must_use]
    pub fn again(self) -> Self {
        match self {
            Self::Forced | Self::Only => Self::Only,
            Self::Smart | Self::Missing => self,
        }
    }
}

impl JobState {
    /// Whether the run will not change any more.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Queued | Self::Running => false,
            Self::Done | Self::Failed | Self::Aborted => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_short_id_keeps_day_and_time() {
        let id = JobId::new("orders", "2026-11-23T12-00-00.123");
        assert_eq!(id.as_str(), "build_orders_2026-11-23T12-00-00.123");
        assert_eq!(id.short(), "…23T12-00-00.123");
    }

    #[test]
    fn who_makes_ids_at_one_time_makes_different_ones() {
        let time = |ms| Timestamp::from_millisecond(ms).unwrap();
        let (run, queue) = (JobId::at("p", time(1_000), Maker::Run), JobId::at("p", time(1_000), Maker::Queue));
        assert_eq!(run.as_str(), "build_p_1970-01-01T00-00-01.000");
        assert_eq!(queue.as_str(), "build_p_1970-01-01T00-00-01.001");
        let all = |maker| (-4..4).map(|ms| JobId::at("p", time(ms), maker)).collect::<BTreeSet<_>>();
        assert!(all(Maker::Run).is_disjoint(&all(Maker::Queue)));
        let next = JobId::free("p", time(1_000), Maker::Run, |job| Ok::<_, ()>(*job == run));
        assert_eq!(next.unwrap().as_str(), "build_p_1970-01-01T00-00-01.002");
    }
}
