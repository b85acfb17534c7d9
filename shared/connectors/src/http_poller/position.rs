//! Where the feed stands: what a checkpoint holds.

use std::collections::{HashSet, VecDeque};

use halcyon_domain::clock::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::{body::Record, cursor::Kind, page::Page, plan::Cursor};
use crate::Checkpoint;

/// How many records are remembered, so that they are not given again. What is forgotten is given again, with the same
/// identity.
const REMEMBERED: usize = 1_000;
/// How many pages are remembered. A circle of more is not noticed.
const TRAIL: usize = 100;

/// The checkpoint's content. One that a person writes needs no more than the cursor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Position {
    /// The furthest value of all runs that ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
    /// The run that is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run: Option<Run>,
    /// The last records that were given.
    #[serde(skip_serializing_if = "Recent::is_empty")]
    pub(crate) recent: Recent,
}

/// A walk over the pages.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Run {
    /// From where on it asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<String>,
    pub(crate) began: Timestamp,
    /// The page that is not yet given as a whole.
    #[serde(default)]
    pub(crate) page: Page,
    /// The furthest value that it came across. The cursor moves there at the end only: pages may come in any order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max: Option<String>,
    /// The pages that were given as a whole.
    #[serde(default, skip_serializing_if = "Trail::is_empty")]
    pub(crate) trail: Trail,
}

/// The last pages of a run, by their marks, so that an API that goes round in circles is noticed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Trail {
    marks: VecDeque<String>,
    /// How many of the last pages had been there before, one after the other.
    again: u8,
}

impl Trail {
    fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// Whether a page is among them.
    pub(crate) fn has(&self, mark: &str) -> bool {
        self.marks.iter().any(|known| known == mark)
    }

    /// Goes on to a page. How many pages in a row, with this one, had been there before.
    pub(crate) fn pass(&mut self, mark: &str) -> u8 {
        if self.has(mark) {
            self.again = self.again.saturating_add(1);
            return self.again;
        }
        self.again = 0;
        self.marks.push_back(mark.to_owned());
        if self.marks.len() > TRAIL {
            self.marks.pop_front();
        }
        0
    }
}

/// Records that were given, the latest last: hashes of their identities, with their cursor's value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(from = "Vec<(String, Option<String>)>")]
pub(crate) struct Recent {
    order: VecDeque<(String, Option<String>)>,
    known: HashSet<String>,
}

impl From<Vec<(String, Option<String>)>> for Recent {
    fn from(list: Vec<(String, Option<String>)>) -> Self {
        let mut recent = Self::default();
        list.into_iter()
            .for_each(|(hash, value)| recent.push(hash, value));
        recent
    }
}

impl Serialize for Recent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.order)
    }
}

impl Recent {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn has(&self, record: &Record) -> bool {
        self.known.contains(&record.mark)
    }

    pub(crate) fn remember(&mut self, record: &Record) {
        self.push(record.mark.clone(), record.cursor.clone());
    }

    fn push(&mut self, hash: String, value: Option<String>) {
        if !self.known.insert(hash.clone()) {
            return;
        }
        self.order.push_back((hash, value));
        if self.order.len() > REMEMBERED
            && let Some((oldest, _)) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Forgets what lies before the place from which the next run reads.
    fn keep_from(&mut self, cursor: &Cursor, edge: &str) {
        let known = &mut self.known;
        self.order.retain(|(hash, value)| {
            let stays = value
                .as_deref()
                .is_none_or(|value| cursor.kind.compare(value, edge).is_ge());
            if !stays {
                known.remove(hash);
            }
            stays
        });
    }
}

/// A record with a time that is yet to come must not keep the feed from what comes before it.
fn not_ahead(cursor: &Cursor, value: String, began: Timestamp) -> String {
    match &cursor.kind {
        Kind::Timestamp(format) if format.read(&value).is_some_and(|time| time > began) => {
            format.write(began)
        }
        _ => value,
    }
}

impl Position {
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint(serde_json::to_value(self).unwrap_or(Value::Null))
    }

    /// A record was given.
    pub(crate) fn gave(&mut self, record: &Record, cursor: Option<&Cursor>) {
        self.recent.remember(record);
        let (Some(run), Some(cursor), Some(value)) = (&mut self.run, cursor, &record.cursor) else {
            return;
        };
        let further = run
            .max
            .as_deref()
            .is_none_or(|max| cursor.kind.compare(value, max).is_gt());
        if further {
            run.max = Some(value.clone());
        }
    }

    /// The run is at its end.
    pub(crate) fn end_run(&mut self, cursor: Option<&Cursor>) {
        let (Some(cursor), Some(run)) = (cursor, self.run.take()) else {
            self.run = None;
            return;
        };
        let began = run.began;
        if let Some(max) = run.max.map(|max| not_ahead(cursor, max, began)) {
            let further = self
                .cursor
                .as_deref()
                .is_none_or(|now| cursor.kind.compare(&max, now).is_gt());
            if further {
                self.cursor = Some(max);
            }
        }
        if let Some(value) = &self.cursor {
            let edge = cursor.kind.back(value, cursor.overlap);
            self.recent.keep_from(cursor, &edge);
        }
    }
}
