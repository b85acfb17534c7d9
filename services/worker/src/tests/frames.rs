//! The main path: frames in, outcomes and dead letters out, nothing lost.

use halcyon_domain::ontology::OntologyObject;
use halcyon_domain::{event::Verdict, id::DatasourceId, lifecycle::RuntimeStatus};

use super::support::{EDGE, Rig, broken, event, push, soon, version};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_become_outcomes_and_dead_letters() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let assignment = push(version(3, "t"), 1);
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    let datasource = assignment.datasource;
    rig.accept(datasource, "good", r#"{"id": "a"}"#).await;
    rig.accept(datasource, "two", r#"[{"id": "b"}, {"no": "id"}]"#)
        .await;
    rig.accept(datasource, "bad", "no json").await;
    let mut outcomes = rig.outcomes();
    outcomes.until(3).await;
    let find = |id: &str| {
        outcomes
            .seen
            .iter()
            .find(|outcome| outcome.event.as_str() == id)
            .unwrap()
    };
    let verdicts = |id: &str| {
        find(id)
            .records
            .iter()
            .map(|record| record.verdict)
            .collect::<Vec<_>>()
    };
    assert_eq!(verdicts("good"), [Verdict::Delivered]);
    assert_eq!(verdicts("two"), [Verdict::Delivered, Verdict::DeadLettered]);
    assert_eq!(verdicts("bad"), [Verdict::DeadLettered]);
    assert_eq!(find("good").version, 3);
    assert!(
        matches!(&find("good").records[0].objects[0], OntologyObject::Alert(alert) if alert.external_id == "a")
    );

    let letters = rig
        .bus
        .dead_letters(assignment.organization, datasource, 1, 10)
        .await
        .unwrap();
    let mut letters: Vec<_> = letters.into_iter().map(|stored| stored.dead_letter).collect();
    letters.sort_by_key(|letter| letter.event.id.clone());
    let found: Vec<_> = letters
        .iter()
        .map(|letter| {
            (
                letter.event.id.as_str(),
                letter.index,
                letter.failure.code.as_str(),
                letter.version,
            )
        })
        .collect();
    assert_eq!(found, [("bad", 0, "invalid_json", 3), ("two", 1, "required", 3)]);
    assert_eq!(&letters[0].event.payload[..], b"no json");

    let status = rig.told(datasource, |status| status.metrics.events == 3).await;
    assert_eq!(
        (status.status, status.version, status.generation),
        (RuntimeStatus::Running, Some(3), 1)
    );
    let numbers = &status.metrics;
    assert_eq!(
        (
            numbers.records,
            numbers.delivered,
            numbers.dead_lettered,
            numbers.objects
        ),
        (4, 2, 2, 2)
    );
    assert!(status.last_event_at.is_some());
    let logs = rig
        .bus
        .recent_logs(assignment.organization, datasource, 100)
        .await
        .unwrap();
    assert!(
        logs.iter().any(|line| line.message.contains("version 3 runs")),
        "{logs:?}"
    );
    assert!(
        logs.iter()
            .any(|line| line.correlation_id.as_deref() == Some("bad")),
        "{logs:?}"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_swapped_while_events_flow_and_a_broken_one_is_refused() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(version(1, "one"), 1);
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    rig.told(datasource, |status| status.version == Some(1)).await;
    let flow = rig.accept_many(datasource, 0..400);
    let swap = async {
        assignment.wanted = version(2, "two");
        assignment.generation = 2;
        rig.assign(&assignment).await;
        rig.told(datasource, |status| {
            status.generation == 2 && status.version == Some(2)
        })
        .await;
        rig.accept_many(datasource, 400..420).await;
        assignment.wanted = broken(3);
        assignment.generation = 3;
        rig.assign(&assignment).await;
        rig.told(datasource, |status| status.generation == 3).await
    };
    let ((), refused) = tokio::join!(flow, swap);
    assert_eq!(
        (refused.status, refused.version),
        (RuntimeStatus::Running, Some(2))
    );
    assert_eq!(refused.reason, halcyon_domain::lifecycle::Reason::VersionRejected);
    assert!(
        refused
            .message
            .is_some_and(|message| message.contains("/mapping/outputs/0/fields/title"))
    );
    rig.accept_many(datasource, 420..430).await;
    let mut outcomes = rig.outcomes();
    for outcome in outcomes.until(430).await {
        let OntologyObject::Alert(alert) = &outcome.records[0].objects[0] else {
            panic!("no alert")
        };
        let expected = if outcome.version == 1 { "one" } else { "two" };
        assert_eq!(
            alert.title, expected,
            "an event is mapped by the version it is recorded with"
        );
        let number: u32 = outcome
            .event
            .as_str()
            .rsplit('-')
            .next()
            .unwrap()
            .parse()
            .unwrap();
        assert!(number < 400 || outcome.version == 2);
    }
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_nats_is_killed_or_a_worker_dies() {
    let mut rig = Rig::new().await;
    let first = rig.worker().await;
    let assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold(Some(first.id)).await;
    rig.accept_many(datasource, 0..300).await;
    rig.restart_nats().await;
    rig.accept_many(datasource, 300..600).await;
    first.kill();
    let second = rig.worker().await;
    rig.hold(Some(second.id)).await;
    rig.accept_many(datasource, 600..700).await;
    let mut outcomes = rig.outcomes();
    outcomes.until(700).await;
    assert_eq!(outcomes.events().len(), 700);
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_move_and_a_stop_drains() {
    let rig = Rig::new().await;
    let (one, other) = (rig.worker().await, rig.worker().await);
    let assignment = push(version(1, "t"), 1);
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold(Some(one.id)).await;
    let flow = rig.accept_many(datasource, 0..500);
    let moves = async {
        rig.hold(Some(other.id)).await;
        rig.hold(Some(one.id)).await;
        rig.hold(Some(other.id)).await;
        one.stop().await;
    };
    tokio::join!(flow, moves);
    let mut outcomes = rig.outcomes();
    outcomes.until(500).await;
    soon(other.stop()).await;
    assert!(outcomes.seen.iter().all(|outcome| outcome.records.len() == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_datasource_holds_up_nobody_and_is_dead_lettered_in_the_end() {
    let rig = Rig::new()
        .await
        .with(|settings| settings.orphan_after = halcyon_domain::duration::HumanDuration::from_secs(3));
    let worker = rig.worker().await;
    let assignment = push(version(1, "t"), 1);
    // Of the same partition, so that they share frames.
    let partition = |id| halcyon_domain::partition::partition_of(id, 0, super::support::PARTITIONS);
    let unknown = std::iter::repeat_with(DatasourceId::generate)
        .find(|id| partition(*id) == partition(assignment.datasource))
        .unwrap();
    rig.assign(&assignment).await;
    rig.hold(Some(worker.id)).await;
    tokio::join!(
        rig.accept(unknown, "orphan", "{}"),
        rig.accept(assignment.datasource, "known", r#"{"id": 1}"#),
    );
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    assert_eq!(outcomes.seen[0].event.as_str(), "known");
    outcomes.until(2).await;
    let failure = outcomes.seen[1].records[0].failure.as_ref().unwrap();
    assert_eq!(failure.code, "datasource_gone");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_of_a_pool_is_processed_on_the_pools_partition() {
    let rig = Rig::new().await;
    let worker = rig.worker().await;
    let mut assignment = push(version(1, "t"), 1);
    assignment.wanted.config["runtime"] = serde_json::json!({"worker_labels": ["edge"]});
    let datasource = assignment.datasource;
    rig.assign(&assignment).await;
    rig.hold_one(EDGE, Some(worker.id)).await;
    let event = event(datasource, "far", r#"{"id": "a"}"#);
    rig.publishers.submit(EDGE, &event, None).await.unwrap();
    let mut outcomes = rig.outcomes();
    outcomes.until(1).await;
    assert_eq!(outcomes.seen[0].records[0].verdict, Verdict::Delivered);
    let told = rig.told(datasource, |task| task.metrics.events == 1).await;
    assert_eq!(told.status, RuntimeStatus::Running);
    worker.stop().await;
}
