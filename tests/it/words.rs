//! What is said to people who come with the words of other tools, or with paths where names are meant; how command lines are read.

use std::ffi::OsString;

use clap::Parser;
use kiln::cli::args::Cli;

use crate::support::{Project, copy, started};

const TEXT: &str = "[dataset.raw]\npath = \"data/raw.csv\"\n\
                    [dataset.up]\npath = \"out/up.csv\"\ninputs = [\"raw\"]\ntags = [\"daily\"]\nrun = 'tr a-z A-Z <{{ inputs.raw }} >{{ output }}'\n\
                    [folder.parts]\npath = \"out/parts\"\ninputs = [\"up\"]\nrun = 'cp {{ inputs.up }} {{ output }}'\n";

fn project() -> Project {
    let project = Project::new(TEXT);
    project.write("data/raw.csv", "a\n");
    project
}

#[test]
fn the_words_of_other_tools_are_answered_with_those_of_kiln() {
    let project = project();
    for (arguments, hint) in [
        (&["build"][..], "tip: `kiln run` builds what is out of date"),
        (&["rn"], "tip: `kiln run` builds what is out of date"),
        (&["status"], "tip: `kiln plan` says what is out of date"),
        (&["dag"], "tip: `kiln plan --format svg"),
        (&["clean"], "tip: `kiln gc` takes old runs out of the history; outputs are files"),
        (&["help"], "tip: `kiln --help`, `kiln run --help`"),
        (&["run", "-B"], "tip: `--mode forced` builds whatever the state"),
        (&["run", "--forced"], "tip: `--mode forced` builds whatever the state"),
        (&["plan", "--failed"], "tip: `kiln run -n --failed` says"),
        (&["rnu"], "tip: did you mean `run`?"),
        (&["watch"], "tip: `kiln jobs log last --follow` prints"),
        (&["jobs", "watch"], "tip: `kiln jobs log last --follow` prints"),
        (&["jobs", "hsow"], "tip: a similar subcommand exists: 'show'"),
        (&["plan", "-o", "x.svg"], "tip: `>` takes what is printed: kiln plan --format svg >plan.svg"),
        (&["run", "--max-fail", "-1"], "tip: no number is below 0 here"),
        (&["jobs", "status"], "tip: `kiln jobs show ID` says how a run went"),
        (&["jobs", "retry"], "tip: `kiln run --failed` builds what the last run did not get done"),
        (&["metrics"], "tip: `kiln jobs show last` says how long each step took"),
        (&["repro"], "tip: `kiln run` builds what is out of date"),
        (&["docs"], "tip: `kiln man` prints how Kiln is used"),
        (&["list", "--stale"], "tip: `kiln plan` says what is out of date, `kiln run` builds it"),
        (&["jobs", "cancel"], "tip: `kiln jobs abort ID` ends a run"),
        (&["jobs", "list", "--state", ".kiln"], "`--state-dir .kiln` says where history and logs are kept"),
        (
            &["run", "up", "--failed"],
            "tip: targets or --failed, not both: it takes what an earlier run did not get done",
        ),
        // Where nothing is known, what is spelled alike is still said.
        (&["jobs", "lst"], "tip: a similar subcommand exists: 'list'"),
        (&["run", "--fialed"], "tip: a similar argument exists: '--failed'"),
    ] {
        let said = project.expect(2, arguments).err;
        assert!(said.contains(hint) && said.matches("tip: ").count() == 1, "{arguments:?}\n{said}");
    }
    let said = project.expect(4, &["run", "tag:dayly"]).err;
    assert!(said.contains("no step matches tag:dayly; did you mean `tag:daily`?"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_told_with_those_that_are() {
    let project = project();
    for (file, hint) in [("pipelin.toml", "did you mean `pipeline.toml`?"), ("zzz", "there is pipeline.toml")] {
        let said = project.expect(2, &["run", "-f", file]).err;
        assert_eq!(said, format!("error: {file} cannot be read: there is no such file\n  help: {hint}\n"));
        assert_eq!(project.expect(2, &["check", file]).out, said);
    }
    // What lies in a folder above is about something else.
    std::fs::create_dir(project.path("empty")).unwrap();
    let output = project.command(&["run", "-f", "zzz"]).current_dir(project.path("empty")).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "error: zzz cannot be read: there is no such file\n");
}

#[test]
fn names_of_files_steer_no_terminal() {
    let text = "[dataset.a]\npath = \"a\"\nfiles = [\"src/*\"]\nrun = 'echo a >{{ output }}'\n";
    let project = Project::new(text);
    project.write("src/line\nbreak", "1");
    project.write("src/e\u{1b}[31mvil", "1");
    for change in ["2", "3"] {
        project.expect(0, &["run"]);
        project.write("src/line\nbreak", change);
        project.write("src/e\u{1b}[31mvil", change);
        for arguments in [&["why", "a"][..], &["plan"], &["jobs", "show", "last"], &["run", "-n"]] {
            let said = project.expect(0, arguments).out;
            assert!(!said.contains('\u{1b}') && !said.contains("line\nbreak"), "{arguments:?} {said}");
        }
        assert!(project.expect(0, &["why", "a"]).out.contains(r"src/e\u{1b}[31mvil "));
    }
}

#[test]
fn a_path_of_a_node_is_as_good_as_its_name() {
    let project = project();
    let run = project.expect(0, &["run", "./out/up.csv", "--events", "-"]).out;
    assert_eq!(started(&run), ["up"]);
    let run = project.expect(0, &["run", "data/raw.csv+", "--mode", "forced", "--events", "-"]).out;
    assert_eq!(started(&run), ["parts", "up"]);
    let whole = project.path("out/parts/").display().to_string();
    let plan = project.expect(0, &["plan", &format!("+{whole}"), "--mode", "only"]).out;
    assert!(plan.contains("parts") && plan.contains("up"), "{plan}");
    assert!(project.expect(0, &["why", "out/up.csv"]).out.starts_with("up "));
    assert!(project.expect(0, &["why", "data/raw.csv"]).out.starts_with("raw: a source"));
    assert!(project.expect(0, &["show", "out/up.csv"]).out.starts_with("up "));
    assert!(project.expect(0, &["adopt", "out/up.csv"]).out.contains("1 up to date"));
    // Seen from the folder in which somebody stands.
    let mut command = project.command(&["run", "-f", "../pipeline.toml", "up.csv", "--events", "-", "--mode", "only"]);
    let output = command.current_dir(project.path("out")).output().unwrap();
    assert_eq!(started(&String::from_utf8(output.stdout).unwrap()), ["up"]);
    // The history has names.
    assert!(project.expect(0, &["jobs", "show", "last"]).out.contains("targets  up\n"));
    for path in ["out/up.cs", "out", "../out/up.csv", "pipeline.toml"] {
        let said = project.expect(2, &["run", path]).err;
        assert!(said.contains(&format!("unknown target `{path}`")), "{said}");
    }
}

#[test]
fn two_that_share_a_history_are_told_so() {
    let mut project = project();
    project.write("other/data/raw.csv", "a\n");
    project.write("other/pipeline.toml", project.read("pipeline.toml"));
    project.variable("KILN_STATE", &project.path("state").display().to_string());
    for arguments in [&["check"][..], &["run"], &["run"], &["check"]] {
        assert_eq!(project.expect(0, arguments).err, "", "{arguments:?}");
    }
    for arguments in [&["check", "other/pipeline.toml"][..], &["run", "-f", "other/pipeline.toml"]] {
        let said = project.expect(0, arguments).err;
        let first = project.path("pipeline.toml").canonicalize().unwrap();
        assert!(said.starts_with("note: the history in "), "{said}");
        assert!(said.contains(&format!("is also that of the pipeline `p` in {}:", first.display())), "{said}");
    }
    // Once the first is gone, or has another name, there is only one.
    project.write("pipeline.toml", project.read("pipeline.toml").replace("\"p\"", "\"q\""));
    for arguments in [&["run", "-f", "other/pipeline.toml"][..], &["run"], &["run", "-f", "other/pipeline.toml"]] {
        assert_eq!(project.expect(0, arguments).err, "", "{arguments:?}");
    }
}

#[test]
fn a_copy_with_its_history_shares_nothing() {
    let project = project();
    project.expect(0, &["run"]);
    let twin = Project::empty();
    copy(&project.path(""), &twin.path(""));
    for arguments in [&["check"][..], &["run"], &["check"]] {
        assert_eq!(twin.expect(0, arguments).err, "", "{arguments:?}");
    }
    // The first one goes on with its own.
    assert_eq!(project.expect(0, &["run"]).err, "");
}

#[test]
fn what_was_built_in_the_future_is_built_again_where_its_age_counts() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrebuild = \"20h\"\nrun = 'echo a >{{ output }}'\n");
    project.expect(0, &["run"]);
    let store = rusqlite::Connection::open(project.path(".kiln/kiln.db")).unwrap();
    let at = |time: &str| store.execute("UPDATE keys SET built_at = ?1", [time]).unwrap();
    at("2099-01-01T00:00:00.000Z");
    let plan = project.expect(0, &["plan"]).out;
    assert!(plan.contains("may be older than 20h: built 2099-01-01T00:00:00Z, which is yet to come"), "{plan}");
    let events = project.expect(0, &["run", "--events", "-"]).out;
    assert_eq!(started(&events), ["a"]);
    project.expect(0, &["plan", "--check"]);
    // Of clocks of two machines one is always ahead of the other a little.
    at(&(jiff::Timestamp::now() + jiff::SignedDuration::from_secs(30)).to_string());
    project.expect(0, &["plan", "--check"]);
}

#[test]
fn a_command_line_of_run_is_read_the_same_by_itself_and_as_a_whole() {
    let lines = [
        "run",
        "run a +b tag:c --mode forced -j 4 --schedule eager",
        "run -kn --var x=1 --var y=2 -f p.toml -vv --color never --state s",
        "run --failed",
        "run --failed ID --timeout 2h --events - --output all",
        "run -- -x",
        "run a --failed",
        "run --help",
        "run -h",
        "run --version",
        "run --fialed",
        "run -j 0",
        "run plan",
        "-f p.toml run a",
        "plan a",
        "",
    ];
    for line in lines {
        let words = || std::iter::once("kiln").chain(line.split_whitespace()).map(OsString::from);
        let (one, whole) = (Cli::read(words()), Cli::try_parse_from(words()));
        let told =
            |read: Result<Cli, clap::Error>| read.map(|cli| format!("{cli:?}")).map_err(|error| error.to_string());
        assert_eq!(told(one), told(whole), "kiln {line}");
    }
}
