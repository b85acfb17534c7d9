//! Compiling expressions: limits first, then the parser on a thread of its own with a large stack.

use halcyon_domain::{error::InputError, mapping::Language};

use super::{
    limit,
    scope::{EvalError, Scope},
    slots::{SlotId, SlotTable, Slots},
};
use crate::{jmespath, jsonpath, limits::PARSER_STACK_BYTES, value::Val};

/// What an expression is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// The record: paths become slots.
    Record,
    /// A value that is handed in: an item, the context, a whole payload.
    Given,
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    program: Program,
    /// As it was written.
    text: String,
}

#[derive(Debug)]
enum Program {
    Jmespath(jmespath::Expr),
    Jsonpath(jsonpath::Query),
}

impl Expression {
    /// Its value. `current` is what it is applied to unless that is the record.
    pub(crate) fn evaluate<'n>(&'n self, current: &Val<'n>, scope: &Scope<'n>) -> Result<Val<'n>, EvalError> {
        match &self.program {
            Program::Jmespath(expr) => jmespath::evaluate(expr, current, scope),
            Program::Jsonpath(query) => jsonpath::evaluate(query, current, scope),
        }
    }

    /// The path into the record that it is, if it is nothing else.
    pub(crate) fn plain_path(&self) -> Option<SlotId> {
        match &self.program {
            Program::Jmespath(jmespath::Expr::Slot(id)) => Some(*id),
            Program::Jmespath(_) => None,
            Program::Jsonpath(query) => query.plain_path(),
        }
    }

    /// Whether its value is the list of a query's matches.
    pub(crate) const fn gives_matches(&self) -> bool {
        match &self.program {
            Program::Jmespath(_) => false,
            Program::Jsonpath(query) => !query.is_singular(),
        }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

/// Compiles the expressions of one mapping and gathers what they read of the record and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Compiler {
    slots: SlotTable,
    errors: Vec<InputError>,
}

impl Compiler {
    /// Runs `body` where parsers have the stack that they may need.
    pub(crate) fn on_large_stack<T: Send>(body: impl FnOnce() -> T + Send) -> Result<T, InputError> {
        let failed = || InputError::new("", "internal", "the expressions could not be compiled");
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new()
                .name("mapping-compiler".into())
                .stack_size(PARSER_STACK_BYTES);
            let thread = builder.spawn_scoped(scope, body).map_err(|_| failed())?;
            thread.join().map_err(|_| failed())
        })
    }

    /// Notes that something is wrong.
    pub(crate) fn refuse(&mut self, pointer: &str, code: &str, detail: impl Into<String>) {
        self.errors.push(InputError::new(pointer, code, detail));
    }

    /// Compiles an expression; what is wrong with it is noted.
    pub(crate) fn expression(
        &mut self,
        text: &str,
        language: Language,
        home: Home,
        pointer: &str,
    ) -> Option<Expression> {
        if let Err(error) = limit::check(text, language, pointer) {
            self.errors.push(error);
            return None;
        }
        let slots = (home == Home::Record).then_some(&mut self.slots);
        let program = match language {
            Language::Jmespath => jmespath::compile(text, slots).map(Program::Jmespath),
            Language::Jsonpath => jsonpath::compile(text, slots).map(Program::Jsonpath),
        };
        match program {
            Ok(program) => Some(Expression {
                program,
                text: text.to_owned(),
            }),
            Err((code, detail)) => {
                self.refuse(pointer, code, detail);
                None
            }
        }
    }

    /// What was read of the record, or what was wrong.
    pub(crate) fn finish(self) -> Result<Slots, Vec<InputError>> {
        if self.errors.is_empty() {
            Ok(self.slots.finish())
        } else {
            Err(self.errors)
        }
    }
}
