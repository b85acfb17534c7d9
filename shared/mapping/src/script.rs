//! A mapping by a script, without the script: what it is given for each record, and what its answers become. The
//! script itself runs elsewhere (the crate `sandbox`); what comes back is not trusted.

mod json;
mod mask;
mod results;

use halcyon_domain::{
    error::InputError,
    mapping::{MappingSpec, ScriptSpec},
};

use crate::{
    context::MappingContext,
    event::{EventResult, Outcome, RecordResult},
    expr::{Compiler, Expression, Home, Ledger, Record, Scope, Slots},
    json::{self as reader, Node, Projection},
    limits::{MAX_OBJECTS, MAX_RECORDS, MAX_SCRIPT_BYTES},
    output::Fault,
    value::Val,
};
use results::Results;

/// Where a script stands in a mapping.
const SOURCE: &str = "/script/source";

/// A mapping by a script. It is immutable: share it between threads.
#[derive(Debug)]
pub struct ScriptMapping {
    script: ScriptSpec,
    records: Option<Expression>,
    filter: Option<Expression>,
    slots: Slots,
    results: Results,
}

/// What is to be done with a record.
#[derive(Debug)]
enum Step {
    /// The script is asked.
    Run(Vec<u8>),
    /// The filter said no.
    Filtered,
    /// The filter failed.
    Failed(InputError),
}

/// An event on its way through a script.
#[derive(Debug)]
pub struct ScriptEvent {
    /// What is known of the event, as JSON.
    pub context: Vec<u8>,
    steps: Result<Vec<Step>, InputError>,
}

/// What a script made of a record.
#[derive(Clone, Copy, Debug)]
pub enum ScriptAnswer<'a> {
    /// What `map` returned, as JSON.
    Json(&'a [u8]),
    /// Why there is no answer.
    Failed {
        /// A stable word.
        code: &'a str,
        /// A sentence, which may hold what the script took from the payload.
        message: &'a str,
        /// The line of the script.
        line: Option<u32>,
    },
}

impl ScriptEvent {
    /// The records that the script is asked about, as JSON, in order.
    pub fn records(&self) -> impl Iterator<Item = &[u8]> {
        let steps = self.steps.as_deref().unwrap_or_default();
        steps.iter().filter_map(|step| match step {
            Step::Run(record) => Some(record.as_slice()),
            Step::Filtered | Step::Failed(_) => None,
        })
    }
}

impl ScriptMapping {
    /// Compiles all but the script itself.
    ///
    /// # Errors
    /// All that is wrong with it, by JSON pointers into the mapping.
    pub fn compile(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        Compiler::on_large_stack(|| Self::compile_here(spec)).map_err(|error| vec![error])?
    }

    fn compile_here(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        let mut compiler = Compiler::default();
        let Some(script) = &spec.script else {
            return Err(vec![InputError::new(
                "/script",
                "required",
                "the mapping has no script",
            )]);
        };
        if !spec.outputs.is_empty() {
            compiler.refuse(
                "/outputs",
                "conflict",
                "a mapping has either `outputs` or a `script`",
            );
        }
        if script.source.trim().is_empty() {
            compiler.refuse(SOURCE, "required", "the script is empty");
        }
        if script.source.len() > MAX_SCRIPT_BYTES {
            let detail = format!("a script has at most {MAX_SCRIPT_BYTES} bytes");
            compiler.refuse(SOURCE, "too_long", detail);
        }
        if script.source.contains('\0') {
            compiler.refuse(SOURCE, "nul_character", "the script holds a NUL character");
        }
        let mut expression = |text: &Option<String>, home, pointer: &str| {
            text.as_ref()
                .and_then(|text| compiler.expression(text, spec.language, home, pointer))
        };
        let records = expression(&spec.records, Home::Given, "/records");
        let filter = expression(&spec.filter, Home::Record, "/filter");
        Ok(Self {
            script: script.clone(),
            records,
            filter,
            slots: compiler.finish()?,
            results: Results::compile()?,
        })
    }

    /// The script.
    #[must_use]
    pub const fn script(&self) -> &ScriptSpec {
        &self.script
    }

    /// Cuts an event into what the script is to be asked about.
    #[must_use]
    pub fn prepare(&self, payload: &[u8], context: &MappingContext<'_>) -> ScriptEvent {
        let mut json = String::new();
        json::write(&context.to_node(), &mut json);
        ScriptEvent {
            context: json.into_bytes(),
            steps: self.steps(payload),
        }
    }

    fn steps(&self, payload: &[u8]) -> Result<Vec<Step>, InputError> {
        if self.records.is_none() && self.filter.is_none() && is_object(payload) {
            // It is read only to know that it can be: the script gets it as it came.
            reader::parse_records(payload, &Projection::new(&[]))?;
            return Ok(vec![Step::Run(payload.to_vec())]);
        }
        let document = reader::parse_document(payload)?;
        let document = Val::Node(&document);
        let ledger = Ledger::new(false);
        let records = match &self.records {
            None => document,
            Some(expression) => {
                let scope = self.scope(Record::Made(&[]), &ledger);
                let records = expression.evaluate(&document, &scope);
                records.map_err(|error| Fault::from(error).at("/records", expression.text()))?
            }
        };
        match records.list_len() {
            Some(length) if length > MAX_RECORDS => Err(reader::too_many_records()),
            Some(_) => {
                let items = records.items().into_iter().flatten();
                Ok(items.map(|record| self.step(&record, &ledger)).collect())
            }
            None if records.is_null() && self.records.is_some() => Ok(Vec::new()),
            None => Ok(vec![self.step(&records, &ledger)]),
        }
    }

    fn scope<'n>(&'n self, record: Record<'n>, ledger: &'n Ledger) -> Scope<'n> {
        static NO_CONTEXT: Node<'static> = Node::Null;
        Scope {
            slots: &self.slots,
            record,
            context: &NO_CONTEXT,
            ledger,
        }
    }

    fn step(&self, record: &Val<'_>, ledger: &Ledger) -> Step {
        if let Some(filter) = &self.filter {
            let values = self.slots.of_value(record);
            let scope = self.scope(Record::Made(&values), ledger);
            let verdict = filter.evaluate(&Val::Null, &scope);
            match verdict {
                Ok(verdict) if !verdict.truthy() => return Step::Filtered,
                Ok(_) => {}
                Err(error) => return Step::Failed(Fault::from(error).at("/filter", filter.text())),
            }
        }
        let mut json = String::new();
        json::write_value(record, &mut json);
        Step::Run(json.into_bytes())
    }

    /// What becomes of an event, given the script's answers about [`ScriptEvent::records`], in their order.
    #[must_use]
    pub fn finish<'a>(
        &self,
        event: &ScriptEvent,
        answers: impl IntoIterator<Item = ScriptAnswer<'a>>,
    ) -> EventResult {
        let steps = match &event.steps {
            Ok(steps) => steps,
            Err(failure) => return EventResult::dead_lettered(failure.clone()),
        };
        let mut answers = answers.into_iter();
        let mut records = Vec::with_capacity(steps.len().max(1));
        let mut objects = 0;
        for (index, step) in (0_u32..).zip(steps) {
            let mut outcome = match step {
                Step::Filtered => Outcome::Filtered,
                Step::Failed(failure) => Outcome::DeadLettered(failure.clone()),
                Step::Run(record) => match answers.next() {
                    Some(answer) => self.outcome(record, answer),
                    None => {
                        Outcome::DeadLettered(failure("script_crashed", "the script gave no answer", None))
                    }
                },
            };
            objects += outcome.objects().len();
            if objects > MAX_OBJECTS {
                objects -= outcome.objects().len();
                let detail = format!("an event becomes at most {MAX_OBJECTS} objects");
                outcome = Outcome::DeadLettered(InputError::new(SOURCE, "too_many_objects", detail));
            }
            records.push(RecordResult { index, outcome });
        }
        if records.is_empty() {
            // An event without records is one that was filtered: every event is counted.
            records.push(RecordResult {
                index: 0,
                outcome: Outcome::Filtered,
            });
        }
        EventResult {
            records,
            warnings: Vec::new(),
        }
    }

    fn outcome(&self, record: &[u8], answer: ScriptAnswer<'_>) -> Outcome {
        match answer {
            ScriptAnswer::Json(answer) => match self.results.objects(answer) {
                Ok(objects) if objects.is_empty() => Outcome::Filtered,
                Ok(objects) => Outcome::Delivered(objects),
                Err(failure) => Outcome::DeadLettered(*failure),
            },
            ScriptAnswer::Failed { code, message, line } => {
                Outcome::DeadLettered(failure(code, &mask::without_values(message, record), line))
            }
        }
    }
}

/// What is wrong with a script, for whoever wrote it.
#[must_use]
pub fn script_error(code: &str, message: &str, line: Option<u32>) -> InputError {
    failure(code, message, line)
}

fn failure(code: &str, message: &str, line: Option<u32>) -> InputError {
    let detail = match line {
        Some(line) => format!("line {line}: {message}"),
        None => message.to_owned(),
    };
    InputError::new(SOURCE, code, detail)
}

fn is_object(payload: &[u8]) -> bool {
    payload.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')
}
