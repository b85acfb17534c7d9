//! The shapes of what REST takes and gives, read from the JSON schemas that its types already have.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use async_graphql::dynamic::TypeRef;
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};

use super::names;

/// A value that has no parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Text,
    /// Up to 32 bits, as GraphQL's own type.
    Int,
    /// Up to 64 bits.
    Long,
    Float,
    Boolean,
    Id,
    Time,
    /// Anything: configurations, payloads, attributes.
    Json,
}

impl Scalar {
    const fn type_name(self) -> &'static str {
        match self {
            Self::Text => TypeRef::STRING,
            Self::Int => TypeRef::INT,
            Self::Long => "Long",
            Self::Float => TypeRef::FLOAT,
            Self::Boolean => TypeRef::BOOLEAN,
            Self::Id => TypeRef::ID,
            Self::Time => "DateTime",
            Self::Json => "JSON",
        }
    }
}

/// What a value is.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    Scalar(Scalar),
    Words(Arc<Words>),
    /// A [`Record`], by its name.
    Record(String),
    List(Box<Shape>),
}

/// What a value is, and whether it may be absent.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) nullable: bool,
}

impl Shape {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            nullable: false,
        }
    }

    const fn scalar(scalar: Scalar) -> Self {
        Self::new(Kind::Scalar(scalar))
    }

    /// The type as GraphQL names it.
    pub(super) fn type_ref(&self) -> TypeRef {
        let named = match &self.kind {
            Kind::Scalar(scalar) => TypeRef::named(scalar.type_name()),
            Kind::Words(words) => TypeRef::named(&words.name),
            Kind::Record(name) => TypeRef::named(name),
            Kind::List(item) => TypeRef::List(Box::new(item.type_ref())),
        };
        if self.nullable {
            named
        } else {
            TypeRef::NonNull(Box::new(named))
        }
    }

    /// The same, or nothing.
    pub(super) fn or_nothing(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Whether it is the same kind of value.
    fn is_like(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Scalar(one), Kind::Scalar(other)) => one == other,
            (Kind::Words(one), Kind::Words(other)) => one.name == other.name,
            (Kind::Record(one), Kind::Record(other)) => one == other,
            (Kind::List(one), Kind::List(other)) => one.is_like(other),
            _ => false,
        }
    }

    const fn is(&self, wanted: Scalar) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if *scalar as u8 == wanted as u8)
    }
}

/// A part of a [`Record`].
#[derive(Clone, Debug)]
pub(super) struct Property {
    /// Its name in GraphQL.
    pub(super) name: String,
    /// Its name in JSON.
    pub(super) json: String,
    pub(super) about: Option<String>,
    pub(super) shape: Shape,
}

/// Something with named parts.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) about: Option<String>,
    pub(super) properties: Vec<Property>,
}

/// A value that is one of some words.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) name: String,
    pub(super) about: Option<String>,
    pub(super) words: Vec<Word>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// As GraphQL writes it.
    pub(super) name: String,
    /// As JSON writes it.
    pub(super) json: String,
    pub(super) about: Option<String>,
}

/// Records by name.
pub(super) type Records = BTreeMap<String, Arc<Record>>;

/// Reads shapes, and keeps those that have names.
pub(super) struct Shapes {
    generator: SchemaGenerator,
    /// What the names of records end with.
    suffix: &'static str,
    pub(super) records: Records,
    words: BTreeMap<String, Arc<Words>>,
    /// The schema that each name stands for.
    schemas: BTreeMap<String, String>,
    /// Names that stand for two schemas, which would hide each other.
    pub(super) conflicts: Vec<String>,
    /// The names that fields use.
    used: BTreeSet<String>,
}

impl Shapes {
    /// The shapes of what is given out.
    pub(super) fn of_outputs() -> Self {
        Self::new(SchemaSettings::draft2020_12().for_serialize(), "")
    }

    /// The shapes of what is taken in.
    pub(super) fn of_inputs() -> Self {
        Self::new(SchemaSettings::draft2020_12().for_deserialize(), "Input")
    }

    fn new(settings: SchemaSettings, suffix: &'static str) -> Self {
        Self {
            generator: settings.into_generator(),
            suffix,
            records: Records::new(),
            words: BTreeMap::new(),
            schemas: BTreeMap::new(),
            conflicts: Vec::new(),
            used: BTreeSet::new(),
        }
    }

    /// The shape of `T`.
    pub(super) fn of<T: JsonSchema>(&mut self) -> Shape {
        let schema = self.generator.subschema_for::<T>().to_value();
        let shape = self.read(&schema, &T::schema_name());
        self.mark(&shape);
        shape
    }

    /// Keeps what a field uses: reading a schema may come by what no field shows.
    fn mark(&mut self, shape: &Shape) {
        match &shape.kind {
            Kind::Scalar(_) => {}
            Kind::List(item) => self.mark(item),
            Kind::Words(words) => drop(self.used.insert(words.name.clone())),
            Kind::Record(name) => {
                if self.used.insert(name.clone())
                    && let Some(record) = self.records.get(name).cloned()
                {
                    for property in &record.properties {
                        self.mark(&property.shape);
                    }
                }
            }
        }
    }

    /// The records that fields use.
    pub(super) fn records_used(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records
            .values()
            .filter(|record| self.used.contains(&record.name))
    }

    /// The enumerations that fields use.
    pub(super) fn words_used(&self) -> impl Iterator<Item = &Arc<Words>> {
        self.words
            .values()
            .filter(|words| self.used.contains(&words.name))
    }

    /// The parts of `T`, which need no name of its own: a field's arguments.
    pub(super) fn parts_of<T: JsonSchema>(&mut self) -> Vec<Property> {
        let schema = self.generator.subschema_for::<T>().to_value();
        let schema = match self.definition(&schema) {
            Some((_, definition)) => definition,
            None => schema,
        };
        let parts = self.properties(&schema, &T::schema_name());
        for part in &parts {
            self.mark(&part.shape);
        }
        parts
    }

    /// What a schema refers to, if it does, and its name.
    fn definition(&self, schema: &Value) -> Option<(String, Value)> {
        let name = schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")?;
        let definition = self.generator.definitions().get(name)?;
        Some((name.to_owned(), definition.clone()))
    }

    fn read(&mut self, schema: &Value, hint: &str) -> Shape {
        if let Some((name, definition)) = self.definition(schema) {
            return self.read(&definition, &name);
        }
        let Some(object) = schema.as_object() else {
            return Shape::scalar(Scalar::Json);
        };
        if let Some(words) = words_of(schema) {
            return self.named_words(hint, object, words);
        }
        if let Some(shape) = self.either(object, hint) {
            return shape;
        }
        if is_record(object) {
            return self.named_record(schema, hint);
        }
        let (types, nullable) = types_of(object);
        let format = object.get("format").and_then(Value::as_str).unwrap_or_default();
        let kind = match types.as_slice() {
            ["array"] => {
                let item = object.get("items").map(|items| self.read(items, hint));
                Kind::List(Box::new(item.unwrap_or(Shape::scalar(Scalar::Json))))
            }
            ["string"] => Kind::Scalar(match format {
                "uuid" => Scalar::Id,
                "date-time" => Scalar::Time,
                _ => Scalar::Text,
            }),
            ["integer"] => Kind::Scalar(match format {
                "int8" | "int16" | "int32" | "uint8" | "uint16" | "uint32" => Scalar::Int,
                _ => Scalar::Long,
            }),
            ["number"] => Kind::Scalar(Scalar::Float),
            ["boolean"] => Kind::Scalar(Scalar::Boolean),
            _ => Kind::Scalar(Scalar::Json),
        };
        Shape { kind, nullable }
    }

    /// `anyOf` or `allOf` with one schema that says something, and perhaps null.
    fn either(&mut self, object: &Map<String, Value>, hint: &str) -> Option<Shape> {
        let kinds = object.get("anyOf").or_else(|| object.get("allOf"))?.as_array()?;
        let rest: Vec<_> = kinds.iter().filter(|kind| kind["type"] != "null").collect();
        let [only] = rest.as_slice() else {
            return Some(Shape::scalar(Scalar::Json));
        };
        let mut shape = self.read(only, hint);
        shape.nullable |= rest.len() < kinds.len();
        Some(shape)
    }

    fn named_words(&mut self, hint: &str, object: &Map<String, Value>, words: Vec<Word>) -> Shape {
        let name = names::type_of(hint);
        let about = text(object, "description");
        let words = self
            .words
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Words { name, about, words }));
        let (_, nullable) = types_of(object);
        Shape {
            kind: Kind::Words(words.clone()),
            nullable,
        }
    }

    fn named_record(&mut self, schema: &Value, hint: &str) -> Shape {
        let mut name = names::type_of(hint);
        if !name.ends_with(self.suffix) {
            name.push_str(self.suffix);
        }
        // Entered before its parts are read: it may have itself as a part.
        let known = self.schemas.insert(name.clone(), hint.to_owned());
        if let Some(known) = &known
            && known != hint
        {
            self.conflicts
                .push(format!("`{name}` stands for `{known}` and `{hint}`"));
        }
        if known.is_none() {
            let properties = self.properties(schema, hint);
            let about = schema.as_object().and_then(|object| text(object, "description"));
            let record = Record {
                name: name.clone(),
                about,
                properties,
            };
            self.records.insert(name.clone(), Arc::new(record));
        }
        Shape::new(Kind::Record(name))
    }

    /// The parts of an object; of one that is one of several, the parts of all of them.
    fn properties(&mut self, schema: &Value, hint: &str) -> Vec<Property> {
        let mut properties = self.own_properties(schema, hint);
        let variants = schema.get("oneOf").and_then(Value::as_array);
        let variants: Vec<Vec<Property>> = variants
            .into_iter()
            .flatten()
            .map(|variant| self.own_properties(variant, hint))
            .collect();
        let everywhere = |json: &str| {
            let has = |of: &Vec<Property>| of.iter().any(|one| one.json == json && !one.shape.nullable);
            variants.iter().all(has)
        };
        let mut tags = BTreeMap::new();
        for (variant, schema) in variants
            .iter()
            .zip(schema["oneOf"].as_array().into_iter().flatten())
        {
            for property in variant {
                if let Some(word) = schema["properties"][&property.json]["const"].as_str() {
                    let about = schema.as_object().and_then(|object| text(object, "description"));
                    let words: &mut Vec<Word> = tags.entry(property.json.clone()).or_default();
                    words.push(Word {
                        name: names::word(word),
                        json: word.to_owned(),
                        about,
                    });
                }
                let known = properties.iter_mut().find(|known| known.json == property.json);
                match known {
                    // What differs from one to the other is shown as it is.
                    Some(known) if !known.shape.is_like(&property.shape) => {
                        known.shape = Shape {
                            kind: Kind::Scalar(Scalar::Json),
                            nullable: true,
                        };
                    }
                    Some(_) => {}
                    None => {
                        let mut property = property.clone();
                        property.shape.nullable = !everywhere(&property.json);
                        properties.push(property);
                    }
                }
            }
        }
        for (json, words) in tags {
            if let Some(property) = properties.iter_mut().find(|property| property.json == json) {
                let name = format!("{}{}", names::type_of(hint), names::type_of(&capital(&json)));
                let words = Words {
                    name: name.clone(),
                    about: None,
                    words,
                };
                let words = self.words.entry(name).or_insert_with(|| Arc::new(words));
                property.shape.kind = Kind::Words(words.clone());
            }
        }
        properties
    }

    fn own_properties(&mut self, schema: &Value, hint: &str) -> Vec<Property> {
        let required = schema.get("required").and_then(Value::as_array);
        let required = |name: &str| required.is_some_and(|names| names.iter().any(|one| one == name));
        let listed = schema.get("properties").and_then(Value::as_object).cloned();
        let mut properties = Vec::new();
        for (json, schema) in listed.into_iter().flatten() {
            let mut shape = self.read(&schema, &format!("{hint}{}", capital(&json)));
            let is_list = matches!(shape.kind, Kind::List(_));
            let taken_in = !self.suffix.is_empty();
            shape.nullable = match (is_list, taken_in) {
                // A list that has nothing in it may be left out of JSON.
                (true, false) => shape.nullable,
                _ if shape.is(Scalar::Json) && !taken_in => true,
                _ => shape.nullable || !required(&json),
            };
            let name = if shape.is(Scalar::Id) {
                names::reference(&json)
            } else {
                names::field(&json)
            };
            let about = schema.as_object().and_then(|object| text(object, "description"));
            properties.push(Property {
                name,
                json,
                about,
                shape,
            });
        }
        properties
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key)?.as_str().map(str::to_owned)
}

/// A part's name as the end of a type's name.
fn capital(json: &str) -> String {
    let name = names::field(json);
    let mut letters = name.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

/// The types that a schema allows beside null, and whether null is one.
fn types_of(object: &Map<String, Value>) -> (Vec<&str>, bool) {
    let mut types: Vec<&str> = match object.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let before = types.len();
    types.retain(|one| *one != "null");
    let nullable = types.len() < before;
    (types, nullable)
}

fn is_record(object: &Map<String, Value>) -> bool {
    let parts = object.get("properties").and_then(Value::as_object);
    let variants = object.get("oneOf").and_then(Value::as_array);
    parts.is_some_and(|parts| !parts.is_empty())
        || variants.is_some_and(|all| {
            !all.is_empty()
                && all
                    .iter()
                    .all(|one| one.get("properties").is_some_and(Value::is_object))
        })
}

/// The words of an enumeration: each may be described by itself.
fn words_of(schema: &Value) -> Option<Vec<Word>> {
    let described = |schema: &Value| {
        schema
            .get("description")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    let word = |json: &Value, about: Option<String>| {
        let json = json.as_str()?.to_owned();
        Some(Word {
            name: names::word(&json),
            json,
            about,
        })
    };
    if let Some(all) = schema.get("enum").and_then(Value::as_array) {
        return all
            .iter()
            .filter(|one| !one.is_null())
            .map(|one| word(one, None))
            .collect();
    }
    let mut words = Vec::new();
    for one in schema.get("oneOf")?.as_array()? {
        match (one.get("const"), one.get("enum").and_then(Value::as_array)) {
            (Some(json), _) => words.push(word(json, described(one))?),
            (None, Some(several)) => {
                for json in several {
                    words.push(word(json, described(one))?);
                }
            }
            (None, None) => return None,
        }
    }
    (!words.is_empty()).then_some(words)
}
