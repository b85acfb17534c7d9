//! Filters: conditions on a node (RFC 9535, 2.3.5).

use std::cmp::Ordering;

use super::{Filter, Operand, Relative, eval::Walk};
use crate::{expr::EvalError, jmespath::Comparator, value::Val};

/// Whether `filter` holds for `current`.
pub(super) fn holds<'n>(
    filter: &'n Filter,
    current: &Val<'n>,
    walk: &Walk<'_, 'n>,
) -> Result<bool, EvalError> {
    walk.scope.spend(1)?;
    match filter {
        Filter::Any(filters) => {
            for filter in filters {
                if holds(filter, current, walk)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Filter::All(filters) => {
            for filter in filters {
                if !holds(filter, current, walk)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Filter::Not(inner) => holds(inner, current, walk).map(|verdict| !verdict),
        Filter::Exists(query) => nodes(query, current, walk).map(|found| !found.is_empty()),
        Filter::Compare(comparator, left, right) => {
            let (left, right) = (operand(left, current, walk)?, operand(right, current, walk)?);
            compare(*comparator, left.as_ref(), right.as_ref(), walk)
        }
        Filter::Matches(subject, regex) => {
            let subject = operand(subject, current, walk)?;
            let Some(text) = subject.as_ref().and_then(Val::as_text) else {
                return Ok(false);
            };
            walk.scope.spend(text.len() as u64 / 8)?;
            Ok(regex.is_match(text))
        }
    }
}

fn nodes<'n>(query: &'n Relative, current: &Val<'n>, walk: &Walk<'_, 'n>) -> Result<Vec<Val<'n>>, EvalError> {
    let start = if query.absolute { walk.root } else { current };
    walk.all(&query.segments, start.clone())
}

/// An operand's value; nothing is something else than null.
fn operand<'n>(
    operand: &'n Operand,
    current: &Val<'n>,
    walk: &Walk<'_, 'n>,
) -> Result<Option<Val<'n>>, EvalError> {
    let value = match operand {
        Operand::Literal(node) => Some(Val::Node(node)),
        Operand::Singular(query) => nodes(query, current, walk)?.pop(),
        Operand::Length(inner) => {
            let inner = self::operand(inner, current, walk)?;
            inner
                .and_then(|value| length(&value))
                .map(|length| Val::Number(length as f64))
        }
        Operand::Count(query) => Some(Val::Number(nodes(query, current, walk)?.len() as f64)),
        Operand::Value(query) => {
            let mut found = nodes(query, current, walk)?;
            if found.len() == 1 { found.pop() } else { None }
        }
    };
    if let Some(value) = &value {
        walk.scope.used(value);
    }
    Ok(value)
}

fn length(value: &Val<'_>) -> Option<usize> {
    let members = || value.members().map(|members| members.size_hint().0);
    value
        .as_text()
        .map(|text| text.chars().count())
        .or_else(|| value.list_len())
        .or_else(members)
}

fn compare<'n>(
    comparator: Comparator,
    left: Option<&Val<'n>>,
    right: Option<&Val<'n>>,
    walk: &Walk<'_, 'n>,
) -> Result<bool, EvalError> {
    let equal = match (left, right) {
        (None, None) => true,
        (Some(left), Some(right)) => left.equals(right, walk.scope)?,
        _ => false,
    };
    let order = left.zip(right).and_then(|(left, right)| left.order(right));
    Ok(match comparator {
        Comparator::Equal => equal,
        Comparator::NotEqual => !equal,
        Comparator::Less => order == Some(Ordering::Less),
        Comparator::LessOrEqual => equal || order == Some(Ordering::Less),
        Comparator::Greater => order == Some(Ordering::Greater),
        Comparator::GreaterOrEqual => equal || order == Some(Ordering::Greater),
    })
}
