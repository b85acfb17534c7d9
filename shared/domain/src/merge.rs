//! How several observations of one object become one: a map of last-writer-wins registers.
//!
//! Each field keeps the value with the newest stamp (time, event, record). The result does not depend on the
//! order in which observations arrive, nor on how often (see the properties tested below).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    event::EventId,
    ontology::{Alert, Entity, OntologyObject, Relationship},
};

/// When and by what a field was observed. Stamps are ordered by time, then event, then record.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The observation's time.
    #[serde(rename = "t")]
    pub time: Timestamp,
    /// The event it came in.
    #[serde(rename = "e")]
    pub event: EventId,
    /// The record within the event.
    #[serde(rename = "r", default)]
    pub record: u32,
}

/// The prefix of fields that are attributes.
pub const ATTRIBUTE: &str = "attributes.";

/// The fields of an object with the stamp of each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MergedFields {
    /// The values by field name; attributes are named `attributes.<name>`.
    pub values: BTreeMap<String, Value>,
    /// The stamp of every field; the same keys as `values`.
    pub stamps: BTreeMap<String, Stamp>,
}

impl MergedFields {
    /// The fields of one observation.
    #[must_use]
    pub fn of(object: &OntologyObject, stamp: &Stamp) -> Self {
        let mut fields = Self::default();
        fields.observe(object, stamp);
        fields
    }

    /// Takes in an observation. Returns whether anything changed.
    pub fn observe(&mut self, object: &OntologyObject, stamp: &Stamp) -> bool {
        match object {
            OntologyObject::Alert(alert) => self.observe_alert(alert, stamp),
            OntologyObject::Entity(entity) => self.observe_entity(entity, stamp),
            OntologyObject::Relationship(link) => self.observe_relationship(link, stamp),
        }
    }

    fn observe_alert(&mut self, alert: &Alert, stamp: &Stamp) -> bool {
        let mut changed = self.set("title", Value::from(alert.title.as_str()), stamp);
        changed |= self.set("time", to_value(&alert.time), stamp);
        changed |= self.set("severity", Value::from(alert.severity.as_str()), stamp);
        if let Some(status) = alert.status {
            changed |= self.set("status", Value::from(status.as_str()), stamp);
        }
        let texts = [
            ("description", &alert.description),
            ("category", &alert.category),
            ("vendor", &alert.vendor),
            ("product", &alert.product),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                changed |= self.set(name, Value::from(text.as_str()), stamp);
            }
        }
        if let Some(rule) = &alert.rule {
            changed |= self.set("rule", to_value(rule), stamp);
        }
        if !alert.observables.is_empty() {
            changed |= self.set("observables", to_value(&alert.observables), stamp);
        }
        changed | self.observe_attributes(&alert.attributes, stamp)
    }

    fn observe_entity(&mut self, entity: &Entity, stamp: &Stamp) -> bool {
        let mut changed = false;
        if let Some(name) = &entity.name {
            changed |= self.set("name", Value::from(name.as_str()), stamp);
        }
        changed | self.observe_attributes(&entity.attributes, stamp)
    }

    fn observe_relationship(&mut self, link: &Relationship, stamp: &Stamp) -> bool {
        let mut changed = false;
        for (name, time) in [("start_time", &link.start_time), ("end_time", &link.end_time)] {
            if let Some(time) = time {
                changed |= self.set(name, to_value(time), stamp);
            }
        }
        changed | self.observe_attributes(&link.attributes, stamp)
    }

    fn observe_attributes(&mut self, attributes: &Map<String, Value>, stamp: &Stamp) -> bool {
        let mut changed = false;
        for (name, value) in attributes {
            changed |= self.set(&format!("{ATTRIBUTE}{name}"), value.clone(), stamp);
        }
        changed
    }

    /// Sets one field if `stamp` is newer than the field's own. Two outputs of one record may name the same
    /// object: of equal stamps the greater value (by its JSON text) wins, so that order does not matter.
    fn set(&mut self, name: &str, value: Value, stamp: &Stamp) -> bool {
        if let (Some(known), Some(current)) = (self.stamps.get(name), self.values.get(name)) {
            let older = stamp < known;
            let tie = stamp == known && text(&value) <= text(current);
            if older || tie {
                return false;
            }
        }
        self.values.insert(name.to_owned(), value);
        self.stamps.insert(name.to_owned(), stamp.clone());
        true
    }

    /// Takes in all of `other`'s fields. Returns whether anything changed.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (name, value) in &other.values {
            if let Some(stamp) = other.stamps.get(name) {
                changed |= self.set(name, value.clone(), stamp);
            }
        }
        changed
    }

    /// The attributes as one object.
    #[must_use]
    pub fn attributes(&self) -> Map<String, Value> {
        self.values
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix(ATTRIBUTE)?.to_owned(), value.clone())))
            .collect()
    }
}

/// The stamp of an object within an event.
#[must_use]
pub fn stamp_of(object: &OntologyObject, received_at: Timestamp, event: &EventId, record: u32) -> Stamp {
    Stamp {
        time: object.time().unwrap_or(received_at),
        event: event.clone(),
        record,
    }
}

fn text(value: &Value) -> String {
    value.to_string()
}

fn to_value<T: Serialize>(value: &T) -> Value {
    // Only this module's own types come here, and all of them have a JSON form.
    serde_json::to_value(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn observation() -> impl Strategy<Value = (OntologyObject, Stamp)> {
        let attributes = prop::collection::btree_map("[ab]", 0..3_i64, 0..3);
        (attributes, prop::option::of("[xy]"), 0..3_i64, "[pq]", 0..2_u32).prop_map(
            |(attributes, name, seconds, event, record)| {
                let attributes = attributes.into_iter().map(|(k, v)| (k, Value::from(v))).collect();
                let entity = Entity {
                    kind: "host".into(),
                    key: "h".into(),
                    name,
                    time: None,
                    attributes,
                };
                let time = Timestamp::from_timestamp(seconds, 0).unwrap();
                (
                    OntologyObject::Entity(entity),
                    Stamp {
                        time,
                        event: EventId::from(event),
                        record,
                    },
                )
            },
        )
    }

    fn fold<'a>(all: impl IntoIterator<Item = &'a (OntologyObject, Stamp)>) -> MergedFields {
        let mut fields = MergedFields::default();
        for (object, stamp) in all {
            fields.observe(object, stamp);
        }
        fields
    }

    proptest! {
        #[test]
        fn order_and_repetition_do_not_matter(
            all in prop::collection::vec(observation(), 0..6),
            seed in any::<prop::sample::Index>(),
        ) {
            let expected = fold(&all);
            let mut shuffled = all.clone();
            shuffled.reverse();
            if !shuffled.is_empty() {
                let middle = seed.index(shuffled.len());
                shuffled.rotate_left(middle);
            }
            shuffled.extend(all.clone());
            prop_assert_eq!(&fold(&shuffled), &expected);
            let mut merged = fold(&all[..all.len() / 2]);
            merged.merge(&fold(&all[all.len() / 2..]));
            prop_assert_eq!(merged, expected);
        }
    }
}
