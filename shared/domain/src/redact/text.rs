//! Texts without what is taken out: in all that is no JSON, because it never was or because it is cut off.

use std::borrow::Cow;

use super::{REDACTED, Redaction};

impl Redaction {
    /// A text without what is taken out: what follows a telling name (`token=...`, `Authorization: ...`,
    /// `"password":"...`), what follows `Bearer` or `Basic`, and e-mail addresses where they are asked for.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        let mut masked = self.pairs(text);
        for scheme in ["Bearer ", "bearer ", "Basic ", "basic "] {
            masked = after(&masked, scheme);
        }
        if self.emails {
            masked = without_emails(&masked);
        }
        masked
    }

    /// Takes out the values of `name=value` and `name: value`.
    fn pairs(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        // Where the rest begins that is not written yet, and that which is not looked at yet.
        let (mut written, mut from) = (0, 0);
        while let Some(at) = text[from..].find(['=', ':']).map(|found| from + found) {
            from = at + 1;
            let behind = &text[from..];
            // `http://...` is no pair.
            if behind.starts_with("//") {
                continue;
            }
            let name = Name::before(&text[..at]);
            if !self.is_secret(&name.text) {
                continue;
            }
            let (begin, end) = value(behind, name.until(text.as_bytes()[at]));
            out.push_str(&text[written..from + begin]);
            if end > begin {
                out.push_str(REDACTED);
            }
            from += end;
            written = from;
        }
        out.push_str(&text[written..]);
        out
    }
}

/// The name before `=` or `:`.
struct Name<'t> {
    text: Cow<'t, str>,
    /// Whether nothing stands before it on its line, as in headers.
    first: bool,
}

impl<'t> Name<'t> {
    fn before(text: &'t str) -> Self {
        let text = text.trim_end();
        let quoted = text.strip_suffix(['"', '\'']).and_then(|inside| {
            let quote = &text[inside.len()..];
            let level = level(inside);
            let inside = inside.trim_end_matches('\\');
            let mut opening = inside.rmatch_indices(quote);
            let (at, _) = opening.find(|(at, _)| self::level(&inside[..*at]) <= level)?;
            Some(&inside[at + 1..])
        });
        if let Some(name) = quoted {
            return Self {
                text: unescaped(name),
                first: false,
            };
        }
        let text = text.trim_end_matches(['"', '\'', '\\', ' ']);
        let other = |letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-');
        let name = text.rsplit(other).next().unwrap_or_default();
        let before = text[..text.len() - name.len()].trim_end_matches([' ', '\t', '\r']);
        Self {
            text: name.into(),
            first: before.is_empty() || before.ends_with('\n'),
        }
    }

    /// What ends a value without quotes.
    const fn until(&self, sign: u8) -> Until {
        match (sign, self.first) {
            (b'=', _) => Until::Word,
            (_, true) => Until::Line,
            (_, false) => Until::Part,
        }
    }
}

/// A name without the escapes of JSON, as deep as it stands in texts.
fn unescaped(name: &str) -> Cow<'_, str> {
    let mut name = Cow::Borrowed(name);
    for _ in 0..4 {
        match serde_json::from_str::<String>(&format!("\"{name}\"")) {
            Ok(plain) if name.contains('\\') => name = plain.into(),
            _ => break,
        }
    }
    name
}

/// What ends a value without quotes.
#[derive(Clone, Copy)]
enum Until {
    /// A blank, or what stands between pairs: `a=1&b=2`.
    Word,
    /// What stands between pairs: `a: 1, b: 2`.
    Part,
    /// The end of the line: `Cookie: a=1; b=2`.
    Line,
}

impl Until {
    fn ends(self, letter: char) -> bool {
        match self {
            Self::Word => letter.is_whitespace() || "&;,\"'".contains(letter),
            Self::Part => "\r\n,;\"'".contains(letter),
            Self::Line => "\r\n".contains(letter),
        }
    }
}

/// Where the value begins and ends that stands behind `=` or `:`, without its quotes.
fn value(text: &str, until: Until) -> (usize, usize) {
    // A value on the next line is one of JSON that is written over several.
    let ahead = text.trim_start();
    let ahead = if ahead.starts_with(['"', '\'', '[', '{', '\\']) {
        ahead
    } else {
        text.trim_start_matches([' ', '\t', '=', '>', ':'])
    };
    let begin = text.len() - ahead.len();
    // Some languages write a letter or two before a quote.
    let letters = ahead.len()
        - ahead
            .trim_start_matches(|letter: char| letter.is_ascii_alphabetic())
            .len();
    let letters = if letters <= 2 { letters } else { 0 };
    let quoted = &ahead[letters..];
    let slashes = quoted.len() - quoted.trim_start_matches('\\').len();
    if let Some(quote) = quoted[slashes..]
        .chars()
        .next()
        .filter(|c| matches!(c, '"' | '\''))
    {
        let inside = begin + letters + slashes + 1;
        let end = inside + string_end(&text[inside..], quote, level(&quoted[..slashes]));
        return (if letters == 0 { inside } else { begin }, end);
    }
    let nested = if ahead.starts_with(['[', '{']) {
        nested_end(ahead)
    } else {
        0
    };
    let rest = &ahead[nested..];
    let end = rest.find(|letter| until.ends(letter)).unwrap_or(rest.len());
    (begin, begin + nested + end)
}

/// How deep a quote behind this text stands in texts within texts: each puts backslashes before the quotes and the
/// backslashes of the one within. So there are 0, 1, 3, 7 before a quote, and before those what the text ends with: a
/// multiple of 2, 4, 8, 16.
fn level(before: &str) -> u32 {
    let slashes = before.len() - before.trim_end_matches('\\').len();
    slashes.trailing_ones()
}

/// Where a text ends that was begun by a quote of this level: at the next one that is no deeper, two in a row being
/// one within it; at the end, if there is none.
fn string_end(text: &str, quote: char, open: u32) -> usize {
    let mut quotes = text.match_indices(quote).peekable();
    while let Some((at, _)) = quotes.next() {
        let level = level(&text[..at]);
        if level > open {
            continue;
        }
        if quotes.next_if(|(next, _)| *next == at + 1).is_none() {
            return at - ((1 << level) - 1);
        }
    }
    text.len()
}

/// Where the list or object ends that begins here; at the end, if it is cut off.
fn nested_end(text: &str) -> usize {
    let (mut depth, mut slashes, mut last) = (0_usize, 0_u32, b' ');
    let mut within: Option<(u8, u32)> = None;
    for (at, byte) in text.bytes().enumerate() {
        if byte == b'\\' {
            slashes += 1;
            continue;
        }
        let level = slashes.trailing_ones();
        match (byte, within) {
            (_, Some((quote, open))) if byte == quote && level <= open => within = None,
            (_, Some(_)) => {}
            (b'"', None) => within = Some((byte, level)),
            // Elsewhere it is an apostrophe.
            (b'\'', None) if b"[{,:=(".contains(&last) => within = Some((byte, level)),
            (b'[' | b'{', None) => depth += 1,
            (b']' | b'}', None) => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        slashes = 0;
        if !byte.is_ascii_whitespace() {
            last = byte;
        }
    }
    text.len()
}

/// Takes out the word behind each `scheme`.
fn after(text: &str, scheme: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(scheme) {
        let (before, from) = rest.split_at(at + scheme.len());
        out.push_str(before);
        let end = from
            .find(|letter: char| letter.is_whitespace() || ",;\"'".contains(letter))
            .unwrap_or(from.len());
        // Short words are words: `Basic plan`.
        out.push_str(if end >= 8 { REDACTED } else { &from[..end] });
        rest = &from[end..];
    }
    out.push_str(rest);
    out
}

fn without_emails(text: &str) -> String {
    let local = |letter: char| letter.is_alphanumeric() || "._%+-".contains(letter);
    let domain = |letter: char| letter.is_alphanumeric() || ".-".contains(letter);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('@') {
        let before = &rest[..at];
        let name = before.trim_end_matches(local).len();
        let behind = &rest[at + 1..];
        let host = behind.len() - behind.trim_start_matches(domain).len();
        if name < at && behind[..host].contains('.') {
            out.push_str(&before[..name]);
            out.push_str(REDACTED);
        } else {
            out.push_str(&rest[..=at + host]);
        }
        rest = &behind[host..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn texts_lose_what_follows_a_telling_name() {
        for (text, wanted) in [
            (
                "user=ann&password=hunter2&x=1",
                "user=ann&password=[redacted]&x=1",
            ),
            (
                "GET https://a.example/?token=abc HTTP\nAuthorization: Bearer abcdefghij\nHost: b",
                "GET https://a.example/?token=[redacted] HTTP\nAuthorization: [redacted]\nHost: b",
            ),
            ("Cookie: a=b; c=\"d\"\r\nHost: b", "Cookie: [redacted]\r\nHost: b"),
            ("sent Bearer abcdefghijk today", "sent Bearer [redacted] today"),
            ("the Basic plan at 10:30", "the Basic plan at 10:30"),
            (
                "CEF:0|v|p|secret=\"a b\" end",
                "CEF:0|v|p|secret=\"[redacted]\" end",
            ),
            ("x={'pwd': b'a,b', 'y': 1", "x={'pwd': [redacted]', 'y': 1"),
            ("{\"pwd\"=>\"a\", \"y\"=>1", "{\"pwd\"=>\"[redacted]\", \"y\"=>1"),
            ("SET password='it''s', x=1", "SET password='[redacted]', x=1"),
        ] {
            assert_eq!(Redaction::default().text(text), wanted);
        }
    }

    #[test]
    fn json_that_is_cut_off_loses_them_too() {
        for (text, wanted) in [
            (r#"{"password":"ab\"cd","x"#, r#"{"password":"[redacted]","x"#),
            (
                r#"{"password":"ab\\","x":"y"#,
                r#"{"password":"[redacted]","x":"y"#,
            ),
            (r#"{"password":"","x":"y"#, r#"{"password":"","x":"y"#),
            (r#"{"password":["p]1","p2"],"x"#, r#"{"password":[redacted],"x"#),
            (r#"{"secret":{"v":"s"},"x"#, r#"{"secret":[redacted],"x"#),
            (r#"{"secret":{"v":["s"],"#, r#"{"secret":[redacted]"#),
            (
                r#"{"m":"{\"password\":\"x\\\"y\",\"z\":1"#,
                r#"{"m":"{\"password\":\"[redacted]\",\"z\":1"#,
            ),
            (r#"{"p\u0061ssword":"x","#, r#"{"p\u0061ssword":"[redacted]","#),
            (
                r#"{"my password (old)":"x","#,
                r#"{"my password (old)":"[redacted]","#,
            ),
        ] {
            assert_eq!(Redaction::default().text(text), wanted);
        }
    }

    /// Wherever a payload is cut off, and however deep it stands in texts, nothing of a secret is left.
    #[test]
    fn nothing_of_a_secret_is_left_wherever_its_payload_is_cut_off() {
        let redaction = Redaction::default();
        for secret in [
            "ZZ",
            "Z\"Z",
            "Z\\",
            "Z\\\"Z",
            "Z]}Z",
            "Z','Z",
            "Z\nZ: Z=Z",
            "\"Z\"",
            "\\\"Z",
        ] {
            let payloads = [
                json!({"user": "ann", "password": secret, "next": "x"}),
                json!({"api-key": [secret, {"v": secret}], "next": "x"}),
                json!({"a": [{"the secret": {"v": secret, "w": [[secret]]}}], "next": {"token": secret}}),
            ];
            for payload in payloads {
                let mut written = payload.to_string();
                let pretty = serde_json::to_string_pretty(&payload).unwrap();
                for depth in 0..4 {
                    for whole in [&written, &pretty, &format!("failed: {written}")] {
                        for end in (0..=whole.len()).filter(|end| whole.is_char_boundary(*end)) {
                            let left = redaction.payload(&whole.as_bytes()[..end]).unwrap();
                            let left = String::from_utf8(left).unwrap();
                            assert!(!left.contains('Z'), "{depth}: {} gives {left}", &whole[..end]);
                        }
                    }
                    written = json!({"n": 1, "message": Value::String(written)}).to_string();
                }
            }
        }
    }
}
