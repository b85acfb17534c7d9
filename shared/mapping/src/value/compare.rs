//! When two values are equal, and which of two comes first.

use std::cmp::Ordering;

use super::{Kind, Val};
use crate::expr::{EvalError, Scope};

impl Val<'_> {
    /// Whether both are the same JSON value. Numbers are compared as numbers, those beyond 64 bits by digits.
    pub(crate) fn equals(&self, other: &Self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        scope.spend(1)?;
        let kind = self.kind();
        if kind != other.kind() {
            return Ok(false);
        }
        match kind {
            Kind::Null => Ok(true),
            Kind::Bool => Ok(self.as_bool() == other.as_bool()),
            Kind::Text => Ok(self.as_text() == other.as_text()),
            Kind::Number => Ok(numbers_equal(self, other)),
            Kind::List => self.lists_equal(other, scope),
            Kind::Map => self.maps_equal(other, scope),
            Kind::Expr => Ok(false),
        }
    }

    fn lists_equal(&self, other: &Self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        let (Some(ours), Some(theirs)) = (self.items(), other.items()) else {
            return Ok(false);
        };
        if self.list_len() != other.list_len() {
            return Ok(false);
        }
        for (ours, theirs) in ours.zip(theirs) {
            if !ours.equals(&theirs, scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn maps_equal(&self, other: &Self, scope: &Scope<'_>) -> Result<bool, EvalError> {
        let (Some(ours), Some(theirs)) = (self.members(), other.members()) else {
            return Ok(false);
        };
        if ours.size_hint() != theirs.size_hint() {
            return Ok(false);
        }
        let (count, _) = ours.size_hint();
        for (name, value) in ours {
            // Finding the other's member is a walk over its members.
            scope.spend(count as u64)?;
            if !value.equals(&other.get(name), scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The order of two numbers or two texts; nothing for all else.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self.as_text(), other.as_text()) {
            (Some(ours), Some(theirs)) => Some(ours.cmp(theirs)),
            (None, None) => self.as_number()?.partial_cmp(&other.as_number()?),
            _ => None,
        }
    }
}

fn numbers_equal(one: &Val<'_>, other: &Val<'_>) -> bool {
    let (Some(first), Some(second)) = (one.number_text(), other.number_text()) else {
        return false;
    };
    if first == second {
        return true;
    }
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if digits(&first) && digits(&second) {
        return false;
    }
    one.as_number() == other.as_number()
}
