//! Evaluation.

use std::{cmp::Ordering, rc::Rc};

use super::{Comparator, Expr, Step, functions};
use crate::{
    expr::{EvalError, Scope},
    value::Val,
};

/// The value of `expr` where the current value is `current`.
pub(crate) fn evaluate<'n>(
    expr: &'n Expr,
    current: &Val<'n>,
    scope: &Scope<'n>,
) -> Result<Val<'n>, EvalError> {
    scope.spend(1)?;
    let eval = |expr: &'n Expr| evaluate(expr, current, scope);
    Ok(match expr {
        Expr::Current => current.clone(),
        Expr::Slot(id) => scope.slot(*id),
        Expr::Path(steps) => walk(steps, current),
        Expr::Literal(node) => Val::Node(node),
        Expr::Chain(parts) => {
            let mut value = current.clone();
            for part in parts {
                value = evaluate(part, &value, scope)?;
            }
            value
        }
        Expr::Slice { start, stop, step } => slice(current, *start, *stop, *step, scope)?,
        Expr::Or(left, right) => {
            let left = eval(left)?;
            scope.used(&left);
            if left.truthy() { left } else { eval(right)? }
        }
        Expr::And(left, right) => {
            let left = eval(left)?;
            scope.used(&left);
            if left.truthy() { eval(right)? } else { left }
        }
        Expr::Not(inner) => {
            let inner = eval(inner)?;
            scope.used(&inner);
            Val::Bool(!inner.truthy())
        }
        Expr::Compare(comparator, left, right) => compare(*comparator, &eval(left)?, &eval(right)?, scope)?,
        Expr::Values(inner) => match eval(inner)?.members() {
            Some(members) => Val::list(members.map(|(_, value)| value).collect()),
            None => Val::Null,
        },
        Expr::Flatten(inner) => flatten(&eval(inner)?, scope)?,
        Expr::Project(left, right) => project(&eval(left)?, right, scope)?,
        Expr::Condition(predicate, then) => {
            let verdict = eval(predicate)?;
            scope.used(&verdict);
            if verdict.truthy() { eval(then)? } else { Val::Null }
        }
        Expr::List { relative: true, .. } | Expr::Map { relative: true, .. } if current.is_null() => {
            Val::Null
        }
        Expr::List { elements, .. } => Val::list(elements.iter().map(eval).collect::<Result<_, _>>()?),
        Expr::Map { members, .. } => {
            let member = |(name, expr): &'n (String, Expr)| Ok((name.as_str(), eval(expr)?));
            Val::Map(Rc::new(
                members.iter().map(member).collect::<Result<_, EvalError>>()?,
            ))
        }
        Expr::Call(function, args) => {
            let args = args.iter().map(eval).collect::<Result<Vec<_>, _>>()?;
            functions::call(*function, &args, scope)?
        }
        Expr::Quote(inner) => Val::Expr(inner),
    })
}

fn walk<'n>(steps: &[Step], from: &Val<'n>) -> Val<'n> {
    steps.iter().fold(from.clone(), |value, step| match step {
        Step::Key(key) => value.get(key),
        Step::Index(index) => value.at(*index),
    })
}

fn project<'n>(list: &Val<'n>, right: &'n Expr, scope: &Scope<'n>) -> Result<Val<'n>, EvalError> {
    let Some(items) = list.items() else {
        return Ok(Val::Null);
    };
    let mut results = Vec::new();
    for item in items {
        let value = evaluate(right, &item, scope)?;
        if !value.is_null() {
            results.push(value);
        }
    }
    Ok(Val::list(results))
}

fn flatten<'n>(list: &Val<'n>, scope: &Scope<'n>) -> Result<Val<'n>, EvalError> {
    let Some(items) = list.items() else {
        return Ok(Val::Null);
    };
    let mut flat = Vec::new();
    for item in items {
        scope.spend(1 + item.list_len().unwrap_or(0) as u64)?;
        match item.items() {
            Some(inner) => flat.extend(inner),
            None => flat.push(item),
        }
    }
    Ok(Val::list(flat))
}

fn compare<'n>(
    comparator: Comparator,
    left: &Val<'n>,
    right: &Val<'n>,
    scope: &Scope<'n>,
) -> Result<Val<'n>, EvalError> {
    scope.used(left);
    scope.used(right);
    match comparator {
        Comparator::Equal => return Ok(Val::Bool(left.equals(right, scope)?)),
        Comparator::NotEqual => return Ok(Val::Bool(!left.equals(right, scope)?)),
        _ => {}
    }
    // Only numbers have an order (JMESPath, "Ordering Operators").
    let order = left
        .as_number()
        .zip(right.as_number())
        .and_then(|(left, right)| left.partial_cmp(&right));
    Ok(order.map_or(Val::Null, |order| {
        Val::Bool(match comparator {
            Comparator::Less => order == Ordering::Less,
            Comparator::LessOrEqual => order != Ordering::Greater,
            Comparator::Greater => order == Ordering::Greater,
            _ => order != Ordering::Less,
        })
    }))
}

fn slice<'n>(
    list: &Val<'n>,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
    scope: &Scope<'n>,
) -> Result<Val<'n>, EvalError> {
    let Some(length) = list.list_len() else {
        return Ok(Val::Null);
    };
    scope.spend(length as u64)?;
    let places = slice_places(length, start, stop, step);
    Ok(Val::list(places.map(|place| list.at(place)).collect()))
}

/// The places that a slice takes of a list (JMESPath, "Slices"; RFC 9535, 2.3.4 agrees).
pub(crate) fn slice_places(
    length: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
) -> impl Iterator<Item = i64> {
    let length = length as i64;
    let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clamp = |place: i64| {
        let place = if place < 0 {
            place.saturating_add(length)
        } else {
            place
        };
        place.clamp(lowest, highest)
    };
    let from = start.map_or(if step < 0 { highest } else { lowest }, clamp);
    let to = stop.map_or(if step < 0 { lowest } else { highest }, clamp);
    std::iter::successors(Some(from), move |place| place.checked_add(step))
        .take_while(move |place| if step < 0 { *place > to } else { *place < to })
}
