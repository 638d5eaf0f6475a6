//! Nothing that a file or a command says can steer the terminal.

use super::sample::{Sample, Shared, began, failure, planned, started, style};
use super::terminal::Terminal;
use crate::base::job::JobState;
use crate::event::{Cause, Outcome};
use crate::report::jobs::{JobLine, list};
use crate::report::style::OutputMode;
use crate::report::{Setup, job, reporter};

const EVIL: &str = "a\u{1b}[2Jb\u{1b}]0;title\u{7}\rc\nd\u{9b}1A\u{202e}\u{8}\u{b}\u{c}\u{0}";

fn evil() -> Sample {
    let mut step = planned(EVIL, Some(1_000));
    step.place = EVIL.to_owned();
    step.outputs = vec![EVIL.to_owned()];
    step.reasons[0].what = Some(EVIL.to_owned());
    let mut started = started(vec![step, planned("b", None), planned("c", None)], 0);
    for text in [&mut started.pipeline, &mut started.by, &mut started.host, &mut started.again, &mut started.file] {
        EVIL.clone_into(text);
    }
    started.targets = vec![EVIL.to_owned()];
    let mut run = Sample::new(started);
    run.start(0, EVIL, EVIL);
    run.end(10, EVIL, Outcome::Failed, Some(failure(EVIL, &[EVIL, "\u{1b}[31mred"], true)));
    run.skip(10, "b", Some(EVIL));
    run.stopping(10, EVIL);
    run.skip(10, "c", None);
    run.finish(20, JobState::Aborted, Some(EVIL));
    run
}

#[track_caller]
fn check(text: &str) {
    let harmless = |c: char| matches!(c, '\n' | '\t') || !c.is_control() && c != '\u{202e}';
    assert!(text.chars().all(harmless), "{text:?}");
}

#[test]
fn lines_are_harmless() {
    for output in [OutputMode::Stream, OutputMode::Grouped] {
        let out = Shared::default();
        let setup = Setup {
            out: Box::new(out.clone()),
            style: style(false, Some(80)),
            output,
            state: ".kiln".to_owned(),
            terminal: None,
            diagnostics: None,
        };
        evil().tell(&mut *reporter(setup), &[(2, EVIL, EVIL.as_bytes()), (2, "b", b"\x1b[?1049h\x9b2J")]);
        check(&out.take());
    }
}

#[test]
fn the_live_view_is_harmless() {
    for output in [OutputMode::Stream, OutputMode::Grouped] {
        let out = Shared::default();
        let setup = Setup {
            out: Box::new(out.clone()),
            style: style(true, None),
            output,
            state: ".kiln".to_owned(),
            terminal: Some(Box::new(|| (80, 24))),
            diagnostics: None,
        };
        evil().tell(&mut *reporter(setup), &[(2, EVIL, EVIL.as_bytes())]);
        // The terminal of the tests fails at what it does not know.
        let mut terminal = Terminal::new(80, 24);
        terminal.write(&out.take());
        assert!(terminal.text().contains("FAILED"));
    }
}

#[test]
fn texts_about_jobs_are_harmless() {
    let view = evil().view();
    check(&job::show(&view, &style(false, None), ".kiln"));
    let head = view.head.unwrap();
    let line = JobLine {
        job: head.job,
        pipeline: head.started.pipeline,
        state: JobState::Aborted,
        counts: view.counts,
        began: head.at,
        took_ms: 1,
        by: head.started.by,
        targets: head.started.targets,
        exclude: Vec::new(),
        vars: head.started.vars,
        mode: head.started.mode.to_string(),
        why: Some(Cause::of_words(EVIL)),
        left: 0,
    };
    check(&list(&[line], &style(false, None), began()));
}
