//! When a certificate ends: the one thing that is read of it here (RFC 5280, section 4.1).

use chrono::{DateTime, NaiveDateTime, Utc};

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The explicit tag of the version, which comes first if it is there.
const VERSION: u8 = 0xa0;

/// When the certificate, in DER, ends; nothing if it is none.
pub(super) fn of(certificate: &[u8]) -> Option<DateTime<Utc>> {
    let (body, _) = take(certificate, SEQUENCE)?;
    let (mut rest, _) = take(body, SEQUENCE)?;
    if rest.first() == Some(&VERSION) {
        rest = take(rest, VERSION)?.1;
    }
    // The serial number, the algorithm, the issuer; then the validity.
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = take(rest, tag)?.1;
    }
    let (validity, _) = take(rest, SEQUENCE)?;
    let (_, after) = time(validity)?;
    Some(time(after)?.0)
}

/// An element's content and what follows it.
fn take(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if length.len() > 4 {
            return None;
        }
        let length = length
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte));
        (length, rest)
    };
    rest.split_at_checked(length)
}

fn time(bytes: &[u8]) -> Option<(DateTime<Utc>, &[u8])> {
    let tag = *bytes.first()?;
    let (text, rest) = take(bytes, tag)?;
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        GENERALIZED_TIME => text.to_owned(),
        // Years from 50 on are of the last century.
        UTC_TIME if text.get(..2)? < "50" => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        _ => return None,
    };
    let time = NaiveDateTime::parse_from_str(&text, "%Y%m%d%H%M%SZ").ok()?;
    Some((time.and_utc(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_of(year: i32) -> Option<DateTime<Utc>> {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 3, 4);
        let key = rcgen::KeyPair::generate().unwrap();
        of(params.self_signed(&key).unwrap().der())
    }

    #[test]
    fn the_end_of_a_certificate_is_found_in_either_form() {
        assert_eq!(end_of(2031).unwrap().to_rfc3339(), "2031-03-04T00:00:00+00:00");
        assert_eq!(end_of(2071).unwrap().to_rfc3339(), "2071-03-04T00:00:00+00:00");
        assert_eq!(of(b"nonsense"), None);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
