//! A plan for people: what is added, what goes, what changes.

use std::fmt::Write;

use serde_json::{Value, json};

use super::step::{Action, Plan, Step, findings};
use crate::{manifest::Finding, output::plain};

/// The longest value that is shown, in characters.
const SHOWN: usize = 72;

/// The plan as text.
pub(crate) fn show(plan: &Plan) -> String {
    let mut text = String::new();
    for step in plan.steps.iter().filter(|step| step.action != Action::Skip) {
        // A text that cannot be written to has no end.
        let _ = show_step(&mut text, step);
    }
    let counts = [
        (Action::Create, "to create"),
        (Action::Update, "to update"),
        (Action::Delete, "to delete"),
        (Action::Skip, "unchanged"),
        (Action::Error, "with errors"),
    ];
    let counts = counts.map(|(action, words)| format!("{} {words}", plan.count(action)));
    text.push_str(&counts.join(", "));
    text
}

fn show_step(text: &mut String, step: &Step) -> std::fmt::Result {
    let sign = match step.action {
        Action::Create => '+',
        Action::Update => '~',
        Action::Delete => '-',
        Action::Skip => ' ',
        Action::Error => '!',
    };
    writeln!(text, "{sign} {}  ({})", plain(&step.title()), plain(&step.line()))?;
    // What is refused may be a secret in plain.
    if step.action != Action::Error {
        for change in &step.changes {
            let value = |value: &Option<Value>| value.as_ref().map(quote).unwrap_or_default();
            let (before, after) = (value(&change.before), value(&change.after));
            let what = match change.sign() {
                '+' => after,
                '-' => before,
                _ => format!("{before} -> {after}"),
            };
            writeln!(text, "    {} {}: {what}", change.sign(), plain(&change.path))?;
        }
    }
    if !step.work.missing.is_empty() {
        writeln!(text, "    ! needs the secrets {}", step.work.missing.join(", "))?;
    }
    for finding in &step.findings {
        writeln!(text, "    ! {}", plain(&finding.to_string()))?;
    }
    Ok(())
}

fn quote(value: &Value) -> String {
    let text = plain(&value.to_string());
    if text.chars().count() <= SHOWN {
        return text;
    }
    let start: String = text.chars().take(SHOWN - 1).collect();
    format!("{start}…")
}

impl Plan {
    /// The plan as JSON.
    pub(crate) fn value(&self, loaded: &[Finding]) -> Value {
        json!({
            "steps": self.steps.iter().map(Step::value).collect::<Vec<_>>(),
            "errors": findings(loaded),
            "summary": {
                "create": self.count(Action::Create), "update": self.count(Action::Update),
                "delete": self.count(Action::Delete), "skip": self.count(Action::Skip),
                "error": self.count(Action::Error) + loaded.len(),
            },
        })
    }
}
