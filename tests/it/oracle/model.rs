//! The oracle: what has to be built, told from all that is written down, on disk and remembered. Slow and plain; written
//! from the rules, not from Kiln's code.

use std::collections::{BTreeMap, BTreeSet};

use super::spec::{Content, Kind, Node, Rebuild, Recipe, Spec};

/// A pipeline and all around it.
#[derive(Clone, Default)]
pub(super) struct World {
    pub(super) spec: Spec,
    /// Files and folders below the root by path.
    pub(super) disk: BTreeMap<String, Content>,
    /// Variables from outside, by the key of the recipe.
    pub(super) regions: BTreeMap<String, u64>,
    /// The keys of recipes that fail.
    pub(super) failing: BTreeSet<String>,
    pub(super) records: BTreeMap<String, Record>,
}

/// The parts of a key, each under the reason that it gives and its name.
type Parts = BTreeMap<(&'static str, String), String>;

/// The last good build of a step.
#[derive(Clone)]
pub(super) struct Record {
    parts: Parts,
    inputs: BTreeMap<String, (Option<String>, Content)>,
    outputs: Vec<(String, Option<String>, Content)>,
}

/// A reason: code, name, old, new. Contents of folders are told as `folder`.
pub(super) type Why = (String, String, String, String);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Input {
    Is(Content),
    Pending,
    Missing,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Verdict {
    Build(BTreeSet<Why>),
    Maybe(BTreeSet<Why>),
    Skip,
    /// Out of date, and what is there counts.
    Left(BTreeSet<Why>),
    Lacks,
}

/// What has to happen.
#[derive(Default, Debug)]
pub(super) struct Expected {
    /// Action and reasons of every wanted step, in order of names.
    pub(super) plan: BTreeMap<String, (&'static str, BTreeSet<Why>)>,
    pub(super) ended: BTreeMap<String, &'static str>,
}

/// The digest of a content as it stands in a reason.
fn told(content: &Content) -> String {
    match content {
        Content::File(text) => blake3::hash(text.as_bytes()).to_hex().to_string(),
        Content::Folder(_) => "folder".to_owned(),
    }
}

/// That an output is not there: of a table its digest command says so.
fn not_there(node: &Node) -> Why {
    match node.path() {
        None => why("digest_failed", &node.name, "", "exit 7"),
        Some(_) => why("output_missing", &node.name, "", ""),
    }
}

fn why(code: &str, what: &str, old: &str, new: &str) -> Why {
    (code.to_owned(), what.to_owned(), old.to_owned(), new.to_owned())
}

impl World {
    fn content(&self, node: usize) -> Option<&Content> {
        self.disk.get(&self.spec.nodes[node].place())
    }

    /// What stands for a content: a table is what its digest command prints.
    fn seen(&self, node: usize) -> Option<Content> {
        let content = self.content(node)?;
        Some(if self.spec.nodes[node].kind == Kind::Table {
            Content::File(content.value().to_string())
        } else {
            content.clone()
        })
    }

    /// The paths of the code of a recipe.
    pub(super) fn code(&self, recipe: &Recipe) -> Vec<String> {
        self.disk.keys().filter(|path| Self::is_code(recipe, path)).cloned().collect()
    }

    /// Whether a recipe names a path as its code.
    fn is_code(recipe: &Recipe, path: &str) -> bool {
        match recipe.code {
            None => false,
            Some(true) => path.starts_with(&format!("code/{}/", recipe.key)),
            Some(false) => path == format!("code/{}.txt", recipe.key),
        }
    }

    fn parts(&self, recipe: &Recipe) -> Parts {
        let mut parts = Parts::new();
        let mut part = |code, what: &str, value: String| {
            parts.insert((code, what.to_owned()), value);
        };
        part("command_changed", "", self.spec.command(recipe));
        let shell: &[&str] = if recipe.other_shell { &["sh", "-eu", "-c"] } else { &["sh", "-euc"] };
        part("setting_changed", "shell", serde_json::to_string(shell).unwrap());
        if recipe.workdir > 0 {
            part("setting_changed", "workdir", format!("w{}", recipe.workdir));
        }
        if self.spec.loops(recipe) {
            part("setting_changed", "inputs", self.spec.input_names(recipe));
        }
        if recipe.var {
            let name = Spec::var_of(recipe);
            part("var_changed", &name, self.spec.vars[&name].to_string());
        }
        if let Some(value) = recipe.literal {
            part("env_changed", "LITERAL", value.to_string());
        }
        if recipe.region {
            part("env_changed", "REGION", self.regions[&recipe.key].to_string());
        }
        if recipe.tool {
            part("tool_changed", "t", self.disk[&format!("tools/{}", recipe.key)].value().to_string());
        }
        for path in self.code(recipe) {
            part("code_changed", &path, told(&self.disk[&path]));
        }
        for node in recipe.outputs.iter().map(|i| &self.spec.nodes[*i]) {
            part("output_moved", &node.name, node.path().unwrap_or_default());
        }
        parts
    }

    fn decide(&self, recipe: &Recipe, mode: &str, input: &dyn Fn(usize) -> Input) -> Verdict {
        let mut verdict = self.whether(recipe, mode, input);
        if let Verdict::Build(whys) = &mut verdict {
            let outputs = self.records.get(&recipe.name).map(|last| &last.outputs);
            for i in recipe.outputs.iter().filter(|i| self.seen(**i).is_some()) {
                let node = &self.spec.nodes[*i];
                let Some(path) = node.path() else { continue };
                let here = |(name, then, _): &(String, Option<String>, _)| *name == node.name && *then == node.path();
                let built = outputs.and_then(|outputs| outputs.iter().find(|output| here(output)));
                match (built, self.seen(*i)) {
                    (Some((.., then)), Some(now)) if now != *then => {
                        whys.insert(why("output_changed", &node.name, &told(then), &told(&now)));
                    }
                    (None, _) if self.made(*i).is_none() => drop(whys.insert(why("output_foreign", &path, "", ""))),
                    _ => {}
                }
            }
        }
        verdict
    }

    fn whether(&self, recipe: &Recipe, mode: &str, input: &dyn Fn(usize) -> Input) -> Verdict {
        let asked = mode == "only" || mode == "forced";
        let last = self.records.get(&recipe.name);
        let lacks = recipe.inputs.iter().any(|i| input(*i) == Input::Missing);
        if mode == "missing" || (recipe.rebuild == Rebuild::Never && !asked) {
            let absent = recipe.outputs.iter().find(|i| self.seen(**i).is_none());
            let undone = recipe.task && last.is_none();
            let never = recipe.rebuild == Rebuild::Never;
            let left = if never { "rebuild_never" } else { "output_there" };
            let why_left = why(left, "", "", "");
            let left = Verdict::Left(BTreeSet::from([why_left.clone()]));
            let pending = recipe.inputs.iter().filter(|i| input(**i) == Input::Pending);
            let pending: BTreeSet<_> = pending.map(|i| why("may_change", &self.spec.nodes[*i].name, "", "")).collect();
            return match (absent, last) {
                // Of what was never built nothing can be said to have changed since.
                (None, None) if !undone && never => Verdict::Skip,
                (None, None) if !undone => left,
                (None, Some(last)) if !undone && !self.changes(recipe, last, input).is_empty() => left,
                (None, _) if !undone && !pending.is_empty() => {
                    Verdict::Left(pending.into_iter().chain([why_left]).collect())
                }
                (None, _) if !undone => Verdict::Skip,
                _ if lacks => Verdict::Lacks,
                (Some(node), Some(_)) => Verdict::Build(BTreeSet::from([not_there(&self.spec.nodes[*node])])),
                _ => Verdict::Build(BTreeSet::from([why("never_built", "", "", "")])),
            };
        }
        if lacks {
            return Verdict::Lacks;
        }
        if asked {
            return Verdict::Build(BTreeSet::from([why("asked", &format!("--mode {mode}"), "", "")]));
        }
        let Some(last) = last else {
            let built_as = self.built_as(recipe, input);
            return Verdict::Build([why("never_built", "", "", "")].into_iter().chain(built_as).collect());
        };
        let mut whys = self.changes(recipe, last, input);
        match recipe.rebuild {
            Rebuild::Always => drop(whys.insert(why("rebuild_always", "", "", ""))),
            Rebuild::Old => drop(whys.insert(why("rebuild_age", "", "", ""))),
            Rebuild::Changed | Rebuild::Young | Rebuild::Explicit | Rebuild::Never => {}
        }
        if !whys.is_empty() {
            return Verdict::Build(whys);
        }
        let pending = recipe.inputs.iter().filter(|i| input(**i) == Input::Pending);
        let pending: BTreeSet<_> = pending.map(|i| why("may_change", &self.spec.nodes[*i].name, "", "")).collect();
        if pending.is_empty() { Verdict::Skip } else { Verdict::Maybe(pending) }
    }

    /// The step, of whichever name, that has built what stands where an output belongs.
    fn made(&self, node: usize) -> Option<&String> {
        let (path, now) = (self.spec.nodes[node].path()?, self.seen(node)?);
        let is =
            |(_, then, content): &(String, Option<String>, Content)| then.as_ref() == Some(&path) && *content == now;
        self.records.iter().find(|(_, record)| record.outputs.iter().any(is)).map(|(name, _)| name)
    }

    /// That only the name differs from what another step has built.
    fn built_as(&self, recipe: &Recipe, input: &dyn Fn(usize) -> Input) -> Option<Why> {
        let maker = self.made(*recipe.outputs.first()?)?;
        let record = &self.records[maker];
        let inputs = recipe.inputs.iter().map(|i| match input(*i) {
            Input::Is(content) => Some((self.spec.nodes[*i].name.clone(), (self.spec.nodes[*i].path(), content))),
            Input::Pending | Input::Missing => None,
        });
        let inputs: Option<BTreeMap<_, _>> = inputs.collect();
        let same = inputs.as_ref() == Some(&record.inputs) && self.parts(recipe) == record.parts;
        let all = recipe.outputs.iter().all(|i| self.made(*i) == Some(maker));
        (same && all).then(|| why("built_as", maker, "", ""))
    }

    /// All that is known to differ from the last good build.
    fn changes(&self, recipe: &Recipe, last: &Record, input: &dyn Fn(usize) -> Input) -> BTreeSet<Why> {
        let mut whys = BTreeSet::new();
        let now = self.parts(recipe);
        for key in now.keys().chain(last.parts.keys()) {
            let of = |parts: &Parts| parts.get(key).cloned();
            let (old, new) = (of(&last.parts), of(&now));
            let code = (key.0 == "code_changed").then(|| Self::is_code(recipe, &key.1));
            match (&old, &new, code) {
                (None, Some(_), Some(true)) if recipe.code == Some(false) => {
                    whys.insert(why("code_added", &key.1, "", ""));
                }
                (Some(_), None, Some(false)) => drop(whys.insert(why("code_removed", &key.1, "", ""))),
                _ if old != new => {
                    whys.insert(why(key.0, &key.1, &old.unwrap_or_default(), &new.unwrap_or_default()));
                }
                _ => {}
            }
        }
        let names: BTreeSet<_> = recipe.inputs.iter().map(|i| self.spec.nodes[*i].name.clone()).collect();
        whys.extend(
            last.inputs.keys().filter(|name| !names.contains(*name)).map(|name| why("input_removed", name, "", "")),
        );
        for i in &recipe.inputs {
            let node = &self.spec.nodes[*i];
            let Some((path, then)) = last.inputs.get(&node.name) else {
                whys.insert(why("input_added", &node.name, "", ""));
                continue;
            };
            if *path != node.path() {
                let text = |path: &Option<String>| path.clone().unwrap_or_default();
                whys.insert(why("input_changed", &node.name, &text(path), &text(&node.path())));
            }
            if let Input::Is(now) = input(*i)
                && now != *then
            {
                whys.insert(why("input_changed", &node.name, &told(then), &told(&now)));
            }
        }
        // The list that `{{ inputs }}` stands for is told by what came and went.
        let list = |parts: &Parts| parts.get(&("setting_changed", "inputs".to_owned())).cloned();
        if let (true, Some(old), Some(new)) = (!names.iter().eq(last.inputs.keys()), list(&last.parts), list(&now)) {
            whys.remove(&why("setting_changed", "inputs", &old, &new));
        }
        for i in &recipe.outputs {
            let node = &self.spec.nodes[*i];
            let then = last.outputs.iter().find(|(name, ..)| *name == node.name);
            match (self.seen(*i), then) {
                (None, _) => drop(whys.insert(not_there(node))),
                (Some(now), Some((_, path, then))) if *path == node.path() && now != *then => {
                    whys.insert(why("output_changed", &node.name, &told(then), &told(&now)));
                }
                _ => {}
            }
        }
        whys
    }

    /// What a run of these steps comes to, and what is there after it; none where it cannot begin.
    pub(super) fn run(&self, wanted: &BTreeSet<usize>, mode: &str) -> Option<(Expected, Self)> {
        let mut expected = Expected::default();
        let mut pending: BTreeSet<usize> = BTreeSet::new();
        for i in wanted {
            let recipe = &self.spec.recipes[*i];
            let input = |node: usize| match self.seen(node) {
                _ if pending.contains(&node) => Input::Pending,
                Some(content) => Input::Is(content),
                None => Input::Missing,
            };
            let (action, whys) = match self.decide(recipe, mode, &input) {
                Verdict::Build(whys) => ("build", whys),
                Verdict::Maybe(whys) => ("maybe", whys),
                Verdict::Skip => ("skip", BTreeSet::new()),
                Verdict::Left(whys) => ("skip", whys),
                Verdict::Lacks => return None,
            };
            if action != "skip" {
                pending.extend(&recipe.outputs);
            }
            expected.plan.insert(recipe.name.clone(), (action, whys));
        }
        let mut after = self.clone();
        for i in wanted {
            let recipe = &self.spec.recipes[*i];
            let action = expected.plan[&recipe.name].0;
            if action != "skip" {
                let end = after.step(recipe, action, mode, &expected.ended);
                expected.ended.insert(recipe.name.clone(), end);
            }
        }
        Some((expected, after))
    }

    /// One step of a run.
    fn step(
        &mut self,
        recipe: &Recipe,
        action: &str,
        mode: &str,
        ended: &BTreeMap<String, &'static str>,
    ) -> &'static str {
        let makers = recipe.inputs.iter().filter_map(|i| self.spec.nodes[*i].maker);
        let mut makers = makers.filter_map(|maker| ended.get(&self.spec.recipes[maker].name));
        if makers.any(|end| ["failed", "skipped"].contains(end)) {
            return "skipped";
        }
        let input = |node: usize| self.seen(node).map_or(Input::Missing, Input::Is);
        if action == "maybe" && matches!(self.decide(recipe, mode, &input), Verdict::Skip | Verdict::Left(_)) {
            return "current";
        }
        if self.failing.contains(&recipe.key) {
            return "failed";
        }
        let region = self.regions.get(&recipe.key).copied().unwrap_or(0);
        let inputs: Vec<_> = recipe.inputs.iter().map(|i| self.content(*i).unwrap().clone()).collect();
        let code: Vec<_> = self.code(recipe).iter().map(|path| self.disk[path].value()).collect();
        for (node, content) in recipe.outputs.iter().zip(self.spec.compute(recipe, &inputs, &code, region)) {
            self.disk.insert(self.spec.nodes[*node].place(), content);
        }
        let record = self.record(recipe);
        let last = self.records.insert(recipe.name.clone(), record.clone());
        let same = !recipe.task && last.is_some_and(|last| last.outputs == record.outputs);
        if same { "same" } else { "built" }
    }

    fn record(&self, recipe: &Recipe) -> Record {
        let node = |i: &usize| {
            let node = &self.spec.nodes[*i];
            (node.name.clone(), node.path(), self.seen(*i).unwrap())
        };
        Record {
            parts: self.parts(recipe),
            inputs: recipe.inputs.iter().map(node).map(|(name, path, content)| (name, (path, content))).collect(),
            outputs: recipe.outputs.iter().map(node).collect(),
        }
    }
}

/// The steps that the targets ask for: `x`, `+x`, `x+`, `tag:t`; none for all.
pub(super) fn wanted(spec: &Spec, targets: &[String], mode: &str) -> BTreeSet<usize> {
    let free = |i: &usize| spec.recipes[*i].rebuild != Rebuild::Explicit;
    let mut wanted: BTreeSet<usize> = BTreeSet::new();
    if targets.is_empty() {
        wanted.extend((0..spec.recipes.len()).filter(free));
    }
    for target in targets {
        let name = target.trim_matches('+').to_owned();
        let fits = |recipe: &Recipe| match name.strip_prefix("tag:") {
            Some(tag) => recipe.tag.is_some_and(|t| tag == format!("t{t}")),
            None => recipe.name == name || recipe.outputs.iter().any(|i| spec.nodes[*i].name == name),
        };
        let named: Vec<_> = (0..spec.recipes.len()).filter(|i| fits(&spec.recipes[*i])).collect();
        let mut reach = |next: &dyn Fn(usize) -> Vec<usize>| {
            let mut queue = named.clone();
            while let Some(i) = queue.pop() {
                for other in next(i).into_iter().filter(free) {
                    if wanted.insert(other) || !queue.contains(&other) {
                        queue.push(other);
                    }
                }
            }
        };
        if target.starts_with('+') {
            reach(&|i| above(spec, i));
        }
        if target.ends_with('+') {
            reach(&|i| below(spec, i));
        }
        wanted.extend(named);
    }
    if mode != "only" {
        for i in (0..spec.recipes.len()).rev() {
            if wanted.contains(&i) {
                wanted.extend(above(spec, i).into_iter().filter(free));
            }
        }
    }
    wanted
}

fn above(spec: &Spec, i: usize) -> Vec<usize> {
    spec.recipes[i].inputs.iter().filter_map(|node| spec.nodes[*node].maker).collect()
}

fn below(spec: &Spec, i: usize) -> Vec<usize> {
    (0..spec.recipes.len()).filter(|other| above(spec, *other).contains(&i)).collect()
}
