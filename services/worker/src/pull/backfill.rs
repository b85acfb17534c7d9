//! A backfill at work: a source of its own that reads a past range, beside what is fetched live. Its place, its pace and
//! its numbers are its own; its events have the identifiers that the live ones have, so that what both read counts once.

use std::sync::Arc;

use halcyon_bus::checkpoint::CheckpointWriter;
use halcyon_domain::{
    backfill::{BackfillProgress, BackfillStatus},
    clock::Timestamp,
};
use serde_json::Value;

use super::{
    deliver::Delivered,
    run::{End, Run},
};
use crate::feed::{Feed, Version};

impl Run {
    /// Reads the range, on from where whoever had it before was.
    pub(super) async fn backfill(
        &mut self,
        version: &mut Arc<Version>,
        writer: &mut CheckpointWriter,
        position: Value,
    ) -> Result<End, End> {
        let before = writer.progress();
        self.feed.report(|report| {
            report.status = BackfillStatus::Running;
            // Failures of this worker may not be kept yet.
            let errors = report.progress.errors.max(before.errors);
            report.progress = BackfillProgress { errors, ..before };
        });
        self.board.changed();
        self.read(version, writer, position, &mut Delivered::default())
            .await
    }

    /// How far it is after a batch.
    pub(super) fn progressed(&self, batch: Delivered, reached: Option<Timestamp>) -> BackfillProgress {
        let range = self.feed.backfill;
        self.feed.report(|report| {
            report.message = None;
            let progress = &mut report.progress;
            progress.records += batch.records;
            progress.dead_lettered += batch.dead_lettered;
            let within = range
                .zip(reached)
                .map(|(task, time)| time.clamp(task.from, task.to));
            progress.position = within.or(progress.position);
        });
        let report = self.feed.state().backfill;
        report.map(|report| report.progress).unwrap_or_default()
    }
}

impl Feed {
    /// Changes what is said of the backfill.
    pub(super) fn report(&self, change: impl FnOnce(&mut halcyon_domain::backfill::BackfillReport)) {
        self.change(|state| {
            if let Some(report) = state.backfill.as_mut() {
                change(report);
            }
        });
    }

    /// Nothing becomes of the backfill any more.
    pub(super) fn conclude(&self, status: BackfillStatus, message: Option<String>) {
        self.report(|report| {
            report.status = status;
            report.message = message;
        });
    }
}
