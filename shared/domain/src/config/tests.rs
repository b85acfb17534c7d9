//! What a configuration may say.

use serde_json::json;

use super::*;

#[test]
fn an_unknown_field_is_refused_by_name() {
    let error = VersionConfig::parse(&json!({"runtime": {"bach": {}}})).unwrap_err();
    assert_eq!(
        (error.pointer.as_str(), error.code.as_str()),
        ("/runtime/bach", "unknown_field")
    );
    let labels = |labels| VersionConfig::parse(&json!({"runtime": {"worker_labels": labels}}));
    for (wrong, pointer) in [
        (json!(["Edge"]), "/runtime/worker_labels/0"),
        (json!(["edge", ""]), "/runtime/worker_labels/1"),
        (json!(["edge", "edge"]), "/runtime/worker_labels/1"),
    ] {
        assert_eq!(labels(wrong).unwrap_err().pointer, pointer);
    }
    assert!(labels(json!(["edge", "eu-1.a"])).is_ok());
    let error = VersionConfig::parse(&json!({"runtime": {"throttle": {"records_per_second": 0}}}));
    assert_eq!(error.unwrap_err().pointer, "/runtime/throttle/records_per_second");
}

#[test]
fn pauses_have_bounds() {
    for (runtime, pointer) in [
        (json!({"batch": {"max_wait": "61s"}}), "/runtime/batch/max_wait"),
        (
            json!({"batch": {"max_wait": "500000000000years"}}),
            "/runtime/batch/max_wait",
        ),
        (
            json!({"retry": {"max_attempts": 0}}),
            "/runtime/retry/max_attempts",
        ),
        (
            json!({"retry": {"max_attempts": 1_001}}),
            "/runtime/retry/max_attempts",
        ),
        (
            json!({"retry": {"initial": "0s", "max": "0s"}}),
            "/runtime/retry/initial",
        ),
        (
            json!({"retry": {"initial": "61m", "max": "2h"}}),
            "/runtime/retry/initial",
        ),
        (
            json!({"retry": {"initial": "2s", "max": "1s"}}),
            "/runtime/retry/max",
        ),
        (json!({"retry": {"max": "25h"}}), "/runtime/retry/max"),
    ] {
        let error = VersionConfig::parse(&json!({"runtime": runtime})).unwrap_err();
        assert_eq!(error.pointer, pointer, "{runtime}");
    }
    let widest = json!({"batch": {"max_wait": "1m"}, "retry": {"max_attempts": 1_000, "initial": "1h", "max": "1day"}});
    assert!(VersionConfig::parse(&json!({"runtime": widest})).is_ok());
}

#[test]
fn drift_matters_only_where_it_is_said_what_is_expected() {
    let schema = |schema| VersionConfig::parse(&json!({"schema": schema}));
    for (wrong, pointer, code) in [
        (json!({"drift": "warn"}), "/schema/expected", "required"),
        (
            json!({"drift": "stop", "expected": {"type": "text"}}),
            "/schema/expected/type",
            "invalid",
        ),
        (json!({"drift": "panic"}), "/schema/drift", "invalid"),
    ] {
        let error = schema(wrong).unwrap_err();
        assert_eq!(error.pointer, pointer);
        if pointer != "/schema/drift" {
            assert_eq!(error.code, code);
        }
    }
    assert!(schema(json!({"drift": "ignore"})).is_ok());
    let stops = schema(json!({"drift": "stop", "expected": {"properties": {}}})).unwrap();
    assert!(stops.schema.unwrap().compile().unwrap().is_some());
}

#[test]
fn a_configuration_reads_back_what_it_writes() {
    let config = json!({"schedule": {"every": "30s"}, "runtime": {"parallelism": 4}});
    let config = VersionConfig::parse(&config).unwrap();
    assert_eq!(
        VersionConfig::parse(&serde_json::to_value(&config).unwrap()).unwrap(),
        config
    );
}

#[test]
fn references_are_found_where_they_stand() {
    let connection = json!({"auth": {"secret": {"$secret": "signing"}}, "list": [{"$secret": "b"}]});
    let refs = secret_refs(&connection);
    let refs: Vec<_> = refs
        .iter()
        .map(|r| (r.pointer.as_str(), r.name.as_str()))
        .collect();
    assert_eq!(refs, [("/auth/secret", "signing"), ("/list/0", "b")]);
}
