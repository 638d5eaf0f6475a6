//! The one decision: whether a step is built, and why. `plan` asks it with what is known beforehand, `run` asks it again
//! for what was left open once the inputs are known.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::time::Duration;

use crate::base::digest::Digest;
use crate::base::id::{NodeId, RecipeId};
use crate::base::job::BuildMode;
use crate::base::span::Span;
use crate::pipeline::paths;
use crate::pipeline::types::{Node, Pipeline, Rebuild};
use crate::plan::facts::{Content, Facts};
use crate::plan::key;
use crate::plan::reason::{Reason, ReasonCode};
use crate::plan::record::{History, LastGood, OutputRecord, Parts};

/// What is decided about a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is built.
    Build(Vec<Reason>),
    /// It depends on how something above it comes out, or on a probe.
    Maybe(Vec<Reason>),
    /// The engine decides.
    Ask(Vec<Reason>),
    /// It is up to date.
    Skip,
    /// It is out of date, and what is there counts all the same.
    Left(Vec<Reason>),
    /// It would have to be built, and this input is not there.
    Lacks(NodeId),
}

/// What is known of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Its content.
    Is(Digest),
    /// It is, or may be, built before.
    Pending,
    /// It was not asked for.
    NotProbed,
    /// It is not there.
    Missing,
}

impl Input {
    /// Its content, where that is known.
    #[must_use]
    pub fn digest(self) -> Option<Digest> {
        match self {
            Self::Is(digest) => Some(digest),
            Self::Pending | Self::NotProbed | Self::Missing => None,
        }
    }
}

/// All that a decision rests on.
pub struct Basis<'a> {
    /// The pipeline.
    pub pipeline: &'a Pipeline,
    /// What is there now.
    pub facts: &'a Facts,
    /// What was built before.
    pub history: &'a dyn History,
    /// What is asked for.
    pub mode: BuildMode,
}

impl Basis<'_> {
    /// Decides about a wanted step.
    #[must_use]
    pub fn decide(&self, id: RecipeId, input: &dyn Fn(NodeId) -> Input) -> Verdict {
        let mut verdict = self.whether(id, input);
        if let Verdict::Build(reasons) = &mut verdict {
            // Behind the first reason: of many reasons the last ones are not shown.
            let at = reasons.len().min(1);
            let mut replaced = self.replaced(id);
            // Where it was asked what has changed of the outputs, all of that is told.
            if !reasons.iter().any(|reason| reason.code == ReasonCode::OutputChanged) {
                replaced.extend(self.changed_since(id));
            }
            reasons.splice(at..at, replaced);
        }
        verdict
    }

    /// Asks about outputs of a step whether what lies at their paths was *not* put there by Kiln. It is Kiln's if the step's own
    /// record names this path, and links lead where they led then, or any step's record has this very content there. The exceptions:
    /// what differs from the step's own record, and that is of another kind, a file where the file tells of a folder now or the
    /// other way round, or holds what another pipeline has built, is not; nor is a folder in which a pipeline has its root.
    pub fn foreign(&self, id: RecipeId) -> impl Fn(NodeId) -> bool {
        let step = &self.pipeline.recipes[id].name;
        let built = self.history.last(step).map(LastGood::by_node).unwrap_or_default();
        // They are asked for at most once, and mostly not at all.
        let parts = OnceCell::new();
        move |output| {
            if self.facts.roots.contains(&output) {
                return true;
            }
            let node = &self.pipeline.nodes[output];
            let real = self.facts.reals.get(&output);
            let is_there = |record: &&&OutputRecord| record.path == node.path && record.real.as_ref() == real;
            let Some(built) = built.get(node.name.as_str()).filter(is_there) else {
                return self.made_as(output).is_none();
            };
            let differs = matches!(self.facts.nodes[output], Content::Is(now) if now != built.digest);
            let holds_others = || node.path.iter().chain(real).any(|path| self.history.others_in(path));
            differs && (was_of_another_kind(node, parts.get_or_init(|| self.history.parts(step))) || holds_others())
        }
    }

    /// What is recorded of an output with this content.
    pub fn output(&self, node: NodeId, digest: Digest) -> OutputRecord {
        let real = self.facts.reals.get(&node).cloned();
        let node = &self.pipeline.nodes[node];
        OutputRecord { node: node.name.clone(), path: node.path.clone(), real, digest }
    }

    /// The step that has built what stands where an output belongs.
    fn made_as(&self, node: NodeId) -> Option<String> {
        let Content::Is(now) = self.facts.nodes[node] else { return None };
        self.history.maker(self.pipeline.nodes[node].path.as_deref()?, now)
    }

    /// The name under which a step that was never built was built all the same: another one that has left what stands there, and
    /// was made from the same in the same way. Then `adopt` would take it.
    fn built_as(&self, id: RecipeId, input: &dyn Fn(NodeId) -> Input) -> Option<Reason> {
        let recipe = &self.pipeline.recipes[id];
        let mut makers = recipe.outputs.iter().map(|node| self.made_as(*node));
        let maker = makers.next()??;
        if !makers.all(|other| other.as_ref() == Some(&maker)) {
            return None;
        }
        let known = |node| input(node).digest();
        if !self.open_parts(id, &known).is_empty() {
            return None;
        }
        let now = key::parts(self.pipeline, id, &self.facts.recipes[id], &known);
        (key::nameless(&now) == key::nameless(&self.history.parts(&maker)))
            .then(|| Reason::new(ReasonCode::BuiltAs).what(maker))
    }

    /// What a build would replace and Kiln has not made, or is of another kind.
    fn replaced(&self, id: RecipeId) -> Vec<Reason> {
        let recipe = &self.pipeline.recipes[id];
        let (foreign, parts) = (self.foreign(id), OnceCell::new());
        let was_built = self.history.last(&recipe.name).is_some();
        let other_kind = |node: NodeId| {
            let parts = || parts.get_or_init(|| self.history.parts(&recipe.name));
            was_built && was_of_another_kind(&self.pipeline.nodes[node], parts())
        };
        let stands = recipe.outputs.iter().copied().filter(|node| matches!(self.facts.nodes[*node], Content::Is(_)));
        let kept = stands.filter(|node| foreign(*node) || other_kind(*node));
        let paths = kept.filter_map(|node| self.pipeline.nodes[node].path.clone());
        paths.map(|path| Reason::new(ReasonCode::OutputForeign).what(path)).collect()
    }

    /// What somebody has changed of what Kiln has built, which is replaced, whatever a build was asked for.
    fn changed_since(&self, id: RecipeId) -> Vec<Reason> {
        let last = self.history.last(&self.pipeline.recipes[id].name);
        let mut reasons = last.map(|last| self.outputs(id, last)).unwrap_or_default();
        reasons.retain(|reason| reason.code == ReasonCode::OutputChanged);
        reasons
    }

    fn whether(&self, id: RecipeId, input: &dyn Fn(NodeId) -> Input) -> Verdict {
        if self.facts.settled[id] {
            return Verdict::Skip;
        }
        let recipe = &self.pipeline.recipes[id];
        if let Some(unseen) = self.facts.unseen.get(&id) {
            return Verdict::Build(unseen.iter().map(|why| Reason::new(ReasonCode::CannotBegin).what(why)).collect());
        }
        if self.facts.asks {
            return self.leave_to_engine(recipe.rebuild);
        }
        let last = self.history.last(&recipe.name);
        if recipe.rebuild.only_missing(self.mode) {
            return match self.missing(id, last) {
                Some(reason) => self.lacks(id, input).unwrap_or(Verdict::Build(vec![reason])),
                None => self.unless_unseen(id, last, input),
            };
        }
        if let Some(lacks) = self.lacks(id, input) {
            return lacks;
        }
        if self.asked() {
            return Verdict::Build(vec![self.was_asked()]);
        }
        let Some(last) = last else {
            let built_as = self.built_as(id, input);
            return Verdict::Build([Reason::new(ReasonCode::NeverBuilt)].into_iter().chain(built_as).collect());
        };
        let mut reasons: Vec<_> = self.rebuild(id, last).into_iter().collect();
        reasons.extend(self.changed(id, last, input));
        reasons.extend(self.outputs(id, last));
        if !reasons.is_empty() {
            return Verdict::Build(reasons);
        }
        let open = self.open(id, input);
        if open.is_empty() { Verdict::Skip } else { Verdict::Maybe(open) }
    }

    /// What is known beforehand where the engine decides.
    fn leave_to_engine(&self, rebuild: Rebuild) -> Verdict {
        match rebuild {
            _ if self.asked() => Verdict::Build(vec![self.was_asked()]),
            Rebuild::Never => Verdict::Skip,
            Rebuild::Always if self.mode == BuildMode::Smart => {
                Verdict::Build(vec![Reason::new(ReasonCode::RebuildAlways)])
            }
            Rebuild::Always | Rebuild::Changed | Rebuild::Age(_) | Rebuild::Explicit => {
                Verdict::Ask(vec![Reason::new(ReasonCode::EngineDecides)])
            }
        }
    }

    fn was_asked(&self) -> Reason {
        Reason::new(ReasonCode::Asked).what(format!("--mode {}", self.mode))
    }

    fn asked(&self) -> bool {
        matches!(self.mode, BuildMode::Only | BuildMode::Forced)
    }

    fn lacks(&self, id: RecipeId, input: &dyn Fn(NodeId) -> Input) -> Option<Verdict> {
        let inputs = &self.pipeline.recipes[id].inputs;
        inputs.iter().find(|node| input(**node) == Input::Missing).map(|node| Verdict::Lacks(*node))
    }

    /// Why there is no output; none where there is one.
    fn missing(&self, id: RecipeId, last: Option<&LastGood>) -> Option<Reason> {
        let outputs = &self.pipeline.recipes[id].outputs;
        let absent = outputs.iter().find(|node| self.seen(**node) == Input::Missing);
        match absent {
            Some(node) if last.is_some() => Some(self.absent(*node)),
            Some(_) => Some(Reason::new(ReasonCode::NeverBuilt)),
            None if outputs.is_empty() && last.is_none() => Some(Reason::new(ReasonCode::NeverBuilt)),
            None => None,
        }
    }

    /// That an output which was built is not there, as far as one can tell.
    fn absent(&self, node: NodeId) -> Reason {
        let name = &self.pipeline.nodes[node].name;
        match self.facts.unasked.get(&node) {
            Some(why) => Reason::new(ReasonCode::DigestFailed).what(name).change(None, Some(why)),
            None => Reason::new(ReasonCode::OutputMissing).what(name),
        }
    }

    /// Not built as long as there is an output; whether there is one may not have been asked.
    fn unless_unseen(&self, id: RecipeId, last: Option<&LastGood>, input: &dyn Fn(NodeId) -> Input) -> Verdict {
        let open = self.unseen(id);
        let differs = |last: &LastGood| !self.changed(id, last, input).is_empty() || !self.outputs(id, last).is_empty();
        if !open.is_empty() {
            return Verdict::Maybe(open);
        }
        let never = self.pipeline.recipes[id].rebuild == Rebuild::Never;
        // What is there counts, whoever made it; of nothing that Kiln has not built it can be said that it has changed since.
        if never && last.is_none() {
            return Verdict::Skip;
        }
        let why = Reason::new(if never { ReasonCode::RebuildNever } else { ReasonCode::OutputThere });
        if last.is_none_or(differs) {
            return Verdict::Left(vec![why]);
        }
        // What is built first may come out different.
        let mut open = self.open(id, input);
        open.retain(|reason| reason.code == ReasonCode::MayChange);
        if open.is_empty() { Verdict::Skip } else { Verdict::Left([vec![why], open].concat()) }
    }

    /// The outputs that were not asked for.
    fn unseen(&self, id: RecipeId) -> Vec<Reason> {
        let outputs = self.pipeline.recipes[id].outputs.iter();
        let unseen = outputs.filter(|node| self.facts.nodes[**node] == Content::NotProbed);
        unseen.map(|node| Reason::new(ReasonCode::NotProbed).what(&self.pipeline.nodes[*node].name)).collect()
    }

    fn rebuild(&self, id: RecipeId, last: &LastGood) -> Option<Reason> {
        match self.pipeline.recipes[id].rebuild {
            Rebuild::Always => Some(Reason::new(ReasonCode::RebuildAlways)),
            Rebuild::Age(age) => too_old(age, last.built_at, self.facts.now),
            Rebuild::Changed | Rebuild::Explicit | Rebuild::Never => None,
        }
    }

    /// What differs from the last good build in all that is known.
    fn changed(&self, id: RecipeId, last: &LastGood, input: &dyn Fn(NodeId) -> Input) -> Vec<Reason> {
        let own = &self.facts.recipes[id];
        let known = |node| input(node).digest();
        if key::key(self.pipeline, id, own, &known) == last.key {
            return Vec::new();
        }
        let old = self.history.parts(&self.pipeline.recipes[id].name);
        let mut new = key::parts(self.pipeline, id, own, &known);
        // What is not known yet counts as what it was; what is new is new whatever its value.
        for name in self.open_parts(id, &known) {
            new.insert(name.clone(), old.get(&name).cloned().unwrap_or_default());
        }
        let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
        let differs = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
        let code = &self.pipeline.recipes[id].files;
        let mut reasons: Vec<_> = differs.map(|name| difference(name, old.get(name), new.get(name), code)).collect();
        // That the list of all inputs is another one is told by those that came and went.
        let is_told =
            reasons.iter().any(|reason| matches!(reason.code, ReasonCode::InputAdded | ReasonCode::InputRemoved));
        let is_list = |reason: &Reason| {
            reason.what.as_deref() == Some(key::INPUTS) && reason.old.is_some() && reason.new.is_some()
        };
        reasons.retain(|reason| !(is_told && reason.code == ReasonCode::SettingChanged && is_list(reason)));
        reasons.sort_by_key(|reason| reason.code);
        reasons.dedup();
        reasons
    }

    /// The parts whose value is not known yet.
    pub(super) fn open_parts(&self, id: RecipeId, known: &dyn Fn(NodeId) -> Option<Digest>) -> BTreeSet<String> {
        let recipe = &self.pipeline.recipes[id];
        let inputs = recipe.inputs.iter().filter(|node| known(**node).is_none());
        let inputs = inputs.map(|node| format!("{}{}", key::INPUT, self.pipeline.nodes[*node].name));
        let tools = self.facts.recipes[id].tools.iter().filter(|(_, printed)| printed.is_none());
        inputs.chain(tools.map(|(name, _)| [key::TOOL, name].concat())).collect()
    }

    fn outputs(&self, id: RecipeId, last: &LastGood) -> Vec<Reason> {
        let (mut reasons, built) = (Vec::new(), last.by_node());
        for node in &self.pipeline.recipes[id].outputs {
            let name = &self.pipeline.nodes[*node].name;
            let recorded = built.get(name.as_str());
            match (self.facts.nodes[*node], recorded) {
                (Content::Missing, _) => reasons.push(self.absent(*node)),
                (Content::Is(now), Some(then))
                    if now != then.digest && then.path == self.pipeline.nodes[*node].path =>
                {
                    let (then, now) = (then.digest.to_string(), now.to_string());
                    reasons.push(Reason::new(ReasonCode::OutputChanged).what(name).change(Some(&then), Some(&now)));
                }
                _ => {}
            }
        }
        reasons
    }

    /// What the decision still waits for.
    fn open(&self, id: RecipeId, input: &dyn Fn(NodeId) -> Input) -> Vec<Reason> {
        let recipe = &self.pipeline.recipes[id];
        let mut open = Vec::new();
        for node in &recipe.inputs {
            let name = &self.pipeline.nodes[*node].name;
            match input(*node) {
                Input::Pending => open.push(Reason::new(ReasonCode::MayChange).what(name)),
                Input::NotProbed => open.push(Reason::new(ReasonCode::NotProbed).what(name)),
                Input::Is(_) | Input::Missing => {}
            }
        }
        let tools = self.facts.recipes[id].tools.iter().filter(|(_, printed)| printed.is_none());
        open.extend(tools.map(|(name, _)| Reason::new(ReasonCode::NotProbed).what(format!("tool {name}"))));
        open.extend(self.unseen(id));
        open
    }

    /// What is known of a node that is not built in this run.
    #[must_use]
    pub fn seen(&self, node: NodeId) -> Input {
        match self.facts.nodes[node] {
            Content::Is(digest) => Input::Is(digest),
            Content::Missing => Input::Missing,
            Content::NotProbed => Input::NotProbed,
            Content::AsRecorded => self.recorded(node).map_or(Input::Missing, Input::Is),
        }
    }

    fn recorded(&self, node: NodeId) -> Option<Digest> {
        let node = &self.pipeline.nodes[node];
        let last = self.history.last(&self.pipeline.recipes[node.maker?].name)?;
        last.outputs.iter().find(|output| output.node == node.name).map(|output| output.digest)
    }
}

/// So much a clock may be behind the one that told when something was built.
const BEHIND: Duration = Duration::from_mins(1);

/// Why something is built that may not become older than that. What was built in the future was built at a time that nobody
/// knows.
fn too_old(most: Duration, built: jiff::Timestamp, now: jiff::Timestamp) -> Option<Reason> {
    let reason = |now: Option<&str>| {
        let what = crate::base::text::age(most);
        Reason::new(ReasonCode::RebuildAge).what(what).change(Some(&built.to_string()), now)
    };
    let since = now.duration_since(built);
    if since.unsigned_abs() <= if since.is_negative() { BEHIND.min(most) } else { most } {
        return None;
    }
    Some(if since.is_negative() { reason(Some(&now.to_string())) } else { reason(None) })
}

/// Whether what a step has built was a file where its output is a folder now, or the other way round, as far as the parts of its
/// key tell.
fn was_of_another_kind(node: &Node, parts: &Parts) -> bool {
    key::built_kind(parts, &node.name).is_some_and(|kind| key::is_other_kind(kind, node.kind.word()))
}

/// The reason that a part of the key gives which differs. `in_code` is what `files` says now.
fn difference(part: &str, old: Option<&String>, new: Option<&String>, in_code: &[(String, Span)]) -> Reason {
    let (code, what) = key::meaning(part);
    let reason = |code| Reason { what: what.map(str::to_owned), ..Reason::new(code) };
    let (old, new) = (old.map(String::as_str), new.map(String::as_str));
    let is_in = |files: &dyn Fn(&str, &str) -> bool| {
        what.is_some_and(|path| in_code.iter().any(|(named, _)| files(named, path)))
    };
    match (code, old, new) {
        (ReasonCode::InputChanged, None, Some(_)) => reason(ReasonCode::InputAdded),
        (ReasonCode::InputChanged, Some(_), None) => reason(ReasonCode::InputRemoved),
        (ReasonCode::CodeChanged, None, Some(_)) if is_in(&|named, path| named == path) => {
            reason(ReasonCode::CodeAdded)
        }
        (ReasonCode::CodeChanged, Some(_), None) if !is_in(&paths::names) => reason(ReasonCode::CodeRemoved),
        (ReasonCode::ToolChanged, None, Some("")) => reason(code),
        (ReasonCode::OutputMoved, Some(old), Some(new)) => {
            let ((old_kind, old_path), (new_kind, new_path)) = (key::output(old), key::output(new));
            let (old, new) = if old_kind == new_kind { (old_path, new_path) } else { (old, new) };
            let other = key::is_other_kind(old_kind, new_kind);
            reason(if other { ReasonCode::OutputKind } else { code }).change(Some(old), Some(new))
        }
        _ => reason(code).change(old, new),
    }
}

#[cfg(test)]
mod tests;
