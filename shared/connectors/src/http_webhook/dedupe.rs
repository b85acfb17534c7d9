//! Finds an event's identity: in a header, or at a dotted path of its JSON, without building the document.

use std::fmt;

use http::{HeaderMap, HeaderName};
use serde::{
    Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// The longest identity that is taken, in bytes.
const MAX_KEY: usize = 1024;

/// Where an identity may be.
#[derive(Clone, Debug)]
pub(crate) enum DedupeSource {
    Header(HeaderName),
    Path(Path),
}

/// A dotted path, such as `event.id` or `records.0.id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path(Vec<String>);

impl Path {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let segments: Vec<String> = text.split('.').map(str::to_owned).collect();
        let fits = segments.len() <= 16 && segments.iter().all(|segment| !segment.is_empty());
        fits.then_some(Self(segments))
    }

    /// The text, number or boolean at the path; `None` if there is none or `json` is not JSON.
    pub(crate) fn find(&self, json: &[u8]) -> Option<String> {
        let mut reader = serde_json::Deserializer::from_slice(json);
        let found = Seek(&self.0).deserialize(&mut reader).ok()?;
        reader.end().ok()?;
        found.filter(|key| !key.is_empty() && key.len() <= MAX_KEY)
    }
}

/// The first identity among `sources` that an event has.
pub(crate) fn key_of(
    sources: &[DedupeSource],
    headers: &HeaderMap,
    event: &[u8],
    line: Option<usize>,
) -> Option<String> {
    sources.iter().find_map(|source| match source {
        DedupeSource::Header(name) => {
            let value = headers.get(name)?.to_str().ok()?.trim();
            let fits = !value.is_empty() && value.len() <= MAX_KEY;
            // A request's identity is shared by its lines, so the line's number is added.
            fits.then(|| line.map_or_else(|| value.to_owned(), |line| format!("{value}/{line}")))
        }
        DedupeSource::Path(path) => path.find(event),
    })
}

struct Seek<'p>(&'p [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<std::borrow::Cow<'_, str>>()? {
            match self.0.split_first() {
                Some((first, rest)) if *first == key => found = map.next_value_seed(Seek(rest))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let wanted = self
            .0
            .split_first()
            .and_then(|(first, rest)| Some((first.parse::<usize>().ok()?, rest)));
        let mut found = None;
        let mut index = 0;
        loop {
            let more = match wanted {
                Some((wanted, rest)) if wanted == index => match items.next_element_seed(Seek(rest))? {
                    Some(value) => {
                        found = value;
                        true
                    }
                    None => false,
                },
                _ => items.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                return Ok(found);
            }
            index += 1;
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| value.to_owned()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(self.0.is_empty().then(|| value.to_string()))
    }

    /// A fraction is no identity: two texts of one number would differ, or two numbers would not.
    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(path: &str, json: &str) -> Option<String> {
        Path::parse(path).unwrap().find(json.as_bytes())
    }

    #[test]
    fn a_path_leads_to_an_identity() {
        assert_eq!(
            find("id", r#"{"a": [1, {"id": 9}], "id": "x\u00e9"}"#).as_deref(),
            Some("xé")
        );
        assert_eq!(
            find("event.id", r#"{"event": {"id": 12}}"#).as_deref(),
            Some("12")
        );
        assert_eq!(
            find("records.1.id", r#"{"records": [{"id": 1}, {"id": 2}]}"#).as_deref(),
            Some("2")
        );
    }

    #[test]
    fn what_is_no_identity_is_none() {
        for json in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"id": null}"#,
            r#"{"id": {}}"#,
            r#"{"id": 1.5}"#,
            r#"{"id": ""}"#,
            "7",
        ] {
            assert_eq!(find("id", json), None, "{json}");
        }
        assert_eq!(Path::parse("a..b"), None);
        let deep = "[".repeat(100_000);
        assert_eq!(find("id", &deep), None);
        assert_eq!(find("id", &format!("{{\"id\": {deep}")), None);
    }
}
