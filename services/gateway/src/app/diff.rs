//! Differences: a JSON Patch for programs and a line for each change for people.

use halcyon_domain::config::SECRET_KEY;
use json_patch::diff;
use serde_json::{Map, Value};

/// A value is quoted in a summary up to this length.
const QUOTED: usize = 60;
/// Longer lists are compared place by place: what is best kept of them takes too long to find.
const ALIGNED: usize = 500;
/// A summary has at most so many lines.
const LINES: usize = 500;

/// The patch (RFC 6902) from `before` to `after`, and one line for each change.
pub(crate) fn compare(before: &Value, after: &Value) -> (Value, Vec<String>) {
    let mut lines = Vec::new();
    walk(before, after, "", &mut lines);
    if lines.len() > LINES {
        let more = lines.len() - LINES;
        lines.truncate(LINES);
        lines.push(format!("and {more} more"));
    }
    // A patch consists of pointers and values only, which always have a JSON form.
    let patch = serde_json::to_value(diff(before, after)).unwrap_or_default();
    (patch, lines)
}

fn walk(before: &Value, after: &Value, place: &str, lines: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(old), Value::Object(new)) if secret(before).or(secret(after)).is_none() => {
            walk_object(old, new, place, lines);
        }
        (Value::Array(old), Value::Array(new)) => walk_list(old, new, place, lines),
        _ => {
            let (old, new) = (quote(place, before), quote(place, after));
            lines.push(format!("{} changed from {old} to {new}", named(place)));
        }
    }
}

fn walk_object(old: &Map<String, Value>, new: &Map<String, Value>, place: &str, lines: &mut Vec<String>) {
    let below = |name: &str| {
        if place.is_empty() {
            name.to_owned()
        } else {
            format!("{place}.{name}")
        }
    };
    for (name, before) in old {
        match new.get(name) {
            Some(after) => walk(before, after, &below(name), lines),
            None => lines.push(format!("{} removed", below(name))),
        }
    }
    for (name, after) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        let place = below(name);
        lines.push(format!("{place} added: {}", quote(&place, after)));
    }
}

/// Lists are compared by what they hold, so that one more at the beginning is told as one more.
fn walk_list(old: &[Value], new: &[Value], place: &str, lines: &mut Vec<String>) {
    let (mut gone, mut come) = unmatched(old, new);
    let told = lines.len();
    // What is called the same, or stands at the same place among the rest, is the same thing changed.
    let mut pairs = pair(&mut gone, &mut come, |a, b| {
        label(&old[a]).is_some() && label(&old[a]) == label(&new[b])
    });
    pairs.extend(pair(&mut gone, &mut come, |a, b| {
        let rest = label(&old[a]).is_none() && label(&new[b]).is_none();
        rest && (is_container(&old[a]) && is_container(&new[b])) && kind(&old[a]) == kind(&new[b])
    }));
    pairs.sort_by_key(|(_, b)| *b);
    for (a, b) in pairs {
        walk(&old[a], &new[b], &element(place, b, &new[b]), lines);
    }
    for a in gone {
        lines.push(match is_container(&old[a]) {
            true => format!("{} removed", element(place, a, &old[a])),
            false => format!("{}: removed {}", named(place), quote(place, &old[a])),
        });
    }
    for b in come {
        lines.push(match is_container(&new[b]) {
            true => format!("{} added: {}", element(place, b, &new[b]), quote(place, &new[b])),
            false => format!("{}: added {}", named(place), quote(place, &new[b])),
        });
    }
    if lines.len() == told {
        lines.push(format!("{} in another order", named(place)));
    }
}

/// The places of what is in one list only, in their order, by a longest common subsequence; what was only moved is
/// in neither.
fn unmatched(old: &[Value], new: &[Value]) -> (Vec<usize>, Vec<usize>) {
    let (mut gone, mut come) = if old.len().max(new.len()) > ALIGNED {
        let same = |index: &usize| old.get(*index) == new.get(*index);
        (
            (0..old.len()).filter(|index| !same(index)).collect(),
            (0..new.len()).filter(|index| !same(index)).collect(),
        )
    } else {
        outside_of_common(old, new)
    };
    let _moved = pair(&mut gone, &mut come, |a, b| old[a] == new[b]);
    (gone, come)
}

fn outside_of_common(old: &[Value], new: &[Value]) -> (Vec<usize>, Vec<usize>) {
    let mut longest = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            longest[a][b] = if old[a] == new[b] {
                longest[a + 1][b + 1] + 1
            } else {
                longest[a + 1][b].max(longest[a][b + 1])
            };
        }
    }
    let (mut gone, mut come) = (Vec::new(), Vec::new());
    let (mut a, mut b) = (0, 0);
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            (a, b) = (a + 1, b + 1);
        } else if b == new.len() || (a < old.len() && longest[a + 1][b] >= longest[a][b + 1]) {
            gone.push(a);
            a += 1;
        } else {
            come.push(b);
            b += 1;
        }
    }
    (gone, come)
}

/// Takes pairs out of the two, each with the first that fits.
fn pair(
    gone: &mut Vec<usize>,
    come: &mut Vec<usize>,
    fits: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    gone.retain(|a| match come.iter().position(|b| fits(*a, *b)) {
        Some(place) => {
            pairs.push((*a, come.remove(place)));
            false
        }
        None => true,
    });
    pairs
}

/// What a thing in a list is called.
fn label(value: &Value) -> Option<&str> {
    value.get("name").and_then(Value::as_str)
}

fn kind(value: &Value) -> Option<&str> {
    value.get("kind").and_then(Value::as_str)
}

const fn is_container(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

fn element(place: &str, index: usize, value: &Value) -> String {
    match (label(value), kind(value)) {
        (Some(name), _) => format!("{place}[{}]", quote("", &Value::from(name))),
        (None, Some(kind)) => format!("{place}[{index}: {kind}]"),
        (None, None) => format!("{place}[{index}]"),
    }
}

const fn named(place: &str) -> &str {
    if place.is_empty() { "everything" } else { place }
}

/// The name of the secret that a value refers to.
fn secret(value: &Value) -> Option<&str> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.get(SECRET_KEY)?.as_str()
}

/// Whether a place is called as one where a credential might stand that should be a secret.
fn is_sensitive(place: &str) -> bool {
    let name = place.rsplit('.').next().unwrap_or_default().to_lowercase();
    [
        "password",
        "passwd",
        "authorization",
        "api_key",
        "apikey",
        "api-key",
        "private_key",
        "credential",
    ]
    .iter()
    .any(|word| name.contains(word))
}

fn quote(place: &str, value: &Value) -> String {
    if let Some(name) = secret(value) {
        return format!("secret `{name}`");
    }
    if is_sensitive(place) && value.is_string() {
        return "[REDACTED]".to_owned();
    }
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

    fn summary(before: Value, after: Value) -> Vec<String> {
        compare(&before, &after).1
    }

    #[test]
    fn a_change_is_told_to_programs_and_people() {
        let before = json!({"mapping": {"filter": "a", "records": "r"}, "tests": []});
        let after = json!({"mapping": {"filter": "b"}, "tests": [], "runtime": {"parallelism": 4}});
        let (patch, summary) = compare(&before, &after);
        assert_eq!(patch.as_array().unwrap().len(), 3);
        assert_eq!(
            summary,
            [
                "mapping.filter changed from \"a\" to \"b\"",
                "mapping.records removed",
                "runtime added: {\"parallelism\":4}",
            ]
        );
    }

    #[test]
    fn one_more_at_the_beginning_is_one_more() {
        let output = |kind: &str, title: &str| json!({"kind": kind, "fields": {"title": title}});
        let before = json!({"outputs": [output("alert", "a"), output("entity", "b")]});
        let after =
            json!({"outputs": [output("relationship", "new"), output("alert", "a"), output("entity", "c")]});
        assert_eq!(
            summary(before, after),
            [
                "outputs[2: entity].fields.title changed from \"b\" to \"c\"",
                "outputs[0: relationship] added: {\"fields\":{\"title\":\"new\"},\"kind\":\"relationship\"}",
            ]
        );
    }

    #[test]
    fn what_has_a_name_is_called_by_it() {
        let before = json!({"tests": [{"name": "low", "payload": 1}, {"name": "high", "payload": 2}]});
        let after = json!({"tests": [{"name": "high", "payload": 3}, {"name": "none", "payload": 1}]});
        assert_eq!(
            summary(before, after),
            [
                "tests[\"high\"].payload changed from 2 to 3",
                "tests[\"low\"] removed",
                "tests[\"none\"] added: {\"name\":\"none\",\"payload\":1}",
            ]
        );
    }

    #[test]
    fn words_come_and_go_and_are_put_in_order() {
        let tags = |tags: &[&str]| json!({ "tags": tags });
        assert_eq!(
            summary(tags(&["a", "b"]), tags(&["b", "c"])),
            ["tags: removed \"a\"", "tags: added \"c\""]
        );
        assert_eq!(
            summary(tags(&["a", "b"]), tags(&["b", "a"])),
            ["tags in another order"]
        );
        assert_eq!(summary(tags(&[]), tags(&["a", "a"])).len(), 2);
    }

    #[test]
    fn a_secret_is_called_by_its_name_and_a_credential_not_at_all() {
        let auth = |secret: Value| json!({"auth": {"secret": secret}});
        assert_eq!(
            summary(auth(json!({"$secret": "old"})), auth(json!({"$secret": "new"}))),
            ["auth.secret changed from secret `old` to secret `new`"]
        );
        let header = |value: &str| json!({"headers": {"Authorization": value}});
        let lines = summary(header("Bearer hunter1"), header("Bearer hunter2"));
        assert_eq!(
            lines,
            ["headers.Authorization changed from [REDACTED] to [REDACTED]"]
        );
    }

    #[test]
    fn nothing_changed_is_an_empty_patch_and_much_is_cut() {
        let (patch, summary) = compare(&json!({"a": 1}), &json!({"a": 1}));
        assert_eq!((patch, summary.len()), (json!([]), 0));
        let many: Vec<u32> = (0..2_000).collect();
        let (_, summary) = compare(&json!({"a": []}), &json!({ "a": many }));
        assert_eq!(summary.len(), LINES + 1);
        assert_eq!(summary[LINES], "and 1500 more");
    }
}
