//! A JSON document: one row, or the items of a list in it, each with the very bytes that it has in the file.

use std::io::Read;

use serde_json::value::RawValue;

use super::{Halt, Out, lines::MARK};
use crate::json::{Items, items, member};

/// The longest document: it is in memory as a whole.
const LONGEST: u64 = 128 * 1024 * 1024;
/// The most items of a document: the places of all of them are in memory.
const ITEMS: usize = 1_000_000;

/// The rows at `path`, such as `Records[]`; without a path, the document.
pub(super) fn rows(path: Option<&str>, input: impl Read, out: &mut Out<'_>) -> Result<(), Halt> {
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(Halt::Broken(
            "a JSON document may have at most 128 MiB".to_owned(),
        ));
    }
    let document = bytes.strip_prefix(MARK).unwrap_or(&bytes).trim_ascii();
    if document.is_empty() {
        return Ok(());
    }
    let Ok(whole) = serde_json::from_slice::<&RawValue>(document) else {
        return out.push_excerpt(document);
    };
    let Some(path) = path else {
        return out.push(whole.get().to_owned());
    };
    let mut found = vec![whole.get()];
    for step in steps(path) {
        let Some(next) = take(&found, step)? else {
            // Another document than was expected is for a person to see.
            return out.push(whole.get().to_owned());
        };
        found = next;
    }
    for row in found {
        if out.is_past() {
            out.pass(1);
        } else {
            out.push(row.to_owned())?;
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Items,
}

/// The steps of a path. The schema has seen to its form.
fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    path.split('.').flat_map(|part| {
        let (name, items) = match part.strip_suffix("[]") {
            Some(name) => (name, true),
            None => (part, false),
        };
        let field = (!name.is_empty()).then_some(Step::Field(name));
        field.into_iter().chain(items.then_some(Step::Items))
    })
}

/// What is one step further; `None` if there is no such step from one of the values.
fn take<'a>(values: &[&'a str], step: Step<'_>) -> Result<Option<Vec<&'a str>>, Halt> {
    let mut found = Vec::new();
    for value in values {
        match step {
            Step::Field(name) => match member(value, name) {
                Some(field) => found.push(field),
                None => return Ok(None),
            },
            Step::Items => match items(value, ITEMS - found.len()) {
                Some(Items::Listed(list)) => found.extend(list),
                Some(Items::TooMany) => {
                    let why = format!("a JSON document may have at most {ITEMS} items; write them as NDJSON");
                    return Err(Halt::Broken(why));
                }
                None => return Ok(None),
            },
        }
    }
    Ok(Some(found))
}
