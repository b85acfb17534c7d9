//! What is at the ends: the catalog, the description, the documentation, probes, and paths that lead nowhere.

use serde_json::json;

use super::support::Gateway;

#[tokio::test]
async fn the_root_leads_to_the_documentation_which_is_all_here() {
    let gateway = Gateway::start().await;
    let root = gateway.ask("GET", "/", &[], None).await;
    assert_eq!((root.status, root.header("location")), (307, "/api/docs"));
    let page = gateway.ask("GET", "/api/docs", &[], None).await;
    assert!(
        page.header("content-security-policy")
            .contains("script-src 'self'")
    );
    assert!(page.header("content-type").starts_with("text/html"));
    for file in ["init.js", "swagger-ui.css", "swagger-ui-bundle.js"] {
        let answer = gateway.ask("GET", &format!("/api/docs/{file}"), &[], None).await;
        assert_eq!(answer.status, 200, "{file}");
    }
    assert_eq!(
        gateway.ask("GET", "/api/docs/other.js", &[], None).await.status,
        404
    );
    let description = gateway
        .ask("GET", "/api/openapi.json", &[], None)
        .await
        .expect(200);
    assert_eq!(description["openapi"], "3.1.0");
}

#[tokio::test]
async fn what_leads_nowhere_is_a_problem() {
    let gateway = Gateway::start().await;
    for (method, path, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1/nothing", 404),
        ("PATCH", "/api/v1/me", 405),
        ("GET", "/api/v1/auth/login", 405),
    ] {
        let answer = gateway.ask(method, path, &[], None).await;
        assert_eq!(
            answer.header("content-type"),
            "application/problem+json",
            "{method} {path}"
        );
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(answer.expect(status)["status"], status, "{method} {path}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_told_apart() {
    let gateway = Gateway::start().await;
    let text = [("content-type", "text/plain")];
    let answer = gateway.ask("POST", "/api/v1/auth/login", &text, None).await;
    answer.expect(415);
    let list = json!([1, 2]);
    gateway
        .ask("POST", "/api/v1/auth/login", &[], Some(&list))
        .await
        .expect(422);
    let huge = json!({"email": "a", "password": "x".repeat(3 * 1024 * 1024)});
    gateway
        .ask("POST", "/api/v1/auth/login", &[], Some(&huge))
        .await
        .expect(413);
}

#[tokio::test]
async fn the_catalog_shows_forms_and_presets() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let list = gateway.call(&token, "GET", "/connectors", None).await.expect(200);
    assert!(
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .any(|item| item["type"] == "generator")
    );
    let webhook = gateway
        .call(&token, "GET", "/connectors/http_webhook", None)
        .await
        .expect(200);
    assert!(webhook["config_schema"]["properties"].is_object());
    assert_eq!(webhook["capabilities"]["push"], true);
    gateway
        .call(&token, "GET", "/connectors/pigeon", None)
        .await
        .expect(404);
}

#[tokio::test]
async fn probes_and_metrics_answer_without_a_token() {
    let gateway = Gateway::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/metrics"] {
        assert_eq!(gateway.ask("GET", path, &[], None).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused_everywhere() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let nobody = "/datasources/00000000-0000-7000-8000-000000000000";
    let body = json!({"name": "n", "type": "http_webhook"});
    for (method, path, body) in [
        ("GET", "/me?force=1".to_owned(), None),
        ("GET", "/alerts?force=1".to_owned(), None),
        ("POST", "/datasources?force=1".to_owned(), Some(body)),
        ("DELETE", format!("{nobody}?force=1"), None),
        ("POST", format!("{nobody}/publish?force=1"), Some(json!({}))),
    ] {
        let problem = gateway.call(&token, method, &path, body).await.expect(400);
        assert_eq!(problem["errors"][0]["pointer"], "/force", "{method} {path}");
    }
    let problem = gateway.ask("GET", "/api/v1/me?force=1", &[], None).await;
    problem.expect(401);
}

#[tokio::test]
async fn every_answer_tells_browsers_to_be_careful() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let answers = [
        gateway.call(&token, "GET", "/me", None).await,
        gateway.call(&token, "GET", "/nothing", None).await,
        gateway.ask("GET", "/livez", &[], None).await,
        gateway.ask("GET", "/api/docs", &[], None).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
    }
    let me = gateway.call(&token, "GET", "/me", None).await;
    assert_eq!(me.header("cache-control"), "no-store");
    let page = gateway.ask("GET", "/api/docs", &[], None).await;
    assert_eq!(page.header("cache-control"), "no-cache");
}

#[tokio::test]
async fn what_takes_no_parameters_refuses_them() {
    let gateway = Gateway::start().await;
    for path in [
        "/livez",
        "/readyz",
        "/healthz",
        "/metrics",
        "/api/openapi.json",
        "/api/asyncapi.json",
        "/api/docs",
    ] {
        let answer = gateway
            .ask("GET", &format!("{path}?verbose=1"), &[], None)
            .await
            .expect(400);
        assert_eq!(answer["errors"][0]["pointer"], "/verbose", "{path}");
        assert_eq!(gateway.ask("GET", path, &[], None).await.status, 200, "{path}");
    }
}
