//! Jobs and their reports.

use halcyon_domain::test_run::{CheckStatus, TestReport};

use super::*;
use crate::report;

fn status(report: &TestReport, name: &str) -> CheckStatus {
    report
        .checks
        .iter()
        .find(|check| check.name == name)
        .unwrap()
        .status
}

#[tokio::test]
async fn a_payload_is_mapped_and_measured() {
    let report = runner(Some("key"))
        .run(job(config(), payload(event("a"))))
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.outputs.len(), 2);
    assert_eq!((report.metrics.records_in, report.metrics.records_out), (1, 2));
    assert!(report.metrics.duration_ms > 0.0 && report.metrics.peak_memory_bytes > 0);
    assert_eq!(status(&report, "secrets"), CheckStatus::Passed);
    assert!(!report.logs.is_empty() && report.tests.is_empty() && report.comparison.is_none());
}

#[tokio::test]
async fn lines_are_events_and_a_bad_one_is_a_dead_letter() {
    let noise = json!({"id": "n", "name": "noise", "sev": 5, "ts": 1_700_000_000});
    let body = format!("{}\nnot json\n{noise}\n", event("a"));
    let input = TestInput::Payload {
        body,
        content_type: Some("application/x-ndjson".to_owned()),
    };
    let report = runner(Some("key")).run(job(config(), input)).await.unwrap();
    assert!(!report.ok);
    assert_eq!(
        (report.metrics.records_in, report.metrics.records_filtered),
        (3, 1)
    );
    assert_eq!((report.outputs.len(), report.dead_letters.len()), (2, 1));
    assert!(report.dead_letters[0].record.ends_with("/0"));
}

#[tokio::test]
async fn each_record_has_its_verdict_and_past_events_are_what_they_were() {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    use halcyon_domain::{
        event::{EventId, Verdict},
        test_run::PastEvent,
    };

    let noise = json!({"id": "n", "name": "noise", "sev": 5, "ts": 1_700_000_000});
    let nameless = json!({"id": "x", "sev": 70, "ts": 1_700_000_000, "host": "web-1"});
    let past = |id: &str, body: serde_json::Value| PastEvent {
        id: EventId::from(id.to_owned()),
        received_at: clock().now(),
        content_type: None,
        headers: [("x-kind".to_owned(), "late".to_owned())].into(),
        base64: BASE64.encode(body.to_string()),
    };
    let events = vec![past("one", json!([event("a"), noise])), past("two", nameless)];
    let mut run = job(config(), TestInput::Events { events });
    run.ticket = None;
    run.config["mapping"]["outputs"][0]["fields"]["category"] =
        json!({"from": "context", "expr": "headers.\"x-kind\""});
    run.compare_with = Some(run.config.clone());
    run.config["mapping"]["outputs"][0]["fields"]["title"] = json!({"expr": "name", "default": "untitled"});
    let report = runner(None).run(run).await.unwrap();
    let verdicts: Vec<_> = report
        .records
        .iter()
        .map(|record| (record.record.as_str(), record.verdict, record.objects))
        .collect();
    assert_eq!(
        verdicts,
        [
            ("one/0", Verdict::Delivered, 2),
            ("one/1", Verdict::Filtered, 0),
            ("two/0", Verdict::Delivered, 2)
        ],
        "{report:#?}"
    );
    assert!(format!("{:?}", report.outputs).contains("late"), "its headers");
    let comparison = report.comparison.unwrap();
    let [changed] = &comparison.verdicts[..] else {
        panic!("{comparison:?}")
    };
    assert_eq!(
        (changed.record.as_str(), changed.before, changed.after),
        ("two/0", Some(Verdict::DeadLettered), Some(Verdict::Delivered))
    );
    assert_eq!((comparison.outputs.len(), comparison.dead_letters.len()), (2, 1));
}

#[tokio::test]
async fn what_is_wrong_with_the_configuration_is_said_at_its_place() {
    let mut broken = config();
    broken["connection"]["color"] = json!("red");
    broken["mapping"]["outputs"][0]["fields"]["title"] = json!("join(");
    let report = runner(None).run(job(broken, payload("{}"))).await.unwrap();
    assert!(!report.ok && report.outputs.is_empty() && report.checks.is_empty());
    let pointers: Vec<_> = report.errors.iter().map(|error| error.pointer.as_str()).collect();
    assert_eq!(pointers.len(), 2, "{pointers:?}");
    assert_eq!(pointers[0], "/connection/color");
    assert!(
        pointers[1].starts_with("/mapping/outputs/0/fields/title"),
        "{pointers:?}"
    );

    let mut unknown = job(config(), payload("{}"));
    unknown.connector = "nothing".to_owned();
    assert_eq!(
        runner(None).run(unknown).await.unwrap().errors[0].code,
        "unknown_connector"
    );
}

#[tokio::test]
async fn draft_and_published_are_compared_on_the_same_events() {
    let mut run = job(config(), payload(event("a")));
    let mut published = config();
    published["mapping"]["outputs"].as_array_mut().unwrap().pop();
    published["mapping"]["outputs"][0]["fields"]["title"] = json!("id");
    run.compare_with = Some(published);
    let comparison = runner(Some("key"))
        .run(run.clone())
        .await
        .unwrap()
        .comparison
        .unwrap();
    assert_eq!(
        (
            comparison.added.len(),
            comparison.removed.len(),
            comparison.changed.len()
        ),
        (1, 0, 1)
    );
    assert_eq!(comparison.changed[0].key, "a");
    assert_eq!(comparison.changed[0].patch[0]["path"], "/title");

    run.compare_with = Some(json!({"mapping": {}}));
    let report = runner(Some("key")).run(run).await.unwrap();
    assert!(
        report
            .errors
            .iter()
            .all(|error| error.pointer.starts_with("/compare_with/")),
        "{report:?}"
    );
    assert!(!report.errors.is_empty());
}

#[tokio::test]
async fn a_missing_secret_fails_a_connection_test_but_not_a_mapping_test() {
    for secret in [None, Some("unavailable")] {
        let report = runner(secret).run(job(config(), TestInput::None)).await.unwrap();
        assert!(!report.ok);
        assert_eq!(status(&report, "secrets"), CheckStatus::Failed);
        let report = runner(secret)
            .run(job(config(), payload(event("a"))))
            .await
            .unwrap();
        assert!(report.ok, "{report:#?}");
        assert_eq!(status(&report, "secrets"), CheckStatus::Skipped);
        let warning = report
            .warnings
            .iter()
            .find(|warning| warning.code == "secret_missing")
            .unwrap();
        assert_eq!(warning.pointer, "/connection/auth/secret");
    }
    let report = runner(Some("canary-value"))
        .run(job(config(), TestInput::None))
        .await
        .unwrap();
    assert!(report.ok && !format!("{report:?}").contains("canary"));
}

#[tokio::test]
async fn stored_tests_run_in_order() {
    let mut tested = config();
    tested["tests"] = json!([
        {"name": "high", "payload": event("a"), "expect": {"alerts": [{"severity": "high", "time": "2023-11-14T23:13:20+01:00"}]}},
        {"name": "low", "payload": event("a"), "expect": {"alerts": [{"severity": "low"}]}},
        {"name": "noise", "payload": "{\"sev\": 1}", "expect": {"verdict": "filtered"}},
        {"name": "empty", "payload": "", "expect": {}},
    ]);
    let report = runner(Some("key"))
        .run(job(tested, TestInput::None))
        .await
        .unwrap();
    assert!(!report.ok);
    let passed: Vec<_> = report
        .tests
        .iter()
        .map(|test| (test.name.as_str(), test.passed))
        .collect();
    assert_eq!(
        passed,
        [("high", true), ("low", false), ("noise", true), ("empty", false)]
    );
    assert_eq!(report.tests[1].failures[0].pointer, "/alerts/0/severity");
    assert_eq!(report.tests[3].failures[0].code, "empty_body");
}

#[tokio::test(start_paused = true)]
async fn a_sample_comes_from_the_live_source() {
    let mapping = json!({"outputs": [{"kind": "alert", "fields": {"external_id": "id", "title": "title", "severity": "severity",
        "time": {"expr": "time", "as": "timestamp"}}}]});
    let config = |rate: f64| json!({"connection": {"records_per_second": rate}, "mapping": mapping});
    let mut run = job(config(100.0), TestInput::FetchSample { records: 5 });
    run.connector = "generator".to_owned();
    let report = runner(None).run(run.clone()).await.unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.outputs.len(), 5);
    // Too slow: what came in time is the sample.
    run.config = config(0.5);
    let report = runner(None).run(run).await.unwrap();
    assert!(report.ok && (1..5).contains(&report.outputs.len()), "{report:#?}");
    assert!(
        report
            .warnings
            .iter()
            .any(|warning| warning.code == "sample_incomplete")
    );

    let report = runner(None)
        .run(job(super::config(), TestInput::FetchSample { records: 5 }))
        .await
        .unwrap();
    assert_eq!(report.errors[0].code, "unsupported");
}

#[tokio::test]
async fn payloads_and_reports_have_limits() {
    let settings = Settings {
        max_payload: 10,
        ..Settings::default()
    };
    let small = Runner::new(settings, clock(), guard(), Arc::new(Fixed(None)), None);
    let report = small.run(job(config(), payload(event("a")))).await.unwrap();
    assert_eq!(
        (report.errors[0].pointer.as_str(), report.errors[0].code.as_str()),
        ("/payload", "too_large")
    );

    let lines: Vec<String> = (0..500).map(|n| event(&n.to_string()).to_string()).collect();
    let input = TestInput::Payload {
        body: lines.join("\n"),
        content_type: Some("application/jsonl".to_owned()),
    };
    let report = runner(Some("key")).run(job(config(), input)).await.unwrap();
    assert_eq!(report.outputs.len(), 1000);
    let cut = report::fit(report.clone(), 20_000);
    assert!(serde_json::to_vec(&cut).unwrap().len() <= 20_000);
    assert!(!cut.outputs.is_empty() && cut.warnings[0].code == "truncated");
    assert_eq!(cut.metrics.records_out, 1000);
    assert_eq!(report::fit(report.clone(), usize::MAX), report);
}
