//! What texts are, by how they are written.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What a text is, in the words of JSON Schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// A point in time (RFC 3339).
    DateTime,
    /// A day (RFC 3339).
    Date,
    /// An address of version 4.
    Ipv4,
    /// An address of version 6.
    Ipv6,
    /// An e-mail address.
    Email,
    /// A UUID.
    Uuid,
    /// An address of the web.
    Uri,
}

impl Format {
    /// The word of JSON Schema.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DateTime => "date-time",
            Self::Date => "date",
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Email => "email",
            Self::Uuid => "uuid",
            Self::Uri => "uri",
        }
    }

    /// What a text is, if it is one of these.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let first = *text.as_bytes().first()?;
        if text.len() > 512 {
            return None;
        }
        if first.is_ascii_digit() && text.len() >= 10 && text.as_bytes().get(4) == Some(&b'-') {
            if text.len() == 10 && text.parse::<chrono::NaiveDate>().is_ok() {
                return Some(Self::Date);
            }
            if chrono::DateTime::parse_from_rfc3339(text).is_ok() {
                return Some(Self::DateTime);
            }
        }
        if text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() {
            return Some(Self::Uuid);
        }
        if first.is_ascii_digit() && text.parse::<Ipv4Addr>().is_ok() {
            return Some(Self::Ipv4);
        }
        if text.contains(':') && text.parse::<Ipv6Addr>().is_ok() {
            return Some(Self::Ipv6);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            return Some(Self::Uri);
        }
        is_email(text).then_some(Self::Email)
    }
}

fn is_email(text: &str) -> bool {
    let Some((name, host)) = text.split_once('@') else {
        return false;
    };
    let fits = |letter: char| letter.is_alphanumeric() || "._%+-".contains(letter);
    !name.is_empty()
        && name.chars().all(fits)
        && host.contains('.')
        && !host.starts_with('.')
        && !host.ends_with('.')
        && host
            .chars()
            .all(|letter| letter.is_alphanumeric() || ".-".contains(letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_known_by_how_they_are_written() {
        for (text, format) in [
            ("2026-01-02T03:04:05Z", Some(Format::DateTime)),
            ("2026-01-02T03:04:05.123+02:00", Some(Format::DateTime)),
            ("2026-01-02", Some(Format::Date)),
            ("2026-13-02", None),
            ("10.0.0.1", Some(Format::Ipv4)),
            ("10.0.0.256", None),
            ("fe80::1", Some(Format::Ipv6)),
            ("ann@example.org", Some(Format::Email)),
            ("@example", None),
            ("0190a3c2-0000-7000-8000-000000000001", Some(Format::Uuid)),
            ("https://example.org/a?b=c", Some(Format::Uri)),
            ("high", None),
            ("", None),
        ] {
            assert_eq!(Format::of(text), format, "{text}");
        }
    }
}
