//! Events of a run of two steps, as they are made up: `b` is made from what `a` makes.

use serde_json::{Value, json};

use crate::event::Stamped;

/// These events, each with when it happened, behind the beginning of the run.
pub(crate) fn happened(events: &[(u64, Value)]) -> Vec<Stamped> {
    let first = (0, started());
    let all = (0_u64..).zip(std::iter::once(&first).chain(events));
    let stamp = |(seq, (at, event)): (u64, &(u64, Value))| {
        let mut event = event.clone();
        let place = json!({ "version": 1, "job": "j", "seq": seq, "at": "2026-01-01T00:00:00Z", "elapsed_ms": at });
        event.as_object_mut().unwrap().extend(place.as_object().unwrap().clone());
        serde_json::from_value(event).unwrap()
    };
    all.map(stamp).collect()
}

fn started() -> Value {
    let step = |id: &str, stage: u32| json!({ "id": id, "outputs": [id], "stage": stage, "action": "build", "reasons": [], "place": "", "attempts": 2 });
    json!({
        "type": "run_started", "pipeline": "p", "project": "P", "file": "p.toml", "engine": "local", "mode": "smart",
        "schedule": "eager", "targets": [], "max_parallel": 1, "by": "me", "pid": 1, "host": "h", "kiln": "0", "again": "",
        "steps": [step("a", 1), step("b", 2)], "up_to_date": 0,
    })
}

pub(crate) fn begin(step: &str, attempt: u32) -> Value {
    let log = format!("logs/j/{step}.{attempt}.log");
    json!({ "type": "step_started", "step": step, "attempt": attempt, "command": "x", "log": log })
}

pub(crate) fn built(step: &str, attempt: u32, took: u64) -> Value {
    json!({ "type": "step_ended", "step": step, "attempt": attempt, "outcome": "built", "took_ms": took })
}

pub(crate) fn retrying(step: &str, took: u64) -> Value {
    let failure = json!({ "code": "exit", "message": "exit 1" });
    json!({ "type": "step_retrying", "step": step, "attempt": 1, "took_ms": took, "failure": failure, "wait_ms": 100 })
}

pub(crate) fn publishing(step: &str) -> Value {
    let record = json!({ "key": crate::base::digest::Digest::of(b"key"), "parts": {}, "outputs": [] });
    json!({ "type": "step_publishing", "step": step, "took_ms": 1, "record": record, "staged": [] })
}
