//! What a publish would do: what restarts, which outputs change on the saved samples, what stands against it.

use std::time::{Duration, Instant};

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    approval::{ApprovalStatus, ConfigHash},
    config::VersionConfig,
    datasource::Datasource,
    error::InputError,
    id::{ApprovalId, DatasourceId, SampleId},
    impact::{ChangedParts, CheckpointEffect, Effect, checkpoint, effect},
    lifecycle::{DatasourceStatus, DesiredState},
    ontology::OntologyObject,
    sample::Sample,
    test_run::{ChangedObject, StoredTestResult, TestJob, TestReport},
    version::VersionRecord,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    App, Error, RequestContext, Result,
    access::{Action, resource_of, target_of, tenant},
    diff::compare,
    samples::test_input,
};

/// The most samples that are run.
const MAX_SAMPLES: usize = 50;
/// The samples that are run when none are named.
const NEWEST: u64 = 20;

/// On what to try the version.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PreviewImpact {
    /// The saved samples to run, at most 50; the newest 20 if absent, none if empty.
    pub samples: Option<Vec<SampleId>>,
}

/// What a publish would do.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Impact {
    /// The version.
    pub version: u32,
    /// The version in effect, which it is compared with.
    pub published: Option<u32>,
    /// The SHA-256 of its configuration.
    pub config_hash: String,
    /// What happens to what runs.
    pub effect: Effect,
    /// What becomes of the place in the source.
    pub checkpoint: CheckpointEffect,
    /// Whether a stopped datasource is started by it.
    pub starts: bool,
    /// The same for people.
    pub explanation: String,
    /// The parts that differ.
    pub changed: ChangedParts,
    /// What differs, for people, one line for each change.
    pub summary: Vec<String>,
    /// Whether nothing stands against it.
    pub publishable: bool,
    /// What stands against it: fields that do not fit, missing secrets, red tests.
    pub errors: Vec<InputError>,
    /// The names of the secrets that are missing.
    pub missing_secrets: Vec<String>,
    /// How the stored tests ended.
    pub tests: Vec<StoredTestResult>,
    /// Whether somebody has to agree.
    pub approval: ImpactApproval,
    /// Objects that the version makes of the samples, or no longer makes.
    pub outputs: u64,
    /// How many of them are added, removed or other than before.
    pub outputs_changed: u64,
    /// What it makes of each sample.
    pub samples: Vec<SampleImpact>,
}

/// Whether somebody has to agree.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ImpactApproval {
    /// Whether an approval is needed.
    pub required: bool,
    /// Whether somebody agreed to exactly this configuration.
    pub given: bool,
    /// The request that is open.
    pub id: Option<ApprovalId>,
    /// Its state.
    pub status: Option<ApprovalStatus>,
}

/// What the version makes of a sample, beside what the one in effect makes of it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SampleImpact {
    /// The sample.
    pub sample: SampleId,
    /// Its name.
    pub name: String,
    /// Whether it was run; there is a bound on the time for all of them.
    pub ran: bool,
    /// Objects that the version makes.
    pub outputs: u64,
    /// Records that it cannot map.
    pub dead_letters: u64,
    /// Objects that only the version makes.
    pub added: Vec<OntologyObject>,
    /// Objects that only the one in effect makes.
    pub removed: Vec<OntologyObject>,
    /// Objects that both make, with a JSON Patch (RFC 6902) of the fields.
    pub changed: Vec<ChangedObject>,
    /// Why the sample could not be run.
    pub errors: Vec<InputError>,
}

impl SampleImpact {
    fn new(sample: &Sample, report: Option<TestReport>) -> Self {
        let ran = report.is_some();
        let report = report.unwrap_or_default();
        let comparison = report.comparison.unwrap_or_default();
        Self {
            sample: sample.id,
            name: sample.name.clone(),
            ran,
            outputs: report.metrics.records_out,
            dead_letters: report.dead_letters.len() as u64,
            added: comparison.added,
            removed: comparison.removed,
            changed: comparison.changed,
            errors: report.errors,
        }
    }

    const fn differing(&self) -> u64 {
        (self.added.len() + self.removed.len() + self.changed.len()) as u64
    }
}

impl App {
    /// What publishing a version would do. Nothing is changed by asking.
    ///
    /// # Errors
    /// There is no such version or sample, or no test-runner.
    pub async fn preview_impact(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        input: PreviewImpact,
    ) -> Result<Impact> {
        let datasource = self.datasource(context, id, Action::IMPACT).await?;
        let version = self.version(context, id, number).await?;
        let published = self
            .store
            .read()
            .versions()
            .published(tenant(context), id)
            .await?;
        let samples = self.samples_to_run(context, &datasource, input).await?;
        let findings = self.findings(&datasource, &version.config, true).await?;
        let fits = findings.unfit.is_empty();
        let mut missing_secrets: Vec<String> = findings.missing_secrets.iter().map(named).collect();
        missing_secrets.sort();
        missing_secrets.dedup();
        let tests = findings.tests.clone();
        let errors = findings.into_errors();
        let approval = self.approval_of(&datasource, &version).await?;
        let before = published.as_ref().map(|version| &version.config);
        let samples = if fits {
            self.run_samples(&datasource, &version.config, before, samples)
                .await?
        } else {
            Vec::new()
        };
        let base = before.cloned().unwrap_or_else(|| Value::Object(Map::new()));
        let (effect, checkpoint, changed) = effect_of(&datasource, before, &version.config);
        let starts =
            datasource.status != DatasourceStatus::Draft && datasource.desired_state == DesiredState::Stopped;
        Ok(Impact {
            version: number,
            published: published.as_ref().map(|version| version.number),
            config_hash: ConfigHash::of(&version.config).to_string(),
            effect,
            checkpoint,
            starts,
            explanation: explain(effect, starts, datasource.status),
            changed,
            summary: compare(&base, &version.config).1,
            publishable: errors.is_empty() && (!approval.required || approval.given),
            errors,
            missing_secrets,
            tests,
            approval,
            outputs: samples
                .iter()
                .map(|sample| sample.outputs + sample.removed.len() as u64)
                .sum(),
            outputs_changed: samples.iter().map(SampleImpact::differing).sum(),
            samples,
        })
    }

    async fn approval_of(&self, datasource: &Datasource, version: &VersionRecord) -> Result<ImpactApproval> {
        let read = self.store.read();
        let required = self.requires_approval(&read.organizations(), datasource).await?;
        let open = read
            .approvals()
            .open(datasource.organization.into(), version.id)
            .await?;
        let now = self.clock.now();
        let hash = ConfigHash::of(&version.config);
        Ok(ImpactApproval {
            required,
            id: open.as_ref().map(|open| open.id),
            status: open.as_ref().map(|open| open.status_at(now)),
            given: open.and_then(|open| open.into_usable(hash, now)).is_some(),
        })
    }

    async fn samples_to_run(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        input: PreviewImpact,
    ) -> Result<Vec<(Sample, Vec<u8>)>> {
        let (target, resource) = (target_of(datasource), resource_of(datasource));
        self.authorize(context, Action::READ_SAMPLES, &target, resource)
            .await?;
        let read = self.store.read();
        let ids = match input.samples {
            Some(mut ids) => {
                if ids.len() > MAX_SAMPLES {
                    let detail = format!("at most {MAX_SAMPLES} samples at a time");
                    return Err(Error::field("/samples", "too_many", detail));
                }
                let mut seen = std::collections::BTreeSet::new();
                ids.retain(|id| seen.insert(*id));
                ids
            }
            None => {
                let newest = read
                    .samples()
                    .newest_to_map(tenant(context), datasource.id, NEWEST)
                    .await?;
                newest.into_iter().map(|sample| sample.id).collect()
            }
        };
        let mut samples = Vec::new();
        for (index, id) in ids.into_iter().enumerate() {
            let found = read.samples().find(tenant(context), datasource.id, id).await?;
            let unknown = || {
                let pointer = format!("/samples/{index}");
                Error::field(&pointer, "unknown_value", "there is no such sample")
            };
            samples.push(found.ok_or_else(unknown)?);
        }
        Ok(samples)
    }

    /// Runs the two configurations side by side on each sample, as long as there is time.
    async fn run_samples(
        &self,
        datasource: &Datasource,
        config: &Value,
        before: Option<&Value>,
        samples: Vec<(Sample, Vec<u8>)>,
    ) -> Result<Vec<SampleImpact>> {
        let began = Instant::now();
        let time = self.options.test_timeout.min(self.options.request_timeout / 2);
        let mut impacts = Vec::new();
        for (sample, payload) in samples {
            let left = time.saturating_sub(began.elapsed());
            let report = if left > Duration::from_millis(100) {
                let job = TestJob {
                    organization: datasource.organization,
                    datasource: datasource.id,
                    connector: datasource.connector.clone(),
                    config: config.clone(),
                    compare_with: before.cloned(),
                    input: test_input(&sample, payload),
                    run_stored_tests: false,
                    // A mapping needs no secrets.
                    ticket: None,
                };
                Some(self.services.run_test(&job, left).await?)
            } else {
                None
            };
            impacts.push(SampleImpact::new(&sample, report));
        }
        Ok(impacts)
    }
}

/// The secret's name in what is said of a missing one.
fn named(error: &InputError) -> String {
    error.detail.split('`').nth(1).unwrap_or_default().to_owned()
}

fn effect_of(
    datasource: &Datasource,
    before: Option<&Value>,
    after: &Value,
) -> (Effect, CheckpointEffect, ChangedParts) {
    let pull =
        find_connector(&datasource.connector).is_some_and(|connector| connector.spec().capabilities.pull);
    // What does not parse is told as an error, and is compared as if it said nothing.
    let parse = |config: &Value| VersionConfig::parse(config).unwrap_or_default();
    let (before, after) = (before.map(parse), parse(after));
    let changed = ChangedParts::between(&before.clone().unwrap_or_default(), &after);
    let effect = effect(before.as_ref(), &after, pull);
    (effect, checkpoint(effect, pull), changed)
}

fn explain(effect: Effect, starts: bool, status: DatasourceStatus) -> String {
    let what = match effect {
        Effect::FirstStart => "the datasource begins to run",
        Effect::SourceRestart => "the source ends and is made anew; it goes on from its checkpoint",
        Effect::HotSwap => {
            "the next record is processed by the new version; nothing stops and nothing is lost"
        }
        Effect::Nothing => "what runs stays as it is",
    };
    match (status, starts) {
        (DatasourceStatus::Disabled, _) => format!("{what}, once the datasource is enabled"),
        (_, true) => format!("{what}; the datasource is stopped now and is started by it"),
        (_, false) => what.to_owned(),
    }
}
