//! `kiln run --failed`: builds what an earlier run did not get done. And what is made from the command line: completions,
//! manual pages.

use crate::support::{HEAD, Project, started};

const FOUR: &str = r#"
[vars]
ok = "no"
[dataset.good]
path = "good"
run = "echo 1 > {{ output }}"
[dataset.bad]
path = "bad"
run = "test -e fixed; echo {{ vars.ok }} > {{ output }}"
[dataset.below]
path = "below"
inputs = ["bad"]
run = "cat {{ inputs.bad }} > {{ output }}"
[dataset.other]
path = "other"
run = "echo 2 > {{ output }}"
"#;

/// A project whose last run built `good` and left `bad` and `below` undone.
fn broken() -> Project {
    let project = Project::new(FOUR);
    project.expect(1, &["run", "good", "below", "-k"]);
    project
}

fn built(project: &Project, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<_> = ["run", "--events", "-"].iter().chain(arguments).copied().collect();
    started(&project.expect(0, &arguments).out)
}

#[test]
fn without_such_a_run_there_is_a_way_out() {
    let project = Project::new(FOUR);
    assert!(project.expect(2, &["run", "--failed"]).err.contains("error: there is no run yet\n"));
    let said = project.expect(2, &["run", "--failed", "bad"]).err;
    assert!(
        said.contains("there is no run `bad`\n  help: --failed takes the id of a run; `kiln run bad` builds"),
        "{said}"
    );
}

#[test]
fn what_failed_and_what_was_skipped_is_built_and_nothing_else() {
    let project = broken();
    let plan = project.expect(0, &["run", "-n", "--failed"]).out;
    assert!(plan.contains("bad") && plan.contains("below") && !plan.contains("other"), "{plan}");
    assert!(
        plan.lines().next().unwrap().contains(" (FAILED, bad: exit 1) · "),
        "it says how the last run ended: {plan}"
    );
    project.write("fixed", "");
    assert_eq!(built(&project, &["--failed"]), ["bad", "below"]);
    assert!(!project.exists("other"));
    let said = project.expect(4, &["run", "--failed"]);
    assert!(said.err.contains("got everything done"), "{}", said.err);
}

#[test]
fn a_run_with_nothing_to_do_does_not_make_a_failure_forgotten() {
    let project = broken();
    project.expect(0, &["run", "good"]);
    project.write("fixed", "");
    assert_eq!(built(&project, &["--failed"]), ["bad", "below"]);
    project.expect(0, &["run", "good"]);
    project.expect(4, &["run", "--failed"]);
}

#[test]
fn an_older_run_is_named_by_its_id() {
    let project = broken();
    let list = project.expect(0, &["jobs", "list", "--format", "json"]).out;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = list[0]["id"].as_str().unwrap().to_owned();
    project.expect(0, &["run", "other"]);
    let said = project.expect(4, &["run", "--failed"]).err;
    let named = format!("; the last one that failed is {id}: `kiln run --failed {id}`\n");
    assert!(said.ends_with(&named), "{said}");
    project.write("fixed", "");
    assert_eq!(built(&project, &["--failed", &id]), ["bad", "below"]);
    let said = project.expect(2, &["run", "--failed", "nonsense"]);
    assert!(said.err.contains("there is no run `nonsense`"), "{}", said.err);
    project.expect(2, &["run", "other", "--failed"]);
}

#[test]
fn a_forced_run_is_tried_again_whatever_the_state_and_without_what_it_built() {
    let project = Project::new(FOUR);
    project.write("fixed", "");
    project.expect(0, &["run"]);
    std::fs::remove_file(project.path("fixed")).unwrap();
    project.expect(1, &["run", "--mode", "forced", "-k"]);
    project.write("fixed", "");
    // Nobody has asked for a mode.
    let plan = project.expect(0, &["run", "-n", "--failed"]).out;
    assert!(plan.starts_with("p · local · --failed · ") && plan.contains("  bad    "), "{plan}");
    assert!(plan.contains("asked for: --failed\n") && !plan.contains("only"), "{plan}");
    let plan = project.expect(0, &["run", "-n", "--failed", "--mode", "only"]).out;
    assert!(plan.starts_with("p · local · only · ") && plan.contains("asked for: --mode only\n"), "{plan}");
    assert_eq!(built(&project, &["--failed"]), ["bad", "below"]);
    assert!(project.expect(0, &["jobs", "show", "last"]).out.contains("asked for: --failed\n"));
}

#[test]
fn what_went_on_after_failures_does_so_again_unless_it_is_said_otherwise() {
    let project = Project::new(FOUR);
    project
        .write("pipeline.toml", project.read("pipeline.toml") + "[dataset.worse]\npath = \"worse\"\nrun = \"false\"\n");
    let failed = |arguments: &[&str]| {
        let events = project.expect(1, &[&["run", "--events", "-", "-j1"], arguments].concat()).out;
        let failed = |event: &serde_json::Value| event["outcome"] == "failed";
        crate::support::lines(&events).iter().filter(|event| failed(event)).count()
    };
    assert_eq!(failed(&["-k"]), 2);
    assert!(project.expect(0, &["jobs", "show", "last"]).out.contains("again  kiln run -k -j 1 worse\n"));
    assert_eq!(failed(&["--failed"]), 2);
    assert_eq!(failed(&["--failed"]), 2, "and so on");
    assert_eq!(failed(&["--failed", "--max-fail", "1"]), 1);
    // That run did not go on.
    assert_eq!(failed(&["--failed"]), 1);
}

#[test]
fn the_variables_are_those_of_that_run_unless_others_are_given() {
    let project = Project::new(FOUR);
    let quoted = "it'\"'s  \\ b";
    project.expect(1, &["run", "bad", "--mode", "forced", "--var", &format!("ok='{quoted}'")]);
    project.write("fixed", "");
    // What is given now counts, and is told.
    let said = project.expect(0, &["run", "-n", "--failed", "--var", "ok=other"]);
    assert!(
        said.err.contains("the variables are others than those of that run, which was `kiln run --var "),
        "{}",
        said.err
    );
    assert!(!said.err.contains("with the variables"), "{}", said.err);
    let said = project.expect(0, &["run", "--failed"]);
    assert!(said.err.contains("with the variables of that run: --var "), "{}", said.err);
    let again = project.expect(0, &["run", "bad", "--var", &format!("ok='{quoted}'"), "--events", "-"]);
    assert_eq!(started(&again.out), [] as [&str; 0], "it was built with the same");
}

#[test]
fn what_only_looks_like_a_variable_in_the_command_is_none() {
    let project = Project::empty();
    project.write("a --var b=c/pipeline.toml", format!("{HEAD}{FOUR}"));
    let run = ["run", "-f", "a --var b=c/pipeline.toml"];
    project.expect(1, &run);
    let said = project.expect(1, &[&run[..], &["--state", "a --var b=c/.kiln", "--failed"]].concat());
    assert!(!said.err.contains("variables"), "{}", said.err);
}

#[test]
fn a_run_of_a_history_that_tells_neither_variables_nor_whether_it_went_on_is_tried_again() {
    let project = Project::new(FOUR);
    project.expect(1, &["run", "-k", "--var", "ok=yes"]);
    let forget = "UPDATE events SET body = json_remove(body, '$.keep_going', '$.vars') WHERE type = 'run_started'";
    let said = std::process::Command::new("sqlite3").arg(project.path(".kiln/kiln.db")).arg(forget).output().unwrap();
    assert!(said.status.success(), "{said:?}");
    project.write("fixed", "");
    assert!(project.expect(0, &["jobs", "show", "last"]).out.contains("again  kiln run -k --var ok=yes "));
    project.expect(0, &["run", "--failed"]);
}

#[test]
fn steps_that_are_gone_and_other_variables_are_told() {
    let project = Project::new(FOUR);
    project.expect(1, &["run", "-k", "--var", "ok=yes"]);
    project.write("pipeline.toml", project.read("pipeline.toml").replace("dataset.below", "dataset.renamed"));
    project.write("fixed", "");
    let said = project.expect(0, &["run", "--failed"]);
    assert!(said.err.contains("1 step left out, the file has no such steps any more: below"), "{}", said.err);
    assert!(said.err.contains("note: with the variables of that run: --var ok=yes\n"), "{}", said.err);
    assert_eq!(project.read("bad"), "yes\n");
    project.write("pipeline.toml", project.read("pipeline.toml").replace("name = \"p\"", "name = \"q\""));
    let said = project.expect(2, &["run", "--failed", "p_"]);
    assert!(said.err.contains("ids of 2 runs"), "{}", said.err);
    let said = project.expect(2, &["run", "--failed"]);
    assert!(said.err.contains("`q` has no run yet"), "{}", said.err);
}

#[test]
fn shells_are_told_every_command() {
    let project = Project::empty();
    for shell in ["bash", "zsh", "fish"] {
        let script = project.expect(0, &["completions", shell]).out;
        assert!(script.contains("adopt") && script.contains("keep-going"), "{shell}\n{script}");
        assert!(!script.contains("guardian"), "{shell}\n{script}");
    }
    let bash = project.expect(0, &["completions", "bash"]).out;
    project.write(
        "kiln.bash",
        format!("{bash}\nCOMP_WORDS=(kiln run --fa); COMP_CWORD=2\n_kiln kiln --fa run\necho \"${{COMPREPLY[*]}}\"\n"),
    );
    let completed = std::process::Command::new("bash").arg(project.path("kiln.bash")).output().unwrap();
    assert_eq!(String::from_utf8(completed.stdout).unwrap(), "--failed --fail-fast\n");
}

/// A project in which words are completed.
fn to_complete() -> Project {
    let project = Project::empty();
    project.pipeline(
        "[dataset.totals]\npath = \"b/$(touch ran)\"\ntags = [\"daily\", \"a b\"]\nrun = 'echo 1 >{{ output }}'\n\
                      [dataset.topics]\npath = \"b/u\"\nrun = 'echo 1 >{{ output }}'\n\
         [recipe.both_of]\noutputs = [\"one\", \"two\"]\nrun = 'echo 1 | tee {{ outputs.one }} >{{ outputs.two }}'\n\
         [dataset.one]\npath = \"o/1\"\n[dataset.two]\npath = \"o/2\"\n[dataset.raw]\npath = \"b/raw\"\n[vars]\nleast = 1\nmost = 2\n",
    );
    project.write("totals.awk", "");
    project.write("other.toml", project.read("pipeline.toml").replace("topics", "tonnes"));
    project
}

/// What bash offers for the last of some words.
#[track_caller]
fn offered(project: &Project, words: &str, expect: &str) {
    let bash = project.expect(0, &["completions", "bash"]).out;
    let script = format!(
        "{bash}\nCOMP_WORDS=(\"$KILN\" {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_kiln_names \"$KILN\" \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"\necho \"${{COMPREPLY[*]}}\"\n"
    );
    project.write("names.bash", script);
    let mut command = std::process::Command::new("bash");
    command.arg("names.bash").current_dir(project.path("")).env("KILN", crate::support::program());
    assert_eq!(String::from_utf8(command.output().unwrap().stdout).unwrap(), format!("{expect}\n"), "{words}");
}

#[test]
fn bash_is_offered_what_may_be_meant() {
    let project = to_complete();
    project.expect(0, &["run"]);
    let jobs: serde_json::Value =
        serde_json::from_str(&project.expect(0, &["jobs", "list", "--format", "json"]).out).unwrap();
    let id = jobs[0]["id"].as_str().unwrap().to_owned();
    // Where a name is meant no file is offered, and where a file is meant no name.
    for (words, expect) in [
        ("run -k to", "totals topics"),
        ("why to", "totals topics"),
        ("run -f other.toml to", "totals tonnes"),
        ("run --events to", "totals.awk"),
        ("run -f ot", "other.toml"),
        ("run -f to", ""),
        ("run -f b", "b"),
        ("-C .. run to", ""),
        ("-C . run to", "totals topics"),
        ("jobs show 2", "STAMP"),
        ("-f other.toml run to", "totals tonnes"),
        ("-f = other.toml run to", "totals tonnes"),
        ("run --mode f", "forced"),
        ("run --mode = f", "forced"),
        ("run --mode = o", "only"),
        ("run --color = n", "never"),
        ("run --mode = forced to", "totals topics"),
        ("jobs list --state = D", "DONE"),
        ("run --var le", "least="),
        ("run --var = mo", "most="),
        ("run --var least = to", ""),
        ("plan --che", "--check"),
        ("run +to", "+totals +topics"),
        ("run tag : d", "daily"),
        ("run tag :", "a\\ b daily"),
        ("plan b/", "b/\\$\\(touch\\ ran\\) b/u"),
        ("jobs show la", "last"),
        ("jobs show build_", "ID"),
        ("jobs log last --tail 3 to", "totals topics"),
        ("jobs log last totals to", ""),
        ("run --failed bui", "ID"),
        ("run both", "both_of"),
        ("why both", "both_of"),
        ("man jo", "jobs"),
        ("man jobs ab", "abort"),
        // Of runs that are over nothing can be waited for.
        ("jobs abort build_", ""),
        ("jobs wait l", "last"),
    ] {
        let stamp = id.trim_start_matches("build_p_");
        offered(&project, words, &expect.replace("ID", &id).replace("STAMP", stamp));
    }
    assert!(!project.exists("ran"), "what stands in a path was run");
}

/// What was begun with a quote is gone on with in it; what bash takes for several words is one.
#[test]
fn bash_goes_on_with_what_has_blanks_quotes_and_colons() {
    let project = Project::empty();
    project.pipeline(
        "[dataset.a]\npath = \"o/a b\"\ntags = [\"t:one\", \"t:two\"]\nrun = 'echo >{{ output }}'\n\
         [dataset.b]\npath = \"o/a c\"\nrun = 'echo >{{ output }}'\n\
         [dataset.c]\npath = \"o/x$'y\"\nrun = 'echo >{{ output }}'\n\
         [dataset.d]\npath = \"k/l:m\"\nrun = 'echo >{{ output }}'\n",
    );
    for (words, expect) in [
        ("run o/a", r"o/a\ b o/a\ c"),
        (r"run 'o/a\ '", r"o/a\ b o/a\ c"),
        (r"run 'o/a\'", r"o/a\ b o/a\ c"),
        (r#"run '"o/a '"#, "o/a b o/a c"),
        (r#"run "'o/a c""#, "o/a c"),
        (r"run 'o/x\$'", r"o/x\$\'y"),
        (r#"run '"o/x\$'"#, r"o/x\$'y"),
        (r#"run "'o/x""#, r"o/x$'\''y"),
        ("run tag : t :", "one two"),
        ("run tag : t : o", "one"),
        ("run k/l :", "m"),
        ("run k/l : n", ""),
    ] {
        offered(&project, words, expect);
    }
}

#[test]
fn bash_is_offered_options_where_one_begins_and_only_what_is_taken() {
    let project = to_complete();
    for (words, expect) in [
        ("run --var least = ''", ""),
        ("run --failed --fa", "--failed --fail-fast"),
        ("run --failed -f other.toml to", "totals tonnes"),
        ("run ra", "raw+"),
        ("run +ra", ""),
        ("why ra", "raw"),
        ("check ''", ""),
        ("gc ''", ""),
        ("gc --keep-days to", ""),
        ("gc --keep-days = to", ""),
        ("jobs list ''", ""),
        ("jobs l", "list log"),
        ("schema pl", "plan"),
    ] {
        offered(&project, words, expect);
    }
}

#[test]
fn every_shell_asks_for_names() {
    let project = Project::empty();
    let zsh = project.expect(0, &["completions", "zsh"]).out;
    for (begin, offer, times) in [
        ("'*::targets -- ", "_kiln_targets", 4),
        ("':name -- ", "_kiln_names", 2),
        ("'*--var=", "_kiln_vars", 5),
        ("'()--failed=", "_kiln_runs", 1),
        ("':id -- ", "_kiln_runs", 1),
        ("':run_or_step -- ", "_kiln_logs", 1),
        ("'::step -- ", "_kiln_steps", 1),
        ("'*::ids -- ", "_kiln_running", 2),
    ] {
        let lines: Vec<_> = zsh.lines().filter(|line| line.starts_with(begin)).collect();
        assert_eq!(lines.len(), times, "{begin}: {lines:?}");
        assert!(lines.iter().all(|line| line.ends_with(&format!(":{offer}' \\"))), "{lines:?}");
        assert_eq!(zsh.matches(&format!("\n{offer}() ")).count(), 1, "{offer}");
    }
    let fish = project.expect(0, &["completions", "fish"]).out;
    assert!(
        fish.contains("using_subcommand run plan list adopt; and test (commandline -opc)[-1] != --failed\" -f -a"),
        "{fish}"
    );
    assert!(fish.contains("using_subcommand schema\" -f -a \"pipeline plan events\""), "{fish}");
    assert!(fish.contains("using_subcommand show why\" -f -a \"(__kiln_candidates names)"), "{fish}");
    assert!(fish.lines().any(|line| line.contains("-l keep-days ") && line.ends_with(" -x")), "{fish}");
    assert!(!zsh.contains(":_default' "), "{zsh}");
    project.pipeline(
        "[vars]\nleast = 1\n[dataset.s]\npath = \"pipeline.toml\"\n[dataset.a]\npath = \"b/a\"\ntags = [\"daily\"]\nrun = 'echo >{{ output }}'\n[task.tell]\ninputs = [\"a\"]\nrun = \"true\"\n",
    );
    project.expect(0, &["run"]);
    for (words, expect) in [
        ("targets", "a\ntell\ns+\n"),
        ("names", "s\na\ntell\n"),
        ("targets +", "+a\n+tell\n"),
        ("targets tag:", "tag:daily\n"),
        ("targets b/", "b/a\n"),
        ("tags", "daily\n"),
        ("vars", "least=\n"),
        ("running", "last\n"),
        ("steps last", "a\ntell\n"),
        ("steps nowhere", ""),
    ] {
        let words: Vec<_> = std::iter::once("candidates").chain(words.split(' ')).collect();
        assert_eq!(project.expect(0, &words).out, expect, "{words:?}");
    }
    assert!(project.expect(0, &["candidates", "runs"]).out.starts_with("last\nbuild_p_"));
    project.pipeline("[dataset.a\n");
    assert_eq!(project.expect(0, &["candidates", "targets"]).out, "");
}

#[test]
fn manuals_say_what_help_says() {
    let project = Project::empty();
    project.expect(0, &["man", "--into", "man1"]);
    for page in ["kiln.1", "kiln-run.1", "kiln-jobs-list.1"] {
        assert!(project.read(&format!("man1/{page}")).contains(".SH SYNOPSIS"), "{page}");
    }
    let page = project.expect(0, &["man", "run"]).out;
    assert!(page.contains("keep\\-going") && page.contains("\n.SH EXAMPLES\n.nf\n  kiln run "), "{page}");
    assert!(page.contains(" [\\fB\\-\\-mode\\fR \\fIMODE\\fR] "), "{page}");
    assert!(page.contains(" [\\fB\\-\\-failed\\fR [\\fIID\\fR]] ") && page.contains(" [\\fITARGET\\fR]..."), "{page}");
    assert!(project.expect(0, &["man", "jobs", "wait"]).out.contains(" <\\fIIDS\\fR>..."));
    assert!(
        page.contains("[\\fB\\-j\\fR|\\fB\\-\\-jobs\\fR \\fIN\\fR]") && page.contains("\\fB\\-\\-wait\\fR]"),
        "{page}"
    );
    assert!(project.expect(0, &["man", "gc"]).out.contains("\n.SH NOTES\nA run is removed when"));
    let said = project.expect(2, &["man", "jobs", "foo"]).err;
    assert_eq!(said, "error: `kiln jobs` has no command `foo`\n  help: `kiln jobs --help` says what there is\n");
    assert!(project.expect(2, &["man", "rum"]).err.contains("did you mean `run`?"));
}
