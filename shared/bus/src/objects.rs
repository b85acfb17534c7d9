//! Committed ontology objects, published for users: the only subjects they may subscribe to.

use futures::StreamExt;
use halcyon_domain::{
    id::{DatasourceId, OrganizationId},
    ontology::{ObjectKind, OntologyObject},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Bus, Error,
    subjects::{Subject, objects_filter},
};
use halcyon_domain::{clock::Timestamp, event::EventId, id::ObjectId};

/// An object as it is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PublicObject {
    /// The object's identifier.
    pub id: ObjectId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource it came from.
    pub datasource: DatasourceId,
    /// The event it came from.
    pub event: EventId,
    /// The version that mapped it.
    pub version: u32,
    /// When the event was accepted.
    pub received_at: Timestamp,
    /// The object: `kind` and `object`.
    #[serde(flatten)]
    pub object: OntologyObject,
}

/// Objects as they are committed.
pub struct Objects {
    messages: async_nats::Subscriber,
}

impl Bus {
    /// Publishes objects after their commit, one a message. They may get lost: the database has them.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn publish_objects(&self, objects: &[PublicObject]) -> Result<(), Error> {
        for object in objects {
            let subject = Subject::Object(object.organization, object.datasource, object.object.kind());
            let payload = serde_json::to_vec(object).map_err(Error::malformed)?;
            self.client()
                .publish(subject.to_string(), payload.into())
                .await
                .map_err(Error::unavailable)?;
        }
        Ok(())
    }

    /// The objects that are committed from now on.
    ///
    /// # Errors
    /// The connection is closed.
    pub async fn objects(
        &self,
        organization: OrganizationId,
        datasource: Option<DatasourceId>,
        kind: Option<ObjectKind>,
    ) -> Result<Objects, Error> {
        let filter = objects_filter(Some(organization), datasource, kind);
        Ok(Objects {
            messages: self
                .client()
                .subscribe(filter)
                .await
                .map_err(Error::unavailable)?,
        })
    }
}

impl Objects {
    /// Waits for the next object; nothing once the connection is closed for good.
    pub async fn next(&mut self) -> Option<PublicObject> {
        loop {
            let message = self.messages.next().await?;
            if let Ok(object) = serde_json::from_slice(&message.payload) {
                return Some(object);
            }
        }
    }
}
