//! Events through a script: one batch over the border, whatever the number of events.

use std::time::Instant;

use halcyon_domain::{error::InputError, id::DatasourceId, mapping::MappingSpec};
use halcyon_mapping::{
    CompiledMapping, EventResult, MappingContext, ScriptAnswer, ScriptEvent, ScriptMapping, script_error,
};

use crate::{
    error::Error,
    pool::{Answers, Item, Pool, Script},
    wire::Failure,
};

/// A version's mapping, ready to be applied: here, or by the processes of a pool.
#[derive(Debug)]
pub enum Mapping {
    /// By expressions.
    Outputs(Box<CompiledMapping>),
    /// By a script.
    Script(Box<ScriptMapping>, Script),
}

impl Mapping {
    /// Compiles a mapping; of a script all but the script itself.
    ///
    /// # Errors
    /// All that is wrong with it, by JSON pointers into the mapping.
    pub fn compile(spec: &MappingSpec, datasource: DatasourceId) -> Result<Self, Vec<InputError>> {
        match &spec.script {
            None => CompiledMapping::compile(spec).map(|mapping| Self::Outputs(Box::new(mapping))),
            Some(script) => {
                let mapping = ScriptMapping::compile(spec)?;
                let script = Script::new(datasource, script.clone());
                Ok(Self::Script(Box::new(mapping), script))
            }
        }
    }

    /// The same mapping; what its script logs is wanted, too.
    #[must_use]
    pub fn with_logs(self) -> Self {
        match self {
            Self::Script(mapping, script) => Self::Script(mapping, script.with_logs()),
            outputs @ Self::Outputs(_) => outputs,
        }
    }

    /// The script, if it is one.
    #[must_use]
    pub const fn script(&self) -> Option<&Script> {
        match self {
            Self::Outputs(_) => None,
            Self::Script(_, script) => Some(script),
        }
    }

    /// Reads the script in a process of `pool`. Expressions were compiled already.
    ///
    /// # Errors
    /// What is wrong with it, by JSON pointers into the mapping. Nothing if no process could be had, or none that did
    /// not end over it: only what a process answers says something of the script.
    pub fn check(&self, pool: Option<&Pool>) -> Result<(), Vec<InputError>> {
        let Some(script) = self.script() else {
            return Ok(());
        };
        let Some(pool) = pool else {
            let detail = "scripts cannot be run here: the program to run them with is not known";
            return Err(vec![InputError::new("/script", "unsupported_language", detail)]);
        };
        match pool.check(script) {
            Ok(None) => Ok(()),
            Ok(Some(failure)) => {
                let Failure { code, message, line } = failure;
                Err(vec![script_error(&code, &message, line)])
            }
            Err(error) => {
                tracing::warn!(error = %error, "a script was not checked");
                Ok(())
            }
        }
    }
}

/// What became of events.
#[derive(Debug, Default)]
pub struct Mapped {
    /// One for each event that was mapped, in order. The others were left for want of time or memory.
    pub results: Vec<EventResult>,
    /// What the script logged, with the place of the event, if that was asked for.
    pub logs: Vec<(usize, String)>,
    /// The most memory that a process had, in bytes, if logs were asked for.
    pub peak_memory: u64,
}

impl Pool {
    /// Maps events. After `until`, or when what they became takes too much memory, no further ones are begun; at least
    /// one is.
    ///
    /// # Errors
    /// No process could be had: nothing is known of the events.
    pub fn map<'e>(
        &self,
        script: &Script,
        mapping: &ScriptMapping,
        events: impl IntoIterator<Item = (&'e [u8], MappingContext<'e>)>,
        until: Option<Instant>,
    ) -> Result<Mapped, Error> {
        let (mut contexts, mut prepared) = (Vec::new(), Vec::new());
        for (payload, context) in events {
            let event = mapping.prepare(payload, &context);
            contexts.push(context_of(&event, &context));
            prepared.push(event);
        }
        let items: Vec<Item<'_>> = prepared
            .iter()
            .enumerate()
            .flat_map(|(context, event)| event.records().map(move |record| Item { context, record }))
            .collect();
        let mut answers = Answers::default();
        if !items.is_empty() {
            answers = self.run(script, &contexts, &items, until)?;
        }
        let done = whole(&prepared, answers.answers.len());
        let mut left = answers.answers.iter();
        let results = prepared.iter().take(done).map(|event| {
            let asked = event.records().count();
            mapping.finish(event, left.by_ref().take(asked).map(answer))
        });
        let results = results.collect();
        let place =
            |(record, line): (usize, String)| (items.get(record).map_or(0, |item| item.context), line);
        Ok(Mapped {
            results,
            logs: answers.logs.into_iter().map(place).collect(),
            peak_memory: answers.peak_memory,
        })
    }
}

/// How many events were answered as a whole, by so many answers.
fn whole(prepared: &[ScriptEvent], mut answers: usize) -> usize {
    let is_whole = |event: &&ScriptEvent| match answers.checked_sub(event.records().count()) {
        Some(rest) => {
            answers = rest;
            true
        }
        None => false,
    };
    prepared.iter().take_while(is_whole).count()
}

fn answer(answer: &Result<Vec<u8>, Failure>) -> ScriptAnswer<'_> {
    match answer {
        Ok(json) => ScriptAnswer::Json(json),
        Err(failure) => ScriptAnswer::Failed {
            code: &failure.code,
            message: &failure.message,
            line: failure.line,
        },
    }
}

/// The time of receipt, and the context as JSON.
fn context_of(event: &ScriptEvent, context: &MappingContext<'_>) -> Vec<u8> {
    let received_ms = context.received_at.timestamp_millis() as f64;
    [&received_ms.to_be_bytes(), event.context.as_slice()].concat()
}
