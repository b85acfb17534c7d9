//! Where the feed stands: what a checkpoint holds.

use std::collections::{HashSet, VecDeque};

use halcyon_domain::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{body::Record, page::Page, plan::Cursor};
use crate::{Checkpoint, Error};

/// How many records are remembered, so that they are not given again. What is forgotten is given again, with the same
/// identity.
const REMEMBERED: usize = 1_000;

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
}

/// Records that were given, the latest last: hashes of their identities, with their cursor's value.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(
    from = "Vec<(String, Option<String>)>",
    into = "Vec<(String, Option<String>)>"
)]
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

impl From<Recent> for Vec<(String, Option<String>)> {
    fn from(recent: Recent) -> Self {
        recent.order.into()
    }
}

impl Recent {
    fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(crate) fn has(&self, record: &Record) -> bool {
        self.known.contains(&hash(&record.key))
    }

    pub(crate) fn remember(&mut self, record: &Record) {
        self.push(hash(&record.key), record.cursor.clone());
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

/// 80 bits: enough that no two records of a feed are ever taken for one.
fn hash(key: &str) -> String {
    hex::encode(&Sha256::digest(key)[..10])
}

impl Position {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is none of ours.
    pub(crate) fn read(checkpoint: &Checkpoint) -> Result<Self, Error> {
        Self::deserialize(&checkpoint.0).map_err(|error| Error::Checkpoint {
            detail: error.to_string(),
        })
    }

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
        let max = self.run.take().and_then(|run| run.max);
        let Some(cursor) = cursor else {
            return;
        };
        if let Some(max) = max {
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
