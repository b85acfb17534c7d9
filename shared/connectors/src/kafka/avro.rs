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
/// The largest schema, and the longest text of a record.
const SCHEMA: usize = 1 << 20;
const LENGTH: usize = 4 << 20;
/// The most values of a record, each field and item of its types counted, and how many of them a type may have that
/// take no bytes.
const VALUES: usize = 1 << 18;
const FREE: usize = 100_000;
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
        match codec.shape(&codec.schema, &None, &mut HashMap::new()) {
            Some(shape) if shape.depth > DEPTH => Err("the schema is too deep"),
            Some(shape) if shape.free > FREE => Err("the schema has too much of what takes no space"),
            Some(_) => Ok(codec),
            None => Err("the schema contains itself, or lists of what takes no space"),
        }
    }

    /// The shape of a type; `None` for one that contains itself.
    fn shape(
        &self,
        schema: &Schema,
        space: &Namespace,
        known: &mut HashMap<Name, Option<Shape>>,
    ) -> Option<Shape> {
        Some(match schema {
            Schema::Null => Shape::NOTHING,
            Schema::Fixed(fixed) if fixed.size == 0 => Shape::NOTHING,
            Schema::Array(array) => {
                let items = self.shape(&array.items, space, known)?;
                // Else a few bytes could stand for millions of them.
                (!items.is_nothing).then_some(items.within())?
            }
            Schema::Map(map) => self.shape(&map.types, space, known)?.within(),
            Schema::Union(union) => {
                let mut widest = Shape::default();
                for variant in union.variants() {
                    widest = widest.or(self.shape(variant, space, known)?);
                }
                widest.within()
            }
            Schema::Record(record) => {
                let name = record.name.fully_qualified_name(space);
                if let Some(known) = known.get(&name) {
                    return *known;
                }
                // While it is gone through: whoever comes by here is inside of it.
                known.insert(name.clone(), None);
                let mut whole = Shape::NOTHING;
                for field in &record.fields {
                    whole = whole.and(self.shape(&field.schema, &name.namespace, known)?);
                }
                whole.depth += 1;
                known.insert(name, Some(whole).filter(|whole| whole.depth <= DEPTH));
                whole
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                match known.get(&name) {
                    Some(known) => (*known)?,
                    None => self.shape(self.names.get(&name)?, &name.namespace, known)?,
                }
            }
            _ => Shape::default(),
        })
    }

    /// A record as JSON; `None` if the bytes are none of this schema.
    pub(super) fn decode(&self, mut bytes: &[u8]) -> Option<Value> {
        let mut walk = Walk {
            names: &self.names,
            bytes,
            left: VALUES,
        };
        walk.step(&self.schema, &None)?;
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

/// What a type may become.
#[derive(Clone, Copy)]
struct Shape {
    depth: usize,
    /// It never takes a byte.
    is_nothing: bool,
    /// How many values it has at least that take no bytes.
    free: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            depth: 1,
            is_nothing: false,
            free: 0,
        }
    }
}

impl Shape {
    const NOTHING: Self = Self {
        depth: 1,
        is_nothing: true,
        free: 1,
    };

    /// The shape of a type around it that takes bytes itself.
    const fn within(self) -> Self {
        Self {
            depth: self.depth + 1,
            is_nothing: false,
            free: self.free,
        }
    }

    /// One or the other.
    fn or(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            is_nothing: self.is_nothing && other.is_nothing,
            free: self.free.max(other.free),
        }
    }

    /// One and the other.
    fn and(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            is_nothing: self.is_nothing && other.is_nothing,
            free: self.free.saturating_add(other.free),
        }
    }
}

/// Goes through bytes as the library will, and takes nothing up: the library reserves what bytes claim before it has
/// seen it, and makes as many values as the schema asks for.
struct Walk<'a> {
    names: &'a Names,
    bytes: &'a [u8],
    /// How many values there may still be.
    left: usize,
}

impl Walk<'_> {
    fn step(&mut self, schema: &Schema, space: &Namespace) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        match schema {
            Schema::Null => Some(()),
            Schema::Boolean => self.skip(1),
            Schema::Float => self.skip(4),
            Schema::Double => self.skip(8),
            Schema::Duration => self.skip(12),
            Schema::Fixed(fixed) => self.skip(fixed.size),
            Schema::Bytes | Schema::String | Schema::Uuid | Schema::BigDecimal => self.text(),
            Schema::Decimal(decimal) => self.step(&decimal.inner, space),
            Schema::Array(array) => self.blocks(|walk| walk.step(&array.items, space)),
            Schema::Map(map) => self.blocks(|walk| {
                walk.text()?;
                walk.step(&map.types, space)
            }),
            Schema::Union(union) => {
                let branch = usize::try_from(self.long()?).ok()?;
                self.step(union.variants().get(branch)?, space)
            }
            Schema::Record(record) => {
                let inner = record.name.fully_qualified_name(space).namespace;
                let mut fields = record.fields.iter();
                fields.try_for_each(|field| self.step(&field.schema, &inner))
            }
            Schema::Ref { name } => {
                let name = name.fully_qualified_name(space);
                self.step(self.names.get(&name)?, &name.namespace)
            }
            // Whole numbers, whatever they mean.
            _ => self.long().map(drop),
        }
    }

    fn blocks(&mut self, mut item: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        loop {
            let count = self.long()?;
            if count == 0 {
                return Some(());
            }
            if count < 0 {
                // Its bytes, for those who step over it.
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                item(self)?;
            }
        }
    }

    fn text(&mut self) -> Option<()> {
        let length = usize::try_from(self.long()?).ok()?;
        self.skip(length)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.bytes = self.bytes.get(length..)?;
        Some(())
    }

    /// A whole number: seven bits a byte, the lowest first, and its sign in the last bit.
    fn long(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for place in 0..10 {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
            }
        }
        None
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
