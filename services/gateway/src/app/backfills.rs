//! Backfills: a past range of a feed is fetched again, beside what is fetched live. Workers do it; here it is asked for,
//! seen and cancelled.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    audit::Actor,
    backfill::{Backfill, BackfillProgress, BackfillStatus, check},
    clock::{Timestamp, truncate},
    datasource::{Datasource, DatasourceEventKind},
    id::{BackfillId, DatasourceId, WorkerId},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    datasource_input::check_text,
    paged,
    views::List,
};

/// The most backfills of a datasource that are queued or run.
const MAX_OPEN: u64 = 20;

paged! {
    /// Which backfills to list, the newest first.
    ListBackfills {}
}

/// A range to be fetched again.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateBackfill {
    /// From when on.
    pub from: Timestamp,
    /// Until when; that moment itself is not read, and it is not in the future.
    pub to: Timestamp,
    /// The most records each second, 1 to 1,000,000; the version's `runtime.throttle` if absent. It counts beside what
    /// is fetched live.
    #[serde(default)]
    pub records_per_second: Option<u32>,
    /// The version to map with: one that is or was published. The one that is, if absent.
    #[serde(default)]
    pub version: Option<u32>,
    /// Why.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A range that is or was fetched again.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Backfill")]
pub struct BackfillView {
    /// Its identifier.
    pub id: BackfillId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The version that maps.
    pub version: u32,
    /// From when on.
    pub from: Timestamp,
    /// Until when; that moment itself is not read.
    pub to: Timestamp,
    /// The most records each second.
    pub records_per_second: Option<u32>,
    /// Why.
    pub comment: Option<String>,
    /// What has become of it.
    pub status: BackfillStatus,
    /// How far it is.
    pub progress: BackfillProgress,
    /// How much of the range is read, in percent; nothing if the connector cannot tell.
    pub percent: Option<f64>,
    /// Why it failed, or what stands in its way.
    pub message: Option<String>,
    /// The worker that reads, or read last.
    pub worker: Option<WorkerId>,
    /// Who asked for it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
    /// When a worker began to read.
    pub started_at: Option<Timestamp>,
    /// When nothing became of it any more.
    pub finished_at: Option<Timestamp>,
    /// Grows with each change; sent as `ETag`.
    pub revision: i64,
}

impl From<Backfill> for BackfillView {
    fn from(backfill: Backfill) -> Self {
        let percent = backfill.percent();
        Self {
            id: backfill.id,
            datasource: backfill.datasource,
            version: backfill.version,
            from: backfill.from,
            to: backfill.to,
            records_per_second: backfill.records_per_second,
            comment: backfill.comment,
            status: backfill.status,
            progress: backfill.progress,
            percent,
            message: backfill.message,
            worker: backfill.worker,
            created_by: backfill.created_by,
            created_at: backfill.created_at,
            started_at: backfill.started_at,
            finished_at: backfill.finished_at,
            revision: backfill.revision,
        }
    }
}

impl App {
    /// The backfills of a datasource.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_backfills(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListBackfills,
    ) -> Result<List<BackfillView>> {
        self.datasource(context, id, Action::READ).await?;
        let read = self.store.read();
        let page = read.backfills().list(tenant(context), id, &query.page()).await?;
        Ok(List::of(page, BackfillView::from))
    }

    /// A backfill.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_backfill(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        backfill: BackfillId,
    ) -> Result<BackfillView> {
        self.datasource(context, id, Action::READ).await?;
        let read = self.store.read();
        let found = read.backfills().find(tenant(context), id, backfill).await?;
        found.map(BackfillView::from).ok_or(Error::NotFound("backfill"))
    }

    /// Asks for a backfill.
    ///
    /// # Errors
    /// Its connector cannot read a past range, the input does not fit, the datasource is not active, or has too many.
    pub async fn create_backfill(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: CreateBackfill,
    ) -> Result<BackfillView> {
        let datasource = self.datasource(context, id, Action::CREATE_BACKFILL).await?;
        can_backfill(&datasource.connector)?;
        let now = self.clock.now();
        let (from, to) = (truncate(input.from), truncate(input.to));
        check(from, to, input.records_per_second, now)?;
        check_text(input.comment.as_deref(), "/comment", 2_000)?;
        let version = self.backfill_version(context, &datasource, input.version).await?;
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        datasource.status.operate("be backfilled")?;
        if tx.backfills().count_open(tenant(context), id).await? >= MAX_OPEN {
            return Err(Error::Conflict {
                code: "too_many_backfills",
                detail: format!("a datasource has at most {MAX_OPEN} backfills that are not done"),
            });
        }
        let backfill = Backfill {
            id: BackfillId::generate(),
            organization: datasource.organization,
            datasource: id,
            version,
            from,
            to,
            records_per_second: input.records_per_second,
            comment: input.comment,
            status: BackfillStatus::Queued,
            progress: BackfillProgress::default(),
            message: None,
            worker: None,
            created_by: context.actor(),
            created_at: now,
            started_at: None,
            finished_at: None,
            revision: 1,
        };
        tx.backfills().insert(&backfill).await?;
        let range = format!("{} to {}", from.to_rfc3339(), to.to_rfc3339());
        let change = Change {
            action: Action::CREATE_BACKFILL,
            kind: DatasourceEventKind::BackfillRequested,
            datasource: &datasource,
            version: Some(version),
            diff: Some(
                json!([{"op": "add", "path": format!("/backfills/{}", backfill.id), "value": {
                "from": from, "to": to, "records_per_second": backfill.records_per_second, "version": version}}]),
            ),
            message: format!("backfill {} asked for: {range}", backfill.id),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(backfill.into())
    }

    /// Cancels a backfill. What it has delivered stays. One that is cancelled already stays so.
    ///
    /// # Errors
    /// There is none, or it has ended otherwise.
    pub async fn cancel_backfill(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        backfill: BackfillId,
    ) -> Result<BackfillView> {
        self.datasource(context, id, Action::CANCEL_BACKFILL).await?;
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.backfills().find(tenant(context), id, backfill).await?;
        let known = found.ok_or(Error::NotFound("backfill"))?;
        let cancelled = tx
            .backfills()
            .cancel(tenant(context), backfill, self.clock.now())
            .await?;
        if !cancelled && known.status != BackfillStatus::Cancelled {
            return Err(Error::Conflict {
                code: "invalid_transition",
                detail: format!("a backfill cannot be cancelled once it is {}", known.status),
            });
        }
        let change = Change {
            action: Action::CANCEL_BACKFILL,
            kind: DatasourceEventKind::BackfillCancelled,
            datasource: &datasource,
            version: Some(known.version),
            diff: Some(
                json!([{"op": "replace", "path": format!("/backfills/{backfill}/status"),
                "value": BackfillStatus::Cancelled}]),
            ),
            message: format!("backfill {backfill} cancelled"),
        };
        self.record(&tx, context, change).await?;
        let found = tx.backfills().find(tenant(context), id, backfill).await?;
        self.commit(tx).await?;
        found.map(BackfillView::from).ok_or(Error::NotFound("backfill"))
    }

    /// The version that a backfill maps with: drafts map nothing that counts.
    async fn backfill_version(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        asked: Option<u32>,
    ) -> Result<u32> {
        let Some(number) = asked else {
            return datasource.current_version.ok_or_else(|| {
                let action = "be backfilled";
                Error::from(halcyon_domain::lifecycle::InvalidTransition {
                    subject: "a datasource",
                    action,
                    state: "never published",
                })
            });
        };
        let read = self.store.read();
        let found = read
            .versions()
            .find(tenant(context), datasource.id, number)
            .await?;
        match found {
            Some(version) if version.published_at.is_some() => Ok(number),
            Some(_) => Err(Error::field(
                "/version",
                "invalid",
                "the version was never published",
            )),
            None => Err(Error::field(
                "/version",
                "unknown_value",
                "there is no such version",
            )),
        }
    }
}

/// Only some connectors can read a past range.
fn can_backfill(connector: &str) -> Result<()> {
    let able = find_connector(connector).map(|found| found.spec().capabilities);
    let why = match able {
        Some(able) if able.backfill => return Ok(()),
        Some(able) if able.push => "is sent its events: they cannot be fetched again",
        _ => "cannot read a past range of its feed",
    };
    Err(Error::field(
        "",
        "no_backfill",
        format!("a `{connector}` datasource {why}"),
    ))
}
