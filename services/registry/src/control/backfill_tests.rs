//! Backfills: one of a datasource at a time is given to a worker, and what it says of it is kept.

use halcyon_bus::Service;
use halcyon_domain::{
    audit::{Actor, ActorKind},
    backfill::{Backfill, BackfillProgress, BackfillReport, BackfillStatus},
    datasource::{Datasource, DatasourceEventKind},
    id::{BackfillId, DatasourceId},
    lifecycle::RuntimeStatus,
};
use halcyon_store::Tenant;
use halcyon_tests::wait;
use serde_json::json;

use super::tests::{Worker, history};
use crate::fixture::{DEADLINE, System, now};

async fn ask_for(system: &System, datasource: &Datasource) -> BackfillId {
    let job = Backfill {
        id: BackfillId::generate(),
        organization: datasource.organization,
        datasource: datasource.id,
        version: 1,
        from: now() - chrono::TimeDelta::hours(2),
        to: now() - chrono::TimeDelta::hours(1),
        records_per_second: None,
        comment: None,
        status: BackfillStatus::Queued,
        progress: BackfillProgress::default(),
        message: None,
        worker: None,
        created_by: Actor {
            kind: ActorKind::User,
            id: None,
            name: "ada".into(),
        },
        created_at: now(),
        started_at: None,
        finished_at: None,
        revision: 1,
    };
    let tx = system.database.store.begin().await.unwrap();
    tx.backfills().insert(&job).await.unwrap();
    tx.commit().await.unwrap();
    job.id
}

async fn job(system: &System, datasource: &Datasource, id: BackfillId) -> Backfill {
    let read = system.database.store.read();
    let tenant = Tenant(datasource.organization);
    let found = read.backfills().find(tenant, datasource.id, id).await;
    found.unwrap().unwrap()
}

impl Worker {
    async fn is_given(&self, id: BackfillId) -> bool {
        let found = self.bus.assignments().get(&id.to_string()).await.unwrap();
        found
            .is_some_and(|entry| entry.value.instance_of(self.id).is_some() && entry.value.backfill.is_some())
    }

    async fn say_of(&self, datasource: &Datasource, id: BackfillId, status: BackfillStatus, records: u64) {
        let mut task = self.task(datasource, RuntimeStatus::Running);
        task.datasource = DatasourceId(id.0);
        task.backfill = Some(BackfillReport {
            status,
            progress: BackfillProgress {
                records,
                ..BackfillProgress::default()
            },
            message: None,
        });
        self.say(vec![task], false).await;
    }
}

#[tokio::test]
async fn one_backfill_after_the_other_is_carried_out_and_survives_a_change_of_leaders() {
    let system = System::start().await;
    let registry = system.registry().await;
    let gateway = system.connect(Service::Gateway).await;
    let worker = Worker::start(&system).await;
    let source = system.database.publish("generator", json!({})).await;
    let (first, second) = (ask_for(&system, &source).await, ask_for(&system, &source).await);
    system
        .notify(&gateway, &source, DatasourceEventKind::BackfillRequested)
        .await;
    wait::eventually(DEADLINE, || async { worker.is_given(first).await })
        .await
        .unwrap();
    assert!(!worker.is_given(second).await, "one at a time");
    assert!(gateway.routes().get(&first.to_string()).await.unwrap().is_none());
    let runs = || async {
        worker.say_of(&source, first, BackfillStatus::Running, 10).await;
        let job = job(&system, &source, first).await;
        job.status == BackfillStatus::Running && job.progress.records == 10
    };
    wait::eventually(DEADLINE, runs).await.unwrap();
    // One that only waits for its turn at a worker knows nothing of what was done before.
    let waits = || async {
        worker.say_of(&source, first, BackfillStatus::Queued, 0).await;
        let job = job(&system, &source, first).await;
        job.status == BackfillStatus::Queued && job.progress.records == 10
    };
    wait::eventually(DEADLINE, waits).await.unwrap();
    registry.kill();
    let registry = system.registry().await;
    assert!(worker.is_given(first).await);
    let done = || async {
        worker.say_of(&source, first, BackfillStatus::Done, 20).await;
        job(&system, &source, first).await.status == BackfillStatus::Done
    };
    wait::eventually(DEADLINE, done).await.unwrap();
    wait::eventually(DEADLINE, || async {
        worker.is_given(second).await && !worker.is_given(first).await
    })
    .await
    .unwrap();
    use DatasourceEventKind::{BackfillEnded, BackfillRequested, BackfillStarted};
    let kinds = history(&system, &source).await;
    let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(
        (
            count(BackfillRequested),
            count(BackfillStarted),
            count(BackfillEnded)
        ),
        (1, 1, 1)
    );
    let tenant = Tenant(source.organization);
    let tx = system.database.store.begin().await.unwrap();
    assert!(tx.backfills().cancel(tenant, second, now()).await.unwrap());
    tx.commit().await.unwrap();
    system
        .notify(&gateway, &source, DatasourceEventKind::BackfillCancelled)
        .await;
    wait::eventually(DEADLINE, || async { !worker.is_given(second).await })
        .await
        .unwrap();
    registry.stop().await;
}
