//! Lets the system check what would be sent to it, before anything is.

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Server,
    actual::{is_forbidden, is_not_found},
    step::{Action, Step},
};
use crate::{
    client::{Api, Error, Problem},
    manifest::{Document, Finding},
    output::cell,
};

/// Adds to the step what the system has against it, and which secrets it waits for.
pub(super) async fn check(api: &Api, step: &mut Step, server: &Server) -> Result<()> {
    let Some(document) = &step.document else {
        return Ok(());
    };
    if !matches!(step.action, Action::Create | Action::Update) {
        return Ok(());
    }
    let mut body = document.metadata(server.project_id(&document.project));
    if let (Some(config), Some(body)) = (&document.config, body.as_object_mut()) {
        body.insert("config".to_owned(), config.clone());
    }
    let publishes = step.work.publish.is_some();
    let needed = match validate(api, &body, publishes).await {
        Ok(found) => names(&found["secrets"]),
        // Who may change a datasource need not be allowed to make one: then the change itself will tell.
        Err(error) if is_forbidden(&error) && step.action == Action::Update => Vec::new(),
        Err(error) => {
            let problem = refusal(error)?;
            for finding in findings(document, &problem) {
                step.refuse(finding);
            }
            return Ok(());
        }
    };
    let known = match &step.id {
        Some(id) => known_secrets(api, id).await?,
        None => Some(Vec::new()),
    };
    let known = known.unwrap_or_else(|| needed.clone());
    let plain = document
        .secrets
        .iter()
        .filter(|secret| !known.contains(&secret.name));
    step.work.secrets = plain.cloned().collect();
    step.work.missing = needed.into_iter().filter(|name| !known.contains(name)).collect();
    Ok(())
}

async fn validate(api: &Api, body: &Value, publishes: bool) -> Result<Value> {
    let publishable = publishes.to_string();
    let query = [("publishable", publishable.as_str())];
    api.post_with(&["datasources", "validate"], &query, body).await
}

/// The names of the secrets that are there; nothing if the caller may not know.
async fn known_secrets(api: &Api, id: &str) -> Result<Option<Vec<String>>> {
    match api.get(&["datasources", id, "secrets"], &[]).await {
        Ok(list) => {
            let items = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
            Ok(Some(items.iter().map(|secret| cell(&secret["name"])).collect()))
        }
        Err(error) if is_forbidden(&error) || is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn names(value: &Value) -> Vec<String> {
    let names = value.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().map(cell).collect()
}

/// What the system refused; any other error stays one.
pub(super) fn refusal(error: anyhow::Error) -> Result<Problem> {
    match error.downcast::<Error>() {
        Ok(Error::Refused(problem)) if matches!(problem.status, 400 | 403 | 404 | 409 | 412 | 422) => {
            Ok(*problem)
        }
        Ok(other) => Err(other.into()),
        Err(other) => Err(other),
    }
}

/// What the system has against a document, where it stands in the file.
pub(super) fn findings(document: &Document, problem: &Problem) -> Vec<Finding> {
    if problem.errors.is_empty() {
        return vec![document.origin.finding("/name", &problem.detail)];
    }
    let finding = |error: &crate::client::FieldError| {
        let message = match error.pointer.as_str() {
            "" => error.detail.clone(),
            pointer => format!("{pointer}: {}", error.detail),
        };
        document.origin.finding(&error.pointer, message)
    };
    problem.errors.iter().map(finding).collect()
}

/// The body of a publish.
pub(super) fn publish_body(number: u64, comment: &str) -> Value {
    json!({"version": number, "comment": comment})
}
