//! What is decided, case by case.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    super::step::{Action, Publish, Step},
    *,
};
use crate::manifest::{Formats, Loaded};

fn document(fields: &str) -> Document {
    let text = format!("kind: Datasource\nname: edr\ntype: http_webhook\n{fields}");
    let mut loaded = Loaded::default();
    loaded.add(&Arc::from("f.yaml"), &text, Formats::Documents);
    assert_eq!(loaded.findings, []);
    loaded.documents.remove(0)
}

fn actual(changes: Value, published: Option<Value>, draft: Option<Value>) -> Actual {
    let mut datasource = json!({
        "id": "d1", "name": "edr", "env": "production", "type": "http_webhook", "project": "p1", "owner": null,
        "description": null, "tags": [], "status": "active", "desired_state": "running", "revision": 7,
    });
    for (name, value) in changes.as_object().unwrap() {
        datasource[name] = value.clone();
    }
    Actual {
        datasource,
        published,
        draft: draft.map(|draft| (4, draft)),
    }
}

fn server() -> Server {
    Server::of([("p1", "default"), ("p2", "soc")])
}

fn apply() -> Options {
    Options {
        manager: Some("halcyon".to_owned()),
        ..Options::default()
    }
}

fn step(fields: &str, actual: Option<&Actual>, options: &Options) -> Step {
    decide(document(fields), actual, &server(), options)
}

fn paths(step: &Step) -> Vec<String> {
    let path = |change: &Change| format!("{}{}", change.sign(), change.path);
    step.changes.iter().map(path).collect()
}

const CONFIG: &str = "config: {a: 1}\n";

#[test]
fn what_is_not_there_is_made_and_marked() {
    let made = step(
        &format!("published: true\nstate: stopped\ntags: [x]\n{CONFIG}"),
        None,
        &apply(),
    );
    assert_eq!(
        (made.action, made.work.publish),
        (Action::Create, Some(Publish::New))
    );
    assert_eq!(made.work.operations, ["stop"]);
    let body = made.work.metadata.unwrap();
    assert_eq!(body["tags"], json!(["x", "managed-by:halcyon"]));
    assert_eq!(body["project"], "p1");
    assert_eq!(body.get("owner"), None);
    let draft = step(CONFIG, None, &Options::default());
    assert_eq!((draft.action, draft.work.publish), (Action::Create, None));
    let published = Options {
        publish: true,
        ..Options::default()
    };
    assert_eq!(step(CONFIG, None, &published).work.publish, Some(Publish::New));
    assert_eq!(
        step(&format!("published: false\n{CONFIG}"), None, &published)
            .work
            .publish,
        None
    );
}

#[test]
fn what_is_as_it_should_be_is_skipped() {
    let there = actual(
        json!({"tags": ["managed-by:halcyon"], "owner": ""}),
        Some(json!({"a": 1})),
        None,
    );
    let same = step(
        &format!("published: true\nenabled: true\nstate: running\n{CONFIG}"),
        Some(&there),
        &apply(),
    );
    assert_eq!((same.action, paths(&same).len()), (Action::Skip, 0));
    // Who only brings files in does not take the mark away.
    assert_eq!(
        step(CONFIG, Some(&there), &Options::default()).action,
        Action::Skip
    );
}

#[test]
fn a_new_configuration_is_drafted_and_published_beside_the_drafts_of_others() {
    let there = actual(json!({}), Some(json!({"a": 2})), Some(json!({"a": 3})));
    let publish = step(
        &format!("published: true\n{CONFIG}"),
        Some(&there),
        &Options::default(),
    );
    assert_eq!(paths(&publish), ["~config.a"]);
    assert_eq!(
        (publish.work.draft, publish.work.publish),
        (true, Some(Publish::New))
    );
    let draft = step(CONFIG, Some(&there), &Options::default());
    assert_eq!((draft.work.draft, draft.work.publish), (true, None));
    // What was drafted before, and waited for a secret, is not drafted again.
    let there = actual(json!({}), Some(json!({"a": 2})), Some(json!({"a": 1})));
    let publish = step(
        &format!("published: true\n{CONFIG}"),
        Some(&there),
        &Options::default(),
    );
    assert_eq!(
        (publish.work.draft, publish.work.publish),
        (false, Some(Publish::Draft(4)))
    );
    // A document without a configuration publishes nobody's draft.
    let publish = step("published: true\n", Some(&there), &Options::default());
    assert_eq!((publish.action, publish.work.publish), (Action::Skip, None));
}

#[test]
fn what_is_published_for_the_first_time_is_told() {
    let there = actual(json!({"status": "draft"}), None, Some(json!({"a": 1})));
    let publish = step(
        &format!("published: true\n{CONFIG}"),
        Some(&there),
        &Options::default(),
    );
    assert_eq!(paths(&publish), ["+config", "~published"]);
    assert_eq!(publish.work.publish, Some(Publish::Draft(4)));
    let none = actual(json!({"status": "draft"}), None, None);
    let refused = step("published: true\n", Some(&none), &Options::default());
    assert_eq!(
        refused.findings[0].message,
        "there is no `config` to publish, neither here nor drafted"
    );
}

#[test]
fn a_stopped_datasource_stays_so_over_a_publish() {
    let there = actual(json!({"desired_state": "stopped"}), Some(json!({"a": 2})), None);
    let publish = step(
        &format!("published: true\n{CONFIG}"),
        Some(&there),
        &Options::default(),
    );
    assert_eq!(publish.work.operations, ["stop"]);
    let start = step(
        &format!("published: true\nstate: running\n{CONFIG}"),
        Some(&there),
        &Options::default(),
    );
    assert_eq!(paths(&start), ["~config.a", "~state"]);
    assert!(start.work.operations.is_empty(), "the publish starts it");
    let enable = step(
        "enabled: false\nstate: running\n",
        Some(&there),
        &Options::default(),
    );
    assert_eq!(
        (paths(&enable), enable.work.operations),
        (vec!["~enabled".into(), "~state".into()], vec!["start", "disable"])
    );
}

#[test]
fn metadata_are_the_files() {
    let there = actual(
        json!({"owner": "a", "description": "b", "tags": ["t"], "project": "p2"}),
        Some(json!({})),
        None,
    );
    let changed = step("owner: c\n", Some(&there), &Options::default());
    assert_eq!(paths(&changed), ["~owner", "~description", "~tags", "~project"]);
    assert_eq!(
        changed.work.metadata,
        Some(json!({"owner": "c", "description": "", "tags": [], "project": "p1"}))
    );
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let message = |step: Step| {
        assert_eq!(step.action, Action::Error);
        step.findings[0].to_string()
    };
    let there = actual(
        json!({"type": "generator", "tags": ["managed-by:team-b"]}),
        None,
        None,
    );
    assert_eq!(
        message(step("", Some(&there), &Options::default())),
        "f.yaml:3:7: the datasource is of type `generator`, which cannot change: delete it first"
    );
    let there = actual(json!({"tags": ["managed-by:team-b"]}), None, None);
    assert_eq!(
        message(step("", Some(&there), &apply())),
        "f.yaml:2:7: the datasource is kept by `team-b`: give --take-over to keep it from now on"
    );
    let taken = Options {
        take_over: true,
        ..apply()
    };
    assert_eq!(paths(&step("", Some(&there), &taken)), ["~tags"]);
    assert_eq!(
        message(step("project: nowhere\n", None, &apply())),
        "f.yaml:4:10: there is no project `nowhere`"
    );
    assert_eq!(
        message(step("state: stopped\n", None, &apply())),
        "f.yaml:4:8: only a published datasource has a state: add `published: true`, or give --publish"
    );
}
