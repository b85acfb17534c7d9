//! Bulk: each datasource by itself, and the others whatever becomes of one.

use halcyon_domain::{
    access::{Role, Scope},
    id::DatasourceId,
};
use serde_json::{Value, json};

use super::support::{Gateway, config};

struct Many {
    gateway: Gateway,
    admin: String,
    ids: Vec<String>,
}

impl Many {
    /// Three feeds, the first two of them published.
    async fn start() -> Self {
        let gateway = Gateway::start().await;
        let admin = gateway.admin();
        let mut ids = Vec::new();
        for name in ["a", "b", "c"] {
            let body = json!({"name": name, "type": "http_webhook", "tags": ["edr"], "config": config("t")});
            let made = gateway
                .call(&admin, "POST", "/datasources", Some(body))
                .await
                .expect(201);
            ids.push(made["id"].as_str().unwrap().to_owned());
        }
        let many = Self { gateway, admin, ids };
        let secret = format!("/datasources/{}/secrets/token", many.ids[0]);
        let value = json!({"value": "s3cret"});
        many.gateway
            .call(&many.admin, "PUT", &secret, Some(value))
            .await
            .expect(200);
        for id in &many.ids[..2] {
            let path = format!("/datasources/{id}/publish");
            many.gateway
                .call(&many.admin, "POST", &path, Some(json!({})))
                .await
                .expect(200);
        }
        many
    }

    async fn bulk(&self, body: Value) -> Value {
        self.by(&self.admin, body, 200).await
    }

    async fn by(&self, token: &str, body: Value, status: u16) -> Value {
        self.gateway
            .call(token, "POST", "/datasources/bulk", Some(body))
            .await
            .expect(status)
    }

    async fn get(&self, place: usize) -> Value {
        let path = format!("/datasources/{}", self.ids[place]);
        self.gateway
            .call(&self.admin, "GET", &path, None)
            .await
            .expect(200)
    }
}

fn outcomes(report: &Value) -> Vec<&str> {
    let items = report["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["outcome"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn one_that_fails_stops_no_other() {
    let many = Many::start().await;
    let stranger = uuid::Uuid::now_v7().to_string();
    let ids = json!([many.ids[2], many.ids[0], stranger, many.ids[1], many.ids[0]]);
    let before = many.gateway.trail().await.len();
    let report = many.bulk(json!({"action": "stop", "ids": ids})).await;
    assert_eq!(
        outcomes(&report),
        ["failed", "ok", "not_found", "ok"],
        "in their order, each once"
    );
    assert_eq!(
        (
            &report["ok"],
            &report["failed"],
            &report["not_found"],
            &report["skipped"]
        ),
        (&json!(2), &json!(1), &json!(1), &json!(0))
    );
    assert_eq!(report["items"][0]["code"], "invalid_transition");
    assert_eq!(report["items"][2]["name"], Value::Null);
    assert_eq!(many.get(0).await["desired_state"], "stopped");
    assert_eq!(
        many.gateway.trail().await.len(),
        before + 2,
        "an entry for each that was changed"
    );
    let again = many
        .bulk(json!({"action": "stop", "filter": {"status": "active"}}))
        .await;
    assert_eq!(outcomes(&again), ["skipped", "skipped"]);
    assert_eq!(many.gateway.trail().await.len(), before + 2);
}

#[tokio::test]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let many = Many::start().await;
    let everywhere = Scope::Organization(many.gateway.organization);
    let viewer = many.gateway.user(Role::Viewer, everywhere).await;
    let before = (many.gateway.trail().await.len(), many.gateway.refusals().len());
    for action in ["stop", "restart", "disable", "delete", "start", "publish"] {
        let body = json!({"action": action, "filter": {"tag": "edr"}, "dry_run": true});
        let report = many.bulk(body.clone()).await;
        let expected = match action {
            "start" => ["skipped", "skipped", "failed"],
            "delete" => ["ok", "ok", "ok"],
            "publish" => ["skipped", "skipped", "ok"],
            _ => ["ok", "ok", "failed"],
        };
        assert_eq!(outcomes(&report), expected, "{action}: {report}");
        let report = many.by(&viewer, body, 200).await;
        assert_eq!(outcomes(&report), ["refused"; 3], "{action}");
    }
    assert_eq!(
        (many.gateway.trail().await.len(), many.gateway.refusals().len()),
        before
    );
    assert_eq!(many.get(0).await["desired_state"], "running");
    let tried = many
        .by(&viewer, json!({"action": "stop", "ids": [many.ids[0]]}), 200)
        .await;
    assert_eq!(outcomes(&tried), ["refused"]);
    assert_eq!(
        many.gateway.refusals().len(),
        before.1 + 1,
        "what is tried is kept"
    );
}

#[tokio::test]
async fn tags_owner_and_project_are_changed_where_they_differ() {
    let many = Many::start().await;
    let change = json!({"add_tags": ["siem", "edr"], "remove_tags": ["old"], "owner": "soc"});
    let body = json!({"action": "update", "filter": {"q": "a"}, "change": change});
    assert_eq!(outcomes(&many.bulk(body.clone()).await), ["ok"]);
    let changed = many.get(0).await;
    assert_eq!(
        (&changed["tags"], &changed["owner"]),
        (&json!(["edr", "siem"]), &json!("soc"))
    );
    assert_eq!(outcomes(&many.bulk(body).await), ["skipped"]);
    let away = json!({"project": uuid::Uuid::now_v7()});
    for dry_run in [true, false] {
        let body = json!({"action": "update", "ids": [many.ids[0]], "change": away, "dry_run": dry_run});
        let report = many.bulk(body).await;
        assert_eq!(outcomes(&report), ["failed"], "{report}");
        assert_eq!(report["items"][0]["errors"][0]["code"], "unknown_value");
    }
    let bad = json!({"action": "update", "ids": [many.ids[0]], "change": {"add_tags": ["a\u{200b}b"]}});
    let bad = many.bulk(bad).await;
    assert_eq!(bad["items"][0]["errors"][0]["pointer"], "/change/add_tags");
}

#[tokio::test]
async fn drafts_are_published_and_datasources_deleted_together() {
    let many = Many::start().await;
    let body = json!({"action": "publish", "ids": many.ids, "comment": "together"});
    let report = many.bulk(body).await;
    assert_eq!(outcomes(&report), ["skipped", "skipped", "ok"], "{report}");
    assert_eq!(many.get(2).await["current_version"], 1);
    let report = many
        .bulk(json!({"action": "delete", "filter": {"type": "http_webhook"}}))
        .await;
    assert_eq!(outcomes(&report), ["ok"; 3]);
    let list = many
        .gateway
        .call(&many.admin, "GET", "/datasources", None)
        .await
        .expect(200);
    assert!(list["items"].as_array().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_for_the_caller_is_not_there() {
    let many = Many::start().await;
    let scope = Scope::Datasource(many.ids[1].parse::<DatasourceId>().unwrap());
    let token = many.gateway.user(Role::Operator, scope).await;
    let report = many
        .by(&token, json!({"action": "stop", "ids": many.ids}), 200)
        .await;
    assert_eq!(outcomes(&report), ["not_found", "ok", "not_found"]);
    assert!(!report.to_string().contains("\"a\""));
    let report = many
        .by(&token, json!({"action": "start", "filter": {"tag": "edr"}}), 200)
        .await;
    assert_eq!(outcomes(&report), ["ok"]);
}

#[tokio::test]
async fn a_request_that_is_not_clear_is_refused_whole() {
    let many = Many::start().await;
    let too_many: Vec<_> = (0..1_001).map(|_| uuid::Uuid::now_v7()).collect();
    for (body, pointer) in [
        (json!({"action": "stop"}), "/ids"),
        (
            json!({"action": "stop", "ids": many.ids, "filter": {"tag": "edr"}}),
            "/ids",
        ),
        (json!({"action": "stop", "ids": []}), "/ids"),
        (json!({"action": "stop", "ids": too_many}), "/ids"),
        (json!({"action": "stop", "filter": {}}), "/filter"),
        (
            json!({"action": "stop", "filter": {"colour": "red"}}),
            "/filter/colour",
        ),
        (json!({"action": "explode", "ids": many.ids}), "/action"),
        (json!({"action": "update", "ids": many.ids}), "/change"),
        (
            json!({"action": "stop", "ids": many.ids, "change": {"owner": "x"}}),
            "/change",
        ),
        (
            json!({"action": "stop", "ids": many.ids, "comment": "x"}),
            "/comment",
        ),
    ] {
        let refused = many.by(&many.admin, body, 422).await;
        assert_eq!(refused["errors"][0]["pointer"], pointer, "{refused}");
    }
    assert_eq!(many.get(0).await["desired_state"], "running");
}
