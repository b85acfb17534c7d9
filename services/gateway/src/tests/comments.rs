//! Comments and archiving.

use halcyon_domain::access::{Role, Scope};
use serde_json::{Value, json};

use super::{
    feed::{Feed, code},
    support::config,
};

#[tokio::test]
async fn a_thread_is_answered_settled_and_taken_up_again() {
    let feed = Feed::draft().await;
    let everywhere = Scope::Organization(feed.gateway.organization);
    let operator = feed.gateway.user(Role::Operator, everywhere).await;
    let viewer = feed.gateway.user(Role::Viewer, everywhere).await;
    const COMMENTS: &str = "/versions/1/comments";
    let body = json!({"body": "why this title?", "pointer": "/mapping/outputs/0/fields/title"});
    let root = feed.by(&operator, "POST", COMMENTS, body).await.expect(201);
    let path = format!("{COMMENTS}/{}", root["id"].as_str().unwrap());
    assert_eq!(root["thread"], root["id"]);
    let reply = json!({"body": "the vendor's own", "reply_to": root["id"]});
    let reply = feed.call("POST", COMMENTS, reply).await.expect(201);
    assert_eq!((&reply["thread"], &reply["reply_to"]), (&root["id"], &root["id"]));

    let foreign = feed.call("PUT", &path, json!({"body": "x"})).await.expect(403);
    assert_eq!(code(&foreign), "not_yours");
    let edited = feed
        .by(&operator, "PUT", &path, json!({"body": "why that title?"}))
        .await;
    let edited = edited.expect(200);
    assert_eq!(
        (&edited["body"], &edited["revision"]),
        (&json!("why that title?"), &json!(2))
    );
    assert!(edited["edited_at"].is_string());

    let on_reply = format!("{COMMENTS}/{}/resolve", reply["id"].as_str().unwrap());
    assert_eq!(
        code(&feed.call("POST", &on_reply, json!({})).await.expect(409)),
        "not_a_thread"
    );
    let settled = feed
        .call("POST", &format!("{path}/resolve"), json!({}))
        .await
        .expect(200);
    assert!(settled["resolved_at"].is_string() && settled["resolved_by"]["kind"] == "user");
    let open = feed
        .call("POST", &format!("{path}/reopen"), json!({}))
        .await
        .expect(200);
    assert!(open["resolved_at"].is_null());

    feed.by(&operator, "DELETE", &path, json!({})).await.expect(204);
    let list = feed.get(COMMENTS).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2, "its place stays");
    assert_eq!(
        (&list["items"][0]["body"], &list["items"][0]["pointer"]),
        (&json!(""), &Value::Null)
    );
    feed.by(&operator, "PUT", &path, json!({"body": "x"}))
        .await
        .expect(404);
    let gone = json!({"body": "x", "reply_to": root["id"]});
    feed.call("POST", COMMENTS, gone).await.expect(422);
    for unfit in [
        json!({"body": " "}),
        json!({"body": "x".repeat(4_001)}),
        json!({"body": "x", "pointer": "/nothing"}),
        json!({"text": "x"}),
    ] {
        feed.call("POST", COMMENTS, unfit).await.expect(422);
    }
    feed.call("POST", "/versions/9/comments", json!({"body": "x"}))
        .await
        .expect(404);
    feed.by(&viewer, "POST", COMMENTS, json!({"body": "x"}))
        .await
        .expect(403);
    let trail = feed.gateway.trail().await;
    let of = |action: &str| trail.iter().filter(|entry| entry.action == action).count();
    assert_eq!(
        (of("comment.create"), of("comment.update"), of("comment.delete")),
        (2, 1, 1)
    );
    assert!(
        !format!("{trail:?}").contains("vendor's own"),
        "what is said stays where it is said"
    );
}

#[tokio::test]
async fn comments_on_an_approval_stand_with_those_on_its_version() {
    let feed = Feed::draft().await;
    let asked = feed.call("POST", "/approvals", json!({})).await.expect(201);
    let path = format!("/approvals/{}/comments", asked["id"].as_str().unwrap());
    let made = feed.call("POST", &path, json!({"body": "looks fine"})).await;
    let location = made.header("location").to_owned();
    assert_eq!(made.expect(201)["approval"], asked["id"]);
    feed.call("POST", "/versions/1/comments", json!({"body": "one more"}))
        .await
        .expect(201);
    assert_eq!(feed.get(&path).await["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        feed.get("/versions/1/comments").await["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let at = location
        .strip_prefix("/api/v1")
        .unwrap()
        .strip_prefix(&feed.path)
        .unwrap();
    assert_eq!(feed.get(at).await["body"], "looks fine");
    let nobody = format!("/approvals/{}/comments", uuid::Uuid::now_v7());
    feed.call("POST", &nobody, json!({"body": "x"})).await.expect(404);
}

#[tokio::test]
async fn a_draft_is_archived_and_a_published_version_is_not() {
    let feed = Feed::published().await;
    for title in ["name", "other"] {
        let body = json!({"config": config(title)});
        feed.call("POST", "/versions", body).await.expect(201);
    }
    feed.call("POST", "/versions/1/archive", json!({}))
        .await
        .expect(409);
    let archived = feed
        .call("POST", "/versions/3/archive", json!({"comment": "not now"}))
        .await
        .expect(200);
    assert_eq!(
        (&archived["state"], &archived["published_at"]),
        (&json!("archived"), &Value::Null)
    );
    assert_eq!(feed.get("").await["draft_version"], 2);
    feed.call("POST", "/versions/3/archive", json!({}))
        .await
        .expect(409);
    feed.call("PUT", "/versions/3", json!({"comment": "x"}))
        .await
        .expect(409);
    feed.call("POST", "/publish", json!({"version": 3}))
        .await
        .expect(409);
    feed.call("POST", "/versions/2/archive", json!({}))
        .await
        .expect(200);
    assert_eq!(feed.get("").await["draft_version"], Value::Null);
    let entry = feed.gateway.trail().await.pop().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.version),
        ("version.archive", Some(2))
    );
}
