//! Variables of `[vars]` that nothing uses. Does not know what they stand for.

use std::collections::BTreeSet;

use toml::de::DeTable;

use crate::base::span::{Problem, Problems};
use crate::pipeline::refs::Reference;
use crate::pipeline::template::Template;
use crate::pipeline::types::{Command, Pipeline};

/// A warning for each variable that stands in no template. `text` is that of the file.
#[must_use]
pub fn check(pipeline: &Pipeline, text: &str) -> Problems {
    let commands = pipeline.recipes.values().flat_map(|recipe| recipe.run.iter().chain(&recipe.how.on_stop));
    let names = commands.flat_map(Command::templates).flat_map(Template::names);
    let used: BTreeSet<&str> = names
        .filter_map(|name| match Reference::of(name) {
            Some(Reference::Var(var)) => Some(var),
            _ => None,
        })
        .collect();
    if pipeline.vars.keys().all(|var| used.contains(var.as_str())) {
        return Vec::new();
    }
    let (document, _) = DeTable::parse_recoverable(text);
    let table = document.get_ref().get("vars").and_then(|vars| vars.get_ref().as_table());
    let unused =
        table.into_iter().flatten().map(|(name, _)| name).filter(|name| !used.contains(name.get_ref().as_ref()));
    let warning = |name: &toml::Spanned<_>| {
        let name_of: &std::borrow::Cow<'_, str> = name.get_ref();
        let problem = Problem::new("unused-var", format!("variable `{name_of}` is not used"))
            .at(&name.span(), "no command names it");
        problem.help(format!("take it away, or name it in a command: {{{{ vars.{name_of} }}}}")).warn()
    };
    unused.map(warning).collect()
}
