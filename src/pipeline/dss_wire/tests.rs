//! What answers of DSS are read as, whatever they lack.

use super::*;

fn read<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap()
}

#[test]
fn any_field_may_be_missing_null_or_of_another_type() {
    for text in ["{}", r#"{"baseStatus":null,"def":7,"removed":"no"}"#, r#"{"baseStatus":[],"logTail":{"lines":3}}"#] {
        assert_eq!(read::<JobStatus>(text).state(), "", "{text}");
    }
    let status: JobStatus = read(
        r#"{"baseStatus":{"state":"FAILED","jobEndTime":"soon","activities":{
            "a_NP":{"state":"FAILED","firstFailure":{"message":" broken "},"targets":[{"id":"P.a"},4]},"b_NP":3}}}"#,
    );
    let activities: Vec<_> = status.activities().collect();
    assert_eq!(activities.len(), 1);
    assert_eq!(activities[0].1.targets.len(), 1);
    assert_eq!(activities[0].1.failure.as_ref().and_then(Trouble::text), Some("broken"));
}

#[test]
fn outputs_are_the_same_however_they_are_written() {
    let target = |text: &str| read::<Output>(text).target("P");
    let orders = Target {
        kind: "DATASET".to_owned(),
        project: "P".to_owned(),
        id: "orders".to_owned(),
        partition: "NP".to_owned(),
    };
    for text in [
        r#"{"id":"orders"}"#,
        r#"{"type":null,"id":"orders","projectKey":null,"partition":null}"#,
        r#"{"type":"DATASET","id":"orders","projectKey":"P","partition":"NP"}"#,
        r#"{"type":"DATASET","targetDataset":"orders","targetDatasetProjectKey":"P","targetPartition":"NP"}"#,
    ] {
        assert_eq!(target(text), orders, "{text}");
    }
    assert_eq!(target(&serde_json::to_string(&orders.request()).unwrap()), orders);
    let folder = target(r#"{"type":"MANAGED_FOLDER","targetManagedFolder":"O2u","targetPartition":"2026-11-01"}"#);
    assert_eq!(
        (folder.kind.as_str(), folder.id.as_str(), folder.partition.as_str()),
        ("MANAGED_FOLDER", "O2u", "2026-11-01")
    );
    assert_eq!(target(r#"{"id":"a","partition":["x","y"]}"#).partition, "x,y");
    assert_eq!(target(r#"{"type":"KNOWLEDGE_BANK","id":"k"}"#).kind, "RETRIEVABLE_KNOWLEDGE");
}

#[test]
fn an_unknown_state_is_not_the_end() {
    let over = |text: &str| read::<JobItem>(text).over();
    assert!(over(r#"{"state":"ABORTED","startTime":0,"endTime":0}"#));
    assert!(over(r#"{"state":"SOMETHING","stableState":true}"#));
    assert!(!over(r#"{"state":"WAITING_CONFIRMATION","stableState":false}"#));
    assert!(!over("{}"));
    assert_eq!(read::<JobItem>(r#"{"jobId":"j","def":{"id":"d"}}"#).id(), Some("j"));
    assert_eq!(read::<JobItem>(r#"{"def":{"id":"d"}}"#).id(), Some("d"));
}
