//! Backfills.

use halcyon_domain::{
    audit::{Actor, ActorKind},
    backfill::{Backfill, BackfillProgress, BackfillStatus},
    id::{BackfillId, DatasourceId, WorkerId},
};

use super::{at, datasource, on_both};
use crate::{AllTenants, BackfillUpdate, PageRequest, Tenant};

fn backfill(tenant: Tenant, datasource: DatasourceId, second: i64) -> Backfill {
    Backfill {
        id: BackfillId::generate(),
        organization: tenant.0,
        datasource,
        version: 1,
        from: at(-100),
        to: at(-50),
        records_per_second: Some(7),
        comment: Some("why".into()),
        status: BackfillStatus::Queued,
        progress: BackfillProgress::default(),
        message: None,
        worker: None,
        created_by: Actor {
            kind: ActorKind::User,
            id: None,
            name: "ada".into(),
        },
        created_at: at(second),
        started_at: None,
        finished_at: None,
        revision: 1,
    }
}

#[tokio::test]
async fn what_has_ended_stays_as_it_ended() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let feed = datasource(ours, "a");
        let jobs = [1, 2, 3].map(|second| backfill(ours, feed.id, second));
        let tx = fixture.store.begin().await.unwrap();
        tx.datasources().insert(&feed).await.unwrap();
        for job in &jobs {
            tx.backfills().insert(job).await.unwrap();
        }
        let update = |status, records| BackfillUpdate {
            status,
            progress: BackfillProgress {
                records,
                position: Some(at(-60)),
                ..BackfillProgress::default()
            },
            message: None,
            worker: Some(WorkerId::generate()),
        };
        let running = update(BackfillStatus::Running, 5);
        let all = tx.backfills();
        assert!(all.update(ours, jobs[0].id, &running, at(10)).await.unwrap());
        assert!(!all.update(theirs, jobs[1].id, &running, at(10)).await.unwrap());
        let done = update(BackfillStatus::Done, 9);
        assert!(all.update(ours, jobs[0].id, &done, at(20)).await.unwrap());
        assert!(!all.update(ours, jobs[0].id, &running, at(30)).await.unwrap());
        assert!(!all.cancel(ours, jobs[0].id, at(30)).await.unwrap());
        assert!(!all.cancel(theirs, jobs[1].id, at(30)).await.unwrap());
        assert!(all.cancel(ours, jobs[1].id, at(30)).await.unwrap());
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        let found = read
            .backfills()
            .find(ours, feed.id, jobs[0].id)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (found.status, found.progress, found.started_at, found.finished_at),
            (BackfillStatus::Done, done.progress, Some(at(10)), Some(at(20)))
        );
        assert_eq!(
            (found.from, found.to, found.worker),
            (at(-100), at(-50), done.worker)
        );
        assert_eq!(
            read.backfills().find(theirs, feed.id, jobs[0].id).await.unwrap(),
            None
        );
        let open = read
            .backfills()
            .all_open(AllTenants::because("a test"))
            .await
            .unwrap();
        assert_eq!(open, [jobs[2].clone()]);
        assert_eq!(read.backfills().count_open(ours, feed.id).await.unwrap(), 1);
        let page = read
            .backfills()
            .list(ours, feed.id, &PageRequest::default())
            .await
            .unwrap();
        let order: Vec<_> = page.items.iter().map(|job| job.id).collect();
        assert_eq!(order, [jobs[2].id, jobs[1].id, jobs[0].id]);
        let tx = fixture.store.begin().await.unwrap();
        assert_eq!(tx.backfills().cancel_all(ours, feed.id, at(40)).await.unwrap(), 1);
        tx.commit().await.unwrap();
    })
    .await;
}
