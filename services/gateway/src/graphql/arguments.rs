//! Arguments that many operations have. The parts of a type here are the arguments of a field.

use halcyon_domain::id::DatasourceId;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::IfMatch;

/// Which object.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Of<I> {
    /// The object's identifier.
    pub(super) id: I,
}

/// What to make.
#[derive(Deserialize, JsonSchema)]
pub(super) struct New<T> {
    /// What to make.
    pub(super) input: T,
}

/// Which object, as the caller knows it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct At<I> {
    /// The object's identifier.
    pub(super) id: I,
    /// The `revision` of the object as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which object, as the caller knows it, and what to change of it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Change<I, T> {
    /// The object's identifier.
    pub(super) id: I,
    /// What to change.
    pub(super) input: T,
    /// The `revision` of the object as the caller knows it: if it has another one, nothing is done.
    #[serde(default)]
    if_match: Option<i64>,
}

/// Which object, and what about it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct About<I, T> {
    /// The object's identifier.
    pub(super) id: I,
    /// The details.
    pub(super) input: T,
}

/// Which datasource.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Whose {
    /// The datasource.
    pub(super) datasource: DatasourceId,
}

/// Which datasource, and what of it.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Within<L> {
    /// The datasource.
    pub(super) datasource: DatasourceId,
    #[serde(flatten)]
    pub(super) list: L,
}

/// Nothing.
#[derive(Deserialize, JsonSchema)]
pub(super) struct Nothing {}

/// The precondition that an argument stands for.
pub(super) fn precondition(if_match: Option<i64>) -> IfMatch {
    if_match.map_or(IfMatch::Any, IfMatch::Revision)
}

impl<I> At<I> {
    /// The precondition.
    pub(super) fn if_match(&self) -> IfMatch {
        precondition(self.if_match)
    }
}

impl<I, T> Change<I, T> {
    /// The precondition.
    pub(super) fn if_match(&self) -> IfMatch {
        precondition(self.if_match)
    }
}

/// What an operation gives that has nothing to say: that it is done.
pub(super) const fn done((): ()) -> bool {
    true
}
