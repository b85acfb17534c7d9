//! Applying outcomes: once each, in any order, from several processes at once.

use chrono::TimeDelta;
use halcyon_domain::{
    clock::Timestamp,
    error::InputError,
    event::{EventOutcome, RecordOutcome, Verdict},
    id::OrganizationId,
    ontology::{OntologyObject, Severity, entity_id},
};
use serde_json::json;

use super::{
    at, on_both,
    outcomes::{Feed, alert, apply, delivered, host, targets},
};
use crate::{
    AlertFilter, AllTenants, EntityFilter, PageRequest, RelationshipFilter, Store, StoredObject, Tenant,
};

const WHY: AllTenants = AllTenants::because("a test");

async fn hosts(store: &Store, feed: &Feed) -> Vec<StoredObject> {
    let request = PageRequest {
        limit: 200,
        cursor: None,
        sort: Some("key".into()),
    };
    let read = store.read();
    let all = EntityFilter::default();
    read.ontology()
        .entities(Tenant(feed.organization), &all, &request)
        .await
        .unwrap()
        .items
}

#[tokio::test]
async fn an_event_counts_once() {
    on_both(|fixture| async move { counts_once(&fixture.store).await }).await;
}

async fn counts_once(store: &Store) {
    let feed = Feed::new();
    let failure = Some(InputError::new("/a", "invalid", "no"));
    let objects = vec![
        alert("1", "a\0b", at(5)),
        host("web", "cpus", 4, at(5)),
        targets("1", "web"),
    ];
    let records = vec![
        delivered(0, objects),
        RecordOutcome {
            index: 1,
            verdict: Verdict::Filtered,
            objects: vec![],
            failure: None,
        },
        RecordOutcome {
            index: 2,
            verdict: Verdict::DeadLettered,
            objects: vec![],
            failure,
        },
    ];
    let outcome = feed.outcome("e", records);
    let applied = apply(store, std::slice::from_ref(&outcome)).await;
    assert_eq!(
        (applied.delivered, applied.filtered, applied.dead_lettered),
        (1, 1, 1)
    );
    assert_eq!(applied.objects.len(), 3);
    let again = apply(store, &[outcome.clone(), outcome.clone()]).await;
    assert_eq!(
        (again.duplicates, again.delivered, again.objects.len()),
        (6, 0, 0)
    );
    let other = EventOutcome {
        version: 2,
        ..outcome.clone()
    };
    assert_eq!(apply(store, &[other]).await.superseded, 1);
    let replayed = apply(
        store,
        &[EventOutcome {
            attempt: 1,
            version: 2,
            ..outcome.clone()
        }],
    )
    .await;
    assert_eq!(replayed.delivered, 1);

    let tenant = Tenant(feed.organization);
    let read = store.read();
    let request = PageRequest::default();
    let found = read
        .ontology()
        .alerts(tenant, &AlertFilter::default(), &request)
        .await
        .unwrap()
        .items;
    let [stored] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!((stored.revision, stored.first_seen), (2, at(5)));
    let OntologyObject::Alert(read_back) = &stored.object else {
        panic!("{stored:?}")
    };
    assert_eq!(
        (read_back.title.as_str(), read_back.severity),
        ("a\0b", Severity::High)
    );
    assert_eq!(
        read.ontology().alert(tenant, stored.id).await.unwrap().as_ref(),
        Some(stored)
    );
    assert_eq!(
        replayed.objects.iter().find(|object| object.id == stored.id),
        Some(stored)
    );
    let elsewhere = Tenant(OrganizationId::generate());
    assert_eq!(read.ontology().alert(elsewhere, stored.id).await.unwrap(), None);
    let links = RelationshipFilter {
        source: Some(stored.id),
        ..Default::default()
    };
    assert_eq!(
        read.ontology()
            .relationships(tenant, &links, &request)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    let ledger = read
        .ontology()
        .ledger(WHY, feed.datasource, &outcome.event)
        .await
        .unwrap();
    assert_eq!(ledger.len(), 6);
    assert_eq!(ledger[2].reason.as_deref(), Some("invalid"));
    let verdicts = read
        .ontology()
        .verdicts(WHY, feed.datasource, Verdict::Filtered)
        .await
        .unwrap();
    assert_eq!(verdicts, 2);
}

#[tokio::test]
async fn filters_find_what_they_say() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let feed = Feed::new();
        let long = "k".repeat(10_000);
        let objects = vec![
            alert("1", "Malware on WEB", at(5)),
            alert("2", "other", Timestamp::MAX_UTC),
            host("web", "a", 1, at(1)),
            host(&long, "a", 1, at(1)),
        ];
        apply(store, &[feed.outcome("e", vec![delivered(0, objects)])]).await;
        let tenant = Tenant(feed.organization);
        let read = store.read();
        let request = PageRequest::default();
        let alerts = async |filter: AlertFilter| {
            read.ontology()
                .alerts(tenant, &filter, &request)
                .await
                .unwrap()
                .items
                .len()
        };
        assert_eq!(
            alerts(AlertFilter {
                q: Some("malware".into()),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(
            alerts(AlertFilter {
                severity: Some(Severity::Low),
                ..Default::default()
            })
            .await,
            0
        );
        assert_eq!(
            alerts(AlertFilter {
                datasource: Some(feed.datasource),
                ..Default::default()
            })
            .await,
            2
        );
        assert_eq!(
            alerts(AlertFilter {
                from: Some(at(5)),
                to: Some(at(6)),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(
            alerts(AlertFilter {
                external_id: Some("2".into()),
                ..Default::default()
            })
            .await,
            1
        );
        let entities = async |filter: EntityFilter| {
            read.ontology()
                .entities(tenant, &filter, &request)
                .await
                .unwrap()
                .items
                .len()
        };
        let kind = Some("host".to_owned());
        assert_eq!(
            entities(EntityFilter {
                kind: kind.clone(),
                ..Default::default()
            })
            .await,
            2
        );
        assert_eq!(
            entities(EntityFilter {
                key: Some(long.clone()),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(
            entities(EntityFilter {
                kind,
                key: Some(long),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(
            entities(EntityFilter {
                q: Some("WEB".into()),
                ..Default::default()
            })
            .await,
            1
        );
    })
    .await;
}

#[tokio::test]
async fn order_does_not_matter_and_stubs_are_filled() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let observed = |feed: &Feed| {
            vec![
                feed.outcome(
                    "1",
                    vec![delivered(0, vec![targets("x", "web"), targets("x", "db")])],
                ),
                feed.outcome("2", vec![delivered(0, vec![host("web", "a", 1, at(9))])]),
                feed.outcome("3", vec![delivered(0, vec![host("web", "a", 2, at(3))])]),
                feed.outcome(
                    "4",
                    vec![delivered(
                        0,
                        vec![host("web", "b", 3, at(4)), targets("y", "web")],
                    )],
                ),
            ]
        };
        let mut results = Vec::new();
        for rotation in 0..4 {
            let feed = Feed::new();
            let mut outcomes = observed(&feed);
            outcomes.rotate_left(rotation);
            for outcome in outcomes {
                apply(store, &[outcome]).await;
            }
            results.push(hosts(store, &feed).await);
            let together = Feed::new();
            let mut outcomes = observed(&together);
            outcomes.rotate_left(rotation);
            apply(store, &outcomes).await;
            results.push(hosts(store, &together).await);
        }
        for hosts in &results {
            let [db, web] = hosts.as_slice() else {
                panic!("{hosts:?}")
            };
            assert_eq!(db.revision, 1);
            let OntologyObject::Entity(web_entity) = &web.object else {
                panic!("{web:?}")
            };
            let expected = [("a".to_owned(), json!(1)), ("b".to_owned(), json!(3))];
            assert_eq!(web_entity.attributes, serde_json::Map::from_iter(expected));
            assert_eq!(web.last_seen, at(9));
        }
    })
    .await;
}

#[tokio::test]
async fn several_processes_apply_at_once() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let feed = Feed::new();
        // Every batch is applied twice, and all touch the same few hosts.
        let batches: Vec<Vec<EventOutcome>> = (0..8)
            .map(|batch| {
                (0..20)
                    .map(|n| {
                        let key = format!("h{}", (n * 7 + batch) % 5);
                        let objects = vec![
                            host(&key, "n", n, at(n)),
                            alert(&format!("{batch}-{n}"), "t", at(n)),
                        ];
                        feed.outcome(&format!("{batch}-{n}"), vec![delivered(0, objects)])
                    })
                    .collect()
            })
            .collect();
        let mut tasks = tokio::task::JoinSet::new();
        for batch in batches.iter().chain(&batches) {
            let (store, batch) = (store.clone(), batch.clone());
            tasks.spawn(async move { apply(&store, &batch).await });
        }
        let applied = tasks.join_all().await;
        assert_eq!(applied.iter().map(|applied| applied.delivered).sum::<u64>(), 160);
        assert_eq!(applied.iter().map(|applied| applied.duplicates).sum::<u64>(), 160);
        let hosts = hosts(store, &feed).await;
        assert_eq!(hosts.len(), 5);
        assert_eq!(hosts.iter().map(|host| host.revision).sum::<i64>(), 160);
        assert_eq!(hosts[0].id, entity_id(feed.organization, "host", "h0"));
    })
    .await;
}

#[tokio::test]
async fn the_ledger_forgets_after_a_week() {
    on_both(|fixture| async move {
        let store = &fixture.store;
        let feed = Feed::new();
        let outcome = feed.outcome("e", vec![delivered(0, vec![alert("1", "t", at(0))])]);
        apply(store, std::slice::from_ref(&outcome)).await;
        store.maintain(at(0) + TimeDelta::days(6)).await.unwrap();
        assert_eq!(apply(store, std::slice::from_ref(&outcome)).await.duplicates, 1);
        store.maintain(at(0) + TimeDelta::days(8)).await.unwrap();
        assert_eq!(apply(store, std::slice::from_ref(&outcome)).await.delivered, 1);
    })
    .await;
}
