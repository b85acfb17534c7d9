//! Versions, states and secrets of datasources.

use chrono::TimeDelta;
use halcyon_domain::{
    datasource::{DatasourceMetrics, DatasourceState},
    id::{ActorId, SecretId, VersionId},
    lifecycle::RuntimeStatus,
    version::Version,
};
use serde_json::json;
use uuid::Uuid;

use super::{at, datasource, on_both};
use crate::{
    AllTenants, Error, Kept, PageRequest, SecretMeta, SecretState, StateRecord, StoredSecret, TenantKey,
    Unique,
};

const WHY: AllTenants = AllTenants::because("a test");

#[tokio::test]
async fn versions_follow_their_transitions() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
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
        let wanted = [(feed.id, 2), (feed.id, 7)];
        let found = tx.versions().find_many(ours, &wanted).await.unwrap();
        assert_eq!(
            found.iter().map(|version| version.number).collect::<Vec<_>>(),
            [2]
        );
        assert!(tx.versions().find_many(theirs, &wanted).await.unwrap().is_empty());
        assert!(tx.versions().find_many(ours, &[]).await.unwrap().is_empty());
        assert_eq!(
            tx.datasources().find_many(ours, &[feed.id]).await.unwrap(),
            std::slice::from_ref(&feed)
        );
        assert!(
            tx.datasources()
                .find_many(theirs, &[feed.id])
                .await
                .unwrap()
                .is_empty()
        );
        assert_eq!(
            tx.versions()
                .newest_draft(ours, feed.id)
                .await
                .unwrap()
                .unwrap()
                .number,
            2
        );
        let second = drafts
            .pop()
            .unwrap()
            .publish(Some(ActorId::generate()), None, at(1));
        let first = drafts.pop().unwrap().publish(None, Some("go".into()), at(1));
        tx.versions().update(ours, first.record()).await.unwrap();
        let stale = tx.versions().update(ours, first.record()).await.unwrap_err();
        assert!(matches!(stale, Error::StaleRevision { current: 2 }), "{stale:?}");
        assert_eq!(
            tx.versions().published(ours, feed.id).await.unwrap().as_ref(),
            Some(first.record())
        );
        tx.versions()
            .update(ours, first.archive(at(2)).record())
            .await
            .unwrap();
        tx.versions().update(ours, second.record()).await.unwrap();
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        let page = read
            .versions()
            .list(ours, feed.id, None, &PageRequest::default())
            .await
            .unwrap();
        assert_eq!(
            page.items
                .iter()
                .map(|version| version.number)
                .collect::<Vec<_>>(),
            [2, 1]
        );
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
        let state = DatasourceState {
            status: RuntimeStatus::Running,
            ..DatasourceState::default()
        };
        let record = |n: usize, epoch, message: &str| StateRecord {
            datasource: feeds[n].id,
            organization: ours.0,
            state: DatasourceState {
                message: Some(message.into()),
                ..state.clone()
            },
            epoch,
            error_code: None,
            metrics: DatasourceMetrics {
                events: 7,
                ..DatasourceMetrics::default()
            },
            updated_at: at(0),
        };
        let tx = fixture.store.begin().await.unwrap();
        for feed in &feeds {
            tx.datasources().insert(feed).await.unwrap();
        }
        tx.states()
            .put(&[record(0, 2, "x"), record(1, 2, "x")])
            .await
            .unwrap();
        tx.states()
            .put(&[record(0, 1, "stale"), record(1, 3, "new")])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        let ids = feeds.each_ref().map(|feed| feed.id);
        let states = read.states().find_many(ours, &ids).await.unwrap();
        assert_eq!(states[&ids[0]], record(0, 2, "x"));
        assert_eq!(states[&ids[1]], record(1, 3, "new"));
        assert_eq!(read.states().all(WHY).await.unwrap().len(), 2);
        assert!(
            read.states()
                .find(fixture.tenant("theirs").await, ids[0])
                .await
                .unwrap()
                .is_none()
        );
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
                valid_until: None,
                last_read_at: None,
                vault_version: None,
                expiry_notice: None,
            },
            kept: Kept::Here {
                key_id: Uuid::now_v7(),
                ciphertext: vec![0, 1, 255],
            },
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
        tx.secrets()
            .retire(ours, feed.id, "signing", at(1), at(60))
            .await
            .unwrap();
        assert_eq!(
            tx.secrets().next_version(ours, feed.id, "signing").await.unwrap(),
            2
        );
        tx.secrets().insert(&secret(2)).await.unwrap();
        tx.commit().await.unwrap();
        let read = fixture.store.read();
        assert_eq!(read.keys().of_tenant(ours).await.unwrap(), [key]);
        let metas = read.secrets().list(ours, feed.id).await.unwrap();
        let states: Vec<_> = metas.iter().map(|meta| (meta.version, meta.state)).collect();
        assert_eq!(states, [(2, SecretState::Active), (1, SecretState::Retiring)]);
        let live = read.secrets().versions(ours, feed.id, "signing").await.unwrap();
        assert!(
            matches!(&live[0].kept, Kept::Here { ciphertext, .. } if *ciphertext == [0, 1, 255]),
            "{live:?}"
        );
        assert!(live[1].meta.is_live(at(59)) && !live[1].meta.is_live(at(60)));

        let tx = fixture.store.begin().await.unwrap();
        let soon = at(60) + TimeDelta::seconds(1);
        let outlived = tx.secrets().outlived(WHY, soon, 10).await.unwrap();
        assert_eq!(outlived.len(), 1);
        assert!(tx.secrets().destroy_version(ours, outlived[0].id).await.unwrap());
        assert!(tx.secrets().outlived(WHY, soon, 10).await.unwrap().is_empty());
        assert!(tx.secrets().destroy(ours, feed.id, "signing").await.unwrap());
        assert!(!tx.secrets().destroy(ours, feed.id, "signing").await.unwrap());
        let taken = {
            tx.secrets().insert(&secret(1)).await.unwrap();
            tx.secrets().insert(&secret(1)).await
        };
        assert!(
            matches!(taken, Err(Error::Conflict(Unique::SecretVersion))),
            "{taken:?}"
        );
    })
    .await;
}
