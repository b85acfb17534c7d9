//! A change all the way through approval: asked for, approved by a second person, reset by an edit, approved again,
//! published and running; then the glass is broken. With samples, impact and bulk on whole processes.

use serde_json::{Value, json};

use halcyon_tests::{
    client::{Client, TOKEN},
    load::sequence_mapping,
    up::Studio,
};

fn config(title: &str) -> Value {
    json!({
        "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
        "mapping": sequence_mapping(title),
    })
}

/// A second admin of the organisation.
async fn second_admin(studio: &Studio) -> Client {
    let client = &studio.client;
    let (email, password) = ("second@example.org", "a second pair of eyes");
    let user = json!({"email": email, "name": "Second", "password": password});
    let user = client.post("/users", user).await.expect(201);
    let organization = client.get("/me").await["organization"].clone();
    let binding = json!({
        "user_id": user["id"], "role": "admin", "scope": {"kind": "organization", "id": organization},
    });
    client.post("/role-bindings", binding).await.expect(201);
    let policy = json!({"approval_policy": "required"});
    let path = format!("/organizations/{}", organization.as_str().unwrap());
    client.put(&path, policy).await.expect(200);
    Client::login(&studio.up.ready.url, email, password).await
}

fn code(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}

#[tokio::test]
async fn a_change_goes_through_a_second_pair_of_eyes() {
    let studio = Studio::start(crate::halcyon()).await;
    let (first, second) = (&studio.client, second_admin(&studio).await);
    let body = json!({"name": "reviewed", "type": "http_webhook", "config": config("v1")});
    let made = first.post("/datasources", body).await.expect(201);
    let path = format!("/datasources/{}", made["id"].as_str().unwrap());
    let id = path.rsplit('/').next().unwrap();
    let at = |below: &str| format!("{path}{below}");
    first
        .put(&at("/secrets/token"), json!({"value": TOKEN}))
        .await
        .expect(200);

    let refused = first.post(&at("/publish"), json!({})).await.expect(409);
    assert_eq!(code(&refused), "approval_required");
    let approval = ask(first, &path).await;
    let own = first.post(&format!("{approval}/approve"), json!({})).await;
    assert_eq!(code(&own.expect(403)), "own_work");
    second
        .post(
            &format!("{approval}/comments"),
            json!({"body": "fine", "pointer": "/mapping"}),
        )
        .await
        .expect(201);
    second
        .post(&format!("{approval}/approve"), json!({"comment": "fine"}))
        .await
        .expect(200);

    // An edit in between: what was approved is another configuration.
    first
        .put(&at("/versions/1"), json!({"config": config("v1, edited")}))
        .await
        .expect(200);
    assert_eq!(first.get(&approval).await["status"], "superseded");
    first.post(&at("/publish"), json!({})).await.expect(409);
    let approval = ask(first, &path).await;
    second
        .post(&format!("{approval}/approve"), json!({}))
        .await
        .expect(200);
    first.post(&at("/publish"), json!({})).await.expect(200);
    first.wait_running(id, 1).await;
    assert_eq!(first.get(&approval).await["status"], "used");

    impact_of_the_next(first, &path, id).await;

    let glass = json!({"break_glass": {"reason": "the vendor changed its format today"}});
    first.post(&at("/publish"), glass).await.expect(200);
    first.wait_running(id, 2).await;
    for kind in [
        "approval_requested",
        "approved",
        "approval_reset",
        "published",
        "break_glass",
    ] {
        first
            .wait_for(&format!("`{kind}` in the history"), async |client| {
                let rows = client.all(&format!("{path}/events?kind={kind}")).await;
                !rows.is_empty()
            })
            .await;
    }
    first
        .wait_for("the broken glass in the trail", async |client| {
            let rows = client.all("/audit?action=datasource.break_glass").await;
            rows.len() == 1 && rows[0]["summary"].as_str().unwrap().contains("BREAK GLASS")
        })
        .await;
    // Back to what was approved needs nobody.
    first
        .post(&at("/rollback"), json!({"version": 1}))
        .await
        .expect(200);
    first.wait_running(id, 3).await;
    stop_and_start(first, id).await;
    studio.up.stop();
}

async fn ask(client: &Client, path: &str) -> String {
    let asked = client
        .post(&format!("{path}/approvals"), json!({}))
        .await
        .expect(201);
    format!("{path}/approvals/{}", asked["id"].as_str().unwrap())
}

/// A draft is tried on samples beside what runs: one of them a dead letter, with bytes that are no text.
async fn impact_of_the_next(client: &Client, path: &str, id: &str) {
    let event = json!({"seq": 1, "host": "a", "at": "2026-01-02T03:04:05Z"});
    let sample = json!({"name": "an event", "payload": event});
    let sample = client.post(&format!("{path}/samples"), sample).await.expect(201);
    let tried = json!({"version": 1, "sample": sample["id"]});
    let tried = client.post(&format!("{path}/test"), tried).await.expect(200);
    assert_eq!(tried["ok"], true, "{tried}");
    assert_eq!(client.ingest(id, b"\xff\xfe".to_vec()).await.status, 202);
    let letters = format!("{path}/dead-letters");
    client
        .wait_for("a dead letter", async |client| {
            !client.all(&letters).await.is_empty()
        })
        .await;
    let letter = client.all(&letters).await[0]["id"].clone();
    let broken = json!({"name": "broken", "dead_letter": letter});
    let broken = client.post(&format!("{path}/samples"), broken).await.expect(201);
    let broken = client
        .get(&format!("{path}/samples/{}", broken["id"].as_str().unwrap()))
        .await;
    assert_eq!(broken["payload_base64"], "//4=");

    client
        .post(&format!("{path}/versions"), json!({"config": config("v2")}))
        .await
        .expect(201);
    let impact = client
        .post(&format!("{path}/versions/2/impact"), json!({}))
        .await
        .expect(200);
    assert_eq!(
        (&impact["effect"], &impact["publishable"], &impact["errors"]),
        (&json!("hot_swap"), &json!(false), &json!([])),
        "only the approval is missing: {impact}"
    );
    assert_eq!(
        impact["approval"],
        json!({"required": true, "given": false, "id": null, "status": null})
    );
    assert_eq!(impact["outputs_changed"], 1, "{impact}");
    let of = |name: &str| {
        let all = impact["samples"].as_array().unwrap();
        all.iter().find(|sample| sample["name"] == name).unwrap().clone()
    };
    assert_eq!(of("an event")["changed"][0]["patch"][0]["path"], "/title");
    assert_eq!(of("broken")["dead_letters"], 1);
}

async fn stop_and_start(client: &Client, id: &str) {
    let bulk = |action: &str, dry_run: bool| {
        let body = json!({"action": action, "ids": [id], "dry_run": dry_run});
        client.post("/datasources/bulk", body)
    };
    let dry = bulk("stop", true).await.expect(200);
    assert_eq!(
        (&dry["ok"], &dry["items"][0]["detail"]),
        (&json!(1), &json!("would stop"))
    );
    for (action, status) in [("stop", "STOPPED"), ("start", "RUNNING")] {
        assert_eq!(bulk(action, false).await.expect(200)["ok"], 1);
        client
            .wait_for(&format!("{id} to be {status}"), async |client| {
                client.get(&format!("/datasources/{id}")).await["state"]["status"] == status
            })
            .await;
    }
    assert_eq!(bulk("start", false).await.expect(200)["skipped"], 1);
}
