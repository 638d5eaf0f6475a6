//! Pipelines made by chance: what they say, how they are written down, and what their recipes compute. Knows neither what
//! was built nor what has to be.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Numbers by chance, the same for the same seed.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Dataset,
    Folder,
    /// A dataset without a path; a file of `tables/` stands for the table.
    Table,
}

#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The version of its path.
    pub(super) version: u64,
    pub(super) maker: Option<usize>,
}

impl Node {
    pub(super) fn path(&self) -> Option<String> {
        let folder = if self.maker.is_some() { "build" } else { "data" };
        (self.kind != Kind::Table).then(|| format!("{folder}/{}.{}", self.name, self.version))
    }

    /// Where its content lies.
    pub(super) fn place(&self) -> String {
        self.path().unwrap_or_else(|| format!("tables/{}", self.name))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rebuild {
    Changed,
    Always,
    Old,
    Young,
    Explicit,
    Never,
}

/// A file or a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Content {
    File(String),
    Folder(BTreeMap<String, String>),
}

impl Content {
    pub(super) fn of(kind: Kind, value: u64) -> Self {
        match kind {
            Kind::Dataset | Kind::Table => Self::File(format!("{value}\n")),
            Kind::Folder => Self::Folder(BTreeMap::from([
                ("part".to_owned(), format!("{value}\n")),
                ("rest".to_owned(), format!("{}\n", value % 5)),
            ])),
        }
    }

    /// As a list of files shows it.
    pub(super) fn shown(&self, place: &str) -> String {
        match self {
            Self::File(text) => text.clone(),
            Self::Folder(files) => {
                let files = files.iter().map(|(name, text)| format!("{place}/{name}:{text}"));
                std::iter::once(format!("{place}/:")).chain(files).collect()
            }
        }
    }

    pub(super) fn value(&self) -> u64 {
        match self {
            Self::File(text) => text,
            Self::Folder(files) => &files["part"],
        }
        .trim()
        .parse()
        .unwrap()
    }
}

#[derive(Clone, Debug)]
pub(super) struct Recipe {
    pub(super) name: String,
    /// A name that stays when the recipe is renamed.
    pub(super) key: String,
    pub(super) component: usize,
    pub(super) task: bool,
    pub(super) inputs: Vec<usize>,
    pub(super) outputs: Vec<usize>,
    pub(super) salt: u64,
    pub(super) modulus: u64,
    /// `env` with a value.
    pub(super) literal: Option<u64>,
    /// `env` with a value from outside.
    pub(super) region: bool,
    pub(super) var: bool,
    /// Files of code: all of a folder by a glob, or one.
    pub(super) code: Option<bool>,
    pub(super) tool: bool,
    /// Whether it reads `{{ inputs }}` in a loop.
    pub(super) looped: bool,
    pub(super) other_shell: bool,
    pub(super) workdir: u64,
    pub(super) rebuild: Rebuild,
    pub(super) in_place: bool,
    pub(super) tag: Option<usize>,
}

/// A pipeline.
#[derive(Clone, Debug, Default)]
pub(super) struct Spec {
    pub(super) nodes: Vec<Node>,
    /// Each reads only what those before it make.
    pub(super) recipes: Vec<Recipe>,
    pub(super) vars: BTreeMap<String, u64>,
}

const MODULUS: u64 = 1_000_003;

impl Spec {
    pub(super) fn input_names(&self, recipe: &Recipe) -> String {
        recipe.inputs.iter().map(|i| self.nodes[*i].name.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// Whether the script reads all inputs in a loop: there is none to write without a path.
    pub(super) fn loops(&self, recipe: &Recipe) -> bool {
        recipe.looped && recipe.inputs.iter().any(|i| self.nodes[*i].kind != Kind::Table)
    }

    pub(super) fn var_of(recipe: &Recipe) -> String {
        format!("v{}", recipe.component)
    }

    /// The script, with its placeholders.
    pub(super) fn command(&self, recipe: &Recipe) -> String {
        let mut text = format!("v={}; ", recipe.salt);
        let step = format!("v=$(( (v * 31 + x) % {MODULUS} ))");
        let looped = self.loops(recipe);
        if looped {
            let loops = r#"for f in {{ inputs }}; do if [ -d "$f" ]; then f="$f/part"; fi; read -r x <"$f";"#;
            write!(text, "{loops} {step}; done; ").unwrap();
        }
        for node in recipe.inputs.iter().filter(|_| !looped).map(|i| &self.nodes[*i]) {
            let from = match node.kind {
                Kind::Dataset => format!("{{{{ inputs.{} }}}}", node.name),
                Kind::Folder => format!("{{{{ inputs.{} }}}}/part", node.name),
                Kind::Table => format!("tables/{}", node.name),
            };
            write!(text, "read -r x <{from}; {step}; ").unwrap();
        }
        match recipe.code {
            Some(true) => write!(text, "for f in code/{}/*.txt; do read -r x <\"$f\"; {step}; done; ", recipe.key),
            Some(false) => write!(text, "read -r x <code/{}.txt; {step}; ", recipe.key),
            None => Ok(()),
        }
        .unwrap();
        if recipe.var {
            write!(text, "v=$(( v + {{{{ vars.{} }}}} )); ", Self::var_of(recipe)).unwrap();
        }
        for (there, name) in [(recipe.literal.is_some(), "LITERAL"), (recipe.region, "REGION")] {
            if there {
                write!(text, "v=$(( v + ${name} )); ").unwrap();
            }
        }
        text.push_str("case \"$PWD\" in */w1) v=$(( v + 1 ));; */w2) v=$(( v + 2 ));; esac; ");
        write!(text, "v=$(( v % {} )); ", recipe.modulus).unwrap();
        let outputs: Vec<_> = recipe.outputs.iter().map(|i| &self.nodes[*i]).collect();
        let half =
            outputs.iter().find(|node| node.kind != Kind::Table).map(|node| format!("echo half >{}; ", target(node)));
        let half = half.unwrap_or_default();
        write!(text, "case \" ${{KT_FAIL:-}} \" in *\" {} \"*) {half}exit 3;; esac", recipe.key).unwrap();
        for (i, node) in outputs.iter().enumerate() {
            write!(text, "; echo $(( v + {i} )) >{}", target(node)).unwrap();
            if node.kind == Kind::Folder {
                write!(text, "; echo $(( (v + {i}) % 5 )) >{{{{ outputs.{} }}}}/rest", node.name).unwrap();
            }
        }
        text
    }

    /// What the recipe makes from these inputs, code and region.
    pub(super) fn compute(&self, recipe: &Recipe, inputs: &[Content], code: &[u64], region: u64) -> Vec<Content> {
        let mut v = recipe.salt;
        let seen = recipe
            .inputs
            .iter()
            .zip(inputs)
            .filter(|(i, _)| !self.loops(recipe) || self.nodes[**i].kind != Kind::Table);
        for x in seen.map(|(_, content)| content.value()).chain(code.iter().copied()) {
            v = (v * 31 + x) % MODULUS;
        }
        if recipe.var {
            v += self.vars[&Self::var_of(recipe)];
        }
        v += recipe.literal.unwrap_or(0) + if recipe.region { region } else { 0 } + recipe.workdir;
        v %= recipe.modulus;
        let make = |(i, node): (usize, &usize)| Content::of(self.nodes[*node].kind, v + i as u64);
        recipe.outputs.iter().enumerate().map(make).collect()
    }

    /// The pipeline's file. With `vars` they stand in it; otherwise they come from the command line.
    pub(super) fn write(&self, vars: bool) -> String {
        let mut text =
            "[pipeline]\nformat = 1\nname = \"p\"\n[defaults]\nshell = [\"sh\", \"-euc\"]\n[vars]\n".to_owned();
        for (name, value) in &self.vars {
            writeln!(text, "{name} = \"{}\"", if vars { *value } else { 0 }).unwrap();
        }
        for node in &self.nodes {
            let inline = node.maker.filter(|i| self.recipes[*i].name == node.name);
            let kind = if node.kind == Kind::Folder { "folder" } else { "dataset" };
            writeln!(text, "[{kind}.{}]", node.name).unwrap();
            match node.path() {
                Some(path) => writeln!(text, "path = \"{path}\"").unwrap(),
                None => {
                    let table = format!("tables/{}", node.name);
                    writeln!(text, "digest = '[ -e {table} ] || exit 7; read -r x <{table}; echo $x'").unwrap();
                }
            }
            if let Some(i) = inline {
                self.write_recipe(&mut text, &self.recipes[i]);
            }
        }
        for recipe in self.recipes.iter().filter(|recipe| !self.nodes.iter().any(|node| node.name == recipe.name)) {
            let kind = if recipe.task { "task" } else { "recipe" };
            writeln!(text, "[{kind}.{}]", recipe.name).unwrap();
            if !recipe.task {
                let names: Vec<_> = recipe.outputs.iter().map(|i| format!("{:?}", self.nodes[*i].name)).collect();
                writeln!(text, "outputs = [{}]", names.join(", ")).unwrap();
            }
            self.write_recipe(&mut text, recipe);
        }
        text
    }

    fn write_recipe(&self, text: &mut String, recipe: &Recipe) {
        let inputs: Vec<_> = recipe.inputs.iter().map(|i| format!("{:?}", self.nodes[*i].name)).collect();
        writeln!(text, "inputs = [{}]", inputs.join(", ")).unwrap();
        writeln!(text, "run = '''{}'''\npass = [\"KT_FAIL\"]", self.command(recipe)).unwrap();
        match recipe.code {
            Some(true) => writeln!(text, "files = [\"code/{}/*.txt\"]", recipe.key),
            Some(false) => writeln!(text, "files = [\"code/{}.txt\"]", recipe.key),
            None => Ok(()),
        }
        .unwrap();
        let mut env = Vec::new();
        env.extend(recipe.literal.map(|value| format!("LITERAL = \"{value}\"")));
        env.extend(recipe.region.then(|| format!("REGION = {{ env = \"KT_{}\" }}", recipe.key)));
        let rebuild = match recipe.rebuild {
            Rebuild::Changed => None,
            Rebuild::Always => Some("always"),
            Rebuild::Old => Some("1ms"),
            Rebuild::Young => Some("100d"),
            Rebuild::Explicit => Some("explicit"),
            Rebuild::Never => Some("never"),
        };
        let keys = [
            (!env.is_empty()).then(|| format!("env = {{ {} }}", env.join(", "))),
            recipe.tool.then(|| format!("tools = {{ t = \"read -r x <tools/{}; echo $x\" }}", recipe.key)),
            recipe.other_shell.then(|| "shell = [\"sh\", \"-eu\", \"-c\"]".to_owned()),
            (recipe.workdir > 0).then(|| format!("workdir = \"w{}\"", recipe.workdir)),
            recipe.in_place.then(|| "in_place = true".to_owned()),
            recipe.tag.map(|tag| format!("tags = [\"t{tag}\"]")),
            rebuild.map(|rebuild| format!("rebuild = \"{rebuild}\"")),
        ];
        keys.into_iter().flatten().for_each(|line| writeln!(text, "{line}").unwrap());
    }
}

fn target(node: &Node) -> String {
    match node.kind {
        Kind::Dataset => format!("{{{{ outputs.{} }}}}", node.name),
        Kind::Folder => format!("{{{{ outputs.{} }}}}/part", node.name),
        Kind::Table => format!("tables/{}", node.name),
    }
}

impl Spec {
    /// A pipeline of several parts that do not know one another, of 2 to 12 recipes each.
    pub(super) fn random(random: &mut Random, components: usize) -> Self {
        let mut spec = Self::default();
        for component in 0..components {
            spec.vars.insert(format!("v{component}"), random.next() % 9);
            let first = spec.nodes.len();
            for i in 0..1 + random.below(3) {
                let kind = random.pick(&[Kind::Dataset, Kind::Dataset, Kind::Folder, Kind::Table]);
                spec.nodes.push(Node { name: format!("c{component}s{i}"), kind, version: 0, maker: None });
            }
            for i in 0..2 + random.below(11) {
                spec.add(random, component, first, i);
            }
        }
        spec
    }

    /// Only what states of files and variables prove: no tables, folders, globs, tools, nor ages.
    pub(super) fn plain(mut self) -> Self {
        self.nodes.iter_mut().for_each(|node| node.kind = Kind::Dataset);
        for recipe in &mut self.recipes {
            recipe.tool = false;
            recipe.code = recipe.code.map(|_| false);
            if matches!(recipe.rebuild, Rebuild::Always | Rebuild::Old | Rebuild::Young) {
                recipe.rebuild = Rebuild::Changed;
            }
        }
        self
    }

    fn add(&mut self, random: &mut Random, component: usize, first: usize, i: usize) {
        let key = format!("c{component}r{i}");
        let mut inputs = Vec::new();
        for _ in 0..random.below(4) {
            let input = first + random.below(self.nodes.len() - first);
            if !inputs.contains(&input) {
                inputs.push(input);
            }
        }
        let count = random.pick(&[1, 1, 1, 1, 2, 2, 0]);
        let kinds = [Kind::Dataset, Kind::Dataset, Kind::Dataset, Kind::Folder, Kind::Folder, Kind::Table];
        let name = if count == 1 { format!("{key}o0") } else { key.clone() };
        let outputs: Vec<_> = (0..count).map(|i| self.nodes.len() + i).collect();
        for o in 0..count {
            let (name, kind) = (format!("{key}o{o}"), random.pick(&kinds));
            self.nodes.push(Node { name, kind, version: 0, maker: Some(self.recipes.len()) });
        }
        let rebuilds = [Rebuild::Always, Rebuild::Old, Rebuild::Young, Rebuild::Explicit, Rebuild::Never];
        let code = if random.chance(35) { Some(random.chance(50)) } else { None };
        let table = inputs.iter().chain(&outputs).any(|i| self.nodes[*i].kind == Kind::Table);
        self.recipes.push(Recipe {
            name,
            key,
            component,
            task: count == 0,
            inputs,
            salt: random.next() % 50,
            modulus: random.pick(&[2, 3, 997, 100_003, MODULUS]),
            literal: random.chance(20).then(|| random.next() % 9),
            region: random.chance(20),
            var: random.chance(30),
            tool: random.chance(10),
            looped: random.chance(25),
            other_shell: random.chance(15),
            workdir: if code.is_none() && !table && random.chance(25) { 1 + random.next() % 2 } else { 0 },
            rebuild: if random.chance(22) { random.pick(&rebuilds) } else { Rebuild::Changed },
            in_place: random.chance(20) && outputs.iter().all(|i| self.nodes[*i].kind != Kind::Table) && count > 0,
            tag: random.chance(30).then(|| random.below(3)),
            code,
            outputs,
        });
    }

    /// Whether the recipe may run in another folder: it names no file by a relative path.
    pub(super) fn movable(&self, recipe: &Recipe) -> bool {
        recipe.code.is_none()
            && !recipe.inputs.iter().chain(&recipe.outputs).any(|i| self.nodes[*i].kind == Kind::Table)
    }
}
