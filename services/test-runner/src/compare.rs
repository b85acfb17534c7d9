//! The difference between what two configurations make of the same events, object by object and field by field.

use std::collections::{BTreeMap, VecDeque};

use halcyon_domain::{
    ontology::{ObjectKind, OntologyObject},
    test_run::{ChangedObject, ChangedVerdict, Comparison, RecordVerdict},
};
use serde_json::Value;

/// Compares what the tried configuration makes (`new`) with what the compared one makes (`old`). Objects are paired
/// by what identifies them; several of one identity (an entity that many records name) are paired in order.
pub(crate) fn compare(old: &[OntologyObject], new: &[OntologyObject]) -> Comparison {
    let mut left: BTreeMap<(ObjectKind, String), VecDeque<&OntologyObject>> = BTreeMap::new();
    for object in old {
        left.entry((object.kind(), identity(object)))
            .or_default()
            .push_back(object);
    }
    let mut comparison = Comparison::default();
    for object in new {
        let key = identity(object);
        let partner = left
            .get_mut(&(object.kind(), key.clone()))
            .and_then(VecDeque::pop_front);
        match partner {
            None => comparison.added.push(object.clone()),
            Some(partner) if partner == object => {}
            Some(partner) => {
                let patch = json_patch::diff(&content(partner), &content(object));
                let patch = serde_json::to_value(patch).unwrap_or_default();
                comparison.changed.push(ChangedObject {
                    kind: object.kind(),
                    key,
                    patch,
                });
            }
        }
    }
    comparison.removed = left.into_values().flatten().cloned().collect();
    comparison
}

/// The records of which the two decide differently, in the order in which they come.
pub(crate) fn verdicts(old: &[RecordVerdict], new: &[RecordVerdict]) -> Vec<ChangedVerdict> {
    let mut left: BTreeMap<&str, &RecordVerdict> =
        old.iter().map(|known| (known.record.as_str(), known)).collect();
    let mut changed = Vec::new();
    for tried in new {
        let before = left.remove(tried.record.as_str()).map(|known| known.verdict);
        if before != Some(tried.verdict) {
            changed.push(ChangedVerdict {
                record: tried.record.clone(),
                before,
                after: Some(tried.verdict),
            });
        }
    }
    changed.extend(left.into_values().map(|known| ChangedVerdict {
        record: known.record.clone(),
        before: Some(known.verdict),
        after: None,
    }));
    changed
}

/// What identifies an object among those of its kind, for people: `external_id`, `type/key`,
/// `source -type-> target`.
fn identity(object: &OntologyObject) -> String {
    match object {
        OntologyObject::Alert(alert) => alert.external_id.clone(),
        OntologyObject::Entity(entity) => format!("{}/{}", entity.kind, entity.key),
        OntologyObject::Relationship(link) => format!(
            "{}/{} -{}-> {}/{}",
            link.source.kind, link.source.key, link.kind, link.target.kind, link.target.key
        ),
    }
}

fn content(object: &OntologyObject) -> Value {
    let content = match object {
        OntologyObject::Alert(alert) => serde_json::to_value(alert),
        OntologyObject::Entity(entity) => serde_json::to_value(entity),
        OntologyObject::Relationship(link) => serde_json::to_value(link),
    };
    content.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entity(key: &str, attributes: Value) -> OntologyObject {
        let object = json!({"type": "host", "key": key, "attributes": attributes});
        serde_json::from_value(json!({"kind": "entity", "object": object})).unwrap()
    }

    #[test]
    fn objects_are_paired_by_identity() {
        let old = [
            entity("gone", json!({})),
            entity("same", json!({})),
            entity("other", json!({"a": 1, "b": 2})),
        ];
        let new = [
            entity("other", json!({"a": 3, "b": 2})),
            entity("same", json!({})),
            entity("new", json!({})),
        ];
        let found = compare(&old, &new);
        assert_eq!(found.added, [entity("new", json!({}))]);
        assert_eq!(found.removed, [entity("gone", json!({}))]);
        assert_eq!(found.changed.len(), 1);
        assert_eq!(found.changed[0].key, "host/other");
        assert_eq!(
            found.changed[0].patch,
            json!([{"op": "replace", "path": "/attributes/a", "value": 3}])
        );
    }

    #[test]
    fn verdicts_are_compared_record_by_record() {
        use halcyon_domain::event::Verdict::{DeadLettered, Delivered, Filtered};
        let verdict = |record: &str, verdict| RecordVerdict {
            record: record.to_owned(),
            verdict,
            objects: 0,
            failure: None,
        };
        let old = [
            verdict("e/0", DeadLettered),
            verdict("e/1", Filtered),
            verdict("e/2", Filtered),
        ];
        let new = [
            verdict("e/0", Delivered),
            verdict("e/1", Filtered),
            verdict("e/3", Filtered),
        ];
        let changed: Vec<_> = verdicts(&old, &new)
            .into_iter()
            .map(|changed| (changed.record, changed.before, changed.after))
            .collect();
        let wanted = [
            ("e/0".to_owned(), Some(DeadLettered), Some(Delivered)),
            ("e/3".to_owned(), None, Some(Filtered)),
            ("e/2".to_owned(), Some(Filtered), None),
        ];
        assert_eq!(changed, wanted);
    }

    #[test]
    fn several_of_one_identity_are_paired_in_order() {
        let old = [entity("x", json!({"n": 1})), entity("x", json!({"n": 2}))];
        assert_eq!(compare(&old, &old), Comparison::default());
        let found = compare(&old, &old[..1]);
        assert_eq!(
            (found.added.len(), found.removed.len(), found.changed.len()),
            (0, 1, 0)
        );
        assert_eq!(compare(&[], &old).added.len(), 2);
    }
}
