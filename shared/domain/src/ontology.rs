//! The ontology: alerts, entities and relationships. Names follow OCSF 1.8 Detection Finding and STIX 2.1
//! relationship types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    event::{EventId, ReplayMark},
    id::{DatasourceId, ObjectId, OrganizationId, name_based},
    lifecycle::states,
};

states! {
    /// The kinds of objects.
    ObjectKind {
        /// Something that happened and wants attention.
        Alert = "alert",
        /// Something that exists: a host, a user, an address.
        Entity = "entity",
        /// How two of them are connected.
        Relationship = "relationship",
    }
}

states! {
    /// How bad an alert is (OCSF `severity_id`).
    Severity {
        /// Not given.
        Unknown = "unknown",
        /// No action needed.
        Informational = "informational",
        /// Action may be needed.
        Low = "low",
        /// Action is needed.
        Medium = "medium",
        /// Action is needed at once.
        High = "high",
        /// Action is needed at once, broad impact.
        Critical = "critical",
        /// Action is too late.
        Fatal = "fatal",
    }
}

states! {
    /// What is being done about an alert.
    AlertStatus {
        /// Nobody has looked yet.
        New = "new",
        /// Somebody is on it.
        InProgress = "in_progress",
        /// Known and muted.
        Suppressed = "suppressed",
        /// Done.
        Resolved = "resolved",
    }
}

/// The rule that raised an alert.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The vendor's identifier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A value worth pivoting on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observable {
    /// What the value is, such as `ip_address` or `file_hash`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The value.
    pub value: String,
}

/// An alert as a mapping makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alert {
    /// The vendor's identifier; with organisation and datasource it identifies the alert.
    pub external_id: String,
    /// One line for people.
    pub title: String,
    /// When it happened.
    pub time: Timestamp,
    /// How bad it is.
    pub severity: Severity,
    /// What is being done about it, if the vendor says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<AlertStatus>,
    /// More lines for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The vendor's or OCSF's category.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// Who makes the product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// The product that raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// The rule that raised it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Values worth pivoting on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observables: Vec<Observable>,
    /// All else.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// An entity as a mapping makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entity {
    /// What it is: `host`, `user`, `ip_address`, `cloud_resource`...
    #[serde(rename = "type")]
    pub kind: String,
    /// What identifies it among those of its type.
    pub key: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When this was observed; the event's time of receipt if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// All else.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// One end of a relationship: an entity's type and key, or `alert` and an alert's `external_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct End {
    /// The entity's type, or `alert`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The entity's key, or the alert's `external_id`.
    pub key: String,
}

/// The `type` of an end that is an alert.
pub const ALERT_END: &str = "alert";

impl End {
    /// The identifier of the object at this end.
    #[must_use]
    pub fn object_id(&self, organization: OrganizationId, datasource: DatasourceId) -> ObjectId {
        if self.kind == ALERT_END {
            alert_id(organization, datasource, &self.key)
        } else {
            entity_id(organization, &self.kind, &self.key)
        }
    }
}

/// A relationship as a mapping makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Relationship {
    /// What connects them: a STIX 2.1 relationship type such as `targets`, `uses`, `related-to`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where it starts.
    pub source: End,
    /// Where it ends.
    pub target: End,
    /// Since when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Timestamp>,
    /// When this was observed; the event's time of receipt if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// All else.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
}

/// An object as a mapping makes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", content = "object", rename_all = "snake_case")]
pub enum OntologyObject {
    /// An alert.
    Alert(Alert),
    /// An entity.
    Entity(Entity),
    /// A relationship.
    Relationship(Relationship),
}

impl OntologyObject {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ObjectKind {
        match self {
            Self::Alert(_) => ObjectKind::Alert,
            Self::Entity(_) => ObjectKind::Entity,
            Self::Relationship(_) => ObjectKind::Relationship,
        }
    }

    /// Its deterministic identifier: mapping the same thing again gives the same object.
    #[must_use]
    pub fn id(&self, organization: OrganizationId, datasource: DatasourceId) -> ObjectId {
        match self {
            Self::Alert(alert) => alert_id(organization, datasource, &alert.external_id),
            Self::Entity(entity) => entity_id(organization, &entity.kind, &entity.key),
            Self::Relationship(link) => relationship_id(
                organization,
                &link.kind,
                link.source.object_id(organization, datasource),
                link.target.object_id(organization, datasource),
            ),
        }
    }

    /// When what it says was true, if it says so.
    #[must_use]
    pub const fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Alert(alert) => Some(alert.time),
            Self::Entity(entity) => entity.time,
            Self::Relationship(link) => link.time,
        }
    }
}

/// The identifier of an alert: organisation, datasource, `external_id`.
#[must_use]
pub fn alert_id(organization: OrganizationId, datasource: DatasourceId, external_id: &str) -> ObjectId {
    ObjectId(name_based(&[
        "alert",
        &organization.to_string(),
        &datasource.to_string(),
        external_id,
    ]))
}

/// The identifier of an entity: organisation, type, key. Several datasources enrich one entity.
#[must_use]
pub fn entity_id(organization: OrganizationId, kind: &str, key: &str) -> ObjectId {
    ObjectId(name_based(&["entity", &organization.to_string(), kind, key]))
}

/// The identifier of a relationship: organisation, type, and what it connects.
#[must_use]
pub fn relationship_id(
    organization: OrganizationId,
    kind: &str,
    source: ObjectId,
    target: ObjectId,
) -> ObjectId {
    let [organization, source, target] = [organization.to_string(), source.to_string(), target.to_string()];
    ObjectId(name_based(&[
        "relationship",
        &organization,
        kind,
        &source,
        &target,
    ]))
}

/// Where an object's content came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Provenance {
    /// The feed.
    pub datasource: DatasourceId,
    /// The version that mapped it.
    pub version: u32,
    /// The raw event.
    pub event: EventId,
    /// When the event was accepted.
    pub received_at: Timestamp,
    /// The replay that mapped it, if it was not the event's first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayMark>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_datasources_name_the_same_entity_but_not_the_same_alert() {
        let organization = OrganizationId::generate();
        let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
        let host = |kind: &str| End {
            kind: kind.into(),
            key: "web-1".into(),
        };
        assert_eq!(
            host("host").object_id(organization, one),
            host("host").object_id(organization, other)
        );
        assert_ne!(
            host("alert").object_id(organization, one),
            host("alert").object_id(organization, other)
        );
    }
}
