//! What build servers are told of a run: JUnit's XML, annotations and the page of a job on GitHub.

use super::sample::{Sample, Shared, every_ending, failure, morning, planned, retries, started, style};
use crate::base::job::JobState;
use crate::base::span::{Problem, Source};
use crate::event::{Failure, FailureCode, Outcome};
use crate::report::github::{Github, Workspace};
use crate::report::junit::{BEGIN, Junit};

fn junit(run: &Sample) -> String {
    let out = Shared::default();
    run.tell(&mut Junit::new(out.clone(), ".kiln"), &[]);
    out.take()
}

fn workspace() -> Workspace {
    Workspace { top: "/checkout".into(), folder: "/checkout/data".into() }
}

/// The annotations and the page.
fn github(run: &Sample) -> (String, String) {
    let (out, page) = (Shared::default(), Shared::default());
    let mut github = Github::new(out.clone(), Some(page.clone()), workspace(), style(false, None), ".kiln");
    run.tell(&mut github, &[]);
    (out.take(), page.take())
}

#[test]
fn each_step_is_a_test() {
    insta::assert_snapshot!(junit(&morning()), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="kiln" tests="5" skipped="1" failures="1" errors="0" time="71.200">
        <testsuite name="orders" tests="5" skipped="1" errors="0" failures="1" time="71.200" timestamp="2026-11-23T02:00:00Z">
            <properties>
                <property name="job" value="build_orders_2026-11-23T02-00-00.123"/>
                <property name="up-to-date" value="55"/>
            </properties>
            <testcase name="orders" classname="orders" time="40.000" file="pipelines/orders.toml" line="41"/>
            <testcase name="rates" classname="orders" time="3.008" file="pipelines/orders.toml" line="41"/>
            <testcase name="split" classname="orders" time="31.000" file="pipelines/orders.toml" line="41">
                <failure message="exit 3" type="exit">FAILED split  pipelines/orders.toml:41  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_…
      | Traceback (most recent call last):
      | KeyError: &apos;customer_id&apos;
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split
    </failure>
            </testcase>
            <testcase name="charts" classname="orders" time="8.000" file="pipelines/orders.toml" line="41"/>
            <testcase name="report" classname="orders" time="0.000" file="pipelines/orders.toml" line="41">
                <skipped message="split failed"/>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
}

#[test]
fn attempts_before_the_last_are_reruns() {
    insta::assert_snapshot!(junit(&retries()), @r#"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="kiln" tests="3" skipped="0" failures="2" errors="0" time="7.000">
        <testsuite name="orders" tests="3" skipped="0" errors="0" failures="2" time="7.000" timestamp="2026-11-23T02:00:00Z">
            <properties>
                <property name="job" value="build_orders_2026-11-23T02-00-00.123"/>
                <property name="up-to-date" value="0"/>
            </properties>
            <testcase name="orders" classname="orders" time="1.100" file="pipelines/orders.toml" line="41">
                <flakyFailure time="0.900" message="exit 1" type="exit"></flakyFailure>
            </testcase>
            <testcase name="rates" classname="orders" time="0.100" file="pipelines/orders.toml" line="41">
                <failure message="exit 7, attempt 3/3, 6s in all" type="exit">FAILED rates  pipelines/orders.toml:41  exit 7, attempt 3/3, 6s in all
      $ make rates
      | no route to host
      kept   rates of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/rates.3.log
      again  kiln run rates
    </failure>
                <rerunFailure time="0.400" message="exit 7" type="exit">no route to host</rerunFailure>
                <rerunFailure time="0.400" message="timed out after 0.4s" type="exit"></rerunFailure>
            </testcase>
            <testcase name="split" classname="orders" time="7.000" file="pipelines/orders.toml" line="41">
                <failure message="exit 2" type="exit">FAILED split  pipelines/orders.toml:41  exit 2
      $ make split
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split
    </failure>
                <rerunFailure time="7.000" message="exit 2" type="exit"></rerunFailure>
            </testcase>
        </testsuite>
    </testsuites>
    "#);
}

#[test]
fn a_run_that_did_not_end_well_is_never_green() {
    let told = junit(&every_ending());
    assert!(told.contains("<error message=\"stopped\"/>"), "{told}");
    assert!(told.contains("<skipped message=\"failed failed\"/>"), "{told}");
    assert!(!told.contains("the run"), "{told}");
    let mut run = Sample::new(started(vec![planned("a", None)], 2));
    run.stopping(5, "Ctrl-C");
    run.skip(5, "a", None);
    run.finish(5, JobState::Aborted, Some("Ctrl-C"));
    let told = junit(&run);
    assert!(told.contains("tests=\"2\" skipped=\"1\" failures=\"0\" errors=\"1\""), "{told}");
    assert!(told.contains("<testcase name=\"the run\">\n            <error message=\"Ctrl-C\"/>"), "{told}");
}

#[test]
fn before_its_end_nothing_is_reported_and_a_report_begins_as_it_should() {
    let mut run = morning();
    assert!(junit(&run).starts_with(BEGIN));
    run.events.pop();
    assert_eq!((junit(&run), github(&run).1), (String::new(), String::new()));
}

#[test]
fn what_commands_print_is_text_and_nothing_else() {
    let tail = ["\u{1b}[31mred\u{1}", "]]></failure>", "::error::forged", "````", "</details> | a\\b"];
    let mut run = Sample::new(started(vec![planned("a", None)], 0));
    run.start(0, "a", "make 'a%0A::error::b'");
    run.end(10, "a", Outcome::Failed, Some(failure("exit 1", &tail, false)));
    run.finish(20, JobState::Failed, Some("a: exit 1"));
    let told = junit(&run);
    assert!(told.contains("| red") && told.contains("]]&gt;&lt;/failure&gt;"), "{told}");
    assert!(!told.contains(['\u{1b}', '\u{1}']), "{told:?}");
    let (annotations, page) = github(&run);
    assert_eq!(annotations.lines().count(), 1, "{annotations}");
    assert!(annotations.contains("make 'a%250A::error::b'%0A  | red"), "{annotations}");
    assert!(page.contains("\n`````text\nFAILED a"), "{page}");
    assert_eq!(page.matches("\n`````").count(), 2, "{page}");
}

#[test]
fn an_obstacle_is_annotated_once_and_with_a_text() {
    let mut run = Sample::new(started(vec![planned("a", None), planned("b", None)], 0));
    for step in ["a", "b"] {
        let failure = Failure::new(FailureCode::Start, "secret `T` takes the variable T, which is not set");
        run.end(10, step, Outcome::Failed, Some(failure));
    }
    run.finish(20, JobState::Failed, Some("a"));
    let (annotations, _) = github(&run);
    let [line] = annotations.lines().collect::<Vec<_>>().try_into().unwrap();
    assert!(line.ends_with("title=a::secret `T` takes the variable T, which is not set"), "{line}");
}

#[test]
fn a_name_in_html_is_not_escaped_as_markdown() {
    let mut run = Sample::new(started(vec![planned("stg_<a>&b", None)], 0));
    run.start(0, "stg_<a>&b", "false");
    run.end(10, "stg_<a>&b", Outcome::Failed, Some(failure("exit 1", &[], false)));
    run.finish(20, JobState::Failed, Some("exit 1"));
    let (_, page) = github(&run);
    assert!(page.contains("| stg\\_&lt;a>&amp;b |"), "{page}");
    assert!(page.contains("<summary>stg_&lt;a>&amp;b</summary>"), "{page}");
}

#[test]
fn failures_are_annotated_where_their_step_stands() {
    let (annotations, page) = github(&morning());
    insta::assert_snapshot!(annotations, @r"
    ::error file=data/pipelines/orders.toml,line=41,title=split%3A exit 3::  $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_…%0A  | Traceback (most recent call last):%0A  | KeyError: 'customer_id'%0A  log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
    ");
    insta::assert_snapshot!(page, @r"
    ### orders: 2 built · 1 unchanged · 1 failed · 1 skipped · 55 up to date · 1m11s

    | step | | took | why |
    |---|---|--:|---|
    | split | FAILED | 31s | exit 3 |
    | report | skip |  | split failed |
    | orders | built | 40s | never built |
    | charts | built | 8s | never built |
    | rates | same | 3s | never built |

    <details><summary>split</summary>

    ```text
    FAILED split  pipelines/orders.toml:41  exit 3
      $ python3 recipes/split.py build/orders.csv build/train.csv build/test.csv --seed 20261123 --share 0.8 --by customer_…
      | Traceback (most recent call last):
      | KeyError: 'customer_id'
      kept   train, test of 22 Nov 02:01
      log    .kiln/logs/build_orders_2026-11-23T02-00-00.123/split.1.log
      again  kiln run split
    ```

    </details>
    ");
}

#[test]
fn of_many_failures_the_first_are_annotated() {
    let names: Vec<_> = (0..60).map(|i| format!("step_{i}")).collect();
    let mut run = Sample::new(started(names.iter().map(|name| planned(name, None)).collect(), 0));
    for name in &names {
        run.start(0, name, "make");
        run.end(10, name, Outcome::Failed, Some(failure("exit 1", &[], false)));
    }
    run.finish(20, JobState::Failed, Some("step_0: exit 1"));
    let (annotations, page) = github(&run);
    assert_eq!(annotations.lines().count(), 10);
    assert!(page.contains("| step\\_49 | FAILED") && !page.contains("| step\\_50 |"), "{page}");
    assert!(page.contains("| … and 10 more |") && page.matches("<details>").count() == 20, "{page}");
}

#[test]
fn mistakes_are_annotated_at_their_line() {
    let source = Source::new("pipelines/p.toml", "[pipeline]\nname = \"p\"\nnmae = 1\n");
    let wrong = Problem::new("unknown-key", "unknown key `nmae`").at(&(22..26), "here").help("did you mean `name`?");
    let odd = Problem::new("odd", "50 % of this, and that").warn();
    let told = workspace().mistakes(&source, &[wrong, odd]);
    insta::assert_snapshot!(told, @r"
    ::error file=data/pipelines/p.toml,line=3,title=unknown-key::unknown key `nmae`; did you mean `name`?
    ::warning file=data/pipelines/p.toml,line=1,title=odd::50 %25 of this, and that
    ");
    let elsewhere = Workspace { top: "/other".into(), folder: "/work".into() };
    assert!(elsewhere.mistakes(&source, &[Problem::new("a", "b")]).contains("file=pipelines/p.toml,line=1,"));
}
