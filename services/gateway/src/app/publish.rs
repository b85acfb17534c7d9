//! Publishing and rolling back: the version is checked in full, then put in effect in one transaction.

use halcyon_connectors::find as find_connector;
use halcyon_domain::{
    config::{VersionConfig, secret_refs},
    datasource::{Datasource, DatasourceEventKind},
    error::InputError,
    id::{DatasourceId, VersionId},
    lifecycle::DesiredState,
    test_run::{TestInput, TestJob, TestReport},
    version::{Draft, Published, Version, VersionState},
};
use halcyon_store::WriteTx;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    App, Error, IfMatch, RequestContext, Result,
    access::{Action, Change, tenant},
    datasource_input::check_comment,
    diff::compare,
    validation,
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
        datasource.status.publish()?;
        let checked = match input.version {
            Some(number) => self.version(context, id, number).await?,
            None => self.newest_draft(context, id).await?,
        };
        let checked = checked.into_draft("be published")?;
        self.check_release(context, &datasource, &checked.record().config)
            .await?;

        let tx = self.store.begin().await?;
        let datasource = self.locked(&tx, context, id, if_match).await?;
        let number = checked.record().number;
        let found = tx.versions().find(tenant(context), id, number).await?;
        let record = found.ok_or(Error::NotFound("version"))?;
        // What was checked is what is published: an edit in between makes it another one.
        IfMatch::Revision(checked.record().revision).check(record.revision)?;
        let draft = record.into_draft("be published")?;
        let message = input
            .comment
            .clone()
            .unwrap_or_else(|| format!("version {number} published"));
        let release = Release {
            action: Action::PUBLISH,
            kind: DatasourceEventKind::Published,
            comment: input.comment,
            message,
        };
        self.release(tx, context, datasource, draft, release, false).await
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
        if source.state == VersionState::Draft {
            let detail = format!(
                "version {} was never published; publish it instead",
                input.version
            );
            return Err(Error::Conflict {
                code: "invalid_transition",
                detail,
            });
        }
        self.check_release(context, &datasource, &source.config).await?;

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

    async fn newest_draft(
        &self,
        context: &RequestContext,
        id: DatasourceId,
    ) -> Result<halcyon_domain::version::VersionRecord> {
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

    /// Checks all that must hold of a configuration that comes into effect.
    async fn check_release(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        config: &Value,
    ) -> Result<()> {
        let connector = find_connector(&datasource.connector).ok_or(Error::NotFound("connector"))?;
        refuse(validation::publishable(connector, config))?;
        if !secret_refs(config).is_empty() {
            let known = self
                .services
                .list_secrets(datasource.organization, datasource.id)
                .await?;
            let names: Vec<String> = known.into_iter().map(|secret| secret.name).collect();
            refuse(validation::missing_secrets(config, &names))?;
        }
        self.run_stored_tests(context, datasource, config).await
    }

    async fn run_stored_tests(
        &self,
        context: &RequestContext,
        datasource: &Datasource,
        config: &Value,
    ) -> Result<()> {
        if VersionConfig::parse(config)?.tests.is_empty() {
            return Ok(());
        }
        let job = TestJob {
            organization: context.organization(),
            datasource: datasource.id,
            connector: datasource.connector.clone(),
            config: config.clone(),
            compare_with: None,
            input: TestInput::None,
            run_stored_tests: true,
            ticket: None,
        };
        let report = self.services.run_test(&job, self.options.test_timeout).await?;
        refuse(red_tests(&report))
    }
}

fn refuse(errors: Vec<InputError>) -> Result<()> {
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Error::Invalid(errors))
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
