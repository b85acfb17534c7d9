//! The audit trail: a chain of entries for each organisation, which can only grow. The audit service makes
//! the links; this file keeps them.

use std::collections::HashSet;

use halcyon_domain::{
    audit::AuditEntry,
    clock::Timestamp,
    id::{AuditEntryId, OrganizationId},
};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::audit_entries::{ActiveModel, Column, Entity, Model},
    error::Result,
    page::{self, Page, PageRequest, Sorting},
    rows::{document, storable},
    tenant::{AllTenants, Tenant},
};

/// The end of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditHead {
    /// The newest link's number, from 1.
    pub sequence: i64,
    /// The newest link's hash.
    pub hash: Vec<u8>,
}

/// A link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditLink {
    /// The organisation.
    pub organization: OrganizationId,
    /// Its number, from 1, without gaps.
    pub sequence: i64,
    /// The entry's identifier.
    pub id: AuditEntryId,
    /// The hash of the link before; empty for the first.
    pub prev_hash: Vec<u8>,
    /// The hash of this link.
    pub hash: Vec<u8>,
    /// The entry, JSON, byte for byte as it was hashed.
    pub body: String,
}

impl AuditLink {
    /// The entry.
    ///
    /// # Errors
    /// The body is none: it was tampered with.
    pub fn entry(&self) -> Result<AuditEntry> {
        document(&self.body)
    }
}

/// Which entries a list holds; what is absent does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The actor's name, or identifier.
    pub actor: Option<String>,
    /// What was done, such as `datasource.publish`.
    pub action: Option<String>,
    /// What it was done to: a kind, an identifier (what belongs to it, too, such as `datasource/secret`), or
    /// `kind:identifier`.
    pub resource: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

const SORTING: Sorting<Column> = Sorting {
    fields: &[("sequence", Column::Sequence), ("at", Column::At)],
    default: "-sequence",
    id: Column::Sequence,
};

fn link(row: Model) -> AuditLink {
    AuditLink {
        organization: OrganizationId(row.organization_id),
        sequence: row.sequence,
        id: AuditEntryId(row.id),
        prev_hash: row.prev_hash,
        hash: row.hash,
        body: row.body,
    }
}

fn filtered(tenant: Tenant, filter: &AuditFilter) -> Condition {
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
    Condition::all()
        .add(Column::OrganizationId.eq(tenant.uuid()))
        .add_option(actor)
        .add_option(resource)
        .add_option(filter.action.as_deref().map(|action| Column::Action.eq(action)))
        .add_option(filter.from.map(|from| Column::At.gte(from)))
        .add_option(filter.to.map(|to| Column::At.lt(to)))
}

/// The audit trail.
#[derive(Debug)]
pub struct AuditTrail<'c, C>(pub(crate) &'c C);

impl<C: Connection> AuditTrail<'_, C> {
    /// The entries; sorted by `sequence` or `at`.
    ///
    /// # Errors
    /// The page cannot be had, or the database fails.
    pub async fn list(
        &self,
        tenant: Tenant,
        filter: &AuditFilter,
        request: &PageRequest,
    ) -> Result<Page<AuditLink>> {
        let select = Entity::find().filter(filtered(tenant, filter));
        page::fetch(self.0, select, &SORTING, request)
            .await?
            .try_map(|row| Ok(link(row)))
    }

    /// The links after number `after`, oldest first, for verification and export.
    ///
    /// # Errors
    /// The database fails.
    pub async fn chain(&self, tenant: Tenant, after: i64, limit: u64) -> Result<Vec<AuditLink>> {
        let rows = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Sequence.gt(after))
            .order_by_asc(Column::Sequence)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        Ok(rows.into_iter().map(link).collect())
    }

    /// The organisations that have a chain: a check of the whole trail goes through all.
    ///
    /// # Errors
    /// The database fails.
    pub async fn organizations(&self, _: AllTenants) -> Result<Vec<OrganizationId>> {
        let ids: Vec<uuid::Uuid> = Entity::find()
            .select_only()
            .column(Column::OrganizationId)
            .distinct()
            .order_by_asc(Column::OrganizationId)
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(ids.into_iter().map(OrganizationId).collect())
    }
}

impl AuditTrail<'_, WriteTx> {
    /// The end of the chain; nobody else can add to it until the transaction ends.
    ///
    /// # Errors
    /// The database fails.
    pub async fn head(&self, tenant: Tenant) -> Result<Option<AuditHead>> {
        self.0.lock(&format!("halcyon.audit.{}", tenant.0)).await?;
        let row = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .order_by_desc(Column::Sequence)
            .limit(1)
            .one(&self.0.db())
            .await?;
        Ok(row.map(|row| AuditHead {
            sequence: row.sequence,
            hash: row.hash,
        }))
    }

    /// Those of `ids` that are in the chain already.
    ///
    /// # Errors
    /// The database fails.
    pub async fn known(&self, tenant: Tenant, ids: &[AuditEntryId]) -> Result<HashSet<AuditEntryId>> {
        let known: Vec<uuid::Uuid> = Entity::find()
            .select_only()
            .column(Column::Id)
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::Id.is_in(ids.iter().map(|id| id.0)))
            .into_tuple()
            .all(&self.0.db())
            .await?;
        Ok(known.into_iter().map(AuditEntryId).collect())
    }

    /// Adds links, each with the entry that its body holds. Hold [`AuditTrail::head`] in the same transaction.
    ///
    /// # Errors
    /// [`Unique::AuditSequence`](crate::Unique::AuditSequence), or the database fails.
    pub async fn append(&self, links: &[(AuditLink, AuditEntry)]) -> Result<()> {
        for chunk in links.chunks(500) {
            let rows = chunk.iter().map(|(link, entry)| ActiveModel {
                organization_id: Set(link.organization.0),
                sequence: Set(link.sequence),
                id: Set(link.id.0),
                prev_hash: Set(link.prev_hash.clone()),
                hash: Set(link.hash.clone()),
                at: Set(crate::rows::storable_time(entry.at)),
                actor_id: Set(entry.actor.id),
                actor: Set(storable(&entry.actor.name)),
                action: Set(storable(&entry.action)),
                resource_kind: Set(storable(&entry.resource.kind)),
                resource_id: Set(entry.resource.id.as_deref().map(storable)),
                body: Set(link.body.clone()),
            });
            Entity::insert_many(rows)
                .exec_without_returning(&self.0.db())
                .await?;
        }
        Ok(())
    }
}
