//! What a step is on DSS: the request for its job, and whether another job is the same. Sends nothing.

use serde::{Deserialize, Serialize};

use crate::base::id::RecipeId;
use crate::base::job::BuildMode;
use crate::pipeline::dss_wire::{JobDef, JobItem, NO_PARTITION, Output, StartJob, Target, build, thing_type};
use crate::pipeline::types::{Pipeline, Rebuild};

/// What is asked for: the build type and the outputs, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// The build type.
    pub(super) kind: String,
    /// What is built.
    pub(super) targets: Vec<Target>,
}

/// What a job is to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Relation {
    /// It builds the same in the same way.
    Same,
    /// What is known of it does not tell.
    Unclear,
    /// It does not.
    Other,
}

impl Spec {
    /// What a recipe is asked for as.
    pub(super) fn of(
        pipeline: &Pipeline,
        id: RecipeId,
        mode: BuildMode,
        project: &str,
        partition: Option<&str>,
    ) -> Self {
        let kind = match mode {
            BuildMode::Smart if pipeline.recipes[id].rebuild == Rebuild::Always => build::ONLY,
            BuildMode::Smart => build::SMART,
            BuildMode::Only | BuildMode::Forced => build::ONLY,
            BuildMode::Missing => build::MISSING,
        };
        Self { kind: kind.to_owned(), targets: targets(pipeline, [id], project, partition) }
    }

    /// What recipes are asked for as in one job: there is nothing above them that would be built twice.
    pub(super) fn of_all(
        pipeline: &Pipeline,
        ids: impl IntoIterator<Item = RecipeId>,
        mode: BuildMode,
        project: &str,
        partition: Option<&str>,
    ) -> Self {
        let kind = build::of(mode);
        let mut targets = targets(pipeline, ids, project, partition);
        // The job runs in the project of the first.
        targets.sort_by_key(|target| target.project != project);
        Self { kind: kind.to_owned(), targets }
    }

    /// The project that the job runs in: that of its first output.
    pub(super) fn project(&self) -> &str {
        self.targets.first().map_or("", |target| target.project.as_str())
    }

    /// The one text for it.
    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The request for a job.
    pub(super) fn request(&self, auto_update_schema: bool, refresh_hive_metastore: bool) -> StartJob {
        StartJob {
            kind: Some(self.kind.clone()),
            refresh_hive_metastore: Some(refresh_hive_metastore),
            auto_update_schema: Some(auto_update_schema),
            outputs: self.targets.iter().map(Target::request).collect(),
        }
    }

    /// For people: `ORDERS.train, ORDERS.test`.
    pub(super) fn names(&self) -> String {
        let name = |target: &Target| match target.partition.as_str() {
            NO_PARTITION => format!("{}.{}", target.project, target.id),
            partition => format!("{}.{} ({partition})", target.project, target.id),
        };
        self.targets.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// What a job of a list is to this.
    pub(super) fn relation_to(&self, job: &JobItem) -> Relation {
        match &job.def {
            _ if !self.may_be(job) => Relation::Other,
            None => Relation::Unclear,
            Some(def) => self.relation(def),
        }
    }

    /// Whether a job of a list is the same for all that its line tells: whatever is missing there may be so.
    pub(super) fn may_be(&self, job: &JobItem) -> bool {
        let Some(def) = &job.def else { return true };
        let fits = |output: &Output| {
            let id = output.target("").id;
            id.is_empty() || self.targets.iter().any(|target| target.id == id)
        };
        def.kind.as_ref().is_none_or(|kind| *kind == self.kind) && def.outputs.iter().all(fits)
    }

    /// Whether a job of a list may build any of the same, in whatever way, for all that its line tells.
    pub(super) fn may_touch(&self, job: &JobItem) -> bool {
        let Some(def) = job.def.as_ref().filter(|def| !def.outputs.is_empty()) else { return true };
        let fits = |output: &Output| {
            let id = output.target("").id;
            id.is_empty() || self.targets.iter().any(|target| target.id == id)
        };
        def.outputs.iter().any(fits)
    }

    /// Whether a job builds any of the same, in whatever way: two of them do not go on beside each other.
    pub(super) fn touches(&self, def: &JobDef) -> Relation {
        let project = def.project.as_deref().unwrap_or_else(|| self.project());
        let partitioned = self.targets.iter().any(|target| target.partition != NO_PARTITION);
        let touch = |output: &Output| {
            let theirs = output.target(project);
            let untold = partitioned && output.partition.is_none() && output.target_partition.is_none();
            let of_same = |ours: &&Target| theirs.id.is_empty() || theirs.id == ours.id;
            match self.targets.iter().map(|ours| alike(ours, &theirs)).min() {
                _ if (untold || theirs.id.is_empty()) && self.targets.iter().any(|ours| of_same(&ours)) => {
                    Relation::Unclear
                }
                relation => relation.unwrap_or(Relation::Other),
            }
        };
        def.outputs.iter().map(touch).min().unwrap_or(Relation::Unclear)
    }

    /// What a job is to this, by its definition.
    pub(super) fn relation(&self, def: &JobDef) -> Relation {
        let (Some(kind), false) = (&def.kind, def.outputs.is_empty()) else { return Relation::Unclear };
        if *kind != self.kind {
            return Relation::Other;
        }
        let project = def.project.as_deref().unwrap_or_else(|| self.project());
        let theirs: Vec<Target> = def.outputs.iter().map(|output| output.target(project)).collect();
        let partitioned = self.targets.iter().any(|target| target.partition != NO_PARTITION);
        let untold = |output: &Output| output.partition.is_none() && output.target_partition.is_none();
        if theirs.iter().any(|target| target.id.is_empty()) || (partitioned && def.outputs.iter().any(untold)) {
            return Relation::Unclear;
        }
        relations(&self.targets, &theirs).max(relations(&theirs, &self.targets))
    }
}

/// What recipes make, in order.
fn targets(
    pipeline: &Pipeline,
    ids: impl IntoIterator<Item = RecipeId>,
    project: &str,
    partition: Option<&str>,
) -> Vec<Target> {
    let outputs = ids.into_iter().flat_map(|id| &pipeline.recipes[id].outputs);
    let mut targets: Vec<Target> = outputs
        .map(|node| {
            let node = &pipeline.nodes[*node];
            Target {
                kind: thing_type(node.kind).to_owned(),
                project: node.project.clone().unwrap_or_else(|| project.to_owned()),
                id: node.id.clone().unwrap_or_else(|| node.name.clone()),
                partition: partition.unwrap_or(NO_PARTITION).to_owned(),
            }
        })
        .collect();
    targets.sort();
    targets
}

/// What some targets are to others: each of them has to be among these.
fn relations(some: &[Target], others: &[Target]) -> Relation {
    let best = |one: &Target| others.iter().map(|other| alike(one, other)).min().unwrap_or(Relation::Other);
    some.iter().map(best).max().unwrap_or(Relation::Other)
}

/// Whether two targets are the same.
fn alike(one: &Target, other: &Target) -> Relation {
    let same = one.kind == other.kind && one.project == other.project && one.id == other.id;
    if same { partitions(&one.partition, &other.partition) } else { Relation::Other }
}

/// Whether two texts mean the same partitions. DSS may write a range as a list, and does not say whether its end belongs to it.
fn partitions(one: &str, other: &str) -> Relation {
    let sorted = |text: &str, between: &[char]| {
        let mut parts: Vec<String> = text.split(between).map(|part| part.trim().to_owned()).collect();
        parts.sort();
        parts.dedup();
        parts
    };
    if one == other || sorted(one, &[',']) == sorted(other, &[',']) {
        return Relation::Same;
    }
    if one == NO_PARTITION || other == NO_PARTITION || !(one.contains('/') || other.contains('/')) {
        return Relation::Other;
    }
    let (one, other) = (sorted(one, &[',', '/']), sorted(other, &[',', '/']));
    let ends = (one.first() == other.first(), one.last() == other.last());
    let apart = one.last() < other.first() || other.last() < one.first();
    match ends {
        // A list of just the two ends is not all that lies between them.
        (true, true) if one.len() != other.len() => Relation::Same,
        _ if apart => Relation::Other,
        _ => Relation::Unclear,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(targets: &[(&str, &str)]) -> Spec {
        let target = |(id, partition): &(&str, &str)| Target {
            kind: "DATASET".to_owned(),
            project: "P".to_owned(),
            id: (*id).to_owned(),
            partition: (*partition).to_owned(),
        };
        Spec { kind: build::SMART.to_owned(), targets: targets.iter().map(target).collect() }
    }

    fn relation(spec: &Spec, def: &str) -> Relation {
        spec.relation_to(&serde_json::from_str(def).unwrap())
    }

    #[test]
    fn jobs_are_told_apart_by_what_they_build() {
        let pair = spec(&[("a", "NP"), ("b", "NP")]);
        let job = |kind: &str, outputs: &str| format!(r#"{{"def":{{"type":"{kind}","outputs":[{outputs}]}}}}"#);
        let (a, b) = (r#"{"type":"DATASET","targetDataset":"a"}"#, r#"{"id":"b","projectKey":"P"}"#);
        assert_eq!(relation(&pair, &job("RECURSIVE_BUILD", &format!("{b},{a}"))), Relation::Same);
        assert_eq!(relation(&pair, &job("RECURSIVE_BUILD", a)), Relation::Other);
        assert_eq!(relation(&pair, &job("RECURSIVE_FORCED_BUILD", &format!("{a},{b}"))), Relation::Other);
        assert_eq!(relation(&pair, &job("RECURSIVE_BUILD", r#"{"type":"DATASET"}"#)), Relation::Unclear);
        assert_eq!(relation(&pair, r#"{"def":{"outputs":[{"id":"a"}]}}"#), Relation::Unclear);
        assert_eq!(relation(&pair, r#"{"def":{"outputs":[{"id":"x"}]}}"#), Relation::Other);
        assert_eq!(relation(&pair, r#"{"jobId":"x"}"#), Relation::Unclear);
    }

    #[test]
    fn what_is_missing_may_be_so() {
        let may_be = |spec: &Spec, def: &str| spec.may_be(&serde_json::from_str(def).unwrap());
        let pair = spec(&[("a", "NP"), ("b", "NP")]);
        for (def, expected) in [
            ("{}", true),
            (r#"{"def":{}}"#, true),
            (r#"{"def":{"outputs":[{"targetDataset":"a"},{"type":"DATASET"}]}}"#, true),
            (r#"{"def":{"type":"RECURSIVE_BUILD","outputs":[{"targetDataset":"b"}]}}"#, true),
            (r#"{"def":{"type":"RECURSIVE_FORCED_BUILD"}}"#, false),
            (r#"{"def":{"outputs":[{"targetDataset":"a"},{"targetDataset":"c"}]}}"#, false),
        ] {
            assert_eq!(may_be(&pair, def), expected, "{def}");
        }
        let day = spec(&[("a", "2026-11-01")]);
        let def = r#"{"def":{"type":"RECURSIVE_BUILD","outputs":[{"targetDataset":"a"}]}}"#;
        assert_eq!(relation(&day, def), Relation::Unclear, "of which partition?");
    }

    #[test]
    fn a_range_may_come_back_in_other_words() {
        let range = spec(&[("a", "2026-11-01/2026-11-03")]);
        let job = |partition: &str| {
            format!(
                r#"{{"def":{{"type":"RECURSIVE_BUILD","outputs":[{{"id":"a","targetPartition":"{partition}"}}]}}}}"#
            )
        };
        for (partition, expected) in [
            ("2026-11-01,2026-11-02,2026-11-03", Relation::Same),
            ("2026-11-03,2026-11-01", Relation::Unclear),
            ("2026-11-01,2026-11-02", Relation::Unclear),
            ("2026-11-02", Relation::Unclear),
            ("2026-12-01", Relation::Other),
            ("2026-10-01/2026-10-31", Relation::Other),
            ("NP", Relation::Other),
        ] {
            assert_eq!(relation(&range, &job(partition)), expected, "{partition}");
        }
        let list = spec(&[("a", "FR,EN")]);
        for (partition, expected) in
            [("EN,FR", Relation::Same), ("EN", Relation::Other), ("EN,DE", Relation::Other), ("FR, EN", Relation::Same)]
        {
            assert_eq!(relation(&list, &job(partition)), expected, "{partition}");
        }
        assert_eq!(relation(&spec(&[("a", "2026-11-01")]), &job("2026-11-02")), Relation::Other);
    }
}
