//! Avro data as JSON: see the page of the connector for what becomes of each type.

use std::{collections::HashMap, sync::Once};

use apache_avro::{
    Schema, from_avro_datum_schemata,
    schema::{Name, Namespace},
    types::Value as Avro,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat};
use serde_json::{Map, Number, Value, json};

/// How deep types may be in each other. Deeper or recursive ones would let a record exhaust the stack.
const DEPTH: usize = 64;
/// The largest schema, and the longest array or text of a record: what a record claims is reserved.
const SCHEMA: usize = 1 << 20;
const LENGTH: usize = 4 << 20;
/// The longest decimal number, in bytes.
const DECIMAL: usize = 64;

type Names = HashMap<Name, Schema>;

/// Reads records of one schema.
pub(super) struct Codec {
    schema: Schema,
    /// Those that the schema refers to, and then the schema.
    all: Vec<Schema>,
    names: Names,
}

impl Codec {
    /// A reader for a schema and those that it refers to.
    ///
    /// # Errors
    /// Why the schema is of no use.
    pub(super) fn new(schema: &str, others: &[String]) -> Result<Self, &'static str> {
        static LIMIT: Once = Once::new();
        LIMIT.call_once(|| {
            apache_avro::util::max_allocation_bytes(LENGTH);
        });
        if schema.len() + others.iter().map(String::len).sum::<usize>() > SCHEMA {
            return Err("the schema is too large");
        }
        let parsed = Schema::parse_str_with_list(schema, others);
        let (schema, mut all) = parsed.map_err(|_| "the schema is not one of Avro")?;
        all.push(schema.clone());
        let mut names = Names::new();
        for schema in &all {
            collect(schema, &None, &mut names);
        }
        let codec = Self { schema, all, names };
        let mut depths = HashMap::new();
        match codec.depth(&codec.schema, &None, &mut depths) {
            Some(depth) if depth <= DEPTH => Ok(codec),
            Some(_) => Err("the schema is too deep"),
            None => Err("the schema contains itself, or lists of what takes no space"),
        }
    }

    /// How deep a type is; `None` for one that contains itself.
    fn depth(
        &self,
        schema: &Schema,
        space: &Namespace,
        known: &mut HashMap<Name, Option<usize>>,
    ) -> Option<usize> {
        let deeper = |depth: usize| depth + 1;
        match schema {
            Schema::Array(array) => self.list(&array.items, space, known).map(deeper),
            Schema::Map(map) => self.depth(&map.types, space, known).map(deeper),
            Schema::Union(union) => {
                let depths = union
                    .variants()
                    .iter()
                    .map(|variant| self.depth(variant, space, known));
                depths.collect::<Option<Vec<_>>>()?.into_iter().max().map(deeper)
            }
            Schema::Record(record) => {
                let name = record.name.fully_qualified_name(space);
                if let Some(known) = known.get(&name) {
                    return *known;
                }
                // While it is gone through: whoever comes by here is inside of it.
                known.insert(name.clone(), None);
                let inner = name.namespace.clone();
                let fields = record.fields.iter();
                let depths: Option<Vec<_>> = fields
                    .map(|field| self.depth(&field.schema, &inner, known))
                    .collect();
                let depth = depths.map(|depths| depths.into_iter().max().unwrap_or(0) + 1);
                known.insert(name, depth.filter(|depth| *depth <= DEPTH));
                depth
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                match known.get(&name) {
                    Some(known) => *known,
                    None => self.depth(self.names.get(&name)?, &name.namespace, known),
                }
            }
            _ => Some(1),
        }
    }

    /// The depth of an array's items, which must take space: else a few bytes could stand for millions of them.
    fn list(
        &self,
        items: &Schema,
        space: &Namespace,
        known: &mut HashMap<Name, Option<usize>>,
    ) -> Option<usize> {
        let depth = self.depth(items, space, known)?;
        (!self.is_nothing(items, space)).then_some(depth)
    }

    fn is_nothing(&self, schema: &Schema, space: &Namespace) -> bool {
        match schema {
            Schema::Null => true,
            Schema::Fixed(fixed) => fixed.size == 0,
            Schema::Record(record) => {
                let inner = record.name.fully_qualified_name(space).namespace;
                record
                    .fields
                    .iter()
                    .all(|field| self.is_nothing(&field.schema, &inner))
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                self.names
                    .get(&name)
                    .is_none_or(|schema| self.is_nothing(schema, &name.namespace))
            }
            _ => false,
        }
    }

    /// A record as JSON; `None` if the bytes are none of this schema.
    pub(super) fn decode(&self, mut bytes: &[u8]) -> Option<Value> {
        let all = self.all.iter().collect();
        let value = from_avro_datum_schemata(&self.schema, all, &mut bytes, None).ok()?;
        if !bytes.is_empty() {
            return None;
        }
        self.json(value, &self.schema, &None)
    }

    /// A value as JSON; `None` where it is not of its type, as the library gives it where bytes are missing.
    fn json(&self, value: Avro, schema: &Schema, space: &Namespace) -> Option<Value> {
        Some(match (value, schema) {
            (value, Schema::Ref { name }) => {
                let name = name.fully_qualified_name(space);
                return self.json(value, self.names.get(&name)?, &name.namespace);
            }
            (Avro::Union(branch, value), Schema::Union(union)) => {
                let branch = union.variants().get(branch as usize)?;
                return self.json(*value, branch, space);
            }
            (Avro::Record(values), Schema::Record(record)) => {
                let inner = record.name.fully_qualified_name(space).namespace;
                let mut fields = Map::new();
                for ((name, value), field) in values.into_iter().zip(&record.fields) {
                    fields.insert(name, self.json(value, &field.schema, &inner)?);
                }
                (fields.len() == record.fields.len()).then_some(Value::Object(fields))?
            }
            (Avro::Array(values), Schema::Array(array)) => {
                let items = values
                    .into_iter()
                    .map(|value| self.json(value, &array.items, space));
                Value::Array(items.collect::<Option<_>>()?)
            }
            (Avro::Map(values), Schema::Map(map)) => {
                let fields = values.into_iter();
                let fields = fields.map(|(name, value)| Some((name, self.json(value, &map.types, space)?)));
                Value::Object(fields.collect::<Option<_>>()?)
            }
            (Avro::Decimal(decimal), Schema::Decimal(of)) => {
                let bytes: Vec<u8> = Vec::try_from(&decimal).ok()?;
                Value::String(decimal_text(&bytes, of.scale)?)
            }
            (Avro::Null, Schema::Null) => Value::Null,
            (Avro::Null, _) => return None,
            (value, _) => plain(value)?,
        })
    }
}

/// Values whose type says all.
fn plain(value: Avro) -> Option<Value> {
    Some(match value {
        Avro::Boolean(value) => value.into(),
        Avro::Int(value) => value.into(),
        Avro::Long(value) => value.into(),
        Avro::Float(value) => float(f64::from(value)),
        Avro::Double(value) => float(value),
        Avro::Bytes(bytes) | Avro::Fixed(_, bytes) => STANDARD.encode(bytes).into(),
        Avro::String(text) | Avro::Enum(_, text) => text.into(),
        Avro::Uuid(uuid) => uuid.to_string().into(),
        Avro::BigDecimal(number) => number.to_string().into(),
        Avro::Date(days) => date(days)?.into(),
        Avro::TimeMillis(millis) => time(i64::from(millis).checked_mul(1_000)?)?.into(),
        Avro::TimeMicros(micros) => time(micros)?.into(),
        Avro::TimestampMillis(millis) => DateTime::from_timestamp_millis(millis).map(instant)?.into(),
        Avro::TimestampMicros(micros) => DateTime::from_timestamp_micros(micros).map(instant)?.into(),
        Avro::TimestampNanos(nanos) => instant(DateTime::from_timestamp_nanos(nanos)).into(),
        Avro::LocalTimestampMillis(millis) => DateTime::from_timestamp_millis(millis).map(local)?.into(),
        Avro::LocalTimestampMicros(micros) => DateTime::from_timestamp_micros(micros).map(local)?.into(),
        Avro::LocalTimestampNanos(nanos) => local(DateTime::from_timestamp_nanos(nanos)).into(),
        Avro::Duration(duration) => json!({
            "months": u32::from(duration.months()),
            "days": u32::from(duration.days()),
            "millis": u32::from(duration.millis()),
        }),
        _ => return None,
    })
}

/// JSON has no number for what is none.
fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number)
}

fn date(days: i32) -> Option<String> {
    let begin = NaiveDate::default();
    let distance = Days::new(u64::from(days.unsigned_abs()));
    let date = if days < 0 {
        begin.checked_sub_days(distance)
    } else {
        begin.checked_add_days(distance)
    };
    date.map(|date| date.to_string())
}

fn time(micros: i64) -> Option<String> {
    let seconds = u32::try_from(micros.div_euclid(1_000_000)).ok()?;
    let nanos = u32::try_from(micros.rem_euclid(1_000_000) * 1_000).ok()?;
    NaiveTime::from_num_seconds_from_midnight_opt(seconds, nanos).map(|time| time.to_string())
}

fn instant(time: DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn local(time: DateTime<chrono::Utc>) -> String {
    instant(time).trim_end_matches('Z').to_owned()
}

/// A whole number (big-endian, two's complement) with `scale` digits behind the point.
fn decimal_text(bytes: &[u8], scale: usize) -> Option<String> {
    if bytes.len() > DECIMAL || scale > 1_000 {
        return None;
    }
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    let mut rest = bytes.to_vec();
    if negative {
        let mut carry = true;
        for byte in rest.iter_mut().rev() {
            let (flipped, over) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (flipped, over);
        }
    }
    let mut digits = Vec::new();
    while rest.iter().any(|byte| *byte != 0) || digits.len() <= scale {
        let mut left = 0_u32;
        for byte in &mut rest {
            let part = left << 8 | u32::from(*byte);
            *byte = (part / 10) as u8;
            left = part % 10;
        }
        digits.push(char::from_digit(left, 10)?);
    }
    if scale > 0 {
        digits.insert(scale, '.');
    }
    if negative {
        digits.push('-');
    }
    Some(digits.into_iter().rev().collect())
}

/// The schemas of types that have names.
fn collect(schema: &Schema, space: &Namespace, names: &mut Names) {
    match schema {
        Schema::Array(array) => collect(&array.items, space, names),
        Schema::Map(map) => collect(&map.types, space, names),
        Schema::Union(union) => union
            .variants()
            .iter()
            .for_each(|variant| collect(variant, space, names)),
        Schema::Record(record) => {
            let name = record.name.fully_qualified_name(space);
            let inner = name.namespace.clone();
            names.insert(name, schema.clone());
            record
                .fields
                .iter()
                .for_each(|field| collect(&field.schema, &inner, names));
        }
        Schema::Enum(named) => {
            names.insert(named.name.fully_qualified_name(space), schema.clone());
        }
        Schema::Fixed(named) => {
            names.insert(named.name.fully_qualified_name(space), schema.clone());
        }
        Schema::Decimal(decimal) => collect(&decimal.inner, space, names),
        _ => {}
    }
}
