//! Publishing and rolling back: the version is checked in full, then put in effect in one transaction.

use halcyon_domain::{
    approval::ConfigHash,
    datasource::{Datasource, DatasourceEventKind},
    id::{DatasourceId, VersionId},
    lifecycle::DesiredState,
    version::{Draft, Published, Version, VersionRecord},
};
use halcyon_store::WriteTx;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, resource_of, target_of, tenant},
    approval_rules::Clearance,
    datasource_input::{check_comment, check_text},
    diff::compare,
    versions::told,
    views::VersionView,
};

/// What to publish.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PublishVersion {
    /// The draft's number; the newest draft if absent.
    pub version: Option<u32>,
    /// Why.
    pub comment: Option<String>,
    /// Publishes without the approval that is needed. For emergencies: it stands in the history and in the audit
    /// trail as what it is.
    pub break_glass: Option<BreakGlass>,
}

/// Why a version is published without the approval that is needed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BreakGlass {
    /// Why it cannot wait: 10 to 2,000 characters.
    pub reason: String,
}

/// What to roll back to.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// The number of the version whose configuration is to be in effect again.
    pub version: u32,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
}

/// How a version comes into effect.
struct Release {
    action: Action,
    kind: DatasourceEventKind,
    comment: Option<String>,
    message: String,
}

impl App {
    /// Publishes a draft.
    ///
    /// # Errors
    /// There is no draft, it does not fit, a secret is missing, or a stored test is red.
    pub async fn publish(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: PublishVersion,
        if_match: IfMatch,
    ) -> Result<VersionView> {
        let datasource = self.datasource(context, id, Action::PUBLISH).await?;
        check_comment(input.comment.as_deref())?;
        if let Some(glass) = &input.break_glass {
            check_reason(&glass.reason)?;
            let (target, resource) = (target_of(&datasource), resource_of(&datasource));
            self.authorize(context, Action::BREAK_GLASS, &target, resource)
                .await?;
        }
        let break_glass = input.break_glass.is_some();
        let checked = self
            .checked_draft(context, &datasource, input.version, break_glass)
            .await?;

        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, if_match).await?;
        let found = tx.versions().find(tenant(context), id, checked.number).await?;
        let record = found.ok_or(Error::NotFound("version"))?;
        // What was checked is what is published: an edit in between makes it another one.
        IfMatch::Revision(checked.revision).check(record.revision)?;
        let (organizations, approvals) = (tx.organizations(), tx.approvals());
        let clearance = self
            .clearance(&organizations, &approvals, &datasource, &record, break_glass)
            .await?;
        let release = self
            .cleared(&tx, context, &datasource, &record, clearance, input)
            .await?;
        let draft = record.into_draft("be published")?;
        self.release(tx, context, datasource, draft, release, false).await
    }

    /// A draft of which all holds that must hold before it is published.
    pub(crate) async fn checked_draft(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        number: Option<u32>,
        break_glass: bool,
    ) -> Result<VersionRecord> {
        datasource.status.publish()?;
        let record = match number {
            Some(number) => self.version(context, datasource.id, number).await?,
            None => self.newest_draft(context, datasource.id).await?,
        };
        let draft = record.into_draft("be published")?.into_record();
        let read = self.store.read();
        let (organizations, approvals) = (read.organizations(), read.approvals());
        self.clearance(&organizations, &approvals, datasource, &draft, break_glass)
            .await?;
        self.check_release(datasource, &draft.config).await?;
        Ok(draft)
    }

    /// Uses the approval up, or breaks the glass, and says how the version comes into effect.
    async fn cleared(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &Datasource,
        draft: &VersionRecord,
        clearance: Clearance,
        input: PublishVersion,
    ) -> Result<Release> {
        let number = draft.number;
        let mut message = input
            .comment
            .clone()
            .unwrap_or_else(|| format!("version {number} published"));
        let mut action = Action::PUBLISH;
        match clearance {
            Clearance::NotNeeded => {}
            Clearance::Approved(approval) => {
                let used = approval.use_up(self.clock.now());
                tx.approvals().update(tenant(context), used.record()).await?;
                if let Some(by) = &used.record().decided_by {
                    message = format!("{message}; approved by {}", by.name);
                }
            }
            Clearance::BreakGlass => {
                let reason = input.break_glass.map(|glass| glass.reason).unwrap_or_default();
                tracing::warn!(
                    datasource.id = %datasource.id,
                    version = number,
                    actor = %context.principal.name,
                    "a version is published without the approval that is needed"
                );
                let warning = format!("WARNING: version {number} published without approval: {reason}");
                let hash = ConfigHash::of(&draft.config);
                message = format!("{message}; BREAK GLASS, without approval of {hash}: {reason}");
                action = Action::BREAK_GLASS;
                self.tell(
                    tx,
                    context,
                    datasource,
                    DatasourceEventKind::BreakGlass,
                    number,
                    warning,
                )
                .await?;
            }
        }
        let why = format!("version {number} was published");
        self.reset_approval(tx, context, datasource, draft, &why).await?;
        Ok(Release {
            action,
            kind: DatasourceEventKind::Published,
            comment: input.comment,
            message,
        })
    }

    /// Puts an earlier version's configuration back in effect, as a new version.
    ///
    /// # Errors
    /// The version was never published, or it does not fit any more.
    pub async fn roll_back(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: RollBack,
        if_match: IfMatch,
    ) -> Result<VersionView> {
        let datasource = self.datasource(context, id, Action::ROLL_BACK).await?;
        check_comment(input.comment.as_deref())?;
        datasource.status.publish()?;
        let source = self.version(context, id, input.version).await?;
        // Not every archived version was in effect: a draft may have been archived as it was, unapproved.
        if !source.was_published() {
            let detail = format!(
                "version {} was never published; publish it instead",
                input.version
            );
            return Err(Error::Conflict {
                code: "invalid_transition",
                detail,
            });
        }
        self.check_release(&datasource, &source.config).await?;

        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, if_match).await?;
        let number = tx.versions().next_number(tenant(context), id).await?;
        let comment = input
            .comment
            .unwrap_or_else(|| format!("rolled back to version {}", input.version));
        let draft = Version::new(
            VersionId::generate(),
            id,
            number,
            source.config,
            Some(comment.clone()),
            Some(context.principal.subject.actor()),
            self.clock.now(),
        );
        let release = Release {
            action: Action::ROLL_BACK,
            kind: DatasourceEventKind::RolledBack,
            comment: None,
            message: format!(
                "version {number} with the configuration of version {}: {comment}",
                input.version
            ),
        };
        self.release(tx, context, datasource, draft, release, true).await
    }

    async fn newest_draft(&self, context: &RequestContext, id: DatasourceId) -> Result<VersionRecord> {
        let found = self
            .store
            .read()
            .versions()
            .newest_draft(tenant(context), id)
            .await?;
        let none = || Error::Conflict {
            code: "no_draft",
            detail: "there is no draft to publish".to_owned(),
        };
        found.ok_or_else(none)
    }

    /// Puts `draft` in effect and the version before it out of it.
    async fn release(
        &self,
        tx: WriteTx,
        context: &RequestContext,
        mut datasource: Datasource,
        draft: Version<Draft>,
        release: Release,
        is_new: bool,
    ) -> Result<VersionView> {
        let now = self.clock.now();
        let versions = tx.versions();
        let mut before = Value::Object(Map::new());
        if let Some(record) = versions.published(tenant(context), datasource.id).await? {
            before = record.config.clone();
            let archived = record.into_published("be archived")?.archive(now);
            versions.update(tenant(context), archived.record()).await?;
        }
        let published: Version<Published> =
            draft.publish(Some(context.principal.subject.actor()), release.comment, now);
        if is_new {
            versions.insert(tenant(context), published.record()).await?;
        } else {
            versions.update(tenant(context), published.record()).await?;
        }
        let record = published.into_record();
        let newest = versions.newest_draft(tenant(context), datasource.id).await?;
        datasource.status = datasource.status.publish()?;
        datasource.current_version = Some(record.number);
        datasource.draft_version = newest
            .map(|draft| draft.number)
            .filter(|number| *number > record.number);
        datasource.desired_state = DesiredState::Running;
        datasource.generation += 1;
        let datasource = self.touched(&tx, context, datasource).await?;
        let (diff, summary) = compare(&before, &record.config);
        let change = Change {
            action: release.action,
            kind: release.kind,
            datasource: &datasource,
            version: Some(record.number),
            diff: Some(diff),
            message: format!("{} ({})", release.message, told(&summary)),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(record.into())
    }
}

fn check_reason(reason: &str) -> Result<()> {
    const POINTER: &str = "/break_glass/reason";
    check_text(Some(reason), POINTER, 2_000)?;
    if reason.trim().chars().count() < 10 {
        return Err(Error::field(
            POINTER,
            "too_short",
            "say in 10 characters or more why it cannot wait",
        ));
    }
    Ok(())
}
