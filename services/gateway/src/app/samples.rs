//! Saved samples: payloads, byte for byte, to try mappings on.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    datasource::{Datasource, DatasourceEventKind, check_name},
    id::{DatasourceId, SampleId},
    sample::{MAX_SAMPLE, MAX_SAMPLES, MAX_SAMPLES_BYTES, Sample, SampleOrigin},
    test_run::TestInput,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    datasource_input::check_text,
    paged,
    review_views::{SampleView, SampleWithPayload},
    views::List,
};

paged! {
    /// Which samples to list, the newest first.
    ListSamples {}
}

/// A sample to be saved: exactly one of `payload`, `payload_base64`, `dead_letter` and `preset` says what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaveSample {
    /// Its name, unique within the datasource.
    pub name: String,
    /// Any JSON value, kept as it is written, numbers of any length included; a text is taken as the raw body.
    #[serde(default)]
    #[schemars(with = "Option<Value>")]
    pub payload: Option<Box<RawValue>>,
    /// The raw body in base64, for what is no text.
    #[serde(default)]
    pub payload_base64: Option<String>,
    /// The identifier of a dead letter of this datasource, whose event is saved.
    #[serde(default)]
    pub dead_letter: Option<String>,
    /// The identifier of a preset of the datasource's connector, whose sample is saved.
    #[serde(default)]
    pub preset: Option<String>,
    /// The payload's media type; `application/json` for JSON, and that of the dead letter, if absent.
    #[serde(default)]
    pub content_type: Option<String>,
    /// What it shows.
    #[serde(default)]
    pub note: Option<String>,
}

/// What is to be saved.
struct Material {
    bytes: Vec<u8>,
    content_type: Option<String>,
    origin: SampleOrigin,
    origin_id: Option<String>,
}

const JSON: &str = "application/json";

impl App {
    /// The samples of a datasource.
    ///
    /// # Errors
    /// There is no such datasource, or the page cannot be had.
    pub async fn list_samples(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: ListSamples,
    ) -> Result<List<SampleView>> {
        self.datasource(context, id, Action::READ_SAMPLES).await?;
        let read = self.store.read();
        let page = read.samples().list(tenant(context), id, &query.page()).await?;
        Ok(List::of(page, SampleView::from))
    }

    /// A sample with its payload.
    ///
    /// # Errors
    /// There is none.
    pub async fn get_sample(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        sample: SampleId,
    ) -> Result<SampleWithPayload> {
        self.datasource(context, id, Action::READ_SAMPLES).await?;
        let read = self.store.read();
        let found = read.samples().find(tenant(context), id, sample).await?;
        let (sample, payload) = found.ok_or(Error::NotFound("sample"))?;
        Ok(SampleWithPayload::new(sample, payload))
    }

    /// Saves a sample.
    ///
    /// # Errors
    /// It does not fit, its name is taken, or the datasource has too many.
    pub async fn save_sample(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: SaveSample,
    ) -> Result<SampleView> {
        let known = self.datasource(context, id, Action::CREATE_SAMPLE).await?;
        check_name(&input.name)?;
        check_text(input.note.as_deref(), "/note", 2_000)?;
        check_text(input.content_type.as_deref(), "/content_type", 200)?;
        let (name, note) = (input.name.clone(), input.note.clone());
        let material = self.material(&known, input).await?;
        let size = material.bytes.len();
        if size > MAX_SAMPLE {
            let detail = format!("a sample has at most {MAX_SAMPLE} bytes, not {size}");
            return Err(Error::field("/payload", "too_large", detail));
        }
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let (count, bytes) = tx.samples().usage(tenant(context), id).await?;
        if count >= MAX_SAMPLES || bytes + size as u64 > MAX_SAMPLES_BYTES {
            return Err(Error::Conflict {
                code: "too_many_samples",
                detail: format!(
                    "a datasource has at most {MAX_SAMPLES} samples with {MAX_SAMPLES_BYTES} bytes together; delete some"
                ),
            });
        }
        let sample = Sample {
            id: SampleId::generate(),
            datasource: id,
            name,
            content_type: material.content_type,
            note,
            origin: material.origin,
            origin_id: material.origin_id,
            size: size as u64,
            created_by: context.actor(),
            created_at: self.clock.now(),
        };
        tx.samples()
            .insert(tenant(context), &sample, material.bytes)
            .await?;
        let change = Change {
            action: Action::CREATE_SAMPLE,
            kind: DatasourceEventKind::SampleChanged,
            datasource: &datasource,
            version: None,
            diff: None,
            message: format!("sample `{}` saved ({size} bytes)", sample.name),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await?;
        Ok(sample.into())
    }

    async fn material(&self, datasource: &Datasource, input: SaveSample) -> Result<Material> {
        let content_type = input.content_type;
        let one_of_them = || {
            Error::field(
                "",
                "ambiguous",
                "give exactly one of `payload`, `payload_base64`, `dead_letter` and `preset`",
            )
        };
        match (
            input.payload,
            input.payload_base64,
            input.dead_letter,
            input.preset,
        ) {
            (Some(payload), None, None, None) => manual(&payload, content_type),
            (None, Some(text), None, None) => {
                let bytes = BASE64.decode(text.as_bytes());
                let bytes =
                    bytes.map_err(|_| Error::field("/payload_base64", "invalid", "it is not base64"))?;
                Ok(Material {
                    bytes,
                    content_type,
                    origin: SampleOrigin::Manual,
                    origin_id: None,
                })
            }
            (None, None, Some(letter), None) => self.of_dead_letter(datasource, letter, content_type).await,
            (None, None, None, Some(preset)) => of_preset(datasource, preset),
            _ => Err(one_of_them()),
        }
    }

    async fn of_dead_letter(
        &self,
        datasource: &Datasource,
        id: String,
        content_type: Option<String>,
    ) -> Result<Material> {
        let unknown = || Error::field("/dead_letter", "unknown_value", "there is no such dead letter");
        let sequence = id.parse::<u64>().map_err(|_| unknown())?;
        let found = self.dead_letter(datasource, sequence).await?;
        let event = found.ok_or_else(unknown)?.letter.event;
        Ok(Material {
            bytes: event.payload.to_vec(),
            content_type: content_type.or(event.content_type),
            origin: SampleOrigin::DeadLetter,
            origin_id: Some(id),
        })
    }

    /// Deletes a sample.
    ///
    /// # Errors
    /// There is none.
    pub async fn delete_sample(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        sample: SampleId,
    ) -> Result<()> {
        self.datasource(context, id, Action::DELETE_SAMPLE).await?;
        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, IfMatch::Any).await?;
        let found = tx.samples().find(tenant(context), id, sample).await?;
        let (known, _) = found.ok_or(Error::NotFound("sample"))?;
        tx.samples().delete(tenant(context), id, sample).await?;
        let change = Change {
            action: Action::DELETE_SAMPLE,
            kind: DatasourceEventKind::SampleChanged,
            datasource: &datasource,
            version: None,
            diff: None,
            message: format!("sample `{}` deleted", known.name),
        };
        self.record(&tx, context, change).await?;
        self.commit(tx).await
    }
}

/// A value as it was written, or the raw body that a text is.
fn manual(payload: &RawValue, content_type: Option<String>) -> Result<Material> {
    let (bytes, content_type) = match serde_json::from_str::<Value>(payload.get()) {
        Ok(Value::String(body)) => (body.into_bytes(), content_type),
        _ => (
            payload.get().as_bytes().to_vec(),
            content_type.or_else(|| Some(JSON.to_owned())),
        ),
    };
    Ok(Material {
        bytes,
        content_type,
        origin: SampleOrigin::Manual,
        origin_id: None,
    })
}

fn of_preset(datasource: &Datasource, id: String) -> Result<Material> {
    let spec = find_connector(&datasource.connector).map(|connector| connector.spec());
    let preset = spec.and_then(|spec| spec.presets.iter().find(|preset| preset.id == id));
    let Some(preset) = preset else {
        let detail = format!("connector `{}` has no preset `{id}`", datasource.connector);
        return Err(Error::field("/preset", "unknown_value", detail));
    };
    Ok(Material {
        bytes: preset.sample.to_string().into_bytes(),
        content_type: Some(JSON.to_owned()),
        origin: SampleOrigin::Catalog,
        origin_id: Some(id),
    })
}

/// A sample as a test-runner takes it.
pub(crate) fn test_input(sample: &Sample, payload: Vec<u8>) -> TestInput {
    let content_type = sample.content_type.clone();
    match String::from_utf8(payload) {
        Ok(body) => TestInput::Payload { body, content_type },
        Err(other) => TestInput::Bytes {
            base64: BASE64.encode(other.as_bytes()),
            content_type,
        },
    }
}
