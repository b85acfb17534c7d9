//! What must hold of a configuration that comes into effect: it fits, its secrets are there, its stored tests pass.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    config::{VersionConfig, secret_refs},
    datasource::Datasource,
    error::InputError,
    test_run::{StoredTestResult, TestInput, TestJob, TestReport},
};
use serde_json::Value;

use super::{App, Error, Result, validation};

/// What was found of a configuration. Pointers lead into what a publish takes: `/config/...`.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// What does not fit or compile; nothing else was looked at then.
    pub(crate) unfit: Vec<InputError>,
    /// References to secrets that are not there.
    pub(crate) missing_secrets: Vec<InputError>,
    /// How the stored tests ended.
    pub(crate) tests: Vec<StoredTestResult>,
    /// What the red ones say.
    pub(crate) red: Vec<InputError>,
}

impl Findings {
    /// All that stands against a publish.
    pub(crate) fn into_errors(self) -> Vec<InputError> {
        let Self {
            mut unfit,
            missing_secrets,
            red,
            ..
        } = self;
        unfit.extend(missing_secrets);
        unfit.extend(red);
        unfit
    }
}

impl App {
    /// Checks all that must hold of a configuration that comes into effect.
    pub(crate) async fn check_release(&self, datasource: &Datasource, config: &Value) -> Result<()> {
        let errors = self.findings(datasource, config, false).await?.into_errors();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Error::Invalid(errors))
        }
    }

    /// What stands against a publish; all of it, or what is found first.
    pub(crate) async fn findings(
        &self,
        datasource: &Datasource,
        config: &Value,
        all: bool,
    ) -> Result<Findings> {
        let connector = find_connector(&datasource.connector).ok_or(Error::NotFound("connector"))?;
        let mut findings = Findings {
            unfit: validation::publishable(connector, config, |pool| self.services.has_pool(pool)),
            ..Findings::default()
        };
        if !findings.unfit.is_empty() {
            return Ok(findings);
        }
        if !secret_refs(config).is_empty() {
            let known = self
                .services
                .list_secrets(datasource.organization, datasource.id)
                .await?;
            let names: Vec<String> = known.into_iter().map(|secret| secret.name).collect();
            findings.missing_secrets = validation::missing_secrets(config, &names);
        }
        if all || findings.missing_secrets.is_empty() {
            let report = self.run_stored_tests(datasource, config, true).await?;
            findings.red = red_tests(&report);
            findings.tests = report.tests;
        }
        Ok(findings)
    }

    /// What is wrong with the script of a configuration that fits otherwise, if it has one.
    pub(crate) async fn script_errors(
        &self,
        datasource: &Datasource,
        config: &Value,
    ) -> Result<Vec<InputError>> {
        if VersionConfig::parse(config)?.mapping.script.is_none() {
            return Ok(Vec::new());
        }
        let report = self.run_stored_tests(datasource, config, false).await?;
        Ok(red_tests(&report))
    }

    /// Has the test-runner run the stored tests, and read the script: no user's code runs in this process.
    async fn run_stored_tests(
        &self,
        datasource: &Datasource,
        config: &Value,
        run_stored_tests: bool,
    ) -> Result<TestReport> {
        let parsed = VersionConfig::parse(config)?;
        let expected = if run_stored_tests { parsed.tests.len() } else { 0 };
        if expected == 0 && parsed.mapping.script.is_none() {
            return Ok(TestReport::default());
        }
        let job = TestJob {
            organization: datasource.organization,
            datasource: datasource.id,
            connector: datasource.connector.clone(),
            config: config.clone(),
            compare_with: None,
            input: TestInput::None,
            run_stored_tests,
            ticket: None,
        };
        let report = self.services.run_test(&job, self.options.test_timeout).await?;
        // What did not run did not pass.
        if report.errors.is_empty() && report.tests.len() != expected {
            return Err(Error::internal(format!(
                "the test-runner answered for {} of {expected} stored tests",
                report.tests.len()
            )));
        }
        Ok(report)
    }
}

/// What a report says against a publish: an error in the configuration, and which stored test failed where.
fn red_tests(report: &TestReport) -> Vec<InputError> {
    let mut errors: Vec<InputError> = report
        .errors
        .iter()
        .cloned()
        .map(|error| error.under("/config"))
        .collect();
    for (index, test) in report.tests.iter().enumerate().filter(|(_, test)| !test.passed) {
        let prefix = format!("/config/tests/{index}/expect");
        if test.failures.is_empty() {
            let detail = format!("stored test `{}` failed", test.name);
            errors.push(InputError::new(prefix.clone(), "test_failed", detail));
        }
        errors.extend(test.failures.iter().map(|failure| {
            let detail = format!("stored test `{}`: {}", test.name, failure.detail);
            InputError::new(format!("{prefix}{}", failure.pointer), "test_failed", detail)
        }));
    }
    errors
}

#[cfg(test)]
mod tests {
    use halcyon_domain::test_run::StoredTestResult;

    use super::*;

    #[test]
    fn a_red_test_is_named_with_where_it_differs() {
        let failures = vec![InputError::new("/alerts/0/severity", "mismatch", "high, not low")];
        let tests = vec![
            StoredTestResult {
                name: "fine".into(),
                passed: true,
                failures: Vec::new(),
            },
            StoredTestResult {
                name: "severity".into(),
                passed: false,
                failures,
            },
        ];
        let errors = red_tests(&TestReport {
            tests,
            ..TestReport::default()
        });
        assert_eq!(errors.len(), 1);
        assert_eq!(errors[0].pointer, "/config/tests/1/expect/alerts/0/severity");
        assert!(errors[0].detail.contains("severity") && errors[0].detail.contains("high, not low"));
    }
}
