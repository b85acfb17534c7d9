//! The outbox and the audit trail.

use halcyon_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
    id::AuditEntryId,
};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{at, on_both};
use crate::{
    AllTenants, AuditFilter, AuditHead, AuditLink, Error, NewMessage, PageRequest, Tenant, Topic, Unique,
    db::Executes,
};

const WHY: AllTenants = AllTenants::because("a test");

#[tokio::test]
async fn the_outbox_keeps_its_order() {
    on_both(|fixture| async move {
        let ours = fixture.tenant("ours").await;
        let messages: Vec<_> = (0..5)
            .map(|n| {
                let mut message =
                    NewMessage::new(Topic::Config, "datasource:1", None, &json!({"n": n}), at(n)).unwrap();
                message.trace.insert("traceparent".into(), "00-1-2-01".into());
                message
            })
            .collect();
        let tx = fixture.store.begin().await.unwrap();
        tx.outbox().append(ours, &messages).await.unwrap();
        tx.commit().await.unwrap();
        let tx = fixture.store.begin().await.unwrap();
        tx.outbox().append(ours, &messages[..1]).await.unwrap_err();
        tx.rollback().await.unwrap();
        let read = fixture.store.read();
        let next = read.outbox().next(WHY, 3).await.unwrap();
        let read_back: Vec<_> = next.iter().map(|row| row.message.clone()).collect();
        assert_eq!(read_back, messages[..3]);
        assert_eq!(next[0].organization, ours.0);
        let tx = fixture.store.begin().await.unwrap();
        tx.outbox()
            .delete(WHY, &[messages[0].id, messages[1].id])
            .await
            .unwrap();
        tx.commit().await.unwrap();
        assert_eq!(read.outbox().pending(WHY).await.unwrap(), 3);
        assert_eq!(read.outbox().next(WHY, 1).await.unwrap()[0].message, messages[2]);
    })
    .await;
}

fn entry(tenant: Tenant, n: i64) -> AuditEntry {
    AuditEntry {
        id: AuditEntryId::generate(),
        organization: tenant.0,
        at: at(n),
        actor: Actor {
            kind: ActorKind::User,
            id: Some(uuid::Uuid::nil()),
            name: "ann".into(),
        },
        action: if n % 2 == 0 {
            "datasource.publish"
        } else {
            "secret.write"
        }
        .into(),
        resource: Resource {
            kind: "datasource".into(),
            id: Some(format!("d{n}")),
            name: None,
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: Some(json!({"z": "\0", "a": 1})),
        summary: None,
        request_id: Some(format!("r{n}")),
        remote_ip: None,
    }
}

fn link(entry: &AuditEntry, sequence: i64) -> AuditLink {
    AuditLink {
        organization: entry.organization,
        sequence,
        id: entry.id,
        prev_hash: vec![0; 32],
        hash: vec![u8::try_from(sequence).unwrap(); 32],
        body: serde_json::to_string(entry).unwrap(),
        recorded_at: entry.at,
    }
}

/// An entry and its link, with hashes that nothing checks.
pub(super) fn linked(tenant: Tenant, sequence: i64) -> (AuditLink, AuditEntry) {
    let entry = entry(tenant, sequence);
    (link(&entry, sequence), entry)
}

#[tokio::test]
async fn the_audit_trail_only_grows() {
    on_both(|fixture| async move {
        let (ours, theirs) = (fixture.tenant("ours").await, fixture.tenant("theirs").await);
        let entries: Vec<_> = (1..=4).map(|n| entry(ours, n)).collect();
        let links: Vec<_> = entries
            .iter()
            .zip(1..)
            .map(|(entry, n)| (link(entry, n), entry.clone()))
            .collect();
        let tx = fixture.store.begin().await.unwrap();
        assert_eq!(tx.audit().head(ours).await.unwrap(), None);
        tx.audit().append(&links).await.unwrap();
        let head = tx.audit().head(ours).await.unwrap();
        assert_eq!(
            head,
            Some(AuditHead {
                sequence: 4,
                hash: vec![4; 32],
                recorded_at: at(4),
            })
        );
        let asked = [entries[0].id, AuditEntryId::generate()];
        assert_eq!(
            tx.audit().known(ours, &asked).await.unwrap(),
            [entries[0].id].into()
        );
        tx.commit().await.unwrap();

        let read = fixture.store.read();
        let chain = read.audit().chain(ours, 1, 2).await.unwrap();
        assert!(chain.iter().all(|row| row.misfiled.is_none()), "{chain:?}");
        let chain: Vec<_> = chain.into_iter().map(|row| row.link).collect();
        assert_eq!(chain, [links[1].0.clone(), links[2].0.clone()]);
        assert_eq!(chain[0].entry().unwrap(), entries[1]);
        assert_eq!(
            read.audit().find(ours, entries[2].id).await.unwrap().as_ref(),
            Some(&links[2].0)
        );
        assert_eq!(read.audit().find(theirs, entries[2].id).await.unwrap(), None);
        assert_eq!(read.audit().length(ours).await.unwrap(), 4);
        assert_eq!(read.audit().length(theirs).await.unwrap(), 0);
        assert_eq!(read.audit().organizations(WHY).await.unwrap(), [ours.0]);
        let count = async |filter: AuditFilter| {
            read.audit()
                .list(ours, &filter, &PageRequest::default())
                .await
                .unwrap()
                .items
                .len()
        };
        assert_eq!(
            count(AuditFilter {
                action: Some("secret.write".into()),
                ..Default::default()
            })
            .await,
            2
        );
        assert_eq!(
            count(AuditFilter {
                actor: Some("ann".into()),
                ..Default::default()
            })
            .await,
            4
        );
        for (filter, found) in [
            (
                AuditFilter {
                    action: Some("secret.*".into()),
                    ..Default::default()
                },
                2,
            ),
            (
                AuditFilter {
                    action: Some("secret".into()),
                    ..Default::default()
                },
                0,
            ),
            (
                AuditFilter {
                    outcome: Some(AuditOutcome::Succeeded),
                    ..Default::default()
                },
                4,
            ),
            (
                AuditFilter {
                    outcome: Some(AuditOutcome::Refused),
                    ..Default::default()
                },
                0,
            ),
            (
                AuditFilter {
                    request_id: Some("r3".into()),
                    ..Default::default()
                },
                1,
            ),
            (
                AuditFilter {
                    q: Some("\"ANN\"".into()),
                    ..Default::default()
                },
                4,
            ),
            (
                AuditFilter {
                    // With its quotes, as the random ids of an entry may hold the bare letters.
                    q: Some("\"d4\"".into()),
                    ..Default::default()
                },
                1,
            ),
            (
                AuditFilter {
                    q: Some("%".into()),
                    ..Default::default()
                },
                0,
            ),
        ] {
            assert_eq!(count(filter.clone()).await, found, "{filter:?}");
        }
        let nobody = AuditFilter {
            actor: Some(uuid::Uuid::max().to_string()),
            ..Default::default()
        };
        assert_eq!(count(nobody).await, 0);
        let one = AuditFilter {
            resource: Some("datasource:d2".into()),
            ..Default::default()
        };
        assert_eq!(count(one).await, 1);
        assert_eq!(
            count(AuditFilter {
                from: Some(at(2)),
                to: Some(at(4)),
                ..Default::default()
            })
            .await,
            2
        );
        let none = AuditFilter::default();
        assert!(
            read.audit()
                .list(theirs, &none, &PageRequest::default())
                .await
                .unwrap()
                .items
                .is_empty()
        );

        let tx = fixture.store.begin().await.unwrap();
        let twice = tx.audit().append(&links[..1]).await.unwrap_err();
        assert!(
            matches!(twice, Error::Conflict(Unique::AuditSequence)),
            "{twice:?}"
        );
        tx.rollback().await.unwrap();
        let direct = [
            "UPDATE audit_entries_default SET body = ''",
            "DELETE FROM audit_entries_default",
            "TRUNCATE audit_entries",
        ];
        let direct = if fixture.store.is_postgres() {
            &direct[..]
        } else {
            &[]
        };
        let all = ["UPDATE audit_entries SET body = ''", "DELETE FROM audit_entries"];
        for sql in all.iter().chain(direct) {
            let tx = fixture.store.begin().await.unwrap();
            let refused = tx.db().execute_unprepared(sql).await.unwrap_err();
            assert!(refused.to_string().contains("append-only"), "{refused}");
        }
    })
    .await;
}
