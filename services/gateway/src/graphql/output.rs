//! Answers: GraphQL's types for the shapes of what is given out, and a JSON value in such a type.

use std::sync::Arc;

use async_graphql::{
    Error, Name, Value,
    dynamic::{Enum, EnumItem, Field, FieldFuture, FieldValue, Object, Scalar as ScalarType},
};
use serde::Serialize;
use serde_json::Value as Json;

use super::shape::{Kind, Property, Record, Scalar, Shape, Words};

/// The types that GraphQL itself has not got.
pub(super) fn scalars() -> [ScalarType; 3] {
    [
        ScalarType::new("DateTime").description("A time (RFC 3339), such as `2026-01-31T12:00:00Z`."),
        ScalarType::new("Long").description("A whole number of up to 64 bits."),
        ScalarType::new("JSON").description("Any JSON value."),
    ]
}

/// The type of an enumeration.
pub(super) fn enumeration(words: &Words) -> Enum {
    let mut kind = Enum::new(&words.name);
    if let Some(about) = &words.about {
        kind = kind.description(about);
    }
    words.words.iter().fold(kind, |kind, word| {
        let item = EnumItem::new(&word.name);
        kind.item(match &word.about {
            Some(about) => item.description(about),
            None => item,
        })
    })
}

/// The type of a record.
pub(super) fn object(record: &Record) -> Object {
    let mut object = Object::new(&record.name);
    if let Some(about) = &record.about {
        object = object.description(about);
    }
    record
        .properties
        .iter()
        .fold(object, |object, property| object.field(part(property)))
}

fn part(property: &Property) -> Field {
    let shared = Arc::new(property.clone());
    let field = Field::new(&property.name, property.shape.type_ref(), move |ctx| {
        let property = shared.clone();
        match ctx.parent_value.try_downcast_ref::<Json>() {
            Ok(parent) => FieldFuture::Value(show(parent.get(&property.json), &property.shape)),
            Err(error) => FieldFuture::new(async move { Err::<Option<Value>, _>(error) }),
        }
    });
    match &property.about {
        Some(about) => field.description(about),
        None => field,
    }
}

/// A part of an answer, in place.
fn show<'a>(json: Option<&'a Json>, shape: &Shape) -> Option<FieldValue<'a>> {
    let json = match (json, &shape.kind) {
        (Some(json), _) if !json.is_null() => json,
        (_, Kind::List(_)) if !shape.nullable => return Some(FieldValue::list(Vec::<FieldValue<'_>>::new())),
        _ => return None,
    };
    Some(match &shape.kind {
        Kind::Record(_) => FieldValue::borrowed_any(json),
        Kind::List(item) => {
            let items = json.as_array().into_iter().flatten();
            FieldValue::list(items.map(|json| show(Some(json), item).unwrap_or(FieldValue::NULL)))
        }
        Kind::Scalar(_) | Kind::Words(_) => FieldValue::value(plain(json, shape)),
    })
}

fn plain(json: &Json, shape: &Shape) -> Value {
    match &shape.kind {
        Kind::Words(words) => {
            let found = words.words.iter().find(|word| json == &word.json);
            found.map_or(Value::Null, |word| Value::Enum(Name::new(&word.name)))
        }
        // An identifier that JSON writes as a number is a text in GraphQL.
        Kind::Scalar(Scalar::Id) if json.is_number() => Value::String(json.to_string()),
        _ => Value::from_json(json.clone()).unwrap_or_default(),
    }
}

/// A whole answer.
///
/// # Errors
/// It has no JSON form.
pub(super) fn answer<T: Serialize>(value: &T, shape: &Shape) -> Result<Option<FieldValue<'static>>, Error> {
    let json = serde_json::to_value(value).map_err(|error| {
        tracing::error!(error = %error, "an answer has no JSON form");
        Error::new("internal")
    })?;
    Ok(own(json, shape))
}

fn own(json: Json, shape: &Shape) -> Option<FieldValue<'static>> {
    match (json, &shape.kind) {
        (Json::Null, _) => None,
        (json, Kind::Record(_)) => Some(FieldValue::owned_any(json)),
        (Json::Array(items), Kind::List(item)) => {
            let items = items
                .into_iter()
                .map(|json| own(json, item).unwrap_or(FieldValue::NULL));
            Some(FieldValue::list(items))
        }
        (json, _) => Some(FieldValue::value(plain(&json, shape))),
    }
}
