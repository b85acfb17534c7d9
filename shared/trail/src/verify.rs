//! The check of a trail in the database, page by page and within a time.

use std::time::{Duration, Instant};

use halcyon_domain::audit::{AuditCheckpoint, CheckpointKind};
use halcyon_store::{Read, Store, Tenant};

use crate::{
    keys::TrustedKeys,
    verifier::{Report, Verifier},
};

/// How many rows are read at a time.
const PAGE: u64 = 500;

/// How a trail is to be checked.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Goes on behind this entry.
    pub after: i64,
    /// Stops after this entry.
    pub through: Option<i64>,
    /// The most time to take; a part is checked at least.
    pub within: Option<Duration>,
    /// Checkpoints that were kept elsewhere.
    pub outside: Vec<AuditCheckpoint>,
}

/// What a check found, and where the next one has to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What was found.
    pub report: Report,
    /// The entry behind which the next check goes on; nothing when the end was reached or something is wrong.
    pub next_after: Option<i64>,
}

/// Checks an organisation's trail, which may grow meanwhile.
///
/// # Errors
/// The database fails.
pub async fn verify(
    store: &Store,
    tenant: Tenant,
    keys: TrustedKeys,
    options: Options,
) -> Result<Progress, halcyon_store::Error> {
    let checkpoints = store.read();
    let checkpoints = checkpoints.audit_checkpoints();
    loop {
        let cut = checkpoints.newest(tenant, CheckpointKind::Cut).await?;
        let through = cut.as_ref().map(|cut| cut.sequence);
        let progress = Check::new(store, tenant, &options).run(keys.clone(), cut).await?;
        if progress.report.fault.is_none() {
            return Ok(progress);
        }
        // What is missing may have been removed by right since the check began.
        let newest = checkpoints.newest(tenant, CheckpointKind::Cut).await?;
        if newest.map(|cut| cut.sequence) == through {
            return Ok(progress);
        }
    }
}

/// One pass over a trail.
struct Check<'o> {
    read: Read,
    tenant: Tenant,
    options: &'o Options,
    /// The last entry whose checkpoint was read.
    checkpointed: i64,
    /// The newest checkpoint when the check began: later ones may be about entries that were not there yet.
    newest: i64,
}

impl<'o> Check<'o> {
    fn new(store: &Store, tenant: Tenant, options: &'o Options) -> Self {
        Self {
            read: store.read(),
            tenant,
            options,
            checkpointed: 0,
            newest: 0,
        }
    }

    async fn run(
        mut self,
        keys: TrustedKeys,
        cut: Option<AuditCheckpoint>,
    ) -> Result<Progress, halcyon_store::Error> {
        let begun = Instant::now();
        let mut verifier = Verifier::new(self.tenant.0, keys);
        if let Some(cut) = cut {
            verifier = verifier.with_cut(cut);
        }
        let checkpoints = self.read.audit_checkpoints();
        let newest = checkpoints.newest(self.tenant, CheckpointKind::Head).await?;
        self.newest = newest.map_or(0, |checkpoint| checkpoint.sequence);
        let mut after = 0;
        if self.options.after > 0
            && let Some(link) = self.read.audit().link(self.tenant, self.options.after).await?
        {
            let before = checkpoints.newest_through(self.tenant, link.sequence).await?;
            verifier = verifier.behind(&link, before.map_or(0, |checkpoint| checkpoint.number));
            after = link.sequence;
        }
        self.checkpointed = after;
        for checkpoint in &self.options.outside {
            if checkpoint.sequence > after {
                verifier.outside(checkpoint.clone());
            }
        }
        loop {
            let rows = self.read.audit().chain(self.tenant, after, PAGE).await?;
            let full = rows.len() as u64 == PAGE;
            after = rows.last().map_or(after, |row| row.link.sequence);
            self.give_checkpoints(&mut verifier, if full { after } else { i64::MAX })
                .await?;
            for row in rows {
                if self
                    .options
                    .through
                    .is_some_and(|through| row.link.sequence > through)
                {
                    return Ok(progress(verifier, false, None));
                }
                if let Some(column) = row.misfiled {
                    verifier.misfiled(row.link.sequence, column);
                }
                verifier.entry(row.link);
            }
            if !full || !verifier.is_good() {
                return Ok(progress(verifier, self.options.through.is_none(), None));
            }
            if self
                .options
                .within
                .is_some_and(|within| begun.elapsed() >= within)
            {
                return Ok(progress(verifier, false, Some(after)));
            }
        }
    }

    /// Gives the checkpoints that are about entries up to `through`.
    async fn give_checkpoints(
        &mut self,
        verifier: &mut Verifier,
        through: i64,
    ) -> Result<(), halcyon_store::Error> {
        let through = through.min(self.newest);
        while self.checkpointed < through {
            let heads = self
                .read
                .audit_checkpoints()
                .after(self.tenant, CheckpointKind::Head, self.checkpointed, PAGE)
                .await?;
            let full = heads.len() as u64 == PAGE;
            for head in heads {
                if head.sequence > through {
                    return Ok(());
                }
                self.checkpointed = head.sequence;
                verifier.checkpoint(head);
            }
            if !full {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn progress(verifier: Verifier, complete: bool, next_after: Option<i64>) -> Progress {
    let report = verifier.finish(complete);
    let next_after = next_after.filter(|_| report.fault.is_none());
    Progress { report, next_after }
}
