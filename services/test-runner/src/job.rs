//! A job from its question to its report.

use std::{sync::Arc, time::Instant};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use halcyon_connectors::Secrets;
use halcyon_domain::{
    clock::Clock,
    config::{SecretRef, secret_refs},
    error::InputError,
    test_run::{Comparison, StoredTestResult, TestInput, TestJob, TestReport, Warning},
};
use halcyon_egress::Guard;
use halcyon_sandbox::Pool;
use serde_json::Value;

use crate::{
    Settings, check,
    compare::{compare, verdicts},
    error::Error,
    input::{EventMaker, TestEvent},
    outcome::Mapped,
    plan::Plan,
    report,
    sandbox::Sandbox,
    secrets::SecretSource,
    stored,
};

/// Runs jobs. Clones share the sandbox.
#[derive(Clone)]
pub(crate) struct Runner {
    settings: Settings,
    sandbox: Sandbox,
    clock: Arc<dyn Clock>,
    guard: Guard,
    secrets: Arc<dyn SecretSource>,
    scripts: Option<Pool>,
}

/// What the mapping part of a job gives.
struct Results {
    tried: Mapped,
    comparison: Option<Comparison>,
    tests: Vec<StoredTestResult>,
}

impl Runner {
    pub(crate) fn new(
        settings: Settings,
        clock: Arc<dyn Clock>,
        guard: Guard,
        secrets: Arc<dyn SecretSource>,
        scripts: Option<Pool>,
    ) -> Self {
        let sandbox = Sandbox::new(settings.concurrency);
        Self {
            settings,
            sandbox,
            clock,
            guard,
            secrets,
            scripts,
        }
    }

    /// Runs a job within the deadline.
    ///
    /// # Errors
    /// It was not done: no place was free, it took too long, or something broke. What is wrong with the job itself
    /// is in the report.
    pub(crate) async fn run(&self, job: TestJob) -> Result<TestReport, Error> {
        let started = Instant::now();
        let limit = self.settings.job_timeout.get();
        let report = tokio::time::timeout(limit, self.report(job))
            .await
            .map_err(|_| Error::Timeout(limit))??;
        Ok(report::finish(report, started.elapsed().as_secs_f64() * 1e3))
    }

    async fn report(&self, job: TestJob) -> Result<TestReport, Error> {
        let (plan, other) = match self.plans(&job).await? {
            Ok(plans) => plans,
            Err(errors) => return Ok(report::refused(errors)),
        };
        let mut report = TestReport::default();
        let refs = secret_refs(&job.config);
        let secrets = self.open_secrets(&job, &refs, &mut report.warnings).await;
        report.warnings.extend(check::missing_secrets(&refs, &secrets));
        report.checks = check::run(
            &plan,
            &secrets,
            &self.clock,
            &self.guard,
            self.settings.check_timeout.get(),
        )
        .await;
        if matches!(
            job.input,
            TestInput::Payload { .. } | TestInput::Bytes { .. } | TestInput::Events { .. }
        ) {
            check::excuse_missing_secrets(&mut report.checks);
        }
        let maker = EventMaker {
            datasource: job.datasource,
            clock: Arc::clone(&self.clock),
            guard: self.guard.clone(),
        };
        let events = match self.events(&job.input, &plan, &maker, secrets).await {
            Ok(events) => events,
            Err(error) => {
                report.errors.push(error);
                return Ok(report);
            }
        };
        let count = events.len();
        if let Some(warning) = short_sample(&job.input, count) {
            report.warnings.push(warning);
        }
        let run_stored_tests = job.run_stored_tests;
        let results = self.map(plan, other, events, maker, run_stored_tests).await?;
        report::fill(&mut report, &job, results.tried, count, self.clock.now());
        report.comparison = results.comparison;
        report.tests = results.tests;
        Ok(report)
    }

    /// Compiles the tried configuration and the compared one.
    async fn plans(&self, job: &TestJob) -> Result<Result<(Plan, Option<Plan>), Vec<InputError>>, Error> {
        let (connector, config) = (job.connector.clone(), job.config.clone());
        let compared = job.compare_with.clone();
        let (datasource, scripts) = (job.datasource, self.scripts.clone());
        self.sandbox
            .run(self.settings.job_timeout.get(), move || {
                let read = |config: &Value| Plan::read(&connector, datasource, config, scripts.as_ref());
                let plan = read(&config)?;
                let other = compared.map(|config| read(&config)).transpose();
                let other = other.map_err(|errors| {
                    errors
                        .into_iter()
                        .map(|error| error.under("/compare_with"))
                        .collect::<Vec<_>>()
                })?;
                Ok((plan, other))
            })
            .await
    }

    async fn open_secrets(&self, job: &TestJob, refs: &[SecretRef], warnings: &mut Vec<Warning>) -> Secrets {
        let mut names: Vec<String> = refs.iter().map(|found| found.name.clone()).collect();
        names.sort();
        names.dedup();
        match self.secrets.open(job, names).await {
            Ok(secrets) => secrets,
            Err(error) => {
                tracing::warn!(datasource.id = %job.datasource, error = %error, "a test run has no secrets");
                warnings.push(Warning {
                    pointer: String::new(),
                    code: "secrets_unavailable".to_owned(),
                    message: format!("the secrets could not be opened: {error}"),
                });
                Secrets::none()
            }
        }
    }

    async fn events(
        &self,
        input: &TestInput,
        plan: &Plan,
        maker: &EventMaker,
        secrets: Secrets,
    ) -> Result<Vec<TestEvent>, InputError> {
        match input {
            TestInput::None => Ok(Vec::new()),
            TestInput::Payload { body, content_type } => {
                let body = Bytes::copy_from_slice(body.as_bytes());
                self.events_of(plan, maker, body, content_type.as_deref())
            }
            TestInput::Bytes { base64, content_type } => {
                let body = BASE64.decode(base64.as_bytes());
                let body = body.map_err(|_| {
                    InputError::new("/payload_base64", "invalid", "the payload is not base64")
                })?;
                self.events_of(plan, maker, body.into(), content_type.as_deref())
            }
            TestInput::Events { events } => {
                let bytes: usize = events.iter().map(|event| event.base64.len() / 4 * 3).sum();
                self.check_size(bytes)?;
                events.iter().map(|event| maker.of_past(event)).collect()
            }
            TestInput::FetchSample { records } => {
                let count = usize::try_from(*records).unwrap_or(usize::MAX).clamp(1, 1_000);
                maker
                    .sample(plan, secrets, count, self.settings.sample_timeout.get())
                    .await
            }
        }
    }

    fn events_of(
        &self,
        plan: &Plan,
        maker: &EventMaker,
        body: Bytes,
        content_type: Option<&str>,
    ) -> Result<Vec<TestEvent>, InputError> {
        self.check_size(body.len())?;
        maker.of_body(plan, body, content_type)
    }

    fn check_size(&self, size: usize) -> Result<(), InputError> {
        let limit = self.settings.max_payload;
        if size > limit {
            let detail = format!("a payload to test has at most {limit} bytes");
            return Err(InputError::new("/payload", "too_large", detail));
        }
        Ok(())
    }

    async fn map(
        &self,
        plan: Plan,
        other: Option<Plan>,
        events: Vec<TestEvent>,
        maker: EventMaker,
        run_stored_tests: bool,
    ) -> Result<Results, Error> {
        let limit = self.settings.job_timeout.get();
        self.sandbox
            .run(limit, move || {
                // Nobody waits for what would come later.
                let until = Instant::now() + limit;
                let tried = Mapped::of(&plan, &events, until);
                let compared = other.map(|other| Mapped::of(&other, &events, until));
                let comparison = compared.map(|compared| {
                    let mut comparison = compare(&compared.objects, &tried.objects);
                    comparison.verdicts = verdicts(&compared.verdicts, &tried.verdicts);
                    comparison.outputs = compared.objects;
                    comparison.dead_letters = compared.dead_letters;
                    comparison
                });
                let tests = if run_stored_tests {
                    stored::run(&plan, &maker, until)
                } else {
                    Vec::new()
                };
                Results {
                    tried,
                    comparison,
                    tests,
                }
            })
            .await
    }
}

/// A sample that is smaller than asked for is no failure, but should not go unseen.
fn short_sample(input: &TestInput, count: usize) -> Option<Warning> {
    match input {
        TestInput::FetchSample { records } if usize::try_from(*records).is_ok_and(|asked| count < asked) => {
            let message = format!("{count} of {records} records came in time");
            Some(Warning {
                pointer: String::new(),
                code: "sample_incomplete".to_owned(),
                message,
            })
        }
        _ => None,
    }
}
