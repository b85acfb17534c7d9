//! Datasources, versions, states, histories, secrets, keys.

use halcyon_domain::{
    datasource::{DatasourceEvent, DatasourceEventKind},
    id::DatasourceEventId,
    lifecycle::DatasourceStatus,
};

use super::{at, datasource, on_both};
use crate::{AllTenants, DatasourceFilter, Error, EventFilter, PageRequest, Unique, Visibility};

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
        assert_eq!(
            read.datasources().find(ours, written.id).await.unwrap(),
            Some(written.clone())
        );
        assert_eq!(read.datasources().find(theirs, written.id).await.unwrap(), None);
        assert_eq!(
            read.datasources()
                .by_name(ours, "production", "edr")
                .await
                .unwrap()
                .unwrap()
                .id,
            written.id
        );

        let tx = fixture.store.begin().await.unwrap();
        let taken = tx
            .datasources()
            .insert(&datasource(ours, "edr"))
            .await
            .unwrap_err();
        assert!(
            matches!(taken, Error::Conflict(Unique::DatasourceName)),
            "{taken:?}"
        );
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
            let mut request = PageRequest {
                limit: 2,
                cursor: None,
                sort: Some(sort.into()),
            };
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
        assert_eq!(
            count(DatasourceFilter {
                tag: Some("t1".into()),
                ..Default::default()
            })
            .await,
            3
        );
        assert_eq!(
            count(DatasourceFilter {
                tag: Some("t".into()),
                ..Default::default()
            })
            .await,
            0
        );
        assert_eq!(
            count(DatasourceFilter {
                q: Some("feed_".into()),
                ..Default::default()
            })
            .await,
            7
        );
        assert_eq!(
            count(DatasourceFilter {
                q: Some("100%".into()),
                ..Default::default()
            })
            .await,
            1
        );
        assert_eq!(
            count(DatasourceFilter {
                q: Some("f%d".into()),
                ..Default::default()
            })
            .await,
            0
        );
        assert_eq!(
            count(DatasourceFilter {
                owner: Some("x".into()),
                ..Default::default()
            })
            .await,
            0
        );
        let status = Some(DatasourceStatus::Draft);
        assert_eq!(
            count(DatasourceFilter {
                status,
                ..Default::default()
            })
            .await,
            7
        );
        let visible = Some(Visibility {
            projects: vec![],
            datasources: vec![all[1].id],
        });
        assert_eq!(
            count(DatasourceFilter {
                visible,
                ..Default::default()
            })
            .await,
            1
        );

        let refused = |request: PageRequest| async {
            match list(DatasourceFilter::default(), request).await.unwrap_err() {
                Error::InvalidPage { parameter, .. } => parameter,
                other => panic!("{other:?}"),
            }
        };
        let request = PageRequest::default();
        assert_eq!(
            refused(PageRequest {
                limit: 201,
                ..request.clone()
            })
            .await,
            "limit"
        );
        assert_eq!(
            refused(PageRequest {
                sort: Some("tags".into()),
                ..request.clone()
            })
            .await,
            "sort"
        );
        assert_eq!(
            refused(PageRequest {
                cursor: Some("?".into()),
                ..request
            })
            .await,
            "cursor"
        );
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
            kind: if n % 2 == 0 {
                DatasourceEventKind::Published
            } else {
                DatasourceEventKind::StateChanged
            },
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
        let request = PageRequest {
            limit: 4,
            ..PageRequest::default()
        };
        let none = EventFilter::default();
        let first = read
            .datasource_events()
            .list(ours, feed.id, &none, &request)
            .await
            .unwrap();
        let request = PageRequest {
            cursor: first.next_cursor,
            ..request
        };
        let second = read
            .datasource_events()
            .list(ours, feed.id, &none, &request)
            .await
            .unwrap();
        let messages: Vec<_> = first
            .items
            .iter()
            .chain(&second.items)
            .map(|event| event.message.as_str())
            .collect();
        assert_eq!(
            messages,
            [
                "5\u{fffd}",
                "4\u{fffd}",
                "3\u{fffd}",
                "2\u{fffd}",
                "1\u{fffd}",
                "0\u{fffd}"
            ]
        );
        let filter = EventFilter {
            kind: Some(DatasourceEventKind::Published),
            from: Some(events[1].at),
            to: Some(events[4].at),
        };
        let page = read
            .datasource_events()
            .list(ours, feed.id, &filter, &PageRequest::default())
            .await
            .unwrap();
        assert_eq!(page.items.len(), 1);
    })
    .await;
}
