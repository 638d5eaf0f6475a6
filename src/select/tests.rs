//! Selection over a small pipeline, and the shapes of graphs.

use super::*;
use crate::pipeline::{check, read};

fn pipeline(text: &str) -> (Pipeline, Result<Graph, Vec<crate::base::span::Problem>>) {
    let (raw, problems) = read::read(text);
    assert_eq!(problems, []);
    let options = check::Options { own: &[], vars: &[], project: None };
    let (pipeline, problems) = check::check(raw.unwrap(), text, &options);
    assert_eq!(problems, []);
    let graph = Graph::build(&pipeline);
    (pipeline, graph)
}

const DIAMOND: &str = r#"
[pipeline]
format = 1
name = "p"
[dataset.src]
path = "src"
[dataset.a]
inputs = ["src"]
run = "x"
tags = ["daily"]
[dataset.b]
inputs = ["a"]
run = "x"
[dataset.c]
inputs = ["a", "src"]
run = "x"
rebuild = "explicit"
[dataset.d]
inputs = ["b", "c"]
run = "x"
[dataset.z]
run = "x"
[model.m]
inputs = ["d"]
[task.t]
inputs = ["m"]
run = "x"
"#;

fn chosen(targets: &[&str], mode: BuildMode) -> Result<Vec<String>, SelectError> {
    Ok(chosen_of(DIAMOND, targets, mode)?.0)
}

/// The steps that are wanted, and those that are left since nobody has named them, or since they are left out, as what stands
/// behind a `!` is.
fn chosen_of(text: &str, targets: &[&str], mode: BuildMode) -> Result<(Vec<String>, Vec<String>), SelectError> {
    let (pipeline, graph) = pipeline(text);
    let graph = graph.unwrap();
    let targets: Vec<_> = targets.iter().map(|t| (*t).to_owned()).collect();
    let can = |id| pipeline.recipes[id].run.is_some();
    let (targets, exclude): (Vec<_>, Vec<_>) =
        targets.into_iter().partition(|target: &String| !target.starts_with('!'));
    let exclude: Vec<_> = exclude.iter().map(|text| text[1..].to_owned()).collect();
    let choice = Choice { targets: &targets, exclude: &exclude, mode };
    let selection = select(&pipeline, &graph, choice, &can)?;
    let wanted = graph.order.iter().filter(|id| selection.want[**id] != Want::No);
    let name = |id: &RecipeId| pipeline.recipes[*id].name.clone();
    Ok((wanted.map(name).collect(), selection.passed.iter().map(name).collect()))
}

#[test]
fn selectors_choose() {
    for (targets, mode, want) in [
        (&[][..], BuildMode::Smart, vec!["a", "z", "b", "d"]),
        (&["c"], BuildMode::Smart, vec!["a", "c"]),
        (&["c"], BuildMode::Only, vec!["c"]),
        (&["+b"], BuildMode::Only, vec!["a", "b"]),
        (&["a+"], BuildMode::Only, vec!["a", "b", "d"]),
        (&["src+"], BuildMode::Only, vec!["a", "b", "d"]),
        (&["tag:daily"], BuildMode::Only, vec!["a"]),
        (&["tag:daily+"], BuildMode::Only, vec!["a", "b", "d"]),
        (&["d"], BuildMode::Smart, vec!["a", "b", "d"]),
        (&["[ab]"], BuildMode::Only, vec!["a", "b"]),
        (&["{b,z}"], BuildMode::Smart, vec!["a", "z", "b"]),
        (&["s*+"], BuildMode::Only, vec!["a", "b", "d"]),
        (&["*"], BuildMode::Smart, vec!["a", "z", "b", "d"]),
        (&["!b"], BuildMode::Smart, vec!["a", "z", "d"]),
        (&["!b+"], BuildMode::Smart, vec!["a", "z"]),
        (&["!+b"], BuildMode::Smart, vec!["z", "d"]),
        (&["!src+"], BuildMode::Smart, vec!["z"]),
        (&["!tag:daily", "!z"], BuildMode::Smart, vec!["b", "d"]),
        (&["d", "!b"], BuildMode::Smart, vec!["d"]),
        (&["d", "!b"], BuildMode::Forced, vec!["d"]),
        (&["+d", "!d"], BuildMode::Only, vec!["a", "b"]),
        (&["a+", "!b"], BuildMode::Only, vec!["a", "d"]),
        (&["?", "!a"], BuildMode::Only, vec!["z", "b", "d"]),
    ] {
        assert_eq!(chosen(targets, mode).unwrap(), want, "{targets:?} {mode}");
    }
}

const EXPLICIT: &str = r#"
[pipeline]
format = 1
name = "p"
[dataset.src]
path = "src"
[dataset.a]
inputs = ["src"]
run = "x"
[dataset.e]
inputs = ["a"]
run = "x"
rebuild = "explicit"
[dataset.f]
inputs = ["e"]
run = "x"
rebuild = "explicit"
[dataset.g]
inputs = ["f"]
run = "x"
[dataset.last]
inputs = ["g"]
run = "x"
rebuild = "explicit"
[dataset.seldom]
path = "seldom"
[dataset.once]
inputs = ["seldom"]
run = "x"
rebuild = "explicit"
[dataset.unread]
path = "unread"
"#;

#[test]
fn what_is_made_from_a_target_is_wanted_behind_what_is_left_too() {
    for (target, wanted, left) in [
        ("a+", &["a", "g"][..], &["e", "f", "last"][..]),
        ("src+", &["a", "g"], &["e", "f", "last"]),
        ("e+", &["a", "e", "g"], &["f", "last"]),
        ("f+", &["f", "g"], &["e", "last"]),
        ("+g", &["g"], &["f"]),
        ("last+", &["g", "last"], &["f"]),
        ("a", &["a"], &[]),
    ] {
        let (chosen, by_name) = chosen_of(EXPLICIT, &[target], BuildMode::Smart).unwrap();
        assert_eq!((chosen, by_name), (owned(wanted), owned(left)), "{target}");
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn each_target_has_to_match_something() {
    for (targets, want) in [
        (&["a", "tag:dayly"][..], "no step matches tag:dayly; did you mean `tag:daily`?"),
        (&["tag:dayly+", "a"], "no step matches tag:dayly+; did you mean `tag:daily`?"),
        (&["tag:weekly", "tag:daily"], "no step matches tag:weekly"),
    ] {
        let said = chosen(targets, BuildMode::Smart).unwrap_err().to_string();
        assert_eq!(said, format!("nothing was selected: {want}"), "{targets:?}");
    }
    for (target, also) in [("unread+", "a"), ("seldom+", "a")] {
        let said = chosen_of(EXPLICIT, &[also, target], BuildMode::Smart).unwrap_err().to_string();
        assert_eq!(said, format!("nothing was selected: no step matches {target}"));
    }
    // Whether others stand for the same does not matter.
    assert_eq!(chosen(&["a+", "a", "tag:daily"], BuildMode::Only).unwrap(), ["a", "b", "d"]);
}

#[test]
fn targets_that_cannot_be_meant_are_told() {
    for (target, want) in [
        ("bb", "unknown target `bb`"),
        ("src", "target `src`: nothing makes `src`, it is a source"),
        ("m", "target `m`: this engine cannot build it: `m` has no `run`"),
        ("t", "target `t`: this engine cannot build it: what `t` is made from has no `run`"),
        ("tag:weekly", "nothing was selected: no step matches tag:weekly"),
        ("tag:dayly", "nothing was selected: no step matches tag:dayly; did you mean `tag:daily`?"),
    ] {
        assert_eq!(chosen(&[target], BuildMode::Smart).unwrap_err().to_string(), want);
    }
}

#[test]
fn stages_count_the_longest_way() {
    let (pipeline, graph) = pipeline(DIAMOND);
    let graph = graph.unwrap();
    let stages: Vec<_> =
        graph.order.iter().map(|id| format!("{}{}", pipeline.recipes[*id].name, graph.stage[*id])).collect();
    assert_eq!(stages.join(" "), "a1 z1 b2 c2 d3 m4 t5");
}

#[test]
fn a_cycle_names_each_edge_in_order() {
    let text = DIAMOND
        .replace("[dataset.z]\n", "[dataset.z]\ninputs = [\"d\"]\n")
        .replace("inputs = [\"a\"]", "inputs = [\"a\", \"z\"]");
    let (_, graph) = pipeline(&text);
    let problems = graph.unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].message, "cycle: b → d → z → b");
    let labels: Vec<_> =
        problems[0].labels.iter().map(|label| (label.text.as_str(), &text[label.span.clone()])).collect();
    assert_eq!(labels, [("`d` needs `b`", "\"b\""), ("`z` needs `d`", "\"d\""), ("`b` needs `z`", "\"z\"")]);
}

#[test]
fn what_is_left_out_is_told_where_it_counts() {
    let left = |targets: &[&str], mode| chosen_of(DIAMOND, targets, mode).unwrap().1;
    assert_eq!(left(&["!b"], BuildMode::Smart), ["b", "c"], "`c` is built only when it is named");
    assert_eq!(left(&["d", "!b", "!z"], BuildMode::Smart), ["b", "c"], "nobody asked for `z`");
    assert_eq!(left(&["a", "!b"], BuildMode::Smart), Vec::<String>::new());
    assert_eq!(
        left(&["d", "!b"], BuildMode::Only),
        Vec::<String>::new(),
        "its targets are built, whatever their state"
    );
}

#[test]
fn what_cannot_be_left_out_is_told() {
    let error = |targets: &[&str]| chosen(targets, BuildMode::Smart).unwrap_err();
    let told = |error: SelectError| match error {
        SelectError::Target { message, help } => format!("{message}; {help}"),
        nothing @ SelectError::Nothing(_) => nothing.to_string(),
    };
    assert_eq!(
        told(error(&["!src"])),
        "target `src`: nothing makes `src`, it is a source; `src+` leaves out all that is made from it"
    );
    assert_eq!(told(error(&["!bb"])), "unknown target `bb`; did you mean `b`?");
    assert_eq!(told(error(&["!tag:x"])), "nothing was selected: no step matches tag:x, which --exclude names");
    assert_eq!(told(error(&["!x*"])), "nothing was selected: no step matches x*, which --exclude names");
    assert_eq!(told(error(&["d", "!d"])), "nothing was selected: --exclude leaves nothing over");
    assert_eq!(
        told(error(&["[c]"])),
        "nothing was selected: what is like these targets is `rebuild = \"explicit\"`, built only by its own name"
    );
    let SelectError::Target { message, .. } = error(&["[c"]) else { panic!("it is no pattern") };
    assert!(message.starts_with("target `[c` is no pattern: "), "{message}");
}
