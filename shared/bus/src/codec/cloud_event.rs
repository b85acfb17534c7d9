//! The attributes of a CloudEvent that this system reads (CloudEvents 1.0.2, JSON format). Names of extension
//! attributes have only lower-case letters and digits, and at most 20 of them.

use std::borrow::Cow;

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, OrganizationId},
};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What `type` says of an accepted event.
pub(super) const EVENT: &str = "io.halcyon.event.v1";
/// What `type` says of an outcome.
pub(super) const OUTCOME: &str = "io.halcyon.outcome.v1";

/// A CloudEvent as it is read: borrowed from the frame.
#[derive(Deserialize)]
pub(super) struct CloudEvent<'a> {
    #[serde(borrow)]
    pub(super) specversion: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) time: Option<Timestamp>,
    pub(super) organization: Option<OrganizationId>,
    pub(super) datasource: Option<DatasourceId>,
    #[serde(borrow, default)]
    pub(super) contenttype: Option<Cow<'a, str>>,
    /// A JSON object as text: an extension attribute can be no map.
    #[serde(borrow, default)]
    pub(super) headers: Option<Cow<'a, str>>,
    #[serde(default)]
    pub(super) attempt: u32,
    /// A JSON object as text, too.
    #[serde(borrow, default)]
    pub(super) replay: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) data_base64: Option<Cow<'a, str>>,
}

/// Writes the attributes that every item has, after an opening brace.
pub(super) fn open(
    buffer: &mut Vec<u8>,
    kind: &str,
    id: &str,
    organization: OrganizationId,
    datasource: DatasourceId,
    time: Timestamp,
) {
    let mut uuid = uuid::Uuid::encode_buffer();
    buffer.extend_from_slice(b"{\"specversion\":\"1.0\",\"type\":\"");
    buffer.extend_from_slice(kind.as_bytes());
    buffer.extend_from_slice(b"\",\"id\":");
    super::text::string(buffer, id);
    let datasource = &*datasource.0.hyphenated().encode_lower(&mut uuid);
    buffer.extend_from_slice(b",\"source\":\"/datasources/");
    buffer.extend_from_slice(datasource.as_bytes());
    buffer.extend_from_slice(b"\",\"datasource\":\"");
    buffer.extend_from_slice(datasource.as_bytes());
    let organization = &*organization.0.hyphenated().encode_lower(&mut uuid);
    buffer.extend_from_slice(b"\",\"organization\":\"");
    buffer.extend_from_slice(organization.as_bytes());
    buffer.extend_from_slice(b"\",\"time\":\"");
    write_time(buffer, time);
    buffer.push(b'"');
}

/// RFC 3339 in UTC, without a fraction where there is none.
fn write_time(buffer: &mut Vec<u8>, time: Timestamp) {
    use std::io::Write;

    use chrono::{Datelike, Timelike};
    let (date, clock) = (time.date_naive(), time.time());
    if !(0..=9999).contains(&date.year()) {
        // Written as chrono writes it, and read back by it; no clock of ours gives such a year.
        buffer.extend_from_slice(
            time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
                .as_bytes(),
        );
        return;
    }
    let (micros, nanos) = (
        clock.nanosecond() % 1_000_000_000 / 1_000,
        clock.nanosecond() % 1_000,
    );
    // Writing to a Vec does not fail.
    let _ = write!(
        buffer,
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
        date.year(),
        date.month(),
        date.day(),
        clock.hour(),
        clock.minute(),
        clock.second()
    );
    if nanos > 0 {
        let _ = write!(buffer, ".{micros:06}{nanos:03}");
    } else if micros > 0 {
        let _ = write!(buffer, ".{micros:06}");
    }
    buffer.push(b'Z');
}
