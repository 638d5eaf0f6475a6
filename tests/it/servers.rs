//! What build servers are told: a report of tests for all that read JUnit's XML, annotations and the page of a job for GitHub.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;

use rustix::process::{Pid, Signal, kill_process};

use crate::running::{hear, pipe, tell};
use crate::support::{Project, lines};

const MIXED: &str = "[dataset.a]\npath = \"a\"\nrun = 'echo a >{{ output }}'\n\
                     [dataset.b]\npath = \"b\"\ninputs = [\"a\"]\nrun = 'echo ::error::forged; test -e ok; echo b >{{ output }}'\n\
                     [dataset.c]\npath = \"c\"\ninputs = [\"b\"]\nrun = 'echo c >{{ output }}'\n";

#[test]
fn a_report_of_tests_says_how_each_step_ended() {
    let project = Project::new(MIXED);
    project.expect(1, &["run", "--junit", "kiln.xml", "--events", "events.jsonl"]);
    let report = project.read("kiln.xml");
    assert!(report.contains("tests=\"3\" skipped=\"1\" failures=\"1\" errors=\"0\""), "{report}");
    assert!(report.contains("<failure message=\"exit 1\" type=\"exit\">FAILED b"), "{report}");
    assert!(report.contains("<skipped message=\"b failed\"/>"), "{report}");
    project.write("ok", "");
    project.expect(0, &["run", "--junit", "kiln.xml"]);
    assert!(project.read("kiln.xml").contains("tests=\"2\" skipped=\"0\" failures=\"0\" errors=\"0\""));
    // Remembered or not, that there is nothing to do.
    for _ in 0..3 {
        project.expect(0, &["run", "--junit", "kiln.xml"]);
        let report = project.read("kiln.xml");
        assert!(report.contains("tests=\"0\"") && report.contains("name=\"up-to-date\" value=\"3\""), "{report}");
    }
}

#[test]
fn where_no_run_could_begin_no_earlier_report_is_left() {
    let project = Project::new(MIXED);
    project.write("ok", "");
    let report = ["run", "--junit", "kiln.xml", "--events", "events.jsonl"];
    let text = project.read("pipeline.toml");
    for (text, more, code) in [
        (format!("{text}[["), &[][..], 2),
        (text.clone(), &["nonsense"], 2),
        (text.clone(), &["tag:none"], 4),
        (text.clone(), &["--state", "ok"], 3),
        (
            format!("{text}[dataset.d]\npath = \"d\"\ninputs = [\"s\"]\nrun = 'true'\n[dataset.s]\npath = \"s\"\n"),
            &[],
            2,
        ),
    ] {
        project.pipeline(MIXED);
        project.expect(0, &report);
        assert!(project.read("kiln.xml").ends_with("</testsuites>\n"));
        project.write("pipeline.toml", &text);
        project.expect(code, &[&report, more].concat());
        let report = project.read("kiln.xml");
        assert!(report.contains("tests=\"1\" skipped=\"0\" failures=\"0\" errors=\"1\""), "{more:?}: {report}");
        assert!(report.ends_with("</testsuites>\n"), "{more:?}: {report}");
        assert_eq!(project.read("events.jsonl"), "", "{more:?}");
    }
}

#[test]
fn what_keeps_a_run_from_beginning_is_reported() {
    let project = job("[dataset.a]\npath = \"a\"\nruns = 'true'\nfoo = 1\n");
    project.write("page.md", "before\n");
    project.expect(2, &["run", "--junit", "kiln.xml"]);
    let report = project.read("kiln.xml");
    let test = "<testcase name=\"the run\" classname=\"pipeline.toml\" file=\"pipeline.toml\" line=\"8\">";
    assert!(report.contains(test), "{report}");
    assert!(
        report.contains("<error message=\"pipeline.toml:8: unknown key `runs` in [dataset.a]; did you mean"),
        "{report}"
    );
    assert!(report.contains("pipeline.toml:9: unknown key `foo` in [dataset.a]"), "{report}");
    let page = project.read("page.md");
    assert!(
        page.starts_with("before\n### pipeline.toml: the run could not begin\n\n```text\npipeline.toml:8: "),
        "{page}"
    );
    // A source that is not there is found when the run has its lock.
    project.pipeline("[dataset.s]\npath = \"s\"\n[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = 'true'\n");
    project.expect(2, &["run", "--junit", "kiln.xml"]);
    let report = project.read("kiln.xml");
    assert!(report.contains("errors=\"1\"") && report.contains("file=\"pipeline.toml\""), "{report}");
    assert_eq!(project.read("page.md").matches("the run could not begin").count(), 2);
}

#[test]
fn a_report_replaces_nothing_but_reports() {
    let project = Project::new(MIXED);
    project.write("other.xml", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<orders/>\n");
    let before = project.tree();
    for file in ["pipeline.toml", "other.xml"] {
        let said = project.expect(2, &["run", "--junit", file]);
        assert!(said.err.contains(&format!("--junit {file}: the file is there and holds no report")), "{}", said.err);
    }
    project.expect(2, &["run", "--junit", "no/such/folder/kiln.xml"]);
    for same in ["kiln.xml", "./kiln.xml", "-"] {
        let other = if same == "-" { "/dev/stdout" } else { "kiln.xml" };
        let said = project.expect(2, &["run", "--junit", other, "--events", same]);
        assert!(said.err.contains(&format!("--events and --junit: both are {other}")), "{}", said.err);
    }
    assert!(project.read("kiln.xml").contains("both are kiln.xml"));
    std::fs::remove_file(project.path("kiln.xml")).unwrap();
    assert_eq!(project.tree(), before, "nothing was begun");
}

#[test]
fn a_report_is_nothing_that_is_read() {
    let text = "[folder.s]\npath = \"data\"\n[folder.l]\npath = \"l\"\n[dataset.e]\npath = \"e.jsonl\"\n\
                [dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nfiles = [\"code\", \"lib/**/*.x\", \"**/*.y\"]\n\
                run = 'ls data >{{ output }}'\n[task.t]\ninputs = [\"l\", \"e\"]\nrun = \"true\"\n";
    let project = Project::new(text);
    for path in ["data/in/x", "code/x", "lib/in/x", "far/x", "logs/x", "e.jsonl"] {
        project.write(path, "");
    }
    std::os::unix::fs::symlink("far", project.path("l")).unwrap();
    let (source, files) = ("is read as source `", "`a` reads ");
    for _ in 0..2 {
        let before = project.tree();
        for (file, why) in [
            ("data/e", format!("data {source}s`")),
            ("data/in/e", format!("data {source}s`")),
            ("far/e", format!("l {source}l`")),
            ("l/e", format!("l {source}l`")),
            ("e.jsonl", format!("e.jsonl {source}e`")),
            ("code/e", format!("{files}code by its `files`")),
            ("lib/in/e.x", format!("{files}lib/**/*.x by its `files`")),
            ("logs/e.y", format!("{files}**/*.y by its `files`")),
        ] {
            for option in ["--events", "--junit"] {
                let said = project.expect(2, &["run", option, file]).err;
                let why = format!("error: {option} {file}: {why}, and would find it changed by each run\n");
                assert!(said.contains(&format!("{why}  help: name a file beside what the pipeline reads")), "{said}");
            }
        }
        assert_eq!(project.tree(), before);
        // Nothing of these is read.
        for file in ["lib/in/e", "logs/e"] {
            project.expect(0, &["run", "--events", file]);
            let again = project.expect(0, &["run", "--events", file]).out;
            assert!(again.contains("2 up to date"), "{file}: {again}");
            std::fs::remove_file(project.path(file)).unwrap();
        }
        std::fs::remove_file(project.path("a")).ok();
    }
}

#[test]
fn a_report_lies_beside_what_is_built() {
    let empty = "[dataset.e]\npath = \"e\"\nrun = '>{{ output }}'\n";
    let folder = "[folder.f]\npath = \"out/f\"\nrun = 'echo a >{{ output }}/a'\n";
    for text in [empty.to_owned(), format!("{folder}{empty}")] {
        let project = Project::new(&text);
        project.write("out/own", "");
        std::os::unix::fs::symlink("out", project.path("link")).unwrap();
        let refused = |file: &str, of: &str| {
            let before = project.tree();
            let said = project.expect(2, &["run", "--junit", file]).err;
            let why = format!("{file}: {of} is built, and replaced as a whole");
            assert!(said.contains(&format!("error: --junit {why}\n  help: name a file beside")), "{said}");
            assert_eq!(project.tree(), before);
            project.expect(2, &["run", "--events", file, "--junit", "kiln.xml"]);
            assert!(project.read("kiln.xml").contains(&format!("--events {why}")));
            std::fs::remove_file(project.path("kiln.xml")).unwrap();
            assert_eq!(project.tree(), before);
        };
        let has_folder = text.contains("folder");
        if has_folder {
            ["out", "out/f", "out/f/r.xml"].iter().for_each(|file| refused(file, "out/f"));
        }
        // Never built, built, and remembered.
        for _ in 0..3 {
            refused("e", "e");
            project.expect(0, &["run", "--junit", "kiln.xml"]);
            std::fs::remove_file(project.path("kiln.xml")).unwrap();
            if has_folder {
                ["out/f/r.xml", "link/f/r.xml"].iter().for_each(|file| refused(file, "out/f"));
            }
        }
        // The same where the output is behind the link.
        project.pipeline(&text.replace("out/f", "link/f"));
        if has_folder {
            ["out/f", "out/f/r.xml", "link/f/r.xml"].iter().for_each(|file| refused(file, "link/f"));
        }
    }
}

#[test]
fn a_report_does_not_lie_where_kiln_keeps_its_state() {
    let project = Project::new("[dataset.e]\npath = \"e\"\nrun = '>{{ output }}'\n");
    project.expect(0, &["run"]);
    project.expect(0, &["run", "--state", "far"]);
    project.write("sub/.kiln/own", "");
    std::os::unix::fs::symlink(".kiln", project.path("link")).unwrap();
    for option in ["--junit", "--events"] {
        for file in [".kiln/kiln.db-wal", ".kiln/new", "link/new", ".kiln/locks/p.claim", "sub/.kiln/own", "far/new"] {
            let said = project.expect(2, &["run", "--state", "far", option, file]).err;
            assert!(said.contains(&format!("error: {option} {file}: it lies where Kiln keeps its state\n")), "{said}");
        }
    }
    assert!(![".kiln/new", "far/new"].iter().any(|file| project.exists(file)));
    project.expect(0, &["run"]);
    // Around where Kiln works there may be anything.
    project.write("a/.kiln/b/pipeline.toml", project.read("pipeline.toml"));
    project.expect(0, &["-C", "a/.kiln/b", "run", "--junit", "kiln.xml"]);
}

#[test]
fn of_two_reports_that_are_refused_neither_is_written() {
    let project = Project::new(
        "[folder.s]\npath = \"s\"\n[folder.a]\npath = \"out\"\ninputs = [\"s\"]\nrun = 'cp s/x {{ output }}/x'\n",
    );
    project.write("s/x", "data");
    project.expect(0, &["run"]);
    let before = (project.tree(), project.read("pipeline.toml"));
    // Where a report may lie in what is read or built is known only once the file was read.
    for (one, other, mistake) in [
        (".kiln/e", "pipeline.toml", Some("--nonsense")),
        (".kiln/e", "pipeline.toml", None),
        (".kiln/e", "s/x", Some("--nonsense")),
        (".kiln/e", "s/x", None),
        ("out/e", "s/e", None),
    ] {
        for (events, junit) in [(one, other), (other, one)] {
            let mut arguments = vec!["run", "--events", events, "--junit", junit];
            arguments.extend(mistake);
            project.expect(2, &arguments);
            assert_eq!((project.tree(), project.read("pipeline.toml")), before, "{arguments:?}");
        }
    }
}

#[test]
fn it_counts_where_a_report_comes_to_lie() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nfiles = [\"**/*\"]\nrun = 'echo >{{ output }}'\n");
    let text = project.read("pipeline.toml");
    project.write("in/pipeline.toml", text);
    for report in ["../j.xml", "in/../j.xml"] {
        let (folder, file) = if report.starts_with("in") { (".", "in/pipeline.toml") } else { ("in", "pipeline.toml") };
        project.expect(0, &["-C", folder, "run", "-f", file, "--junit", report]);
        assert!(project.read("j.xml").contains("<testsuite"), "{report}");
        std::fs::remove_file(project.path("j.xml")).unwrap();
    }
    // A link at whose end nothing is yet leads somewhere all the same.
    for (to, why) in
        [(".kiln/new", "it lies where Kiln keeps its state"), ("src/new", "by its `files`"), ("l2", "by its `files`")]
    {
        project.write("src/x", "");
        drop(std::fs::remove_file(project.path("l")));
        drop(std::fs::remove_file(project.path("l2")));
        symlink(to, project.path("l")).unwrap();
        symlink("src/new", project.path("l2")).unwrap();
        let said = project.expect(2, &["run", "--events", "l"]).err;
        assert!(said.contains(why), "{to}: {said}");
        assert!(!project.exists(".kiln/new") && !project.exists("src/new"));
    }
}

#[test]
fn a_report_goes_to_standard_output_by_any_name() {
    let project = Project::new(MIXED);
    project.write("ok", "");
    for name in ["-", "/dev/stdout", "/dev/fd/1"] {
        let said = project.expect(0, &["run", "--mode", "forced", "--junit", name]);
        assert!(said.out.starts_with("<?xml ") && said.out.ends_with("</testsuites>\n"), "{}", said.out);
        assert!(said.err.contains("3 of 3 steps"), "{}", said.err);
        let said = project.expect(0, &["run", "--mode", "forced", "--events", name, "--junit", "kiln.xml"]);
        assert_eq!(lines(&said.out).last().unwrap()["type"], "run_ended");
        assert!(said.err.contains("3 of 3 steps"), "{}", said.err);
    }
    let said = project.expect(2, &["run", "nonsense", "--junit", "-"]);
    assert!(said.out.contains("errors=\"1\"") && said.err.contains("nonsense"), "{}", said.out);
    // What is in the file already stays, and nothing is mixed.
    let redirected = |args: &str| {
        let kiln = crate::support::program();
        let script = format!("echo log >o; \"$0\" run {args} >>o 2>e");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &script]).arg(kiln).current_dir(project.path(""));
        shell.status().unwrap().code().unwrap()
    };
    assert_eq!(redirected("--junit /dev/stdout"), 0);
    assert!(project.read("o").starts_with("log\n<?xml ") && project.read("o").ends_with("</testsuites>\n"));
    for file in ["o", "e", "/dev/stderr"] {
        assert_eq!(redirected(&format!("--events {file}")), 2);
        assert_eq!(project.read("o"), "log\n");
        assert!(
            project.read("e").contains(&format!("--events {file}: what Kiln prints goes there too")),
            "{}",
            project.read("e")
        );
    }
}

#[test]
fn a_command_line_that_is_wrong_leaves_no_earlier_report() {
    let project = Project::new(MIXED);
    project.write("ok", "");
    std::fs::create_dir(project.path("below")).unwrap();
    project.expect(0, &["run", "--junit", "kiln.xml", "--events", "events.jsonl"]);
    let (good, events) = (project.read("kiln.xml"), project.read("events.jsonl"));
    for (args, why) in [
        (&["run", "-j", "0", "--junit", "kiln.xml", "--events", "events.jsonl"][..], "invalid value"),
        (&["run", "--junit=kiln.xml", "--events=events.jsonl", "--nonsense"], "unexpected argument"),
        (
            &["-C", "below", "run", "-k", "--max-fail", "2", "--junit", "../kiln.xml", "--events", "../events.jsonl"],
            "cannot be used",
        ),
        (&["-Cbelow", "run", "--events", "../events.jsonl", "--junit", "../kiln.xml", "--mode", "x"], "invalid value"),
    ] {
        project.write("kiln.xml", &good);
        project.write("events.jsonl", &events);
        project.expect(2, args);
        let report = project.read("kiln.xml");
        assert!(report.contains("errors=\"1\"") && report.contains(why), "{args:?}: {report}");
        assert_eq!(project.read("events.jsonl"), "", "{args:?}");
    }
    // What is no report is left alone, and so is all where nothing was to be run.
    project.write("kiln.xml", &good);
    for args in [
        &["run", "--events", "pipeline.toml", "--junit", "kiln.xml"][..],
        &["run", "-j", "0", "--events", "pipeline.toml"],
    ] {
        let before = project.read("pipeline.toml");
        project.expect(2, args);
        assert_eq!(project.read("pipeline.toml"), before);
    }
    assert!(project.read("kiln.xml").contains("the file is there and holds no events"));
    project.write("kiln.xml", &good);
    project.expect(2, &["run", "-n", "-j", "0", "--junit", "kiln.xml"]);
    project.expect(0, &["run", "--help", "--junit", "kiln.xml"]);
    assert_eq!(project.read("kiln.xml"), good);
}

#[test]
fn a_signal_before_the_run_begins_leaves_no_earlier_report() {
    let project = job("[dataset.a]\npath = \"a\"\nrun = 'echo up >up; read -r go <go; echo a >{{ output }}'\n");
    pipe(&project, "up");
    pipe(&project, "go");
    project.write("page.md", "");
    project.write("kiln.xml", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"kiln\"/>\n");
    let mut first = project.start(&["run"]);
    hear(&project, "up");
    let mut second = project.start(&["run", "--wait", "--junit", "kiln.xml"]);
    let mut line = String::new();
    BufReader::new(second.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("waiting: "), "{line}");
    kill_process(Pid::from_child(&second), Signal::TERM).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(143));
    let why = "stopped by SIGTERM before the run could begin";
    assert!(project.read("kiln.xml").contains(why), "{}", project.read("kiln.xml"));
    assert!(project.read("page.md").contains(why), "{}", project.read("page.md"));
    tell(&project, "go");
    assert!(first.wait().unwrap().success());
}

/// A job of GitHub's in a folder of the repository.
fn job(text: &str) -> Project {
    let mut project = Project::new(text);
    let top = project.path("").canonicalize().unwrap();
    for (name, value) in [("GITHUB_ACTIONS", "true"), ("CI", "true"), ("GITHUB_STEP_SUMMARY", "page.md")] {
        project.variable(name, value);
    }
    project.variable("GITHUB_WORKSPACE", top.parent().unwrap().to_str().unwrap());
    project
}

#[test]
fn github_shows_failures_at_their_place_and_a_table() {
    let project = job(MIXED);
    project.write("page.md", "before\n");
    let said = project.expect(1, &["run", "--output", "stream"]);
    let folder = project.path("").canonicalize().unwrap();
    let folder = folder.file_name().unwrap().to_str().unwrap();
    let annotation = format!("\n::error file={folder}/pipeline.toml,line=9,title=b%3A exit 1::  $ echo ");
    assert!(said.out.contains(&annotation), "{annotation}\n{}", said.out);
    assert_eq!(said.out.lines().filter(|line| line.starts_with("::")).count(), 1, "{}", said.out);
    let page = project.read("page.md");
    assert!(page.starts_with("before\n### p: 1 built · 1 failed · 1 skipped · "), "{page}");
    assert!(page.contains("\n| b | FAILED | ") && page.contains("\n| c | skip |  | b failed |\n"), "{page}");
    let said = project.expect(1, &["run", "--events", "-"]);
    assert!(!said.out.contains("::error file") && said.err.contains("\n::error file="), "{}", said.err);
}

#[test]
fn github_hands_names_of_steps_to_later_jobs() {
    let mut project = job(MIXED);
    project.variable("GITHUB_OUTPUT", "outputs");
    project.write("outputs", "before=1\n");
    project.expect(1, &["run"]);
    assert_eq!(project.read("outputs"), "before=1\nbuilt=[\"a\"]\nchanged=[\"a\"]\nfailed=[\"b\"]\n");
    project.write("ok", "");
    project.write("outputs", "");
    project.expect(0, &["run", "--mode", "forced"]);
    assert_eq!(project.read("outputs"), "built=[\"a\",\"b\",\"c\"]\nchanged=[\"b\",\"c\"]\nfailed=[]\n");
}

#[test]
fn github_shows_mistakes_at_their_place() {
    let project = job("[dataset.a]\npath = \"a\"\nruns = 'true'\n");
    for (said, command) in [(project.expect(2, &["run"]).err, "run"), (project.expect(2, &["check"]).out, "check")] {
        let annotations: Vec<_> = said.lines().filter(|line| line.starts_with("::error file=")).collect();
        assert!(
            matches!(annotations.as_slice(), [one] if one.contains("pipeline.toml,line=8,title=unknown-key::")),
            "{command}: {said}"
        );
    }
}

#[test]
fn a_page_that_is_not_there_and_another_server_change_nothing() {
    let mut project = job(MIXED);
    project.write("ok", "");
    project.expect(0, &["run"]);
    assert!(!project.exists("page.md"), "in a container the variable is there and its file is not");
    project.variable("GITHUB_STEP_SUMMARY", "/dev/full");
    let said = project.expect(0, &["run", "--mode", "forced"]).err;
    assert!(said.starts_with("warning: the page of the job on GitHub cannot be written: "), "{said}");
    project.write("page.md", "");
    project.variable("GITHUB_STEP_SUMMARY", "page.md");
    project.variable("GITHUB_ACTIONS", "false");
    project.expect(0, &["run", "--mode", "forced"]);
    assert_eq!(project.read("page.md"), "");
}

#[test]
fn a_run_that_is_refused_leaves_the_files_of_the_one_that_goes_on() {
    let project = Project::new("[dataset.a]\npath = \"a\"\nrun = 'echo >up; read -r go <go; echo a >{{ output }}'\n");
    pipe(&project, "up");
    pipe(&project, "go");
    let mut first = project.start(&["run", "--events", "events.jsonl", "--junit", "kiln.xml"]);
    hear(&project, "up");
    let said = project.expect(3, &["run", "--events", "events.jsonl", "--junit", "kiln.xml"]);
    assert!(said.err.contains("goes on"), "{}", said.err);
    project.expect(2, &["run", "nonsense", "--events", "events.jsonl", "--junit", "kiln.xml"]);
    project.write(
        "q.toml",
        project.read("pipeline.toml").replace("name = \"p\"", "name = \"q\"").replace("path = \"a\"", "path = \"q\""),
    );
    let said = project.expect(2, &["run", "-f", "q.toml", "--junit", "kiln.xml"]);
    assert!(said.err.contains("--junit kiln.xml: another run writes to it"), "{}", said.err);
    tell(&project, "go");
    assert!(first.wait().unwrap().success());
    let kinds: Vec<_> = lines(&project.read("events.jsonl")).iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["run_started", "step_started", "step_publishing", "step_ended", "run_ended"]);
    assert!(project.read("kiln.xml").ends_with("</testsuites>\n"));
}

#[test]
fn an_empty_file_that_may_be_anything_is_no_report_yet() {
    let project = Project::new("[dataset.a]\npath = \"src\"\n");
    project.write("src", "");
    project.write("bad.toml", "no pipeline");
    for words in [&["-f", "none.toml"][..], &["-f", "bad.toml"], &["--nope"]] {
        for option in ["--junit", "--events"] {
            project.expect(2, &[&["run", option, "src"], words].concat());
            assert_eq!(project.read("src"), "", "{words:?}");
        }
        // What is not there yet can be nobody's, and what begins as a report is one.
        for _ in 0..2 {
            project.expect(2, &[&["run", "--junit", "report"], words].concat());
            assert!(project.read("report").contains("<error"), "{words:?}");
        }
        std::fs::remove_file(project.path("report")).unwrap();
    }
    // One beside all that a pipeline names is, whatever is in the way of a run.
    project.pipeline("[dataset.a]\npath = \"a\"\ninputs = [\"s\"]\nrun = \"true\"\n[dataset.s]\npath = \"s\"\n");
    project.expect(2, &["run", "--junit", "src"]);
    assert!(project.read("src").contains("<error"));
}
