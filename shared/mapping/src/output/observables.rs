//! Observables: a list of `{type, value}`.

use halcyon_domain::ontology::Observable;

use super::fault::Fault;
use crate::{
    limits::MAX_VALUE_BYTES,
    value::{Val, to_text},
};

/// Reads a list of objects with `type` and `value`, or one such object. What has no value is left out.
pub(crate) fn of_value(value: &Val<'_>) -> Result<Vec<Observable>, Fault> {
    let mut observables = Vec::new();
    let mut left = MAX_VALUE_BYTES;
    let mut take = |item: &Val<'_>| {
        if item.is_null() {
            return Ok(());
        }
        let (kind, value) = (item.get("type"), item.get("value"));
        if value.is_null() || value.as_text() == Some("") {
            return Ok(());
        }
        let fits = || Fault::Mistyped("a list of {type, value}");
        let observable = Observable {
            kind: kind
                .as_text()
                .filter(|kind| !kind.is_empty())
                .ok_or_else(fits)?
                .to_owned(),
            value: to_text(&value).ok_or_else(fits)?.into_owned(),
        };
        let size = observable.kind.len() + observable.value.len() + 1;
        left = left.checked_sub(size).ok_or(Fault::TooLarge)?;
        if observable.kind.contains('\0') || observable.value.contains('\0') {
            return Err(Fault::Nul);
        }
        if !observables.contains(&observable) {
            observables.push(observable);
        }
        Ok(())
    };
    match value.items() {
        Some(items) => items.into_iter().try_for_each(|item| take(&item))?,
        None => take(value)?,
    }
    Ok(observables)
}
