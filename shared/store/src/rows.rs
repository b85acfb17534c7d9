//! From columns to the domain's types and back.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, NaiveTime};
use halcyon_domain::{
    audit::Actor,
    clock::{Timestamp, truncate},
};
use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

use crate::error::{Error, Result};

/// The word of an enumeration.
pub(crate) fn word<T>(text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(Error::internal)
}

/// A document kept as text.
pub(crate) fn document<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(Error::internal)
}

/// The text of a document.
pub(crate) fn text<T: Serialize>(document: &T) -> Result<String> {
    serde_json::to_string(document).map_err(Error::internal)
}

/// A number that is never negative in the domain.
pub(crate) fn number(value: i64) -> Result<u32> {
    u32::try_from(value).map_err(Error::internal)
}

/// The same for one that may be absent.
pub(crate) fn optional_number(value: Option<i64>) -> Result<Option<u32>> {
    value.map(number).transpose()
}

/// Who did something, as three columns keep it.
pub(crate) fn actor(kind: &str, id: Option<Uuid>, name: String) -> Result<Actor> {
    Ok(Actor {
        kind: word(kind)?,
        id,
        name,
    })
}

/// The same where nobody may have done it.
pub(crate) fn optional_actor(
    kind: Option<&str>,
    id: Option<Uuid>,
    name: Option<String>,
) -> Result<Option<Actor>> {
    kind.map(|kind| actor(kind, id, name.unwrap_or_default()))
        .transpose()
}

/// Text as both databases can keep it: Postgres refuses the character NUL.
pub(crate) fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A time as both databases can keep and sort it: years 0 to 9999, microseconds.
pub(crate) fn storable_time(time: Timestamp) -> Timestamp {
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).unwrap_or_default();
    let at =
        |date: NaiveDate| DateTime::from_naive_utc_and_offset(date.and_time(NaiveTime::MIN), chrono::Utc);
    truncate(time.clamp(at(day(1, 1, 1)), at(day(9999, 12, 31))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_out_of_range_are_moved_into_it() {
        assert_eq!(
            storable_time(Timestamp::MAX_UTC).to_rfc3339(),
            "9999-12-31T00:00:00+00:00"
        );
        assert_eq!(
            storable_time(Timestamp::MIN_UTC).to_rfc3339(),
            "0001-01-01T00:00:00+00:00"
        );
    }

    #[test]
    fn nul_is_replaced() {
        assert_eq!(storable("a\0b"), "a\u{fffd}b");
    }
}
