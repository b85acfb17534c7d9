//! Backfills: one of a datasource at a time is given to a worker, and what it says of it is kept.

use halcyon_bus::Service;
use halcyon_domain::{
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
    let (first, second) = (
        system.database.ask_for_backfill(&source).await,
        system.database.ask_for_backfill(&source).await,
    );
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

#[tokio::test]
async fn a_place_that_nobody_reads_on_from_is_removed() {
    let system = System::start().await;
    let source = system.database.publish("generator", json!({})).await;
    let backfill = system.database.ask_for_backfill(&source).await;
    // The first registry makes the buckets.
    system.registry().await.stop().await;
    let bus = system.connect(Service::Worker).await;
    let checkpoints = bus.checkpoints();
    let (kept, ended) = ([source.id, DatasourceId(backfill.0)], DatasourceId::generate());
    for id in kept.into_iter().chain([ended]) {
        let (mut writer, _) = checkpoints.claim(id, 0, 1, "worker", now()).await.unwrap();
        writer.save(json!(1), now()).await.unwrap();
    }
    let registry = system.registry().await;
    wait::eventually(DEADLINE, || async {
        checkpoints.load(ended).await.unwrap().is_none()
    })
    .await
    .unwrap();
    for id in kept {
        assert!(checkpoints.load(id).await.unwrap().is_some());
    }
    registry.stop().await;
}
