//! Points in time, in the forms that vendors write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use halcyon_domain::clock::{Timestamp, truncate};

use super::fault::Fault;
use crate::value::Val;

/// Reads a point in time: RFC 3339 (the offset may lack its colon), `YYYY-MM-DD HH:MM:SS[.1-9 digits]` as UTC,
/// or the time since 1970 in seconds, milliseconds, microseconds or nanoseconds as number or text. Years 1 to
/// 9999; truncated to microseconds.
pub(crate) fn of_value(value: &Val<'_>) -> Result<Timestamp, Fault> {
    let text = match value.as_text() {
        Some(text) => std::borrow::Cow::Borrowed(text),
        None => value.number_text().ok_or(Fault::Mistyped("a point in time"))?,
    };
    parse(text.trim()).ok_or(Fault::Mistyped("a point in time"))
}

/// Reads a point in time.
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let time = calendar(text.as_bytes()).or_else(|| epoch(text))?;
    let year = chrono::Datelike::year(&time);
    (1..=9_999).contains(&year).then(|| truncate(time))
}

/// A date, `T` or a space, a time of day, a fraction, an offset.
fn calendar(text: &[u8]) -> Option<Timestamp> {
    let at = |index: usize| text.get(index).copied();
    let separators = at(4) == Some(b'-')
        && at(7) == Some(b'-')
        && matches!(at(10), Some(b'T' | b't' | b' '))
        && at(13) == Some(b':')
        && at(16) == Some(b':');
    if !separators {
        return None;
    }
    let two = |start: usize| digits(text.get(start..start + 2)?);
    let date = NaiveDate::from_ymd_opt(i32::try_from(digits(text.get(..4)?)?).ok()?, two(5)?, two(8)?)?;
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let (nanos, offset) = fraction(text.get(19..)?)?;
    // A leap second (RFC 3339, section 5.7) counts as the first of the next minute.
    let leap = u32::from(second == 60);
    let time = NaiveTime::from_hms_nano_opt(hour, minute, second - leap, nanos)?;
    let local = NaiveDateTime::new(date, time);
    let utc = local.checked_sub_signed(TimeDelta::seconds(offset_seconds(offset)? - i64::from(leap)))?;
    Some(utc.and_utc())
}

fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |sum: u32, digit| {
        let digit = digit.is_ascii_digit().then(|| u32::from(digit - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

/// The nanoseconds of `.1-9 digits`, if they are there, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".").or_else(|| text.strip_prefix(b",")) else {
        return Some((0, text));
    };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (fraction, rest) = rest.split_at(count);
    let scale = 10_u32.checked_pow(u32::try_from(9 - count).ok()?)?;
    Some((digits(fraction)?.checked_mul(scale)?, rest))
}

/// Nothing and `Z` are UTC; `+HH:MM` and `+HHMM` are offsets.
fn offset_seconds(text: &[u8]) -> Option<i64> {
    let (sign, hours, minutes) = match text {
        [] | b"Z" | b"z" | b" UTC" => return Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] | [sign @ (b'+' | b'-'), h1, h2, m1, m2] => {
            (*sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?)
        }
        _ => return None,
    };
    if hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i64::from(hours * 3_600 + minutes * 60);
    Some(if sign == b'-' { -seconds } else { seconds })
}

/// The time since 1970; the unit follows from the size. Below 1e11 it is seconds (until the year 5138), below
/// 1e14 milliseconds, below 1e17 microseconds, else nanoseconds.
fn epoch(text: &str) -> Option<Timestamp> {
    let valid = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    if !valid || text.is_empty() {
        return None;
    }
    let micros = match text.parse::<i64>() {
        Ok(whole) => match whole.unsigned_abs() {
            0..100_000_000_000 => whole.checked_mul(1_000_000)?,
            100_000_000_000..100_000_000_000_000 => whole.checked_mul(1_000)?,
            100_000_000_000_000..100_000_000_000_000_000 => whole,
            _ => whole.div_euclid(1_000),
        },
        Err(_) => fractional(text)?,
    };
    DateTime::from_timestamp_micros(micros)
}

/// As `epoch`, with a fraction: exact to the microsecond for seconds.
fn fractional(text: &str) -> Option<i64> {
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite())?;
    let scale = match number.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        size if size < 1e20 => 1e-3,
        _ => return None,
    };
    Some((number * scale).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse(text).map(|time| time.timestamp_micros())
    }

    #[test]
    fn calendar_forms() {
        let expected = Some(1_740_516_006_000_000);
        for text in [
            "2025-02-25T20:40:06Z",
            "2025-02-25t20:40:06z",
            "2025-02-25T20:40:06.000Z",
            "2025-02-25 20:40:06",
            "2025-02-25 20:40:06.0",
            "2025-02-25 20:40:06.000000000",
            "2025-02-25T22:40:06+02:00",
            "2025-02-25T15:10:06-0530",
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        assert_eq!(micros("2025-02-25 20:40:06.721"), Some(1_740_516_006_721_000));
        assert_eq!(
            micros("2025-02-25 20:40:06.123456789"),
            Some(1_740_516_006_123_456)
        );
        assert_eq!(micros("2016-12-31T23:59:60Z"), micros("2017-01-01T00:00:00Z"));
    }

    #[test]
    fn epochs_in_every_unit() {
        for text in [
            "1682368414",
            "1682368414000",
            "1682368414000000",
            "1682368414000000000",
        ] {
            assert_eq!(micros(text), Some(1_682_368_414_000_000), "{text}");
        }
        assert_eq!(micros("1682368414.719"), Some(1_682_368_414_719_000));
        assert_eq!(micros("1.682368414e9"), Some(1_682_368_414_000_000));
        assert_eq!(micros("-1"), Some(-1_000_000));
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "yesterday",
            "2025-02-30 00:00:00",
            "2025-02-25 24:00:00",
            "2025-02-25",
            "2025-02-25 20:40:06.",
            "2025-02-25 20:40:06.1234567890",
            "2025-02-25T20:40:06+24:00",
            "0000-01-01 00:00:00",
            "NaN",
            "inf",
            "1e300",
            "99999999999999999999999999999999",
            "2025-02-25T20:40:06Zjunk",
            "２０25-02-25 20:40:06",
            "--1",
            "1e",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
    }
}
