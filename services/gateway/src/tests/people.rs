//! Users, their passwords, and the programs that act for nobody.

use halcyon_domain::access::{Role, Scope};
use serde_json::{Value, json};

use super::support::{ADMIN, Gateway};

const PASSWORD: &str = "correct horse battery";

async fn made(gateway: &Gateway, body: Value) -> Value {
    gateway
        .call(&gateway.admin(), "POST", "/users", Some(body))
        .await
        .expect(201)
}

async fn login(gateway: &Gateway, email: &str, password: &str) -> u16 {
    let body = json!({"email": email, "password": password});
    gateway
        .ask("POST", "/api/v1/auth/login", &[], Some(&body))
        .await
        .status
}

#[tokio::test]
async fn a_user_is_added_changed_and_deleted() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let user = made(
        &gateway,
        json!({"email": "Ann@Example.org", "name": "Ann", "password": PASSWORD}),
    )
    .await;
    assert_eq!(
        (&user["email"], &user["disabled"]),
        (&json!("ann@example.org"), &json!(false))
    );
    assert!(user.get("password").is_none() && user.get("password_hash").is_none());
    assert_eq!(login(&gateway, "ann@example.org", PASSWORD).await, 200);
    let path = format!("/users/{}", user["id"].as_str().unwrap());
    let token = gateway.token_of(&user["id"]).await;
    gateway.call(&token, "GET", "/me", None).await.expect(200);

    let body = json!({"email": "ANN@example.org", "name": "Ann 2", "password": PASSWORD});
    gateway
        .call(&admin, "POST", "/users", Some(body))
        .await
        .expect(409);
    let list = gateway
        .call(&admin, "GET", "/users?q=ann", None)
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);

    let body = json!({"disabled": true, "name": "Annette"});
    let changed = gateway.call(&admin, "PUT", &path, Some(body)).await.expect(200);
    assert_eq!(
        (&changed["name"], &changed["revision"]),
        (&json!("Annette"), &json!(2))
    );
    gateway.call(&token, "GET", "/me", None).await.expect(401);
    assert_eq!(login(&gateway, "ann@example.org", PASSWORD).await, 401);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway.call(&admin, "GET", &path, None).await.expect(404);
    let again = json!({"email": "ann@example.org", "name": "Ann", "password": PASSWORD});
    assert_ne!(made(&gateway, again).await["id"], user["id"]);

    let trail = serde_json::to_string(&gateway.trail().await).unwrap();
    for action in ["user.create", "user.update", "user.delete"] {
        assert!(trail.contains(action), "{action}");
    }
    assert!(!trail.contains(PASSWORD) && !trail.contains("argon2"));
}

#[tokio::test]
async fn what_does_not_fit_a_user_is_named() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    for (email, name, password, pointer) in [
        ("nobody", "n", PASSWORD, "/email"),
        ("n@example.org", " ", PASSWORD, "/name"),
        ("n@example.org", "n", "too short", "/password"),
        ("somebody@example.org", "n", "Somebody@example.org", "/password"),
    ] {
        let body = json!({"email": email, "name": name, "password": password});
        let answer = gateway
            .call(&admin, "POST", "/users", Some(body))
            .await
            .expect(422);
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
        assert!(!answer.to_string().contains(PASSWORD));
    }
    let body = json!({"email": "n@example.org", "name": "n", "password": PASSWORD, "admin": true});
    gateway
        .call(&admin, "POST", "/users", Some(body))
        .await
        .expect(422);
}

#[tokio::test]
async fn ones_own_password_takes_the_present_one() {
    let gateway = Gateway::start().await;
    let user = made(
        &gateway,
        json!({"email": "a@example.org", "name": "A", "password": PASSWORD}),
    )
    .await;
    let token = gateway.token_of(&user["id"]).await;
    let set = async |current: &str, new: &str| {
        let body = json!({"current": current, "new": new});
        gateway.call(&token, "PUT", "/me/password", Some(body)).await
    };
    let wrong = set("something else", "another long password").await.expect(422);
    assert_eq!(wrong["errors"][0]["pointer"], "/current");
    assert_eq!(gateway.refusals(), ["user.password"]);
    let short = set(PASSWORD, "short").await.expect(422);
    assert_eq!(short["errors"][0]["pointer"], "/new");
    set(PASSWORD, "another long password").await.expect(204);
    assert_eq!(login(&gateway, "a@example.org", PASSWORD).await, 401);
    assert_eq!(
        login(&gateway, "a@example.org", "another long password").await,
        200
    );
    assert_eq!(gateway.trail().await[1].action, "user.password");
}

#[tokio::test]
async fn nobody_takes_over_who_holds_more_than_they() {
    let gateway = Gateway::start().await;
    let org_admin = gateway
        .user(Role::Admin, Scope::Organization(gateway.organization))
        .await;
    let path = format!("/users/{}", gateway.admin);
    for body in [
        json!({"password": "my own long password"}),
        json!({"email": "me@example.org"}),
        json!({"disabled": true}),
    ] {
        gateway
            .call(&org_admin, "PUT", &path, Some(body))
            .await
            .expect(403);
    }
    gateway.call(&org_admin, "DELETE", &path, None).await.expect(403);
    let sessions = format!("{path}/sessions");
    gateway
        .call(&org_admin, "DELETE", &sessions, None)
        .await
        .expect(403);
    let mutation = "mutation($id: ID!) { endUserSessions(id: $id) }";
    let answer = gateway
        .graphql(&org_admin, mutation, json!({"id": gateway.admin}))
        .await
        .expect(200);
    assert_eq!(answer["errors"][0]["extensions"]["code"], "forbidden", "{answer}");
    assert_eq!(
        gateway.refusals(),
        [
            "user.update",
            "user.update",
            "user.update",
            "user.delete",
            "user.end_sessions",
            "user.end_sessions"
        ]
    );
    gateway
        .call(&gateway.admin(), "GET", "/me", None)
        .await
        .expect(200);
    assert_eq!(login(&gateway, ADMIN.0, ADMIN.1).await, 200);

    let body = json!({"name": "robot"});
    let account = gateway
        .call(&org_admin, "POST", "/service-accounts", Some(body))
        .await
        .expect(201);
    let body = json!({"service_account_id": account["id"], "role": "viewer", "scope": {"kind": "global"}});
    gateway
        .call(&gateway.admin(), "POST", "/role-bindings", Some(body))
        .await
        .expect(201);
    let path = format!("/service-accounts/{}", account["id"].as_str().unwrap());
    let tokens = format!("{path}/tokens");
    let body = Some(json!({"name": "mine"}));
    gateway
        .call(&org_admin, "POST", &tokens, body.clone())
        .await
        .expect(403);
    gateway
        .call(&org_admin, "PUT", &path, Some(json!({"disabled": true})))
        .await
        .expect(403);
    gateway.call(&org_admin, "DELETE", &path, None).await.expect(403);
    gateway
        .call(&gateway.admin(), "POST", &tokens, body)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_service_account_acts_by_its_token_until_that_is_revoked() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let body = json!({"name": "robot", "description": "deploys"});
    let account = gateway
        .call(&admin, "POST", "/service-accounts", Some(body))
        .await
        .expect(201);
    let path = format!("/service-accounts/{}", account["id"].as_str().unwrap());
    let scope = json!({"kind": "organization", "id": gateway.organization});
    let body = json!({"service_account_id": account["id"], "role": "admin", "scope": scope});
    gateway
        .call(&admin, "POST", "/role-bindings", Some(body))
        .await
        .expect(201);
    let new_token = async |body: Value| {
        let made = gateway
            .call(&admin, "POST", &format!("{path}/tokens"), Some(body))
            .await
            .expect(201);
        (
            made["id"].as_str().unwrap().to_owned(),
            made["token"].as_str().unwrap().to_owned(),
        )
    };
    let (id, token) = new_token(json!({"name": "ci"})).await;
    let (_, other) = new_token(json!({"name": "cd", "expires_at": "2999-01-01T00:00:00Z"})).await;
    let me = gateway.call(&token, "GET", "/me", None).await.expect(200);
    assert_eq!(
        (
            &me["kind"],
            &me["name"],
            &me["email"],
            &me["roles"][0]["scope"]["name"]
        ),
        (
            &json!("service_account"),
            &json!("robot"),
            &Value::Null,
            &json!("default")
        )
    );
    let body = json!({"name": "by robot", "type": "http_webhook"});
    let feed = gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    assert_eq!(feed["created_by"], account["id"]);
    let entry = gateway.trail().await.pop().unwrap();
    assert_eq!(
        (entry.actor.kind.as_str(), entry.actor.name.as_str()),
        ("service_account", "robot")
    );
    let body = json!({"current": "x", "new": "a long enough password"});
    gateway
        .call(&token, "PUT", "/me/password", Some(body))
        .await
        .expect(409);

    let list = gateway
        .call(&admin, "GET", &format!("{path}/tokens?sort=name"), None)
        .await
        .expect(200);
    assert!(list["items"][1]["last_used_at"].is_string(), "{list}");
    assert!(list["items"][0]["last_used_at"].is_null());
    let (_, secret) = token.split_at(37);
    let trail = serde_json::to_string(&gateway.trail().await).unwrap();
    assert!(!list.to_string().contains(secret) && !trail.contains(secret));

    let refused =
        async |token: &str| gateway.call(token, "GET", "/me", None).await.expect(401)["detail"].clone();
    let (start, last) = other.split_at(other.len() - 1);
    let forged = refused(&format!("{start}{}", if last == "A" { "B" } else { "A" })).await;
    let unknown = refused(&format!("hsa_{}_x", uuid::Uuid::new_v4().simple())).await;
    gateway
        .call(&admin, "DELETE", &format!("{path}/tokens/{id}"), None)
        .await
        .expect(204);
    gateway
        .call(&admin, "DELETE", &format!("{path}/tokens/{id}"), None)
        .await
        .expect(404);
    let revoked = refused(&token).await;
    gateway.call(&other, "GET", "/me", None).await.expect(200);
    gateway
        .call(&admin, "PUT", &path, Some(json!({"disabled": true})))
        .await
        .expect(200);
    let disabled = refused(&other).await;
    gateway
        .call(&admin, "PUT", &path, Some(json!({"disabled": false})))
        .await
        .expect(200);
    gateway.call(&other, "GET", "/me", None).await.expect(200);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    let gone = refused(&other).await;
    for detail in [&unknown, &revoked, &disabled, &gone] {
        assert_eq!(&forged, detail, "all the same");
    }
    let past = json!({"name": "late", "expires_at": "2020-01-01T00:00:00Z"});
    let body = json!({"name": "robot"});
    let again = gateway
        .call(&admin, "POST", "/service-accounts", Some(body))
        .await
        .expect(201);
    let tokens = format!("/service-accounts/{}/tokens", again["id"].as_str().unwrap());
    let late = gateway
        .call(&admin, "POST", &tokens, Some(past))
        .await
        .expect(422);
    assert_eq!(late["errors"][0]["pointer"], "/expires_at");
}

#[tokio::test]
async fn a_token_that_ran_out_does_not_count() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let body = json!({"name": "robot"});
    let account = gateway
        .call(&admin, "POST", "/service-accounts", Some(body))
        .await
        .expect(201);
    let tokens = format!("/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    let soon = chrono::TimeDelta::milliseconds(400);
    let body = json!({"name": "short", "expires_at": gateway.now() + soon});
    let made = gateway
        .call(&admin, "POST", &tokens, Some(body))
        .await
        .expect(201);
    let token = made["token"].as_str().unwrap();
    halcyon_tests::wait::eventually(std::time::Duration::from_secs(10), || async {
        gateway.call(token, "GET", "/me", None).await.status == 401
    })
    .await
    .unwrap();
}
