//! Test runs: a configuration tried on a payload by the test-runner, with no effect on production.

use halcyon_domain::{
    config::secret_refs,
    datasource::{Datasource, DatasourceEventKind},
    id::{DatasourceId, SampleId},
    test_run::{TestInput, TestJob, TestReport},
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{
    App, Error, RequestContext, Result,
    access::{Action, Change, resource_of, target_of, tenant},
    samples::test_input as as_test_input,
};

/// What to try.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RunTest {
    /// The number of the version to try; the newest draft, else the published version, if neither this nor
    /// `config` is given.
    pub version: Option<u32>,
    /// A configuration to try that is not stored.
    pub config: Option<Value>,
    /// What to map: any JSON value; a text is taken as the raw body.
    pub payload: Option<Value>,
    /// The payload's media type, if it is not JSON.
    pub content_type: Option<String>,
    /// A saved sample to map, instead of a payload.
    pub sample: Option<SampleId>,
    /// So many records to fetch from the live source, instead of a payload.
    pub fetch_sample: Option<u32>,
    /// The number of a version to compare the outcome with.
    pub compare_with: Option<u32>,
}

impl App {
    /// Runs a test.
    ///
    /// # Errors
    /// The input does not fit, or there is no test-runner.
    pub async fn run_test(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        input: RunTest,
    ) -> Result<TestReport> {
        let datasource = self.datasource(context, id, Action::TEST).await?;
        let number = match (&input.config, input.version) {
            (Some(_), Some(_)) => {
                return Err(Error::field(
                    "/config",
                    "ambiguous",
                    "give `version` or `config`, not both",
                ));
            }
            (Some(_), None) => None,
            (None, Some(number)) => Some(number),
            (None, None) => Some(newest(&datasource)?),
        };
        let mut test_input = test_input(&input)?;
        if let Some(sample) = input.sample {
            test_input = self.sample_input(context, &datasource, sample).await?;
        }
        let config = match (input.config, number) {
            (Some(config), _) => config,
            (None, Some(number)) => self.config_of(context, id, number, "/version").await?,
            (None, None) => return Err(Error::NotFound("version")),
        };
        if number.is_none() {
            self.may_reach(context, &datasource, &config, &test_input).await?;
        }
        let compare_with = match input.compare_with {
            Some(number) => Some(self.config_of(context, id, number, "/compare_with").await?),
            None => None,
        };
        let job = TestJob {
            organization: datasource.organization,
            datasource: id,
            connector: datasource.connector.clone(),
            ticket: self.ticket(context, &datasource, &config).await?,
            config,
            compare_with,
            run_stored_tests: test_input == TestInput::None,
            input: test_input,
        };
        let report = self.services.run_test(&job, self.options.test_timeout).await?;
        self.record_test(context, &datasource, number, report.ok).await?;
        Ok(report)
    }

    /// A saved sample, to be mapped.
    async fn sample_input(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        sample: SampleId,
    ) -> Result<TestInput> {
        let (target, resource) = (target_of(datasource), resource_of(datasource));
        self.authorize(context, Action::READ_SAMPLES, &target, resource)
            .await?;
        let read = self.store.read();
        let found = read
            .samples()
            .find(tenant(context), datasource.id, sample)
            .await?;
        let unknown = || Error::field("/sample", "unknown_value", "there is no such sample");
        let (sample, payload) = found.ok_or_else(unknown)?;
        Ok(as_test_input(&sample, payload))
    }

    pub(super) async fn config_of(
        &self,
        context: &RequestContext,
        id: DatasourceId,
        number: u32,
        pointer: &str,
    ) -> Result<Value> {
        match self.version(context, id, number).await {
            Err(Error::NotFound(_)) => Err(Error::field(
                pointer,
                "unknown_value",
                format!("there is no version {number}"),
            )),
            other => other.map(|version| version.config),
        }
    }

    /// A configuration that is not stored says where secrets go, and what records are fetched from. To say so takes the
    /// right to write one, unless its connection is that of a version to come or in effect: then somebody with that
    /// right has said so.
    async fn may_reach(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        config: &Value,
        input: &TestInput,
    ) -> Result<()> {
        let fetches = matches!(input, TestInput::FetchSample { .. });
        if secret_refs(config).is_empty() && !fetches {
            return Ok(());
        }
        let connection = config.get("connection");
        let stored = [datasource.draft_version, datasource.current_version];
        for number in stored.into_iter().flatten() {
            let version = self.version(context, datasource.id, number).await?;
            let same = version.config.get("connection") == connection;
            if same && secret_refs(config).len() == connection.map_or(0, |part| secret_refs(part).len()) {
                return Ok(());
            }
        }
        let (target, resource) = (target_of(datasource), resource_of(datasource));
        self.authorize(context, Action::TEST_ELSEWHERE, &target, resource)
            .await
    }

    /// What the test-runner shows to the registry for the secrets that the configuration names.
    async fn ticket(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        config: &Value,
    ) -> Result<Option<String>> {
        let mut names: Vec<String> = secret_refs(config).into_iter().map(|found| found.name).collect();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Ok(None);
        }
        let by = context.on_behalf();
        match self
            .services
            .issue_ticket(datasource.organization, datasource.id, names, by)
            .await
        {
            Ok(ticket) => Ok(Some(ticket)),
            // A secret that was not written yet shows as a check of the report.
            Err(Error::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) async fn record_test(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        version: Option<u32>,
        ok: bool,
    ) -> Result<()> {
        let tried = version.map_or_else(
            || "a configuration".to_owned(),
            |number| format!("version {number}"),
        );
        let outcome = if ok { "passed" } else { "failed" };
        let change = Change {
            action: Action::TEST,
            kind: DatasourceEventKind::TestRun,
            datasource,
            version,
            diff: None,
            message: format!("a test of {tried} {outcome}"),
        };
        let tx = self.store.begin().await?;
        self.record(&tx, context, change).await?;
        self.commit(tx).await
    }
}

/// The version to try where none is named.
pub(super) fn newest(datasource: &Datasource) -> Result<u32> {
    let none = || Error::Conflict {
        code: "no_version",
        detail: "there is no version to test".to_owned(),
    };
    datasource
        .draft_version
        .or(datasource.current_version)
        .ok_or_else(none)
}

fn test_input(input: &RunTest) -> Result<TestInput> {
    if input.sample.is_some() && (input.payload.is_some() || input.fetch_sample.is_some()) {
        let detail = "give `payload`, `sample` or `fetch_sample`";
        return Err(Error::field("/sample", "ambiguous", detail));
    }
    match (&input.payload, input.fetch_sample) {
        (Some(_), Some(_)) => Err(Error::field(
            "/fetch_sample",
            "ambiguous",
            "give `payload` or `fetch_sample`, not both",
        )),
        (Some(Value::String(body)), None) => Ok(TestInput::Payload {
            body: body.clone(),
            content_type: input.content_type.clone(),
        }),
        (Some(value), None) => {
            let content_type = input
                .content_type
                .clone()
                .or_else(|| Some("application/json".to_owned()));
            Ok(TestInput::Payload {
                body: value.to_string(),
                content_type,
            })
        }
        (None, Some(records @ 1..=100)) => Ok(TestInput::FetchSample { records }),
        (None, Some(_)) => Err(Error::field("/fetch_sample", "out_of_range", "1 to 100 records")),
        (None, None) => Ok(TestInput::None),
    }
}
