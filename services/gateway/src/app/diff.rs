//! Differences: a JSON Patch for programs and a line for each change for people.

use json_patch::{PatchOperation, diff};
use serde_json::Value;

/// A value is quoted in a summary up to this length.
const QUOTED: usize = 60;

/// The patch (RFC 6902) from `before` to `after`, and one line for each change.
pub(crate) fn compare(before: &Value, after: &Value) -> (Value, Vec<String>) {
    let patch = diff(before, after);
    let summary = patch
        .0
        .iter()
        .map(|operation| describe(before, operation))
        .collect();
    // A patch consists of pointers and values only, which always have a JSON form.
    (serde_json::to_value(&patch).unwrap_or_default(), summary)
}

fn describe(before: &Value, operation: &PatchOperation) -> String {
    let place = |pointer: &str| {
        let name = pointer
            .trim_start_matches('/')
            .replace('/', ".")
            .replace("~1", "/")
            .replace("~0", "~");
        if name.is_empty() {
            "everything".to_owned()
        } else {
            name
        }
    };
    match operation {
        PatchOperation::Add(add) => format!("{} added: {}", place(add.path.as_str()), quote(&add.value)),
        PatchOperation::Remove(remove) => format!("{} removed", place(remove.path.as_str())),
        PatchOperation::Replace(replace) => {
            let path = replace.path.as_str();
            let old = before.pointer(path).map(quote).unwrap_or_default();
            format!("{} changed from {old} to {}", place(path), quote(&replace.value))
        }
        PatchOperation::Move(moved) => {
            format!(
                "{} moved to {}",
                place(moved.from.as_str()),
                place(moved.path.as_str())
            )
        }
        PatchOperation::Copy(copied) => {
            format!(
                "{} copied to {}",
                place(copied.from.as_str()),
                place(copied.path.as_str())
            )
        }
        PatchOperation::Test(test) => format!("{} kept", place(test.path.as_str())),
    }
}

fn quote(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= QUOTED {
        return text;
    }
    let start: String = text.chars().take(QUOTED - 1).collect();
    format!("{start}…")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_told_to_programs_and_people() {
        let before = json!({"mapping": {"filter": "a", "records": "r"}, "tests": []});
        let after = json!({"mapping": {"filter": "b"}, "tests": [], "runtime": {"parallelism": 4}});
        let (patch, summary) = compare(&before, &after);
        assert_eq!(patch.as_array().unwrap().len(), 3);
        assert!(
            summary.contains(&"mapping.filter changed from \"a\" to \"b\"".to_owned()),
            "{summary:?}"
        );
        assert!(
            summary.contains(&"mapping.records removed".to_owned()),
            "{summary:?}"
        );
        assert!(
            summary.contains(&"runtime added: {\"parallelism\":4}".to_owned()),
            "{summary:?}"
        );
    }

    #[test]
    fn nothing_changed_is_an_empty_patch() {
        let (patch, summary) = compare(&json!({"a": 1}), &json!({"a": 1}));
        assert_eq!((patch, summary.len()), (json!([]), 0));
    }
}
