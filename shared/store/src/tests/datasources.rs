//! Datasources, versions, states, histories, secrets, keys.

use chrono::TimeDelta;
use halcyon_domain::{
    datasource::{DatasourceEvent, DatasourceEventKind, DatasourceMetrics, DatasourceState},
    id::{DatasourceEventId, SecretId, UserId, VersionId},
    lifecycle::{DatasourceStatus, RuntimeStatus},
    version::Version,
};
use serde_json::json;
use uuid::Uuid;

use super::{at, datasource, on_both};
use crate::{
    AllTenants, DatasourceFilter, Error, EventFilter, PageRequest, SecretMeta, SecretState, StateRecord,
    StoredSecret, TenantKey, Unique, Visibility,
};

const WHY: AllTenants = AllTenants::because("a test");

#[tokio::test]
async fn a_datasource_is_written_read_changed_and_deleted() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let written = datasource(ours, "edr");
        let tx = fixture.store.begin().await.unwrap();
        tx.datasources().insert(&written).await.unwrap();
        tx.datasources().insert(&datasource(theirs, "edr")).await.unwrap();
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        assert_eq!(read.datasources().find(ours, written.id).await.unwrap(), Some(written.clone()));
        assert_eq!(read.datasources().find(theirs, written.id).await.unwrap(), None);
        assert_eq!(
            read.datasources().by_name(ours, "production", "edr").await.unwrap().unwrap().id,
            written.id
        );

        let tx = fixture.store.begin().await.unwrap();
        let taken = tx.datasources().insert(&datasource(ours, "edr")).await.unwrap_err();
        assert!(matches!(taken, Error::Conflict(Unique::DatasourceName)), "{taken:?}");
        tx.rollback().await.unwrap();

        let tx = fixture.store.begin().await.unwrap();
        let mut locked = tx.datasources().lock(ours, written.id).await.unwrap().unwrap();
        locked.status = DatasourceStatus::Active;
        let changed = tx.datasources().update(&locked).await.unwrap();
        assert_eq!(changed.revision, 2);
        let stale = tx.datasources().update(&locked).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        tx.datasources().delete(&changed, at(5)).await.unwrap();
        let gone = tx.datasources().delete(&changed, at(5)).await.unwrap_err();
        assert!(matches!(gone, Error::NotFound("datasource")), "{gone:?}");
        tx.datasources().insert(&datasource(ours, "edr")).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(read.datasources().find_any(WHY, written.id).await.unwrap(), None);
        assert_eq!(read.datasources().all(WHY).await.unwrap().len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_list_is_filtered_and_paged() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let tx = fixture.store.begin().await.unwrap();
        let mut all = Vec::new();
        for n in 0..7_i64 {
            let mut one = datasource(ours, &format!("Feed_{n}"));
            // Two share each time: the identifier decides.
            one.updated_at = at(n / 2);
            one.tags = vec![format!("t{}", n % 2), "all".into()];
            one.description = (n == 3).then(|| "Über 100%".to_owned());
            tx.datasources().insert(&one).await.unwrap();
            all.push(one);
        }
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let list = |filter: DatasourceFilter, request: PageRequest| {
            let read = read.clone();
            async move { read.datasources().list(ours, &filter, &request).await }
        };
        for sort in ["-updated_at", "updated_at", "name", "-name", "created_at"] {
            let mut seen = Vec::new();
            let mut request = PageRequest { limit: 2, cursor: None, sort: Some(sort.into()) };
            loop {
                let page = list(DatasourceFilter::default(), request.clone()).await.unwrap();
                seen.extend(page.items.into_iter().map(|item| item.name));
                let Some(cursor) = page.next_cursor else { break };
                request.cursor = Some(cursor);
            }
            let distinct: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
            assert_eq!((seen.len(), distinct.len()), (7, 7), "{sort}: {seen:?}");
        }
        let count = async |filter| list(filter, PageRequest::default()).await.unwrap().items.len();
        assert_eq!(count(DatasourceFilter { tag: Some("t1".into()), ..Default::default() }).await, 3);
        assert_eq!(count(DatasourceFilter { tag: Some("t".into()), ..Default::default() }).await, 0);
        assert_eq!(count(DatasourceFilter { q: Some("feed_".into()), ..Default::default() }).await, 7);
        assert_eq!(count(DatasourceFilter { q: Some("100%".into()), ..Default::default() }).await, 1);
        assert_eq!(count(DatasourceFilter { q: Some("f%d".into()), ..Default::default() }).await, 0);
        assert_eq!(count(DatasourceFilter { owner: Some("x".into()), ..Default::default() }).await, 0);
        let status = Some(DatasourceStatus::Draft);
        assert_eq!(count(DatasourceFilter { status, ..Default::default() }).await, 7);
        let visible = Some(Visibility { projects: vec![], datasources: vec![all[1].id] });
        assert_eq!(count(DatasourceFilter { visible, ..Default::default() }).await, 1);

        let refused = |request: PageRequest| async {
            match list(DatasourceFilter::default(), request).await.unwrap_err() {
                Error::InvalidPage { parameter, .. } => parameter,
                other => panic!("{other:?}"),
            }
        };
        let request = PageRequest::default();
        assert_eq!(refused(PageRequest { limit: 201, ..request.clone() }).await, "limit");
        assert_eq!(refused(PageRequest { sort: Some("tags".into()), ..request.clone() }).await, "sort");
        assert_eq!(refused(PageRequest { cursor: Some("?".into()), ..request }).await, "cursor");
    })
    .await;
}

#[tokio::test]
async fn versions_follow_their_transitions() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let feed = datasource(ours, "edr");
        let tx = fixture.store.begin().await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        let mut drafts = Vec::new();
        for number in 1..=2_u32 {
            assert_eq!(tx.versions().next_number(ours, feed.id).await.unwrap(), number);
            let config = json!({"n": number, "z": "\0", "a": 1.5});
            let draft = Version::new(VersionId::generate(), feed.id, number, config, None, None, at(0));
            tx.versions().insert(ours, draft.record()).await.unwrap();
            drafts.push(draft);
        }
        assert_eq!(tx.versions().newest_draft(ours, feed.id).await.unwrap().unwrap().number, 2);
        let second = drafts.pop().unwrap().publish(Some(UserId::generate()), None, at(1));
        let first = drafts.pop().unwrap().publish(None, Some("go".into()), at(1));
        tx.versions().update(ours, first.record()).await.unwrap();
        let stale = tx.versions().update(ours, first.record()).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        assert_eq!(tx.versions().published(ours, feed.id).await.unwrap().as_ref(), Some(first.record()));
        tx.versions().update(ours, first.archive(at(2)).record()).await.unwrap();
        tx.versions().update(ours, second.record()).await.unwrap();
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        let page = read.versions().list(ours, feed.id, None, &PageRequest::default()).await.unwrap();
        assert_eq!(page.items.iter().map(|version| version.number).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(page.items[0], second.into_record());
        assert_eq!(read.versions().newest_draft(ours, feed.id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_state_of_an_older_epoch_is_not_written() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let feeds = [datasource(ours, "a"), datasource(ours, "b")];
        let state = DatasourceState { status: RuntimeStatus::Running, ..DatasourceState::default() };
        let record = |n: usize, epoch, message: &str| StateRecord {
            datasource: feeds[n].id,
            organization: ours.0,
            state: DatasourceState { message: Some(message.into()), ..state.clone() },
            epoch,
            error_code: None,
            metrics: DatasourceMetrics { events: 7, ..DatasourceMetrics::default() },
            updated_at: at(0),
        };
        let tx = fixture.store.begin().await.unwrap();
        for feed in &feeds {
            tx.datasources().insert(feed).await.unwrap();
        }
        tx.states().put(&[record(0, 2, "x"), record(1, 2, "x")]).await.unwrap();
        tx.states().put(&[record(0, 1, "stale"), record(1, 3, "new")]).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let ids = feeds.each_ref().map(|feed| feed.id);
        let states = read.states().find_many(ours, &ids).await.unwrap();
        assert_eq!(states[&ids[0]], record(0, 2, "x"));
        assert_eq!(states[&ids[1]], record(1, 3, "new"));
        assert_eq!(read.states().all(WHY).await.unwrap().len(), 2);
        assert!(read.states().find(fixture.tenant("theirs").await, ids[0]).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn a_history_is_paged_by_time() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let feed = datasource(ours, "a");
        let event = |n: i64| DatasourceEvent {
            id: DatasourceEventId::generate(),
            datasource: feed.id,
            at: at(n * 86_400 * 20),
            kind: if n % 2 == 0 { DatasourceEventKind::Published } else { DatasourceEventKind::StateChanged },
            version: Some(1),
            actor: None,
            message: format!("{n}\0"),
        };
        let events: Vec<_> = (0..6).map(event).collect();
        fixture.store.maintain(at(0)).await.unwrap();
        let tx = fixture.store.begin().await.unwrap();
        tx.datasource_events().append(ours, &events).await.unwrap();
        tx.datasource_events().append(ours, &events[..1]).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let request = PageRequest { limit: 4, ..PageRequest::default() };
        let none = EventFilter::default();
        let first = read.datasource_events().list(ours, feed.id, &none, &request).await.unwrap();
        let request = PageRequest { cursor: first.next_cursor, ..request };
        let second = read.datasource_events().list(ours, feed.id, &none, &request).await.unwrap();
        let messages: Vec<_> =
            first.items.iter().chain(&second.items).map(|event| event.message.as_str()).collect();
        assert_eq!(messages, ["5\u{fffd}", "4\u{fffd}", "3\u{fffd}", "2\u{fffd}", "1\u{fffd}", "0\u{fffd}"]);
        let filter = EventFilter {
            kind: Some(DatasourceEventKind::Published),
            from: Some(events[1].at),
            to: Some(events[4].at),
        };
        let page = read.datasource_events().list(ours, feed.id, &filter, &PageRequest::default()).await.unwrap();
        assert_eq!(page.items.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn secrets_rotate_and_are_destroyed() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let feed = datasource(ours, "a");
        let secret = |version| StoredSecret {
            meta: SecretMeta {
                id: SecretId::generate(),
                organization: ours.0,
                datasource: feed.id,
                name: "signing".into(),
                version,
                state: SecretState::Active,
                created_at: at(0),
                created_by: None,
                rotated_at: None,
                expires_at: None,
            },
            key_id: Uuid::now_v7(),
            ciphertext: vec![0, 1, 255],
        };
        let key = TenantKey {
            id: Uuid::now_v7(),
            organization: ours.0,
            version: 1,
            wrapped: vec![1],
            wrapped_by: "kek".into(),
            created_at: at(0),
            retired_at: None,
        };
        let tx = fixture.store.begin().await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        tx.keys().insert(&key).await.unwrap();
        tx.secrets().insert(&secret(1)).await.unwrap();
        tx.secrets().retire(ours, feed.id, "signing", at(1), at(60)).await.unwrap();
        assert_eq!(tx.secrets().next_version(ours, feed.id, "signing").await.unwrap(), 2);
        tx.secrets().insert(&secret(2)).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        assert_eq!(read.keys().of_tenant(ours).await.unwrap(), [key]);
        let metas = read.secrets().list(ours, feed.id).await.unwrap();
        let states: Vec<_> = metas.iter().map(|meta| (meta.version, meta.state)).collect();
        assert_eq!(states, [(2, SecretState::Active), (1, SecretState::Retiring)]);
        let live = read.secrets().versions(ours, feed.id, "signing").await.unwrap();
        assert_eq!(live[0].ciphertext, [0, 1, 255]);

        let tx = fixture.store.begin().await.unwrap();
        let soon = at(60) + TimeDelta::seconds(1);
        assert_eq!(tx.secrets().destroy_expired(WHY, soon).await.unwrap(), 1);
        assert!(tx.secrets().destroy(ours, feed.id, "signing").await.unwrap());
        assert!(!tx.secrets().destroy(ours, feed.id, "signing").await.unwrap());
        let taken = { tx.secrets().insert(&secret(1)).await.unwrap(); tx.secrets().insert(&secret(1)).await };
        assert!(matches!(taken, Err(Error::Conflict(Unique::SecretVersion))), "{taken:?}");
    })
    .await;
}
