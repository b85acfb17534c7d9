//! What is said of operations on secrets: audit entries, and the notices that others act on.

use halcyon_bus::requests::OnBehalf;
use halcyon_domain::{
    assignment::{ChangeCause, ConfigChange},
    audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
    clock::Timestamp,
    datasource::{Datasource, DatasourceEventKind},
    id::{AuditEntryId, DatasourceId, OrganizationId},
};
use halcyon_store::{NewMessage, Tenant, Topic, WriteTx};

use crate::Error;

/// The secret that something is said of.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
    pub(super) name: &'a str,
    pub(super) version: Option<u32>,
}

/// The audit entry of an operation on a secret.
pub(super) fn entry(
    subject: Subject<'_>,
    action: &str,
    summary: String,
    by: &OnBehalf,
    at: Timestamp,
) -> AuditEntry {
    let Subject {
        organization,
        datasource,
        name,
        version,
    } = subject;
    AuditEntry {
        id: AuditEntryId::generate(),
        organization,
        at,
        actor: by.actor.clone(),
        action: action.to_owned(),
        resource: Resource {
            kind: "secret".to_owned(),
            id: Some(format!("{datasource}/{name}")),
            name: Some(name.to_owned()),
        },
        version,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: Some(summary),
        request_id: by.request_id.clone(),
        remote_ip: by.remote_ip.clone(),
    }
}

/// A part of the system that does something by itself.
pub(super) fn system(name: &str) -> OnBehalf {
    OnBehalf {
        actor: Actor {
            kind: ActorKind::System,
            id: None,
            name: name.to_owned(),
        },
        request_id: None,
        remote_ip: None,
    }
}

/// Puts an audit entry into the outbox.
pub(super) async fn record(tx: &WriteTx, subject: Subject<'_>, entry: &AuditEntry) -> Result<(), Error> {
    let id = subject.datasource;
    let message = NewMessage::new(Topic::Audit, id.to_string(), Some(id), entry, entry.at)?;
    Ok(tx
        .outbox()
        .append(Tenant(subject.organization), &[message])
        .await?)
}

/// Puts the notice of something that happened to a datasource's secret into the outbox.
pub(super) async fn notify(
    tx: &WriteTx,
    datasource: &Datasource,
    kind: DatasourceEventKind,
    actor: Option<String>,
    message: String,
    now: Timestamp,
) -> Result<(), Error> {
    let (organization, id) = (datasource.organization, datasource.id);
    let change = ConfigChange {
        datasource: id,
        organization,
        generation: datasource.generation,
        cause: Some(ChangeCause {
            kind,
            at: now,
            actor,
            version: None,
            message,
        }),
    };
    let message = NewMessage::new(Topic::Config, id.to_string(), Some(id), &change, now)?;
    Ok(tx.outbox().append(Tenant(organization), &[message]).await?)
}
