//! Carries a step out, at the revision that it was planned for, and reads back what came of it.

use anyhow::{Context, Result};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{
    Actual, Options, Server,
    check::publish_body,
    step::{Action, Publish, Step},
};
use crate::{
    client::{Api, Error},
    manifest::Document,
    output::cell,
};

/// What came of a step.
#[derive(Clone, Debug, Default)]
pub(super) struct Done {
    /// The datasource's id.
    pub(super) id: Option<String>,
    /// What there is to say.
    pub(super) detail: Vec<String>,
    /// Whether something is left to be done by a person.
    pub(super) is_waiting: bool,
}

/// Carries a step out.
pub(super) async fn carry_out(api: &Api, step: &Step, server: &Server, options: &Options) -> Result<Done> {
    match (step.action, &step.document, &step.id) {
        (Action::Create, Some(document), _) => create(api, step, document, server, options).await,
        (Action::Update, Some(document), Some(id)) => {
            let run = Run {
                api,
                step,
                document,
                id,
                options,
            };
            run.update(server).await
        }
        (Action::Delete, _, Some(id)) => {
            api.delete(&["datasources", id], step.revision).await?;
            Ok(Done {
                id: Some(id.clone()),
                ..Done::default()
            })
        }
        _ => Ok(Done {
            id: step.id.clone(),
            ..Done::default()
        }),
    }
}

async fn create(
    api: &Api,
    step: &Step,
    document: &Document,
    server: &Server,
    options: &Options,
) -> Result<Done> {
    let mut body = step.work.metadata.clone().unwrap_or_default();
    if let (Some(config), Some(body)) = (&document.config, body.as_object_mut()) {
        body.insert("config".to_owned(), config.clone());
        body.insert("comment".to_owned(), json!(comment(document)));
    }
    let made = api.post(&["datasources"], &body, None).await?;
    let id = &cell(&made["id"]);
    let run = Run {
        api,
        step,
        document,
        id,
        options,
    };
    run.finish(Some(1), server).await
}

fn comment(document: &Document) -> String {
    let comment = format!("from {}", document.origin.line());
    comment.chars().take(500).collect()
}

/// A step that is being carried out.
struct Run<'r> {
    api: &'r Api,
    step: &'r Step,
    document: &'r Document,
    id: &'r str,
    options: &'r Options,
}

impl Run<'_> {
    async fn update(&self, server: &Server) -> Result<Done> {
        let work = &self.step.work;
        match &work.metadata {
            Some(body) => {
                self.api
                    .put(&["datasources", self.id], body, self.step.revision)
                    .await?;
            }
            // Nothing else says which revision it is about.
            None => self.must_be_as_planned().await?,
        }
        let made = match (&self.document.config, work.draft) {
            (Some(config), true) => {
                let body = json!({"config": config, "comment": comment(self.document)});
                let version = self
                    .api
                    .post(&["datasources", self.id, "versions"], &body, None)
                    .await?;
                version["number"].as_u64()
            }
            _ => None,
        };
        self.finish(made, server).await
    }

    async fn get(&self) -> Result<Value> {
        self.api.get(&["datasources", self.id], &[]).await
    }

    async fn must_be_as_planned(&self) -> Result<()> {
        let revision = self.get().await?["revision"].as_i64();
        if revision == self.step.revision {
            return Ok(());
        }
        Err(Error::Conflict("the datasource was changed meanwhile".to_owned()).into())
    }

    /// Secrets, publish, lifecycle, and the look back. `made` is the draft that was made.
    async fn finish(&self, made: Option<u64>, server: &Server) -> Result<Done> {
        let mut done = Done {
            id: Some(self.id.to_owned()),
            ..Done::default()
        };
        let missing = self.secrets(&mut done).await?;
        if let Some(publish) = self.step.work.publish {
            let number = match publish {
                Publish::Draft(number) => number,
                Publish::New => made.context("there is no draft to publish")?,
            };
            if missing.is_empty() {
                self.release(number, &mut done).await?;
            } else {
                done.is_waiting = true;
                done.detail.push(format!(
                    "draft {number} is not published: write {} first (`halcyon secret put {} NAME --env {}`)",
                    missing.join(", "),
                    self.document.name,
                    self.document.env
                ));
            }
        } else {
            done.detail
                .extend(made.map(|number| format!("draft {number} made")));
            self.operate().await?;
        }
        self.read_back(server, done.is_waiting).await?;
        if self.options.run_tests {
            done.detail.extend(self.run_tests().await?);
        }
        Ok(done)
    }

    /// Writes the secrets that are to be moved. Returns the names of those that are still missing.
    async fn secrets(&self, done: &mut Done) -> Result<Vec<String>> {
        let mut missing = self.step.work.missing.clone();
        if !self.options.with_secrets {
            return Ok(missing);
        }
        for secret in &self.step.work.secrets {
            let Some(value) = &secret.value else {
                continue;
            };
            let body = json!({"value": value.expose_secret()});
            self.api
                .put(&["datasources", self.id, "secrets", &secret.name], &body, None)
                .await?;
            missing.retain(|name| *name != secret.name);
            done.detail.push(format!("secret {} written", secret.name));
        }
        Ok(missing)
    }

    /// Publishes a draft and brings it into its state; one that must be approved first waits.
    async fn release(&self, number: u64, done: &mut Done) -> Result<()> {
        match self.publish(number).await {
            Err(error) if is_unapproved(&error) => {
                done.is_waiting = true;
                done.detail.push(format!("draft {number}: {error}"));
                Ok(())
            }
            Err(error) => Err(error),
            Ok(()) => {
                done.detail.push(format!("version {number} published"));
                self.operate().await
            }
        }
    }

    /// Publishes a draft, unless somebody has published something since the plan was made.
    async fn publish(&self, number: u64) -> Result<()> {
        let now = self.get().await?;
        let revision = now["revision"].as_i64();
        if now["draft_version"].as_u64() != Some(number) {
            let text =
                format!("the datasource was changed meanwhile: draft {number} is not the newest any more");
            return Err(Error::Conflict(text).into());
        }
        let body = publish_body(number, &comment(self.document));
        self.api
            .post(&["datasources", self.id, "publish"], &body, revision)
            .await?;
        Ok(())
    }

    async fn operate(&self) -> Result<()> {
        for operation in &self.step.work.operations {
            self.api
                .post(&["datasources", self.id, operation], &json!({}), None)
                .await?;
        }
        Ok(())
    }

    /// Whether the system now has what the document says.
    async fn read_back(&self, server: &Server, is_waiting: bool) -> Result<()> {
        let actual = Actual::read(self.api, self.get().await?).await?;
        let mut document = self.document.clone();
        if is_waiting {
            // What waits is drafted.
            document.published = Some(false);
            document.state = None;
            document.enabled = None;
        }
        let again = super::decide::decide(document, Some(&actual), server, self.options);
        let Some(change) = again.changes.first() else {
            return Ok(());
        };
        let text = format!("`{}` reads back differently from what was written", change.path);
        Err(Error::Conflict(text).into())
    }

    /// Runs the stored tests of what was drafted or published. Returns what is wrong.
    async fn run_tests(&self) -> Result<Vec<String>> {
        let report = self
            .api
            .post(&["datasources", self.id, "test"], &json!({}), None)
            .await?;
        let tests = report["tests"].as_array().map(Vec::as_slice).unwrap_or_default();
        let red: Vec<_> = tests.iter().filter(|test| test["passed"] == false).collect();
        if red.is_empty() {
            return Ok(vec![format!("{} stored tests pass", tests.len())]);
        }
        let names: Vec<_> = red.iter().map(|test| cell(&test["name"])).collect();
        Err(Error::Conflict(format!("stored tests fail: {}", names.join(", "))).into())
    }
}

/// Whether somebody else has to approve first.
fn is_unapproved(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::Refused(problem)) if problem.code() == "approval_required")
}
