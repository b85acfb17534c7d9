//! What is taken out of a payload before it is kept or shown: the values of fields whose names tell of a secret, those
//! of named fields and paths, and e-mail addresses. All other values stay as they were written, numbers of any length
//! included.

mod json;
mod text;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

/// The most names and paths that one policy adds, and how long one of them is at most: in bytes, and in steps of a
/// path. They are kept with the capture, in a bucket that all share.
const MAX_NAMES: usize = 100;
const MAX_BYTES: usize = 200;
const MAX_STEPS: usize = 32;

/// What is taken out besides the values of fields whose names tell of a secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RedactionSpec {
    /// Names of further fields, wherever they stand; case and punctuation do not matter. Up to 200 bytes each.
    #[schemars(length(max = 100))]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<String>,
    /// Further places, as JSON pointers into the payload; `*` stands for any one name or index. Up to 200 bytes and 32
    /// steps each.
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
    /// A path is no JSON pointer, one of them is too long, or there are too many.
    pub fn compile(&self) -> Result<Redaction, InputError> {
        for (field, texts) in [("/fields", &self.fields), ("/paths", &self.paths)] {
            if texts.len() > MAX_NAMES {
                let detail = format!("at most {MAX_NAMES}");
                return Err(InputError::new(field, "too_many", detail));
            }
            if let Some(place) = texts.iter().position(|text| text.len() > MAX_BYTES) {
                let detail = format!("at most {MAX_BYTES} bytes");
                return Err(InputError::new(format!("{field}/{place}"), "too_long", detail));
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
            if path.matches('/').count() > MAX_STEPS {
                let pointer = format!("/paths/{place}");
                let detail = format!("at most {MAX_STEPS} names and indices");
                return Err(InputError::new(pointer, "too_long", detail));
            }
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
        let redacted = match self.json(text) {
            Some(redacted) => redacted?,
            None => self.text(text),
        };
        Some(redacted.into_bytes())
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
    }

    #[test]
    fn a_policy_is_of_pointers_and_short() {
        let refused = |fields: &[String], paths: &[String]| {
            let spec = RedactionSpec {
                fields: fields.to_vec(),
                paths: paths.to_vec(),
                emails: false,
            };
            let error = spec.compile().unwrap_err();
            (error.pointer, error.code)
        };
        let told = |pointer: &str, code: &str| (pointer.to_owned(), code.to_owned());
        let (good, long) = ("/x".to_owned(), format!("/{}", "x".repeat(200)));
        assert_eq!(refused(&[], &["x".to_owned()]), told("/paths/0", "invalid"));
        assert_eq!(
            refused(&[], &[good.clone(), long.clone()]),
            told("/paths/1", "too_long")
        );
        assert_eq!(refused(&[long], &[]), told("/fields/0", "too_long"));
        assert_eq!(refused(&[], &["/x".repeat(33)]), told("/paths/0", "too_long"));
        assert_eq!(refused(&vec![good; 101], &[]), told("/fields", "too_many"));
    }

    #[test]
    fn texts_within_json_are_texts() {
        assert_eq!(
            redacted(
                &RedactionSpec::default(),
                r#"{"message":"login with password=hunter2"}"#
            ),
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
