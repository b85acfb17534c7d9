//! Who wrote a version: everybody who made it or changed its configuration.

use std::collections::HashMap;

use halcyon_domain::{audit::Actor, clock::Timestamp, id::VersionId};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, sea_query::OnConflict};

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::version_authors::{ActiveModel, Column, Entity},
    error::Result,
    rows::actor,
    tenant::Tenant,
    versions::Versions,
};

impl<C: Connection> Versions<'_, C> {
    /// Who wrote these versions.
    ///
    /// # Errors
    /// The database fails.
    pub async fn authors(
        &self,
        tenant: Tenant,
        versions: &[VersionId],
    ) -> Result<HashMap<VersionId, Vec<Actor>>> {
        let rows = Entity::find()
            .filter(Column::OrganizationId.eq(tenant.uuid()))
            .filter(Column::VersionId.is_in(versions.iter().map(|id| id.0)))
            .all(&self.0.db())
            .await?;
        let mut authors: HashMap<VersionId, Vec<Actor>> = HashMap::new();
        for row in rows {
            let author = actor(&row.actor_kind, Some(row.actor_id), row.actor_name)?;
            authors.entry(VersionId(row.version_id)).or_default().push(author);
        }
        Ok(authors)
    }
}

impl Versions<'_, WriteTx> {
    /// Notes that somebody wrote a version; once for each of them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_author(
        &self,
        tenant: Tenant,
        version: VersionId,
        author: &Actor,
        at: Timestamp,
    ) -> Result<()> {
        // Only the system itself has no identifier, and it decides nothing.
        let Some(id) = author.id else { return Ok(()) };
        let row = ActiveModel {
            version_id: Set(version.0),
            organization_id: Set(tenant.uuid()),
            actor_kind: Set(author.kind.to_string()),
            actor_id: Set(id),
            actor_name: Set(author.name.clone()),
            at: Set(at),
        };
        let known = OnConflict::columns([Column::VersionId, Column::ActorKind, Column::ActorId])
            .do_nothing()
            .to_owned();
        Entity::insert(row)
            .on_conflict(known)
            .exec_without_returning(&self.0.db())
            .await?;
        Ok(())
    }
}
