//! Datasources and their drafts.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use halcyon_domain::datasource::DatasourceEventKind;
use serde_json::{Value, json};

use super::support::{Gateway, config};

async fn created(gateway: &Gateway, token: &str, name: &str) -> Value {
    let body = json!({"name": name, "type": "http_webhook", "config": config("title"), "tags": ["edr"]});
    gateway
        .call(token, "POST", "/datasources", Some(body))
        .await
        .expect(201)
}

#[tokio::test]
async fn a_datasource_is_made_with_its_first_draft_and_leaves_its_trail() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let made = created(&gateway, &token, "EDR").await;
    assert_eq!(
        (&made["status"], &made["draft_version"], &made["current_version"]),
        (&json!("draft"), &json!(1), &Value::Null)
    );
    assert_eq!(made["project"], json!(gateway.project));
    assert_eq!(made["state"]["status"], "INIT");
    let id = made["id"].as_str().unwrap();
    let answer = gateway
        .call(&token, "GET", &format!("/datasources/{id}"), None)
        .await;
    assert_eq!(answer.header("etag"), "\"1\"");
    assert_eq!(answer.expect(200), made);
    let version = gateway
        .call(&token, "GET", &format!("/datasources/{id}/versions/1"), None)
        .await
        .expect(200);
    assert_eq!(
        (&version["state"], &version["config"]),
        (&json!("draft"), &config("title"))
    );

    let (trail, notices) = (gateway.trail().await, gateway.notices().await);
    assert_eq!((trail.len(), notices.len()), (1, 1), "one entry, one notice");
    assert_eq!(trail[0].action, "datasource.create");
    assert_eq!(trail[0].resource.id.as_deref(), Some(id));
    assert!(trail[0].diff.is_some());
    let cause = notices[0].cause.as_ref().unwrap();
    assert_eq!(
        (cause.kind, cause.version),
        (DatasourceEventKind::Created, Some(1))
    );
    assert_eq!(cause.actor.as_deref(), Some("admin@example.org"));
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let post = async |body: Value| gateway.call(&token, "POST", "/datasources", Some(body)).await;
    let pointer = |problem: &Value| {
        problem["errors"][0]["pointer"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let unfit = [
        (json!({"type": "http_webhook"}), "/name"),
        (json!({"name": "", "type": "http_webhook"}), "/name"),
        (json!({"name": "n", "type": "carrier_pigeon"}), "/type"),
        (
            json!({"name": "n", "type": "http_webhook", "colour": "red"}),
            "/colour",
        ),
        (
            json!({"name": "n", "type": "http_webhook", "tags": ["a b"]}),
            "/tags/0",
        ),
        (json!({"name": "n", "type": "http_webhook", "tags": "a"}), "/tags"),
        (
            json!({"name": "n", "type": "http_webhook", "config": {"maping": {}}}),
            "/config/maping",
        ),
        (
            json!({"name": "n", "type": "http_webhook",
                "config": {"connection": {"auth": {"type": "bearer", "secret": "plain"}}}}),
            "/config/connection/auth/secret",
        ),
    ];
    for (body, place) in unfit {
        let problem = post(body.clone()).await.expect(422);
        assert_eq!(pointer(&problem), place, "{body} -> {problem}");
        assert!(!problem.to_string().contains("\"plain\""));
    }
    created(&gateway, &token, "EDR").await;
    let again = json!({"name": "EDR", "type": "http_webhook"});
    assert_eq!(
        post(again.clone()).await.expect(409)["type"],
        "urn:halcyon:problem:name_taken"
    );
    let elsewhere = json!({"name": "EDR", "type": "http_webhook", "env": "staging"});
    post(elsewhere).await.expect(201);
    let query = gateway
        .call(&token, "GET", "/datasources?colour=red", None)
        .await
        .expect(400);
    assert_eq!(pointer(&query), "/colour");
    gateway
        .call(&token, "GET", "/datasources?limit=0", None)
        .await
        .expect(400);
    gateway
        .call(&token, "GET", "/datasources?sort=colour", None)
        .await
        .expect(400);
    gateway
        .call(&token, "GET", "/datasources?cursor=x", None)
        .await
        .expect(400);
}

#[tokio::test]
async fn a_list_comes_in_pages_and_by_filter() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    for name in ["a", "b", "c"] {
        created(&gateway, &token, name).await;
    }
    let mut names = Vec::new();
    let mut path = "/datasources?limit=2&sort=name".to_owned();
    loop {
        let page = gateway.call(&token, "GET", &path, None).await.expect(200);
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/datasources?limit=2&sort=name&cursor={cursor}");
    }
    assert_eq!(names, ["a", "b", "c"]);
    let found = gateway
        .call(&token, "GET", "/datasources?tag=edr&q=B&status=draft", None)
        .await
        .expect(200);
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    let none = gateway
        .call(&token, "GET", "/datasources?type=generator", None)
        .await
        .expect(200);
    assert_eq!(none["items"], json!([]));
}

#[tokio::test]
async fn a_change_merges_and_heeds_the_revision() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let made = created(&gateway, &token, "EDR").await;
    let path = format!("/api/v1/datasources/{}", made["id"].as_str().unwrap());
    let bearer = format!("Bearer {token}");
    let put = async |tag: &str, body: Value| {
        gateway
            .ask(
                "PUT",
                &path,
                &[("authorization", &bearer), ("if-match", tag)],
                Some(&body),
            )
            .await
    };
    let changed = put("\"1\"", json!({"description": "d", "tags": null}))
        .await
        .expect(200);
    assert_eq!(
        (&changed["description"], &changed["tags"], &changed["revision"]),
        (&json!("d"), &json!(["edr"]), &json!(2))
    );
    assert_eq!(
        put("\"1\"", json!({"description": "e"})).await.expect(412)["current_revision"],
        2
    );
    assert_eq!(
        put("nonsense", json!({"description": "e"})).await.expect(412)["current_revision"],
        2
    );
    assert_eq!(
        put("*", json!({"type": "generator"})).await.expect(422)["errors"][0]["code"],
        "immutable"
    );
    let changed = put("*", json!({"config": config("other")})).await.expect(200);
    assert_eq!(
        (&changed["draft_version"], &changed["generation"]),
        (&json!(1), &json!(0))
    );
    let trail = gateway.trail().await;
    assert_eq!(
        trail
            .iter()
            .filter(|entry| entry.action == "datasource.update")
            .count(),
        2
    );
}

#[tokio::test]
async fn drafts_are_edited_compared_and_kept_apart() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let made = created(&gateway, &token, "EDR").await;
    let base = format!("/datasources/{}/versions", made["id"].as_str().unwrap());
    let call = async |method: &str, path: &str, body: Option<Value>| {
        gateway.call(&token, method, &format!("{base}{path}"), body).await
    };
    let draft = json!({"config": config("name"), "comment": "second"});
    assert_eq!(call("POST", "", Some(draft)).await.expect(201)["number"], 2);
    let unfinished = json!({"config": config("join(")});
    assert_eq!(call("POST", "", Some(unfinished)).await.expect(201)["number"], 3);
    call("POST", "", Some(json!({"config": {"mapping": 7}})))
        .await
        .expect(422);
    let edited = call("PUT", "/2", Some(json!({"config": config("label")})))
        .await
        .expect(200);
    assert_eq!(
        (&edited["revision"], &edited["comment"]),
        (&json!(2), &json!("second"))
    );
    let diff = call("GET", "/1/diff/2", None).await.expect(200);
    assert_eq!(diff["patch"][0]["path"], "/mapping/outputs/0/fields/title");
    assert!(
        diff["summary"][0]
            .as_str()
            .unwrap()
            .contains("\"title\" to \"label\""),
        "{diff}"
    );
    call("GET", "/9/diff/2", None).await.expect(404);
    call("GET", "/x", None).await.expect(404);
    let list = call("GET", "?limit=2", None).await.expect(200);
    assert_eq!(
        (
            list["items"][0]["number"].as_u64(),
            list["next_cursor"].is_string()
        ),
        (Some(3), true)
    );
}

#[tokio::test]
async fn a_copy_is_a_draft_and_a_deleted_one_is_gone() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let made = created(&gateway, &token, "EDR").await;
    let path = format!("/datasources/{}", made["id"].as_str().unwrap());
    let copy = gateway
        .call(
            &token,
            "POST",
            &format!("{path}/clone"),
            Some(json!({"name": "EDR 2"})),
        )
        .await
        .expect(201);
    assert_eq!(
        (&copy["draft_version"], &copy["tags"]),
        (&json!(1), &json!(["edr"]))
    );
    gateway
        .call(
            &token,
            "POST",
            &format!("{path}/clone"),
            Some(json!({"name": "EDR"})),
        )
        .await
        .expect(409);
    assert_eq!(gateway.call(&token, "DELETE", &path, None).await.status, 204);
    gateway.call(&token, "GET", &path, None).await.expect(404);
    gateway.call(&token, "DELETE", &path, None).await.expect(404);
    created(&gateway, &token, "EDR").await;
    let kinds: Vec<_> = gateway
        .notices()
        .await
        .iter()
        .map(|notice| notice.cause.as_ref().unwrap().kind)
        .collect();
    assert!(kinds.contains(&DatasourceEventKind::Deleted));
}

#[tokio::test]
async fn a_datasource_can_be_checked_without_being_made() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let check = async |query: &str, body: Value| {
        let path = format!("/datasources/validate{query}");
        gateway.call(&token, "POST", &path, Some(body)).await
    };
    let config = json!({"connection": {"auth": {"type": "bearer", "secret": {"$secret": "t"}}}});
    let body = json!({"name": "EDR", "type": "http_webhook", "config": config});
    assert_eq!(
        check("", body.clone()).await.expect(200),
        json!({"secrets": ["t"], "next_runs": []})
    );
    // A draft may be unfinished, and what is published may not.
    let problem = check("?publishable=true", body).await.expect(422);
    assert_eq!(problem["errors"][0]["pointer"], "/config/mapping/outputs");
    let unfit = json!({"name": "", "type": "carrier_pigeon"});
    let problem = check("", unfit).await.expect(422);
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(2));
    let list = gateway
        .call(&token, "GET", "/datasources", None)
        .await
        .expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn a_cursor_of_anothers_making_is_refused() {
    let gateway = Gateway::start().await;
    let ask = async |path: &str, sort: &str, key: Value, id: Value| {
        let cursor = json!({"s": sort, "k": key, "i": id}).to_string();
        let cursor = URL_SAFE_NO_PAD.encode(cursor);
        let path = format!("{path}?sort={sort}&cursor={cursor}");
        gateway.call(&gateway.admin(), "GET", &path, None).await
    };
    let id = json!({"u": uuid::Uuid::nil()});
    for (sort, key) in [
        ("created_at", json!({"s": "x"})),
        ("created_at", json!({"n": 1})),
        ("created_at", json!({"t": i64::MAX})),
        ("created_at", json!({"t": -300_000_000_000_000_000_i64})),
        ("name", json!({"t": 1})),
        ("name", json!({"s": "a\0b"})),
    ] {
        let refused = ask("/datasources", sort, key.clone(), id.clone())
            .await
            .expect(400);
        assert_eq!(refused["errors"][0]["pointer"], "/cursor", "{key}");
    }
    ask("/datasources", "name", json!({"s": "a"}), json!({"s": "a"}))
        .await
        .expect(400);
    for (sort, key) in [("name", json!({"s": "a"})), ("created_at", json!({"t": 1}))] {
        ask("/datasources", sort, key, id.clone()).await.expect(200);
    }
}
