//! What is taken out of a payload before it is kept or shown: the values of fields whose names tell of a secret, those
//! of named fields and paths, and e-mail addresses. All other values stay as they were written, numbers of any length
//! included.

use std::fmt;

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::error::InputError;

/// What stands where something was taken out.
pub const REDACTED: &str = "[redacted]";

/// A name that has one of these anywhere tells of a secret; names are compared by their letters and digits.
const WITHIN: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "secret",
    "apikey",
    "privatekey",
    "accesskey",
    "authorization",
    "credential",
    "signingkey",
];
/// A name that ends so does.
const AT_END: &[&str] = &["token", "cookie", "jwt", "pwd", "sessionid", "signature"];
/// A name that is this does.
const WHOLE: &[&str] = &[
    "auth",
    "pin",
    "cvv",
    "cvc",
    "ssn",
    "otp",
    "cardnumber",
    "creditcard",
];

/// The most names and paths that one policy adds.
const MAX_NAMES: usize = 100;
/// Payloads that are nested deeper are not looked into, and so not let through.
const MAX_DEPTH: usize = 100;

/// What is taken out besides the values of fields whose names tell of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionSpec {
    /// Names of further fields, wherever they stand; case and punctuation do not matter.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Further places, as JSON pointers into the payload; `*` stands for any one name or index.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Whether e-mail addresses are taken out, too, wherever they stand.
    pub emails: bool,
}

/// A policy that is ready to be applied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redaction {
    fields: Vec<String>,
    paths: Vec<Vec<String>>,
    emails: bool,
}

impl RedactionSpec {
    /// Checks the policy; pointers of errors are relative to it.
    ///
    /// # Errors
    /// A path is no JSON pointer, or there are too many.
    pub fn compile(&self) -> Result<Redaction, InputError> {
        for (field, count) in [("/fields", self.fields.len()), ("/paths", self.paths.len())] {
            if count > MAX_NAMES {
                let detail = format!("at most {MAX_NAMES}");
                return Err(InputError::new(field, "too_many", detail));
            }
        }
        let mut paths = Vec::new();
        for (place, path) in self.paths.iter().enumerate() {
            let Some(rest) = path.strip_prefix('/') else {
                let pointer = format!("/paths/{place}");
                return Err(InputError::new(
                    pointer,
                    "invalid",
                    "a JSON pointer begins with `/`",
                ));
            };
            let unescape = |segment: &str| segment.replace("~1", "/").replace("~0", "~");
            paths.push(rest.split('/').map(unescape).collect());
        }
        Ok(Redaction {
            fields: self.fields.iter().map(|name| plain(name)).collect(),
            paths,
            emails: self.emails,
        })
    }
}

/// A name's letters and digits, in small letters.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|letter| letter.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

impl Redaction {
    /// Whether the value of a field of this name is taken out.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        let name = plain(name);
        WITHIN.iter().any(|part| name.contains(part))
            || AT_END.iter().any(|end| name.ends_with(end))
            || WHOLE.contains(&name.as_str())
            || self.fields.contains(&name)
    }

    /// A payload without what is taken out; nothing if it can't be looked into: it is no text, or too deep.
    #[must_use]
    pub fn payload(&self, payload: &[u8]) -> Option<Vec<u8>> {
        let text = std::str::from_utf8(payload).ok()?;
        let Ok(raw) = serde_json::from_str::<&RawValue>(text) else {
            return Some(self.text(text).into_bytes());
        };
        let mut out = String::with_capacity(text.len());
        let open: Vec<&[String]> = self.paths.iter().map(Vec::as_slice).collect();
        self.value(raw, &open, 0, &mut out).then(|| out.into_bytes())
    }

    /// Writes a value; false if it is too deep. `open` are the rests of the paths that lead on from here.
    fn value(&self, raw: &RawValue, open: &[&[String]], depth: usize, out: &mut String) -> bool {
        let text = raw.get();
        if depth > MAX_DEPTH {
            return false;
        }
        match text.as_bytes().first() {
            Some(b'{' | b'[') => {
                let walk = Walk {
                    redaction: self,
                    open,
                    depth,
                    out,
                };
                walk.deserialize(&mut serde_json::Deserializer::from_str(text))
                    .unwrap_or(false)
            }
            Some(b'"') => {
                match serde_json::from_str::<String>(text) {
                    Ok(plain) => {
                        let masked = self.text(&plain);
                        if masked == plain {
                            out.push_str(text);
                        } else {
                            quote(&masked, out);
                        }
                    }
                    // Half a surrogate pair, for instance: it is not known what it says.
                    Err(_) => quote(REDACTED, out),
                }
                true
            }
            _ => {
                out.push_str(text);
                true
            }
        }
    }

    /// A text without what is taken out: what follows a telling name (`token=...`, `Authorization: ...`), what follows
    /// `Bearer` or `Basic`, and e-mail addresses where they are asked for.
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
        let mut rest = text;
        while let Some(at) = rest.find(['=', ':']) {
            let (before, from) = rest.split_at(at);
            let is_header = from.starts_with(':');
            let value = &from[1..];
            out.push_str(before);
            out.push_str(&from[..1]);
            let name = before
                .trim_end_matches(['"', '\'', ' '])
                .rsplit(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '-'))
                .next()
                .unwrap_or_default();
            // `http://...` is no pair.
            if name.is_empty() || value.starts_with("//") || !self.is_secret(name) {
                rest = value;
                continue;
            }
            let blank = value.len() - value.trim_start_matches([' ', '"', '\'']).len();
            let (blank, value) = value.split_at(blank);
            let quoted = blank.chars().last().filter(|letter| *letter != ' ');
            let end = if let Some(quote) = quoted {
                value.find(quote)
            } else if is_header {
                value.find(['\r', '\n', ',', ';', '"', '\''])
            } else {
                value.find(|letter: char| letter.is_whitespace() || "&;,\"'".contains(letter))
            };
            let end = end.unwrap_or(value.len());
            out.push_str(blank);
            if end > 0 {
                out.push_str(REDACTED);
            }
            rest = &value[end..];
        }
        out.push_str(rest);
        out
    }
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

fn quote(text: &str, out: &mut String) {
    // A text always has a JSON form.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// Writes the members of an object or the items of a list.
struct Walk<'w> {
    redaction: &'w Redaction,
    open: &'w [&'w [String]],
    depth: usize,
    out: &'w mut String,
}

impl Walk<'_> {
    /// Writes what is below a name or index.
    fn below(&mut self, name: &str, raw: &RawValue, secret: bool) -> bool {
        let mut open = Vec::new();
        let mut named = secret;
        for path in self.open {
            let Some((first, rest)) = path.split_first() else {
                continue;
            };
            if first == "*" || first == name {
                named |= rest.is_empty();
                open.push(rest);
            }
        }
        if named {
            quote(REDACTED, self.out);
            return true;
        }
        self.redaction.value(raw, &open, self.depth + 1, self.out)
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<bool, A::Error> {
        self.out.push('{');
        let mut first = true;
        while let Some((name, raw)) = members.next_entry::<String, &RawValue>()? {
            if !std::mem::take(&mut first) {
                self.out.push(',');
            }
            quote(&name, self.out);
            self.out.push(':');
            let secret = self.redaction.is_secret(&name) && raw.get() != "null";
            if !self.below(&name, raw, secret) {
                return Ok(false);
            }
        }
        self.out.push('}');
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<bool, A::Error> {
        self.out.push('[');
        let mut index = 0_usize;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            if index > 0 {
                self.out.push(',');
            }
            if !self.below(&index.to_string(), raw, false) {
                return Ok(false);
            }
            index += 1;
        }
        self.out.push(']');
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(spec: &RedactionSpec, payload: &str) -> String {
        let redaction = spec.compile().unwrap();
        String::from_utf8(redaction.payload(payload.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn secrets_go_and_all_else_stays_as_it_was_written() {
        let payload = r#"{"id":123456789012345678901234567890,"n":1.10e5,"user":{"Password":"x","api-key":["y"]},"items":[{"accessToken":"z","ok":"é\u00e9"}],"token":null,"tokens_left":3}"#;
        let wanted = r#"{"id":123456789012345678901234567890,"n":1.10e5,"user":{"Password":"[redacted]","api-key":"[redacted]"},"items":[{"accessToken":"[redacted]","ok":"é\u00e9"}],"token":null,"tokens_left":3}"#;
        assert_eq!(redacted(&RedactionSpec::default(), payload), wanted);
    }

    #[test]
    fn named_fields_and_paths_go_too() {
        let spec = RedactionSpec {
            fields: vec!["Host_Name".to_owned()],
            paths: vec!["/items/*/who".to_owned(), "/a~1b".to_owned()],
            emails: true,
        };
        let payload =
            r#"{"hostname":"h","items":[{"who":{"x":1},"mail":"to <ann@example.org>, @home"}],"a/b":7}"#;
        let wanted = r#"{"hostname":"[redacted]","items":[{"who":"[redacted]","mail":"to <[redacted]>, @home"}],"a/b":"[redacted]"}"#;
        assert_eq!(redacted(&spec, payload), wanted);
        let wrong = RedactionSpec {
            paths: vec!["x".to_owned()],
            ..RedactionSpec::default()
        };
        assert_eq!(wrong.compile().unwrap_err().pointer, "/paths/0");
    }

    #[test]
    fn texts_lose_what_follows_a_telling_name() {
        let plain = RedactionSpec::default();
        for (text, wanted) in [
            (
                "user=ann&password=hunter2&x=1",
                "user=ann&password=[redacted]&x=1",
            ),
            (
                "GET https://a.example/?token=abc HTTP\nAuthorization: Bearer abcdefghij\nHost: b",
                "GET https://a.example/?token=[redacted] HTTP\nAuthorization: [redacted]\nHost: b",
            ),
            ("sent Bearer abcdefghijk today", "sent Bearer [redacted] today"),
            ("the Basic plan at 10:30", "the Basic plan at 10:30"),
            (
                "CEF:0|v|p|secret=\"a b\" end",
                "CEF:0|v|p|secret=\"[redacted]\" end",
            ),
        ] {
            assert_eq!(redacted(&plain, text), wanted);
        }
        let inside = r#"{"message":"login with password=hunter2"}"#;
        assert_eq!(
            redacted(&plain, inside),
            r#"{"message":"login with password=[redacted]"}"#
        );
    }

    #[test]
    fn what_cannot_be_looked_into_is_not_let_through() {
        let redaction = Redaction::default();
        assert_eq!(redaction.payload(&[0xff, 0xfe]), None);
        let deep = format!("{}1{}", "[".repeat(120), "]".repeat(120));
        assert_eq!(redaction.payload(deep.as_bytes()), None);
        assert_eq!(redaction.payload(b"").as_deref(), Some(&b""[..]));
    }
}
