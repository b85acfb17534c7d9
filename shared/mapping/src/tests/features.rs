//! Each feature of a mapping once.

use halcyon_domain::ontology::{AlertStatus, Observable, OntologyObject, Rule, Severity};
use serde_json::json;

use super::{alert, alert_spec, compile, entity, failure, objects, outcomes, received_at, relationship, run};
use crate::Outcome;

#[test]
fn the_contracts_own_example() {
    let spec = json!({"language": "jmespath", "records": "detections[]", "filter": "severity != 'info'",
        "outputs": [{"kind": "alert", "when": null, "for_each": null, "fields": {
            "external_id": "id", "title": {"expr": "join(' on ', [name, host])"},
            "severity": {"expr": "sev", "lookup": {"70": "high"}, "default": "unknown"},
            "time": {"expr": "ts", "as": "timestamp"}, "vendor": {"value": "CrowdStrike"}}}]});
    let payload = json!({"detections": [
        {"id": "d1", "name": "Malware", "host": "web-1", "sev": 70, "ts": "2025-01-01T00:00:00Z", "severity": "bad"},
        {"id": "d2", "name": "Noise", "host": "web-2", "sev": 10, "ts": 1_735_689_600, "severity": "info"},
        {"id": "d3", "name": "Odd", "host": "web-3", "sev": 10, "ts": 1_735_689_600_000_i64, "severity": "bad"},
        {"id": "d4", "name": "No host", "sev": 10, "ts": 0, "severity": "bad"}]});
    let outcomes = outcomes(spec, payload);
    assert_eq!(outcomes.len(), 4);
    let [
        Outcome::Delivered(first),
        Outcome::Filtered,
        Outcome::Delivered(third),
        Outcome::DeadLettered(fourth),
    ] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    let [OntologyObject::Alert(first)] = first.as_slice() else {
        panic!("{first:?}")
    };
    assert_eq!(
        (first.external_id.as_str(), first.title.as_str()),
        ("d1", "Malware on web-1")
    );
    assert_eq!(
        (first.severity, first.vendor.as_deref()),
        (Severity::High, Some("CrowdStrike"))
    );
    assert_eq!(
        first.time,
        "2025-01-01T00:00:00Z"
            .parse::<halcyon_domain::clock::Timestamp>()
            .unwrap()
    );
    let [OntologyObject::Alert(third)] = third.as_slice() else {
        panic!("{third:?}")
    };
    assert_eq!((third.severity, third.time), (Severity::Unknown, first.time));
    assert_eq!(
        (fourth.code.as_str(), fourth.pointer.as_str()),
        ("expression_failed", "/outputs/0/fields/title")
    );
}

#[test]
fn every_field_of_an_alert() {
    let fields = json!({"severity": "sev", "status": "state", "description": "text", "category": {"value": "malware"},
        "product": "product", "rule.id": "rule.id", "rule.name": "rule.name", "attributes.region": "region",
        "attributes.geo.country": "country", "attributes": "extra",
        "observables": "[{type: 'ip_address', value: ip}, {type: 'port', value: port}, {type: 'none', value: missing}]"});
    let payload = json!({"id": 42, "sev": "CRITICAL", "state": "In Progress", "text": "d", "product": true,
        "rule": {"id": 7, "name": "R"}, "region": "eu", "country": "DE", "extra": {"region": "us", "a": [1, null]},
        "ip": "10.0.0.1", "port": 22});
    let alert = alert(fields, payload);
    assert_eq!(alert.external_id, "42");
    assert_eq!(
        (alert.severity, alert.status),
        (Severity::Critical, Some(AlertStatus::InProgress))
    );
    assert_eq!(alert.description.as_deref(), Some("d"));
    assert_eq!(
        (alert.category.as_deref(), alert.product.as_deref()),
        (Some("malware"), Some("true"))
    );
    assert_eq!(
        alert.rule,
        Some(Rule {
            id: Some("7".into()),
            name: Some("R".into())
        })
    );
    let observable = |kind: &str, value: &str| Observable {
        kind: kind.into(),
        value: value.into(),
    };
    assert_eq!(
        alert.observables,
        [observable("ip_address", "10.0.0.1"), observable("port", "22")]
    );
    let expected = json!({"a": [1, null], "region": "eu", "geo": {"country": "DE"}});
    assert_eq!(serde_json::Value::Object(alert.attributes), expected);
}

#[test]
fn entities_and_relationships_for_each_item() {
    let spec = json!({"outputs": [
        {"kind": "entity", "for_each": "hosts[?up]", "fields": {"type": {"value": "host"}, "key": "name", "name": "name",
            "attributes.zone": {"expr": "zone", "from": "record"}, "attributes.seen_by": {"expr": "datasource", "from": "context"}}},
        {"kind": "relationship", "for_each": "hosts", "when": "linked", "fields": {"type": {"value": "related-to"},
            "source.type": {"value": "alert"}, "source.key": {"expr": "id", "from": "record"},
            "target.type": {"value": "host"}, "target.key": "name", "start_time": "since"}}]});
    let payload = |linked: bool| {
        json!({"id": "a", "zone": "z", "linked": linked,
        "hosts": [{"name": "h1", "up": true, "since": 60}, {"name": "h2"}]})
    };
    let all = objects(spec.clone(), payload(true));
    assert_eq!(all.len(), 3);
    assert_eq!(
        (entity(&all[0]).kind.as_str(), entity(&all[0]).key.as_str()),
        ("host", "h1")
    );
    let expected = json!({"zone": "z", "seen_by": "00000000-0000-0000-0000-000000000007"});
    assert_eq!(
        serde_json::Value::Object(entity(&all[0]).attributes.clone()),
        expected
    );
    let link = relationship(&all[1]);
    assert_eq!(
        (link.source.kind.as_str(), link.source.key.as_str()),
        ("alert", "a")
    );
    assert_eq!(
        (link.target.key.as_str(), link.start_time.unwrap().timestamp()),
        ("h1", 60)
    );
    assert_eq!(relationship(&all[2]).start_time, None);
    assert_eq!(objects(spec, payload(false)).len(), 1);
}

#[test]
fn records_in_every_form() {
    let spec = |records: Option<&str>| {
        let mut spec = alert_spec(json!({}));
        spec["records"] = json!(records);
        spec
    };
    let ids = |spec, payload| objects(spec, payload).len();
    assert_eq!(ids(spec(None), json!({"id": 1})), 1);
    assert_eq!(ids(spec(None), json!([{"id": 1}, {"id": 2}])), 2);
    assert_eq!(ids(spec(Some("r")), json!({"r": {"id": 1}})), 1);
    assert_eq!(ids(spec(Some("r")), json!({"r": [{"id": 1}, {"id": 2}]})), 2);
    assert_eq!(
        ids(
            spec(Some("r[].{id: key}")),
            json!({"r": [{"key": 1}, {"key": 2}]})
        ),
        2
    );
    for (records, payload) in [
        (None, json!([])),
        (Some("r"), json!({})),
        (Some("r"), json!({"r": []})),
    ] {
        assert_eq!(outcomes(spec(records), payload), [Outcome::Filtered]);
    }
    let mut jsonpath = spec(Some("$.r[?@.id > 1]"));
    jsonpath["language"] = json!("jsonpath");
    jsonpath["outputs"][0]["fields"]["external_id"] = json!("$.id");
    assert_eq!(ids(jsonpath, json!({"r": [{"id": 1}, {"id": 2}, {"id": 3}]})), 2);
}

#[test]
fn languages_mix_within_an_output() {
    let fields = json!({"external_id": {"expr": "$.a['b c'][0].id", "language": "jsonpath"},
        "description": {"expr": "$..host", "language": "jsonpath"}, "category": "\"b c\"",
        "attributes.all": {"expr": "$.a['b c'][*].id", "language": "jsonpath"}});
    let alert = alert(fields, json!({"a": {"b c": [{"id": "x", "host": "h"}]}}));
    assert_eq!(
        (alert.external_id.as_str(), alert.description.as_deref()),
        ("x", Some("h"))
    );
    assert_eq!(alert.category, None);
    assert_eq!(alert.attributes.get("all"), Some(&json!(["x"])));
}

#[test]
fn defaults_step_in_for_null_for_unlisted_and_for_misfits() {
    let text = |field: serde_json::Value| {
        alert(
            json!({"description": field}),
            json!({"id": 1, "a": "A", "n": null}),
        )
        .description
    };
    assert_eq!(text(json!({"expr": "n", "default": "d"})).as_deref(), Some("d"));
    assert_eq!(
        text(json!({"expr": "missing", "default": {"expr": "a"}})).as_deref(),
        Some("A")
    );
    let from_context =
        json!({"expr": "missing", "default": {"expr": "headers.\"x-kind\"", "from": "context"}});
    assert_eq!(text(from_context).as_deref(), Some("header"));
    assert_eq!(
        text(json!({"expr": "a", "lookup": {"A": "B"}})).as_deref(),
        Some("B")
    );
    assert_eq!(
        text(json!({"expr": "a", "lookup": {"X": "B"}})).as_deref(),
        Some("A")
    );
    assert_eq!(
        text(json!({"expr": "a", "lookup": {"X": "B"}, "default": "D"})).as_deref(),
        Some("D")
    );
    assert_eq!(
        text(json!({"expr": "a", "as": "integer", "default": 5})).as_deref(),
        Some("5")
    );
    assert_eq!(text(json!({"expr": "a", "as": "integer"})), None);
    assert_eq!(
        text(json!({"expr": "join(',', missing)", "default": "d"})).as_deref(),
        Some("d")
    );
    let time = json!({"time": {"expr": "missing", "default": {"expr": "received_at", "from": "context"}}});
    assert_eq!(alert(time, json!({"id": 1})).time, received_at());
}

#[test]
fn casts() {
    let cast = |kind: &str, value: serde_json::Value| {
        let fields = json!({"attributes.x": {"expr": "v", "as": kind}});
        alert(fields, json!({"id": 1, "v": value})).attributes.remove("x")
    };
    assert_eq!(cast("string", json!(1.5)), Some(json!("1.5")));
    assert_eq!(cast("string", json!({"a": 1})), Some(json!("{\"a\":1}")));
    assert_eq!(cast("integer", json!(" 12 ")), Some(json!(12)));
    assert_eq!(cast("integer", json!(12.9)), Some(json!(12)));
    assert_eq!(
        cast("integer", json!("123456789012345678901234567890")),
        Some(json!("123456789012345678901234567890"))
    );
    assert_eq!(cast("integer", json!("x")), None);
    assert_eq!(cast("number", json!("1.25")), Some(json!(1.25)));
    assert_eq!(cast("number", json!("NaN")), None);
    assert_eq!(cast("boolean", json!("Yes")), Some(json!(true)));
    assert_eq!(cast("boolean", json!(0)), Some(json!(false)));
    assert_eq!(cast("boolean", json!(2)), None);
    assert_eq!(
        cast("timestamp", json!("2025-02-25 20:40:06.721")),
        Some(json!("2025-02-25T20:40:06.721Z"))
    );
}

#[test]
fn big_integers_arrive_exact() {
    let mapping = compile(alert_spec(json!({"attributes.n": "n", "external_id": "n"})));
    let result = run(&mapping, r#"{"n": 123456789012345678901234567890}"#);
    let OntologyObject::Alert(alert) = &result.records[0].outcome.objects()[0] else {
        panic!()
    };
    assert_eq!(alert.external_id, "123456789012345678901234567890");
    assert_eq!(
        alert.attributes.get("n"),
        Some(&json!("123456789012345678901234567890"))
    );
}

#[test]
fn severities_and_states_that_nobody_knows() {
    let alert = alert(
        json!({"severity": "sev", "status": "st"}),
        json!({"id": 1, "sev": "banana", "st": [1]}),
    );
    assert_eq!((alert.severity, alert.status), (Severity::Unknown, None));
}

#[test]
fn what_is_needed_and_absent_dead_letters_the_whole_record() {
    let mut spec = alert_spec(json!({"title": "title"}));
    let entity = json!({"kind": "entity", "fields": {"type": {"value": "host"}, "key": "host"}});
    spec["outputs"].as_array_mut().unwrap().push(entity);
    let at = |payload| failure(spec.clone(), payload);
    let required = |pointer: &str| ("required".to_owned(), pointer.to_owned());
    assert_eq!(
        at(json!({"id": 1, "host": "h"})),
        required("/outputs/0/fields/title")
    );
    assert_eq!(
        at(json!({"id": 1, "title": "", "host": "h"})),
        required("/outputs/0/fields/title")
    );
    assert_eq!(
        at(json!({"id": 1, "title": "t"})),
        required("/outputs/1/fields/key")
    );
    let mistyped = ("mistyped".to_owned(), "/outputs/0/fields/title".to_owned());
    assert_eq!(at(json!({"id": 1, "title": {"a": 1}, "host": "h"})), mistyped);
}

#[test]
fn a_condition_that_fails_drops_nothing() {
    let mut spec = alert_spec(json!({}));
    spec["filter"] = json!("contains(tags, 'x')");
    assert_eq!(
        failure(spec.clone(), json!({"id": 1})),
        ("expression_failed".to_owned(), "/filter".to_owned())
    );
    assert_eq!(outcomes(spec, json!({"id": 1, "tags": []})), [Outcome::Filtered]);
    let mut spec = alert_spec(json!({}));
    spec["outputs"][0]["when"] = json!("length(missing) > `0`");
    assert_eq!(failure(spec, json!({"id": 1})).1, "/outputs/0/when");
}
