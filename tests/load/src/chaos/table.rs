//! What a scenario has shown, and its line of the table.

use std::{fmt, time::Duration};

/// The table's head.
pub(super) const HEAD: &str = "\
| scenario | s | accepted | lost | duplicates | overlaps | recovery p50 / max | failed requests | verdict |
|---|---:|---:|---:|---:|---:|---:|---:|---|";

/// What a scenario has shown.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Events that were accepted.
    pub(super) accepted: u64,
    /// Accepted events that had no effect.
    pub(super) lost: u64,
    /// Effects beyond the first of an event.
    pub(super) duplicates: u64,
    /// Moments with two effective owners, where there may be one.
    pub(super) overlaps: Option<u64>,
    /// From a fault, or from its end, to the first effect of what was accepted after it.
    pub(super) recoveries: Vec<Duration>,
    /// Requests without an answer, or with one that was not to be expected.
    pub(super) failed: u64,
    /// What is red.
    pub(super) findings: Vec<String>,
    /// What else was measured.
    pub(super) notes: Vec<String>,
    /// A loss is what this scenario has to show.
    pub(super) must_lose: bool,
}

impl Outcome {
    /// The scenario did not get to its end.
    pub(super) fn broken(why: String) -> Self {
        Self {
            findings: vec![why],
            ..Self::default()
        }
    }

    /// Checks something that must hold.
    pub(super) fn check(&mut self, holds: bool, finding: impl Into<String>) {
        if !holds {
            self.findings.push(finding.into());
        }
    }

    /// Writes down what was measured.
    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// Whether everything is as promised.
    pub(super) fn is_green(&self) -> bool {
        let loss = if self.must_lose {
            self.lost > 0
        } else {
            self.lost == 0
        };
        self.findings.is_empty() && loss && self.duplicates == 0 && self.overlaps.unwrap_or(0) == 0
    }
}

/// A line of the table.
pub(super) struct Row<'o> {
    /// The scenario.
    pub(super) name: &'static str,
    /// How long it took in all.
    pub(super) time: Duration,
    /// What it has shown.
    pub(super) outcome: &'o Outcome,
}

impl fmt::Display for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome {
            accepted,
            lost,
            duplicates,
            failed,
            ..
        } = self.outcome;
        let overlaps = self
            .outcome
            .overlaps
            .map_or_else(|| "-".to_owned(), |count| count.to_string());
        let verdict = if self.outcome.is_green() {
            "green"
        } else {
            "**RED**"
        };
        let seconds = self.time.as_secs();
        write!(
            f,
            "| {} | {seconds} | {accepted} | {lost} | {duplicates} | {overlaps} | {} | {failed} | {verdict}",
            self.name,
            spread(&self.outcome.recoveries)
        )?;
        for text in self.outcome.findings.iter().chain(&self.outcome.notes) {
            write!(f, "; {}", text.replace('\n', " ").replace('|', "/"))?;
        }
        f.write_str(" |")
    }
}

/// Middle and longest, in seconds.
fn spread(times: &[Duration]) -> String {
    let mut times = times.to_vec();
    times.sort();
    match (times.get(times.len() / 2), times.last()) {
        (Some(middle), Some(most)) => {
            format!(
                "{:.1} / {:.1} s ({})",
                middle.as_secs_f64(),
                most.as_secs_f64(),
                times.len()
            )
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_red_unless_it_must_be() {
        let lossy = Outcome {
            lost: 1,
            ..Outcome::default()
        };
        assert!(Outcome::default().is_green() && !lossy.is_green());
        let must_lose = Outcome {
            must_lose: true,
            ..lossy
        };
        assert!(must_lose.is_green());
        let nothing_lost = Outcome { lost: 0, ..must_lose };
        assert!(!nothing_lost.is_green());
        let mut late = Outcome::default();
        late.check(false, "late");
        assert!(!late.is_green());
    }

    #[test]
    fn a_row_shows_the_spread() {
        let outcome = Outcome {
            recoveries: [3, 1, 2].map(Duration::from_secs).to_vec(),
            ..Outcome::default()
        };
        let row = Row {
            name: "x",
            time: Duration::from_secs(9),
            outcome: &outcome,
        };
        assert_eq!(
            row.to_string(),
            "| x | 9 | 0 | 0 | 0 | - | 2.0 / 3.0 s (3) | 0 | green |"
        );
    }
}
