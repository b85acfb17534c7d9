//! Arguments: GraphQL's types for the shapes of what is taken in, and the way back to the JSON that the use cases'
//! inputs are read from, so that both APIs refuse the same things in the same words.

use std::sync::Arc;

use async_graphql::{
    Value,
    dynamic::{InputObject, InputValue, ResolverContext},
};
use halcyon_domain::error::{escape, from_value};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::{
    names,
    shape::{Kind, Property, Record, Records, Scalar, Shape},
};
use crate::{problem::Problem, rest::storable};

/// What REST and GraphQL call differently.
const RENAMED: [(&str, &str); 2] = [("limit", "first"), ("cursor", "after")];
/// The argument that holds what is the body of a request in REST.
const BODY: &str = "input";

/// The type of a record that is taken in.
pub(super) fn object(record: &Record) -> InputObject {
    let mut object = InputObject::new(&record.name);
    if let Some(about) = &record.about {
        object = object.description(about);
    }
    record
        .properties
        .iter()
        .fold(object, |object, property| object.field(value(property)))
}

fn value(property: &Property) -> InputValue {
    let value = InputValue::new(&property.name, property.shape.type_ref());
    match &property.about {
        Some(about) => value.description(about),
        None => value,
    }
}

/// The arguments of a field.
#[derive(Clone, Debug)]
pub(super) struct Arguments {
    parts: Vec<Property>,
    records: Arc<Records>,
}

impl Arguments {
    /// Arguments of these parts; `records` holds what the parts are made of.
    pub(super) fn new(mut parts: Vec<Property>, records: Records) -> Self {
        for part in &mut parts {
            if let Some((_, name)) = RENAMED.iter().find(|(json, _)| part.json == *json) {
                part.name = (*name).to_owned();
            }
        }
        // What says which object is meant comes first, then the rest by name.
        parts.sort_by_key(|part| (part.json != "id", part.shape.nullable));
        Self {
            parts,
            records: Arc::new(records),
        }
    }

    /// The arguments as GraphQL describes them.
    pub(super) fn described(&self) -> impl Iterator<Item = InputValue> {
        self.parts.iter().map(value)
    }

    /// Reads the arguments of a call.
    ///
    /// # Errors
    /// They do not fit; the pointers are those of [`Arguments::pointed`].
    pub(super) fn read<A: DeserializeOwned>(&self, ctx: &ResolverContext<'_>) -> Result<A, Problem> {
        let mut given = Map::new();
        for part in &self.parts {
            if let Some(value) = ctx.args.as_index_map().get(part.name.as_str()) {
                given.insert(part.json.clone(), self.json(value, &part.shape));
            }
        }
        if let Some(Json::String(sort)) = given.get_mut("sort") {
            *sort = names::sort(sort);
        }
        let checked = match given.get(BODY) {
            Some(Json::Object(body)) => storable(body),
            _ => storable(&given),
        };
        checked
            .and_then(|()| from_value(Json::Object(given)))
            .map_err(|error| Problem::invalid(vec![error]))
    }

    fn json(&self, value: &Value, shape: &Shape) -> Json {
        match (value, &shape.kind) {
            (Value::Null, _) => Json::Null,
            (Value::Enum(name), Kind::Words(words)) => word(words.words.as_slice(), name),
            (Value::String(name), Kind::Words(words)) => word(words.words.as_slice(), name),
            (Value::Object(fields), Kind::Record(name)) => {
                let properties = self.records.get(name).map(|record| record.properties.as_slice());
                let mut object = Map::new();
                for (name, value) in fields {
                    let known = properties
                        .into_iter()
                        .flatten()
                        .find(|property| property.name == name.as_str());
                    match known {
                        Some(property) => {
                            object.insert(property.json.clone(), self.json(value, &property.shape))
                        }
                        None => {
                            object.insert(name.to_string(), value.clone().into_json().unwrap_or_default())
                        }
                    };
                }
                Json::Object(object)
            }
            (Value::List(items), Kind::List(item)) => {
                items.iter().map(|value| self.json(value, item)).collect()
            }
            // One value where several are taken is a list of one.
            (value, Kind::List(item)) => Json::Array(vec![self.json(value, item)]),
            (Value::Number(number), Kind::Scalar(Scalar::Id)) => Json::String(number.to_string()),
            (value, _) => value.clone().into_json().unwrap_or_default(),
        }
    }

    /// Where an argument is that a use case points at: `/expires_at` is `/input/expiresAt`.
    pub(super) fn pointed(&self, pointer: &str) -> String {
        let mut segments = pointer.split('/').skip(1).peekable();
        let mut parts = Some(self.parts.as_slice());
        let mut pointed = String::new();
        let first = segments.peek().copied().unwrap_or_default();
        let body = self.parts.iter().find(|part| part.json == BODY);
        let inside = body.and_then(|body| self.inside(&body.shape));
        if let Some(inside) = inside
            && inside.iter().any(|part| part.json == first)
        {
            pointed.push_str("/input");
            parts = Some(inside);
        }
        for segment in segments {
            let part = parts.and_then(|parts| parts.iter().find(|part| escape(&part.json) == segment));
            match part {
                Some(part) => {
                    pointed.push_str(&format!("/{}", part.name));
                    parts = self.inside(&part.shape);
                }
                None => {
                    pointed.push_str(&format!("/{segment}"));
                    // An index leads into the list's items.
                    parts = parts.filter(|_| segment.bytes().all(|byte| byte.is_ascii_digit()));
                }
            }
        }
        pointed
    }

    fn inside(&self, shape: &Shape) -> Option<&[Property]> {
        match &shape.kind {
            Kind::Record(name) => self.records.get(name).map(|record| record.properties.as_slice()),
            Kind::List(item) => self.inside(item),
            Kind::Scalar(_) | Kind::Words(_) => None,
        }
    }
}

fn word(words: &[super::shape::Word], name: &str) -> Json {
    let found = words.iter().find(|word| word.name == name);
    Json::String(found.map_or(name, |word| word.json.as_str()).to_owned())
}
