//! Versions of a datasource's configuration: list, draft, edit, compare.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    datasource::{Datasource, DatasourceEventKind},
    id::{DatasourceId, VersionId},
    version::{Version, VersionRecord, VersionState},
};
use halcyon_store::WriteTx;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    datasource_input::check_comment,
    diff::compare,
    paged, validation,
    views::{List, VersionDiff, VersionView},
};

paged! {
    /// Which versions to list.
    ListVersions {
        /// Those in this state.
        state: Option<VersionState>,
    }
}

/// A draft to be made.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateVersion {
    /// Its configuration.
    pub config: Value,
    /// Why it is made.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What to change of a draft; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EditVersion {
    /// Its configuration, as a whole.
    pub config: Option<Value>,
    /// Why it is made.
    pub comment: Option<String>,
}

/// Why a draft is archived.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ArchiveVersion {
    /// Why.
    pub comment: Option<String>,
}

impl App {
    /// A datasource's versions.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_versions(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListVersions,
    ) -> Result<List<VersionView>> {
        self.datasource(context, id, Action::READ).await?;
        let read = self.store.read();
        let page = read
            .versions()
            .list(tenant(context), id, query.state, &query.page())
            .await?;
        Ok(List::of(page, VersionView::from))
    }

    /// A version.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
    ) -> Result<VersionView> {
        self.datasource(context, id, Action::READ).await?;
        self.version(context, id, number).await.map(VersionView::from)
    }

    /// A version of a datasource that the caller may see.
    pub(crate) async fn version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
    ) -> Result<VersionRecord> {
        let found = self
            .store
            .read()
            .versions()
            .find(tenant(context), id, number)
            .await?;
        found.ok_or(Error::NotFound("version"))
    }

    /// Makes a draft.
    ///
    /// # Errors
    /// The configuration does not fit.
    pub async fn create_version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: CreateVersion,
    ) -> Result<VersionView> {
        let known = self.datasource(context, id, Action::CREATE_VERSION).await?;
        check_comment(input.comment.as_deref())?;
        check_draft(&known, &input.config)?;
        let tx = self.store.begin().await?;
        let mut datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let before = self.basis(&tx, context, &datasource).await?;
        let record = self
            .insert_draft(&tx, context, &mut datasource, input.config, input.comment)
            .await?;
        let change = Change {
            action: Action::CREATE_VERSION,
            kind: DatasourceEventKind::Updated,
            datasource: &self.touched(&tx, context, datasource).await?,
            version: Some(record.number),
            diff: Some(compare(&before, &record.config).0),
            message: format!("draft {} made", record.number),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(record.into())
    }

    /// Changes a draft.
    ///
    /// # Errors
    /// It is no draft, the configuration does not fit, or the revision is another one.
    pub async fn edit_version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        input: EditVersion,
        if_match: IfMatch,
    ) -> Result<VersionView> {
        let known = self.datasource(context, id, Action::EDIT_VERSION).await?;
        check_comment(input.comment.as_deref())?;
        if let Some(config) = &input.config {
            check_draft(&known, config)?;
        }
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.versions().find(tenant(context), id, number).await?;
        let record = found.ok_or(Error::NotFound("version"))?;
        if_match.check(record.revision)?;
        let before = record.config.clone();
        let draft = record.into_draft("be edited")?;
        let config = input.config.unwrap_or_else(|| before.clone());
        let record = draft.edit(config, input.comment, self.clock.now()).into_record();
        tx.versions().update(tenant(context), &record).await?;
        self.rewritten(&tx, context, &datasource, &before, &record)
            .await?;
        let (diff, summary) = compare(&before, &record.config);
        let change = Change {
            action: Action::EDIT_VERSION,
            kind: DatasourceEventKind::Updated,
            datasource: &self.touched(&tx, context, datasource).await?,
            version: Some(number),
            diff: Some(diff),
            message: format!("draft {number}: {}", told(&summary)),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(record.into())
    }

    /// Archives a draft: it will not be published. What is asked for it is over.
    ///
    /// # Errors
    /// It is no draft, or the revision is another one.
    pub async fn archive_version(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        input: ArchiveVersion,
        if_match: IfMatch,
    ) -> Result<VersionView> {
        self.datasource(context, id, Action::ARCHIVE_VERSION).await?;
        check_comment(input.comment.as_deref())?;
        let tx = self.store.begin().await?;
        let mut datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.versions().find(tenant(context), id, number).await?;
        let record = found.ok_or(Error::NotFound("version"))?;
        if_match.check(record.revision)?;
        let draft = record.into_draft("be archived")?;
        let record = draft.discard(self.clock.now()).into_record();
        tx.versions().update(tenant(context), &record).await?;
        let why = format!("draft {number} was archived");
        self.reset_approval(&tx, context, &datasource, &record, &why)
            .await?;
        let newest = tx.versions().newest_draft(tenant(context), id).await?;
        datasource.draft_version = newest
            .map(|draft| draft.number)
            .filter(|number| datasource.current_version.is_none_or(|current| *number > current));
        let change = Change {
            action: Action::ARCHIVE_VERSION,
            kind: DatasourceEventKind::VersionArchived,
            datasource: &self.touched(&tx, context, datasource).await?,
            version: Some(number),
            diff: None,
            message: match input.comment {
                Some(comment) => format!("draft {number} archived: {comment}"),
                None => format!("draft {number} archived"),
            },
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(record.into())
    }

    /// What changed between two versions.
    ///
    /// # Errors
    /// One of them is not there.
    pub async fn diff_versions(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        from: u32,
        to: u32,
    ) -> Result<VersionDiff> {
        self.datasource(context, id, Action::READ).await?;
        let before = self.version(context, id, from).await?;
        let after = self.version(context, id, to).await?;
        let (patch, summary) = compare(&before.config, &after.config);
        Ok(VersionDiff {
            from,
            to,
            patch,
            summary,
        })
    }

    /// Replaces the configuration of the newest draft, or makes a draft. Returns its number.
    pub(crate) async fn put_draft(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &mut Datasource,
        config: Value,
        comment: Option<String>,
    ) -> Result<u32> {
        if let Some(number) = datasource.draft_version {
            let found = tx.versions().find(tenant(context), datasource.id, number).await?;
            let record = found.ok_or(Error::NotFound("version"))?;
            let before = record.config.clone();
            let draft = record.into_draft("be edited")?;
            let record = draft.edit(config, comment, self.clock.now()).into_record();
            tx.versions().update(tenant(context), &record).await?;
            self.rewritten(tx, context, datasource, &before, &record).await?;
            return Ok(number);
        }
        Ok(self
            .insert_draft(tx, context, datasource, config, comment)
            .await?
            .number)
    }

    async fn insert_draft(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        datasource: &mut Datasource,
        config: Value,
        comment: Option<String>,
    ) -> Result<VersionRecord> {
        let number = tx.versions().next_number(tenant(context), datasource.id).await?;
        let by = Some(context.principal.subject.actor());
        let now = self.clock.now();
        let draft = Version::new(
            VersionId::generate(),
            datasource.id,
            number,
            config,
            comment,
            by,
            now,
        );
        tx.versions().insert(tenant(context), draft.record()).await?;
        self.written(tx, context, draft.record()).await?;
        datasource.draft_version = Some(number);
        Ok(draft.into_record())
    }

    /// The configuration that a new draft is compared with: that of the newest draft, or of the published version.
    async fn basis(&self, tx: &WriteTx, context: &RequestContext, datasource: &Datasource) -> Result<Value> {
        let Some(number) = datasource.draft_version.or(datasource.current_version) else {
            return Ok(Value::Object(serde_json::Map::new()));
        };
        let found = tx.versions().find(tenant(context), datasource.id, number).await?;
        Ok(found.map(|version| version.config).unwrap_or_default())
    }

    /// Writes that the datasource was changed by the caller now.
    pub(crate) async fn touched(
        &self,
        tx: &WriteTx,
        context: &RequestContext,
        mut datasource: Datasource,
    ) -> Result<Datasource> {
        datasource.updated_at = self.clock.now();
        datasource.updated_by = Some(context.principal.subject.actor());
        Ok(tx.datasources().update(&datasource).await?)
    }
}

fn check_draft(datasource: &Datasource, config: &Value) -> Result<()> {
    let connector = find_connector(&datasource.connector).ok_or(Error::NotFound("connector"))?;
    let errors = validation::draft(connector, config);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
    }
}

/// A summary in one line.
pub(crate) fn told(summary: &[String]) -> String {
    match summary {
        [] => "nothing changed".to_owned(),
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}; {second}; {third}; and {} more", rest.len())
        }
        few => few.join("; "),
    }
}
