//! Making things to act on, and deleting them.

use halcyon_domain::{
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
    clock::{Clock, SystemClock, Timestamp},
    event::{EventId, EventOutcome, RecordOutcome, Verdict},
    id::{AuditEntryId, DatasourceId, OrganizationId, ProjectId, ServiceAccountId},
    ontology::{Alert, End, Entity, OntologyObject, Relationship, Severity},
};
use halcyon_store::AuditLink;
use serde_json::{Map, Value, json};

use super::world::Target;
use crate::tests::support::{Gateway, config};

/// A name that nothing else has.
pub(super) fn name() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Writes an entry into an organisation's trail.
pub(super) async fn entry(gateway: &Gateway, organization: OrganizationId) -> String {
    let id = AuditEntryId::generate();
    let entry = AuditEntry {
        id,
        organization,
        at: SystemClock.now(),
        actor: Actor {
            kind: ActorKind::System,
            id: None,
            name: "a test".to_owned(),
        },
        action: "datasource.start".to_owned(),
        resource: Resource {
            kind: "datasource".to_owned(),
            id: None,
            name: None,
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: None,
        request_id: None,
        remote_ip: None,
    };
    let link = AuditLink {
        organization,
        sequence: 1,
        id,
        hash: vec![1; 32],
        prev_hash: Vec::new(),
        body: serde_json::to_string(&entry).unwrap(),
        recorded_at: entry.at,
    };
    let tx = gateway.store.begin().await.unwrap();
    tx.audit().append(&[(link, entry)]).await.unwrap();
    tx.commit().await.unwrap();
    id.to_string()
}

/// An admin who makes things in a project.
pub(super) struct Maker<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) admin: &'a str,
    pub(super) organization: OrganizationId,
    pub(super) project: ProjectId,
}

impl Maker<'_> {
    async fn post(&self, path: &str, body: Value) -> Value {
        let made = self.gateway.call(self.admin, "POST", path, Some(body)).await;
        made.expect(201)
    }

    async fn id(&self, path: &str, body: Value) -> String {
        let made = self.post(path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    async fn delete_at(&self, path: &str) {
        let answer = self.gateway.call(self.admin, "DELETE", path, None).await;
        assert_eq!(answer.status, 204, "{path}: {}", answer.body);
    }

    /// A service account with a token, and without a role.
    pub(super) async fn program(&self) -> (ServiceAccountId, String) {
        let account = self.id("/service-accounts", json!({"name": name()})).await;
        let tokens = format!("/service-accounts/{account}/tokens");
        let made = self.post(&tokens, json!({"name": "one"})).await;
        let token = made["token"].as_str().unwrap().to_owned();
        (account.parse().unwrap(), token)
    }

    /// A datasource, and all else that something can be done to.
    pub(super) async fn target(&self) -> Target {
        let project = self.project.to_string();
        let body = json!({"name": name(), "type": "http_webhook", "project": project, "config": config("t")});
        let datasource = self.id("/datasources", body).await;
        let below = |path: &str| format!("/datasources/{datasource}{path}");
        let comment = self
            .id(&below("/versions/1/comments"), json!({"body": "Why?"}))
            .await;
        let approval = self.id(&below("/approvals"), json!({})).await;
        let body = json!({"name": "one", "payload": {}});
        let sample = self.id(&below("/samples"), body).await;
        let user = self
            .gateway
            .person(self.organization, "someone")
            .await
            .to_string();
        let account = self.id("/service-accounts", json!({"name": name()})).await;
        let tokens = format!("/service-accounts/{account}/tokens");
        let token = self.id(&tokens, json!({"name": "one"})).await;
        let scope = json!({"kind": "project", "id": project});
        let body = json!({"user_id": user, "role": "viewer", "scope": scope});
        let binding = self.id("/role-bindings", body).await;
        let [alert, entity, relationship] = self.objects(datasource.parse().unwrap()).await;
        Target {
            organization: self.organization.to_string(),
            project,
            datasource,
            comment,
            approval,
            sample,
            user,
            account,
            token,
            binding,
            alert,
            entity,
            relationship,
            ..Target::default()
        }
    }

    /// Deletes all of it; what is deleted of organisations and projects are others, in which nothing else is.
    pub(super) async fn delete(&self, target: &mut Target) {
        target.organization = self.id("/organizations", json!({"name": name()})).await;
        target.project = self.id("/projects", json!({"name": name()})).await;
        for path in [
            format!("/role-bindings/{}", target.binding),
            format!("/service-accounts/{}/tokens/{}", target.account, target.token),
            format!("/service-accounts/{}", target.account),
            format!("/users/{}", target.user),
            format!("/datasources/{}", target.datasource),
            format!("/projects/{}", target.project),
            format!("/organizations/{}", target.organization),
        ] {
            self.delete_at(&path).await;
        }
    }

    /// An alert, an entity and a relationship that came of a datasource's events.
    async fn objects(&self, datasource: DatasourceId) -> [String; 3] {
        let end = |kind: &str| End {
            kind: kind.into(),
            key: datasource.to_string(),
        };
        let objects = [
            OntologyObject::Alert(alert(&datasource.to_string())),
            OntologyObject::Entity(Entity {
                kind: "host".into(),
                key: datasource.to_string(),
                name: None,
                time: None,
                attributes: Map::new(),
            }),
            OntologyObject::Relationship(Relationship {
                kind: "targets".into(),
                source: end("alert"),
                target: end("host"),
                start_time: None,
                end_time: None,
                time: None,
                attributes: Map::new(),
            }),
        ];
        let ids = objects.each_ref();
        let ids = ids.map(|object| object.id(self.organization, datasource).to_string());
        let outcome = EventOutcome {
            event: EventId::from(name()),
            organization: self.organization,
            datasource,
            version: 1,
            attempt: 0,
            received_at: SystemClock.now(),
            replay: None,
            records: vec![RecordOutcome {
                index: 0,
                verdict: Verdict::Delivered,
                objects: objects.to_vec(),
                failure: None,
            }],
        };
        let tx = self.gateway.store.begin().await.unwrap();
        let now = SystemClock.now();
        tx.ontology().apply(&[outcome], now).await.unwrap();
        tx.commit().await.unwrap();
        ids
    }
}

fn alert(id: &str) -> Alert {
    Alert {
        external_id: id.to_owned(),
        title: "t".to_owned(),
        time: Timestamp::default(),
        severity: Severity::High,
        status: None,
        description: None,
        category: None,
        vendor: None,
        product: None,
        rule: None,
        observables: Vec::new(),
        attributes: Map::new(),
    }
}
