//! Rules about the source: floors, packages in their places, size of files, words that do not belong there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The floor of each file or folder of `src`; the longest prefix counts. A file may use lower floors, and its own folder.
const FLOORS: &[(&str, u32)] = &[
    ("base/", 0),
    ("pipeline/", 1),
    ("graph.rs", 2),
    ("select.rs", 2),
    ("select/", 2),
    ("plan/", 3),
    ("draw/", 4),
    ("cause.rs", 4),
    ("event.rs", 4),
    ("outcome.rs", 4),
    ("view.rs", 4),
    ("exit.rs", 4),
    ("clock.rs", 5),
    ("fault.rs", 5),
    ("files.rs", 5),
    ("process.rs", 5),
    ("program.rs", 5),
    ("signal.rs", 5),
    ("stat.rs", 5),
    ("engine/api.rs", 5),
    ("report/api.rs", 5),
    ("store/", 6),
    ("engine/local/guardian/", 6),
    ("engine/local/", 7),
    ("engine/dss/", 6),
    ("engine/scripted.rs", 6),
    ("report/choose.rs", 6),
    ("report/estimate.rs", 6),
    ("report/feed.rs", 6),
    ("report/github.rs", 6),
    ("report/job.rs", 6),
    ("report/jobs.rs", 6),
    ("report/jsonl.rs", 6),
    ("report/junit.rs", 6),
    ("report/line.rs", 6),
    ("report/live.rs", 6),
    ("report/named.rs", 6),
    ("report/names.rs", 6),
    ("report/outlet.rs", 6),
    ("report/output.rs", 6),
    ("report/outputs.rs", 6),
    ("report/past.rs", 6),
    ("report/plain.rs", 6),
    ("report/plan.rs", 6),
    ("report/screen.rs", 6),
    ("report/slow.rs", 6),
    ("report/still.rs", 6),
    ("report/style.rs", 6),
    ("report/summary.rs", 6),
    ("report/tests/", 6),
    ("report/waiting.rs", 6),
    ("run/", 7),
    ("engine/mod.rs", 8),
    ("report/mod.rs", 8),
    ("session/", 9),
    ("server/auth/", 10),
    ("server/error.rs", 10),
    ("server/", 11),
    ("cli/", 12),
    ("lib.rs", 13),
    ("main.rs", 13),
    ("", 99),
];

/// Packages that are named in some places only.
const PLACES: &[(&str, &[&str])] = &[
    ("petgraph", &["graph.rs"]),
    ("reqwest", &["engine/dss/client.rs"]),
    ("rusqlite", &["store/"]),
    ("miette", &["base/span.rs", "cli/"]),
    ("std::env::var", &["cli/", "fault.rs"]),
    ("Timestamp::now", &["clock.rs"]),
    ("println!", &[]),
    ("tokio::spawn", &[]),
];

/// Files that are about the end of the program may be shorter, none may be longer.
const LONGEST: usize = 500;

fn sources() -> BTreeMap<String, String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = BTreeMap::new();
    collect(&src, &src, &mut sources);
    assert!(sources.len() > 30, "the source was not found");
    sources
}

fn collect(root: &Path, folder: &Path, sources: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            sources.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

fn floor(file: &str) -> u32 {
    FLOORS.iter().find(|(prefix, _)| file.starts_with(prefix)).unwrap().1
}

/// The file that a path of modules, such as `run::state::Run`, lies in.
fn file_of(path: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<_> = path.split("::").collect();
    (1..=parts.len()).rev().find_map(|n| {
        let stem = parts[..n].join("/");
        [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|file| sources.contains_key(file))
    })
}

/// The paths behind `use crate::`, with groups taken apart as far as their first names.
fn uses(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for part in text.split("crate::").skip(1) {
        let head: String = part.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
        let head = head.trim_end_matches(':');
        match part[head.len()..].strip_prefix("::{") {
            None => found.push(head.to_owned()),
            Some(group) => {
                let group = group.split('}').next().unwrap_or_default();
                let names = group.split(',').map(|name| name.trim().trim_start_matches("self"));
                found.extend(names.map(|name| format!("{head}::{name}").trim_end_matches(':').to_owned()));
            }
        }
    }
    found
}

#[test]
fn files_use_lower_floors_only() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (file, text) in &sources {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let tests = file.ends_with("tests.rs") || file.contains("/tests/");
        for path in uses(text) {
            let Some(other) = file_of(&path, &sources) else { continue };
            let folder = |file: &str| file.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
            let neighbours =
                folder(file) == folder(&other) || folder(file).starts_with(&format!("{}/", folder(&other)));
            if !tests && floor(&other) >= floor(file) && !(neighbours && floor(&other) == floor(file)) {
                wrong.push(format!("{file} (floor {}) uses {other} (floor {})", floor(file), floor(&other)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_has_a_floor() {
    let lost: Vec<_> = sources().into_keys().filter(|file| floor(file) == 99).collect();
    assert_eq!(lost, [] as [&str; 0]);
}

#[test]
fn packages_stay_in_their_places() {
    for (file, text) in sources() {
        for (package, places) in PLACES {
            let allowed = places.iter().any(|place| file.starts_with(place));
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            let named = code.clone().any(|line| line.contains(package));
            assert!(allowed || !named, "{file} names {package}");
        }
    }
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for (file, text) in sources() {
        assert!(text.starts_with("//! "), "{file} does not say what it is for");
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{file} has {lines} lines");
        for word in ["TODO", "FIXME", "#[allow", "#[ignore", "thread::sleep", "dbg!"] {
            assert!(!text.contains(word), "{file} has {word}");
        }
    }
}

#[test]
fn the_pure_core_is_neither_async_nor_does_it_look_around() {
    for (file, text) in sources() {
        let pure = floor(&file) <= 4
            || [
                "run/cancel.rs",
                "run/slot.rs",
                "run/publish.rs",
                "run/retry.rs",
                "run/schedule.rs",
                "run/setup.rs",
                "run/state.rs",
            ]
            .contains(&file.as_str());
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code.filter(|_| pure && file != "exit.rs") {
            for word in ["async ", ".await", "std::fs", "std::env", "Instant", "tokio"] {
                assert!(!line.contains(word), "{file}: {line}");
            }
        }
    }
}
