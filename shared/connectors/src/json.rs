//! One step into a JSON document: works on the text itself, without building the document, so what is found stays as
//! it came, and nesting costs no stack.

use std::{borrow::Cow, fmt};

use serde::{
    Deserializer as _,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

/// The items of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Items<'j> {
    /// All of them, each as it is written.
    Listed(Vec<&'j str>),
    /// There are more than were wanted; no more of them than that were kept in memory.
    TooMany,
}

/// The items of a list, if there are at most `most`; `None` if the text is no list.
pub(crate) fn items(json: &str, most: usize) -> Option<Items<'_>> {
    struct Take(usize);
    impl<'j> Visitor<'j> for Take {
        type Value = Items<'j>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'j>>(self, mut list: A) -> Result<Items<'j>, A::Error> {
            let mut found = Vec::new();
            while let Some(item) = list.next_element::<&'j RawValue>()? {
                if found.len() == self.0 {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Items::TooMany);
                }
                found.push(item.get());
            }
            Ok(Items::Listed(found))
        }
    }
    if !json.starts_with('[') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    reader.deserialize_seq(Take(most)).ok()
}

/// The value of a field, the last one of that name; `None` if there is none, or the text is no object.
pub(crate) fn member<'j>(json: &'j str, name: &str) -> Option<&'j str> {
    struct Seek<'n>(&'n str);
    impl<'de> Visitor<'de> for Seek<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(key) = map.next_key::<Cow<'_, str>>()? {
                if key == self.0 {
                    found = Some(map.next_value::<&'de RawValue>()?);
                } else {
                    map.next_value::<IgnoredAny>()?;
                }
            }
            Ok(found)
        }
    }
    if !json.starts_with('{') {
        return None;
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Seek(name)).ok()?;
    found.map(RawValue::get)
}
