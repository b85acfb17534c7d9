//! The cursor: how its values compare, and from where on to ask. A value is kept as the text that it came as, so
//! neither a long number nor a fraction of a second is rounded.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, NaiveDateTime, SecondsFormat, TimeDelta};
use halcyon_domain::clock::Timestamp;

/// What a cursor's values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text that sorts by its bytes.
    Text,
    /// A whole number.
    Integer,
    /// A time.
    Timestamp(TimeFormat),
}

/// How a time is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TimeFormat {
    /// As in `2026-01-31T12:00:00Z`.
    Rfc3339,
    /// Seconds since 1970, maybe with a fraction.
    UnixS,
    /// Milliseconds since 1970.
    UnixMs,
    /// A pattern such as `%Y-%m-%d %H:%M:%S`, in UTC.
    Pattern(String),
}

impl TimeFormat {
    /// The format of a name or a pattern; `None` if it cannot be written with.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "rfc3339" => Some(Self::Rfc3339),
            "unix_s" => Some(Self::UnixS),
            "unix_ms" => Some(Self::UnixMs),
            pattern if pattern.contains('%') => {
                let good = chrono::format::StrftimeItems::new(pattern)
                    .all(|item| item != chrono::format::Item::Error);
                good.then(|| Self::Pattern(pattern.to_owned()))
            }
            _ => None,
        }
    }

    pub(crate) fn write(&self, time: Timestamp) -> String {
        match self {
            Self::Rfc3339 => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::UnixS => time.timestamp().to_string(),
            Self::UnixMs => time.timestamp_millis().to_string(),
            Self::Pattern(pattern) => time.format(pattern).to_string(),
        }
    }

    pub(crate) fn read(&self, text: &str) -> Option<Timestamp> {
        match self {
            Self::Rfc3339 => DateTime::parse_from_rfc3339(text)
                .map(|time| time.to_utc())
                .ok()
                .or_else(|| naive(text, "%Y-%m-%dT%H:%M:%S%.f"))
                .or_else(|| naive(text, "%Y-%m-%d %H:%M:%S%.f")),
            Self::UnixS => {
                let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
                let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
                DateTime::from_timestamp(seconds.parse().ok()?, digits.parse().ok()?)
            }
            Self::UnixMs => DateTime::from_timestamp_millis(text.parse().ok()?),
            // With an offset first: without it, one would be read and not minded.
            Self::Pattern(pattern) => DateTime::parse_from_str(text, pattern)
                .map(|time| time.to_utc())
                .ok()
                .or_else(|| naive(text, pattern))
                .or_else(|| {
                    let date = NaiveDate::parse_from_str(text, pattern).ok()?;
                    Some(date.and_hms_opt(0, 0, 0)?.and_utc())
                }),
        }
    }

    /// Whether what is written can be read and is the same then. A date can, a time of day cannot.
    pub(crate) fn reads_what_it_writes(&self) -> bool {
        // 2009-11-23 22:44:55, no part of which is like another or as it would be without being said.
        let Some(time) = DateTime::from_timestamp(1_259_016_295, 0) else {
            return false;
        };
        let written = self.write(time);
        self.read(&written)
            .is_some_and(|read| self.write(read) == written && read.date_naive() == time.date_naive())
    }
}

fn naive(text: &str, pattern: &str) -> Option<Timestamp> {
    let time = NaiveDateTime::parse_from_str(text, pattern).ok()?;
    Some(time.and_utc())
}

impl Kind {
    /// Which of two values is further on. What cannot be read comes before everything that can.
    pub(crate) fn compare(&self, a: &str, b: &str) -> Ordering {
        match self {
            Self::Text => a.cmp(b),
            Self::Integer => a.parse::<i128>().ok().cmp(&b.parse::<i128>().ok()),
            Self::Timestamp(format) => format.read(a).cmp(&format.read(b)),
        }
    }

    /// Whether `value` is one.
    pub(crate) fn reads(&self, value: &str) -> bool {
        match self {
            Self::Text => true,
            Self::Integer => value.parse::<i128>().is_ok(),
            Self::Timestamp(format) => format.read(value).is_some(),
        }
    }

    /// The value `overlap` (seconds, or numbers) before `value`; as it is without one.
    pub(crate) fn back(&self, value: &str, overlap: u64) -> String {
        if overlap == 0 {
            return value.to_owned();
        }
        let moved = match self {
            Self::Text => None,
            Self::Integer => value
                .parse::<i128>()
                .ok()
                .map(|number| (number - i128::from(overlap)).to_string()),
            Self::Timestamp(format) => format.read(value).and_then(|time| {
                let back = TimeDelta::try_seconds(i64::try_from(overlap).ok()?)?;
                Some(format.write(time.checked_sub_signed(back)?))
            }),
        };
        moved.unwrap_or_else(|| value.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_compare_by_their_kind_and_stay_text() {
        let time = Kind::Timestamp(TimeFormat::Rfc3339);
        let long = "123456789012345678901234567890";
        assert_eq!(Kind::Integer.compare("9", "10"), Ordering::Less);
        assert_eq!(Kind::Integer.compare(long, "9"), Ordering::Greater);
        assert_eq!(Kind::Integer.compare("x", "-5"), Ordering::Less);
        assert_eq!(Kind::Text.compare("9", "10"), Ordering::Greater);
        assert_eq!(
            time.compare("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z"),
            Ordering::Equal
        );
        assert_eq!(Kind::Integer.back(long, 1), "123456789012345678901234567889");
        assert_eq!(
            time.back("2026-01-01T00:00:10.000000001Z", 0),
            "2026-01-01T00:00:10.000000001Z"
        );
        assert_eq!(time.back("2026-01-01T00:00:10.5Z", 5), "2026-01-01T00:00:05.500Z");
    }

    #[test]
    fn times_are_read_in_the_vendors_form() {
        for (format, text, seconds) in [
            ("rfc3339", "2026-01-01T00:00:00.250Z", 1_767_225_600),
            ("rfc3339", "2026-01-01 00:00:00", 1_767_225_600),
            ("unix_s", "1767225600.123456", 1_767_225_600),
            ("unix_ms", "1767225600999", 1_767_225_600),
            ("%d/%m/%Y %H:%M", "01/01/2026 00:00", 1_767_225_600),
            ("%Y-%m-%d", "2026-01-01", 1_767_225_600),
            ("%Y-%m-%d %H:%M:%S %z", "2026-01-01 02:00:00 +0200", 1_767_225_600),
        ] {
            let format = TimeFormat::parse(format).unwrap();
            let time = format.read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(time.timestamp(), seconds, "{text}");
            assert!(format.read("no time").is_none());
        }
        for (pattern, good) in [
            ("rfc3339", true),
            ("unix_ms", true),
            ("%s", true),
            ("%Y-%m-%d", true),
            ("%Y-%j", true),
            ("%d %b %Y %I:%M %p", true),
            ("%Y-%m-%d %H", false),
            ("%Y-%m-%d %I:%M", false),
            ("%d/%m %H:%M:%S", false),
            ("%H:%M:%S", false),
            ("%Y-%m", false),
        ] {
            let format = TimeFormat::parse(pattern).unwrap();
            assert_eq!(format.reads_what_it_writes(), good, "{pattern}");
        }
        assert!(TimeFormat::parse("iso").is_none() && TimeFormat::parse("%Q!").is_none());
    }
}
