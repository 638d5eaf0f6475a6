//! What those hear who follow a job, and the log of a step.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;

use super::*;
use crate::report::api::Journal;
use crate::server::tests::events::{begin, built, happened};
use crate::store::lock::{Lock, here_now};
use crate::store::write::Writer;

/// A history in which this has happened in job `j`, which goes on as long as the lock is held.
fn archive(folder: &Path, events: &[(u64, serde_json::Value)]) -> (Arc<Archive>, Lock) {
    let archive = Archive::open(folder.join("state")).unwrap();
    let mut writer = Writer::open(&archive.folder, Box::new(|result| assert!(result.is_ok()))).unwrap();
    writer.append(happened(events).into(), Vec::new());
    writer.flush().unwrap();
    let lock = Lock::take(&archive.folder, "p", &here_now()).unwrap();
    (Arc::new(archive), lock)
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_quick_succession_is_told_together() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _lock) = archive(dir.path(), &[]);
    let steps = Arc::new(AtomicU64::new(1));
    let (known, mut told) = (Arc::clone(&steps), 0);
    let look: Look = Box::new(move |_, _| {
        let now = known.load(Ordering::SeqCst);
        let news = if now > told { format!("{now} ") } else { String::new() };
        told = now;
        Ok((news, false))
    });
    let mut follow = Follow {
        archive: Arc::clone(&archive),
        pipeline: "p".to_owned(),
        job: JobId::from_text("j"),
        news: archive.follow(),
        look,
        patience: STILL_THERE,
        done: false,
        pace: Pace::begin(PACE),
        silent: Instant::now(),
        _slot: Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap(),
    };
    let happens = async {
        for step in 2..=20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            steps.store(step, Ordering::SeqCst);
            archive.grown();
        }
    };
    let hears = async {
        let mut heard = String::new();
        while !heard.ends_with("20 ") {
            let (piece, next) = follow.next().await.unwrap().unwrap();
            follow = next;
            heard += std::str::from_utf8(&piece).unwrap();
        }
        heard
    };
    let ((), heard) = tokio::join!(happens, hears);
    // The first at once, and all of them in the end.
    assert!(heard.starts_with("1 ") && heard.split_whitespace().count() <= 6, "{heard}");
}

/// What is told of a log each time that somebody looks, without the ids.
struct Heard {
    archive: Arc<Archive>,
    tail: Tail,
}

impl Heard {
    fn look(&mut self) -> String {
        let standing = self.archive.run("p", &JobId::from_text("j")).unwrap().unwrap();
        let (text, _) = added(&self.archive, &standing, &mut self.tail).unwrap();
        let data = text.split("\n\n").filter_map(|message| message.split_once("data: "));
        data.map(|(_, data)| if data == "{}" { "skip ".to_owned() } else { serde_json::from_str(data).unwrap() })
            .collect()
    }
}

#[test]
fn characters_come_whole_however_a_log_grows() {
    let dir = tempfile::tempdir().unwrap();
    let (archive, _lock) = archive(dir.path(), &[(0, begin("a", 1))]);
    let log = archive.folder.join("logs/j/a.1.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let mut heard = Heard { archive, tail: Tail { step: "a".to_owned(), from: 0, lag: None } };
    let text = "\u{1f525}é€".as_bytes();
    let mut said = Vec::new();
    for end in 1..=text.len() {
        std::fs::write(&log, &text[..end]).unwrap();
        said.push(heard.look());
    }
    assert_eq!(said, ["", "", "", "\u{1f525}", "", "é", "", "", "€"]);
    // Whoever is too far behind goes on with a whole one, too.
    std::fs::write(&log, "\u{1f525}".repeat(10)).unwrap();
    for lag in 10..14 {
        heard.tail = Tail { step: "a".to_owned(), from: 0, lag: Some(lag) };
        let said = heard.look();
        assert!(said.strip_prefix("skip ").unwrap().chars().all(|c| c == '\u{1f525}'), "{lag}: {said}");
    }
}

#[test]
fn what_is_cut_for_good_is_told_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    // The first attempt ended within a character; the other one printed more.
    let (archive, _lock) = archive(dir.path(), &[(0, begin("a", 1)), (1, begin("a", 2))]);
    std::fs::create_dir_all(archive.folder.join("logs/j")).unwrap();
    std::fs::write(archive.folder.join("logs/j/a.1.log"), b"x\xe2\x82").unwrap();
    std::fs::write(archive.folder.join("logs/j/a.2.log"), b"y\xe2\x82").unwrap();
    let tail = || Tail { step: "a".to_owned(), from: 0, lag: None };
    let mut heard = Heard { archive, tail: tail() };
    let said: Vec<_> = (0..5).map(|_| heard.look()).collect();
    assert_eq!(said, ["x", "\u{fffd}", "y", "", ""]);
    // Once it has ended, nothing completes it.
    let (dir, _) = (tempfile::tempdir().unwrap(), dir);
    let (ended, _lock) = self::archive(dir.path(), &[(0, begin("a", 1)), (1, built("a", 1, 1))]);
    std::fs::create_dir_all(ended.folder.join("logs/j")).unwrap();
    std::fs::write(ended.folder.join("logs/j/a.1.log"), b"y\xe2\x82").unwrap();
    let mut heard = Heard { archive: ended, tail: tail() };
    assert_eq!([heard.look(), heard.look(), heard.look()], ["y", "\u{fffd}", ""]);
}
