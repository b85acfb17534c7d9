//! The stamps of an object's fields as text. Most objects were seen once, so that all fields have the same
//! stamp: it is written once, and not for each field.

use std::collections::BTreeMap;

use halcyon_domain::merge::Stamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::Result,
    rows::{document, text},
};

/// A stamp and the fields that have it; no fields means all that no other group names.
#[derive(Serialize, Deserialize)]
struct Group {
    #[serde(flatten)]
    stamp: Stamp,
    #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
    fields: Vec<String>,
}

pub(crate) fn write(stamps: &BTreeMap<String, Stamp>) -> Result<String> {
    let mut groups: Vec<Group> = Vec::new();
    for (field, stamp) in stamps {
        match groups.iter_mut().find(|group| group.stamp == *stamp) {
            Some(group) => group.fields.push(field.clone()),
            None => groups.push(Group {
                stamp: stamp.clone(),
                fields: vec![field.clone()],
            }),
        }
    }
    if let Some(most) = groups.iter_mut().max_by_key(|group| group.fields.len()) {
        most.fields.clear();
    }
    text(&groups)
}

pub(crate) fn read(stamps: &str, values: &BTreeMap<String, Value>) -> Result<BTreeMap<String, Stamp>> {
    let groups: Vec<Group> = document(stamps)?;
    let mut read = BTreeMap::new();
    if let Some(rest) = groups.iter().find(|group| group.fields.is_empty()) {
        read.extend(values.keys().map(|field| (field.clone(), rest.stamp.clone())));
    }
    for group in &groups {
        for field in &group.fields {
            read.insert(field.clone(), group.stamp.clone());
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{clock::Timestamp, event::EventId};

    use super::*;

    #[test]
    fn stamps_read_back() {
        let stamp = |event: &str| Stamp {
            time: Timestamp::default(),
            event: EventId::from(event.to_owned()),
            record: 1,
        };
        let stamps: BTreeMap<_, _> = [("a", "1"), ("b", "1"), ("c", "2")]
            .map(|(f, e)| (f.to_owned(), stamp(e)))
            .into();
        let values = stamps.keys().map(|field| (field.clone(), Value::Null)).collect();
        let text = write(&stamps).unwrap();
        assert_eq!(read(&text, &values).unwrap(), stamps);
        assert!(!text.contains("\"a\""), "{text}");
        assert_eq!(
            read(&write(&BTreeMap::new()).unwrap(), &BTreeMap::new()).unwrap(),
            BTreeMap::new()
        );
    }
}
