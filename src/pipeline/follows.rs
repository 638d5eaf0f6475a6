//! Tells which mistakes of meaning only seem to be there because of mistakes of form: a key that is written wrong is not missing,
//! a node that could not be read is not unknown. All others are told together with those.

use toml::de::{DeTable, DeValue};

use crate::base::span::{Problem, Problems};

/// What a mistake of form may cause within its own table.
const OF_TABLE: [&str; 3] = ["useless-key", "no-output", "missing-key"];
/// The kinds of mistakes of form behind which nothing is lost but a key.
const LIGHT: [&str; 2] = ["unknown-key", "bad-root"];

/// Something that has a name in the file: `[dataset.orders]`, a variable, or a section itself.
struct Place {
    start: usize,
    section: String,
    name: String,
}

/// The mistakes of meaning that stand by themselves beside the mistakes of form in the same text.
#[must_use]
pub fn independent(text: &str, form: &Problems, found: Problems) -> Problems {
    if form.is_empty() {
        return found;
    }
    let heavy = form.iter().any(|problem| !LIGHT.contains(&problem.code));
    let places = places(text);
    let at = |offset: usize| places.partition_point(|place| place.start <= offset).checked_sub(1);
    let place = |problem: &Problem| at(problem.labels.first()?.span.start);
    let form = || form.iter().filter(|problem| problem.code != "bad-root");
    let wrong: Vec<Option<usize>> = form().map(place).collect();
    // A section that is written wrong may be the one that is missed.
    let no_vars = form().any(|problem| problem.code == "unknown-section")
        || wrong.iter().flatten().any(|at| places[*at].section == "vars");
    let nameless: Vec<Option<usize>> = form().filter(|problem| takes_names(problem)).map(place).collect();
    let follows = |problem: &Problem| {
        let label = problem.labels.first().and_then(|label| text.get(label.span.clone())).unwrap_or_default();
        match problem.code {
            "undefined-name" => match name(problem) {
                Name::OfTable => nameless.contains(&place(problem)),
                Name::Var => no_vars,
                Name::Other => false,
            },
            code if OF_TABLE.contains(&code) => wrong.contains(&place(problem)),
            "unknown-node" => places.iter().any(|place| place.name == label.trim_matches(['"', '\''])),
            "unknown-var" => no_vars,
            "empty-pipeline" => heavy,
            _ => false,
        }
    };
    found.into_iter().filter(|problem| !follows(problem)).collect()
}

/// On what it depends what a name in braces means.
enum Name {
    /// On the inputs and outputs of its own table.
    OfTable,
    /// On the variables of the file.
    Var,
    /// On nothing.
    Other,
}

/// The name that is not defined.
fn name(problem: &Problem) -> Name {
    let name = problem.message.split('`').nth(1).unwrap_or_default();
    match name.split('.').next() {
        Some("inputs" | "output" | "outputs") => Name::OfTable,
        Some("vars") if name.contains('.') => Name::Var,
        _ => Name::Other,
    }
}

/// Whether a mistake of form may take inputs or outputs from what stands in the same table: what is wrong with another key, or in
/// a table within, does not.
fn takes_names(problem: &Problem) -> bool {
    let deep = problem.message.rsplit_once("in [").is_some_and(|(_, table)| table.split('.').count() > 2);
    let key = problem.message.strip_prefix('`').and_then(|rest| rest.split(['`', '.']).next());
    !deep && key.is_none_or(|key| ["inputs", "outputs", "path"].contains(&key))
}

/// All places of a text, from its beginning on.
fn places(text: &str) -> Vec<Place> {
    let (document, _) = DeTable::parse_recoverable(text);
    let mut places = Vec::new();
    for (section, value) in document.get_ref() {
        let name = section.get_ref().to_string();
        places.push(Place { start: section.span().start, section: name.clone(), name: String::new() });
        let DeValue::Table(table) = value.get_ref() else { continue };
        let entry = |start, key: &str| Place { start, section: name.clone(), name: key.to_owned() };
        places.extend(table.iter().map(|(key, _)| entry(key.span().start, key.get_ref())));
    }
    places.sort_by_key(|place| place.start);
    places
}
