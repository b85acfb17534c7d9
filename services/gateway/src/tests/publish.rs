//! Publishing, rolling back, operating, testing, secrets.

use halcyon_domain::{
    access::{Role, Scope},
    error::InputError,
    test_run::{StoredTestResult, TestReport},
};
use serde_json::{Value, json};

use super::support::{Gateway, config};

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
        feed.call("POST", "/publish", json!({"comment": "go"}))
            .await
            .expect(200);
        feed
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> super::support::Answer {
        self.gateway
            .call(&self.token, method, &format!("{}{path}", self.path), Some(body))
            .await
    }

    async fn get(&self, path: &str) -> Value {
        self.gateway
            .call(&self.token, "GET", &format!("{}{path}", self.path), None)
            .await
            .expect(200)
    }
}

#[tokio::test]
async fn a_publish_needs_its_secrets_and_then_takes_effect() {
    let feed = Feed::draft().await;
    let refused = feed.call("POST", "/publish", json!({})).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/config/connection/auth/secret");
    assert_eq!(refused["errors"][0]["code"], "secret_missing");
    assert_eq!(feed.get("").await["status"], "draft");

    feed.call("PUT", "/secrets/token", json!({"value": "s3cret"}))
        .await
        .expect(200);
    assert_eq!(feed.gateway.stand.secrets.lock().unwrap()["token"], b"s3cret");
    let version = feed
        .call("POST", "/publish", json!({"comment": "go"}))
        .await
        .expect(200);
    assert_eq!(
        (&version["state"], &version["number"], &version["comment"]),
        (&json!("published"), &json!(1), &json!("go"))
    );
    let now = feed.get("").await;
    assert_eq!(
        (&now["status"], &now["current_version"], &now["draft_version"]),
        (&json!("active"), &json!(1), &Value::Null)
    );
    assert_eq!(
        (&now["desired_state"], &now["generation"]),
        (&json!("running"), &json!(1))
    );
    let entry = feed.gateway.trail().await.pop().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.version),
        ("datasource.publish", Some(1))
    );
    let notice = feed.gateway.notices().await.pop().unwrap();
    assert_eq!(notice.generation, 1);
    assert_eq!(
        feed.call("POST", "/publish", json!({})).await.expect(409)["type"],
        "urn:halcyon:problem:no_draft"
    );
    feed.call("POST", "/publish", json!({"version": 1}))
        .await
        .expect(409);
}

#[tokio::test]
async fn a_broken_version_is_refused_and_the_one_before_stays() {
    let feed = Feed::published().await;
    feed.call("POST", "/versions", json!({"config": config("join(")}))
        .await
        .expect(201);
    let refused = feed.call("POST", "/publish", json!({})).await.expect(422);
    let pointer = refused["errors"][0]["pointer"].as_str().unwrap();
    assert!(
        pointer.starts_with("/config/mapping/outputs/0/fields/title"),
        "{refused}"
    );
    let now = feed.get("").await;
    assert_eq!(
        (&now["current_version"], &now["draft_version"], &now["generation"]),
        (&json!(1), &json!(2), &json!(1))
    );
    assert_eq!(feed.get("/versions/1").await["state"], "published");
    assert_eq!(feed.get("/versions/2").await["state"], "draft");
}

#[tokio::test]
async fn a_red_stored_test_blocks_and_no_runner_is_503() {
    let feed = Feed::published().await;
    let mut tested = config("name");
    tested["tests"] = json!([{"name": "title", "payload": {}, "expect": {"counts": {"alert": 1}}}]);
    feed.call("POST", "/versions", json!({"config": tested}))
        .await
        .expect(201);
    assert_eq!(
        feed.call("POST", "/publish", json!({})).await.status,
        503,
        "no runner"
    );
    let failures = vec![InputError::new("/counts/alert", "mismatch", "0, not 1")];
    let tests = vec![StoredTestResult {
        name: "title".into(),
        passed: false,
        failures,
    }];
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        tests,
        ..TestReport::default()
    });
    let refused = feed.call("POST", "/publish", json!({})).await.expect(422);
    assert_eq!(
        refused["errors"][0]["pointer"],
        "/config/tests/0/expect/counts/alert"
    );
    let tests = vec![StoredTestResult {
        name: "title".into(),
        passed: true,
        failures: Vec::new(),
    }];
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        tests,
        ..TestReport::default()
    });
    feed.call("POST", "/publish", json!({})).await.expect(200);
    assert_eq!(feed.get("/versions/1").await["state"], "archived");
}

#[tokio::test]
async fn a_roll_back_is_a_new_version_with_the_old_configuration() {
    let feed = Feed::published().await;
    feed.call("POST", "/versions", json!({"config": config("name")}))
        .await
        .expect(201);
    feed.call("POST", "/rollback", json!({"version": 2}))
        .await
        .expect(409);
    feed.call("POST", "/publish", json!({})).await.expect(200);
    feed.call("PUT", "/versions/1", json!({"config": config("x")}))
        .await
        .expect(409);
    feed.call("POST", "/versions", json!({"config": config("draft")}))
        .await
        .expect(201);
    let back = feed
        .call("POST", "/rollback", json!({"version": 1, "comment": "back"}))
        .await
        .expect(200);
    assert_eq!(
        (&back["number"], &back["state"], &back["config"]),
        (&json!(4), &json!("published"), &config("title"))
    );
    let now = feed.get("").await;
    assert_eq!(
        (&now["current_version"], &now["draft_version"]),
        (&json!(4), &Value::Null)
    );
    feed.call("POST", "/rollback", json!({"version": 9}))
        .await
        .expect(404);
}

#[tokio::test]
async fn operations_change_what_is_desired_once() {
    let feed = Feed::draft().await;
    feed.call("POST", "/start", json!({})).await.expect(409);
    feed.call("POST", "/enable", json!({})).await.expect(409);
    let feed = Feed::published().await;
    let generation = async |path: &str| {
        let view = feed.call("POST", path, json!({})).await.expect(202);
        view["generation"].as_i64().unwrap()
    };
    assert_eq!(generation("/start").await, 1, "it is running already");
    assert_eq!(generation("/stop").await, 2);
    assert_eq!(generation("/stop").await, 2);
    assert_eq!(generation("/start").await, 3);
    assert_eq!(generation("/restart").await, 4);
    assert_eq!(generation("/reload").await, 5);
    assert_eq!(generation("/disable").await, 6);
    feed.call("POST", "/stop", json!({})).await.expect(409);
    assert_eq!(feed.get("").await["status"], "disabled");
    assert_eq!(generation("/enable").await, 7);
    feed.call("POST", "/stop", json!({"now": true})).await.expect(422);
    let trail = feed.gateway.trail().await;
    assert_eq!(
        trail
            .iter()
            .filter(|entry| entry.action == "datasource.stop")
            .count(),
        2
    );
}

#[tokio::test]
async fn a_test_run_gets_what_it_needs_and_is_audited() {
    let feed = Feed::published().await;
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        ..TestReport::default()
    });
    let body = json!({"version": 1, "payload": {"id": 1}, "compare_with": 1});
    assert_eq!(feed.call("POST", "/test", body).await.expect(200)["ok"], true);
    let job = feed.gateway.stand.jobs.lock().unwrap().pop().unwrap();
    assert_eq!(job.ticket.as_deref(), Some("ticket for token"));
    assert_eq!(
        (job.config, job.compare_with),
        (config("title"), Some(config("title")))
    );
    let unfit = [
        json!({"version": 1, "config": {}}),
        json!({"version": 9}),
        json!({"payload": 1, "fetch_sample": 1}),
        json!({"fetch_sample": 0}),
        json!({"colour": "red"}),
    ];
    for body in unfit {
        feed.call("POST", "/test", body).await.expect(422);
    }
    let entry = feed.gateway.trail().await.pop().unwrap();
    assert_eq!(entry.action, "datasource.test");
}

#[tokio::test]
async fn an_operator_says_what_is_tried_but_not_where_secrets_go() {
    let feed = Feed::published().await;
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        ..TestReport::default()
    });
    let everywhere = Scope::Organization(feed.gateway.organization);
    let operator = feed.gateway.user(Role::Operator, everywhere).await;
    let path = format!("{}/test", feed.path);
    let test = |token: String, config: Value| {
        let body = json!({"config": config, "payload": {"id": 1}});
        let (gateway, path) = (&feed.gateway, path.as_str());
        async move { gateway.call(&token, "POST", path, Some(body)).await }
    };
    // Another mapping over the connection in effect, and a connection without secrets.
    test(operator.clone(), config("name")).await.expect(200);
    test(
        operator.clone(),
        json!({"connection": {"auth": {"type": "none"}}}),
    )
    .await
    .expect(200);
    // Another connection, or a secret beside it, takes the right to write one.
    let mut elsewhere = config("title");
    elsewhere["connection"]["auth"]["type"] = json!("api_key");
    let mut beside = config("title");
    beside["mapping"]["lookup"] = json!({"$secret": "token"});
    for config in [elsewhere, beside] {
        let refused = test(operator.clone(), config.clone()).await.expect(403);
        assert!(refused["detail"].as_str().unwrap().contains("datasource.update"));
        test(feed.gateway.admin(), config).await.expect(200);
    }
    assert_eq!(feed.gateway.refusals(), ["datasource.test", "datasource.test"]);
}

#[tokio::test]
async fn an_operator_fetches_only_from_where_the_feed_reads() {
    let feed = Feed::published().await;
    *feed.gateway.stand.report.lock().unwrap() = Some(TestReport {
        ok: true,
        ..TestReport::default()
    });
    let everywhere = Scope::Organization(feed.gateway.organization);
    let operator = feed.gateway.user(Role::Operator, everywhere).await;
    let path = format!("{}/test", feed.path);
    let fetch = |token: String, config: Value| {
        let body = json!({"config": config, "fetch_sample": 5});
        let (gateway, path) = (&feed.gateway, path.as_str());
        async move { gateway.call(&token, "POST", path, Some(body)).await }
    };
    // Another mapping over the connection in effect.
    fetch(operator.clone(), config("name")).await.expect(200);
    // Another connection takes the right to write one, also where no secret goes there.
    let mut elsewhere = config("title");
    elsewhere["connection"] = json!({"provider": "local", "bucket": "/srv/others"});
    let refused = fetch(operator.clone(), elsewhere.clone()).await.expect(403);
    assert!(refused["detail"].as_str().unwrap().contains("datasource.update"));
    assert_eq!(feed.gateway.stand.jobs.lock().unwrap().len(), 1);
    fetch(feed.gateway.admin(), elsewhere).await.expect(200);
    // What is stored somebody with that right has written.
    let body = json!({"version": 1, "fetch_sample": 5});
    feed.gateway
        .call(&operator, "POST", &path, Some(body))
        .await
        .expect(200);
}

#[tokio::test]
async fn secrets_go_in_and_never_come_out() {
    let feed = Feed::published().await;
    let list = feed.get("/secrets").await;
    assert_eq!(list["items"][0]["name"], "token");
    assert!(!list.to_string().contains("s3cret"));
    feed.call("PUT", "/secrets/a%20b", json!({"value": "x"}))
        .await
        .expect(422);
    feed.call("PUT", "/secrets/a", json!({"value": ""}))
        .await
        .expect(422);
    feed.call(
        "PUT",
        "/secrets/a",
        json!({"value": "x", "expires_at": "2001-01-01T00:00:00Z"}),
    )
    .await
    .expect(422);
    let unknown = feed
        .call("PUT", "/secrets/a", json!({"valu": "hunter2"}))
        .await
        .expect(422);
    assert!(!unknown.to_string().contains("hunter2"));
    assert_eq!(feed.call("DELETE", "/secrets/token", json!({})).await.status, 204);
    feed.call("DELETE", "/secrets/token", json!({})).await.expect(404);
    *feed.gateway.stand.down.lock().unwrap() = true;
    let answer = feed.call("PUT", "/secrets/a", json!({"value": "x"})).await;
    assert!(!answer.header("retry-after").is_empty());
    answer.expect(503);
}
