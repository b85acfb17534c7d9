//! Who may give which role to whom: each rule, and what its refusal leaves behind.

use halcyon_domain::{
    access::{Role, Scope},
    id::{DatasourceId, OrganizationId, ProjectId, UserId},
};
use serde_json::{Value, json};

use super::support::Gateway;

async fn person(gateway: &Gateway, name: &str) -> Value {
    let body =
        json!({"email": format!("{name}@example.org"), "name": name, "password": "correct horse battery"});
    let made = gateway.call(&gateway.admin(), "POST", "/users", Some(body)).await;
    made.expect(201)["id"].clone()
}

async fn feed(gateway: &Gateway, project: Option<&Value>) -> Value {
    let mut body = json!({"name": uuid::Uuid::new_v4().to_string(), "type": "http_webhook"});
    if let Some(project) = project {
        body["project"] = project.clone();
    }
    let made = gateway
        .call(&gateway.admin(), "POST", "/datasources", Some(body))
        .await;
    made.expect(201)["id"].clone()
}

fn binding(user: &Value, role: &str, kind: &str, id: &Value) -> Value {
    json!({"user_id": user, "role": role, "scope": {"kind": kind, "id": id}})
}

async fn give(gateway: &Gateway, token: &str, body: Value) -> super::support::Answer {
    gateway.call(token, "POST", "/role-bindings", Some(body)).await
}

#[tokio::test]
async fn a_role_is_given_shown_changed_and_taken_back() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let (user, feed) = (person(&gateway, "a").await, feed(&gateway, None).await);
    let made = give(&gateway, &admin, binding(&user, "viewer", "datasource", &feed)).await;
    assert!(made.header("location").starts_with("/api/v1/role-bindings/"));
    let made = made.expect(201);
    assert_eq!(
        (&made["name"], &made["role"], &made["scope"]["id"]),
        (&json!("a@example.org"), &json!("viewer"), &feed)
    );
    assert!(made["scope"]["name"].is_string(), "{made}");
    let twice = give(&gateway, &admin, binding(&user, "viewer", "datasource", &feed)).await;
    twice.expect(409);

    let token = gateway.token_of(&user).await;
    let me = gateway.call(&token, "GET", "/me", None).await.expect(200);
    assert_eq!(
        (&me["kind"], &me["roles"][0]["scope"]),
        (&json!("user"), &made["scope"])
    );
    let of_user = format!("/role-bindings?user_id={}", user.as_str().unwrap());
    for (query, count) in [("", 1), ("&role=admin", 0), ("&scope_kind=datasource", 1)] {
        let list = gateway
            .call(&admin, "GET", &format!("{of_user}{query}"), None)
            .await;
        assert_eq!(
            list.expect(200)["items"].as_array().unwrap().len(),
            count,
            "{query}"
        );
    }

    let path = format!("/role-bindings/{}", made["id"].as_str().unwrap());
    let body = Some(json!({"role": "operator"}));
    let changed = gateway.call(&admin, "PUT", &path, body).await;
    assert_eq!(changed.header("etag"), "\"2\"");
    assert_eq!(changed.expect(200)["role"], "operator");
    let stale = [
        ("if-match", "\"1\""),
        ("authorization", &*format!("Bearer {admin}")),
    ];
    let stale = gateway
        .ask("DELETE", &format!("/api/v1{path}"), &stale, None)
        .await;
    stale.expect(412);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway.call(&admin, "GET", &path, None).await.expect(404);
    let feed = format!("/datasources/{}", feed.as_str().unwrap());
    gateway.call(&token, "GET", &feed, None).await.expect(404);
    let trail = gateway.trail().await;
    let actions: Vec<&str> = trail.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(
        actions[2..],
        [
            "role_binding.create",
            "role_binding.update",
            "role_binding.delete"
        ]
    );
    assert!(trail[2..].iter().all(|entry| entry.diff.is_some()));
}

#[tokio::test]
async fn nobody_gives_or_takes_more_than_they_hold_there() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let user = person(&gateway, "a").await;
    let (organization, project) = (json!(gateway.organization), json!(gateway.project));
    let body = json!({"name": "other"});
    let other = gateway
        .call(&admin, "POST", "/projects", Some(body))
        .await
        .expect(201)["id"]
        .clone();
    let (inside, outside) = (feed(&gateway, None).await, feed(&gateway, Some(&other)).await);
    let org_admin = gateway
        .user(Role::Admin, Scope::Organization(gateway.organization))
        .await;
    let operator = gateway
        .user(Role::Operator, Scope::Organization(gateway.organization))
        .await;
    let project_admin = gateway.user(Role::Admin, Scope::Project(gateway.project)).await;
    let owner_of = inside.as_str().unwrap().parse::<DatasourceId>().unwrap();
    let owner = gateway.user(Role::Admin, Scope::Datasource(owner_of)).await;
    let nothing = Value::Null;
    let scopes = [
        ("global", &nothing),
        ("organization", &organization),
        ("project", &project),
        ("project", &other),
        ("datasource", &inside),
        ("datasource", &outside),
    ];
    for (who, may) in [
        (&org_admin, [false, true, true, true, true, true]),
        (&operator, [false; 6]),
        (&project_admin, [false, false, true, false, true, false]),
        (&owner, [false, false, false, false, true, false]),
    ] {
        for ((kind, id), may) in scopes.into_iter().zip(may) {
            let before = gateway.refusals().len();
            let answer = give(&gateway, who, binding(&user, "admin", kind, id)).await;
            let status = answer.status;
            assert_eq!(status, if may { 201 } else { 403 }, "{kind}: {}", answer.body);
            assert_eq!(gateway.refusals().len() - before, usize::from(!may), "{kind}");
            if may {
                let path = format!("/role-bindings/{}", answer.body["id"].as_str().unwrap());
                gateway.call(who, "GET", &path, None).await.expect(200);
                gateway.call(who, "DELETE", &path, None).await.expect(204);
                continue;
            }
            // What somebody else gave there is not theirs to see, to change or to take back.
            let given = give(&gateway, &admin, binding(&user, "viewer", kind, id))
                .await
                .expect(201);
            let path = format!("/role-bindings/{}", given["id"].as_str().unwrap());
            for (method, body) in [
                ("GET", None),
                ("PUT", Some(json!({"role": "admin"}))),
                ("DELETE", None),
            ] {
                gateway.call(who, method, &path, body).await.expect(404);
            }
            gateway.call(&admin, "DELETE", &path, None).await.expect(204);
        }
    }
    let refusals = gateway.refusals();
    assert!(
        refusals.iter().all(|action| action == "role_binding.create"),
        "{refusals:?}"
    );
}

#[tokio::test]
async fn scope_and_subject_are_of_the_organisation() {
    let gateway = Gateway::start().await;
    let user = person(&gateway, "a").await;
    let elsewhere = gateway.elsewhere().await;
    let org_admin = gateway
        .user(Role::Admin, Scope::Organization(gateway.organization))
        .await;
    let theirs = json!(elsewhere.project);
    let unknown = json!(ProjectId::generate());
    for (kind, id) in [
        ("project", &theirs),
        ("project", &unknown),
        ("organization", &json!(elsewhere.organization)),
    ] {
        let answer = give(&gateway, &org_admin, binding(&user, "viewer", kind, id))
            .await
            .expect(422);
        assert_eq!(answer["errors"][0]["pointer"], "/scope/id", "{answer}");
    }
    let organization = json!(gateway.organization);
    for stranger in [json!(elsewhere.user), json!(UserId::generate())] {
        let body = binding(&stranger, "viewer", "organization", &organization);
        let answer = give(&gateway, &org_admin, body).await.expect(422);
        assert_eq!(answer["errors"][0]["pointer"], "/user_id");
    }
    for (body, pointer) in [
        (json!({"role": "viewer", "scope": {"kind": "global"}}), "/user_id"),
        (
            json!({"user_id": user, "service_account_id": user, "role": "viewer", "scope": {"kind": "global"}}),
            "/service_account_id",
        ),
        (
            json!({"user_id": user, "role": "viewer", "scope": {"kind": "project"}}),
            "/scope/id",
        ),
        (
            json!({"user_id": user, "role": "viewer", "scope": {"kind": "global", "id": unknown}}),
            "/scope/id",
        ),
        (
            json!({"user_id": user, "role": "owner", "scope": {"kind": "global"}}),
            "/role",
        ),
        (
            json!({"user_id": user, "role": "viewer", "scope": {"kind": "global", "of": 1}}),
            "/scope/of",
        ),
    ] {
        let answer = give(&gateway, &gateway.admin(), body).await.expect(422);
        assert_eq!(answer["errors"][0]["pointer"], pointer, "{answer}");
    }
    // A global admin may bring somebody of another organisation in.
    let body = binding(&json!(elsewhere.user), "viewer", "organization", &organization);
    give(&gateway, &gateway.admin(), body).await.expect(201);
    let token = gateway.token(elsewhere.user, gateway.organization).await;
    gateway
        .call(&token, "GET", "/datasources", None)
        .await
        .expect(200);
    let list = gateway
        .call(&token, "GET", "/organizations", None)
        .await
        .expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "{list}");
    let body = Some(json!({"name": "third"}));
    let third = gateway
        .call(&gateway.admin(), "POST", "/organizations", body)
        .await;
    let third: OrganizationId = third.expect(201)["id"].as_str().unwrap().parse().unwrap();
    let none = gateway.token(elsewhere.user, third).await;
    gateway.call(&none, "GET", "/datasources", None).await.expect(401);
}

#[tokio::test]
async fn the_last_admin_stays() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let all = gateway
        .call(&admin, "GET", "/role-bindings?scope_kind=global", None)
        .await
        .expect(200);
    let global = format!("/role-bindings/{}", all["items"][0]["id"].as_str().unwrap());
    let user = format!("/users/{}", gateway.admin);
    let last = async |method: &str, path: &str, body: Option<Value>| {
        let refused = gateway.call(&admin, method, path, body).await.expect(409);
        assert_eq!(
            refused["type"], "urn:halcyon:problem:last_admin",
            "{method} {path}"
        );
    };
    last("DELETE", &global, None).await;
    last("PUT", &global, Some(json!({"role": "operator"}))).await;
    last("DELETE", &user, None).await;
    last("PUT", &user, Some(json!({"disabled": true}))).await;

    let elsewhere = gateway.elsewhere().await;
    let own = elsewhere.token.clone();
    let them = format!("/users/{}", elsewhere.user);
    for (method, body) in [("DELETE", None), ("PUT", Some(json!({"disabled": true})))] {
        let refused = gateway.call(&own, method, &them, body).await.expect(409);
        assert_eq!(refused["type"], "urn:halcyon:problem:last_admin");
    }
    let trail = gateway.trail().await;
    assert!(
        trail
            .iter()
            .all(|entry| entry.action != "user.update" && entry.action != "user.delete")
    );

    let second = person(&gateway, "second").await;
    give(
        &gateway,
        &admin,
        binding(&second, "admin", "global", &Value::Null),
    )
    .await
    .expect(201);
    gateway.call(&admin, "DELETE", &user, None).await.expect(204);
    gateway.call(&admin, "GET", "/me", None).await.expect(401);
}

#[tokio::test]
async fn of_two_who_take_each_other_away_one_stays() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let second = person(&gateway, "second").await;
    give(
        &gateway,
        &admin,
        binding(&second, "admin", "global", &Value::Null),
    )
    .await
    .expect(201);
    let other = gateway.token_of(&second).await;
    let (first, second) = (
        format!("/users/{}", gateway.admin),
        format!("/users/{}", second.as_str().unwrap()),
    );
    let (one, two) = tokio::join!(
        gateway.call(&admin, "DELETE", &second, None),
        gateway.call(&other, "DELETE", &first, None),
    );
    let done = [one.status, two.status]
        .into_iter()
        .filter(|status| *status == 204)
        .count();
    assert_eq!(done, 1, "{} {}", one.status, two.status);
}

#[tokio::test]
async fn an_owner_is_made_admin_of_the_one_datasource() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let user = person(&gateway, "owner").await;
    let (mine, other) = (feed(&gateway, None).await, feed(&gateway, None).await);
    let path = format!("/datasources/{}", mine.as_str().unwrap());
    let token = gateway.token_of(&user).await;
    gateway.call(&token, "GET", &path, None).await.expect(404);
    let operator = gateway
        .user(Role::Operator, Scope::Organization(gateway.organization))
        .await;
    let body = json!({"user_id": user});
    gateway
        .call(&operator, "POST", &format!("{path}/owner"), Some(body.clone()))
        .await
        .expect(403);
    assert_eq!(gateway.refusals(), ["datasource.delegate"]);
    let made = gateway
        .call(&admin, "POST", &format!("{path}/owner"), Some(body.clone()))
        .await
        .expect(200);
    assert_eq!(made["owner"], "owner@example.org");
    let trail = gateway.trail().await;
    let entry = trail.last().unwrap();
    assert_eq!(entry.action, "datasource.delegate");
    assert!(
        entry.diff.as_ref().unwrap().to_string().contains("role_bindings"),
        "{entry:?}"
    );
    let cause = gateway.notices().await.pop().unwrap().cause.unwrap();
    assert_eq!(cause.kind.as_str(), "owner_changed");
    assert!(cause.message.contains("owner@example.org"), "{}", cause.message);

    gateway
        .call(&token, "PUT", &path, Some(json!({"description": "mine"})))
        .await
        .expect(200);
    gateway
        .call(
            &token,
            "GET",
            &format!("/datasources/{}", other.as_str().unwrap()),
            None,
        )
        .await
        .expect(404);
    gateway
        .call(&admin, "POST", &format!("{path}/owner"), Some(body))
        .await
        .expect(200);
    let given = gateway
        .call(&token, "GET", "/role-bindings", None)
        .await
        .expect(200);
    assert_eq!(given["items"].as_array().unwrap().len(), 1, "given once: {given}");

    let named = json!({"owner": user});
    let named = gateway.call(&admin, "PUT", &path, Some(named)).await.expect(200);
    assert_eq!(
        named["owner"], "owner@example.org",
        "a user is named by their address"
    );
    let user_path = format!("/users/{}", user.as_str().unwrap());
    let body = json!({"email": "New@example.org"});
    gateway
        .call(&admin, "PUT", &user_path, Some(body))
        .await
        .expect(200);
    let kept = gateway
        .call(&admin, "GET", "/datasources?owner=new@example.org", None)
        .await
        .expect(200);
    assert_eq!(kept["items"][0]["id"], mine);

    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway
        .call(&token, "GET", "/role-bindings", None)
        .await
        .expect(403);
}
