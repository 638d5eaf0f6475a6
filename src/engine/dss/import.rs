//! From the flow of a project on DSS to a pipeline file. Asks nobody, writes nothing to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::base::text::is_name;
use crate::engine::dss::compare::{may_declare, name_of, node_thing};
use crate::engine::dss::remote::Project;
use crate::pipeline::dss_wire::{FlowNode, Thing};
use crate::pipeline::types::Kind;

/// What an import is told.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The project key.
    pub project: &'a str,
    /// Where the server is.
    pub url: &'a str,
    /// The line that names the key.
    pub key: &'a str,
    /// The name of the engine in the file.
    pub engine: &'a str,
    /// Only this, and what it is made from.
    pub target: Option<&'a str>,
}

/// Writes a pipeline file for a project.
///
/// # Errors
/// Why there is nothing to write.
pub fn import(contents: &Project, wanted: &Wanted<'_>) -> Result<String, String> {
    let mut flow = Importing::new(contents, wanted);
    if let Some(target) = wanted.target {
        flow.only(target)?;
    }
    if flow.data.is_empty() {
        return Err(format!("the flow of project {} has no dataset, folder or model", wanted.project));
    }
    Ok(flow.write())
}

/// A node of the file.
struct Data {
    kind: Kind,
    id: String,
    name: String,
}

/// A recipe of the flow: what it reads and makes, by the keys of the flow.
struct Recipe<'a> {
    node: &'a FlowNode,
    /// Its name in the file, where it has several outputs.
    name: String,
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    /// What it reads on DSS and cannot read in a file: its own output, or what would close a circle.
    dropped: Vec<&'a str>,
}

struct Importing<'a> {
    contents: &'a Project,
    wanted: &'a Wanted<'a>,
    data: BTreeMap<&'a str, Data>,
    recipes: BTreeMap<&'a str, Recipe<'a>>,
    /// The recipe that makes each thing, by their keys.
    makers: BTreeMap<&'a str, &'a str>,
    /// Things that a file cannot declare.
    left_out: Vec<String>,
    /// Things whose names the flow does not tell.
    unnamed: Vec<String>,
}

impl<'a> Importing<'a> {
    fn new(contents: &'a Project, wanted: &'a Wanted<'a>) -> Self {
        let mut names = BTreeSet::new();
        let (data, recipes, makers) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut flow = Self { contents, wanted, data, recipes, makers, left_out: Vec::new(), unnamed: Vec::new() };
        for (key, node) in &contents.graph.nodes {
            if let Some((kind, id)) = node_thing(node, wanted.project) {
                let known = name_of(contents, kind, &id).unwrap_or(&id);
                let bare = known.rsplit('.').next().unwrap_or(known);
                let name = unique(bare, kind.word(), &mut names);
                flow.data.insert(key, Data { kind, id, name });
            } else if may_declare(node) {
                flow.unnamed.push(format!("{key} ({})", node.kind.as_deref().unwrap_or_default()));
            } else if node.kind.as_deref().is_some_and(|kind| kind.starts_with("COMPUTABLE_")) {
                flow.left_out.push(format!("{} ({})", key, node.kind.as_deref().unwrap_or_default()));
            }
        }
        for (key, node) in &contents.graph.nodes {
            if node.kind.as_deref().is_some_and(|kind| kind.starts_with("RUNNABLE_")) {
                flow.recipe(key, node, &mut names);
            }
        }
        flow.break_circles();
        flow
    }

    fn recipe(&mut self, key: &'a str, node: &'a FlowNode, names: &mut BTreeSet<String>) {
        let declared = |keys: &'a [String]| -> Vec<&'a str> {
            let mut known: Vec<_> = keys.iter().map(String::as_str).filter(|key| self.data.contains_key(key)).collect();
            known.sort_unstable();
            known.dedup();
            known
        };
        let mut outputs = declared(&node.successors);
        outputs.retain(|output| !self.makers.contains_key(output));
        let (dropped, inputs) = declared(&node.predecessors).into_iter().partition(|input| outputs.contains(input));
        if outputs.is_empty() {
            return;
        }
        self.makers.extend(outputs.iter().map(|output| (*output, key)));
        // A recipe with one output has its name.
        let name =
            if outputs.len() > 1 { unique(node.id.as_deref().unwrap_or(key), "recipe", names) } else { String::new() };
        self.recipes.insert(key, Recipe { node, name, inputs, outputs, dropped });
    }

    /// Takes the inputs out that close a circle: a file has none.
    fn break_circles(&mut self) {
        let mut done = BTreeSet::new();
        for start in self.recipes.keys().copied().collect::<Vec<_>>() {
            // The way down to where we are, each with how many of its inputs were gone through.
            let mut way: Vec<(&str, usize)> = vec![(start, 0)];
            while let Some((key, at)) = way.last().copied() {
                let Some(recipe) = self.recipes.get(key).filter(|_| !done.contains(key)) else {
                    way.pop();
                    continue;
                };
                let Some(input) = recipe.inputs.get(at).copied() else {
                    done.insert(key);
                    way.pop();
                    continue;
                };
                let next = self.makers.get(input).copied();
                if next.is_some_and(|next| way.iter().any(|(on, _)| *on == next)) {
                    if let Some(recipe) = self.recipes.get_mut(key) {
                        recipe.inputs.remove(at);
                        recipe.dropped.push(input);
                    }
                    continue;
                }
                if let Some((_, at)) = way.last_mut() {
                    *at += 1;
                }
                way.extend(next.map(|next| (next, 0)));
            }
        }
    }

    /// Keeps what a target is made from.
    fn only(&mut self, target: &str) -> Result<(), String> {
        let found = self.data.iter().find(|(_, data)| data.name == target || data.id == target);
        let Some((start, _)) = found else {
            let known = self.data.values().map(|data| data.name.as_str());
            let help = crate::base::text::did_you_mean(target, known).map(|help| format!("; {help}"));
            let some: Vec<_> = self.data.values().take(5).map(|data| data.name.as_str()).collect();
            let help = help.unwrap_or_else(|| format!("; it has, among others: {}", some.join(", ")));
            return Err(format!("project {} has no `{target}`{help}", self.wanted.project));
        };
        let mut keep: BTreeSet<&str> = BTreeSet::new();
        let mut queue = vec![*start];
        while let Some(key) = queue.pop() {
            if !keep.insert(key) {
                continue;
            }
            let maker = self.makers.get(key).and_then(|maker| self.recipes.get(maker));
            queue.extend(maker.into_iter().flat_map(|recipe| recipe.inputs.iter().chain(&recipe.outputs).copied()));
        }
        self.data.retain(|key, _| keep.contains(key));
        self.recipes.retain(|_, recipe| recipe.outputs.iter().any(|output| keep.contains(output)));
        Ok(())
    }

    fn write(&self) -> String {
        let Wanted { project, url, key, engine, target } = self.wanted;
        let name = sound(&project.to_lowercase());
        let what = target.map_or_else(String::new, |target| format!(" --target {target}"));
        let (shown, shown_url, what) = (one_comment(project), one_comment(url), one_comment(&what));
        let what = if what.is_empty() { what } else { format!(" {what}") };
        let mut out = format!(
            "# The flow of project {shown} on {shown_url}, as `kiln import dss {shown}{what}` found it.\n\
             # `kiln check --engine {engine}` says where this file and the project have come apart.\n\n\
             [pipeline]\nformat = 1\nname = {}\nproject = {}\n\n[settings]\nengine = {}\n\n\
             [engine.{engine}]\nkind = \"dss\"\nurl = {}\n{key}\n",
            quoted(&name),
            quoted(project),
            quoted(engine),
            quoted(url)
        );
        if !self.left_out.is_empty() {
            let list = self.left_out.join(", ");
            writeln!(out, "\n# Not declared here, since a pipeline file has no word for them: {}", one_comment(&list))
                .expect(WHOLE);
        }
        if !self.unnamed.is_empty() {
            let list = self.unnamed.join(", ");
            writeln!(out, "\n# Not declared here, since the flow does not tell their names: {}", one_comment(&list))
                .expect(WHOLE);
        }
        for key in self.order() {
            self.write_data(&mut out, key);
        }
        out
    }

    /// Data in the order in which it is made, each behind all that it is made from.
    fn order(&self) -> Vec<&'a str> {
        let mut order: Vec<&str> = Vec::new();
        let mut done = BTreeSet::new();
        for start in self.data.keys() {
            let mut way = vec![*start];
            while let Some(key) = way.last().copied() {
                let from = self.maker(key).map(|(_, recipe)| recipe.inputs.as_slice()).unwrap_or_default();
                let before = from.iter().find(|input| self.data.contains_key(*input) && !done.contains(*input));
                match before.filter(|_| !done.contains(key)) {
                    Some(before) => way.push(before),
                    None => {
                        way.pop();
                        order.extend(done.insert(key).then_some(key));
                    }
                }
            }
        }
        order
    }

    fn maker(&self, key: &str) -> Option<(&'a str, &Recipe<'a>)> {
        let maker = self.makers.get(key)?;
        Some((maker, self.recipes.get(maker)?))
    }

    fn write_data(&self, out: &mut String, key: &str) {
        let data = &self.data[key];
        let maker = self.maker(key);
        let alone = maker.filter(|(_, recipe)| recipe.outputs.len() == 1);
        writeln!(out).expect(WHOLE);
        if let Some((recipe_key, recipe)) = alone {
            comment(out, recipe_key, recipe.node, &self.names(&recipe.dropped));
        }
        self.comment_partitions(out, data);
        writeln!(out, "[{}.{}]", data.kind.word(), data.name).expect(WHOLE);
        // What belongs to another project has that before a dot.
        let (project, id) = match data.id.split_once('.').filter(|(project, id)| !project.is_empty() && !id.is_empty())
        {
            Some((project, id)) => (Some(project), id),
            None => (None, data.id.as_str()),
        };
        if id != data.name {
            writeln!(out, "id = {}", quoted(id)).expect(WHOLE);
        }
        if let Some(project) = project {
            writeln!(out, "project = {}", quoted(project)).expect(WHOLE);
        }
        if let Some((_, recipe)) = alone {
            writeln!(out, "inputs = {}", self.list(&recipe.inputs)).expect(WHOLE);
            self.write_rebuild(out, &[key]);
        }
        if let Some((recipe_key, recipe)) =
            maker.filter(|(_, recipe)| recipe.outputs.first() == Some(&key) && recipe.outputs.len() > 1)
        {
            self.write_recipe(out, recipe_key, recipe);
        }
    }

    fn write_recipe(&self, out: &mut String, key: &str, recipe: &Recipe<'_>) {
        writeln!(out).expect(WHOLE);
        comment(out, key, recipe.node, &self.names(&recipe.dropped));
        writeln!(
            out,
            "[recipe.{}]\ninputs = {}\noutputs = {}",
            recipe.name,
            self.list(&recipe.inputs),
            self.list(&recipe.outputs)
        )
        .expect(WHOLE);
        self.write_rebuild(out, &recipe.outputs);
    }

    /// Builds of what is partitioned have to say for which partitions.
    fn comment_partitions(&self, out: &mut String, data: &Data) {
        let thing = self
            .contents
            .datasets
            .iter()
            .find(|thing| data.kind == Kind::Dataset && thing.name.as_ref() == Some(&data.id));
        let by = thing.map(Thing::partitioned_by).unwrap_or_default();
        if !by.is_empty() {
            let by = one_comment(&by.join(", "));
            writeln!(out, "# Partitioned by {by}: `--partition` says which ones are built.").expect(WHOLE);
        }
    }

    /// How DSS rebuilds what is made.
    fn write_rebuild(&self, out: &mut String, keys: &[&str]) {
        let behaviour = |key: &&str| {
            let data = self.data.get(key)?;
            let thing = self.contents.datasets.iter().find(|thing| thing.name.as_ref() == Some(&data.id))?;
            thing.flow.as_ref()?.rebuild.clone()
        };
        let behaviours: Vec<String> = keys.iter().filter_map(behaviour).collect();
        if behaviours.iter().any(|behaviour| behaviour == "WRITE_PROTECT") {
            writeln!(out, "rebuild = \"never\" # write-protected on DSS").expect(WHOLE);
        } else if behaviours.iter().any(|behaviour| behaviour == "EXPLICIT_REBUILD") {
            writeln!(out, "rebuild = \"explicit\"").expect(WHOLE);
        }
    }

    fn names(&self, keys: &[&str]) -> Vec<String> {
        keys.iter().filter_map(|key| self.data.get(key)).map(|data| data.name.clone()).collect()
    }

    fn list(&self, keys: &[&str]) -> String {
        let names: Vec<String> = self.names(keys).iter().map(|name| quoted(name)).collect();
        format!("[{}]", names.join(", "))
    }
}

const WHOLE: &str = "a String takes everything";

fn comment(out: &mut String, key: &str, recipe: &FlowNode, dropped: &[String]) {
    let name = recipe.id.as_deref().unwrap_or(key);
    let kind = recipe.sub.as_deref().map(|kind| format!(" ({kind})")).unwrap_or_default();
    writeln!(out, "# {}", one_comment(&format!("recipe {name}{kind}"))).expect(WHOLE);
    if !dropped.is_empty() {
        let list = dropped.join(", ");
        writeln!(out, "# It reads {list} too, which is made from what it makes: a file has no circles.").expect(WHOLE);
    }
}

fn one_comment(text: &str) -> String {
    crate::base::text::one_line(text, 400)
}

/// A text as TOML writes it; that of JSON is the same but for one character.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A name that a file can have.
fn sound(text: &str) -> String {
    let mut name: String = text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(120).collect();
    if !is_name(&name) {
        name.insert(0, '_');
    }
    name
}

/// A name that nothing else has.
fn unique(text: &str, kind: &str, names: &mut BTreeSet<String>) -> String {
    let name = sound(text);
    let others = std::iter::once(format!("{kind}_{name}")).chain((2..).map(|n| format!("{name}_{n}")));
    let name = std::iter::once(name.clone()).chain(others).find(|name| !names.contains(name)).unwrap_or(name);
    names.insert(name.clone());
    name
}
