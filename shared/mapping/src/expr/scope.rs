//! What an expression can see while it is evaluated, and what it may still spend.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
};

use super::slots::{Record, SlotId, Slots};
use crate::{
    json::Node,
    limits::MAX_STEPS,
    value::{Kind, Val},
};

/// Why an expression gave no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvalError {
    /// The event's steps are used up.
    #[error("the expressions of one event take at most {MAX_STEPS} steps")]
    Exhausted,
    /// A function got an argument that it cannot work with.
    #[error("{function}() cannot take {found} as its argument {position}")]
    Argument {
        /// The function.
        function: &'static str,
        /// Which argument, from 1.
        position: usize,
        /// The type that it got.
        found: &'static str,
    },
    /// A value has no text form within the limits.
    #[error("a value cannot be turned into text: {0}")]
    Text(&'static str),
}

impl EvalError {
    pub(crate) const fn argument(function: &'static str, position: usize, found: Kind) -> Self {
        Self::Argument {
            function,
            position,
            found: found.as_str(),
        }
    }
}

/// The addresses of the payload's nodes that were read; kept for reports only.
#[derive(Debug, Default)]
pub(crate) struct ReadNodes(RefCell<HashSet<usize>>);

/// How many parts of one value are marked: a made value may hold the same part very often.
const MAX_MARKS: u32 = 10_000;

impl ReadNodes {
    fn mark(&self, value: &Val<'_>, left: &mut u32) {
        let Some(rest) = left.checked_sub(1) else { return };
        *left = rest;
        match value {
            Val::Node(node) => {
                self.0.borrow_mut().insert(address(node));
            }
            Val::List(items) => items.iter().for_each(|item| self.mark(item, left)),
            Val::Map(members) => members.iter().for_each(|(_, value)| self.mark(value, left)),
            _ => {}
        }
    }

    pub(crate) fn contains(&self, node: &Node<'_>) -> bool {
        self.0.borrow().contains(&address(node))
    }
}

fn address(node: &Node<'_>) -> usize {
    std::ptr::from_ref(node).addr()
}

/// What one event's expressions have in common.
#[derive(Debug)]
pub(crate) struct Ledger {
    steps: Cell<u64>,
    read: Option<ReadNodes>,
}

impl Ledger {
    pub(crate) fn new(report: bool) -> Self {
        Self {
            steps: Cell::new(MAX_STEPS),
            read: report.then(ReadNodes::default),
        }
    }

    pub(crate) const fn read(&self) -> Option<&ReadNodes> {
        self.read.as_ref()
    }
}

/// The record that is mapped, and the event's ledger.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'n> {
    pub(crate) slots: &'n Slots,
    pub(crate) record: Record<'n>,
    pub(crate) context: &'n Node<'n>,
    pub(crate) ledger: &'n Ledger,
}

impl<'n> Scope<'n> {
    /// The value of a path into the record.
    pub(crate) fn slot(&self, id: SlotId) -> Val<'n> {
        self.slots.get(id, self.record)
    }

    /// Takes `steps` from what the event may spend.
    pub(crate) fn spend(&self, steps: u64) -> Result<(), EvalError> {
        let left = self
            .ledger
            .steps
            .get()
            .checked_sub(steps)
            .ok_or(EvalError::Exhausted)?;
        self.ledger.steps.set(left);
        Ok(())
    }

    /// The text at a path into the record, where that can be had without any detour. Not for reports, which note
    /// what is read on the usual way.
    #[inline]
    pub(crate) fn text_at(&self, id: SlotId) -> Option<&'n str> {
        if self.ledger.read.is_some() {
            return None;
        }
        self.slots.text(id, self.record)
    }

    /// Notes that `value` was used.
    #[inline]
    pub(crate) fn used(&self, value: &Val<'_>) {
        if let Some(read) = &self.ledger.read {
            read.mark(value, &mut { MAX_MARKS });
        }
    }
}
