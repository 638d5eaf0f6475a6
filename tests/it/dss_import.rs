//! Flows that are odd: what is imported from them is a sound file, which agrees with its project.

use std::collections::BTreeMap;

use kiln::engine::dss::compare::compare;
use kiln::engine::dss::import::{Wanted, import};
use kiln::engine::dss::remote::Project;
use kiln::graph::Graph;
use kiln::pipeline::types::Pipeline;
use kiln::pipeline::{check, read};
use serde_json::{Value, json};

use crate::dss_storm::Random;

fn project(graph: &Value, datasets: &Value, folders: &Value, models: &Value) -> Project {
    let of = |value: &Value| {
        let items = value.as_array().unwrap().iter();
        items.filter_map(|item| serde_json::from_value(item.clone()).ok()).collect()
    };
    Project {
        graph: serde_json::from_value(graph.clone()).unwrap(),
        datasets: of(datasets),
        folders: of(folders),
        models: of(models),
    }
}

const WANTED: Wanted<'static> = Wanted {
    project: "P",
    url: "https://dss.example.com",
    key: "api_key = { env = \"KEY\" }",
    engine: "prod",
    target: None,
};

/// The pipeline that a file comes to, which has to be sound.
#[track_caller]
fn sound(text: &str) -> Pipeline {
    let (raw, problems) = read::read(text);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    let options = check::Options { own: &[], vars: &[], project: None };
    let (pipeline, problems) = check::check(raw.unwrap(), text, &options);
    assert!(problems.is_empty(), "{problems:?}\n{text}");
    assert!(Graph::build(&pipeline).is_ok(), "{text}");
    pipeline
}

/// What is told when a file is held against the project that it was imported from.
fn told(pipeline: &Pipeline, project: Project) -> Vec<(&'static str, bool, String)> {
    let others = Project::default();
    let projects = BTreeMap::from([("P".to_owned(), project), ("OTHER".to_owned(), others)]);
    let problems = compare(pipeline, "P", &projects);
    problems.into_iter().map(|problem| (problem.code, problem.warning, problem.message)).collect()
}

#[test]
fn names_that_a_file_cannot_have_get_others() {
    let names =
        ["a b", "a-b", "a.b c", "ünï", "1st", "", "x\"y", "new\nline", "[dataset.z]", "#", "a_b", &"long".repeat(60)];
    let mut nodes = serde_json::Map::new();
    let mut datasets = Vec::new();
    for (i, name) in names.iter().enumerate() {
        nodes.insert(
            format!("n{i}"),
            json!({ "type": "COMPUTABLE_DATASET", "ref": name, "predecessors": ["r"], "successors": [] }),
        );
        datasets.push(json!({ "name": name }));
    }
    let keys: Vec<String> = nodes.keys().cloned().collect();
    nodes.insert(
        "r".to_owned(),
        json!({ "type": "RUNNABLE_RECIPE", "ref": "a b\n\"x\"", "predecessors": [], "successors": keys }),
    );
    let contents = project(&json!({ "nodes": nodes }), &json!(datasets), &json!([]), &json!([]));
    let text = import(&contents, &WANTED).unwrap();
    let pipeline = sound(&text);
    // All but the one without a name are there, and each is known on DSS by its own.
    assert_eq!(pipeline.nodes.len(), names.len() - 1, "{text}");
    let wrong: Vec<_> = told(&pipeline, contents).into_iter().filter(|(_, warning, _)| !warning).collect();
    // A name with a dot before it names another project.
    assert!(wrong.iter().all(|(.., message)| message.contains("b c")), "{wrong:?}\n{text}");
}

#[test]
fn things_of_other_projects_are_theirs() {
    let graph = json!({ "nodes": {
        "OTHER.ds": { "type": "COMPUTABLE_DATASET", "ref": "OTHER.ds", "predecessors": [], "successors": ["r"] },
        "OTHER.O2u": { "type": "COMPUTABLE_FOLDER", "ref": "OTHER.O2u", "predecessors": [], "successors": ["r"] },
        "P.own": { "type": "COMPUTABLE_DATASET", "ref": "P.own", "predecessors": [], "successors": ["r"] },
        "ds": { "type": "COMPUTABLE_DATASET", "ref": "ds", "predecessors": ["r"], "successors": [] },
        "r": { "type": "RUNNABLE_RECIPE", "ref": "r", "predecessors": ["OTHER.ds", "P.own", "OTHER.O2u"], "successors": ["ds"] },
    }});
    let contents = project(&graph, &json!([{ "name": "ds" }, { "name": "own" }]), &json!([]), &json!([]));
    let text = import(&contents, &WANTED).unwrap();
    let pipeline = sound(&text);
    for expected in [
        "[dataset.ds]\nproject = \"OTHER\"\n",
        "[folder.O2u]\nproject = \"OTHER\"\n",
        "[dataset.own]\n",
        "[dataset.dataset_ds]\nid = \"ds\"\ninputs = [\"O2u\", \"ds\", \"own\"]\n",
    ] {
        assert!(text.contains(expected), "{expected} is missing in\n{text}");
    }
    let other =
        project(&json!({}), &json!([{ "name": "ds" }]), &json!([{ "id": "O2u", "name": "charts" }]), &json!([]));
    let projects = BTreeMap::from([("P".to_owned(), contents), ("OTHER".to_owned(), other)]);
    let problems = compare(&pipeline, "P", &projects);
    assert!(problems.is_empty(), "{problems:?}");
}

#[test]
fn what_is_partitioned_says_so() {
    let graph = json!({ "nodes": {
        "a": { "type": "COMPUTABLE_DATASET", "ref": "a", "predecessors": [], "successors": [] },
        "b": { "type": "COMPUTABLE_DATASET", "ref": "b", "predecessors": [], "successors": [] },
    }});
    let dimensions = json!([{ "name": "day", "type": "time", "params": { "period": "DAY" } }, { "name": "country", "type": "value" }]);
    let datasets = json!([{ "name": "a", "partitioning": { "dimensions": dimensions } }, { "name": "b", "partitioning": { "dimensions": [] } }]);
    let contents = project(&graph, &datasets, &json!([]), &json!([]));
    let text = import(&contents, &WANTED).unwrap();
    sound(&text);
    let comment = "# Partitioned by day, country: `--partition` says which ones are built.\n[dataset.a]";
    assert!(text.contains(comment) && text.matches("# Partitioned").count() == 1, "{text}");
}

/// A flow with fields that lack, of the wrong type, and with edges to nowhere, in circles, and from one side only.
fn odd_flow(random: &mut Random) -> Project {
    const NAMES: [&str; 9] = ["a", "b", "a b", "OTHER.a", "P.b", "c-d", "c_d", "\u{7f}\\", "O2ue6CX3"];
    const KINDS: [&str; 7] = [
        "COMPUTABLE_DATASET",
        "COMPUTABLE_DATASET",
        "COMPUTABLE_FOLDER",
        "COMPUTABLE_SAVED_MODEL",
        "COMPUTABLE_STREAMING_ENDPOINT",
        "RUNNABLE_RECIPE",
        "RUNNABLE_IMPLICIT_RECIPE",
    ];
    let count = 1 + random.below(14);
    let keys: Vec<String> = (0..count).map(|i| format!("k{i}")).collect();
    let mut nodes = serde_json::Map::new();
    let (mut datasets, mut folders, mut models) = (vec![json!(1), json!({})], vec![], vec![]);
    for key in &keys {
        let name = if random.below(3) == 0 { NAMES[random.below(NAMES.len())].to_owned() } else { key.clone() };
        let mut edges = || -> Vec<Value> {
            (0..random.below(4))
                .map(|_| keys.get(random.below(count + 1)).map_or(json!("nowhere"), |key| json!(key)))
                .collect()
        };
        let (before, behind) = (edges(), edges());
        let mut node = json!({ "type": KINDS[random.below(KINDS.len())], "ref": name, "predecessors": before, "successors": behind });
        match random.below(12) {
            0 => drop(node.as_object_mut().unwrap().remove("ref")),
            1 => drop(node.as_object_mut().unwrap().remove("predecessors")),
            2 => node["successors"] = json!("k0"),
            3 => node["type"] = Value::Null,
            4 => node["subType"] = json!("python\nx"),
            _ => {}
        }
        let flow = ["NORMAL", "EXPLICIT_REBUILD", "WRITE_PROTECT", "?"][random.below(4)];
        // Lists name what is the project's own without it.
        let name = name.trim_start_matches("P.");
        datasets.push(json!({ "name": name, "flowOptions": { "rebuildBehavior": flow } }));
        folders.push(json!({ "id": name, "name": format!("folder {name}") }));
        models.push(json!({ "id": name }));
        nodes.insert(key.clone(), node);
    }
    project(&json!({ "nodes": nodes }), &json!(datasets), &json!(folders), &json!(models))
}

#[test]
fn whatever_the_flow_the_file_is_sound() {
    let mut written = 0;
    for seed in 1..=2_000 {
        let contents = odd_flow(&mut Random(seed));
        let Ok(text) = import(&contents, &WANTED) else { continue };
        println!("seed {seed}");
        let pipeline = sound(&text);
        written += 1;
        let wrong: Vec<_> = told(&pipeline, contents.clone())
            .into_iter()
            .filter(|(_, warning, message)| !warning && !message.contains("project OTHER"))
            .collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:?}\n{text}");
        // Each thing by itself, with what it is made from.
        for node in pipeline.nodes.values() {
            let only = import(&contents, &Wanted { target: Some(&node.name), ..WANTED }).unwrap();
            assert!(sound(&only).nodes.len() <= pipeline.nodes.len());
        }
    }
    assert!(written > 1_000, "{written} flows have something to write");
}
