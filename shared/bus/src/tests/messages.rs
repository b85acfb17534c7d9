//! The messages beside the data path.

use halcyon_domain::{
    assignment::{ConfigChange, Heartbeat, LogLevel, LogLine},
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
    error::InputError,
    event::{DeadLetter, EventId, Replay, ReplayMark},
    id::{AuditEntryId, DatasourceId, InstanceId, ObjectId, OrganizationId, OutboxId, ReplayId, WorkerId},
    ontology::{ObjectKind, OntologyObject},
};

use super::support::{event, now, server, soon};
use crate::{dead_letters::Place, objects::PublicObject, subjects::Stream};

#[tokio::test]
async fn a_change_and_an_audit_entry_count_once() {
    let (_nats, bus) = server().await;
    let (organization, datasource) = (OrganizationId::generate(), DatasourceId::generate());
    let change: ConfigChange = serde_json::from_value(serde_json::json!({
        "datasource": datasource, "organization": organization, "generation": 4
    }))
    .unwrap();
    let id = OutboxId::generate();
    bus.publish_config_change(id, &change).await.unwrap();
    bus.publish_config_change(id, &change).await.unwrap();
    let delivery = soon(bus.config_consumer().next()).await;
    assert_eq!(delivery.json::<ConfigChange>().unwrap(), change);
    assert_eq!(bus.stream_info(Stream::Config).await.unwrap().state.messages, 1);

    let entry = AuditEntry {
        id: AuditEntryId::generate(),
        organization,
        at: now(),
        actor: Actor {
            kind: ActorKind::System,
            id: None,
            name: "test".to_owned(),
        },
        action: "datasource.publish".to_owned(),
        resource: Resource {
            kind: "datasource".to_owned(),
            id: None,
            name: None,
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: None,
        request_id: None,
        remote_ip: None,
    };
    bus.publish_audit(&entry).await.unwrap();
    bus.publish_audit(&entry).await.unwrap();
    assert_eq!(bus.stream_info(Stream::Audit).await.unwrap().state.messages, 1);
    let delivery = soon(bus.audit_consumer().next()).await;
    assert_eq!(delivery.json::<AuditEntry>().unwrap(), entry);
}

#[tokio::test]
async fn pokes_and_heartbeats_arrive() {
    let (_nats, bus) = server().await;
    let mut pokes = bus.outbox_pokes().await.unwrap();
    let mut heartbeats = bus.heartbeats().await.unwrap();
    bus.rtt().await.unwrap();
    bus.poke_outbox().await;
    soon(pokes.next()).await;
    let heartbeat = Heartbeat {
        worker: WorkerId::generate(),
        instance: InstanceId::generate(),
        at: now(),
        tasks: Vec::new(),
        sources: Vec::new(),
        reached: 7,
        draining: true,
        partitions: Vec::new(),
    };
    bus.publish_heartbeat(&heartbeat).await.unwrap();
    assert_eq!(soon(heartbeats.next()).await.unwrap(), heartbeat);
}

fn line(organization: OrganizationId, datasource: DatasourceId, message: &str) -> LogLine {
    LogLine {
        organization,
        datasource,
        at: now(),
        level: LogLevel::Info,
        component: "worker.mapping".to_owned(),
        message: message.to_owned(),
        correlation_id: None,
    }
}

#[tokio::test]
async fn a_log_is_read_back_and_followed() {
    let (_nats, bus) = server().await;
    let (organization, one, other) = (
        OrganizationId::generate(),
        DatasourceId::generate(),
        DatasourceId::generate(),
    );
    assert!(bus.recent_logs(organization, one, 10).await.unwrap().is_empty());
    for n in 0..600 {
        bus.publish_log(&line(organization, one, &n.to_string()))
            .await
            .unwrap();
        bus.publish_log(&line(organization, other, "other"))
            .await
            .unwrap();
    }
    super::support::eventually(|| async {
        bus.stream_info(Stream::Logs).await.unwrap().state.messages == 1_200
    })
    .await;
    let recent = bus.recent_logs(organization, one, 3).await.unwrap();
    let messages: Vec<_> = recent.iter().map(|line| line.message.as_str()).collect();
    assert_eq!(messages, ["597", "598", "599"]);
    let mut tail = bus.tail_logs(organization, one, 1).await.unwrap();
    assert_eq!(soon(tail.next()).await.unwrap().message, "599");
    bus.publish_log(&line(organization, one, "new")).await.unwrap();
    assert_eq!(soon(tail.next()).await.unwrap().message, "new");
}

#[tokio::test]
async fn dead_letters_are_read_back_by_page_with_their_bytes() {
    let (_nats, bus) = server().await;
    let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
    let mut sent = Vec::new();
    for n in 0..5_u32 {
        let mut event = event(one, "");
        event.payload = bytes::Bytes::copy_from_slice(&[0xff, 0, u8::try_from(n).unwrap()]);
        let failure = InputError::new("/severity", "invalid", "not a number");
        let dead = DeadLetter {
            event,
            index: n,
            version: 1,
            failure,
            failed_at: now(),
            complete: n > 0,
        };
        bus.publish_dead_letter(&dead).await.unwrap();
        bus.publish_dead_letter(&dead).await.unwrap();
        let elsewhere = DeadLetter {
            event: super::support::event(other, "{}"),
            ..dead.clone()
        };
        bus.publish_dead_letter(&elsewhere).await.unwrap();
        sent.push(dead);
    }
    let organization = sent[0].event.organization;
    let (mut read, mut from) = (Vec::new(), 0);
    loop {
        let page = bus.dead_letters(organization, one, from, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        from = last.sequence + 1;
        read.extend(page);
    }
    let letters: Vec<_> = read.iter().map(|stored| stored.dead_letter.clone()).collect();
    assert_eq!(letters, sent);
    let third = bus
        .dead_letter(organization, one, read[2].sequence)
        .await
        .unwrap();
    assert_eq!(third.as_ref(), Some(&read[2]));
    assert_eq!(
        bus.dead_letter(organization, one, read[2].sequence + 1)
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn dead_letters_are_read_backwards_however_large_they_are() {
    let (_nats, bus) = server().await;
    let feed = DatasourceId::generate();
    // What is random does not become smaller on its way.
    let body: String = std::iter::repeat_with(|| DatasourceId::generate().to_string())
        .take(30_000)
        .collect();
    let organization = event(feed, "").organization;
    for _ in 0..40 {
        let dead = DeadLetter {
            event: event(feed, &body),
            index: 0,
            version: 1,
            failure: InputError::new("", "invalid", "large"),
            failed_at: now(),
            complete: true,
        };
        bus.publish_dead_letter(&dead).await.unwrap();
    }
    let (mut read, mut before) = (Vec::new(), u64::MAX);
    loop {
        let place = Place::Before(before);
        let page = bus.dead_letters_at(organization, feed, place, 64).await;
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        before = last.sequence;
        read.extend(page.iter().map(|stored| stored.sequence));
    }
    let all: Vec<u64> = (1..=40).rev().collect();
    assert_eq!(read, all);
}

#[tokio::test]
async fn dead_letters_are_read_backwards_however_they_lie() {
    let (_nats, bus) = server().await;
    let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
    let organization = event(one, "{}").organization;
    let mut wanted = Vec::new();
    // Alone, among many others, and many together.
    for (n, feed) in [one]
        .into_iter()
        .chain([other; 40])
        .chain([one; 9])
        .chain([other; 3])
        .enumerate()
    {
        let dead = DeadLetter {
            event: event(feed, "{}"),
            index: 0,
            version: 1,
            failure: InputError::new("", "invalid", n.to_string()),
            failed_at: now(),
            complete: true,
        };
        bus.publish_dead_letter(&dead).await.unwrap();
        if feed == one {
            wanted.push(n as u64 + 1);
        }
    }
    wanted.reverse();
    for limit in [1, 2, 4, 100] {
        let (mut read, mut before) = (Vec::new(), u64::MAX);
        loop {
            let page = bus
                .dead_letters_at(organization, one, Place::Before(before), limit)
                .await
                .unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= limit);
            before = last.sequence;
            read.extend(page.iter().map(|stored| stored.sequence));
        }
        assert_eq!(read, wanted, "{limit} at a time");
    }
    assert_eq!(bus.dead_letter_count(organization, one).await.unwrap(), 10);
}

#[tokio::test]
async fn replays_have_a_lane_of_their_own() {
    let (_nats, bus) = server().await;
    let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
    let mut pokes = bus.replay_pokes(2).await.unwrap();
    bus.rtt().await.unwrap();
    let mut events: Vec<_> = (0..70).map(|n| event(one, &n.to_string())).collect();
    events[3].replay = Some(Replay {
        mark: ReplayMark {
            id: ReplayId::generate(),
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
        },
        records: vec![1, 4],
        cut: "jmespath:items".to_owned(),
    });
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    bus.replay(2, one, &events, Some(trace)).await.unwrap();
    bus.replay(2, other, &[event(other, "{}")], None).await.unwrap();
    soon(pokes.next()).await;
    let mut waiting = bus.replaying(2).await.unwrap();
    waiting.sort_unstable();
    let mut both = vec![one, other];
    both.sort_unstable();
    assert_eq!(waiting, both);
    assert!(bus.replaying(1).await.unwrap().is_empty());
    let mut read = Vec::new();
    while let Some(frame) = bus.next_replay(2, one, 1).await.unwrap() {
        assert_eq!(frame.traceparent.as_deref(), Some(trace));
        read.extend(frame.events);
        bus.replayed_through(2, one, frame.sequence).await.unwrap();
    }
    assert_eq!(read, events);
    assert_eq!(bus.replaying(2).await.unwrap(), [other]);
}

#[tokio::test]
async fn parked_events_come_back_oldest_first() {
    let (_nats, bus) = server().await;
    let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
    let events: Vec<_> = (0..4).map(|n| event(one, &n.to_string())).collect();
    for event in &events {
        bus.park(2, event).await.unwrap();
        bus.park(2, event).await.unwrap();
    }
    bus.park(2, &event(other, "x")).await.unwrap();
    assert_eq!(bus.parked_count(2, one).await.unwrap(), 4);
    assert_eq!(bus.parked_count(1, one).await.unwrap(), 0);
    let mut waiting = bus.parked_datasources(2).await.unwrap();
    waiting.sort_by_key(|(_, count)| *count);
    assert_eq!(waiting, [(other, 1), (one, 4)]);
    let batch = bus.parked(2, one, 3).await.unwrap();
    assert_eq!(
        batch.iter().map(|parked| &parked.event).collect::<Vec<_>>(),
        events[..3].iter().collect::<Vec<_>>()
    );
    bus.unpark_through(2, one, batch[2].sequence).await.unwrap();
    let rest = bus.parked(2, one, 10).await.unwrap();
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].event, events[3]);
    assert_eq!(bus.parked_count(2, other).await.unwrap(), 1);
}

#[tokio::test]
async fn objects_reach_those_who_asked_for_them() {
    let (_nats, bus) = server().await;
    let (organization, datasource) = (OrganizationId::generate(), DatasourceId::generate());
    let mut entities = bus
        .objects(organization, None, Some(ObjectKind::Entity))
        .await
        .unwrap();
    let mut others = bus.objects(OrganizationId::generate(), None, None).await.unwrap();
    bus.rtt().await.unwrap();
    let entity = serde_json::from_value(serde_json::json!({"type": "host", "key": "h"})).unwrap();
    let object = PublicObject {
        id: ObjectId::generate(),
        organization,
        datasource,
        event: EventId::generate(),
        version: 1,
        received_at: now(),
        object: OntologyObject::Entity(entity),
    };
    bus.publish_objects(std::slice::from_ref(&object)).await.unwrap();
    assert_eq!(soon(entities.next()).await.unwrap(), object);
    assert!(futures::FutureExt::now_or_never(others.next()).is_none());
}
