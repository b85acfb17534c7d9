//! Evaluation: a list of nodes goes through the query's segments.

use super::{Query, Segment, Selector, filter};
use crate::{
    expr::{EvalError, Scope},
    jmespath::slice_places,
    value::Val,
};

/// The value of a query: of one for a single place the value there, or null; else the list of matches, or null
/// if there are none.
pub(crate) fn evaluate<'n>(
    query: &'n Query,
    current: &Val<'n>,
    scope: &Scope<'n>,
) -> Result<Val<'n>, EvalError> {
    let start = query
        .start
        .map_or_else(|| current.clone(), |slot| scope.slot(slot));
    if query.segments.is_empty() {
        return Ok(start);
    }
    let root = query
        .root
        .map_or_else(|| current.clone(), |slot| scope.slot(slot));
    let walk = Walk { root: &root, scope };
    let mut found = walk.all(&query.segments, start)?;
    if query.singular {
        return Ok(found.pop().unwrap_or(Val::Null));
    }
    Ok(if found.is_empty() {
        Val::Null
    } else {
        Val::list(found)
    })
}

/// What all parts of one evaluation share.
pub(super) struct Walk<'w, 'n> {
    /// What `$` stands for.
    pub(super) root: &'w Val<'n>,
    pub(super) scope: &'w Scope<'n>,
}

impl<'n> Walk<'_, 'n> {
    /// The nodes that `segments` lead to from `start`.
    pub(super) fn all(&self, segments: &'n [Segment], start: Val<'n>) -> Result<Vec<Val<'n>>, EvalError> {
        let mut nodes = vec![start];
        for segment in segments {
            let mut next = Vec::new();
            for node in &nodes {
                self.segment(segment, node, &mut next)?;
            }
            nodes = next;
        }
        Ok(nodes)
    }

    fn segment(
        &self,
        segment: &'n Segment,
        node: &Val<'n>,
        found: &mut Vec<Val<'n>>,
    ) -> Result<(), EvalError> {
        self.scope.spend(1)?;
        for selector in &segment.selectors {
            self.select(selector, node, found)?;
        }
        if segment.descend {
            for child in children(node) {
                self.segment(segment, &child, found)?;
            }
        }
        Ok(())
    }

    fn select(
        &self,
        selector: &'n Selector,
        node: &Val<'n>,
        found: &mut Vec<Val<'n>>,
    ) -> Result<(), EvalError> {
        match selector {
            Selector::Name(name) => found.extend(node.find(name)),
            Selector::Index(index) => found.extend(node.place(*index)),
            Selector::Wildcard => {
                let before = found.len();
                found.extend(children(node));
                self.scope.spend((found.len() - before) as u64)?;
            }
            Selector::Slice { step: 0, .. } => {}
            Selector::Slice { start, end, step } => {
                if let Some(length) = node.list_len() {
                    self.scope.spend(length as u64)?;
                    found.extend(slice_places(length, *start, *end, *step).map(|place| node.at(place)));
                }
            }
            Selector::Filter(filter) => {
                for child in children(node) {
                    if filter::holds(filter, &child, self)? {
                        found.push(child);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The items of a list, the values of an object.
fn children<'v, 'n>(node: &'v Val<'n>) -> impl Iterator<Item = Val<'n>> + use<'v, 'n> {
    let items = node.items().into_iter().flatten();
    items.chain(node.members().into_iter().flatten().map(|(_, value)| value))
}
