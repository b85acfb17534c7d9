//! Events, records and verdicts: the unit of the data path and how its parts are counted.
//!
//! An event is one accepted body (of NDJSON, one line). A record is one item of the mapping's `records`; its
//! identifier is `event/index`. Every event has at least one record (record 0 when it cannot be parsed or has
//! none), and every record has exactly one verdict.

use std::{collections::BTreeMap, fmt, str::FromStr};

use bytes::Bytes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    clock::Timestamp,
    error::InputError,
    id::{DatasourceId, OrganizationId, ReplayId, name_based},
    lifecycle::states,
    ontology::OntologyObject,
};

/// The identifier of an event: unique within its datasource, and the same for a redelivery.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// A fresh identifier for an event that brought no key of its own (UUID version 7).
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The identifier of an event that brought a key, such as a provider's delivery id: the same key gives
    /// the same identifier, which makes a redelivery harmless.
    #[must_use]
    pub fn from_key(datasource: DatasourceId, key: &str) -> Self {
        Self(name_based(&["event", &datasource.to_string(), key]).to_string())
    }

    /// The identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for EventId {
    fn from(id: String) -> Self {
        Self(id)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The identifier of a record: `event/index`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordId {
    /// The event it came in.
    pub event: EventId,
    /// Its place among the event's records, from 0.
    pub index: u32,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.event, self.index)
    }
}

/// A text that is no `event/index`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a record identifier of the form event/index")]
pub struct InvalidRecordId(String);

impl FromStr for RecordId {
    type Err = InvalidRecordId;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidRecordId(text.to_owned());
        let (event, index) = text.rsplit_once('/').ok_or_else(invalid)?;
        let index = index.parse().map_err(|_| invalid())?;
        Ok(Self {
            event: EventId(event.to_owned()),
            index,
        })
    }
}

states! {
    /// What became of a record.
    Verdict {
        /// Its objects were published.
        Delivered = "delivered",
        /// The mapping's filter, or all its `when`s, said no.
        Filtered = "filtered",
        /// It could not be mapped; its bytes and the reason are kept.
        DeadLettered = "dead_lettered",
    }
}

/// An accepted event on its way to a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestEvent {
    /// Its identifier.
    pub id: EventId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The feed it came in on.
    pub datasource: DatasourceId,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The body's media type, as sent.
    pub content_type: Option<String>,
    /// The headers kept for the mapping's `context` (lower-case names; never credentials).
    pub headers: BTreeMap<String, String>,
    /// 0 for a live event; a replay raises it, so that its effects count anew.
    pub attempt: u32,
    /// What a replay says of it; nothing for a live event.
    pub replay: Option<Replay>,
    /// The body, byte for byte.
    pub payload: Bytes,
}

/// Which replay something came of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReplayMark {
    /// The replay.
    pub id: ReplayId,
    /// The trace of the request that asked for it (W3C trace context, `trace-id`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
}

/// What a replay says of an event that is processed anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Which replay it is.
    #[serde(flatten)]
    pub mark: ReplayMark,
    /// The records to map; none is all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<u32>,
    /// How the event was cut into records when these failed (`MappingSpec::cut`). Cut in another way, an index names
    /// another record, and all of them are mapped.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cut: String,
}

/// What a worker made of an event, or of a part of its records when they do not fit one message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventOutcome {
    /// The event.
    pub event: EventId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The feed.
    pub datasource: DatasourceId,
    /// The version that mapped it.
    pub version: u32,
    /// The event's attempt.
    pub attempt: u32,
    /// When the event was accepted.
    pub received_at: Timestamp,
    /// The replay that it came of; nothing for a live event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replay: Option<ReplayMark>,
    /// Its records' outcomes.
    pub records: Vec<RecordOutcome>,
}

impl EventOutcome {
    /// Leaves of a replay's outcome what it asked for: the records that had failed, if the event is still cut into
    /// records in the same way. Each of them keeps exactly one verdict, also where the event fails as a whole now.
    pub fn confine(&mut self, replay: &Replay, cut: &str) {
        if replay.records.is_empty() || replay.cut != cut {
            return;
        }
        let whole = match &self.records[..] {
            [only] if only.index == 0 && only.verdict != Verdict::Delivered => Some(only.clone()),
            _ => None,
        };
        let kept: Vec<RecordOutcome> = replay
            .records
            .iter()
            .filter_map(|index| {
                let found = self.records.iter().find(|record| record.index == *index);
                let found = found.cloned().or_else(|| whole.clone())?;
                Some(RecordOutcome {
                    index: *index,
                    ..found
                })
            })
            .collect();
        if !kept.is_empty() {
            self.records = kept;
        }
    }
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordOutcome {
    /// The record's index in its event.
    pub index: u32,
    /// Its verdict.
    pub verdict: Verdict,
    /// Its objects; empty unless delivered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<OntologyObject>,
    /// Why it was dead-lettered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<InputError>,
}

/// A record that could not be mapped, with all that is needed to look into it and to replay it.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// The event, its bytes included.
    pub event: IngestEvent,
    /// The record's index in the event.
    pub index: u32,
    /// The version that failed on it.
    pub version: u32,
    /// What was wrong: a pointer into the mapping (empty if the payload cannot be read), code, detail.
    pub failure: InputError,
    /// When it failed.
    pub failed_at: Timestamp,
    /// Whether all of the event's bytes are here. Of a large event that many records of failed only some dead letters
    /// hold them; of one that does not fit a message none does.
    pub complete: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_id_reads_back() {
        let id = RecordId {
            event: EventId::from("a/b".to_owned()),
            index: 7,
        };
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("nothing".parse::<RecordId>().is_err());
    }

    fn replayed(indexes: &[u32], records: &[u32], cut: &str) -> Vec<u32> {
        let record = |index: &u32| RecordOutcome {
            index: *index,
            verdict: Verdict::Filtered,
            objects: Vec::new(),
            failure: None,
        };
        let mut outcome = EventOutcome {
            event: EventId::generate(),
            organization: OrganizationId::generate(),
            datasource: DatasourceId::generate(),
            version: 1,
            attempt: 1,
            received_at: Timestamp::default(),
            replay: None,
            records: indexes.iter().map(record).collect(),
        };
        let replay = Replay {
            mark: ReplayMark {
                id: ReplayId::generate(),
                trace_id: None,
            },
            records: records.to_vec(),
            cut: "items".to_owned(),
        };
        outcome.confine(&replay, cut);
        outcome.records.iter().map(|record| record.index).collect()
    }

    #[test]
    fn a_replay_is_confined_to_the_records_that_failed() {
        assert_eq!(replayed(&[0, 1, 2], &[1], "items"), [1]);
        assert_eq!(replayed(&[0, 1, 2], &[], "items"), [0, 1, 2]);
        assert_eq!(replayed(&[0, 1, 2], &[1], "others"), [0, 1, 2], "another cut");
        // The event fails or is filtered as a whole now: so is the record.
        assert_eq!(replayed(&[0], &[3, 5], "items"), [3, 5]);
    }

    #[test]
    fn the_same_key_is_the_same_event_in_one_datasource_only() {
        let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
        assert_eq!(EventId::from_key(one, "k"), EventId::from_key(one, "k"));
        assert_ne!(EventId::from_key(one, "k"), EventId::from_key(other, "k"));
    }
}
