//! Why a step is built: codes for programs, sentences for people. Does not decide anything.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::text::{age, apart, clean, few, one_line};

/// What happens to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// It is built, whatever happens before it (unless that fails).
    Build,
    /// It is built if something above it comes out different.
    Maybe,
    /// The engine decides.
    Ask,
    /// It would have to be built and cannot be: it lacks something that it needs, or something above it does. All others can be
    /// built with `-k`.
    Cannot,
    /// It is up to date, or not wanted.
    Skip,
}

impl Action {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Maybe => "maybe",
            Self::Ask => "ask",
            Self::Cannot => "cannot",
            Self::Skip => "skip",
        }
    }
}

/// What becomes of a step, as people see it: what is out of date and not built is not up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// It is built.
    Build,
    /// It is built if something above it comes out different.
    Maybe,
    /// The engine decides.
    Ask,
    /// It would have to be built and cannot be.
    Cannot,
    /// It is out of date, or may become so, and not built.
    Left,
    /// It is up to date.
    Skip,
}

impl Fate {
    /// All of them, what is done first.
    pub const ALL: [Self; 6] = [Self::Build, Self::Maybe, Self::Ask, Self::Cannot, Self::Left, Self::Skip];

    /// What an action with these reasons comes to.
    #[must_use]
    pub fn of(action: Action, reasons: &[Reason]) -> Self {
        match action {
            Action::Build => Self::Build,
            Action::Maybe => Self::Maybe,
            Action::Ask => Self::Ask,
            Action::Cannot => Self::Cannot,
            Action::Skip if reasons.is_empty() => Self::Skip,
            Action::Skip => Self::Left,
        }
    }

    /// Its place in [`Fate::ALL`].
    #[must_use]
    pub fn rank(self) -> usize {
        self as usize
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Skip => "up to date",
            Self::Build | Self::Maybe | Self::Ask | Self::Cannot | Self::Left => self.class(),
        }
    }

    /// The class that pictures and rows of it have.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Maybe => "maybe",
            Self::Ask => "ask",
            Self::Cannot => "cannot",
            Self::Left => "left",
            Self::Skip => "skip",
        }
    }

    /// Whether anything is or may be done.
    #[must_use]
    pub fn is_active(self) -> bool {
        matches!(self, Self::Build | Self::Maybe | Self::Ask)
    }
}

/// The kind of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// There is no record of a good build.
    NeverBuilt,
    /// Another step, which was made from the same in the same way, has built what is there: it has another name now.
    BuiltAs,
    /// The content or the path of an input is another one.
    InputChanged,
    /// It has an input that it did not have.
    InputAdded,
    /// It lost an input.
    InputRemoved,
    /// A file of `files` changed, came or went.
    CodeChanged,
    /// A file came into `files`, by its own name.
    CodeAdded,
    /// A file is not named by `files` any more; it may be there.
    CodeRemoved,
    /// A variable of `env` changed, came or went.
    EnvChanged,
    /// A variable of `[vars]` that the command uses changed.
    VarChanged,
    /// A tool prints something else.
    ToolChanged,
    /// `run` is another command.
    CommandChanged,
    /// Another setting changed: the shell, the working directory, the pipeline's name or project.
    SettingChanged,
    /// An output is not there.
    OutputMissing,
    /// The `digest` command of an output that was built has failed, `new` says how: it is not there, or cannot be asked for.
    DigestFailed,
    /// An output is not what was built.
    OutputChanged,
    /// The outputs are others, or have other paths.
    OutputMoved,
    /// An output is a folder now and was a file, or the other way round.
    OutputKind,
    /// Something stands where an output belongs, and Kiln has not made it: it is replaced, and kept.
    OutputForeign,
    /// It is older than `rebuild` allows; or built in the future, by a clock that was ahead: then `new` is the time now.
    RebuildAge,
    /// `rebuild = "always"`.
    RebuildAlways,
    /// It was asked for with `--mode only` or `--mode forced`.
    Asked,
    /// What a probe would print is not known.
    NotProbed,
    /// The engine is asked to build it, and decides whether it has to.
    EngineDecides,
    /// Something above it is built and may come out different.
    MayChange,
    /// It is out of date and not built: `rebuild = "never"`, and there is an output.
    RebuildNever,
    /// It is out of date and not built: `--mode missing`, and there is an output.
    OutputThere,
    /// It is out of date and not built: `rebuild = "explicit"`, and it is not named. What is out of date follows.
    RebuildExplicit,
    /// It is out of date and not built: it was left out. What is out of date follows.
    Excluded,
    /// It needs what is not there and something else makes, and cannot be built.
    InputMissing,
    /// Something else keeps it from being built: a source, a secret, a tool, a file of code that is not there.
    CannotBegin,
    /// It needs what a step makes that cannot be built.
    AboveFails,
}

/// Why a step is built: what changed, from what to what.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// The kind.
    pub code: ReasonCode,
    /// The name of what changed: a file, an input, a variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub what: Option<String>,
    /// The value of the last good build. Digests have 64 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// The value now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

impl Reason {
    /// A reason without values.
    #[must_use]
    pub fn new(code: ReasonCode) -> Self {
        Self { code, what: None, old: None, new: None }
    }

    /// Names what changed.
    #[must_use]
    pub fn what(mut self, what: impl Into<String>) -> Self {
        self.what = Some(what.into());
        self
    }

    /// Gives the values before and now.
    #[must_use]
    pub fn change(mut self, old: Option<&str>, new: Option<&str>) -> Self {
        self.old = old.map(str::to_owned);
        self.new = new.map(str::to_owned);
        self
    }

    fn head(&self) -> &'static str {
        match self.code {
            ReasonCode::NeverBuilt => "never built",
            ReasonCode::BuiltAs => "built under another name, `kiln adopt` takes it as built",
            ReasonCode::InputChanged => "input changed",
            ReasonCode::InputAdded => "input added",
            ReasonCode::InputRemoved => "input removed",
            ReasonCode::CodeChanged => "code changed",
            ReasonCode::CodeAdded => "added to `files`",
            ReasonCode::CodeRemoved => "no longer in `files`",
            ReasonCode::EnvChanged => "env changed",
            ReasonCode::VarChanged => "var changed",
            ReasonCode::ToolChanged => "tool changed",
            ReasonCode::CommandChanged => "command changed",
            ReasonCode::SettingChanged => "setting changed",
            ReasonCode::OutputMissing => "output missing",
            ReasonCode::DigestFailed => "output missing, or its `digest` is wrong",
            ReasonCode::OutputChanged => "output changed",
            ReasonCode::OutputMoved => "output moved",
            ReasonCode::OutputKind => "output of another kind",
            ReasonCode::OutputForeign => "replaces what is there",
            ReasonCode::RebuildAge => "older than",
            ReasonCode::RebuildAlways => "always rebuilt",
            ReasonCode::Asked => "asked for",
            ReasonCode::NotProbed => "not probed",
            ReasonCode::EngineDecides => "the engine decides",
            ReasonCode::MayChange => MAY_CHANGE,
            ReasonCode::RebuildNever => "`rebuild = \"never\"`: what is there counts",
            ReasonCode::OutputThere => "--mode missing: its output is there",
            ReasonCode::RebuildExplicit => "`rebuild = \"explicit\"`: built only when it is named",
            ReasonCode::Excluded => "--exclude",
            ReasonCode::InputMissing => "what it needs is missing",
            // What is not there says so by itself.
            ReasonCode::CannotBegin => "",
            ReasonCode::AboveFails => "needs what cannot be built",
        }
    }
}

impl Reason {
    /// What became of a value that is there no more: most are so because the file says so.
    fn is_gone(&self) -> &'static str {
        let said = [
            (ReasonCode::EnvChanged, "is no longer in `env`"),
            (ReasonCode::ToolChanged, "is no longer in `tools`"),
            (ReasonCode::VarChanged, "is no longer used"),
            (ReasonCode::SettingChanged, "is no longer set"),
            (ReasonCode::OutputMoved, "is no longer an output"),
        ];
        said.iter().find(|(code, _)| *code == self.code).map_or("is gone", |(_, words)| words)
    }

    /// The sentence for it as of `now`: an age is told as such, not as the date of the last build.
    #[must_use]
    pub fn as_of(&self, now: jiff::Timestamp) -> String {
        let built = self.old.as_deref().and_then(|old| old.parse::<jiff::Timestamp>().ok());
        match (self.code, built) {
            (ReasonCode::RebuildAge, Some(built)) if self.new.is_none() => {
                let ago = std::time::Duration::try_from(now.duration_since(built)).unwrap_or_default();
                let what = self.what.as_deref().unwrap_or_default();
                format!("older than {what}: built {} ago", age(ago))
            }
            _ => self.to_string(),
        }
    }
}

/// The words for what is open because of something above.
const MAY_CHANGE: &str = "may change upstream";

/// So many names stand behind one reason before they are cut.
const NAMES: usize = 4;

/// The sentences for the reasons of a step. Those that tell nothing but a name are told together:
/// `may change upstream: a, b, c`.
#[must_use]
pub fn sentences(reasons: &[Reason], now: jiff::Timestamp) -> Vec<String> {
    sentences_with(MAY_CHANGE, reasons, now)
}

/// The same, with the words `upstream` for what may change above.
#[must_use]
pub fn sentences_with(upstream: &str, reasons: &[Reason], now: jiff::Timestamp) -> Vec<String> {
    let group = |reason: &Reason| (reason.code, reason.old.is_none() && reason.new.is_none() && reason.what.is_some());
    let alike = |a: &Reason, b: &Reason| group(a) == group(b) && group(a).1;
    reasons.chunk_by(alike).map(|group| together(upstream, group, now)).collect()
}

fn together(upstream: &str, reasons: &[Reason], now: jiff::Timestamp) -> String {
    let head = match reasons {
        [first, ..] if first.code == ReasonCode::MayChange => upstream,
        [first, _, ..] => first.head(),
        alone => return alone.iter().map(|reason| reason.as_of(now)).collect(),
    };
    let shown = if reasons.len() > NAMES + 1 { NAMES } else { reasons.len() };
    let names: Vec<_> = reasons.iter().filter_map(|reason| reason.what.as_deref()).map(clean).collect();
    let names = few(&names, shown);
    if head.is_empty() { names } else { format!("{head}: {names}") }
}

/// `code changed: recipes/orders.py 9c1e→4f02`
impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &clean(self.what.as_deref().unwrap_or_default());
        if self.code == ReasonCode::RebuildAge {
            if let (Some(old), Some(_)) = (&self.old, &self.new) {
                return write!(f, "may be older than {what}: built {old}, which is yet to come");
            }
            return write!(f, "older than {what}: built {}", self.old.as_deref().unwrap_or("long ago"));
        }
        f.write_str(self.head())?;
        if !what.is_empty() {
            let colon = if self.head().is_empty() { "" } else { ": " };
            write!(f, "{colon}{what}")?;
        }
        match (self.old.as_deref(), self.new.as_deref()) {
            (None, None) => Ok(()),
            (Some(old), Some(new)) => {
                let (old, new) = values(old, new);
                let colon = if what.is_empty() { ":" } else { "" };
                write!(f, "{colon} {old}→{new}")
            }
            (None, Some(why)) if self.code == ReasonCode::DigestFailed => write!(f, ": {}", one_line(why, VALUE)),
            (None, Some(new)) => write!(f, " {} is new", value(new)),
            (Some(old), None) => write!(f, " {} {}", value(old), self.is_gone()),
        }
    }
}

/// Other values are cut, in characters.
const VALUE: usize = 60;

/// Digests are cut to four digits, other values stand in quotes.
fn value(text: &str) -> String {
    if is_digest(text) { text[..4].to_owned() } else { format!("\"{}\"", one_line(text, VALUE)) }
}

/// Two of them, so that they show where they differ.
fn values(old: &str, new: &str) -> (String, String) {
    if is_digest(old) || is_digest(new) {
        return (value(old), value(new));
    }
    let (old, new) = apart(old, new, VALUE);
    (format!("\"{old}\""), format!("\"{new}\""))
}

/// Whether a value is the digest of a content.
#[must_use]
pub fn is_digest(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_sentences() {
        let digest = |c: &str| c.repeat(64);
        let code = Reason::new(ReasonCode::CodeChanged).what("a.py").change(Some(&digest("9")), Some(&digest("4")));
        assert_eq!(code.to_string(), "code changed: a.py 9999→4444");
        let env = Reason::new(ReasonCode::EnvChanged).what("STAGE").change(Some("dev"), Some("prod"));
        assert_eq!(env.to_string(), "env changed: STAGE \"dev\"→\"prod\"");
        let gone = Reason::new(ReasonCode::EnvChanged).what("STAGE").change(Some("dev"), None);
        assert_eq!(gone.to_string(), "env changed: STAGE \"dev\" is no longer in `env`");
        let gone = Reason::new(ReasonCode::CodeChanged).what("a.py").change(Some(&digest("9")), None);
        assert_eq!(gone.to_string(), "code changed: a.py 9999 is gone");
        let age = Reason::new(ReasonCode::RebuildAge).what("20h").change(Some("2026-11-21T00:00:00Z"), None);
        assert_eq!(age.to_string(), "older than 20h: built 2026-11-21T00:00:00Z");
        let now = "2026-11-22T02:00:00Z".parse().unwrap();
        assert_eq!(age.as_of(now), "older than 20h: built 26h ago");
        let ahead = Reason { new: Some("2026-11-20T00:00:00Z".to_owned()), ..age };
        let expect = "may be older than 20h: built 2026-11-21T00:00:00Z, which is yet to come";
        assert_eq!((ahead.to_string().as_str(), ahead.as_of(now).as_str()), (expect, expect));
        let command = Reason::new(ReasonCode::CommandChanged).change(Some("a"), Some("b"));
        assert_eq!(command.to_string(), "command changed: \"a\"→\"b\"");
        let long = "python3 recipes/orders.py --from data/orders.csv --to build/orders.csv";
        let command = Reason::new(ReasonCode::CommandChanged).change(Some(long), Some(&format!("{long} --all")));
        let told = command.to_string();
        assert!(told.ends_with(" \"…rders.py --from data/orders.csv --to build/orders.csv\"→\"…rders.py --from data/orders.csv --to build/orders.csv --all\""), "{told}");
        let hostile = Reason::new(ReasonCode::CodeChanged).what("a\u{1b}[31m\nb").change(None, Some(&digest("4")));
        assert_eq!(hostile.to_string(), r"code changed: a\u{1b}[31m b 4444 is new");
    }

    #[test]
    fn names_behind_one_reason_stand_together() {
        let may = |what: &str| Reason::new(ReasonCode::MayChange).what(what);
        let told = |reasons: &[Reason]| sentences(reasons, jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(told(&[]), [] as [&str; 0]);
        assert_eq!(told(&[may("a")]), ["may change upstream: a"]);
        assert_eq!(told(&["a", "b", "c", "d", "e"].map(may)), ["may change upstream: a, b, c, d, e"]);
        let six = ["a", "b", "c", "d", "e", "f"].map(may);
        assert_eq!(told(&six), ["may change upstream: a, b, c, d and 2 more"]);
        let env = |what: &str| Reason::new(ReasonCode::EnvChanged).what(what).change(Some("1"), Some("2"));
        let mixed = [env("A"), env("B"), may("a"), may("b")];
        let want = ["env changed: A \"1\"→\"2\"", "env changed: B \"1\"→\"2\"", "may change upstream: a, b"];
        assert_eq!(told(&mixed), want);
    }
}
