//! Why a field has no value, and what a report says about it.

use std::cell::RefCell;

use halcyon_domain::{error::InputError, test_run::Warning};

use crate::{
    expr::EvalError,
    limits::{MAX_VALUE_BYTES, MAX_WARNINGS},
};

/// Why a field has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("there is no value")]
    Missing,
    /// What was expected.
    #[error("the value is not {0}")]
    Mistyped(&'static str),
    #[error("the value holds a NUL character, which cannot be stored")]
    Nul,
    #[error("the value is larger than {MAX_VALUE_BYTES} bytes")]
    TooLarge,
    #[error("the value nests too deep")]
    TooDeep,
    #[error("{0}")]
    Failed(#[from] EvalError),
}

impl Fault {
    /// A stable word for programs.
    pub(crate) const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "required",
            Self::Mistyped(_) => "mistyped",
            Self::Nul => "nul_character",
            Self::TooLarge => "value_too_large",
            Self::TooDeep => "too_deep",
            Self::Failed(EvalError::Exhausted) => "limit_exceeded",
            Self::Failed(_) => "expression_failed",
        }
    }

    /// Whether only this field is concerned, so that a default or nothing at all can stand in for it.
    pub(crate) const fn is_mild(&self) -> bool {
        match self {
            Self::Missing | Self::Mistyped(_) => true,
            Self::Failed(error) => !matches!(error, EvalError::Exhausted),
            Self::Nul | Self::TooLarge | Self::TooDeep => false,
        }
    }

    /// The failure of the record, at `pointer` into the mapping; `expression` is what was evaluated there.
    pub(crate) fn at(&self, pointer: &str, expression: &str) -> InputError {
        let detail = if expression.is_empty() {
            self.to_string()
        } else {
            format!("{self} (`{expression}`)")
        };
        InputError::new(pointer, self.code(), detail)
    }
}

/// What a report gathers; nothing in production.
#[derive(Debug, Default)]
pub(crate) struct Notes(Option<RefCell<Vec<Warning>>>);

impl Notes {
    pub(crate) fn for_report() -> Self {
        Self(Some(RefCell::default()))
    }

    /// Adds a warning that is not there yet.
    #[inline]
    pub(crate) fn add(&self, pointer: &str, code: &str, message: impl FnOnce() -> String) {
        let Some(warnings) = &self.0 else { return };
        let mut warnings = warnings.borrow_mut();
        let known = warnings
            .iter()
            .any(|known| known.pointer == pointer && known.code == code);
        if !known && warnings.len() < MAX_WARNINGS {
            warnings.push(Warning {
                pointer: pointer.to_owned(),
                code: code.to_owned(),
                message: message(),
            });
        }
    }

    pub(crate) fn into_warnings(self) -> Vec<Warning> {
        self.0.map(RefCell::into_inner).unwrap_or_default()
    }
}
