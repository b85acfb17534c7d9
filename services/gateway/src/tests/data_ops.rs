//! Dead letters processed anew, and checkpoints: who may, what is refused, what is written to the trail.

use halcyon_bus::requests::CheckpointInfo;
use halcyon_domain::{
    access::{Role, Scope},
    clock::Timestamp,
    error::InputError,
    event::{DeadLetter, EventId, IngestEvent},
};
use serde_json::json;

use super::support::{Gateway, config};
use crate::app::StoredDeadLetter;

fn letter(gateway: &Gateway, id: &str, sequence: u64, attempt: u32) -> StoredDeadLetter {
    let event = IngestEvent {
        id: EventId::from("event".to_owned()),
        organization: gateway.organization,
        datasource: id.parse().unwrap(),
        received_at: Timestamp::default(),
        content_type: None,
        headers: Default::default(),
        attempt,
        payload: "{}".into(),
    };
    StoredDeadLetter {
        sequence,
        letter: DeadLetter {
            event,
            index: 0,
            version: 1,
            failure: InputError::new("/mapping", "missing", "nothing there"),
            failed_at: Timestamp::default(),
        },
    }
}

async fn feed(gateway: &Gateway, kind: &str) -> String {
    let token = gateway.admin();
    let body = json!({"name": kind, "type": kind, "config": config("title")});
    let made = gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_replay_raises_the_attempt_and_takes_an_operator() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway, "http_webhook").await;
    let path = format!("/datasources/{id}/dead-letters/replay");
    let viewer = gateway
        .user(Role::Viewer, Scope::Organization(gateway.organization))
        .await;
    let operator = gateway
        .user(Role::Operator, Scope::Organization(gateway.organization))
        .await;
    let ids = json!({"ids": ["3"]});
    gateway
        .call(&viewer, "POST", &path, Some(ids.clone()))
        .await
        .expect(403);
    let draft = gateway
        .call(&operator, "POST", &path, Some(ids.clone()))
        .await
        .expect(409);
    assert_eq!(draft["type"], "urn:halcyon:problem:not_accepting");
    gateway
        .call(
            &gateway.admin(),
            "PUT",
            &format!("/datasources/{id}/secrets/token"),
            Some(json!({"value": "s3cret"})),
        )
        .await
        .expect(200);
    gateway
        .call(
            &gateway.admin(),
            "POST",
            &format!("/datasources/{id}/publish"),
            Some(json!({})),
        )
        .await
        .expect(200);
    gateway
        .stand
        .dead_letters
        .lock()
        .unwrap()
        .push(letter(&gateway, &id, 3, 4));
    let report = gateway
        .call(&operator, "POST", &path, Some(ids))
        .await
        .expect(200);
    assert_eq!(
        (&report["dead_letters"], &report["events"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(gateway.stand.replayed.lock().unwrap()[0].attempt, 5);
    let trail = gateway.trail().await;
    assert_eq!(
        trail
            .iter()
            .filter(|entry| entry.action == "dead_letter.replay")
            .count(),
        1
    );
    let nothing = gateway
        .call(&operator, "POST", &path, Some(json!({})))
        .await
        .expect(422);
    assert_eq!(nothing["errors"][0]["code"], "required");
}

#[tokio::test]
async fn a_checkpoint_is_for_pull_sources_and_is_written_at_its_revision() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let pushed = feed(&gateway, "http_webhook").await;
    let path = format!("/datasources/{pushed}/checkpoint");
    let refused = gateway.call(&token, "GET", &path, None).await.expect(409);
    assert_eq!(refused["type"], "urn:halcyon:problem:no_checkpoint");

    let pulled = feed(&gateway, "generator").await;
    let path = format!("/datasources/{pulled}/checkpoint");
    gateway.call(&token, "GET", &path, None).await.expect(404);
    *gateway.stand.checkpoint.lock().unwrap() = Some(CheckpointInfo {
        position: json!({"sequence": 7}),
        at: Timestamp::default(),
        revision: 12,
    });
    let found = gateway.call(&token, "GET", &path, None).await;
    assert_eq!(found.header("etag"), "\"12\"");
    assert_eq!(found.expect(200)["position"]["sequence"], 7);
    let body = json!({"position": {"sequence": 9}});
    let bearer = format!("Bearer {token}");
    let full = format!("/api/v1{path}");
    let headers = [("authorization", bearer.as_str()), ("if-match", "\"11\"")];
    gateway.ask("PUT", &full, &headers, Some(&body)).await.expect(412);
    let headers = [("authorization", bearer.as_str()), ("if-match", "\"12\"")];
    let put = gateway.ask("PUT", &full, &headers, Some(&body)).await.expect(200);
    assert_eq!(put["revision"], 13);
    let null = gateway
        .call(&token, "PUT", &path, Some(json!({"position": null})))
        .await
        .expect(422);
    assert_eq!(null["errors"][0]["pointer"], "/position");
    let operator = gateway
        .user(Role::Operator, Scope::Organization(gateway.organization))
        .await;
    gateway.call(&operator, "DELETE", &path, None).await.expect(403);
    gateway.call(&token, "DELETE", &path, None).await.expect(204);
}
