//! Stores that are spoiled in every way: what cannot be read is told, nothing is written over, and there is a way out.

use std::path::Path;

use super::*;
use crate::base::job::JobId;
use crate::store::tests::{Tale, keep};
use crate::store::write::Writer;

/// Flips and cuts are made at so many places of a file.
const PLACES: usize = 40;

fn now() -> jiff::Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

fn tales() -> [Tale; 3] {
    [Tale::failing(1), Tale::dying(2), Tale::begin(3, &["a", "b"]).build("a", "three")]
}

/// The files of a store, the log of writes among them, since its writer still lives when they are copied.
fn files(closed: bool) -> Vec<(&'static str, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &tales()[..2]);
    let reader = Reader::open(dir.path()).unwrap().unwrap();
    if !closed {
        let mut writer = Writer::open(dir.path(), Box::new(|_| {})).unwrap();
        for event in &tales()[2].events {
            crate::report::api::Journal::append(&mut writer, [event.clone()].into(), Vec::new());
        }
        writer.flush().unwrap();
        let all = copies(dir.path());
        drop(writer);
        assert!(all.iter().any(|(end, bytes)| *end == "-wal" && bytes.len() > 4_096), "there is a log of writes");
        return all;
    }
    drop(reader);
    copies(dir.path()).into_iter().filter(|(end, _)| end.is_empty()).collect()
}

fn copies(state: &Path) -> Vec<(&'static str, Vec<u8>)> {
    let read = |end| Some((end, fs::read(with_end(&state.join(schema::FILE), end)).ok()?));
    FILES.into_iter().filter_map(read).collect()
}

/// Everything that is asked of a store, and a place in it to write to.
fn all(state: &Path) -> Result<Vec<JobId>, StoreError> {
    events(state)?;
    rows(state)?;
    Writer::open(state, Box::new(|_| {}))?.close()?;
    Reader::open(state)?.map_or(Ok(Vec::new()), |reader| reader.jobs())
}

/// Spoils one of the files: it works as before, or with less of the last writes, or it is told and left alone, and then
/// there is a way out.
#[track_caller]
fn spoil(files: &[(&str, Vec<u8>)], which: &str, how: &str, change: impl FnOnce(&mut Vec<u8>)) -> Option<Recovered> {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    let mut files = files.to_vec();
    change(&mut files.iter_mut().find(|(end, _)| *end == which).unwrap().1);
    let path = state.join(schema::FILE);
    for (end, bytes) in &files {
        fs::write(with_end(&path, end), bytes).unwrap();
    }
    let Err(error) = all(state) else { return None };
    let bytes = |end| fs::read(with_end(&path, end)).unwrap();
    assert!(bytes("") == files[0].1, "{how}: it was written over");
    match error {
        StoreError::Damaged { .. } | StoreError::Older { .. } => {}
        StoreError::Newer { .. } => {
            assert!(recover(state, now(), false).is_err(), "{how}: it may be all right for a newer version");
            return None;
        }
        StoreError::Io { .. } | StoreError::Torn { .. } | StoreError::Gone { .. } | StoreError::Crashed => {
            panic!("{how}: {error}")
        }
    }
    let done = recover(state, now(), false).unwrap();
    all(state).unwrap_or_else(|error| panic!("{how}: {done:?}: {error}"));
    if let Recovered::Moved(_, moved) = &done {
        assert!(fs::read(&moved[0]).unwrap() == files[0].1, "{how}: what was moved is what there was");
    }
    Some(done)
}

fn places(length: usize) -> impl Iterator<Item = usize> {
    (0..PLACES).map(move |i| i * length / PLACES + i % 61).filter(move |at| *at < length)
}

#[test]
fn a_bit_that_has_flipped_is_harmless_or_told() {
    let files = files(true);
    let length = files[0].1.len();
    // The header holds more that matters than the rest.
    let found = (0..100)
        .chain(places(length))
        .map(|at| spoil(&files, "", &format!("byte {at} of {length}"), |bytes| bytes[at] ^= 1 << (at % 8)));
    let told = found.flatten().count();
    assert!(told > 30, "only {told} were told");
}

#[test]
fn what_was_cut_off_is_harmless_or_told() {
    let files = files(true);
    let length = files[0].1.len();
    let found = places(length).map(|at| spoil(&files, "", &format!("cut to {at}"), |bytes| bytes.truncate(at)));
    assert!(found.flatten().count() > PLACES * 9 / 10);
}

#[test]
fn a_spoiled_log_of_writes_ends_earlier() {
    let files = files(false);
    for end in ["-wal", "-shm"] {
        let length = files.iter().find(|(other, _)| *other == end).unwrap().1.len();
        for at in places(length) {
            let flipped = spoil(&files, end, &format!("{end}, byte {at}"), |bytes| bytes[at] ^= 1 << (at % 8));
            let cut = spoil(&files, end, &format!("{end}, cut to {at}"), |bytes| bytes.truncate(at));
            assert_eq!((flipped, cut), (None, None), "{end} {at}");
        }
    }
}

#[test]
fn what_follows_from_events_is_made_again_and_nothing_sound_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    assert_eq!(recover(state, now(), false).unwrap(), Recovered::None);
    keep(state, &tales());
    assert_eq!(recover(state, now(), false).unwrap(), Recovered::Sound);
    let (connection, _) = schema::open_write(state).unwrap();
    connection.execute_batch("UPDATE keys SET key = 'x'").unwrap();
    for dry in [true, false] {
        assert_eq!(recover(state, now(), dry).unwrap(), Recovered::Remade);
    }
    assert_eq!(recover(state, now(), false).unwrap(), Recovered::Sound);
    connection.execute_batch("UPDATE events SET body = '{' WHERE seq = 2").unwrap();
    drop(connection);
    let moved = |done| {
        let Recovered::Moved(why, moved) = done else { panic!("{done:?}") };
        (why, moved)
    };
    let (why, would) = moved(recover(state, now(), true).unwrap());
    assert!(why.starts_with("a row cannot be read"), "{why}");
    assert!(would.iter().all(|path| !path.exists()) && state.join(schema::FILE).exists());
    let (_, moved) = moved(recover(state, now(), false).unwrap());
    assert_eq!(moved[0], state.join("kiln.damaged-2026-06-01T12-00-00.000.db"));
    assert!(moved.iter().all(|path| path.exists()));
    assert_eq!(all(state).unwrap(), [] as [JobId; 0]);
}

#[test]
fn what_stands_of_a_run_and_cannot_be_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &tales());
    let first = |state: &Path| Reader::open(state)?.unwrap().runs(&RunFilter::default());
    let before = first(dir.path()).unwrap();
    for wrong in ["state = 'LATER'", "ended = 'yesterday'", "started = 'yesterday'"] {
        let (connection, _) = schema::open_write(dir.path()).unwrap();
        connection.execute_batch(&format!("UPDATE runs SET {wrong}")).unwrap();
        drop(connection);
        let error = first(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{wrong}: {error}");
        assert_eq!(recover(dir.path(), now(), false).unwrap(), Recovered::Remade, "{wrong}");
        assert_eq!(first(dir.path()).unwrap(), before, "{wrong}");
    }
}

#[test]
fn a_history_that_is_in_use_is_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path();
    fs::write(state.join(schema::FILE), "spoiled").unwrap();
    let holder = lock::Holder::here("now");
    let lock = lock::Lock::take(state, "p", &holder).unwrap();
    let error = recover(state, now(), false).unwrap_err().to_string();
    assert_eq!(error, format!("a run of `p` goes on: {holder}"));
    drop(lock);
    assert!(matches!(recover(state, now(), false).unwrap(), Recovered::Moved(..)));
}

#[test]
fn nobody_begins_with_a_history_that_is_about_to_be_moved() {
    let dir = tempfile::tempdir().unwrap();
    let (state, holder) = (dir.path(), lock::Holder::here("now"));
    drop(Lock::take(state, "p", &holder).unwrap());
    let alone = Alone::with(state).unwrap();
    assert!(matches!(Lock::take(state, "p", &holder), Err(LockError::Held(_))));
    alone.holds(state).unwrap();
    // It was never run here before.
    let _other = Lock::take(state, "q", &holder).unwrap();
    assert_eq!(alone.holds(state).unwrap_err().to_string(), format!("a run of `q` goes on: {holder}"));
}

#[test]
fn who_wrote_a_history_that_was_moved_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let writer = Writer::open(dir.path(), Box::new(|_| {})).unwrap();
    let path = dir.path().join(schema::FILE);
    move_aside(dir.path(), &[(path.clone(), with_end(&path, ".damaged"))]).unwrap();
    assert!(matches!(writer.close(), Err(StoreError::Gone { .. })));
}

#[test]
fn a_store_of_before_the_first_release_is_refused_with_a_way_out() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), &tales());
    let path = dir.path().join(schema::FILE);
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1").unwrap();
    let error = all(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 1, .. }), "{error}");
    assert!(error.to_string().contains("`kiln gc --recover` moves it aside"), "{error}");
    assert!(matches!(recover(dir.path(), now(), false).unwrap(), Recovered::Moved(..)));
    all(dir.path()).unwrap();
}
