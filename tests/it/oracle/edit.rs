//! Edits by chance, as a user would make them: to the pipeline, to files, to the environment.

use super::model::World;
use super::spec::{Content, Kind, Random, Rebuild};

/// What else is to be done with the files of a project, besides what the world tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Touch {
    /// The file is written again with the same content.
    Rewrite(String),
    /// The file gets another time.
    Time(String),
    /// The file is changed in place and keeps its size and its time.
    Stealth(String),
    /// All files get another time.
    All,
}

const EDITS: usize = 27;

/// Makes one edit in a part of the pipeline. Returns what it was; `none` where it came to nothing.
pub(super) fn edit(world: &mut World, random: &mut Random, component: usize, touches: &mut Vec<Touch>) -> &'static str {
    let recipes: Vec<_> =
        (0..world.spec.recipes.len()).filter(|i| world.spec.recipes[*i].component == component).collect();
    let i = random.pick(&recipes);
    let (sources, outputs) = nodes(world, component);
    match random.below(EDITS) {
        0 | 1 => return change(world, random, &sources, "change a source"),
        2 => return touch(world, random, &[sources, outputs].concat(), touches),
        3 => return change(world, random, &outputs, "alter an output"),
        4 | 5 => return delete(world, random, &outputs),
        6 | 7 => return code(world, random, i),
        8 => {
            *world.spec.vars.get_mut(&format!("v{component}")).unwrap() += 1;
            return "change a variable";
        }
        9 => return region(world, i),
        10 | 11 => return input(world, random, i),
        12 | 13 => {
            world.failing.insert(world.spec.recipes[i].key.clone());
            world.spec.recipes[i].salt += 1;
            return "fail";
        }
        14 => {
            let node = world.spec.recipes[i].outputs.first().copied();
            let Some(node) = node.filter(|node| world.spec.nodes[*node].kind != Kind::Table) else { return "none" };
            let version = &mut world.spec.nodes[node].version;
            *version = if *version == 0 { 1 } else { 0 };
            return "rename an output";
        }
        15 => return rename(world, i),
        16 => return tool(world, i),
        17 => {
            touches.push(Touch::All);
            return "touch all";
        }
        18 => return stealth(world, random, &sources, touches),
        _ => {}
    }
    let movable = world.spec.movable(&world.spec.recipes[i]);
    let tables = world.spec.recipes[i].outputs.iter().any(|o| world.spec.nodes[*o].kind == Kind::Table);
    let recipe = &mut world.spec.recipes[i];
    match random.below(8) {
        0 => recipe.salt += 1,
        1 => recipe.modulus = if recipe.modulus == 3 { 997 } else { 3 },
        2 => recipe.other_shell = !recipe.other_shell,
        3 if movable => recipe.workdir = (recipe.workdir + 1) % 3,
        4 => recipe.literal = if recipe.literal.is_some() { None } else { Some(random.next() % 9) },
        5 => recipe.rebuild = random.pick(&[Rebuild::Changed, Rebuild::Changed, Rebuild::Always, Rebuild::Never]),
        6 if !tables && !recipe.task => recipe.in_place = !recipe.in_place,
        7 => recipe.looped = !recipe.looped,
        _ => return "none",
    }
    "change a recipe"
}

fn nodes(world: &World, component: usize) -> (Vec<usize>, Vec<usize>) {
    let prefix = format!("c{component}");
    let of = |i: &usize| {
        let rest = world.spec.nodes[*i].name.strip_prefix(&prefix);
        rest.is_some_and(|rest| rest.starts_with(['s', 'r']))
    };
    (0..world.spec.nodes.len()).filter(of).partition(|i| world.spec.nodes[*i].maker.is_none())
}

/// Another content for something that is there.
fn change(world: &mut World, random: &mut Random, nodes: &[usize], what: &'static str) -> &'static str {
    if nodes.is_empty() {
        return "none";
    }
    let node = &world.spec.nodes[random.pick(nodes)];
    let Some(content) = world.disk.get_mut(&node.place()) else { return "none" };
    *content = Content::of(node.kind, random.next() % 1_000);
    what
}

fn delete(world: &mut World, random: &mut Random, nodes: &[usize]) -> &'static str {
    if nodes.is_empty() {
        return "none";
    }
    let node = &world.spec.nodes[random.pick(nodes)];
    match world.disk.get_mut(&node.place()) {
        Some(Content::Folder(files)) if random.chance(50) => {
            files.remove("rest");
            "delete in a folder"
        }
        _ => {
            world.disk.remove(&node.place());
            "delete an output"
        }
    }
}

fn touch(world: &World, random: &mut Random, nodes: &[usize], touches: &mut Vec<Touch>) -> &'static str {
    let place = world.spec.nodes[random.pick(nodes)].place();
    if !matches!(world.disk.get(&place), Some(Content::File(_))) {
        return "none";
    }
    touches.push(if random.chance(50) { Touch::Rewrite(place) } else { Touch::Time(place) });
    "touch"
}

fn stealth(world: &mut World, random: &mut Random, nodes: &[usize], touches: &mut Vec<Touch>) -> &'static str {
    let node = &world.spec.nodes[random.pick(nodes)];
    let Some(Content::File(text)) = world.disk.get_mut(&node.place()) else { return "none" };
    let first = if text.starts_with('1') { '2' } else { '1' };
    text.replace_range(..1, &first.to_string());
    touches.push(Touch::Stealth(node.place()));
    "change in place and put the time back"
}

fn code(world: &mut World, random: &mut Random, i: usize) -> &'static str {
    let recipe = world.spec.recipes[i].clone();
    let paths = world.code(&recipe);
    let new = Content::File(format!("{}\n", random.next() % 100));
    match (recipe.code, random.below(3)) {
        (None, _) => return "none",
        (Some(true), 0) => drop(world.disk.insert(format!("code/{}/{}.txt", recipe.key, random.below(5)), new)),
        (Some(true), 1) if paths.len() > 1 => drop(world.disk.remove(&random.pick(&paths))),
        _ => drop(world.disk.insert(random.pick(&paths), new)),
    }
    "change code"
}

fn region(world: &mut World, i: usize) -> &'static str {
    let recipe = &mut world.spec.recipes[i];
    if recipe.region {
        *world.regions.get_mut(&recipe.key).unwrap() += 1;
        return "change a variable from outside";
    }
    recipe.region = true;
    "list a variable"
}

fn tool(world: &mut World, i: usize) -> &'static str {
    let recipe = &mut world.spec.recipes[i];
    if recipe.tool {
        let tool = world.disk.get_mut(&format!("tools/{}", recipe.key)).unwrap();
        *tool = Content::File(format!("{}\n", tool.value() + 1));
        return "another version of a tool";
    }
    recipe.tool = true;
    "ask a tool"
}

fn input(world: &mut World, random: &mut Random, i: usize) -> &'static str {
    let spec = &mut world.spec;
    let prefix = format!("c{}", spec.recipes[i].component);
    let recipe = spec.recipes[i].clone();
    match random.below(3) {
        0 if !recipe.inputs.is_empty() => drop(spec.recipes[i].inputs.remove(random.below(recipe.inputs.len()))),
        1 if recipe.inputs.len() > 1 => spec.recipes[i].inputs.reverse(),
        _ => {
            let before = |node: &usize| {
                let name = spec.nodes[*node].name.strip_prefix(&prefix);
                let earlier = spec.nodes[*node].maker.is_none_or(|maker| maker < i);
                let near = name.is_some_and(|name| name.starts_with(['s', 'r']));
                let fits = recipe.workdir == 0 || spec.nodes[*node].kind != Kind::Table;
                near && earlier && fits && !recipe.inputs.contains(node)
            };
            let nodes: Vec<_> = (0..spec.nodes.len()).filter(before).collect();
            if nodes.is_empty() {
                return "none";
            }
            spec.recipes[i].inputs.push(random.pick(&nodes));
        }
    }
    "change inputs"
}

/// A recipe of its own gets another name, or its old one back.
fn rename(world: &mut World, i: usize) -> &'static str {
    let recipe = &mut world.spec.recipes[i];
    if recipe.outputs.len() == 1 {
        return "none";
    }
    recipe.name = if recipe.name == recipe.key { format!("{}x", recipe.key) } else { recipe.key.clone() };
    "rename a recipe"
}
