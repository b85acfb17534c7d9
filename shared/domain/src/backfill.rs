//! Fetching a past range of a feed again, beside what is fetched live.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    audit::Actor,
    clock::{Timestamp, check_year},
    error::InputError,
    id::{BackfillId, DatasourceId, OrganizationId, WorkerId},
    lifecycle::states,
};

states! {
    /// What has become of a backfill.
    BackfillStatus {
        /// It waits for a worker, or for the one before it.
        Queued = "queued",
        /// A worker reads.
        Running = "running",
        /// All of its range was read and delivered.
        Done = "done",
        /// It was given up; the message says why.
        Failed = "failed",
        /// Somebody cancelled it, or deleted its datasource.
        Cancelled = "cancelled",
    }
}

impl BackfillStatus {
    /// Whether nothing becomes of it any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

/// A request to fetch a past range of a datasource's feed again.
#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    /// Its identifier.
    pub id: BackfillId,
    /// The tenant.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The version that maps.
    pub version: u32,
    /// From when on.
    pub from: Timestamp,
    /// Until when; that moment itself is not read.
    pub to: Timestamp,
    /// The most records each second.
    pub records_per_second: Option<u32>,
    /// Why.
    pub comment: Option<String>,
    /// What has become of it.
    pub status: BackfillStatus,
    /// How far it is.
    pub progress: BackfillProgress,
    /// Why it failed, or what stands in its way.
    pub message: Option<String>,
    /// The worker that reads, or read last.
    pub worker: Option<WorkerId>,
    /// Who asked for it.
    pub created_by: Actor,
    /// When.
    pub created_at: Timestamp,
    /// When a worker began to read.
    pub started_at: Option<Timestamp>,
    /// When nothing became of it any more.
    pub finished_at: Option<Timestamp>,
    /// Grows with each change.
    pub revision: i64,
}

impl Backfill {
    /// How much of the range is read, in percent; nothing if its connector cannot tell.
    #[must_use]
    pub fn percent(&self) -> Option<f64> {
        if self.status == BackfillStatus::Done {
            return Some(100.0);
        }
        let all = (self.to - self.from).num_milliseconds().max(1) as f64;
        let read = (self.progress.position? - self.from).num_milliseconds() as f64;
        Some((read / all * 100.0).clamp(0.0, 100.0))
    }
}

/// How far a backfill is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BackfillProgress {
    /// Records that were read, mapped and made durable.
    pub records: u64,
    /// Those of them that could not be mapped.
    pub dead_lettered: u64,
    /// Failures: each was tried again.
    pub errors: u64,
    /// Records per second, over the last ten seconds.
    pub records_per_second: f64,
    /// Up to which time of the feed it has read; nothing if its connector cannot tell.
    pub position: Option<Timestamp>,
}

/// What a worker is told of a backfill.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillTask {
    /// The datasource whose feed is read.
    pub datasource: DatasourceId,
    /// From when on.
    pub from: Timestamp,
    /// Until when; that moment itself is not read.
    pub to: Timestamp,
    /// The most records each second.
    #[serde(default)]
    pub records_per_second: Option<u32>,
}

/// What a worker says of a backfill.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillReport {
    /// What has become of it: never `cancelled`.
    pub status: BackfillStatus,
    /// How far it is.
    pub progress: BackfillProgress,
    /// Why it failed, or what stands in its way.
    #[serde(default)]
    pub message: Option<String>,
}

/// The most records each second that can be asked for.
const MAX_RATE: u32 = 1_000_000;

/// Checks what a backfill is asked for with.
///
/// # Errors
/// The first field that does not fit.
pub fn check(
    from: Timestamp,
    to: Timestamp,
    records_per_second: Option<u32>,
    now: Timestamp,
) -> Result<(), InputError> {
    check_year("/from", from)?;
    if from >= to {
        let detail = "a range ends after it begins";
        return Err(InputError::new("/to", "out_of_range", detail));
    }
    if to > now {
        let detail = "a backfill is of the past; what is to come is fetched live";
        return Err(InputError::new("/to", "out_of_range", detail));
    }
    if records_per_second.is_some_and(|rate| rate == 0 || rate > MAX_RATE) {
        let detail = format!("between 1 and {MAX_RATE} records each second");
        return Err(InputError::new("/records_per_second", "out_of_range", detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_range_lies_in_the_past_and_has_a_length() {
        let now = Timestamp::UNIX_EPOCH + TimeDelta::days(1);
        let at = |hours| Timestamp::UNIX_EPOCH + TimeDelta::hours(hours);
        assert_eq!(check(at(1), at(2), None, now), Ok(()));
        for (from, to, rate, pointer) in [
            (at(2), at(2), None, "/to"),
            (at(2), at(25), None, "/to"),
            (Timestamp::MIN_UTC, at(2), None, "/from"),
            (at(1), at(2), Some(0), "/records_per_second"),
        ] {
            assert_eq!(check(from, to, rate, now).unwrap_err().pointer, pointer);
        }
    }
}
