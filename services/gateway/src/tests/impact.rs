//! What a publish would do, and what stands against it.

use chrono::TimeDelta;
use halcyon_domain::{
    audit::{Actor, ActorKind},
    error::InputError,
    id::SampleId,
    sample::{Sample, SampleOrigin},
    test_run::{Comparison, StoredTestResult, TestMetrics, TestReport},
};
use serde_json::json;

use super::{feed::Feed, support::config};

#[tokio::test]
async fn an_impact_tells_what_changes_and_what_is_in_the_way() {
    let feed = Feed::published().await;
    feed.call("POST", "/samples", json!({"name": "one", "payload": {"id": 1}}))
        .await
        .expect(201);
    let mut changed = config("name");
    changed["connection"]["auth"]["secret"]["$secret"] = json!("other");
    changed["tests"] = json!([{"name": "t", "payload": {}, "expect": {"counts": {"alert": 1}}}]);
    feed.call("POST", "/versions", json!({"config": changed}))
        .await
        .expect(201);
    feed.call("POST", "/versions/2/impact", json!({}))
        .await
        .expect(503);
    let failures = vec![InputError::new("/counts/alert", "mismatch", "0, not 1")];
    let red = StoredTestResult {
        name: "t".into(),
        passed: false,
        failures,
    };
    let object =
        serde_json::from_value(json!({"kind": "entity", "object": {"type": "host", "key": "a"}})).unwrap();
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        tests: vec![red],
        comparison: Some(Comparison {
            removed: vec![object],
            ..Comparison::default()
        }),
        metrics: TestMetrics {
            records_out: 4,
            ..TestMetrics::default()
        },
        ..TestReport::default()
    });
    let entries = feed.gateway.trail().await.len();
    let impact = feed
        .call("POST", "/versions/2/impact", json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&impact["effect"], &impact["checkpoint"], &impact["published"]),
        (&json!("hot_swap"), &json!("none"), &json!(1))
    );
    assert_eq!(impact["missing_secrets"], json!(["other"]));
    let codes: Vec<_> = impact["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| &error["code"])
        .collect();
    assert_eq!(codes, ["secret_missing", "test_failed"]);
    assert_eq!(
        (&impact["publishable"], &impact["tests"][0]["passed"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(
        (&impact["outputs"], &impact["outputs_changed"]),
        (&json!(5), &json!(1))
    );
    assert_eq!(impact["samples"][0]["name"], "one");
    assert_eq!(
        impact["approval"],
        json!({"required": false, "given": false, "id": null, "status": null})
    );
    assert!(
        impact["summary"].to_string().contains("secret `other`"),
        "{}",
        impact["summary"]
    );
    let job = feed.gateway.stand.jobs.lock().unwrap().pop().unwrap();
    assert_eq!((job.compare_with, job.ticket), (Some(config("title")), None));
    assert_eq!(
        feed.gateway.trail().await.len(),
        entries,
        "asking changes nothing"
    );
    assert_eq!(feed.get("").await["current_version"], 1);

    let none = feed
        .call("POST", "/versions/2/impact", json!({"samples": []}))
        .await
        .expect(200);
    assert_eq!(none["samples"], json!([]));
    let unknown = json!({"samples": [uuid::Uuid::now_v7()]});
    let unknown = feed.call("POST", "/versions/2/impact", unknown).await.expect(422);
    assert_eq!(unknown["errors"][0]["pointer"], "/samples/0");
    feed.call("POST", "/versions", json!({"config": config("join(")}))
        .await
        .expect(201);
    let broken = feed
        .call("POST", "/versions/3/impact", json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&broken["publishable"], &broken["samples"]),
        (&json!(false), &json!([]))
    );
    feed.call("POST", "/stop", json!({})).await.expect(202);
    let starts = feed
        .call("POST", "/versions/1/impact", json!({"samples": []}))
        .await
        .expect(200);
    assert_eq!(
        (&starts["effect"], &starts["starts"]),
        (&json!("nothing"), &json!(true))
    );
}

#[tokio::test]
async fn an_impact_looks_past_samples_that_a_mapping_made() {
    let feed = Feed::published().await;
    feed.call("POST", "/samples", json!({"name": "one", "payload": {"id": 1}}))
        .await
        .expect(201);
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport::default());
    let tenant = feed.gateway.organization.into();
    let tx = feed.gateway.store.begin().await.unwrap();
    for number in 0..20 {
        let made = Sample {
            id: SampleId::generate(),
            datasource: feed.id(),
            name: format!("made {number}"),
            content_type: None,
            note: None,
            origin: SampleOrigin::Mapped,
            origin_id: None,
            size: 2,
            created_by: Actor {
                kind: ActorKind::User,
                id: None,
                name: "ann".to_owned(),
            },
            created_at: feed.gateway.now() + TimeDelta::seconds(1),
        };
        tx.samples().insert(tenant, &made, b"[]".to_vec()).await.unwrap();
    }
    tx.commit().await.unwrap();
    let impact = feed
        .call("POST", "/versions/1/impact", json!({}))
        .await
        .expect(200);
    let names: Vec<_> = impact["samples"].as_array().unwrap().iter().collect();
    assert_eq!(names.len(), 1, "{impact}");
    assert_eq!(names[0]["name"], "one");
}

#[tokio::test]
async fn a_test_that_did_not_run_lets_nothing_through() {
    let feed = Feed::published().await;
    let mut tested = config("name");
    tested["tests"] = json!([{"name": "a", "payload": {}}, {"name": "b", "payload": {}}]);
    feed.call("POST", "/versions", json!({"config": tested}))
        .await
        .expect(201);
    let passed = StoredTestResult {
        name: "a".into(),
        passed: true,
        failures: Vec::new(),
    };
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        tests: vec![passed],
        ..TestReport::default()
    });
    feed.call("POST", "/publish", json!({})).await.expect(500);
    assert_eq!(feed.get("").await["current_version"], 1);
}
