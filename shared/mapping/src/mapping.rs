//! A compiled mapping and what it does with an event.

use halcyon_domain::{
    error::InputError,
    mapping::{FieldSpec, From, MappingSpec},
    ontology::OntologyObject,
};

use crate::{
    context::MappingContext,
    event::{EventResult, Outcome, RecordResult},
    expr::{Compiler, Expression, Home, Ledger, Record, Scope, Slots},
    json::{self, Node},
    limits::{MAX_OBJECTS, MAX_OUTPUTS, MAX_RECORDS},
    output::{Cx, Failure, Fault, Notes, Output, compile_output},
    report,
    value::Val,
};

/// A mapping that is ready to be applied. It is immutable: share it between threads.
#[derive(Debug)]
pub struct CompiledMapping {
    records: Option<Expression>,
    filter: Option<Expression>,
    outputs: Vec<Output>,
    slots: Slots,
    uses_context: bool,
}

static NO_CONTEXT: Node<'static> = Node::Null;

impl CompiledMapping {
    /// Compiles a mapping.
    ///
    /// # Errors
    /// All that is wrong with it, by JSON pointers into the mapping (`/outputs/0/fields/title`).
    pub fn compile(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        if spec.script.is_some() {
            let detail = "a script is not a mapping by expressions";
            return Err(vec![InputError::new("/script", "unsupported_language", detail)]);
        }
        Compiler::on_large_stack(|| Self::compile_here(spec)).map_err(|error| vec![error])?
    }

    fn compile_here(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        let mut compiler = Compiler::default();
        if spec.outputs.is_empty() {
            compiler.refuse("/outputs", "required", "a mapping needs at least one output");
        }
        if spec.outputs.len() > MAX_OUTPUTS {
            let detail = format!("a mapping has at most {MAX_OUTPUTS} outputs");
            return Err(vec![InputError::new("/outputs", "too_many", detail)]);
        }
        let mut expression = |text: &Option<String>, home, pointer: &str| {
            text.as_ref()
                .and_then(|text| compiler.expression(text, spec.language, home, pointer))
        };
        let records = expression(&spec.records, Home::Given, "/records");
        let filter = expression(&spec.filter, Home::Record, "/filter");
        let outputs = spec.outputs.iter().enumerate().filter_map(|(index, output)| {
            compile_output(output, spec.language, format!("/outputs/{index}"), &mut compiler)
        });
        let outputs = outputs.collect();
        let uses_context = spec
            .outputs
            .iter()
            .flat_map(|output| output.fields.values())
            .any(uses_context);
        Ok(Self {
            records,
            filter,
            outputs,
            slots: compiler.finish()?,
            uses_context,
        })
    }

    /// What becomes of an event.
    #[must_use]
    pub fn map(&self, payload: &[u8], context: &MappingContext<'_>) -> EventResult {
        self.run(payload, context, false)
    }

    /// As [`Self::map`], with warnings about parts of the payload that no expression reads (`unmapped`, pointers
    /// into the payload) and about fields without a value (`missing`), with one that does not fit (`mistyped`) or
    /// that had to be turned into another type (`cast`). It costs more; for test runs.
    #[must_use]
    pub fn map_with_report(&self, payload: &[u8], context: &MappingContext<'_>) -> EventResult {
        self.run(payload, context, true)
    }

    fn run(&self, payload: &[u8], context: &MappingContext<'_>, report: bool) -> EventResult {
        let made;
        let context = if self.uses_context {
            made = context.to_node();
            &made
        } else {
            &NO_CONTEXT
        };
        let ledger = Ledger::new(report);
        let notes = if report {
            Notes::for_report()
        } else {
            Notes::default()
        };
        let event = Event {
            mapping: self,
            context,
            ledger: &ledger,
            notes: &notes,
        };
        let records = if report || self.records.is_some() {
            json::parse_document(payload).and_then(|document| {
                let records = event.of_document(&document)?;
                report::unmapped(&document, &ledger, &notes);
                Ok(records)
            })
        } else {
            json::parse_records(payload, self.slots.projection()).map(|records| event.of_projected(&records))
        };
        match records {
            Ok(records) => EventResult {
                records,
                warnings: notes.into_warnings(),
            },
            Err(failure) => EventResult {
                warnings: notes.into_warnings(),
                ..EventResult::dead_lettered(failure)
            },
        }
    }
}

fn uses_context(field: &FieldSpec) -> bool {
    let default = match &field.default {
        Some(halcyon_domain::mapping::DefaultSpec::Expression(default)) => default.from,
        _ => None,
    };
    field.from == Some(From::Context) || default == Some(From::Context)
}

/// An event that is being mapped.
struct Event<'e> {
    mapping: &'e CompiledMapping,
    context: &'e Node<'e>,
    ledger: &'e Ledger,
    notes: &'e Notes,
}

impl Event<'_> {
    /// Maps records of which only the parts that are asked for were read.
    fn of_projected(&self, parsed: &json::Parsed<'_>) -> Vec<RecordResult> {
        self.all(parsed.records().map(|slots| self.record(Record::Read(slots))))
    }

    /// Maps the records of a payload that was read as a whole.
    fn of_document(&self, document: &Node<'_>) -> Result<Vec<RecordResult>, InputError> {
        let document = Val::Node(document);
        let records = match &self.mapping.records {
            None => document,
            Some(expression) => {
                let scope = self.scope(Record::Made(&[]));
                let records = expression.evaluate(&document, &scope);
                records.map_err(|error| Fault::from(error).at("/records", expression.text()))?
            }
        };
        let one = |record: &Val<'_>| self.record(Record::Made(&self.mapping.slots.of_value(record)));
        match records.list_len() {
            Some(length) if length > MAX_RECORDS => Err(json::too_many_records()),
            Some(_) => Ok(self.all(records.items().into_iter().flatten().map(|record| one(&record)))),
            None if records.is_null() && self.mapping.records.is_some() => Ok(self.all(std::iter::empty())),
            None => Ok(self.all(std::iter::once(one(&records)))),
        }
    }

    fn scope<'n>(&'n self, record: Record<'n>) -> Scope<'n> {
        Scope {
            slots: &self.mapping.slots,
            record,
            context: self.context,
            ledger: self.ledger,
        }
    }

    fn all(&self, outcomes: impl Iterator<Item = Outcome>) -> Vec<RecordResult> {
        let mut results = Vec::with_capacity(outcomes.size_hint().0);
        let mut objects = 0;
        for (index, mut outcome) in (0_u32..).zip(outcomes) {
            objects += outcome.objects().len();
            if objects > MAX_OBJECTS {
                objects -= outcome.objects().len();
                let detail = format!("an event becomes at most {MAX_OBJECTS} objects");
                outcome = Outcome::DeadLettered(InputError::new("/outputs", "too_many_objects", detail));
            }
            results.push(RecordResult { index, outcome });
        }
        if results.is_empty() {
            // An event without records is one that was filtered: every event is counted.
            results.push(RecordResult {
                index: 0,
                outcome: Outcome::Filtered,
            });
        }
        results
    }

    fn record(&self, record: Record<'_>) -> Outcome {
        match self.objects(record) {
            Ok(objects) if objects.is_empty() => Outcome::Filtered,
            Ok(objects) => Outcome::Delivered(objects),
            Err(failure) => Outcome::DeadLettered(*failure),
        }
    }

    fn objects(&self, record: Record<'_>) -> Result<Vec<OntologyObject>, Failure> {
        let mut cx = Cx {
            scope: self.scope(record),
            item: Val::Null,
            notes: self.notes,
        };
        if let Some(filter) = &self.mapping.filter {
            let verdict = filter.evaluate(&Val::Null, &cx.scope);
            let failed = |error| Box::new(Fault::from(error).at("/filter", filter.text()));
            let verdict = verdict.map_err(failed)?;
            cx.scope.used(&verdict);
            if !verdict.truthy() {
                return Ok(Vec::new());
            }
        }
        let mut objects = Vec::with_capacity(self.mapping.outputs.len());
        for output in &self.mapping.outputs {
            output.make(&mut cx, &mut objects)?;
            if objects.len() > MAX_OBJECTS {
                let detail = format!("a record becomes at most {MAX_OBJECTS} objects");
                let pointer = output.pointer.clone();
                return Err(Box::new(InputError::new(pointer, "too_many_objects", detail)));
            }
        }
        Ok(objects)
    }
}
