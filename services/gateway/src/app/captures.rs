//! Captures: a few live records of a datasource, taken by its workers as they come by, redacted there, and kept here
//! as samples.

use chrono::TimeDelta;
use halcyon_domain::{
    capture::{Capture, CaptureEnd, CapturePoint, Captured, MAX_CAPTURE_SECONDS, MAX_CAPTURED, MAX_CAPTURES},
    clock::Timestamp,
    datasource::{Datasource, DatasourceEventKind},
    id::{CaptureId, DatasourceId, SampleId},
    redact::RedactionSpec,
    sample::{MAX_SAMPLES, MAX_SAMPLES_BYTES, Sample, SampleOrigin},
};
use halcyon_store::Tenant;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Change, tenant},
    datasource_input::check_text,
    views::List,
};

/// The longest text that a capture looks for.
const MAX_TEXT: usize = 200;

/// What to capture.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartCapture {
    /// Where records are taken.
    pub point: CapturePoint,
    /// How many at most: 1 to 100, 10 if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 100))]
    pub count: Option<u32>,
    /// How long to wait for them, in seconds: 1 to 300, 60 if absent.
    #[serde(default)]
    #[schemars(range(min = 1, max = 300))]
    pub seconds: Option<u32>,
    /// Only what has this text in it.
    #[serde(default)]
    pub contains: Option<String>,
    /// What is taken out besides the values of fields whose names tell of a secret.
    #[serde(default)]
    pub redact: Option<RedactionSpec>,
}

/// A capture, as it is shown.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Capture")]
pub struct CaptureView {
    /// Its identifier; its samples have it as `origin_id`.
    pub id: CaptureId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// Where records are taken.
    pub point: CapturePoint,
    /// How many at most.
    pub count: u32,
    /// How many there are so far, and have not been deleted since.
    pub captured: u64,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Only what has this text in it.
    pub contains: Option<String>,
    /// What is taken out besides the values of fields whose names tell of a secret.
    pub redact: RedactionSpec,
    /// Whether it runs.
    pub running: bool,
    /// Why it has ended.
    pub end: Option<CaptureEnd>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who began it.
    pub started_by: String,
    /// When.
    pub started_at: Timestamp,
}

impl App {
    /// Begins a capture.
    ///
    /// # Errors
    /// The input does not fit, one of this point runs already, or there is nothing that runs.
    pub async fn start_capture(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: StartCapture,
    ) -> Result<CaptureView> {
        let datasource = self.datasource(context, id, Action::START_CAPTURE).await?;
        let capture = self.new_capture(context, &datasource, input)?;
        if datasource.current_version.is_none() || !datasource.status.accepts_events() {
            return Err(Error::Conflict {
                code: "not_accepting",
                detail: "the datasource is disabled or was never published: nothing comes by".to_owned(),
            });
        }
        let now = self.clock.now();
        let known = self.services.captures(datasource.organization, id).await?;
        let runs = |other: &Capture| other.point == capture.point && other.ended_at(now).is_none();
        if known.iter().any(runs) {
            return Err(Error::Conflict {
                code: "capture_runs",
                detail: format!(
                    "a capture at `{}` runs already: wait for it, or end it",
                    capture.point
                ),
            });
        }
        if known.len() >= MAX_CAPTURES {
            return Err(Error::Conflict {
                code: "too_many_captures",
                detail: format!(
                    "a datasource has at most {MAX_CAPTURES} captures a day; wait for one to be forgotten"
                ),
            });
        }
        let tx = self.store.begin().await?;
        let (samples, bytes) = tx.samples().usage(Tenant(datasource.organization), id).await?;
        if samples >= MAX_SAMPLES || bytes >= MAX_SAMPLES_BYTES {
            return Err(too_many());
        }
        let change = Change {
            action: Action::START_CAPTURE,
            kind: DatasourceEventKind::CaptureStarted,
            datasource: &datasource,
            version: datasource.current_version,
            diff: None,
            message: format!(
                "capture {} of up to {} records at `{}` begun",
                capture.id, capture.count, capture.point
            ),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        self.services.put_capture(&capture).await?;
        Ok(view(capture, 0, now))
    }

    fn new_capture(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        input: StartCapture,
    ) -> Result<Capture> {
        let count = input.count.unwrap_or(10);
        let seconds = input.seconds.unwrap_or(60);
        if !(1..=MAX_CAPTURED).contains(&count) {
            let detail = format!("1 to {MAX_CAPTURED} records");
            return Err(Error::field("/count", "out_of_range", detail));
        }
        if !(1..=MAX_CAPTURE_SECONDS).contains(&seconds) {
            let detail = format!("1 to {MAX_CAPTURE_SECONDS} seconds");
            return Err(Error::field("/seconds", "out_of_range", detail));
        }
        check_text(input.contains.as_deref(), "/contains", MAX_TEXT)?;
        let redaction = input.redact.unwrap_or_default();
        redaction.compile().map_err(|error| error.under("/redact"))?;
        let now = self.clock.now();
        Ok(Capture {
            id: CaptureId::generate(),
            organization: datasource.organization,
            datasource: datasource.id,
            point: input.point,
            count,
            until: now + TimeDelta::seconds(i64::from(seconds)),
            contains: input.contains.filter(|text| !text.is_empty()),
            redaction,
            started_by: context.actor(),
            started_at: now,
            ended: None,
        })
    }

    /// The captures of a datasource of the last day, the newest first.
    ///
    /// # Errors
    /// There is no such datasource, or the bus cannot be reached.
    pub async fn list_captures(
        &self,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<List<CaptureView>> {
        let datasource = self.datasource(context, id, Action::READ_SAMPLES).await?;
        let captures = self.services.captures(datasource.organization, id).await?;
        let read = self.store.read();
        let counts = read.samples().counts(tenant(context), id).await?;
        let now = self.clock.now();
        let items = captures.into_iter().map(|capture| {
            let of = (origin(capture.point), capture.id.to_string());
            let captured = counts.get(&of).copied().unwrap_or_default();
            view(capture, captured, now)
        });
        Ok(List {
            cursors: Vec::new(),
            items: items.collect(),
            next_cursor: None,
        })
    }

    /// A capture.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_capture(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        capture: CaptureId,
    ) -> Result<CaptureView> {
        let datasource = self.datasource(context, id, Action::READ_SAMPLES).await?;
        let found = self.find_capture(&datasource, capture).await?;
        self.capture_view(found).await
    }

    /// Ends a capture; one that has ended stays as it is.
    ///
    /// # Errors
    /// There is none.
    pub async fn stop_capture(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        capture: CaptureId,
    ) -> Result<()> {
        let datasource = self.datasource(context, id, Action::STOP_CAPTURE).await?;
        let mut found = self.find_capture(&datasource, capture).await?;
        let now = self.clock.now();
        let tx = self.store.begin().await?;
        let change = Change {
            action: Action::STOP_CAPTURE,
            kind: DatasourceEventKind::CaptureEnded,
            datasource: &datasource,
            version: datasource.current_version,
            diff: None,
            message: format!("capture {} at `{}` ended", found.id, found.point),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        if found.ended_at(now).is_none() {
            found.ended = Some((now, CaptureEnd::Stopped));
            self.services.put_capture(&found).await?;
        }
        Ok(())
    }

    async fn find_capture(&self, datasource: &Datasource, capture: CaptureId) -> Result<Capture> {
        let captures = self
            .services
            .captures(datasource.organization, datasource.id)
            .await?;
        let found = captures.into_iter().find(|known| known.id == capture);
        found.ok_or(Error::NotFound("capture"))
    }

    async fn capture_view(&self, capture: Capture) -> Result<CaptureView> {
        let tenant = Tenant(capture.organization);
        let read = self.store.read();
        let captured = read
            .samples()
            .count_of(
                tenant,
                capture.datasource,
                origin(capture.point),
                &capture.id.to_string(),
            )
            .await?;
        Ok(view(capture, captured, self.clock.now()))
    }

    /// Keeps what a worker took as a sample, if its capture still wants it and the datasource has room.
    ///
    /// # Errors
    /// `Unavailable`, where it is to be tried again; with other errors it would be no better the next time.
    pub async fn keep_captured(&self, captured: Captured) -> Result<()> {
        let (organization, id) = (captured.organization, captured.datasource);
        let captures = self.services.captures(organization, id).await?;
        let Some(mut capture) = captures.into_iter().find(|known| known.id == captured.capture) else {
            return Ok(());
        };
        if capture.ended.is_some() {
            return Ok(());
        }
        let tenant = Tenant(organization);
        let tx = self.store.begin().await?;
        // Gateways that keep at the same time wait for each other here.
        if tx.datasources().lock(tenant, id).await?.is_none() {
            return Ok(());
        }
        let known = tx
            .samples()
            .count_of(tenant, id, origin(capture.point), &capture.id.to_string())
            .await?;
        let (count, bytes) = tx.samples().usage(tenant, id).await?;
        let size = captured.payload.len() as u64;
        let now = self.clock.now();
        let has_room = count < MAX_SAMPLES && bytes + size <= MAX_SAMPLES_BYTES;
        let wanted = u64::from(capture.count);
        let kept = if known < wanted && has_room {
            let prefix = name_prefix(&capture);
            let names = tx.samples().names_beginning(tenant, id, &prefix).await?;
            let name = format!("{prefix}{}", next_number(&names, &prefix));
            let sample = sample(&capture, &captured, name, now);
            tx.samples()
                .insert(tenant, &sample, captured.payload.into_bytes())
                .await?;
            tx.commit().await?;
            known + 1
        } else {
            known
        };
        // The record that was the last one may come again because its capture could not be ended: it has no room then.
        let end = if kept >= wanted {
            CaptureEnd::Complete
        } else if !has_room {
            CaptureEnd::NoRoom
        } else {
            return Ok(());
        };
        capture.ended = Some((now, end));
        self.services.put_capture(&capture).await
    }
}

fn too_many() -> Error {
    Error::Conflict {
        code: "too_many_samples",
        detail: format!(
            "a datasource has at most {MAX_SAMPLES} samples with {MAX_SAMPLES_BYTES} bytes together; delete some"
        ),
    }
}

/// What the names of a capture's samples begin with.
fn name_prefix(capture: &Capture) -> String {
    // The last part of an identifier of this kind differs between captures of one moment.
    let whole = capture.id.to_string();
    let short = whole.rsplit('-').next().unwrap_or_default();
    format!("live {} {short} ", capture.point)
}

/// The number after the highest one in use: samples are deleted while a capture runs, and others may have such a name.
fn next_number(names: &[String], prefix: &str) -> u64 {
    let used = names
        .iter()
        .filter_map(|name| name.strip_prefix(prefix)?.parse::<u64>().ok());
    used.max().unwrap_or_default().saturating_add(1)
}

fn sample(capture: &Capture, captured: &Captured, name: String, now: Timestamp) -> Sample {
    Sample {
        id: SampleId::generate(),
        datasource: capture.datasource,
        name,
        content_type: captured.content_type.clone(),
        note: Some(format!("event {}, version {}", captured.event, captured.version)),
        origin: origin(capture.point),
        origin_id: Some(capture.id.to_string()),
        size: captured.payload.len() as u64,
        created_by: capture.started_by.clone(),
        created_at: now,
    }
}

/// What kind of samples a capture makes.
const fn origin(point: CapturePoint) -> SampleOrigin {
    match point {
        CapturePoint::Raw | CapturePoint::DeadLetter => SampleOrigin::Live,
        CapturePoint::Mapped => SampleOrigin::Mapped,
    }
}

fn view(capture: Capture, captured: u64, now: Timestamp) -> CaptureView {
    let ended = capture.ended_at(now);
    CaptureView {
        id: capture.id,
        datasource: capture.datasource,
        point: capture.point,
        count: capture.count,
        captured,
        until: capture.until,
        contains: capture.contains,
        redact: capture.redaction,
        running: ended.is_none(),
        end: ended.map(|(_, end)| end),
        ended_at: ended.map(|(at, _)| at),
        started_by: capture.started_by.name,
        started_at: capture.started_at,
    }
}
