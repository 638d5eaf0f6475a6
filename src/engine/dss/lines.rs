//! Lists of jobs may name a job twice, and tell less of it the second time: makes one line of all that was told of a job.
//! Asks nobody.

use std::collections::BTreeMap;

use crate::pipeline::dss_wire::{JobDef, JobItem, Output, is_over};

/// Each job once, where it first stood. Lines that name no job stay as they are.
pub(super) fn one_each(lines: Vec<JobItem>) -> Vec<JobItem> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut jobs: Vec<JobItem> = Vec::with_capacity(lines.len());
    for line in lines {
        match line.id().and_then(|id| places.get(id)).copied() {
            Some(place) => {
                let first = std::mem::take(&mut jobs[place]);
                jobs[place] = together(first, line);
            }
            None => {
                places.extend(line.id().map(|id| (id.to_owned(), jobs.len())));
                jobs.push(line);
            }
        }
    }
    jobs
}

/// What two lines tell of one job. Of two words the first counts, but what has ended has ended.
pub(super) fn together(first: JobItem, second: JobItem) -> JobItem {
    let over = second.over() && !first.over();
    let (told, other) = if over || !first.tells() { (&second, &first) } else { (&first, &second) };
    let state = told.state.clone().or_else(|| other.state.clone().filter(|state| !told.over() || is_over(state)));
    let (stable, end_ms) = (told.stable, told.end_ms.or(other.end_ms));
    JobItem {
        def: match (first.def, second.def) {
            (Some(first), Some(second)) => Some(one_of(first, second)),
            (first, second) => first.or(second),
        },
        state,
        stable,
        start_ms: first.start_ms.or(second.start_ms),
        end_ms,
        warnings: first.warnings.or(second.warnings),
        job_id: first.job_id.or(second.job_id),
        top_id: first.top_id.or(second.top_id),
        project_key: first.project_key.or(second.project_key),
        person: first.person.or(second.person),
    }
}

/// What two definitions tell of one job.
pub(super) fn one_of(first: JobDef, second: JobDef) -> JobDef {
    JobDef {
        id: first.id.or(second.id),
        name: first.name.or(second.name),
        kind: first.kind.or(second.kind),
        project: first.project.or(second.project),
        initiator: first.initiator.or(second.initiator),
        triggered_from: first.triggered_from.or(second.triggered_from),
        initiated_ms: first.initiated_ms.or(second.initiated_ms),
        recipe: first.recipe.or(second.recipe),
        refresh_hive_metastore: first.refresh_hive_metastore.or(second.refresh_hive_metastore),
        outputs: outputs(first.outputs, second.outputs),
    }
}

/// What two lists of outputs tell: of each what both do where they are the same, else the one that tells more.
fn outputs(first: Vec<Output>, second: Vec<Output>) -> Vec<Output> {
    let id = |output: &Output| Some(output.target("").id).filter(|id| !id.is_empty());
    let same = |(one, other): (&Output, &Output)| id(one).zip(id(other)).is_none_or(|(one, other)| one == other);
    if first.len() != second.len() || !first.iter().zip(&second).all(same) {
        return if told(&second) > told(&first) { second } else { first };
    }
    let both = |(one, other): (Output, Output)| Output {
        kind: one.kind.or(other.kind),
        id: one.id.or(other.id),
        project: one.project.or(other.project),
        partition: one.partition.or(other.partition),
        target_dataset: one.target_dataset.or(other.target_dataset),
        target_dataset_project: one.target_dataset_project.or(other.target_dataset_project),
        target_folder: one.target_folder.or(other.target_folder),
        target_folder_project: one.target_folder_project.or(other.target_folder_project),
        model: one.model.or(other.model),
        target_partition: one.target_partition.or(other.target_partition),
    };
    first.into_iter().zip(second).map(both).collect()
}

/// How much outputs tell: whether there are any, whether each is named, whether each has its partition.
fn told(outputs: &[Output]) -> (bool, bool, bool) {
    let named = outputs.iter().all(|output| !output.target("").id.is_empty());
    let parted = outputs.iter().all(|output| output.partition.is_some() || output.target_partition.is_some());
    (!outputs.is_empty(), named, parted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<JobItem> {
        one_each(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn a_job_that_is_named_twice_is_one() {
        let jobs = lines(
            r#"[{"jobId":"x","state":"RUNNING"},{"jobId":"y","state":"DONE"},
                {"def":{"id":"x","type":"RECURSIVE_BUILD","outputs":[{"targetDataset":"a"},{}]}},{"state":"RUNNING"},
                {"def":{"id":"x","initiationTimestamp":7,"outputs":[{"type":"DATASET"},{"id":"b"}]},"state":"NOT_STARTED"}]"#,
        );
        let ids: Vec<_> = jobs.iter().map(|job| job.id().unwrap_or("-")).collect();
        assert_eq!(ids, ["x", "y", "-"]);
        let def = jobs[0].def.as_ref().unwrap();
        assert_eq!((def.kind.as_deref(), def.initiated_ms), (Some("RECURSIVE_BUILD"), Some(7)));
        assert_eq!([0, 1].map(|i| def.outputs[i].target("P").id), ["a", "b"], "each tells what the other lacks");
        assert_eq!(jobs[0].state.as_deref(), Some("RUNNING"), "the first word counts");
    }

    #[test]
    fn what_has_ended_has_ended() {
        for (text, over, state) in [
            (
                r#"[{"id":"x","state":"RUNNING","stableState":false},{"id":"x","state":"DONE","stableState":true}]"#,
                true,
                "DONE",
            ),
            (r#"[{"id":"x","state":"FAILED"},{"id":"x","state":"RUNNING","stableState":false}]"#, true, "FAILED"),
            (r#"[{"id":"x","stableState":true},{"id":"x","state":"RUNNING"}]"#, true, ""),
            (r#"[{"id":"x","stableState":true},{"id":"x","state":"DONE"}]"#, true, "DONE"),
            (r#"[{"id":"x"},{"id":"x","state":"RUNNING"}]"#, false, "RUNNING"),
        ] {
            let jobs = lines(text);
            assert_eq!((jobs.len(), jobs[0].over()), (1, over), "{text}");
            assert_eq!(jobs[0].state.as_deref().unwrap_or_default(), state, "{text}");
        }
    }
}
