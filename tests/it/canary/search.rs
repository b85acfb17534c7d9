//! Looks for values in all the forms that they might take.

use std::collections::BTreeMap;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE},
};
use serde_json::json;

/// Values to be looked for, by what they are, in all the forms that they might take.
#[derive(Default)]
pub(super) struct Search {
    needles: Vec<(String, Vec<u8>)>,
    /// Whether some needle begins with these two bytes.
    beginnings: Vec<bool>,
}

impl Search {
    pub(super) fn new(canaries: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut search = Self {
            needles: Vec::new(),
            beginnings: vec![false; 65_536],
        };
        for (name, value) in canaries {
            for (form, needle) in forms(value) {
                search.beginnings[usize::from(needle[0]) << 8 | usize::from(needle[1])] = true;
                search.needles.push((format!("{name} ({form})"), needle));
            }
        }
        search
    }

    /// What is found in `text`.
    pub(super) fn hits(&self, text: &[u8]) -> Vec<&str> {
        let mut found = Vec::new();
        for at in 0..text.len().saturating_sub(1) {
            if !self.beginnings[usize::from(text[at]) << 8 | usize::from(text[at + 1])] {
                continue;
            }
            let rest = &text[at..];
            let here = self.needles.iter().filter(|(_, needle)| rest.starts_with(needle));
            found.extend(here.map(|(name, _)| name.as_str()));
        }
        found
    }

    #[track_caller]
    pub(super) fn assert_clean(&self, place: &str, text: &[u8]) {
        let hits = self.hits(text);
        assert!(hits.is_empty(), "{place} holds {hits:?}");
    }
}

/// A value as it is, and in base64, hexadecimal, percent-encoded and escaped for JSON.
pub(super) fn forms(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("plain", value.to_vec())];
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    forms.push(("hex", hex.into_bytes()));
    let percent = value.iter().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(*byte).to_string(),
        other => format!("%{other:02X}"),
    });
    forms.push(("percent-encoded", percent.collect::<String>().into_bytes()));
    if let Ok(text) = std::str::from_utf8(value) {
        let json = json!(text).to_string();
        forms.push(("JSON", json.as_bytes()[1..json.len() - 1].to_vec()));
        let twice = json!(json).to_string();
        forms.push(("JSON in JSON", twice.as_bytes()[3..twice.len() - 3].to_vec()));
    }
    // Base64 looks different at each of the three places that a value can begin at.
    for shift in 0..3 {
        let shifted = [&[0; 2][..shift], value].concat();
        for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
            let encoded = engine.encode(&shifted);
            let (from, to) = ([0, 2, 3][shift], shifted.len() / 3 * 4);
            forms.push((form, encoded.as_bytes()[from..to].to_vec()));
        }
    }
    forms
}

/// A value that stands nowhere else, with characters that each form escapes in its own way.
pub(super) fn canary(tag: &str) -> String {
    format!("Cnry+{tag}/\"\\&=%{}", uuid::Uuid::new_v4().simple())
}
