//! Which jobs may begin, of jobs that are names.

use super::*;

fn set(text: &str) -> BTreeSet<Arc<str>> {
    text.split_whitespace().map(Arc::from).collect()
}

fn touch(reads: &str, makes: &str) -> Touch {
    Touch { makes: set(makes), reads: set(reads) }
}

fn steps(all: &[(&str, &str, &str)]) -> BTreeMap<String, Touch> {
    all.iter().map(|(name, reads, makes)| ((*name).to_owned(), touch(reads, makes))).collect()
}

fn job(name: &str) -> JobId {
    JobId::from_text(name)
}

fn call(desk: &mut Desk) -> Vec<String> {
    desk.call(|_| true).iter().map(JobId::to_string).collect()
}

fn why(desk: &Desk, name: &str) -> Option<Wait> {
    desk.waits([&job(name)]).remove(&job(name)).flatten()
}

#[test]
fn not_more_than_so_many_at_once_in_order() {
    let mut desk = Desk::new(2);
    for name in ["a", "b", "c", "d"] {
        desk.add(job(name), 0, touch("", name));
    }
    assert_eq!(call(&mut desk), ["a", "b"]);
    assert_eq!(call(&mut desk), [] as [&str; 0]);
    assert_eq!(why(&desk, "c"), Some(Wait::Turn));
    desk.over(&job("b"));
    assert_eq!(call(&mut desk), ["c"]);
}

#[test]
fn what_another_builds_is_waited_for_no_longer_than_it_is_built() {
    let mut desk = Desk::new(9);
    desk.add(job("long"), 0, touch("src", "a b c"));
    assert_eq!(call(&mut desk), ["long"]);
    desk.add(job("short"), 0, touch("src", "a b"));
    desk.add(job("other"), 0, touch("src", "x"));
    assert_eq!(call(&mut desk), ["other"]);
    assert!(desk.planned(&job("long"), steps(&[("a", "src", "a"), ("b", "a", "b"), ("c", "b", "c")])));
    assert_eq!(call(&mut desk), [] as [&str; 0]);
    assert_eq!(why(&desk, "short"), Some(Wait::Job(job("long"), "a".into())));
    desk.step_over(&job("long"), "a");
    assert_eq!(why(&desk, "short"), Some(Wait::Job(job("long"), "b".into())));
    desk.step_over(&job("long"), "b");
    assert_eq!(call(&mut desk), ["short"]);
    // `b` is up to date by now: nothing that `long` reads changes.
    assert!(desk.planned(&job("short"), steps(&[])));
}

#[test]
fn what_another_still_reads_is_not_built_anew() {
    let mut desk = Desk::new(9);
    desk.add(job("reader"), 0, touch("a", "b"));
    assert_eq!(call(&mut desk), ["reader"]);
    assert!(desk.planned(&job("reader"), steps(&[("b", "a", "b")])));
    desk.add(job("maker"), 0, touch("src", "a"));
    assert_eq!(call(&mut desk), ["maker"]);
    assert!(!desk.planned(&job("maker"), steps(&[("a", "src", "a")])));
    assert_eq!(call(&mut desk), [] as [&str; 0]);
    assert_eq!(why(&desk, "maker"), Some(Wait::Job(job("reader"), "a".into())));
    desk.step_over(&job("reader"), "b");
    assert_eq!(call(&mut desk), ["maker"]);
    assert!(desk.planned(&job("maker"), steps(&[("a", "src", "a")])));
}

#[test]
fn what_lies_in_a_folder_is_part_of_it() {
    for (wants, has) in [("/r/out/a", "/r/out"), ("/r/out", "/r/out/a"), ("/r/out", "/r/out"), ("/r/x/y /r/z", "/r/x")]
    {
        let mut desk = Desk::new(9);
        desk.add(job("maker"), 0, touch("", has));
        desk.add(job("reader"), 1, touch(wants, "/s/made"));
        assert_eq!(call(&mut desk), ["maker"]);
        assert_eq!(why(&desk, "reader"), Some(Wait::Job(job("maker"), has.into())), "{wants}");
        // Also against many.
        let mut desk = Desk::new(9);
        desk.add(job("maker"), 0, touch("", &format!("/a {has} /r/out.txt /z")));
        desk.add(job("reader"), 1, touch(wants, "/s/made"));
        assert_eq!(call(&mut desk), ["maker"]);
        assert_eq!(why(&desk, "reader"), Some(Wait::Job(job("maker"), has.into())), "{wants}");
    }
    for (wants, has) in
        [("/r/out/a", "/r/out/b"), ("/r/out-a", "/r/out"), ("/r/out", "/r/out.b /r/out-"), ("/r", "/rr/a")]
    {
        let mut desk = Desk::new(9);
        desk.add(job("maker"), 0, touch("", has));
        desk.add(job("reader"), 1, touch(wants, "/s/made"));
        assert_eq!(call(&mut desk), ["maker", "reader"], "{wants} {has}");
    }
}

#[test]
fn a_job_that_looks_says_so() {
    let mut desk = Desk::new(9);
    desk.add(job("a"), 0, touch("", "a"));
    assert_eq!(call(&mut desk), ["a"]);
    assert_eq!(why(&desk, "a"), Some(Wait::Looking));
    assert!(desk.planned(&job("a"), steps(&[("a", "", "a")])));
    assert!(desk.waits([&job("a"), &job("nobody")]).is_empty());
}

#[test]
fn who_came_first_is_not_overtaken_by_who_needs_the_same() {
    let mut desk = Desk::new(9);
    desk.add(job("first"), 0, touch("", "a"));
    assert_eq!(call(&mut desk), ["first"]);
    desk.add(job("second"), 0, touch("", "a b"));
    desk.add(job("third"), 0, touch("", "b"));
    desk.add(job("fourth"), 0, touch("b", "z"));
    assert_eq!(call(&mut desk), [] as [&str; 0]);
    assert_eq!(why(&desk, "third"), Some(Wait::Job(job("second"), "b".into())));
    assert_eq!(why(&desk, "fourth"), Some(Wait::Job(job("second"), "b".into())));
    desk.over(&job("first"));
    assert_eq!(call(&mut desk), ["second"]);
}

#[test]
fn what_somebody_has_no_job_touches_and_the_other_way_round() {
    let mut desk = Desk::new(9);
    desk.add(job("reader"), 0, touch("a", "b"));
    assert_eq!(desk.hold(job("who"), 1, touch("", "a")), None);
    assert_eq!(call(&mut desk), [] as [&str; 0]);
    assert_eq!(why(&desk, "reader"), Some(Wait::Job(job("who"), "a".into())));
    desk.over(&job("who"));
    assert_eq!(call(&mut desk), ["reader"]);
    for _ in 0..2 {
        assert_eq!(desk.hold(job("who"), 1, touch("", "a")), Some(job("reader")));
        assert_eq!(desk.hold(job("who"), 1, touch("", "b/c")), Some(job("reader")));
        desk.planned(&job("reader"), steps(&[("b", "a", "b")]));
    }
    desk.step_over(&job("reader"), "b");
    assert_eq!(desk.hold(job("who"), 1, touch("", "a")), None);
    assert_eq!(desk.waiting(), 0);
}

#[test]
fn a_pipeline_that_another_process_has_is_not_touched() {
    let mut desk = Desk::new(9);
    desk.add(job("a"), 0, touch("", "a"));
    desk.add(job("b"), 1, touch("", "b"));
    let called = desk.call(|job| job.as_str() == "b");
    assert_eq!(called, [job("b")]);
    assert!(desk.at_work(1) && !desk.at_work(0));
    assert_eq!(why(&desk, "a"), None);
    assert_eq!(desk.waiting(), 1);
}

/// Random jobs over a chain of nodes: all of them end, and no two steps that touch the same ever run at once.
#[test]
fn all_jobs_end_and_no_steps_clash() {
    proptest::proptest!(|(jobs in proptest::collection::vec((0_usize..6, 1_usize..4), 1..12), max in 1_usize..4)| {
        let mut desk = Desk::new(max);
        let wants = |(from, n): (usize, usize)| -> BTreeMap<String, Touch> {
            (from..from + n).map(|i| (format!("s{i}"), touch(&format!("n{i}"), &format!("n{}", i + 1)))).collect()
        };
        for (i, span) in jobs.iter().enumerate() {
            let all = wants(*span);
            let all = Touch {
                makes: all.values().flat_map(|step| step.makes.clone()).collect(),
                reads: all.values().flat_map(|step| step.reads.clone()).collect(),
            };
            desk.add(job(&format!("j{i}")), 0, all);
        }
        let mut running: Vec<(usize, usize)> = Vec::new();
        let mut turns = 0;
        while desk.jobs().next().is_some() {
            turns += 1;
            proptest::prop_assert!(turns < 1_000, "it does not end: {desk:?}");
            // What is said of all of them at once is what is found for each.
            let why = |desk: &Desk, i: usize| {
                let turn = (desk.at_work >= max).then_some(Wait::Turn);
                desk.holder(i).map(|(job, shared)| Wait::Job(job, shared)).or(turn)
            };
            let told = desk.waits(desk.jobs());
            for (i, entry) in desk.entries.iter().enumerate().filter(|(_, entry)| matches!(entry.stage, Stage::Waiting(_))) {
                proptest::prop_assert_eq!(told[&entry.job].clone(), why(&desk, i));
            }
            let waiting = desk.entries.iter().filter(|entry| matches!(entry.stage, Stage::Waiting(_))).count();
            proptest::prop_assert_eq!(desk.waiting(), waiting);
            for called in desk.call(|_| true) {
                let i: usize = called.as_str()[1..].parse().unwrap();
                if desk.planned(&called, wants(jobs[i])) {
                    running.push((i, jobs[i].0));
                }
            }
            proptest::prop_assert!(running.len() <= max);
            for (a, step) in &running {
                for (b, other) in running.iter().filter(|(b, _)| b != a) {
                    proptest::prop_assert!(step.abs_diff(*other) > 1, "j{a} at {step} with j{b} at {other}");
                }
            }
            let (i, step) = running.remove(turns % running.len().max(1));
            let name = job(&format!("j{i}"));
            desk.step_over(&name, &format!("s{step}"));
            if step + 1 < jobs[i].0 + jobs[i].1 {
                running.push((i, step + 1));
            } else {
                desk.over(&name);
            }
        }
    });
}
