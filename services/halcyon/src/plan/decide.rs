//! Decides what is to be done about a datasource: a function of the document and of what there is.

use serde_json::{Map, Value, json};

use super::{
    Actual, Options, Prune, Server,
    diff::{Change, compare},
    step::{Action, Publish, Step, Work},
};
use crate::{
    manifest::{Document, Finding, MANAGED_BY, RunState},
    output::cell,
};

/// What is to be done about a document.
pub(super) fn decide(
    document: Document,
    actual: Option<&Actual>,
    server: &Server,
    options: &Options,
) -> Step {
    let mut step = Step {
        action: Action::Skip,
        env: document.env.clone(),
        name: document.name.clone(),
        id: actual.map(Actual::id),
        revision: actual.and_then(Actual::revision),
        document: None,
        changes: Vec::new(),
        findings: Vec::new(),
        work: Work::default(),
    };
    if !server.takes_project(&document.project) {
        let message = format!("there is no project `{}`", document.project);
        step.refuse(document.origin.finding("/project", message));
    }
    match actual {
        None => create(&mut step, &document, server, options),
        Some(actual) => {
            for finding in refusals(&document, actual, options) {
                step.refuse(finding);
            }
            update(&mut step, &document, actual, server, options);
        }
    }
    let publishes = step.work.publish.is_some();
    let is_published = actual.is_some_and(|actual| actual.published.is_some());
    for (field, given) in [
        ("/enabled", document.enabled.is_some()),
        ("/state", document.state.is_some()),
    ] {
        if given && !publishes && !is_published {
            let message = "only a published datasource has a state: add `published: true`, or give --publish";
            step.refuse(document.origin.finding(field, message));
        }
    }
    if step.action == Action::Skip && !step.changes.is_empty() {
        step.action = Action::Update;
    }
    step.document = Some(document);
    step
}

/// The tags that the datasource is to have: those of the document, and the mark of who keeps it.
fn tags(document: &Document, actual: Option<&Actual>, options: &Options) -> Vec<String> {
    let mut tags: Vec<_> = document
        .tags
        .iter()
        .filter(|tag| !tag.starts_with(MANAGED_BY))
        .cloned()
        .collect();
    match &options.manager {
        Some(manager) => tags.push(format!("{MANAGED_BY}{manager}")),
        // Who only brings documents in leaves it with who keeps it.
        None => {
            let kept = actual.map(Actual::tags).unwrap_or_default();
            tags.extend(kept.into_iter().filter(|tag| tag.starts_with(MANAGED_BY)));
        }
    }
    tags
}

fn create(step: &mut Step, document: &Document, server: &Server, options: &Options) {
    let mut body = document.metadata(server.project_id(&document.project));
    if let Some(body) = body.as_object_mut() {
        body.insert("tags".to_owned(), json!(tags(document, None, options)));
        body.retain(|_, value| value != "");
    }
    let publish = document.published.unwrap_or(options.publish);
    step.work.metadata = Some(body);
    step.work.draft = document.config.is_some();
    step.work.publish = (publish && document.config.is_some()).then_some(Publish::New);
    if publish && document.config.is_none() {
        let message = "there is no `config` to publish";
        step.refuse(document.origin.finding("", message));
    }
    if step.work.publish.is_some() {
        step.work.operations = operations(document, RunState::Running, true);
    }
    if step.action == Action::Skip {
        step.action = Action::Create;
    }
}

/// What stands against a change whatever it is.
fn refusals(document: &Document, actual: &Actual, options: &Options) -> Vec<Finding> {
    let mut findings = Vec::new();
    let connector = cell(&actual.datasource["type"]);
    if connector != document.connector {
        let message =
            format!("the datasource is of type `{connector}`, which cannot change: delete it first");
        findings.push(document.origin.finding("/type", message));
    }
    let ours = options
        .manager
        .as_ref()
        .map(|manager| format!("{MANAGED_BY}{manager}"));
    let tags = actual.tags();
    let other = tags
        .iter()
        .find(|tag| tag.starts_with(MANAGED_BY) && Some(*tag) != ours.as_ref());
    if let (Some(other), false, true) = (other, options.take_over, options.manager.is_some()) {
        let who = other.trim_start_matches(MANAGED_BY);
        let message = format!("the datasource is kept by `{who}`: give --take-over to keep it from now on");
        findings.push(document.origin.finding("/name", message));
    }
    findings
}

fn update(step: &mut Step, document: &Document, actual: &Actual, server: &Server, options: &Options) {
    let (changes, body) = metadata(document, actual, server, options);
    step.changes.extend(changes);
    step.work.metadata = (!body.is_empty()).then_some(Value::Object(body));
    let wanted = document.published.unwrap_or(options.publish);
    let basis = if wanted {
        actual.published.as_ref()
    } else {
        actual.newest()
    };
    // Without a configuration of its own the document leaves it as it is, drafts of others included.
    let before = step.changes.len();
    match (basis, &document.config) {
        (Some(basis), Some(config)) => compare("config", basis, config, &mut step.changes),
        (None, Some(config)) => step.changes.push(Change {
            path: "config".to_owned(),
            before: None,
            after: Some(config.clone()),
        }),
        (_, None) => {}
    }
    let differs = step.changes.len() > before;
    let is_wanted = |draft: &Value| document.config.as_ref().is_none_or(|config| config == draft);
    let drafted = actual.draft.as_ref().filter(|(_, draft)| is_wanted(draft));
    if wanted && actual.published.is_none() {
        step.changes.push(changed("published", json!(false), json!(true)));
    }
    if wanted && (differs || actual.published.is_none()) {
        step.work.publish = Some(match drafted {
            Some((number, _)) => Publish::Draft(*number),
            None => Publish::New,
        });
    }
    step.work.draft = differs && drafted.is_none();
    if step.work.publish == Some(Publish::New) && document.config.is_none() {
        let message = "there is no `config` to publish, neither here nor drafted";
        step.refuse(document.origin.finding("", message));
    }
    lifecycle(step, document, actual);
}

/// Which metadata differ, and how the API is told.
fn metadata(
    document: &Document,
    actual: &Actual,
    server: &Server,
    options: &Options,
) -> (Vec<Change>, Map<String, Value>) {
    let (mut changes, mut body) = (Vec::new(), Map::new());
    let text = |name: &str| actual.datasource[name].as_str().unwrap_or_default().to_owned();
    for (name, wanted) in [("owner", &document.owner), ("description", &document.description)] {
        let before = text(name);
        let is_same = before == *wanted || name == "owner" && is_same_address(&before, wanted);
        if !is_same {
            changes.push(changed(name, json!(text(name)), json!(wanted)));
            body.insert(name.to_owned(), json!(wanted));
        }
    }
    let (before, after) = (actual.tags(), tags(document, Some(actual), options));
    if before != after {
        changes.push(changed("tags", json!(before), json!(after)));
        body.insert("tags".to_owned(), json!(after));
    }
    let (before, after) = (text("project"), server.project_id(&document.project));
    if let Some(after) = after.filter(|after| *after != before) {
        let name = |id: &str| json!(server.project_name(id).unwrap_or(id));
        changes.push(changed("project", name(&before), name(after)));
        body.insert("project".to_owned(), json!(after));
    }
    (changes, body)
}

/// Whether two texts are one e-mail address: the system writes it as its user does.
fn is_same_address(one: &str, other: &str) -> bool {
    one.contains('@') && one.eq_ignore_ascii_case(other)
}

/// What is to be done for the state that the document names. A publish starts what was stopped.
fn lifecycle(step: &mut Step, document: &Document, actual: &Actual) {
    let enabled = actual.datasource["status"] != "disabled";
    let state = match actual.datasource["desired_state"].as_str() {
        Some("stopped") => RunState::Stopped,
        _ => RunState::Running,
    };
    if actual.published.is_some() {
        if let Some(wanted) = document.enabled.filter(|wanted| *wanted != enabled) {
            step.changes
                .push(changed("enabled", json!(enabled), json!(wanted)));
        }
        if let Some(wanted) = document.state.filter(|wanted| *wanted != state) {
            step.changes
                .push(changed("state", json!(state.word()), json!(wanted.word())));
        }
    }
    let publishes = step.work.publish.is_some();
    let state = if publishes { RunState::Running } else { state };
    step.work.operations = operations(document, state, enabled);
    // A datasource that was stopped stays so, unless the document says otherwise.
    let was_stopped = actual.datasource["desired_state"] == "stopped" && actual.published.is_some();
    if publishes && was_stopped && document.state.is_none() {
        step.work.operations.push("stop");
    }
}

/// What leads to the document's state from another one.
fn operations(document: &Document, state: RunState, enabled: bool) -> Vec<&'static str> {
    let mut operations = Vec::new();
    match document.state {
        Some(wanted) if wanted == state => {}
        Some(RunState::Running) => operations.push("start"),
        Some(RunState::Stopped) => operations.push("stop"),
        None => {}
    }
    match document.enabled {
        Some(true) if !enabled => operations.insert(0, "enable"),
        Some(false) if enabled => operations.push("disable"),
        _ => {}
    }
    operations
}

fn changed(path: &str, before: Value, after: Value) -> Change {
    Change {
        path: path.to_owned(),
        before: Some(before),
        after: Some(after),
    }
}

/// The datasources that no document stands for: of those that we keep, in the given environments only.
pub(super) fn prune(server: &Server, steps: &[Step], options: &Options, prune: &Prune) -> Vec<Step> {
    let Some(manager) = &options.manager else {
        return Vec::new();
    };
    let mark = format!("{MANAGED_BY}{manager}");
    let project = prune.project.as_deref().map(|project| server.project_id(project));
    let gone = |datasource: &&Value| {
        let (env, name) = (cell(&datasource["env"]), cell(&datasource["name"]));
        let tags = datasource["tags"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        prune.envs.contains(&env)
            && tags.iter().any(|tag| *tag == mark)
            && project.is_none_or(|project| project == datasource["project"].as_str())
            && !steps
                .iter()
                .any(|step| step.key() == (env.as_str(), name.as_str()))
    };
    let step = |datasource: &Value| Step {
        action: Action::Delete,
        env: cell(&datasource["env"]),
        name: cell(&datasource["name"]),
        id: Some(cell(&datasource["id"])),
        revision: datasource["revision"].as_i64(),
        document: None,
        changes: Vec::new(),
        findings: Vec::new(),
        work: Work::default(),
    };
    server.datasources().filter(gone).map(step).collect()
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
