//! Python: Monty, an interpreter of a part of the language that has no files, sockets, environment or processes of its
//! own: what would need them raises an exception.
//!
//! The whole script is run for each record, in a world of its own: nothing is left for the next one.

use std::{borrow::Cow, cell::RefCell, fmt::Write as _, rc::Rc, time::Duration};

use halcyon_mapping::limits::MAX_PAYLOAD_DEPTH;
use jiter::JsonValue;
use monty::MontyRun;
use monty_types::{
    CompileOptions, ExcType, MontyException, MontyObject, PrintWriter, PrintWriterCallback, ResourceLimits,
    ResourceTracker,
};

use super::{
    Context,
    logs::{Logs, shortened},
};
use crate::wire::{Failure, Load};

const NAME: &str = "script.py";
/// Bytes of an error's message.
const MAX_MESSAGE: usize = 300;
/// Calls within calls.
const MAX_CALLS: usize = 300;
/// Bytes of what a record becomes, before it is cut off.
const MAX_TEXT: usize = 5 * 1024 * 1024;

/// Monty looks at the clock on the wall, which goes on while other processes have the processor: it only catches what
/// the pool, which ends the process at the deadline, has passed over.
const PATIENCE: u32 = 3;

/// A loaded script.
pub(super) struct Python {
    program: MontyRun,
    limit: Duration,
    logs: Rc<Logs>,
}

impl Python {
    /// Reads the script.
    pub(super) fn load(load: &Load, logs: &Rc<Logs>) -> Result<Self, Failure> {
        // There is a built-in function of that name, so a missing one would not be noticed.
        let defines = |line: &str| {
            let line = line.strip_prefix("async ").unwrap_or(line);
            line.starts_with("def map(") || line.starts_with("def map ") || line.starts_with("map =")
        };
        let code = format!("{}\n\nmap(record__, context__)\n", load.source);
        let names = vec!["record__".to_owned(), "context__".to_owned()];
        let program =
            MontyRun::new(code, NAME, names, CompileOptions::default()).map_err(|error| told(&error))?;
        if !load.source.lines().any(defines) {
            let message = "the script defines no function `map(record, context)`";
            return Err(Failure::new("script_no_map", message));
        }
        Ok(Self {
            program,
            limit: Duration::from_millis(load.deadline_ms) * PATIENCE,
            logs: Rc::clone(logs),
        })
    }

    /// What `map` makes of a record, as JSON.
    pub(super) fn map(&self, record: &[u8], context: &Context) -> Result<Vec<u8>, Failure> {
        let inputs = vec![read(record)?, read(&context.json)?];
        let limits = ResourceLimits::default()
            .max_duration(self.limit)
            .max_recursion_depth(MAX_CALLS);
        let mut printed = Printed::new(&self.logs);
        let print = if self.logs.wanted() {
            PrintWriter::Callback(&mut printed)
        } else {
            PrintWriter::Disabled
        };
        let answer = self.program.run(inputs, ResourceTracker::new(limits), print);
        printed.end();
        let answer = answer.map_err(|error| told(&error))?;
        let mut json = String::new();
        write(&answer, 0, &mut json)?;
        Ok(json.into_bytes())
    }
}

fn told(error: &MontyException) -> Failure {
    let message = error.message().unwrap_or_default();
    let code = match error.exc_type() {
        ExcType::TimeoutError if message.starts_with("time limit exceeded") => "script_timeout",
        ExcType::MemoryError => "script_memory",
        _ => "script_failed",
    };
    let frame = error
        .traceback()
        .iter()
        .rev()
        .find(|frame| frame.filename == NAME);
    Failure {
        code: code.to_owned(),
        message: shortened(&format!("{}: {message}", error.exc_type()), MAX_MESSAGE),
        line: frame.map(|frame| frame.start.line),
    }
}

fn read(json: &[u8]) -> Result<MontyObject, Failure> {
    let value = JsonValue::parse(json, false);
    let value = value
        .map_err(|error| Failure::new("script_crashed", format!("the record cannot be read: {error}")))?;
    Ok(object(&value))
}

/// Integers of any size stay exact.
fn object(value: &JsonValue<'_>) -> MontyObject {
    match value {
        JsonValue::Null => MontyObject::None,
        JsonValue::Bool(bool) => MontyObject::Bool(*bool),
        JsonValue::Int(integer) => MontyObject::Int(*integer),
        JsonValue::BigInt(integer) => MontyObject::BigInt(integer.clone()),
        JsonValue::Float(number) => MontyObject::Float(*number),
        JsonValue::Str(text) => MontyObject::String(text.to_string()),
        JsonValue::Array(items) => MontyObject::List(items.iter().map(object).collect()),
        JsonValue::Object(members) => {
            let member = |(name, value): &(Cow<'_, str>, JsonValue<'_>)| {
                (MontyObject::String(name.to_string()), object(value))
            };
            MontyObject::dict(members.iter().map(member).collect::<Vec<_>>())
        }
    }
}

/// Writes a value as JSON.
fn write(value: &MontyObject, depth: usize, json: &mut String) -> Result<(), Failure> {
    if depth > MAX_PAYLOAD_DEPTH {
        return Err(Failure::new(
            "script_result",
            "what `map` returned nests too deep",
        ));
    }
    if json.len() > MAX_TEXT {
        return Err(Failure::new("script_result", "what `map` returned is too large"));
    }
    match value {
        MontyObject::None => json.push_str("null"),
        MontyObject::Bool(bool) => json.push_str(if *bool { "true" } else { "false" }),
        MontyObject::Int(integer) => append(json, integer),
        MontyObject::BigInt(integer) => append(json, integer),
        // JSON has no word for what is no number.
        MontyObject::Float(number) if !number.is_finite() => json.push_str("null"),
        MontyObject::Float(number) => append(json, number),
        MontyObject::String(text) => quote(text, json),
        MontyObject::List(items)
        | MontyObject::Tuple(items)
        | MontyObject::NamedTuple { values: items, .. } => {
            json.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                write(item, depth + 1, json)?;
            }
            json.push(']');
        }
        MontyObject::Dict(pairs) => {
            json.push('{');
            for (index, (name, value)) in pairs.into_iter().enumerate() {
                if index > 0 {
                    json.push(',');
                }
                let MontyObject::String(name) = name else {
                    return Err(Failure::new(
                        "script_result",
                        "a key of what `map` returned is no text",
                    ));
                };
                quote(name, json);
                json.push(':');
                write(value, depth + 1, json)?;
            }
            json.push('}');
        }
        // What is not JSON is not made into some by guessing.
        _ => {
            let message =
                "`map` returned something that has no JSON; turn it into text, a number, a list or a dict";
            return Err(Failure::new("script_result", message));
        }
    }
    Ok(())
}

fn append(json: &mut String, value: &impl std::fmt::Display) {
    // Writing to a string does not fail.
    let _ = write!(json, "{value}");
}

fn quote(text: &str, json: &mut String) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

/// Cuts what is printed into lines.
struct Printed<'l> {
    logs: &'l Logs,
    line: RefCell<String>,
}

/// No line is kept longer before it ends.
const MAX_PENDING: usize = 4_096;

impl<'l> Printed<'l> {
    fn new(logs: &'l Logs) -> Self {
        Self {
            logs,
            line: RefCell::default(),
        }
    }

    fn end(self) {
        let line = self.line.into_inner();
        if !line.is_empty() {
            self.logs.add(&line);
        }
    }

    fn add(&self, text: &str) {
        let mut line = self.line.borrow_mut();
        for part in text.split_inclusive('\n') {
            if line.len() < MAX_PENDING {
                line.push_str(&shortened(part.trim_end_matches('\n'), MAX_PENDING));
            }
            if part.ends_with('\n') {
                self.logs.add(&line);
                line.clear();
            }
        }
    }
}

impl PrintWriterCallback for Printed<'_> {
    fn stdout_write(&mut self, output: Cow<'_, str>) -> Result<(), MontyException> {
        self.add(&output);
        Ok(())
    }

    fn stdout_push(&mut self, end: char) -> Result<(), MontyException> {
        self.add(end.encode_utf8(&mut [0; 4]));
        Ok(())
    }
}
