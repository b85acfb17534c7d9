//! Where a source is among the rows.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta};
use halcyon_domain::clock::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::config::Kind;
use crate::{Checkpoint, Error};

/// What the checkpoint holds: the last row that was read, its values as the database writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The column that `cursor` is of.
    pub(super) column: String,
    pub(super) cursor: String,
    /// Without one, rows with that very cursor are still to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// While a run reads its overlap again: the cursor where the run before had ended. The run goes on from the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) high: Option<String>,
}

impl Position {
    /// Reads a checkpoint of a feed with this cursor.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is none of ours, or of another column.
    pub(super) fn read(checkpoint: &Checkpoint, cursor: &str) -> Result<Self, Error> {
        let read: Self = checkpoint.read()?;
        if read.column == cursor {
            return Ok(read);
        }
        let detail = format!("it is of column `{}`, and the cursor is `{cursor}`", read.column);
        Err(Error::Checkpoint { detail })
    }
}

/// Where a run begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// With the first row.
    Beginning,
    /// With the rows that have this cursor.
    From(String),
    /// An overlap before this cursor.
    Before(String),
    /// After this row.
    After { cursor: String, key: String },
}

/// The stretch that is read, by the cursor: from the first, without the second. A backfill has both; a run over what is
/// new has the second.
pub(super) type Stretch = (Option<Timestamp>, Timestamp);

/// How far ahead of our clock a time may be that says its zone: clocks differ. A run ends there, by the time at which it
/// began. What is dated later is read when its time has come: as the feed's position it would hide all that comes until
/// then.
pub(super) const AHEAD: TimeDelta = TimeDelta::minutes(5);
/// The same for one that does not say it: it may be the local time of wherever its writer is.
pub(super) const AHEAD_WITHOUT_ZONE: TimeDelta = TimeDelta::days(1);
/// The same for a day.
pub(super) const AHEAD_DATES: TimeDelta = TimeDelta::days(2);

/// Whether a position lies where no run ends: the feed would stand still, maybe for ever. A clock that was put back by
/// less than a day moves on to there.
pub(super) fn is_ahead(position: &str, now: Timestamp) -> bool {
    let latest = now + AHEAD_DATES + TimeDelta::days(1);
    position == "infinity" || instant(position).is_some_and(|time| time > latest)
}

/// A time as every engine reads it.
pub(super) fn written(time: Timestamp) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// Which of two cursors is greater. Only kinds that can have an overlap are compared, and those have an order that can
/// be seen from outside the database.
pub(super) fn compare(kind: Kind, left: &str, right: &str) -> Ordering {
    match kind {
        Kind::Integer => match (left.parse::<i128>(), right.parse::<i128>()) {
            (Ok(left), Ok(right)) => left.cmp(&right),
            _ => left.cmp(right),
        },
        Kind::Timestamp => match (instant(left), instant(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // Infinity and such.
            _ => left.cmp(right),
        },
        Kind::Text | Kind::Uuid => left.cmp(right),
    }
}

/// A time as databases write it; without a zone it is UTC.
pub(super) fn instant(text: &str) -> Option<Timestamp> {
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %:z"] {
        if let Ok(time) = DateTime::parse_from_str(text, format) {
            return Some(time.to_utc());
        }
    }
    if let Ok(time) = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f") {
        return Some(time.and_utc());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
}

/// A row's identity: its key at its cursor, so that a row that was changed is another event.
pub(super) fn identity(key: &str, cursor: &str) -> String {
    if key.len() + cursor.len() <= 200 && !key.contains('@') {
        return format!("{key}@{cursor}");
    }
    let mut hash = Sha256::new();
    hash.update(key.len().to_be_bytes());
    hash.update(key);
    hash.update(cursor);
    format!("sha256:{}", hex::encode(hash.finalize()))
}
