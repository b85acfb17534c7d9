//! One step of a plan: what is to be done about one datasource.

use serde_json::{Value, json};

use super::diff::Change;
use crate::manifest::{Document, Finding, PlainSecret};

/// What becomes of a datasource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is as it should be.
    Skip,
    /// It is deleted.
    Delete,
    /// Nothing, because something is wrong.
    Error,
}

impl Action {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Skip => "skip",
            Self::Delete => "delete",
            Self::Error => "error",
        }
    }
}

/// Which version is to be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publish {
    /// The draft that this step makes.
    New,
    /// The draft that is there already.
    Draft(u64),
}

/// What it takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Work {
    /// The metadata that differ, as the API takes them.
    pub(crate) metadata: Option<Value>,
    /// Whether a draft is to be made of the document's configuration.
    pub(crate) draft: bool,
    pub(crate) publish: Option<Publish>,
    /// Lifecycle operations, in order.
    pub(crate) operations: Vec<&'static str>,
    /// Secrets to be written.
    pub(crate) secrets: Vec<PlainSecret>,
    /// Secrets that must be there before it can be published, and are not.
    pub(crate) missing: Vec<String>,
}

/// What is to be done about one datasource.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) action: Action,
    pub(crate) env: String,
    pub(crate) name: String,
    /// Its id, if it is there.
    pub(crate) id: Option<String>,
    /// The revision that all this is about.
    pub(crate) revision: Option<i64>,
    /// What it is to be; nothing if it is to go.
    pub(crate) document: Option<Document>,
    pub(crate) changes: Vec<Change>,
    pub(crate) findings: Vec<Finding>,
    pub(crate) work: Work,
}

impl Step {
    pub(crate) fn key(&self) -> (&str, &str) {
        (&self.env, &self.name)
    }

    /// Environment and name, for people.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}", self.env, self.name)
    }

    /// Notes what is wrong: nothing is done then.
    pub(crate) fn refuse(&mut self, finding: Finding) {
        self.action = Action::Error;
        self.findings.push(finding);
    }

    /// Where its document stands.
    pub(crate) fn line(&self) -> String {
        let line = self.document.as_ref().map(|document| document.origin.line());
        line.unwrap_or_else(|| "-".to_owned())
    }

    /// The step as JSON.
    pub(crate) fn value(&self) -> Value {
        let origin = self.document.as_ref().map(|document| &document.origin);
        json!({
            "action": self.action.word(),
            "env": self.env,
            "name": self.name,
            "id": self.id,
            "file": origin.map(|origin| &*origin.file),
            "line": origin.map(|origin| origin.place().line),
            "changes": self.changes.iter().map(Change::value).collect::<Vec<_>>(),
            "missing_secrets": self.work.missing,
            "errors": findings(&self.findings),
        })
    }
}

/// Findings as JSON.
pub(crate) fn findings(findings: &[Finding]) -> Value {
    let value = |finding: &Finding| {
        json!({
            "file": &*finding.file, "line": finding.place.line, "column": finding.place.column,
            "message": finding.message,
        })
    };
    findings.iter().map(value).collect()
}

/// What is to be done about all of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
}

impl Plan {
    /// How many steps are of this kind.
    pub(crate) fn count(&self, action: Action) -> usize {
        self.steps.iter().filter(|step| step.action == action).count()
    }

    /// Whether there is anything to be done.
    pub(crate) fn has_changes(&self) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.action, Action::Create | Action::Update | Action::Delete))
    }
}
