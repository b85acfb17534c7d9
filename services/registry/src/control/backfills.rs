//! Backfills: what workers say of them is written down, and what follows from it is done.

use std::collections::BTreeMap;

use halcyon_domain::{
    assignment::Heartbeat,
    backfill::{Backfill, BackfillReport, BackfillStatus},
    datasource::DatasourceEventKind,
    id::{BackfillId, DatasourceId, WorkerId},
};
use halcyon_store::{BackfillUpdate, Tenant};

use super::Control;
use crate::{Error, history::Rows, reconcile::CurrentAssignments, state::Happening};

/// What workers last said of backfills.
#[derive(Debug, Default)]
pub(super) struct Reports(BTreeMap<BackfillId, (WorkerId, BackfillReport)>);

impl Reports {
    /// Takes in what a worker says of the backfills that are its own.
    pub(super) fn hear(&mut self, heartbeat: &Heartbeat, current: &CurrentAssignments) {
        for task in &heartbeat.tasks {
            let Some(report) = &task.backfill else { continue };
            let assigned = current.datasources.get(&task.datasource);
            let is_own = assigned.is_some_and(|assigned| assigned.instance_of(heartbeat.worker).is_some());
            if is_own {
                let id = BackfillId(task.datasource.0);
                self.0.insert(id, (heartbeat.worker, report.clone()));
            }
        }
    }

    /// What is new of a backfill; mere numbers only with `numbers`.
    fn update(&self, job: &Backfill, numbers: bool) -> Option<BackfillUpdate> {
        let (worker, report) = self.0.get(&job.id)?;
        // A worker that only waits for its turn does not know yet how far others were.
        let progress = if report.status == BackfillStatus::Queued {
            job.progress
        } else {
            report.progress
        };
        let is_news =
            (report.status, &report.message, Some(*worker)) != (job.status, &job.message, job.worker);
        (is_news || (numbers && progress != job.progress)).then(|| BackfillUpdate {
            status: report.status,
            progress,
            message: report.message.clone(),
            worker: Some(*worker),
        })
    }
}

impl Control<'_> {
    /// Writes what is new of backfills, and begins the next ones where some are done.
    pub(super) async fn carry_backfills_on(&mut self, numbers: bool) {
        let jobs = self.desired.backfills();
        let updates: Vec<(Backfill, BackfillUpdate)> = jobs
            .values()
            .filter_map(|job| Some((job.clone(), self.backfills.update(job, numbers)?)))
            .collect();
        if updates.is_empty() {
            return;
        }
        if let Err(error) = self.write_backfills(&updates).await {
            tracing::warn!(error = %error, "what has become of backfills could not be written yet");
            return;
        }
        let ended = updates.iter().any(|(_, update)| update.status.is_final());
        for (job, update) in updates {
            if let Some(known) = self.desired.backfills().get_mut(&job.id) {
                known.status = update.status;
                known.progress = update.progress;
                known.message = update.message;
                known.worker = update.worker;
                let began = known.status != BackfillStatus::Queued;
                known.started_at = known.started_at.or(began.then(|| self.shared.clock.now()));
            }
        }
        if ended && let Err(error) = self.after_backfills().await {
            tracing::warn!(error = %error, "the next backfills could not be begun yet");
            self.is_complete = false;
            self.retry_soon();
        }
    }

    async fn write_backfills(&self, updates: &[(Backfill, BackfillUpdate)]) -> Result<(), Error> {
        let now = self.shared.clock.now();
        let mut rows = Rows::default();
        let tx = self.shared.store.begin().await?;
        for (job, update) in updates {
            let tenant = Tenant(job.organization);
            if !tx.backfills().update(tenant, job.id, update, now).await? {
                continue;
            }
            for happening in happenings(job, update) {
                rows.add_happening(job.organization, job.datasource, now, happening);
            }
        }
        rows.write(&tx).await?;
        Ok(tx.commit().await?)
    }

    async fn after_backfills(&mut self) -> Result<(), Error> {
        let gone = self.desired.read_backfills(&self.memory).await?;
        let result = self.reconcile().await;
        self.forget_backfills(gone).await;
        result
    }

    /// Forgets where backfills were that are not carried on any more.
    pub(super) async fn forget_backfills(&mut self, gone: Vec<BackfillId>) {
        for id in gone {
            self.backfills.0.remove(&id);
            let key = DatasourceId(id.0);
            if let Err(error) = self.shared.bus.checkpoints().forget_from(key, 0).await {
                tracing::warn!(backfill.id = %id, error = %error, "the place of a backfill could not be cleared");
            }
        }
    }
}

/// What a datasource's history says of it.
fn happenings(job: &Backfill, update: &BackfillUpdate) -> Vec<Happening> {
    let range = format!("{} to {}", job.from.to_rfc3339(), job.to.to_rfc3339());
    let happening = |kind, message| Happening {
        kind,
        version: Some(job.version),
        message,
    };
    let mut happenings = Vec::new();
    if job.started_at.is_none() && update.status != BackfillStatus::Queued {
        let message = format!("the backfill {} began: {range}", job.id);
        happenings.push(happening(DatasourceEventKind::BackfillStarted, message));
    }
    if update.status.is_final() {
        let mut message = format!(
            "the backfill {} is {}: {} records of {range}",
            job.id, update.status, update.progress.records
        );
        if let Some(why) = &update.message {
            message.push_str(": ");
            message.push_str(why);
        }
        happenings.push(happening(DatasourceEventKind::BackfillEnded, message));
    }
    happenings
}
