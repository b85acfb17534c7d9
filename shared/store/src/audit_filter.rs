//! Which entries of the audit trail a list holds.

use halcyon_domain::{audit::AuditOutcome, clock::Timestamp};
use sea_orm::{ColumnTrait, Condition};

use crate::{entity::audit_entries::Column, page, tenant::Tenant};

/// Which entries a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The actor's name, or identifier.
    pub actor: Option<String>,
    /// What was done, such as `datasource.publish`; all that begins so if it ends with `*`.
    pub action: Option<String>,
    /// What it was done to: a kind, an identifier (what belongs to it, too, such as `datasource/secret`), or
    /// `kind:identifier`.
    pub resource: Option<String>,
    /// How it ended.
    pub outcome: Option<AuditOutcome>,
    /// The request that it came with.
    pub request_id: Option<String>,
    /// A text that is in the entry.
    pub q: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// The condition that entries of an organisation fulfil which fit the filter.
pub(crate) fn filtered(tenant: Tenant, filter: &AuditFilter) -> Condition {
    let actor = filter.actor.as_deref().map(|actor| {
        let id = actor.parse::<uuid::Uuid>().ok().map(|id| Column::ActorId.eq(id));
        Condition::any().add(Column::Actor.eq(actor)).add_option(id)
    });
    let resource = filter
        .resource
        .as_deref()
        .map(|resource| match resource.split_once(':') {
            Some((kind, id)) => Condition::all()
                .add(Column::ResourceKind.eq(kind))
                .add(Column::ResourceId.eq(id)),
            None => Condition::any()
                .add(Column::ResourceKind.eq(resource))
                .add(Column::ResourceId.eq(resource))
                .add(Column::ResourceId.starts_with(format!("{resource}/"))),
        });
    let action = filter
        .action
        .as_deref()
        .map(|action| match action.strip_suffix('*') {
            Some(beginning) => Column::Action.starts_with(beginning),
            None => Column::Action.eq(action),
        });
    Condition::all()
        .add(Column::OrganizationId.eq(tenant.uuid()))
        .add_option(actor)
        .add_option(resource)
        .add_option(action)
        .add_option(filter.outcome.map(|outcome| Column::Outcome.eq(outcome.as_str())))
        .add_option(filter.request_id.as_deref().map(|id| Column::RequestId.eq(id)))
        .add_option(filter.q.as_deref().map(|q| page::contains(Column::Body, q)))
        .add_option(filter.from.map(|from| Column::At.gte(from)))
        .add_option(filter.to.map(|to| Column::At.lt(to)))
}
