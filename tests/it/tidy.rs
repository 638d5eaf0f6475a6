//! Rules about the source: floors, packages in their places, size of files, words that do not belong there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

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

/// What lies in the folder of the project.
const ROOT: [&str; 22] = [
    ".ci",
    ".config",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "clippy.toml",
    "deny.toml",
    "docs",
    "examples",
    "fuzz",
    "pipelines",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "schemas",
    "src",
    "tests",
];

/// The kinds of file in `src`, with those that git does not keep.
const KINDS: [&str; 6] = ["rs", "css", "js", "svg", "toml", "pending-snap"];

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

/// The floor of each file or folder of `src`, as the table in ARCHITECTURE.md has it. A file may use lower floors, and its own
/// folder.
static FLOORS: LazyLock<Vec<(String, u32)>> = LazyLock::new(|| {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md")).unwrap();
    let mut floors = Vec::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| ")) {
        let mut cells = row.split(" | ");
        let (Some(Ok(floor)), Some(files)) = (cells.next().map(str::parse), cells.next()) else { continue };
        floors.extend(files.split('`').skip(1).step_by(2).map(|file| (file.to_owned(), floor)));
    }
    floors
});

/// The floor of a file, by the longest name in the table that fits.
fn floor(file: &str) -> Option<u32> {
    let fits = FLOORS.iter().filter(|(name, _)| file.starts_with(name.as_str()));
    fits.max_by_key(|(name, _)| name.len()).map(|(_, floor)| *floor)
}

/// The file that a path of modules, such as `run::state::Run`, lies in.
fn file_of(path: &str, sources: &BTreeMap<String, String>) -> Option<String> {
    let parts: Vec<_> = path.split("::").collect();
    (1..=parts.len()).rev().find_map(|n| {
        let stem = parts[..n].join("/");
        [format!("{stem}.rs"), format!("{stem}/mod.rs")].into_iter().find(|file| sources.contains_key(file))
    })
}

/// The paths behind this root, such as `crate`, with groups taken apart.
fn paths(text: &str, root: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(&format!("{root}::")) {
        if !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            take_apart(String::new(), &mut &text[at + root.len() + 2..], &mut found);
        }
    }
    found
}

/// The paths of what is used by a tree such as `a::{b, c::{d, self}}`, which ends where no more of it can follow.
fn take_apart(head: String, text: &mut &str, found: &mut Vec<String>) {
    let length = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(text.len());
    let (path, rest) = text.split_at(length);
    let path = format!("{head}{path}");
    let Some(group) = rest.strip_prefix('{').filter(|_| path.is_empty() || path.ends_with("::")) else {
        *text = rest;
        return found.push(path.trim_end_matches("::self").trim_end_matches(':').to_owned());
    };
    *text = group;
    while let Some(next) = text.find(|c: char| c == '}' || c == '{' || c == '_' || c.is_alphanumeric()) {
        *text = &text[next..];
        if let Some(rest) = text.strip_prefix('}') {
            *text = rest;
            return;
        }
        take_apart(path.clone(), text, found);
        // What it is called here does not matter.
        *text = &text[text.find([',', '}']).unwrap_or(text.len())..];
    }
}

#[test]
fn groups_are_taken_apart() {
    let text = "use std::{fs, io::{self, Write as _}};\nlet now = std::time::Instant::now();\nuse mystd::fs;";
    assert_eq!(paths(text, "std"), ["fs", "io", "io::Write", "time::Instant::now"]);
    let text = "use crate::run::{\n    state::{Run, slot},\n    *,\n};\npub(in crate::a) fn b(c: crate::d::E<'_>) {}";
    assert_eq!(paths(text, "crate"), ["run::state::Run", "run::state::slot", "a", "d::E"]);
}

#[test]
fn files_use_lower_floors_only() {
    let sources = sources();
    let mut wrong = Vec::new();
    for (file, text) in &sources {
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let tests = file.ends_with("tests.rs") || file.contains("/tests/");
        for path in paths(text, "crate") {
            let Some(other) = file_of(&path, &sources) else { continue };
            let folder = |file: &str| file.rsplit_once('/').map(|(folder, _)| folder.to_owned()).unwrap_or_default();
            let neighbours =
                folder(file) == folder(&other) || folder(file).starts_with(&format!("{}/", folder(&other)));
            if !tests && floor(&other) >= floor(file) && !(neighbours && floor(&other) == floor(file)) {
                wrong.push(format!("{file} (floor {:?}) uses {other} (floor {:?})", floor(file), floor(&other)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_has_a_floor() {
    let lost: Vec<_> = sources().into_keys().filter(|file| floor(file).is_none()).collect();
    assert_eq!(lost, [] as [&str; 0]);
}

/// What somebody tried out in a checkout is not committed with the rest.
#[test]
fn nothing_lies_about() {
    fn walk(folder: &Path, strange: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            let known = path.extension().is_some_and(|extension| KINDS.iter().any(|kind| extension == *kind));
            match kind.is_dir() {
                true => walk(&path, strange),
                false if kind.is_file() && known => {}
                false => strange.push(path),
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // What is not in an archive of the source was not committed either.
    let tracked = Command::new("git").arg("-C").arg(root).arg("ls-files").output();
    let tracked = tracked.map(|listed| String::from_utf8_lossy(&listed.stdout).into_owned()).unwrap_or_default();
    let top = |file: &&str| file.split('/').next().is_some_and(|top| !ROOT.contains(&top));
    let mut strange: Vec<PathBuf> = tracked.lines().filter(top).map(PathBuf::from).collect();
    walk(&root.join("src"), &mut strange);
    assert_eq!(strange, [] as [PathBuf; 0]);
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

/// What the pure core does not use: whatever looks around, waits or has an effect.
const IMPURE: &[(&str, &[&str])] = &[
    ("std", &["env", "fs", "io::stderr", "io::stdin", "io::stdout", "net", "os", "process", "thread"]),
    ("std", &["time::Instant", "time::SystemTime", "time::UNIX_EPOCH"]),
    (
        "crate",
        &["clock", "engine::local", "engine::dss", "fault", "files", "process", "program", "signal", "stat", "store"],
    ),
];

/// The same by other words, wherever they stand.
const LOOKS: [&str; 14] = [
    "tokio",
    "futures",
    "rustix",
    "async ",
    ".await",
    "::now()",
    "TimeZone::system",
    ".exists()",
    ".is_dir()",
    ".is_file()",
    ".metadata()",
    ".symlink_metadata()",
    ".canonicalize()",
    ".read_dir()",
];

/// The files of higher floors that are pure too.
const PURE: [&str; 7] = [
    "run/cancel.rs",
    "run/slot.rs",
    "run/publish.rs",
    "run/retry.rs",
    "run/schedule.rs",
    "run/setup.rs",
    "run/state.rs",
];

#[test]
fn the_pure_core_is_neither_async_nor_does_it_look_around() {
    for (file, text) in sources() {
        let is_pure = floor(&file).is_some_and(|floor| floor <= 4) || PURE.contains(&file.as_str());
        if !is_pure || file == "exit.rs" {
            continue;
        }
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for line in &code {
            assert!(LOOKS.iter().all(|word| !line.contains(word)), "{file}: {line}");
        }
        let code = code.join("\n");
        for (root, places) in IMPURE {
            assert!(!code.contains(&format!("use {root} as ")) && !code.contains(&format!("use {root};")), "{file}");
            for path in paths(&code, root) {
                // What is named whole is all that is in it.
                let within = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}::"));
                let is_in = |place: &&&str| path.is_empty() || within(&path, place) || within(place, &path);
                assert_eq!(places.iter().find(is_in), None, "{file}: {root}::{path}");
            }
        }
    }
}
