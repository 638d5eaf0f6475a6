//! What has to be true of a project whatever happened to the Kilns that built it: checked against what the recipes really
//! did, which they write down themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::support::{Project, lines};

/// What the recipes write down: that they begin and end, and for which place.
const TOLD: &str = "told";

/// A pipeline of every kind of recipe: two outputs, a folder, one that writes in place, one that is tried again, a task.
/// What each makes tells the version of the source, so that a mixture is seen; each takes a moment between two halves.
pub(crate) fn project() -> Project {
    let tell = "told() { echo \"$1 ${KILN_OUTPUT:-${2:-none}}\" >>told; }; v=$(cat src);";
    let project = Project::new(&format!(
        r#"
[dataset.src]
path = "src"
[dataset.one]
path = "out/one"
inputs = ["src"]
run = '''{tell} told begin-one; echo "one $v" >{{{{ output }}}}; echo end >>{{{{ output }}}}; told end-one'''
[dataset.train]
path = "out/train"
[dataset.test]
path = "out/test"
[recipe.split]
inputs = ["one"]
outputs = ["train", "test"]
run = '''{tell} told begin-split {{{{ outputs.train }}}}; echo "train $v" >{{{{ outputs.train }}}}; echo end >>{{{{ outputs.train }}}}
echo "test $v" >{{{{ outputs.test }}}}; echo end >>{{{{ outputs.test }}}}; told end-split {{{{ outputs.train }}}}'''
[folder.charts]
path = "out/charts"
inputs = ["one"]
run = '''{tell} told begin-charts; echo "charts $v" >{{{{ output }}}}/a; echo end >>{{{{ output }}}}/a; echo "charts $v" >{{{{ output }}}}/b-$v
echo end >>{{{{ output }}}}/b-$v; told end-charts'''
[dataset.place]
path = "out/place"
inputs = ["one"]
in_place = true
run = '''{tell} told begin-place; echo "place $v" >{{{{ output }}}}; echo end >>{{{{ output }}}}; told end-place'''
[dataset.flaky]
path = "out/flaky"
inputs = ["src"]
retry = {{ max = 1, delay = "0s" }}
run = '''{tell} told begin-flaky; [ -e "tried-$v" ] || {{ echo >"tried-$v"; exit 1; }}; echo "flaky $v" >{{{{ output }}}}; echo end >>{{{{ output }}}}; told end-flaky'''
[task.publish]
inputs = ["train", "test", "charts", "place", "flaky"]
run = '''{tell} told begin-publish; cat {{{{ inputs.train }}}} {{{{ inputs.place }}}} >/dev/null; told end-publish'''
"#
    ));
    project.write("src", "1\n");
    project
}

/// The steps, each with what it needs.
const STEPS: [(&str, &[&str]); 6] = [
    ("one", &[]),
    ("split", &["one"]),
    ("charts", &["one"]),
    ("place", &["one"]),
    ("flaky", &[]),
    ("publish", &["split", "charts", "place", "flaky"]),
];

/// The outputs of a step as they are to be for a version of the source.
fn outputs(step: &str, version: &str) -> BTreeMap<String, String> {
    let file = |path: &str, word: &str| (format!("out/{path}"), format!("{word} {version}\nend\n"));
    match step {
        "split" => BTreeMap::from([file("train", "train"), file("test", "test")]),
        "charts" => BTreeMap::from([file("charts/a", "charts"), file(&format!("charts/b-{version}"), "charts")]),
        "publish" => BTreeMap::new(),
        one => BTreeMap::from([file(one, one)]),
    }
}

/// What stands at the places of a step's outputs.
fn standing(project: &Project, step: &str) -> BTreeMap<String, String> {
    let paths: Vec<String> = match step {
        "split" => vec!["out/train".to_owned(), "out/test".to_owned()],
        "charts" => {
            let entries = fs::read_dir(project.path("out/charts")).into_iter().flatten().flatten();
            entries.map(|entry| format!("out/charts/{}", entry.file_name().to_str().unwrap())).collect()
        }
        "publish" => Vec::new(),
        one => vec![format!("out/{one}")],
    };
    let found =
        paths.into_iter().filter_map(|path| Some((path.clone(), fs::read_to_string(project.path(&path)).ok()?)));
    found.collect()
}

/// What is left of a Kiln that died, before another one has looked: nothing that counts as done is half, or a mixture, or
/// not what it is made from. `shown` are the events that it had shown.
pub(crate) fn after_death(project: &Project, shown: &str) {
    acknowledged(project, shown);
    let version = project.read("src").trim().to_owned();
    let plan = project.expect(0, &["plan", "--format", "json"]).out;
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter();
    let open: BTreeSet<&str> =
        steps.filter(|step| step["action"] != "skip").map(|step| step["id"].as_str().unwrap()).collect();
    for (step, _) in STEPS.iter().filter(|(step, _)| !open.contains(step)) {
        let (found, wanted) = (standing(project, step), outputs(step, &version));
        // What a dead run was about to put in place counts, and is put in place by the next one.
        if !publishing(project, step) {
            assert_eq!(found, wanted, "{step} counts as done");
        }
    }
    for (step, _) in STEPS.iter().filter(|(step, _)| !["place", "charts"].contains(step)) {
        for (path, text) in standing(project, step) {
            assert!(text.ends_with("end\n"), "{path} is half: {text:?}");
        }
    }
}

fn database(project: &Project) -> rusqlite::Connection {
    rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap()
}

fn publishing(project: &Project, step: &str) -> bool {
    let found =
        database(project).query_row("SELECT count(*) FROM publishing WHERE step = ?1", [step], |row| row.get(0));
    found.unwrap_or(0) > 0
}

/// What was shown is kept, in its order.
fn acknowledged(project: &Project, shown: &str) {
    // The last line may be cut by the death.
    let whole = &shown[..shown.rfind('\n').map_or(0, |end| end + 1)];
    let shown = lines(whole);
    let Some(first) = shown.first() else { return };
    let kept = lines(&project.expect(0, &["jobs", "show", first["job"].as_str().unwrap(), "--format", "json"]).out);
    assert_eq!(&kept[..shown.len().min(kept.len())], &shown[..]);
}

/// What is true once a Kiln has built everything: all is of this version, nothing is left over, nothing was lost or done
/// twice, and there is nothing more to do.
pub(crate) fn after_all(project: &Project) {
    let version = project.read("src").trim().to_owned();
    for (step, _) in STEPS {
        assert_eq!(standing(project, step), outputs(step, &version), "{step}");
    }
    told(&project.read(TOLD), &version);
    let jobs: Value = serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap();
    for (i, job) in jobs.as_array().unwrap().iter().enumerate() {
        let state = job["state"].as_str().unwrap();
        assert!(if i == 0 { state == "DONE" } else { state != "RUNNING" }, "{job}");
    }
    let staging = fs::read_dir(project.path(".kiln/staging/p")).map_or(0, Iterator::count);
    assert_eq!(staging, 0, "something staged is left over");
    let check: String = database(project).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let before = project.tree();
    assert_eq!(project.expect(0, &["run"]).out.lines().last().unwrap().split(" · ").next(), Some("nothing to do"));
    assert_eq!(project.tree(), before);
    assert_eq!(processes_in(&project.path("")), [] as [String; 0]);
}

/// What the recipes wrote down: no attempt was started twice, none before what it needs had ended in this version.
fn told(text: &str, version: &str) {
    let mut begun = BTreeSet::new();
    let mut ended: BTreeSet<&str> = BTreeSet::new();
    for line in text.lines() {
        if let Some(new) = line.strip_prefix("version ") {
            ended.clear();
            assert!(new.parse::<u32>().unwrap() <= version.parse().unwrap());
            continue;
        }
        let (what, place) = line.split_once(' ').unwrap();
        let (kind, step) = what.split_once('-').unwrap();
        match kind {
            "begin" => {
                let (_, needs) = STEPS.iter().find(|(name, _)| *name == step).unwrap();
                let missing: Vec<_> = needs.iter().filter(|need| !ended.contains(*need)).collect();
                assert!(missing.is_empty(), "{step} began before {missing:?} had ended:\n{text}");
                // The place tells the run; a step that writes in place or is tried again has the same one each time.
                let once = !["place", "flaky", "publish"].contains(&step);
                assert!(!once || begun.insert(line), "{line} twice:\n{text}");
            }
            _ => {
                assert!(!place.is_empty() || step == "publish");
                ended.insert(step);
            }
        }
    }
}

/// Changes the source, and has the recipes' own record say so.
pub(crate) fn change(project: &Project, version: u32) {
    project.write("src", format!("{version}\n"));
    let told = fs::read_to_string(project.path(TOLD)).unwrap_or_default();
    project.write(TOLD, format!("{told}version {version}\n"));
}

/// The processes that work in a folder.
fn processes_in(folder: &Path) -> Vec<String> {
    let folder = folder.canonicalize().unwrap();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let here =
        entries.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&folder)));
    here.map(|entry| fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default().replace('\0', " ")).collect()
}
