//! What came of all steps.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Options, Plan, Server,
    carry_out::{Done, carry_out},
    check::{findings as refused, refusal},
    step::{Action, Step, findings},
};
use crate::{
    client::{Api, Error, Exit},
    manifest::{Finding, PlainSecret},
    output::{OutputArgs, Table},
};

/// What came of a step.
struct Outcome {
    step: Step,
    done: Done,
    /// Why it failed.
    failure: Option<(String, Exit)>,
}

/// What came of all steps.
#[derive(Default)]
pub(crate) struct Outcomes {
    outcomes: Vec<Outcome>,
    is_dry: bool,
    /// Whether secrets of the old registry's file were written.
    wrote_secrets: bool,
}

/// Carries the steps out, one after the other: what fails stops no other. Without the system, everything stops.
pub(crate) async fn carry_out_all(api: &Api, plan: Plan, options: &Options) -> Result<Outcomes> {
    let server = Server::read(api).await?;
    let mut outcomes = Outcomes {
        wrote_secrets: options.with_secrets,
        ..Outcomes::default()
    };
    for mut step in plan.steps {
        let (done, failure) = match carry_out(api, &step, &server, options).await {
            Ok(done) => (done, None),
            Err(error) => {
                let failure = failed(&mut step, error)?;
                (Done::default(), Some(failure))
            }
        };
        outcomes.outcomes.push(Outcome { step, done, failure });
    }
    Ok(outcomes)
}

/// Notes a failure in its step, so that it is told with its place. One that is not about the step is returned.
fn failed(step: &mut Step, error: anyhow::Error) -> Result<(String, Exit)> {
    if let Some(Error::Conflict(text)) = error.downcast_ref() {
        return Ok((text.clone(), Exit::Conflict));
    }
    let problem = refusal(error)?;
    if let Some(document) = &step.document {
        step.findings.extend(refused(document, &problem));
    }
    let text = problem.detail.clone();
    Ok((text, Error::Refused(Box::new(problem)).exit()))
}

impl Outcomes {
    /// What would come of a plan, without doing anything.
    pub(crate) fn of_plan(plan: Plan) -> Self {
        let outcome = |step| Outcome {
            step,
            done: Done::default(),
            failure: None,
        };
        Self {
            outcomes: plan.steps.into_iter().map(outcome).collect(),
            is_dry: true,
            wrote_secrets: false,
        }
    }

    /// Prints a row for each step, and then what is wrong, with its places.
    pub(crate) fn show(&self, output: OutputArgs, loaded: &[Finding]) -> Result<()> {
        if output.format != crate::output::Format::Table {
            let results: Vec<_> = self.outcomes.iter().map(Outcome::value).collect();
            return output.value(&json!({
                "dry_run": self.is_dry, "results": results, "errors": findings(loaded), "summary": self.summary(loaded),
            }));
        }
        let mut table = Table::new(["ACTION", "DATASOURCE", "WHERE", "DETAIL"]);
        for outcome in &self.outcomes {
            let step = &outcome.step;
            let detail = outcome.detail(self.is_dry);
            table.row([outcome.word().to_owned(), step.title(), step.line(), detail]);
        }
        if !self.outcomes.is_empty() {
            output.table(&table)?;
        }
        let wrong = self.outcomes.iter().flat_map(|outcome| &outcome.step.findings);
        for finding in loaded.iter().chain(wrong) {
            crate::output::remark(&finding.to_string());
        }
        for secret in self.left_secrets() {
            crate::output::remark(&secret);
        }
        let counts = self.summary(loaded);
        let count = |word: &str| counts[word].as_u64().unwrap_or_default();
        let dry = if self.is_dry {
            " (dry run: nothing was done)"
        } else {
            ""
        };
        crate::output::remark(&format!(
            "{} created, {} updated, {} deleted, {} skipped, {} waiting, {} errors{dry}",
            count("create"),
            count("update"),
            count("delete"),
            count("skip"),
            count("waiting"),
            count("error"),
        ));
        Ok(())
    }

    /// Writes to the log what was done, and what is wrong with its places.
    pub(crate) fn log(&self, loaded: &[Finding]) {
        let wrong = self.outcomes.iter().flat_map(|outcome| &outcome.step.findings);
        for finding in loaded.iter().chain(wrong) {
            tracing::error!(place = %finding, "a file of datasources does not fit");
        }
        for outcome in self.outcomes.iter().filter(|it| it.step.action != Action::Skip) {
            let (what, name) = (outcome.word(), outcome.step.title());
            tracing::info!(
                datasource.name = name,
                detail = outcome.detail(false),
                "a file was applied: {what}"
            );
        }
    }

    /// The secrets of the old registry's file that are not written, where they stand.
    fn left_secrets(&self) -> Vec<String> {
        let steps = self.outcomes.iter().map(|outcome| &outcome.step);
        let secrets = steps.flat_map(|step| &step.work.secrets);
        let told = |secret: &PlainSecret| match (&secret.value, self.wrote_secrets) {
            (Some(_), true) => None,
            (Some(_), false) => Some(format!("{} (--with-secrets writes it)", secret.place)),
            (None, _) => Some(format!("{} (which is not set)", secret.place)),
        };
        secrets.filter_map(told).collect()
    }

    fn summary(&self, loaded: &[Finding]) -> Value {
        let count = |word: &str| self.outcomes.iter().filter(|it| it.word() == word).count();
        json!({
            "create": count("create"), "update": count("update"), "delete": count("delete"),
            "skip": count("skip"), "waiting": count("waiting"), "error": count("error") + loaded.len(),
        })
    }

    /// The exit code, unless all is well.
    pub(crate) fn exit(&self, loaded: &[Finding]) -> Result<()> {
        let failures = self.outcomes.iter().filter_map(|outcome| match &outcome.failure {
            Some((_, exit)) => Some(*exit),
            None if outcome.done.is_waiting || outcome.step.action == Action::Error => Some(Exit::Failed),
            None => None,
        });
        let loaded = loaded.iter().map(|_| Exit::Failed);
        match Exit::of_all(failures.chain(loaded)) {
            Some(exit) => Err(Error::Told(exit).into()),
            None => Ok(()),
        }
    }
}

impl Outcome {
    fn word(&self) -> &'static str {
        match &self.failure {
            Some(_) => Action::Error.word(),
            None if self.done.is_waiting => "waiting",
            None => self.step.action.word(),
        }
    }

    fn detail(&self, is_dry: bool) -> String {
        if let Some((text, _)) = &self.failure {
            return text.clone();
        }
        let step = &self.step;
        let mut detail = self.done.detail.clone();
        if let Some(finding) = step.findings.first() {
            detail.push(finding.message.clone());
        }
        if is_dry && step.findings.is_empty() {
            let paths: Vec<_> = step.changes.iter().map(|change| change.path.as_str()).collect();
            if !paths.is_empty() {
                detail.push(format!("changes {}", paths.join(", ")));
            }
            if !step.work.missing.is_empty() {
                detail.push(format!("needs the secrets {}", step.work.missing.join(", ")));
            }
        }
        detail.join("; ")
    }

    fn value(&self) -> Value {
        let mut value = self.step.value();
        if let Some(value) = value.as_object_mut() {
            value.insert("action".to_owned(), json!(self.word()));
            value.insert("detail".to_owned(), json!(self.done.detail));
            value.insert(
                "id".to_owned(),
                json!(self.done.id.as_ref().or(self.step.id.as_ref())),
            );
            if let Some((failure, _)) = &self.failure {
                value.insert("failure".to_owned(), json!(failure));
            }
        }
        value
    }
}
