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
        replay: None,
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
            complete: true,
        },
    }
}

async fn feed(gateway: &Gateway, kind: &str) -> String {
    let token = gateway.admin();
    let mut config = config("title");
    if kind == "generator" {
        config["connection"] = json!({"records_per_second": 1});
    }
    let body = json!({"name": kind, "type": kind, "config": config});
    let made = gateway
        .call(&token, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    made["id"].as_str().unwrap().to_owned()
}

/// A webhook whose first version is in effect.
async fn published(gateway: &Gateway) -> String {
    let id = feed(gateway, "http_webhook").await;
    let admin = gateway.admin();
    let secret = format!("/datasources/{id}/secrets/token");
    gateway
        .call(&admin, "PUT", &secret, Some(json!({"value": "s3cret"})))
        .await
        .expect(200);
    let publish = format!("/datasources/{id}/publish");
    gateway
        .call(&admin, "POST", &publish, Some(json!({})))
        .await
        .expect(200);
    id
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
async fn bodies_are_for_operators_and_a_download_is_in_the_trail() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway, "http_webhook").await;
    let scope = Scope::Organization(gateway.organization);
    let viewer = gateway.user(Role::Viewer, scope).await;
    let operator = gateway.user(Role::Operator, scope).await;
    {
        let mut letters = gateway.stand.dead_letters.lock().unwrap();
        let mut other = letter(&gateway, &id, 4, 0);
        other.letter.failure.code = "invalid".to_owned();
        other.letter.version = 2;
        other.letter.event.id = EventId::from("other".to_owned());
        letters.extend([letter(&gateway, &id, 3, 0), other]);
    }
    let path = format!("/datasources/{id}/dead-letters");
    let seen = gateway.call(&viewer, "GET", &path, None).await.expect(200);
    assert_eq!(seen["items"][0]["withheld"], true);
    assert!(seen["items"][0]["payload"].is_null(), "{seen}");
    let seen = gateway.call(&operator, "GET", &path, None).await.expect(200);
    assert_eq!(
        (&seen["items"][0]["withheld"], &seen["items"][0]["payload"]),
        (&json!(false), &json!("{}"))
    );
    for (filter, wanted) in [
        ("code=invalid", vec!["4"]),
        ("version=1", vec!["3"]),
        ("event_id=other", vec!["4"]),
        ("q=NOTHING", vec!["3", "4"]),
        ("q=absent", vec![]),
        ("from=2030-01-01T00:00:00Z", vec![]),
        ("sort=-failed_at", vec!["4", "3"]),
    ] {
        let path = format!("{path}?{filter}");
        let found = gateway.call(&viewer, "GET", &path, None).await.expect(200);
        let ids: Vec<_> = found["items"].as_array().unwrap().iter().collect();
        let ids: Vec<_> = ids.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!(ids, wanted, "{filter}: {found}");
    }
    gateway
        .call(&viewer, "GET", &format!("{path}/5"), None)
        .await
        .expect(404);
    let one = gateway
        .call(&viewer, "GET", &format!("{path}/4"), None)
        .await
        .expect(200);
    assert_eq!(one["event_id"], "other");

    let download = format!("{path}/download?version=2");
    gateway.call(&viewer, "GET", &download, None).await.expect(403);
    let file = gateway.call(&operator, "GET", &download, None).await;
    assert_eq!(file.header("content-type"), "application/x-ndjson");
    let line = file.expect(200);
    assert_eq!((&line["id"], &line["payload"]), (&json!("4"), &json!("{}")));
    let raw = format!("{path}/download?format=raw");
    let raw = gateway.call(&operator, "GET", &raw, None).await.expect(200);
    assert_eq!(raw, "{}\n{}\n");
    let entries = gateway.stand.audit.lock().unwrap();
    let told: Vec<_> = entries
        .iter()
        .filter(|entry| entry.action == "dead_letter.download")
        .filter_map(|entry| entry.summary.as_deref())
        .collect();
    assert_eq!(
        told,
        [
            "refused: `dead_letter.payload` is needed",
            "downloaded dead letters: of version 2",
            "downloaded dead letters: all of them"
        ]
    );
}

#[tokio::test]
async fn a_page_ends_where_its_bodies_are_many_bytes() {
    const MIB: usize = 1024 * 1024;
    let gateway = Gateway::start().await;
    let id = feed(&gateway, "http_webhook").await;
    let scope = Scope::Organization(gateway.organization);
    let viewer = gateway.user(Role::Viewer, scope).await;
    let operator = gateway.user(Role::Operator, scope).await;
    let body = bytes::Bytes::from(vec![b'x'; 4 * MIB]);
    for sequence in 1..=6 {
        let mut large = letter(&gateway, &id, sequence, 0);
        large.letter.event.payload = body.clone();
        gateway.stand.dead_letters.lock().unwrap().push(large);
    }
    let path = format!("/datasources/{id}/dead-letters");
    let ids = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let first = gateway.call(&operator, "GET", &path, None).await.expect(200);
    assert_eq!(ids(&first), ["1", "2", "3", "4"]);
    let next = format!("{path}?cursor={}", first["next_cursor"].as_str().unwrap());
    let rest = gateway.call(&operator, "GET", &next, None).await.expect(200);
    assert_eq!(ids(&rest), ["5", "6"]);
    // What is not shown takes no room.
    let seen = gateway.call(&viewer, "GET", &path, None).await.expect(200);
    assert_eq!(ids(&seen), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(seen["items"][5]["size"], 4 * MIB, "{seen}");
}

#[tokio::test]
async fn times_out_of_all_range_are_refused() {
    let gateway = Gateway::start().await;
    let id = feed(&gateway, "http_webhook").await;
    let token = gateway.admin();
    let at = format!("/datasources/{id}");
    gateway
        .stand
        .dead_letters
        .lock()
        .unwrap()
        .push(letter(&gateway, &id, 3, 0));
    let (early, late) = ("-262143-01-01T00:00:00Z", "%2B262142-12-31T23:59:59Z");
    for path in [
        format!("{at}/dead-letters"),
        format!("{at}/dead-letters/download"),
        format!("{at}/events"),
        format!("{at}/audit"),
        "/audit".to_owned(),
        "/alerts".to_owned(),
    ] {
        for (query, pointer) in [
            (format!("from={early}"), "/from"),
            (format!("to={late}"), "/to"),
            (format!("from={early}&sort=-failed_at"), "/from"),
        ] {
            if query.contains("failed_at") && !path.ends_with("dead-letters") {
                continue;
            }
            let path = format!("{path}?{query}");
            let refused = gateway.call(&token, "GET", &path, None).await.expect(400);
            assert_eq!(refused["errors"][0]["pointer"], pointer, "{path}: {refused}");
        }
    }
    for path in [
        format!("{at}/dead-letters/test"),
        format!("{at}/dead-letters/replay"),
    ] {
        let body = json!({"from": "-262143-01-01T00:00:00Z"});
        let refused = gateway.call(&token, "POST", &path, Some(body)).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/from", "{path}: {refused}");
    }
}

#[tokio::test]
async fn two_replays_of_an_event_never_share_an_attempt() {
    let gateway = Gateway::start().await;
    let id = published(&gateway).await;
    let admin = gateway.admin();
    {
        let mut letters = gateway.stand.dead_letters.lock().unwrap();
        let mut second = letter(&gateway, &id, 4, 0);
        second.letter.index = 2;
        second.letter.failure.pointer = "/outputs/0".to_owned();
        let mut first = letter(&gateway, &id, 3, 0);
        first.letter.failure.pointer = "/outputs/0/fields/title".to_owned();
        let mut broken = letter(&gateway, &id, 5, 0);
        broken.letter.complete = false;
        letters.extend([first, second, broken]);
    }
    let path = format!("/datasources/{id}/dead-letters/replay");
    let all = json!({"all": true});
    let report = gateway
        .call(&admin, "POST", &path, Some(all.clone()))
        .await
        .expect(200);
    assert_eq!(
        (&report["dead_letters"], &report["events"], &report["incomplete"]),
        (&json!(3), &json!(1), &json!(1)),
        "{report}"
    );
    gateway.call(&admin, "POST", &path, Some(all)).await.expect(200);
    let sent = gateway.stand.replayed.lock().unwrap().clone();
    let attempts: Vec<_> = sent.iter().map(|event| event.attempt).collect();
    assert_eq!(attempts, [1, 2], "before the ledger has heard of either");
    let replay = sent[0].replay.as_ref().unwrap();
    assert_eq!(
        (&replay.records[..], replay.cut.as_str()),
        (&[0, 2][..], "."),
        "the records that failed, and no others"
    );
    assert_eq!(json!(replay.mark.id), report["id"]);
    assert_ne!(sent[1].replay.as_ref().unwrap().mark.id, replay.mark.id);
    let seen = gateway
        .call(&admin, "GET", &format!("/datasources/{id}/dead-letters/4"), None)
        .await
        .expect(200);
    assert_eq!(seen["replay"]["attempt"], 2);
    assert!(seen["replay"]["verdict"].is_null(), "on its way: {seen}");
}

#[tokio::test]
async fn what_a_replay_could_not_send_is_not_on_its_way() {
    let gateway = Gateway::start().await;
    let id = published(&gateway).await;
    let admin = gateway.admin();
    for sequence in 1..=3 {
        let mut one = letter(&gateway, &id, sequence, 0);
        one.letter.event.id = EventId::from(format!("event {sequence}"));
        gateway.stand.dead_letters.lock().unwrap().push(one);
    }
    *gateway.stand.lane.lock().unwrap() = Some(1);
    let path = format!("/datasources/{id}/dead-letters");
    let replay = format!("{path}/replay");
    let all = json!({"all": true});
    gateway
        .call(&admin, "POST", &replay, Some(all.clone()))
        .await
        .expect(503);
    let on_their_way = async || {
        let seen = gateway.call(&admin, "GET", &path, None).await.expect(200);
        let items = seen["items"].as_array().unwrap().iter();
        let attempts: Vec<_> = items.map(|item| item["replay"]["attempt"].clone()).collect();
        attempts
    };
    assert_eq!(on_their_way().await, [json!(1), json!(null), json!(null)]);
    *gateway.stand.lane.lock().unwrap() = None;
    gateway.call(&admin, "POST", &replay, Some(all)).await.expect(200);
    assert_eq!(on_their_way().await, [json!(2), json!(1), json!(1)]);
}

#[tokio::test]
async fn a_place_is_looked_at_without_the_secrets_that_lead_there() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let example = |kind: &str| halcyon_connectors::find(kind).unwrap().spec().example.clone();
    let feeds = [
        ("sftp", example("sftp")),
        ("s3", json!({"provider": "local", "folder": "/srv/alerts"})),
        ("http_poller", example("http_poller")),
        ("syslog", example("syslog")),
    ];
    for (kind, connection) in feeds {
        let mut config = config("title");
        config["connection"] = connection;
        let body = json!({"name": kind, "type": kind, "config": config});
        let made = gateway
            .call(&token, "POST", "/datasources", Some(body))
            .await
            .expect(201);
        let path = format!("/datasources/{}/checkpoint", made["id"].as_str().unwrap());
        let body = json!({"position": 5});
        let refused = gateway.call(&token, "PUT", &path, Some(body)).await.expect(422);
        assert_eq!(refused["errors"][0]["pointer"], "/position", "{kind}: {refused}");
    }
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
        instance: 0,
        position: json!({"sequence": 7}),
        at: Timestamp::default(),
        by: None,
        revision: 12,
        history: Vec::new(),
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
    let odd = json!({"position": {"row": 9}});
    let refused = gateway.call(&token, "PUT", &path, Some(odd)).await.expect(422);
    assert_eq!(refused["errors"][0]["pointer"], "/position");
    let third = format!("{path}?instance=2");
    gateway.call(&token, "GET", &third, None).await.expect(404);
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
