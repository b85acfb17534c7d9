//! Comments, archiving, samples, impact.

use bytes::Bytes;
use chrono::TimeDelta;
use halcyon_domain::{
    access::{Role, Scope},
    audit::{Actor, ActorKind},
    clock::Timestamp,
    error::InputError,
    event::{DeadLetter, EventId, IngestEvent},
    id::{DatasourceId, OrganizationId, SampleId},
    sample::{Sample, SampleOrigin},
    test_run::{Comparison, StoredTestResult, TestInput, TestMetrics, TestReport},
};
use serde_json::{Value, json};

use super::support::{Answer, Gateway, config};
use crate::app::StoredDeadLetter;

struct Feed {
    gateway: Gateway,
    token: String,
    path: String,
}

impl Feed {
    async fn draft() -> Self {
        let gateway = Gateway::start().await;
        let token = gateway.admin();
        let body = json!({"name": "EDR", "type": "http_webhook", "config": config("title")});
        let made = gateway
            .call(&token, "POST", "/datasources", Some(body))
            .await
            .expect(201);
        let path = format!("/datasources/{}", made["id"].as_str().unwrap());
        Self { gateway, token, path }
    }

    async fn published() -> Self {
        let feed = Self::draft().await;
        feed.call("PUT", "/secrets/token", json!({"value": "s3cret"}))
            .await
            .expect(200);
        feed.call("POST", "/publish", json!({})).await.expect(200);
        feed
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.by(&self.token, method, path, body).await
    }

    async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        self.gateway
            .call(token, method, &format!("{}{path}", self.path), Some(body))
            .await
    }

    async fn get(&self, path: &str) -> Value {
        self.gateway
            .call(&self.token, "GET", &format!("{}{path}", self.path), None)
            .await
            .expect(200)
    }

    async fn raw(&self, path: &str, body: &'static str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/api/v1{}{path}", self.path);
        self.gateway.send(&path, &headers, body).await
    }

    fn id(&self) -> DatasourceId {
        self.path.rsplit('/').next().unwrap().parse().unwrap()
    }
}

fn code(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}

#[tokio::test]
async fn a_thread_is_answered_settled_and_taken_up_again() {
    let feed = Feed::draft().await;
    let everywhere = Scope::Organization(feed.gateway.organization);
    let operator = feed.gateway.user(Role::Operator, everywhere).await;
    let viewer = feed.gateway.user(Role::Viewer, everywhere).await;
    const COMMENTS: &str = "/versions/1/comments";
    let body = json!({"body": "why this title?", "pointer": "/mapping/outputs/0/fields/title"});
    let root = feed.by(&operator, "POST", COMMENTS, body).await.expect(201);
    let path = format!("{COMMENTS}/{}", root["id"].as_str().unwrap());
    assert_eq!(root["thread"], root["id"]);
    let reply = json!({"body": "the vendor's own", "reply_to": root["id"]});
    let reply = feed.call("POST", COMMENTS, reply).await.expect(201);
    assert_eq!((&reply["thread"], &reply["reply_to"]), (&root["id"], &root["id"]));

    let foreign = feed.call("PUT", &path, json!({"body": "x"})).await.expect(403);
    assert_eq!(code(&foreign), "not_yours");
    let edited = feed
        .by(&operator, "PUT", &path, json!({"body": "why that title?"}))
        .await;
    let edited = edited.expect(200);
    assert_eq!(
        (&edited["body"], &edited["revision"]),
        (&json!("why that title?"), &json!(2))
    );
    assert!(edited["edited_at"].is_string());

    let on_reply = format!("{COMMENTS}/{}/resolve", reply["id"].as_str().unwrap());
    assert_eq!(
        code(&feed.call("POST", &on_reply, json!({})).await.expect(409)),
        "not_a_thread"
    );
    let settled = feed
        .call("POST", &format!("{path}/resolve"), json!({}))
        .await
        .expect(200);
    assert!(settled["resolved_at"].is_string() && settled["resolved_by"]["kind"] == "user");
    let open = feed
        .call("POST", &format!("{path}/reopen"), json!({}))
        .await
        .expect(200);
    assert!(open["resolved_at"].is_null());

    feed.by(&operator, "DELETE", &path, json!({})).await.expect(204);
    let list = feed.get(COMMENTS).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "its place stays");
    assert_eq!(
        (&list["items"][0]["body"], &list["items"][0]["pointer"]),
        (&json!(""), &Value::Null)
    );
    feed.by(&operator, "PUT", &path, json!({"body": "x"}))
        .await
        .expect(404);
    let gone = json!({"body": "x", "reply_to": root["id"]});
    feed.call("POST", COMMENTS, gone).await.expect(422);
    for unfit in [
        json!({"body": " "}),
        json!({"body": "x".repeat(4_001)}),
        json!({"body": "x", "pointer": "/nothing"}),
        json!({"text": "x"}),
    ] {
        feed.call("POST", COMMENTS, unfit).await.expect(422);
    }
    feed.call("POST", "/versions/9/comments", json!({"body": "x"}))
        .await
        .expect(404);
    feed.by(&viewer, "POST", COMMENTS, json!({"body": "x"}))
        .await
        .expect(403);
    let trail = feed.gateway.trail().await;
    let of = |action: &str| trail.iter().filter(|entry| entry.action == action).count();
    assert_eq!(
        (of("comment.create"), of("comment.update"), of("comment.delete")),
        (2, 1, 1)
    );
    assert!(
        !format!("{trail:?}").contains("vendor's own"),
        "what is said stays where it is said"
    );
}

#[tokio::test]
async fn comments_on_an_approval_stand_with_those_on_its_version() {
    let feed = Feed::draft().await;
    let asked = feed.call("POST", "/approvals", json!({})).await.expect(201);
    let path = format!("/approvals/{}/comments", asked["id"].as_str().unwrap());
    let made = feed.call("POST", &path, json!({"body": "looks fine"})).await;
    let location = made.header("location").to_owned();
    assert_eq!(made.expect(201)["approval"], asked["id"]);
    feed.call("POST", "/versions/1/comments", json!({"body": "one more"}))
        .await
        .expect(201);
    assert_eq!(feed.get(&path).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        feed.get("/versions/1/comments").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let at = location
        .strip_prefix("/api/v1")
        .unwrap()
        .strip_prefix(&feed.path)
        .unwrap();
    assert_eq!(feed.get(at).await["body"], "looks fine");
    let nobody = format!("/approvals/{}/comments", uuid::Uuid::now_v7());
    feed.call("POST", &nobody, json!({"body": "x"})).await.expect(404);
}

#[tokio::test]
async fn a_draft_is_archived_and_a_published_version_is_not() {
    let feed = Feed::published().await;
    for title in ["name", "other"] {
        let body = json!({"config": config(title)});
        feed.call("POST", "/versions", body).await.expect(201);
    }
    feed.call("POST", "/versions/1/archive", json!({}))
        .await
        .expect(409);
    let archived = feed
        .call("POST", "/versions/3/archive", json!({"comment": "not now"}))
        .await
        .expect(200);
    assert_eq!(
        (&archived["state"], &archived["published_at"]),
        (&json!("archived"), &Value::Null)
    );
    assert_eq!(feed.get("").await["draft_version"], 2);
    feed.call("POST", "/versions/3/archive", json!({}))
        .await
        .expect(409);
    feed.call("PUT", "/versions/3", json!({"comment": "x"}))
        .await
        .expect(409);
    feed.call("POST", "/publish", json!({"version": 3}))
        .await
        .expect(409);
    feed.call("POST", "/versions/2/archive", json!({}))
        .await
        .expect(200);
    assert_eq!(feed.get("").await["draft_version"], Value::Null);
    let entry = feed.gateway.trail().await.pop().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.version),
        ("version.archive", Some(2))
    );
}

#[tokio::test]
async fn a_sample_is_kept_byte_for_byte() {
    let feed = Feed::draft().await;
    let exact = feed
        .raw(
            "/samples",
            r#"{"name": "big", "payload": {"n": 123456789012345678901234567890, "x": 1.10}}"#,
        )
        .await
        .expect(201);
    assert_eq!(
        (&exact["origin"], &exact["content_type"]),
        (&json!("manual"), &json!("application/json"))
    );
    let at = |made: &Value| format!("/samples/{}", made["id"].as_str().unwrap());
    assert_eq!(
        feed.get(&at(&exact)).await["payload"],
        r#"{"n": 123456789012345678901234567890, "x": 1.10}"#
    );
    let text = json!({"name": "text", "payload": "a=1&b=\u{0}", "content_type": "application/x-www-form-urlencoded"});
    let text = feed.call("POST", "/samples", text).await.expect(201);
    assert_eq!(feed.get(&at(&text)).await["payload"], "a=1&b=\u{0}");
    let bytes = json!({"name": "bytes", "payload_base64": "AJ//"});
    let bytes = feed.call("POST", "/samples", bytes).await.expect(201);
    assert_eq!(feed.get(&at(&bytes)).await["payload_base64"], "AJ//");
    let preset = json!({"name": "catalog", "preset": "github_audit"});
    let preset = feed.call("POST", "/samples", preset).await.expect(201);
    assert_eq!(
        (&preset["origin"], &preset["origin_id"]),
        (&json!("catalog"), &json!("github_audit"))
    );

    let taken = feed
        .call("POST", "/samples", json!({"name": "big", "payload": 1}))
        .await;
    assert_eq!(code(&taken.expect(409)), "name_taken");
    for unfit in [
        json!({"name": "x"}),
        json!({"name": "x", "payload": 1, "preset": "github_audit"}),
        json!({"name": "x", "payload_base64": "?"}),
        json!({"name": "x", "preset": "nobody"}),
        json!({"name": "x", "dead_letter": "7"}),
        json!({"name": "", "payload": 1}),
        json!({"name": "x", "payload": "x".repeat(1024 * 1024 + 1)}),
        json!({"name": "x", "payload": 1, "colour": "red"}),
    ] {
        feed.call("POST", "/samples", unfit).await.expect(422);
    }
    let list = feed.get("/samples?sort=name").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
    assert!(list["items"][0].get("payload").is_none());
    let entry = feed.gateway.trail().await;
    assert_eq!(
        entry
            .iter()
            .filter(|entry| entry.action == "sample.create")
            .count(),
        4
    );

    feed.call("DELETE", &at(&text), json!({})).await.expect(204);
    feed.call("DELETE", &at(&text), json!({})).await.expect(404);
    let viewer = Scope::Organization(feed.gateway.organization);
    let viewer = feed.gateway.user(Role::Viewer, viewer).await;
    let hidden = feed
        .gateway
        .call(&viewer, "GET", &format!("{}/samples", feed.path), None)
        .await;
    hidden.expect(403);
}

#[tokio::test]
async fn a_dead_letter_becomes_a_sample_and_a_test_names_it() {
    let feed = Feed::published().await;
    let event = IngestEvent {
        id: EventId::generate(),
        organization: feed.gateway.organization,
        datasource: feed.id(),
        received_at: Timestamp::default(),
        content_type: Some("text/plain".into()),
        headers: Default::default(),
        attempt: 0,
        replay: None,
        payload: Bytes::from_static(b"\xff{"),
    };
    let letter = DeadLetter {
        event,
        index: 0,
        version: 1,
        failure: InputError::new("", "invalid", "no JSON"),
        failed_at: Timestamp::default(),
        complete: true,
    };
    let stored = StoredDeadLetter { sequence: 7, letter };
    feed.gateway.stand.dead_letters.lock().unwrap().push(stored);
    let body = json!({"name": "broken", "dead_letter": "7", "note": "look"});
    let sample = feed.call("POST", "/samples", body).await.expect(201);
    assert_eq!(
        (
            &sample["origin"],
            &sample["origin_id"],
            &sample["content_type"],
            &sample["size"]
        ),
        (
            &json!("dead_letter"),
            &json!("7"),
            &json!("text/plain"),
            &json!(2)
        )
    );
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        ..TestReport::default()
    });
    feed.call("POST", "/test", json!({"sample": sample["id"]}))
        .await
        .expect(200);
    let job = feed.gateway.stand.jobs.lock().unwrap().pop().unwrap();
    let expected = TestInput::Bytes {
        base64: "/3s=".into(),
        content_type: Some("text/plain".into()),
    };
    assert_eq!(job.input, expected);
    for unfit in [
        json!({"sample": uuid::Uuid::now_v7()}),
        json!({"sample": sample["id"], "payload": 1}),
    ] {
        feed.call("POST", "/test", unfit).await.expect(422);
    }
    feed.call("DELETE", "", json!({})).await.expect(204);
    let tenant = OrganizationId(feed.gateway.organization.0).into();
    let left = feed
        .gateway
        .store
        .read()
        .samples()
        .usage(tenant, feed.id())
        .await
        .unwrap();
    assert_eq!(left, (0, 0));
}

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
