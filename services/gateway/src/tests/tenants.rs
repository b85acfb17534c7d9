//! Organisations and projects, and what is seen of them from outside and from a part.

use halcyon_domain::access::{Role, Scope};
use serde_json::{Value, json};

use super::support::Gateway;

#[tokio::test]
async fn an_organisation_is_made_changed_and_deleted_by_a_global_admin() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let made = gateway
        .call(&admin, "POST", "/organizations", Some(json!({"name": "Acme"})))
        .await
        .expect(201);
    assert_eq!(made["approval_policy"], "off");
    gateway
        .call(&admin, "POST", "/organizations", Some(json!({"name": "Acme"})))
        .await
        .expect(409);
    let path = format!("/organizations/{}", made["id"].as_str().unwrap());
    let body = json!({"approval_policy": "required"});
    let changed = gateway.call(&admin, "PUT", &path, Some(body)).await.expect(200);
    assert_eq!(
        (&changed["approval_policy"], &changed["name"]),
        (&json!("required"), &json!("Acme"))
    );
    let list = gateway
        .call(&admin, "GET", "/organizations?sort=name", None)
        .await
        .expect(200);
    let names: Vec<&str> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["Acme", "default"]);

    // With the same token in the other organisation, as who switches to it has.
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let inside = gateway.token(gateway.admin, id).await;
    let projects = gateway.call(&inside, "GET", "/projects", None).await.expect(200);
    assert_eq!(projects["items"][0]["name"], "default");
    let body = json!({"name": "feed", "type": "http_webhook"});
    let feed = gateway
        .call(&inside, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    assert_eq!(feed["project"], projects["items"][0]["id"]);
    let full = gateway.call(&admin, "DELETE", &path, None).await.expect(409);
    assert_eq!(full["type"], "urn:halcyon:problem:not_empty");
    let feed = format!("/datasources/{}", feed["id"].as_str().unwrap());
    gateway.call(&admin, "GET", &feed, None).await.expect(404);
    gateway.call(&inside, "DELETE", &feed, None).await.expect(204);
    let own = gateway.call(&inside, "DELETE", &path, None).await.expect(409);
    assert_eq!(own["type"], "urn:halcyon:problem:own_organization");
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway.call(&admin, "GET", &path, None).await.expect(404);
    gateway.call(&inside, "GET", "/me", None).await.expect(401);
    let body = Some(json!({"name": "Acme"}));
    gateway
        .call(&admin, "POST", "/organizations", body)
        .await
        .expect(201);
}

#[tokio::test]
async fn a_deleted_organisation_takes_its_people_along() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let elsewhere = gateway.elsewhere().await;
    let account = gateway
        .call(
            &elsewhere.token,
            "POST",
            "/service-accounts",
            Some(json!({"name": "robot"})),
        )
        .await
        .expect(201);
    let tokens = format!("/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    let made = gateway
        .call(&elsewhere.token, "POST", &tokens, Some(json!({"name": "t"})))
        .await
        .expect(201);
    let robot = made["token"].as_str().unwrap();
    gateway.call(robot, "GET", "/me", None).await.expect(200);
    let path = format!("/organizations/{}", elsewhere.organization);
    gateway.call(&admin, "DELETE", &path, None).await.expect(204);
    gateway
        .call(&elsewhere.token, "GET", "/me", None)
        .await
        .expect(401);
    gateway.call(robot, "GET", "/me", None).await.expect(401);
    let entry = gateway.trail().await.pop().unwrap();
    assert_eq!(entry.action, "organization.delete");
    assert!(entry.diff.unwrap().to_string().contains("role_bindings"));
}

#[tokio::test]
async fn an_organisation_is_for_those_who_hold_a_role_in_it() {
    let gateway = Gateway::start().await;
    let elsewhere = gateway.elsewhere().await;
    let org_admin = gateway
        .user(Role::Admin, Scope::Organization(gateway.organization))
        .await;
    let viewer = gateway.user(Role::Viewer, Scope::Project(gateway.project)).await;
    let own = format!("/organizations/{}", gateway.organization);
    let theirs = format!("/organizations/{}", elsewhere.organization);
    for token in [&org_admin, &viewer] {
        let list = gateway
            .call(token, "GET", "/organizations", None)
            .await
            .expect(200);
        assert_eq!(list["items"].as_array().unwrap().len(), 1);
        gateway.call(token, "GET", &own, None).await.expect(200);
        for (method, body) in [
            ("GET", None),
            ("PUT", Some(json!({"name": "x"}))),
            ("DELETE", None),
        ] {
            gateway.call(token, method, &theirs, body).await.expect(404);
        }
        let body = json!({"name": "mine"});
        gateway
            .call(token, "POST", "/organizations", Some(body))
            .await
            .expect(403);
        gateway.call(token, "DELETE", &own, None).await.expect(403);
    }
    gateway
        .call(&viewer, "PUT", &own, Some(json!({"name": "x"})))
        .await
        .expect(403);
    gateway
        .call(&org_admin, "PUT", &own, Some(json!({"name": "ours"})))
        .await
        .expect(200);
    assert_eq!(gateway.refusals().len(), 5);
}

#[tokio::test]
async fn a_project_is_made_changed_and_deleted() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let body = json!({"name": "Red", "description": "team red", "approval_policy": "required"});
    let made = gateway
        .call(&admin, "POST", "/projects", Some(body))
        .await
        .expect(201);
    assert_eq!(made["approval_policy"], "required");
    let path = format!("/projects/{}", made["id"].as_str().unwrap());
    let scope = Scope::Project(made["id"].as_str().unwrap().parse().unwrap());
    let own = gateway.user(Role::Admin, scope).await;
    let changed = gateway
        .call(&own, "PUT", &path, Some(json!({"name": "Rot"})))
        .await
        .expect(200);
    assert_eq!(changed["description"], "team red");
    // Who is bound by approvals does not switch them off.
    for policy in ["off", "inherit"] {
        gateway
            .call(&own, "PUT", &path, Some(json!({"approval_policy": policy})))
            .await
            .expect(403);
    }
    let same = json!({"approval_policy": "required", "description": "x"});
    gateway.call(&own, "PUT", &path, Some(same)).await.expect(200);
    assert_eq!(gateway.refusals(), ["project.update", "project.update"]);
    let inherits = gateway
        .call(&admin, "PUT", &path, Some(json!({"approval_policy": "inherit"})))
        .await;
    assert_eq!(inherits.expect(200)["approval_policy"], "inherit");

    let body = json!({"name": "feed", "type": "http_webhook", "project": made["id"]});
    let feed = gateway
        .call(&own, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    gateway.call(&own, "DELETE", &path, None).await.expect(409);
    let feed = format!("/datasources/{}", feed["id"].as_str().unwrap());
    gateway.call(&own, "DELETE", &feed, None).await.expect(204);
    gateway.call(&own, "DELETE", &path, None).await.expect(204);
    gateway.call(&own, "GET", "/projects", None).await.expect(403);
    let entry = gateway.trail().await.pop().unwrap();
    assert_eq!(entry.action, "project.delete");
    assert!(entry.diff.unwrap().to_string().contains("role_bindings"));
}

#[tokio::test]
async fn who_holds_a_part_sees_that_part() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let other = gateway
        .call(&admin, "POST", "/projects", Some(json!({"name": "other"})))
        .await
        .expect(201);
    let feed = async |name: &str, project: &Value| {
        let body = json!({"name": name, "type": "http_webhook", "project": project});
        let made = gateway
            .call(&admin, "POST", "/datasources", Some(body))
            .await
            .expect(201);
        made["id"].as_str().unwrap().to_owned()
    };
    let inside = feed("inside", &json!(gateway.project)).await;
    let outside = feed("outside", &other["id"]).await;
    let of_project = gateway.user(Role::Admin, Scope::Project(gateway.project)).await;
    let of_feed = gateway
        .user(Role::Admin, Scope::Datasource(inside.parse().unwrap()))
        .await;
    let count = async |token: &str, path: &str| {
        let answer = gateway.call(token, "GET", path, None).await;
        let items = answer.body["items"].as_array().map(Vec::len);
        (answer.status, items)
    };
    for (path, admins, project, datasource) in [
        ("/datasources", Some(2), Some(1), Some(1)),
        ("/projects", Some(2), Some(1), None),
        ("/organizations", Some(1), Some(1), Some(1)),
        ("/role-bindings", Some(3), Some(2), Some(1)),
        ("/users", Some(3), None, None),
        ("/service-accounts", Some(0), None, None),
        ("/audit", Some(0), None, None),
        ("/alerts", Some(0), None, None),
        ("/entities", Some(0), None, None),
        ("/relationships", Some(0), None, None),
    ] {
        for (token, items) in [(&admin, admins), (&of_project, project), (&of_feed, datasource)] {
            let wanted = (if items.is_some() { 200 } else { 403 }, items);
            assert_eq!(count(token, path).await, wanted, "{path}");
        }
    }
    for path in ["/alerts", "/entities", "/relationships"] {
        for token in [&of_project, &of_feed] {
            assert_eq!(
                count(token, &format!("{path}?datasource={inside}")).await.0,
                200,
                "{path}"
            );
            assert_eq!(
                count(token, &format!("{path}?datasource={outside}")).await.0,
                404,
                "{path}"
            );
        }
    }
    let project = format!("/projects/{}", other["id"].as_str().unwrap());
    for token in [&of_project, &of_feed] {
        for (method, body) in [
            ("GET", None),
            ("PUT", Some(json!({"name": "x"}))),
            ("DELETE", None),
        ] {
            gateway.call(token, method, &project, body).await.expect(404);
        }
        gateway
            .call(token, "POST", "/projects", Some(json!({"name": "mine"})))
            .await
            .expect(403);
    }
}

#[tokio::test]
async fn what_belongs_to_another_organisation_is_404() {
    let gateway = Gateway::start().await;
    let elsewhere = gateway.elsewhere().await;
    let admin = gateway.admin();
    let theirs = &elsewhere.token;
    let account = gateway
        .call(
            theirs,
            "POST",
            "/service-accounts",
            Some(json!({"name": "robot"})),
        )
        .await
        .expect(201);
    let bindings = gateway
        .call(theirs, "GET", "/role-bindings", None)
        .await
        .expect(200);
    for path in [
        format!("/projects/{}", elsewhere.project),
        format!("/users/{}", elsewhere.user),
        format!("/service-accounts/{}", account["id"].as_str().unwrap()),
        format!("/role-bindings/{}", bindings["items"][0]["id"].as_str().unwrap()),
    ] {
        gateway.call(theirs, "GET", &path, None).await.expect(200);
        for (method, body) in [("GET", None), ("PUT", Some(json!({}))), ("DELETE", None)] {
            let answer = gateway.call(&admin, method, &path, body).await;
            assert_eq!(answer.status, 404, "{method} {path}: {}", answer.body);
        }
    }
    let tokens = format!("/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    gateway.call(&admin, "GET", &tokens, None).await.expect(404);
    gateway
        .call(&admin, "POST", &tokens, Some(json!({"name": "t"})))
        .await
        .expect(404);
}
