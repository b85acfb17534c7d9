//! Outcomes for tests, and applying them as the ontology service does.

use halcyon_domain::{
    clock::Timestamp,
    event::{EventId, EventOutcome, RecordOutcome, Verdict},
    id::{DatasourceId, OrganizationId},
    ontology::{Alert, End, Entity, OntologyObject, Relationship, Severity},
};
use serde_json::json;

use super::at;
use crate::{Applied, Error, Store};

/// A feed of some organisation.
pub(super) struct Feed {
    pub(super) organization: OrganizationId,
    pub(super) datasource: DatasourceId,
}

impl Feed {
    pub(super) fn new() -> Self {
        Self {
            organization: OrganizationId::generate(),
            datasource: DatasourceId::generate(),
        }
    }

    pub(super) fn outcome(&self, event: &str, records: Vec<RecordOutcome>) -> EventOutcome {
        EventOutcome {
            event: EventId::from(event.to_owned()),
            organization: self.organization,
            datasource: self.datasource,
            version: 1,
            attempt: 0,
            received_at: at(0),
            replay: None,
            records,
        }
    }
}

pub(super) fn delivered(index: u32, objects: Vec<OntologyObject>) -> RecordOutcome {
    RecordOutcome {
        index,
        verdict: Verdict::Delivered,
        objects,
        failure: None,
    }
}

pub(super) fn alert(id: &str, title: &str, time: Timestamp) -> OntologyObject {
    OntologyObject::Alert(Alert {
        external_id: id.into(),
        title: title.into(),
        time,
        severity: Severity::High,
        status: None,
        description: None,
        category: None,
        vendor: Some("v".into()),
        product: None,
        rule: None,
        observables: vec![],
        attributes: serde_json::Map::new(),
    })
}

pub(super) fn host(key: &str, attribute: &str, value: i64, time: Timestamp) -> OntologyObject {
    OntologyObject::Entity(Entity {
        kind: "host".into(),
        key: key.into(),
        name: None,
        time: Some(time),
        attributes: [(attribute.to_owned(), json!(value))].into_iter().collect(),
    })
}

pub(super) fn targets(alert: &str, key: &str) -> OntologyObject {
    OntologyObject::Relationship(Relationship {
        kind: "targets".into(),
        source: End {
            kind: "alert".into(),
            key: alert.into(),
        },
        target: End {
            kind: "host".into(),
            key: key.into(),
        },
        start_time: None,
        end_time: None,
        time: None,
        attributes: serde_json::Map::new(),
    })
}

pub(super) async fn apply(store: &Store, outcomes: &[EventOutcome]) -> Applied {
    loop {
        let tx = store.begin().await.unwrap();
        match tx.ontology().apply(outcomes, at(0)).await {
            Ok(applied) => {
                tx.commit().await.unwrap();
                return applied;
            }
            Err(Error::Contention(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}
