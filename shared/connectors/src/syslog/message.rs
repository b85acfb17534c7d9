//! Messages of RFC 5424, and what senders make of RFC 3164.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, SecondsFormat, TimeDelta};
use halcyon_domain::clock::Timestamp;
use serde_json::{Map, Value};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
    "ntp", "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
];
const SEVERITIES: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];
const MONTHS: [&str; 12] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];

/// What a message says, as far as it could be read. What could not is in `text`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Message<'a> {
    /// `rfc5424` or `rfc3164`; `none` for a text without a priority.
    pub(super) format: &'static str,
    pub(super) priority: Option<u8>,
    pub(super) timestamp: Option<String>,
    pub(super) host: Option<&'a str>,
    pub(super) app: Option<&'a str>,
    pub(super) procid: Option<&'a str>,
    pub(super) msgid: Option<&'a str>,
    pub(super) structured_data: Map<String, Value>,
    pub(super) text: &'a str,
}

impl Message<'_> {
    pub(super) fn facility(&self) -> Option<&'static str> {
        FACILITIES.get(usize::from(self.priority? / 8)).copied()
    }

    pub(super) fn severity(&self) -> Option<&'static str> {
        SEVERITIES.get(usize::from(self.priority? % 8)).copied()
    }
}

/// Reads a message. `now` and `zone` give the year and the zone that RFC 3164 leaves out.
pub(super) fn parse(text: &str, now: Timestamp, zone: FixedOffset) -> Message<'_> {
    let Some((priority, rest)) = priority(text) else {
        return Message {
            format: "none",
            text,
            ..Message::default()
        };
    };
    let found = rest.strip_prefix("1 ").and_then(rfc5424);
    let mut message = found.unwrap_or_else(|| rfc3164(rest, now, zone));
    message.priority = Some(priority);
    message
}

/// `<34>`: at most 191.
fn priority(text: &str) -> Option<(u8, &str)> {
    let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
    let short = (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let value: u8 = digits.parse().ok()?;
    (short && value <= 191).then_some((value, rest))
}

fn rfc3339(text: &str) -> Option<String> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// What follows the version.
fn rfc5424(rest: &str) -> Option<Message<'_>> {
    let field = |text| -> Option<(Option<&str>, &str)> {
        let (field, rest) = str::split_once(text, ' ')?;
        (!field.is_empty()).then_some(((field != "-").then_some(field), rest))
    };
    let (time, rest) = field(rest)?;
    let timestamp = match time {
        None => None,
        Some(time) => Some(rfc3339(time)?),
    };
    let (host, rest) = field(rest)?;
    let (app, rest) = field(rest)?;
    let (procid, rest) = field(rest)?;
    let (msgid, rest) = field(rest)?;
    let (structured_data, rest) = structured_data(rest)?;
    let text = match rest.strip_prefix(' ') {
        Some(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        None if rest.is_empty() => rest,
        None => return None,
    };
    Some(Message {
        format: "rfc5424",
        priority: None,
        timestamp,
        host,
        app,
        procid,
        msgid,
        structured_data,
        text,
    })
}

/// `-`, or `[id name="value" ...]` several times. A name that is repeated, which the RFC allows, has a list of values.
fn structured_data(text: &str) -> Option<(Map<String, Value>, &str)> {
    let mut found = Map::new();
    if let Some(rest) = text.strip_prefix('-') {
        return Some((found, rest));
    }
    let mut rest = text;
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']'])?;
        let (id, mut params) = inside.split_at(end);
        if id.is_empty() {
            return None;
        }
        let element = found.entry(id).or_insert_with(|| Value::Object(Map::new()));
        loop {
            params = params.trim_start_matches(' ');
            if let Some(after) = params.strip_prefix(']') {
                rest = after;
                break;
            }
            let (name, quoted) = params.split_once("=\"")?;
            if name.is_empty() || name.contains([' ', ']', '"', '=']) {
                return None;
            }
            let (value, after) = quoted_value(quoted)?;
            if let Value::Object(element) = element {
                add(element, name, value);
            }
            params = after;
        }
    }
    (!found.is_empty()).then_some((found, rest))
}

/// Up to the quote; a backslash keeps its meaning only before `"`, `\` and `]`.
fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next_if(|(_, next)| matches!(next, '"' | '\\' | ']')) {
                Some((_, escaped)) => value.push(escaped),
                None => value.push('\\'),
            },
            other => value.push(other),
        }
    }
    None
}

fn add(element: &mut Map<String, Value>, name: &str, value: String) {
    let value = Value::String(value);
    match element.get_mut(name) {
        None => {
            element.insert(name.to_owned(), value);
        }
        Some(Value::Array(values)) => values.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

/// What follows the priority: a time, a host and a tag, of which anything may be missing.
fn rfc3164(rest: &str, now: Timestamp, zone: FixedOffset) -> Message<'_> {
    let mut message = Message {
        format: "rfc3164",
        ..Message::default()
    };
    let rest = rest.trim_start_matches(' ');
    let Some((timestamp, rest)) = time(rest, now, zone) else {
        let (app, procid, text) = tag(rest, true);
        return Message {
            app,
            procid,
            text,
            ..message
        };
    };
    message.timestamp = Some(timestamp);
    let rest = rest.trim_start_matches(' ');
    // Some leave the host out: then a tag is what comes first.
    let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let host_left_out = first.is_empty() || first.ends_with(':') || is_event(first) || after.is_empty();
    let rest = if host_left_out {
        rest
    } else {
        message.host = (first != "-").then_some(first);
        after
    };
    (message.app, message.procid, message.text) = tag(rest, false);
    message
}

fn is_event(text: &str) -> bool {
    text.starts_with("CEF:") || text.starts_with("LEEF:")
}

/// `su: text`, `sshd[23]: text` or `text`. Where no header came before (`bare`), only what is surely a tag is one.
fn tag(text: &str, bare: bool) -> (Option<&str>, Option<&str>, &str) {
    let none = (None, None, text);
    let end = text.find([':', '[', ' ']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.len() > 128 || is_event(text) {
        return none;
    }
    let (procid, rest) = match rest.strip_prefix('[').and_then(|inside| inside.split_once(']')) {
        Some((procid, after)) if !procid.is_empty() && !procid.contains(' ') => (Some(procid), after),
        Some(_) => return none,
        None => (None, rest),
    };
    let Some(after) = rest.strip_prefix(':') else {
        // `app[23] text` is a tag, too; `some text` is none.
        return match procid {
            Some(_) if rest.starts_with(' ') => (Some(name), procid, rest.trim_start_matches(' ')),
            _ => none,
        };
    };
    if bare && !after.starts_with(' ') {
        return none;
    }
    (Some(name), procid, after.strip_prefix(' ').unwrap_or(after))
}

/// `Oct 11 22:14:15`, with a year after the day or a fraction perhaps, or a time of RFC 3339.
fn time(text: &str, now: Timestamp, zone: FixedOffset) -> Option<(String, &str)> {
    let end = text.find(' ').unwrap_or(text.len());
    if let Some(found) = text.get(..end).and_then(rfc3339) {
        return Some((found, &text[end..]));
    }
    let month = text.get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|name| *name == month)? as u32 + 1;
    let (day, rest) = word(text.get(3..)?)?;
    let day: u32 = day.parse().ok()?;
    let (mut clock, mut rest) = word(rest)?;
    let mut year = None;
    if clock.len() == 4 && !clock.contains(':') {
        year = Some(clock.parse::<i32>().ok()?);
        (clock, rest) = word(rest)?;
    }
    let time = chrono::NaiveTime::parse_from_str(clock.trim_end_matches(':'), "%H:%M:%S%.f").ok()?;
    let at = |year: i32| {
        let local = NaiveDate::from_ymd_opt(year, month, day)?.and_time(time);
        local.and_local_timezone(zone).earliest()
    };
    let found = match year {
        Some(year) => at(year)?,
        // The latest that does not lie ahead, but for clocks that are fast.
        None => {
            let this = now.with_timezone(&zone).year();
            let limit = now.checked_add_signed(TimeDelta::days(1))?;
            let mut candidates = [this + 1, this, this - 1].into_iter().filter_map(at);
            candidates.find(|time| *time <= limit).or_else(|| at(this))?
        }
    };
    Some((found.to_rfc3339_opts(SecondsFormat::AutoSi, true), rest))
}

/// The first word, after at most two spaces.
fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix(' ')?;
    let text = text.strip_prefix(' ').unwrap_or(text);
    let end = text.find(' ').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}
