//! What `"from": "context"` expressions see.

use std::{borrow::Cow, collections::BTreeMap};

use chrono::SecondsFormat;
use halcyon_domain::{clock::Timestamp, event::EventId, event::IngestEvent, id::DatasourceId};

use crate::json::Node;

/// What is known of an event besides its payload. Expressions with `"from": "context"` see an object with
/// `event_id`, `received_at` (RFC 3339, UTC), `headers` (an object, lower-case names) and `datasource`.
#[derive(Clone, Copy, Debug)]
pub struct MappingContext<'a> {
    /// The event's identifier.
    pub event_id: &'a EventId,
    /// When it was accepted.
    pub received_at: Timestamp,
    /// The headers that came with it.
    pub headers: &'a BTreeMap<String, String>,
    /// The feed it came in on.
    pub datasource: DatasourceId,
}

impl<'a> From<&'a IngestEvent> for MappingContext<'a> {
    fn from(event: &'a IngestEvent) -> Self {
        Self {
            event_id: &event.id,
            received_at: event.received_at,
            headers: &event.headers,
            datasource: event.datasource,
        }
    }
}

impl<'a> MappingContext<'a> {
    pub(crate) fn to_node(self) -> Node<'a> {
        let header = |(name, value): (&'a String, &'a String)| {
            (
                Cow::Borrowed(name.as_str()),
                Node::Text(Cow::Borrowed(value.as_str())),
            )
        };
        let received_at = self.received_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        let members = vec![
            ("event_id", Node::Text(Cow::Borrowed(self.event_id.as_str()))),
            ("received_at", Node::Text(Cow::Owned(received_at))),
            ("datasource", Node::Text(Cow::Owned(self.datasource.to_string()))),
            ("headers", Node::Map(self.headers.iter().map(header).collect())),
        ];
        Node::Map(
            members
                .into_iter()
                .map(|(name, node)| (Cow::Borrowed(name), node))
                .collect(),
        )
    }
}
