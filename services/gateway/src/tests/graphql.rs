//! GraphQL by POST: the same answers and errors as REST, and what the transport refuses.

use halcyon_domain::{
    access::{Role, Scope},
    id::DatasourceId,
};
use serde_json::{Value, json};

use super::support::{Gateway, config};

const SHOW: &str = "query show($id: ID!) { datasource(id: $id) {
    id name type projectId owner description tags env status desiredState currentVersion draftVersion generation
    revision createdAt createdById updatedAt updatedById
    state { status reason observedGeneration version restarts } metrics { events lagMs eventsPerSecond } } }";

async fn made(gateway: &Gateway, name: &str) -> Value {
    let body = json!({"name": name, "type": "http_webhook", "config": config("title"), "tags": ["edr"]});
    gateway
        .call(&gateway.admin(), "POST", "/datasources", Some(body))
        .await
        .expect(201)
}

/// The one error of an answer.
#[track_caller]
fn error(answer: &Value) -> &Value {
    let errors = answer["errors"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(errors.len(), 1, "{answer}");
    &errors[0]
}

#[tokio::test]
async fn a_datasource_is_the_same_by_rest_and_by_graphql() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let rest = made(&gateway, "EDR").await;
    let answer = gateway.graphql(&token, SHOW, json!({"id": rest["id"]})).await;
    assert_eq!(answer.header("content-type"), "application/graphql-response+json");
    let shown = answer.expect(200)["data"]["datasource"].take();
    for (graphql, field) in [
        ("id", "id"),
        ("name", "name"),
        ("type", "type"),
        ("projectId", "project"),
        ("tags", "tags"),
        ("draftVersion", "draft_version"),
        ("revision", "revision"),
        ("createdAt", "created_at"),
        ("createdById", "created_by"),
        ("currentVersion", "current_version"),
        ("owner", "owner"),
    ] {
        assert_eq!(shown[graphql], rest[field], "{field}");
    }
    assert_eq!(
        (&shown["status"], &shown["desiredState"]),
        (&json!("DRAFT"), &json!("RUNNING"))
    );
    assert_eq!(
        shown["state"]["observedGeneration"],
        rest["state"]["observed_generation"]
    );
    assert_eq!(shown["metrics"]["lagMs"], rest["metrics"]["lag_ms"]);
}

#[tokio::test]
async fn a_datasource_is_made_changed_and_deleted_by_mutations() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let create = "mutation m($input: CreateDatasourceInput!) { createDatasource(input: $input) { id revision newestDraft { number config comment } } }";
    let input = json!({"name": "EDR", "type": "http_webhook", "projectId": gateway.project.to_string(),
        "config": config("title"), "comment": "first"});
    let made = gateway
        .graphql(&token, create, json!({"input": input}))
        .await
        .expect(200);
    let made = &made["data"]["createDatasource"];
    assert_eq!(
        (&made["newestDraft"]["number"], &made["newestDraft"]["comment"]),
        (&json!(1), &json!("first"))
    );
    assert_eq!(made["newestDraft"]["config"], config("title"));
    let id = made["id"].clone();

    let update = "mutation m($id: ID!, $at: Long) { updateDatasource(id: $id, ifMatch: $at, input: {name: \"SIEM\"}) { name revision } }";
    let changed = gateway
        .graphql(&token, update, json!({"id": id, "at": made["revision"]}))
        .await
        .expect(200);
    assert_eq!(changed["data"]["updateDatasource"]["name"], "SIEM");
    let stale = gateway
        .graphql(&token, update, json!({"id": id, "at": made["revision"]}))
        .await
        .expect(200);
    let extensions = &error(&stale)["extensions"];
    assert_eq!(
        (&extensions["code"], &extensions["current_revision"]),
        (&json!("stale"), &changed["data"]["updateDatasource"]["revision"])
    );

    let delete = "mutation m($id: ID!) { deleteDatasource(id: $id) }";
    let gone = gateway
        .graphql(&token, delete, json!({"id": id}))
        .await
        .expect(200);
    assert_eq!(gone, json!({"data": {"deleteDatasource": true}}));
    let shown = gateway.graphql(&token, SHOW, json!({"id": id})).await.expect(200);
    assert_eq!(error(&shown)["extensions"]["code"], "not_found");
    let actions: Vec<_> = gateway
        .trail()
        .await
        .into_iter()
        .map(|entry| entry.action)
        .collect();
    assert_eq!(
        actions,
        ["datasource.create", "datasource.update", "datasource.delete"]
    );
}

#[tokio::test]
async fn errors_say_what_rest_says() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let create = "mutation m($input: CreateDatasourceInput!) { createDatasource(input: $input) { id } }";
    let input = json!({"name": "", "type": "nothing", "tags": ["a b"]});
    let rest = gateway
        .call(&admin, "POST", "/datasources", Some(input.clone()))
        .await
        .expect(422);
    let graphql = gateway
        .graphql(&admin, create, json!({"input": input}))
        .await
        .expect(200);
    let failed = error(&graphql);
    assert_eq!(
        (&failed["message"], &failed["path"]),
        (&rest["detail"], &json!(["createDatasource"]))
    );
    assert_eq!(failed["extensions"]["code"], "invalid");
    assert_eq!(failed["extensions"]["trace_id"].as_str().unwrap().len(), 32);
    let pointers = |errors: &Value| {
        errors
            .as_array()
            .unwrap()
            .iter()
            .map(|error| error["pointer"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let under_input: Vec<_> = pointers(&rest["errors"])
        .iter()
        .map(|pointer| format!("/input{pointer}"))
        .collect();
    assert_eq!(pointers(&failed["extensions"]["errors"]), under_input);

    made(&gateway, "EDR").await;
    let input = json!({"input": {"name": "EDR", "type": "http_webhook"}});
    let taken = gateway.graphql(&admin, create, input.clone()).await.expect(200);
    assert_eq!(error(&taken)["extensions"]["code"], "name_taken");

    let viewer = gateway
        .user(Role::Viewer, Scope::Organization(gateway.organization))
        .await;
    let refused = gateway.graphql(&viewer, create, input).await.expect(200);
    assert_eq!(error(&refused)["extensions"]["code"], "forbidden");
    assert_eq!(gateway.refusals(), ["datasource.create"]);

    let nothing = gateway
        .graphql(&admin, SHOW, json!({"id": DatasourceId::generate().to_string()}))
        .await
        .expect(200);
    assert_eq!(error(&nothing)["extensions"]["code"], "not_found");
    let page = gateway
        .graphql(
            &admin,
            "{ datasources(first: 201) { edges { node { id } } } }",
            json!({}),
        )
        .await;
    let page = page.expect(200);
    let errors = &error(&page)["extensions"]["errors"];
    assert_eq!(errors[0]["pointer"], "/first", "{page}");
    *gateway.stand.down.lock().unwrap() = true;
    let id = made(&gateway, "SIEM").await["id"].clone();
    let down = gateway
        .graphql(
            &admin,
            "query q($id: ID!) { secrets(datasourceId: $id) { name } }",
            json!({"id": id}),
        )
        .await;
    let down = down.expect(200);
    assert_eq!(
        (
            &error(&down)["extensions"]["code"],
            &error(&down)["extensions"]["retry_after"]
        ),
        (&json!("unavailable"), &json!(2))
    );
}

#[tokio::test]
async fn a_list_is_walked_by_its_edges() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    for name in ["a", "b", "c", "d", "e"] {
        made(&gateway, name).await;
    }
    let list = "query q($after: String) { datasources(first: 2, after: $after, sort: \"name\") {
        edges { cursor node { name } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let mut names = Vec::new();
    let mut after = Value::Null;
    loop {
        let page = gateway
            .graphql(&token, list, json!({"after": after}))
            .await
            .expect(200);
        let page = &page["data"]["datasources"];
        let info = &page["pageInfo"];
        assert_eq!(info["hasPreviousPage"], !after.is_null());
        let edges = page["edges"].as_array().unwrap();
        names.extend(
            edges
                .iter()
                .map(|edge| edge["node"]["name"].as_str().unwrap().to_owned()),
        );
        assert_eq!(info["endCursor"], edges.last().unwrap()["cursor"]);
        if !info["hasNextPage"].as_bool().unwrap() {
            break;
        }
        after = info["endCursor"].clone();
    }
    assert_eq!(names, ["a", "b", "c", "d", "e"]);
    // A cursor in the middle of a page leads to the object after its own, and is the same as REST's.
    let page = gateway.graphql(&token, list, json!({})).await.expect(200);
    let cursor = &page["data"]["datasources"]["edges"][0]["cursor"];
    let page = gateway
        .graphql(&token, list, json!({"after": cursor}))
        .await
        .expect(200);
    assert_eq!(page["data"]["datasources"]["edges"][0]["node"]["name"], "b");
    let path = format!(
        "/datasources?sort=name&limit=1&cursor={}",
        cursor.as_str().unwrap()
    );
    let rest = gateway.call(&token, "GET", &path, None).await.expect(200);
    assert_eq!(rest["items"][0]["name"], "b");
}

#[tokio::test]
async fn the_transport_takes_json_by_post_from_those_who_are_signed_in() {
    let gateway = Gateway::start().await;
    let bearer = format!("Bearer {}", gateway.admin());
    let query = json!({"query": "{ me { email } }"});
    let ask = async |headers: &[(&'static str, &str)], body: &Value| {
        gateway.ask("POST", "/graphql", headers, Some(body)).await
    };
    let auth = ("authorization", bearer.as_str());

    let unknown = ask(&[], &query).await;
    assert_eq!(unknown.header("www-authenticate"), "Bearer");
    assert_eq!(
        error(&unknown.expect(401))["extensions"]["code"],
        "unauthenticated"
    );
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let answer = ask(&[auth, ("content-type", kind)], &query).await.expect(415);
        assert_eq!(error(&answer)["extensions"]["code"], "unsupported_media_type");
    }
    gateway
        .ask("GET", "/graphql?query={me{email}}", &[auth], None)
        .await
        .expect(405);
    for body in [
        json!([query]),
        json!({}),
        json!({"query": 1}),
        json!({"query": "{ me { email } }", "more": 1}),
    ] {
        let answer = ask(&[auth], &body).await;
        assert!(answer.status == 400 || answer.status == 422, "{}", answer.body);
    }
    let plain = [auth, ("accept", "application/json")];
    for text in [
        "{ me { emial } }",
        "{ me",
        "query($x: Int!) { me { email } }",
        "{ me { email } } { me { name } }",
    ] {
        let wrong = ask(&[auth], &json!({"query": text})).await.expect(400);
        assert_eq!(wrong["errors"][0]["extensions"]["code"], "bad_request", "{wrong}");
        assert!(wrong.get("data").is_none());
        ask(&plain, &json!({"query": text})).await.expect(200);
    }
    let answer = ask(&plain, &query).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.expect(200)["data"]["me"]["email"].is_string());
    let none = ask(&[auth, ("accept", "text/html")], &query).await;
    none.expect(406);
    let large = json!({"query": "{ me { email } }", "variables": {"x": "x".repeat(3 << 20)}});
    ask(&[auth], &large).await.expect(413);
    let deep = json!({"query": "{a".repeat(10_000)});
    assert_eq!(
        error(&ask(&[auth], &deep).await.expect(400))["extensions"]["code"],
        "query_too_large"
    );
}

#[tokio::test]
async fn a_nul_is_refused_where_it_would_be_stored() {
    let gateway = Gateway::start().await;
    let create = "mutation m($input: CreateDatasourceInput!) { createDatasource(input: $input) { id } }";
    let input = json!({"name": "EDR", "type": "http_webhook", "config": {"mapping": {"x": "\0"}}});
    let answer = gateway
        .graphql(&gateway.admin(), create, json!({"input": input}))
        .await
        .expect(200);
    assert_eq!(
        error(&answer)["extensions"]["errors"][0]["pointer"],
        "/input/config/mapping/x"
    );
}
