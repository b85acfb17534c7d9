//! Backfills and schedules: who may, what is refused, what is written to the trail.

use halcyon_domain::access::{Role, Scope};
use serde_json::{Value, json};

use super::support::{Gateway, config};

fn generator(schedule: Value) -> Value {
    let mut config = config("title");
    config["connection"] = json!({"records_per_second": 5});
    if !schedule.is_null() {
        config["schedule"] = schedule;
    }
    config
}

async fn made(gateway: &Gateway, kind: &str, config: Value) -> String {
    let body = json!({"name": kind, "type": kind, "config": config});
    let made = gateway
        .call(&gateway.admin(), "POST", "/datasources", Some(body))
        .await
        .expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_backfill_is_asked_for_by_an_operator_seen_and_cancelled() {
    let gateway = Gateway::start().await;
    let everywhere = || Scope::Organization(gateway.organization);
    let (viewer, operator) = (
        gateway.user(Role::Viewer, everywhere()).await,
        gateway.user(Role::Operator, everywhere()).await,
    );
    let id = made(&gateway, "generator", generator(Value::Null)).await;
    let path = format!("/datasources/{id}/backfill");
    let range =
        json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "records_per_second": 10});
    gateway
        .call(&viewer, "POST", &path, Some(range.clone()))
        .await
        .expect(403);
    gateway
        .call(&operator, "POST", &path, Some(range.clone()))
        .await
        .expect(409);
    let publish = format!("/datasources/{id}/publish");
    gateway
        .call(&gateway.admin(), "POST", &publish, Some(json!({})))
        .await
        .expect(200);
    for (wrong, pointer) in [
        (
            json!({"from": "2026-01-02T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
            "/to",
        ),
        (
            json!({"from": "2026-01-01T00:00:00Z", "to": "2999-01-01T00:00:00Z"}),
            "/to",
        ),
        (
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "records_per_second": 0}),
            "/records_per_second",
        ),
        (
            json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "version": 7}),
            "/version",
        ),
    ] {
        let refused = gateway
            .call(&operator, "POST", &path, Some(wrong))
            .await
            .expect(422);
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    let asked = gateway.call(&operator, "POST", &path, Some(range.clone())).await;
    let location = asked.header("location").to_owned();
    let job = asked.expect(202);
    assert_eq!(
        (&job["status"], &job["version"], &job["percent"]),
        (&json!("queued"), &json!(1), &Value::Null)
    );
    let one = location.strip_prefix("/api/v1").unwrap().to_owned();
    assert_eq!(
        gateway.call(&viewer, "GET", &one, None).await.expect(200)["id"],
        job["id"]
    );
    gateway
        .call(&operator, "POST", &path, Some(range.clone()))
        .await
        .expect(202);
    let listed = gateway
        .call(&viewer, "GET", &format!("{path}s"), None)
        .await
        .expect(200);
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);
    assert_eq!(listed["items"][1]["id"], job["id"], "the newest comes first");
    gateway.call(&viewer, "DELETE", &one, None).await.expect(403);
    for _ in 0..2 {
        let cancelled = gateway.call(&operator, "DELETE", &one, None).await.expect(200);
        assert_eq!(cancelled["status"], "cancelled");
        assert!(cancelled["finished_at"].is_string());
    }
    let trail = gateway.trail().await;
    let count = |action: &str| trail.iter().filter(|entry| entry.action == action).count();
    // Refusals for want of a role among them are published at once.
    assert_eq!((count("backfill.create"), count("backfill.cancel")), (2, 2));
    for _ in 0..19 {
        gateway
            .call(&operator, "POST", &path, Some(range.clone()))
            .await
            .expect(202);
    }
    let full = gateway
        .call(&operator, "POST", &path, Some(range))
        .await
        .expect(409);
    assert_eq!(full["type"], "urn:halcyon:problem:too_many_backfills");
}

#[tokio::test]
async fn what_is_pushed_is_neither_backfilled_nor_scheduled() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let id = made(&gateway, "http_webhook", config("title")).await;
    let path = format!("/datasources/{id}/backfill");
    let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"});
    let refused = gateway.call(&token, "POST", &path, Some(range)).await.expect(422);
    assert_eq!(refused["errors"][0]["code"], "no_backfill");
    assert!(
        refused["errors"][0]["detail"]
            .as_str()
            .unwrap()
            .contains("is sent its events")
    );
    let mut scheduled = config("title");
    scheduled["schedule"] = json!({"every": "1m"});
    let body = json!({"name": "scheduled", "type": "http_webhook", "config": scheduled});
    let refused = gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(422);
    assert_eq!(
        (&refused["errors"][0]["pointer"], &refused["errors"][0]["code"]),
        (&json!("/config/schedule"), &json!("not_scheduled"))
    );
}

#[tokio::test]
async fn a_schedule_is_checked_and_shown_ahead() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let validate = async |schedule: Value| {
        let body = json!({"name": "timed", "type": "generator", "config": generator(schedule)});
        gateway
            .call(&token, "POST", "/datasources/validate", Some(body))
            .await
    };
    let wrong = json!({"cron": "0 25 * * *", "timezone": "Europe/Berlin"});
    let refused = validate(wrong).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/config/schedule/cron");
    let shown = validate(json!({"cron": "30 6 * * *", "timezone": "UTC"}))
        .await
        .expect(200);
    let times = shown["next_runs"].as_array().unwrap();
    assert_eq!(times.len(), 5);
    assert!(
        times
            .iter()
            .all(|time| time.as_str().unwrap().ends_with("T06:30:00Z")),
        "{times:?}"
    );
    assert_eq!(
        validate(Value::Null).await.expect(200)["next_runs"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
}
