//! The audit trail verified, exported and followed.

use std::{collections::VecDeque, time::Duration};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use halcyon_domain::audit::{AuditOutcome, Fault, RecordedEntry, Resource};
use halcyon_store::{AllTenants, AuditFilter, Read, Tenant};
use halcyon_trail::{
    Options, PublicKey, TrustedKeys,
    export::{Export, Format},
    verify,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    App, Error, ExportAudit, ExportFormat, FollowAudit, RequestContext, Result,
    access::{Action, Asker, tenant},
    audit::recorded,
};

/// How long one request verifies; the answer says where the next one goes on.
const VERIFY: Duration = Duration::from_secs(5);

/// How often a follower looks without being told to.
const LOOK: Duration = Duration::from_secs(5);

/// Entries that a follower reads at a time.
const PAGE: u64 = 100;

/// Which part of the trail to verify.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct VerifyAudit {
    /// Go on behind this entry: the `next_after` of the answer before.
    #[schemars(range(min = 0))]
    pub after: Option<i64>,
}

/// What a verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AuditVerification")]
pub struct AuditVerification {
    /// Whether nothing is wrong with what was verified.
    pub ok: bool,
    /// How many entries are as they were written.
    pub entries: i64,
    /// How many signed checkpoints hold.
    pub checkpoints: i64,
    /// The number of the last entry that is as it was written.
    pub last: i64,
    /// The number of the last entry that a checkpoint confirms. What came after it may still be rewritten unseen by
    /// somebody who can write to the database.
    pub confirmed: i64,
    /// The newest entry that a checkpoint outside the database, on the bus, was compared with; null if there is none
    /// or the bus does not answer.
    pub anchored: Option<i64>,
    /// Whether the keys that signed are those that the installation was set up with, and not just those that the
    /// database names.
    pub pinned_keys: bool,
    /// The first thing that is wrong.
    pub first_bad: Option<Fault>,
    /// Where to go on: give it as `after`; null when the end was reached.
    pub next_after: Option<i64>,
}

/// Pieces of an export.
pub type ExportStream = BoxStream<'static, std::result::Result<Vec<u8>, halcyon_store::Error>>;

/// Entries as they are added to the trail.
pub type AuditStream = BoxStream<'static, RecordedEntry>;

impl App {
    /// Verifies the trail of the caller's organisation, for a few seconds.
    ///
    /// # Errors
    /// The caller may not read it, or the database fails.
    pub async fn verify_audit(
        &self,
        context: &RequestContext,
        query: VerifyAudit,
    ) -> Result<AuditVerification> {
        self.authorize_tenant(context, Action::VERIFY_AUDIT).await?;
        let keys = self.trusted_keys().await?;
        let pinned_keys = keys.pinned();
        // Read before the trail: what it is about is in the trail then.
        let outside = match self.services.last_audit_checkpoint(context.organization()).await {
            Ok(outside) => outside,
            Err(error) => {
                tracing::debug!(error = %error, "the trail is verified without the checkpoint on the bus");
                None
            }
        };
        let anchored = outside.as_ref().map(|checkpoint| checkpoint.sequence);
        let options = Options {
            after: query.after.unwrap_or_default(),
            within: Some(VERIFY),
            outside: outside.into_iter().collect(),
            ..Options::default()
        };
        let progress = verify(&self.store, tenant(context), keys, options).await?;
        let report = progress.report;
        Ok(AuditVerification {
            ok: report.fault.is_none(),
            entries: report.entries,
            checkpoints: report.checkpoints,
            last: report.last,
            confirmed: report.confirmed,
            anchored,
            pinned_keys,
            first_bad: report.fault,
            next_after: progress.next_after,
        })
    }

    async fn trusted_keys(&self) -> Result<TrustedKeys> {
        let pinned = match self.options.audit_public_keys.clone() {
            // Read each time: a key may have been added.
            Some(file) => tokio::task::spawn_blocking(move || PublicKey::read_file(&file))
                .await
                .map_err(Error::internal)?
                .map_err(Error::internal)?,
            None => Vec::new(),
        };
        let reason = AllTenants::because("the keys sign the trails of all organisations");
        let known = self.store.read().audit_checkpoints().keys(reason).await?;
        Ok(TrustedKeys::new(&pinned, &known))
    }

    /// Exports the trail of the caller's organisation. The trail says so.
    ///
    /// # Errors
    /// The caller may not read it, or the database fails before the first piece.
    pub async fn export_audit(&self, context: &RequestContext, query: ExportAudit) -> Result<ExportStream> {
        self.authorize_tenant(context, Action::EXPORT_AUDIT).await?;
        let resource = Resource {
            kind: "audit".to_owned(),
            id: None,
            name: None,
        };
        let filter = query.filter()?;
        let summary = if filter == AuditFilter::default() {
            "exported the audit trail"
        } else {
            "exported a part of the audit trail"
        };
        let asker = Asker::of(context);
        let name = Action::EXPORT_AUDIT.name;
        let entry = self.entry(asker, name, resource, AuditOutcome::Succeeded, summary.to_owned());
        self.services.publish_audit(&entry).await?;
        let format = match query.format {
            Some(ExportFormat::Csv) => Format::Csv,
            Some(ExportFormat::Jsonl) | None => Format::JsonLines,
        };
        let mut export = Export::new(&self.store, tenant(context), filter, format, self.clock.now());
        // A database that does not answer is told by the status.
        let first = export.next().await?.unwrap_or_default();
        let rest = stream::try_unfold(export, |mut export| async move {
            Ok(export.next().await?.map(|piece| (piece, export)))
        });
        Ok(stream::once(async { Ok(first) })
            .chain(rest)
            .into_stream()
            .boxed())
    }

    /// The entries of the trail of the caller's organisation as they are added, in their order and without gaps.
    ///
    /// # Errors
    /// The caller may not read it, or the database fails.
    pub async fn follow_audit(&self, context: &RequestContext, query: FollowAudit) -> Result<AuditStream> {
        self.authorize_tenant(context, Action::READ_AUDIT).await?;
        let tenant = tenant(context);
        // Before anything is read: no entry falls in between.
        let hints = self.services.audit_hints(tenant.0).await?;
        let read = self.store.read();
        let after = match query.after {
            Some(after) => after,
            None => read.audit().length(tenant).await?,
        };
        let follower = Follower {
            read,
            tenant,
            filter: query.filter()?,
            after,
            hints,
            found: VecDeque::new(),
        };
        Ok(stream::unfold(follower, |mut follower| async move {
            let entry = follower.next().await;
            Some((entry, follower))
        })
        .boxed())
    }
}

/// Reads the trail as it grows. What the bus says is only a hint: every entry comes from the chain.
struct Follower {
    read: Read,
    tenant: Tenant,
    filter: AuditFilter,
    after: i64,
    hints: BoxStream<'static, ()>,
    found: VecDeque<RecordedEntry>,
}

impl Follower {
    async fn next(&mut self) -> RecordedEntry {
        loop {
            if let Some(entry) = self.found.pop_front() {
                return entry;
            }
            if let Err(error) = self.read_on().await {
                tracing::debug!(error = %error, "the audit trail cannot be followed now; trying on");
            }
            if self.found.is_empty() {
                tokio::select! {
                    Some(()) = self.hints.next() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
    }

    async fn read_on(&mut self) -> Result<()> {
        let trail = self.read.audit();
        let links = trail.after(self.tenant, &self.filter, self.after, PAGE).await?;
        for link in links {
            self.after = link.sequence;
            self.found.push_back(recorded(link)?);
        }
        Ok(())
    }
}
