//! The audit trail read, verified and exported.

use std::io::Cursor;

use halcyon_domain::{
    access::{Role, Scope},
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, CheckpointKind, Resource},
    clock::{Clock, SystemClock},
    hex::Hex,
    id::{AuditEntryId, DatasourceId},
};
use halcyon_store::{AuditLink, Tenant};
use halcyon_trail::{SigningKeys, chain::hash, checkpoint::Statement, file};
use serde_json::{Value, json};

use super::support::Gateway;

/// Writes a trail of eight entries with a checkpoint at its end, as the audit service does.
async fn trail(gateway: &Gateway, datasource: &str) -> Vec<AuditEntry> {
    let folder = tempfile::tempdir().unwrap();
    let private = folder.path().join("a.key");
    SigningKeys::create_file(&private, &folder.path().join("a.pub")).unwrap();
    let keys = SigningKeys::read_file(&private).unwrap();
    let (mut rows, mut previous) = (Vec::new(), Vec::new());
    for sequence in 1..=8_i64 {
        let refused = sequence % 4 == 0;
        let entry = AuditEntry {
            id: AuditEntryId::generate(),
            organization: gateway.organization,
            at: SystemClock.now(),
            actor: Actor {
                kind: ActorKind::User,
                id: Some(uuid::Uuid::from_u128(7)),
                name: if refused { "eve" } else { "ann" }.into(),
            },
            action: if sequence % 2 == 0 {
                "datasource.publish"
            } else {
                "secret.write"
            }
            .into(),
            resource: Resource {
                kind: "datasource".into(),
                id: Some(if sequence > 6 {
                    format!("{datasource}/token")
                } else {
                    "other".into()
                }),
                name: Some("=cmd|'/C calc'!A0".into()),
            },
            version: None,
            outcome: if refused {
                AuditOutcome::Refused
            } else {
                AuditOutcome::Succeeded
            },
            diff: None,
            summary: Some(format!("change number {sequence}")),
            request_id: Some(format!("request-{sequence}")),
            remote_ip: None,
        };
        let body = serde_json::to_string(&entry).unwrap();
        let link = AuditLink {
            organization: gateway.organization,
            sequence,
            id: entry.id,
            hash: hash(gateway.organization, sequence, &previous, &body),
            prev_hash: previous,
            body,
            recorded_at: entry.at,
        };
        previous = link.hash.clone();
        rows.push((link, entry));
    }
    let statement = Statement {
        organization: gateway.organization,
        kind: CheckpointKind::Head,
        number: 1,
        sequence: 8,
        hash: previous,
        at: SystemClock.now(),
    };
    let tx = gateway.store.begin().await.unwrap();
    tx.audit().append(&rows).await.unwrap();
    tx.audit_checkpoints()
        .insert(&statement.sign(&keys))
        .await
        .unwrap();
    for key in keys.records(SystemClock.now()) {
        tx.audit_checkpoints().insert_key(&key).await.unwrap();
    }
    tx.commit().await.unwrap();
    rows.into_iter().map(|(_, entry)| entry).collect()
}

async fn sequences(gateway: &Gateway, token: &str, path: &str) -> Vec<i64> {
    let list = gateway.call(token, "GET", path, None).await.expect(200);
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["sequence"].as_i64().unwrap())
        .collect()
}

#[tokio::test]
async fn entries_are_found_by_what_they_say() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    let entries = trail(&gateway, "d").await;
    for (query, found) in [
        ("", vec![8, 7, 6, 5, 4, 3, 2, 1]),
        ("?sort=sequence&limit=3", vec![1, 2, 3]),
        ("?sort=-at&limit=1", vec![8]),
        ("?action=datasource.publish", vec![8, 6, 4, 2]),
        ("?action=secret.*", vec![7, 5, 3, 1]),
        ("?actor=eve", vec![8, 4]),
        (
            "?actor=00000000-0000-0000-0000-000000000007&outcome=succeeded&limit=2",
            vec![7, 6],
        ),
        ("?outcome=refused", vec![8, 4]),
        ("?request_id=request-5", vec![5]),
        ("?q=NUMBER%203", vec![3]),
        ("?q=%25", vec![]),
        ("?resource=d", vec![8, 7]),
        ("?resource=datasource:other&limit=1", vec![6]),
        ("?from=2200-01-01T00:00:00Z", vec![]),
    ] {
        assert_eq!(
            sequences(&gateway, &token, &format!("/audit{query}")).await,
            found,
            "{query}"
        );
    }
    gateway
        .call(&token, "GET", "/audit?outcome=maybe", None)
        .await
        .expect(400);
    gateway
        .call(&token, "GET", "/audit?colour=red", None)
        .await
        .expect(400);
    let one = gateway
        .call(&token, "GET", &format!("/audit/{}", entries[2].id), None)
        .await
        .expect(200);
    assert_eq!(
        (&one["sequence"], &one["action"]),
        (&json!(3), &json!("secret.write"))
    );
    let none = AuditEntryId::generate();
    gateway
        .call(&token, "GET", &format!("/audit/{none}"), None)
        .await
        .expect(404);
}

#[tokio::test]
async fn the_trail_is_verified_and_what_is_wrong_is_named() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    trail(&gateway, "d").await;
    let verify = async |query: &str| {
        let path = format!("/audit/verify{query}");
        gateway.call(&token, "GET", &path, None).await.expect(200)
    };
    let good = verify("").await;
    assert_eq!(
        (
            &good["ok"],
            &good["entries"],
            &good["checkpoints"],
            &good["confirmed"],
            &good["first_bad"]
        ),
        (&json!(true), &json!(8), &json!(1), &json!(8), &Value::Null)
    );
    assert_eq!(
        (&good["anchored"], &good["pinned_keys"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(verify("?after=5").await["entries"], 3);
    // The bus remembers a checkpoint that the database does not have.
    let read = gateway.store.read();
    let tenant = Tenant(gateway.organization);
    let mut kept = read
        .audit_checkpoints()
        .newest(tenant, CheckpointKind::Head)
        .await
        .unwrap()
        .unwrap();
    *gateway.stand.anchor.lock().unwrap() = Some(kept.clone());
    assert_eq!(verify("").await["anchored"], 8);
    kept.signature = Hex(vec![0; 64]);
    *gateway.stand.anchor.lock().unwrap() = Some(kept);
    let bad = verify("").await;
    assert_eq!(
        (&bad["ok"], &bad["first_bad"]["kind"]),
        (&json!(false), &json!("forged_checkpoint"))
    );
    *gateway.stand.down.lock().unwrap() = true;
    assert_eq!(
        verify("").await["ok"],
        true,
        "without the bus the database is verified"
    );
    let list = gateway
        .call(&token, "GET", "/audit/checkpoints", None)
        .await
        .expect(200);
    assert_eq!(list["items"][0]["sequence"], 8);
    let keys = gateway.call(&token, "GET", "/audit/keys", None).await.expect(200);
    assert_eq!(keys["items"][0]["id"], list["items"][0]["key"]);
}

#[tokio::test]
async fn an_export_can_be_verified_elsewhere_and_leaves_an_entry() {
    let gateway = Gateway::start().await;
    let token = gateway.admin();
    trail(&gateway, "d").await;
    let answer = gateway.call(&token, "GET", "/audit/export", None).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    assert!(answer.header("content-disposition").contains("audit.jsonl"));
    let text = answer.expect(200).as_str().unwrap().to_owned();
    let report = file::verify(Cursor::new(text.as_bytes()), &[], &[]).unwrap();
    assert_eq!(
        (
            report.report.fault,
            report.report.entries,
            report.report.confirmed
        ),
        (None, 8, 8)
    );
    assert!(report.ended && !report.filtered);
    let said = gateway.stand.audit.lock().unwrap().last().cloned().unwrap();
    assert_eq!(
        (said.action.as_str(), said.outcome),
        ("audit.export", AuditOutcome::Succeeded)
    );

    let answer = gateway
        .call(&token, "GET", "/audit/export?format=csv&outcome=refused", None)
        .await;
    assert!(answer.header("content-type").starts_with("text/csv"));
    let text = answer.expect(200).as_str().unwrap().to_owned();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("\"'=cmd"), "{text}");
    *gateway.stand.down.lock().unwrap() = true;
    gateway
        .call(&token, "GET", "/audit/export", None)
        .await
        .expect(503);
}

#[tokio::test]
async fn who_sees_the_trail_and_which_part_of_it() {
    let gateway = Gateway::start().await;
    let admin = gateway.admin();
    let body = json!({"name": "EDR", "type": "generator"});
    let made = gateway
        .call(&admin, "POST", "/datasources", Some(body))
        .await
        .expect(201);
    let id = made["id"].as_str().unwrap();
    let datasource: DatasourceId = id.parse().unwrap();
    trail(&gateway, id).await;
    let all = [
        "/audit",
        "/audit/verify",
        "/audit/export",
        "/audit/stream",
        "/audit/checkpoints",
        "/audit/keys",
    ];
    let viewer = gateway
        .user(Role::Viewer, Scope::Organization(gateway.organization))
        .await;
    let of_project = gateway.user(Role::Admin, Scope::Project(gateway.project)).await;
    let of_one = gateway.user(Role::Admin, Scope::Datasource(datasource)).await;
    for token in [&viewer, &of_project, &of_one] {
        let before = gateway.refusals().len();
        for path in all {
            gateway.call(token, "GET", path, None).await.expect(403);
        }
        assert_eq!(
            gateway.refusals().len(),
            before + all.len(),
            "each refusal is an entry"
        );
    }
    let own = format!("/datasources/{id}/audit");
    for token in [&admin, &of_project, &of_one] {
        assert_eq!(sequences(&gateway, token, &own).await, [8, 7]);
        assert_eq!(
            sequences(&gateway, token, &format!("{own}?outcome=refused")).await,
            [8]
        );
    }
    gateway.call(&viewer, "GET", &own, None).await.expect(403);
    gateway
        .call(&of_one, "GET", &format!("{own}?resource=x"), None)
        .await
        .expect(400);
    let elsewhere = gateway
        .user(Role::Admin, Scope::Datasource(DatasourceId::generate()))
        .await;
    gateway.call(&elsewhere, "GET", &own, None).await.expect(404);
}
