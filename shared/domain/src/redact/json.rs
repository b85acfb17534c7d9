//! JSON without what is taken out. Texts that are JSON themselves are looked into, too.

use std::fmt;

use serde::{
    Deserializer,
    de::{DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{REDACTED, Redaction};

/// Payloads that are nested deeper are not looked into, and so not let through.
const MAX_DEPTH: usize = 100;

impl Redaction {
    /// JSON without what is taken out; nothing if it is none, and `Some(None)` if it is too deep.
    pub(super) fn json(&self, text: &str) -> Option<Option<String>> {
        let raw = serde_json::from_str::<&RawValue>(text).ok()?;
        let mut out = Written {
            text: String::with_capacity(text.len()),
            taken: false,
        };
        let open: Vec<&[String]> = self.paths.iter().map(Vec::as_slice).collect();
        Some(self.value(raw, &open, 0, &mut out).then_some(out.text))
    }

    /// Writes a value; false if it is too deep. `open` are the rests of the paths that lead on from here.
    fn value(&self, raw: &RawValue, open: &[&[String]], depth: usize, out: &mut Written) -> bool {
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
            Some(b'"') => match serde_json::from_str::<String>(text) {
                Ok(plain) => self.string(text, &plain, depth, out),
                // Half a surrogate pair, for instance: it is not known what it says.
                Err(_) => {
                    out.redacted();
                    true
                }
            },
            _ => {
                out.text.push_str(text);
                true
            }
        }
    }

    /// Writes a text as it was written, unless something is taken out of it.
    fn string(&self, written: &str, plain: &str, depth: usize, out: &mut Written) -> bool {
        let masked = match inner(plain) {
            Some(raw) => {
                let mut inside = Written::default();
                if !self.value(raw, &[], depth + 1, &mut inside) {
                    return false;
                }
                inside.taken.then_some(inside.text)
            }
            None => Some(self.text(plain)).filter(|masked| masked != plain),
        };
        match masked {
            Some(masked) => {
                out.taken = true;
                quote(&masked, &mut out.text);
            }
            None => out.text.push_str(written),
        }
        true
    }
}

/// The JSON that a text is: an object, a list, or a text of another one.
fn inner(plain: &str) -> Option<&RawValue> {
    let begins = plain.trim_start().starts_with(['{', '[', '"']);
    begins.then(|| serde_json::from_str(plain).ok()).flatten()
}

/// What was written, and whether something was taken out of it.
#[derive(Default)]
struct Written {
    text: String,
    taken: bool,
}

impl Written {
    fn redacted(&mut self) {
        self.taken = true;
        quote(REDACTED, &mut self.text);
    }
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
    out: &'w mut Written,
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
            self.out.redacted();
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
        self.out.text.push('{');
        let mut first = true;
        while let Some((name, raw)) = members.next_entry::<String, &RawValue>()? {
            if !std::mem::take(&mut first) {
                self.out.text.push(',');
            }
            quote(&name, &mut self.out.text);
            self.out.text.push(':');
            let secret = self.redaction.is_secret(&name) && raw.get() != "null";
            if !self.below(&name, raw, secret) {
                return Ok(false);
            }
        }
        self.out.text.push('}');
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<bool, A::Error> {
        self.out.text.push('[');
        let mut index = 0_usize;
        while let Some(raw) = items.next_element::<&RawValue>()? {
            if index > 0 {
                self.out.text.push(',');
            }
            if !self.below(&index.to_string(), raw, false) {
                return Ok(false);
            }
            index += 1;
        }
        self.out.text.push(']');
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_go_and_all_else_stays_as_it_was_written() {
        let payload = r#"{"id":123456789012345678901234567890,"n":1.10e5,"user":{"Password":"x","api-key":["y"]},"items":[{"accessToken":"z","ok":"é\u00e9"}],"token":null,"tokens_left":3}"#;
        let wanted = r#"{"id":123456789012345678901234567890,"n":1.10e5,"user":{"Password":"[redacted]","api-key":"[redacted]"},"items":[{"accessToken":"[redacted]","ok":"é\u00e9"}],"token":null,"tokens_left":3}"#;
        assert_eq!(redacted(payload), wanted);
    }

    #[test]
    fn texts_that_are_json_are_looked_into() {
        for (payload, wanted) in [
            (
                r#"{"body":"{\"n\": 1.10, \"password\": [\"x\"]}"}"#,
                r#"{"body":"{\"n\":1.10,\"password\":\"[redacted]\"}"}"#,
            ),
            (
                r#"["[{\"body\":\"{\\\"secret\\\":{\\\"v\\\":1}}\"}]"]"#,
                r#"["[{\"body\":\"{\\\"secret\\\":\\\"[redacted]\\\"}\"}]"]"#,
            ),
            // Where nothing is taken out nothing changes.
            (r#"{"body":"{ \"n\" : 1 }"}"#, r#"{"body":"{ \"n\" : 1 }"}"#),
        ] {
            assert_eq!(redacted(payload), wanted);
        }
    }

    fn redacted(payload: &str) -> String {
        Redaction::default().json(payload).unwrap().unwrap()
    }
}
