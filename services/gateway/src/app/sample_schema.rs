//! The shape of a datasource's records, learned from its samples.

use halcyon_domain::{
    config::VersionConfig,
    id::DatasourceId,
    mapping::MappingSpec,
    sample::{Sample, SampleOrigin},
    shape::Shape,
};
use halcyon_mapping::RecordCutter;
use halcyon_store::PageRequest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, tenant},
};

/// Samples that are read at most: all that a datasource can have.
const MAX_SAMPLES: u32 = 100;
/// Records that are taken of one sample.
const MAX_RECORDS: usize = 10_000;

/// From which samples to learn.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InferSchema {
    /// The number of the version that says where the records are; the newest draft, else the published version, if
    /// absent.
    pub version: Option<u32>,
    /// Only samples of this origin. What a mapping made is never looked at.
    pub origin: Option<SampleOrigin>,
}

/// What was learned.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InferredSchema {
    /// Samples that were looked at.
    pub samples: u64,
    /// Records that were found in them.
    pub records: u64,
    /// Samples that could not be read, by their names.
    pub unreadable: Vec<String>,
    /// The shape of the records as JSON Schema (draft 2020-12); `x-seen` says how often each field was there. It can be
    /// taken for a version's `schema.expected`.
    pub schema: Value,
}

impl App {
    /// Learns the shape of a datasource's records from its samples.
    ///
    /// # Errors
    /// There is no such datasource or version.
    pub async fn infer_schema(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        query: InferSchema,
    ) -> Result<InferredSchema> {
        let datasource = self.datasource(context, id, Action::READ_SAMPLES).await?;
        let number = query
            .version
            .or(datasource.draft_version)
            .or(datasource.current_version);
        let mapping = match number {
            Some(number) => {
                let config = self.config_of(context, id, number, "/version").await?;
                VersionConfig::parse(&config)?.mapping
            }
            None => MappingSpec::default(),
        };
        let samples = self.samples_to_learn(context, id, query.origin).await?;
        // Samples may have megabytes: not on an async thread.
        let learned = tokio::task::spawn_blocking(move || learn(&mapping, samples));
        learned.await.map_err(Error::internal)?
    }

    async fn samples_to_learn(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        origin: Option<SampleOrigin>,
    ) -> Result<Vec<(Sample, Vec<u8>)>> {
        let read = self.store.read();
        let request = PageRequest {
            limit: MAX_SAMPLES,
            ..PageRequest::default()
        };
        let page = read.samples().list(tenant(context), id, &request).await?;
        let wanted = page.items.into_iter().filter(|sample| {
            sample.origin != SampleOrigin::Mapped && origin.is_none_or(|origin| origin == sample.origin)
        });
        let mut samples = Vec::new();
        for sample in wanted {
            // One that was deleted in the meantime is none.
            samples.extend(read.samples().find(tenant(context), id, sample.id).await?);
        }
        Ok(samples)
    }
}

fn learn(mapping: &MappingSpec, samples: Vec<(Sample, Vec<u8>)>) -> Result<InferredSchema> {
    let cutter = RecordCutter::compile(mapping).map_err(|errors| {
        Error::Invalid(errors.into_iter().map(|error| error.under("/mapping")).collect())
    })?;
    let mut shape = Shape::default();
    let mut unreadable = Vec::new();
    let count = samples.len() as u64;
    for (sample, payload) in samples {
        match cutter.cut(&payload, MAX_RECORDS) {
            Ok(records) => records.iter().for_each(|record| shape.learn(record)),
            // One body may have several events: a line each.
            Err(_) => {
                let lines = payload
                    .split(|byte| *byte == b'\n')
                    .filter(|line| !line.is_empty());
                let found: Vec<_> = lines.map(|line| cutter.cut(line, MAX_RECORDS)).collect();
                if found.iter().any(std::result::Result::is_err) {
                    unreadable.push(sample.name);
                    continue;
                }
                found
                    .iter()
                    .flatten()
                    .flatten()
                    .for_each(|record| shape.learn(record));
            }
        }
    }
    Ok(InferredSchema {
        samples: count,
        records: shape.examples(),
        unreadable,
        schema: shape.schema(),
    })
}
