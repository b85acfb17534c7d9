//! Messages to be published: rows written in the transaction of the change that they tell of.

use std::collections::BTreeMap;

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, OrganizationId, OutboxId},
};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use serde::Serialize;

use crate::{
    connection::WriteTx,
    db::{Connection, Executes},
    entity::outbox::{ActiveModel, Column, Entity, Model},
    error::{Error, Result},
    rows::{document, text},
    tenant::{AllTenants, Tenant},
};

/// Where a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// A change of configuration, for the registry.
    Config,
    /// An entry of the audit trail.
    Audit,
}

impl Topic {
    /// The word in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Audit => "audit",
        }
    }

    fn read(text: &str) -> Result<Self> {
        match text {
            "config" => Ok(Self::Config),
            "audit" => Ok(Self::Audit),
            _ => Err(Error::internal(format!("unknown topic {text}"))),
        }
    }
}

/// A message to be put in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// Its identifier, by which receivers know a second copy.
    pub id: OutboxId,
    /// Where it goes.
    pub topic: Topic,
    /// What it is about: messages of one aggregate keep their order.
    pub aggregate: String,
    /// The datasource it is about, if it is about one.
    pub datasource: Option<DatasourceId>,
    /// The body, JSON.
    pub body: String,
    /// W3C trace context: header names and values.
    pub trace: BTreeMap<String, String>,
    /// When it was written.
    pub created_at: Timestamp,
}

impl NewMessage {
    /// A message with `body` as JSON, and no trace context.
    ///
    /// # Errors
    /// The body has no JSON form.
    pub fn new(
        topic: Topic,
        aggregate: impl Into<String>,
        datasource: Option<DatasourceId>,
        body: &impl Serialize,
        created_at: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            id: OutboxId::generate(),
            topic,
            aggregate: aggregate.into(),
            datasource,
            body: text(body)?,
            trace: BTreeMap::new(),
            created_at,
        })
    }
}

/// A message in the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxMessage {
    /// Its place in the order.
    pub position: i64,
    /// The organisation it belongs to.
    pub organization: OrganizationId,
    /// The message.
    pub message: NewMessage,
}

fn message(row: Model) -> Result<OutboxMessage> {
    Ok(OutboxMessage {
        position: row.position,
        organization: OrganizationId(row.organization_id),
        message: NewMessage {
            id: OutboxId(row.id),
            topic: Topic::read(&row.topic)?,
            aggregate: row.aggregate,
            datasource: row.datasource_id.map(DatasourceId),
            body: row.body,
            trace: row
                .trace
                .as_deref()
                .map(document)
                .transpose()?
                .unwrap_or_default(),
            created_at: row.created_at,
        },
    })
}

/// Messages to be published.
#[derive(Debug)]
pub struct Outbox<'c, C>(pub(crate) &'c C);

impl<C: Connection> Outbox<'_, C> {
    /// The oldest messages: the relay publishes all tenants'.
    ///
    /// # Errors
    /// The database fails.
    pub async fn next(&self, _: AllTenants, limit: u64) -> Result<Vec<OutboxMessage>> {
        let rows = Entity::find()
            .order_by_asc(Column::Position)
            .limit(limit)
            .all(&self.0.db())
            .await?;
        rows.into_iter().map(message).collect()
    }

    /// How many messages wait.
    ///
    /// # Errors
    /// The database fails.
    pub async fn pending(&self, _: AllTenants) -> Result<u64> {
        Ok(Entity::find().count(&self.0.db()).await?)
    }
}

impl Outbox<'_, WriteTx> {
    /// Adds messages, in the order given.
    ///
    /// # Errors
    /// The database fails.
    pub async fn append(&self, tenant: Tenant, messages: &[NewMessage]) -> Result<()> {
        for message in messages {
            let trace = if message.trace.is_empty() {
                None
            } else {
                Some(text(&message.trace)?)
            };
            let row = ActiveModel {
                position: sea_orm::NotSet,
                id: Set(message.id.0),
                topic: Set(message.topic.as_str().to_owned()),
                aggregate: Set(message.aggregate.clone()),
                organization_id: Set(tenant.uuid()),
                datasource_id: Set(message.datasource.map(|id| id.0)),
                body: Set(message.body.clone()),
                trace: Set(trace),
                created_at: Set(message.created_at),
            };
            Entity::insert(row).exec_without_returning(&self.0.db()).await?;
        }
        Ok(())
    }

    /// Removes messages that were published.
    ///
    /// # Errors
    /// The database fails.
    pub async fn delete(&self, _: AllTenants, published: &[OutboxId]) -> Result<()> {
        Entity::delete_many()
            .filter(Column::Id.is_in(published.iter().map(|id| id.0)))
            .exec(&self.0.db())
            .await?;
        Ok(())
    }
}
