//! One field: from its specification to a typed value.

use std::collections::HashMap;

use halcyon_domain::{
    clock::Timestamp,
    mapping::Cast,
    ontology::{AlertStatus, Severity},
};
use serde_json::Value;

use super::{cast, fault::Fault, fault::Notes, time, words};
use crate::{
    expr::{EvalError, Expression, Scope},
    json::Node,
    limits::MAX_VALUE_BYTES,
    value::{Val, to_json, to_text},
};

/// What fields are evaluated in.
pub(crate) struct Cx<'n> {
    pub(crate) scope: Scope<'n>,
    /// The current item of `for_each`.
    pub(crate) item: Val<'n>,
    pub(crate) notes: &'n Notes,
}

/// What an expression is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Record,
    Item,
    Context,
}

/// An expression and what it is applied to.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) expression: Expression,
    pub(crate) place: Place,
}

impl Located {
    pub(crate) fn evaluate<'n>(&'n self, cx: &Cx<'n>) -> Result<Val<'n>, EvalError> {
        match self.place {
            Place::Record => self.expression.evaluate(&Val::Null, &cx.scope),
            Place::Item => self.expression.evaluate(&cx.item, &cx.scope),
            Place::Context => self.expression.evaluate(&Val::Node(cx.scope.context), &cx.scope),
        }
    }
}

/// Where a value comes from.
#[derive(Debug)]
pub(crate) enum Origin {
    Expression(Located),
    Constant(Node<'static>),
}

impl Origin {
    fn evaluate<'n>(&'n self, cx: &Cx<'n>) -> Result<Val<'n>, EvalError> {
        match self {
            Self::Expression(located) => located.evaluate(cx),
            Self::Constant(node) => Ok(Val::Node(node)),
        }
    }

    /// Of a query's matches the only one, if there is only one.
    fn single<'n>(&self, value: Val<'n>) -> Val<'n> {
        match self {
            Self::Expression(located)
                if located.expression.gives_matches() && value.list_len() == Some(1) =>
            {
                value.at(0)
            }
            _ => value,
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Expression(located) => located.expression.text(),
            Self::Constant(_) => "",
        }
    }
}

/// A compiled field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) origin: Origin,
    pub(crate) lookup: Option<HashMap<String, Node<'static>>>,
    pub(crate) default: Option<Origin>,
    pub(crate) cast: Option<Cast>,
    /// Where it is in the mapping.
    pub(crate) pointer: String,
}

impl Field {
    /// The text that a field without lookup and cast takes from the record or is: what most fields are, had without
    /// the usual way's detours. Nothing where that way must be taken.
    #[inline]
    fn plain_text<'n>(&'n self, cx: &Cx<'n>) -> Option<&'n str> {
        if self.lookup.is_some() || self.cast.is_some() {
            return None;
        }
        match &self.origin {
            Origin::Expression(located) => cx.scope.text_at(
                located
                    .expression
                    .plain_path()
                    .filter(|_| located.place == Place::Record)?,
            ),
            Origin::Constant(Node::Text(text)) => Some(text),
            Origin::Constant(_) => None,
        }
    }

    /// The field's value through `read`: a value that is there and fits, else the default. Nothing if there is
    /// neither. `single`: of a query's only match the match itself is read.
    fn value<'n, T>(
        &'n self,
        cx: &Cx<'n>,
        single: bool,
        read: impl Fn(&Self, &Val<'n>, &Cx<'n>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        let mut problem = None;
        let first = self.primary(cx).and_then(|value| {
            let value = if single { self.origin.single(value) } else { value };
            self.attempt(&value, cx, &read)
        });
        match first {
            Ok(Some(value)) => return Ok(Some(value)),
            Ok(None) => {}
            Err(fault) if fault.is_mild() => problem = Some(fault),
            Err(fault) => return Err(fault),
        }
        self.note(problem.as_ref(), cx);
        let Some(default) = &self.default else {
            return problem.map_or(Ok(None), Err);
        };
        let value = default.evaluate(cx)?;
        let value = if single { default.single(value) } else { value };
        match self.attempt(&value, cx, &read) {
            Ok(Some(value)) => Ok(Some(value)),
            Ok(None) => problem.map_or(Ok(None), Err),
            Err(fault) => Err(fault),
        }
    }

    fn attempt<'n, T>(
        &self,
        value: &Val<'n>,
        cx: &Cx<'n>,
        read: impl Fn(&Self, &Val<'n>, &Cx<'n>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        cx.scope.used(value);
        if value.is_null() {
            return Ok(None);
        }
        match read(self, value, cx) {
            Ok(value) => Ok(Some(value)),
            Err(Fault::Missing) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// What the expression gives, after the lookup.
    fn primary<'n>(&'n self, cx: &Cx<'n>) -> Result<Val<'n>, Fault> {
        let mut value = self.origin.evaluate(cx)?;
        let Some(lookup) = &self.lookup else {
            return Ok(value);
        };
        cx.scope.used(&value);
        value = self.origin.single(value);
        Ok(match to_text(&value).and_then(|text| lookup.get(text.as_ref())) {
            Some(node) => Val::Node(node),
            None if self.default.is_some() => Val::Null,
            None => value,
        })
    }

    fn note(&self, problem: Option<&Fault>, cx: &Cx<'_>) {
        let outcome = if self.default.is_some() {
            "the default is used"
        } else {
            "the field has no value"
        };
        match problem {
            None => cx.notes.add(&self.pointer, "missing", || {
                format!("`{}` gave nothing: {outcome}", self.origin.text())
            }),
            Some(fault) => cx.notes.add(&self.pointer, "mistyped", || {
                format!("`{}`: {fault}; {outcome}", self.origin.text())
            }),
        }
    }

    /// The failure of the record because of this field.
    pub(crate) fn failure(&self, fault: &Fault) -> halcyon_domain::error::InputError {
        fault.at(&self.pointer, self.origin.text())
    }

    /// As text.
    pub(crate) fn text<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<String>, Fault> {
        if let Some(text) = self.plain_text(cx) {
            return checked(text, cx).map(Some);
        }
        self.value(cx, true, |field, value, cx| field.read_text(value, cx))
    }

    /// As text; empty text is no value.
    pub(crate) fn filled_text<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<String>, Fault> {
        if let Some(text) = self.plain_text(cx).filter(|text| !text.is_empty()) {
            return checked(text, cx).map(Some);
        }
        self.value(cx, true, |field, value, cx| {
            let text = field.read_text(value, cx)?;
            if text.is_empty() {
                Err(Fault::Missing)
            } else {
                Ok(text)
            }
        })
    }

    fn read_text(&self, value: &Val<'_>, cx: &Cx<'_>) -> Result<String, Fault> {
        if let Some(cast) = self.cast {
            return match cast::apply(cast, value)? {
                Value::String(text) => checked(&text, cx),
                other => Ok(other.to_string()),
            };
        }
        let text = to_text(value).ok_or(Fault::Mistyped("text"))?;
        if value.as_text().is_none() {
            cx.notes.add(&self.pointer, "cast", || {
                format!("a {} was turned into text", value.kind().as_str())
            });
        }
        checked(&text, cx)
    }

    /// As a point in time.
    pub(crate) fn time<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<Timestamp>, Fault> {
        if let Some(time) = self.plain_text(cx).and_then(time::parse) {
            return Ok(Some(time));
        }
        self.value(cx, true, |_, value, _| time::of_value(value))
    }

    /// As a severity; text that names none is `unknown`.
    pub(crate) fn severity<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<Severity>, Fault> {
        if let Some(severity) = self.plain_text(cx).and_then(words::severity) {
            return Ok(Some(severity));
        }
        self.value(cx, true, |_, value, _| {
            value
                .as_text()
                .and_then(words::severity)
                .ok_or(Fault::Mistyped("a severity"))
        })
    }

    /// As an alert's status.
    pub(crate) fn status<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<AlertStatus>, Fault> {
        self.value(cx, true, |_, value, _| {
            value
                .as_text()
                .and_then(words::status)
                .ok_or(Fault::Mistyped("the status of an alert"))
        })
    }

    /// As JSON.
    pub(crate) fn json<'n>(&'n self, cx: &Cx<'n>) -> Result<Option<Value>, Fault> {
        if let Some(text) = self.plain_text(cx) {
            return checked(text, cx).map(|text| Some(Value::String(text)));
        }
        self.value(cx, self.cast.is_some(), |field, value, cx| {
            if let Some(cast) = field.cast {
                let value = cast::apply(cast, value)?;
                return match &value {
                    Value::String(text) => checked(text, cx).map(Value::String),
                    _ => Ok(value),
                };
            }
            let value = to_json(value)?;
            cx.scope.spend(weight(&value) / 8)?;
            Ok(value)
        })
    }

    /// Through a reader of the caller's own.
    pub(crate) fn with<'n, T>(
        &'n self,
        cx: &Cx<'n>,
        read: impl Fn(&Val<'n>) -> Result<T, Fault>,
    ) -> Result<Option<T>, Fault> {
        self.value(cx, false, |_, value, _| read(value))
    }
}

/// Text that may go out.
fn checked(text: &str, cx: &Cx<'_>) -> Result<String, Fault> {
    if text.len() > MAX_VALUE_BYTES {
        return Err(Fault::TooLarge);
    }
    cx.scope.spend(text.len() as u64 / 8)?;
    if text.as_bytes().contains(&0) {
        Err(Fault::Nul)
    } else {
        Ok(text.to_owned())
    }
}

/// About how many bytes a value takes.
fn weight(value: &Value) -> u64 {
    match value {
        Value::String(text) => text.len() as u64,
        Value::Array(items) => items.iter().map(|item| 8 + weight(item)).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| 8 + name.len() as u64 + weight(value))
            .sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 8,
    }
}
