//! Where a reader of files is: what its checkpoint holds.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Chosen, Object, window::Window};
use crate::{Checkpoint, Error};

/// A clock of another machine may be so far from ours.
const SKEW_SECONDS: i64 = 60;

/// The checkpoint as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    /// Files from before this second were read by earlier runs.
    horizon: Option<i64>,
    /// What earlier runs read of later ones.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    before: String,
    run: Option<WrittenRun>,
    /// A backfill that came to its end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ended: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenRun {
    started: i64,
    newest: Option<i64>,
    floor: Option<i64>,
    after: Option<String>,
    object: Option<Place>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    seen: String,
}

/// A place within a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// The file.
    pub(crate) key: String,
    /// The content that was listed.
    pub(crate) etag: String,
    /// How many of its rows are done.
    pub(crate) rows: u64,
}

/// A run that has not ended: one way through the listing.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// When it began, in seconds.
    started: i64,
    /// When the newest file that it read was written.
    newest: Option<i64>,
    /// What the horizon will be at least, because more files were written than can be remembered.
    floor: Option<i64>,
    /// Every file up to this key is done.
    pub(crate) after: Option<String>,
    /// The file that is being read.
    pub(crate) object: Option<Place>,
    /// What this run read, and what it passed of what earlier ones had.
    seen: Window,
    /// The text form of `seen`, while it is right.
    text: Option<String>,
}

/// Where a reader is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    /// Files from before this second were read by earlier runs.
    pub(crate) horizon: Option<i64>,
    /// What earlier runs read of later ones.
    pub(crate) before: Window,
    before_text: String,
    /// The run that has not ended.
    pub(crate) run: Option<Run>,
    /// Whether a backfill came to its end.
    pub(crate) ended: bool,
}

impl Position {
    /// Reads a checkpoint.
    ///
    /// # Errors
    /// It is not one of ours.
    pub(crate) fn read(checkpoint: &Checkpoint) -> Result<Self, Error> {
        let unread = |detail: String| Error::Checkpoint { detail };
        let written = Written::deserialize(&checkpoint.0).map_err(|error| unread(error.to_string()))?;
        let window = |text: &str| {
            Window::decode(text).ok_or_else(|| unread("the list of files is damaged".to_owned()))
        };
        let run = written.run.map(|run| {
            Ok::<_, Error>(Run {
                started: run.started,
                newest: run.newest,
                floor: run.floor,
                after: run.after,
                object: run.object,
                seen: window(&run.seen)?,
                text: Some(run.seen),
            })
        });
        Ok(Self {
            horizon: written.horizon,
            before: window(&written.before)?,
            before_text: written.before,
            run: run.transpose()?,
            ended: written.ended,
        })
    }

    /// The checkpoint.
    pub(crate) fn write(&mut self) -> Checkpoint {
        let run = self.run.as_mut().map(|run| WrittenRun {
            started: run.started,
            newest: run.newest,
            floor: run.floor,
            after: run.after.clone(),
            object: run.object.clone(),
            seen: run.text.get_or_insert_with(|| run.seen.encode()).clone(),
        });
        let written = Written {
            horizon: self.horizon,
            before: self.before_text.clone(),
            run,
            ended: self.ended,
        };
        Checkpoint(json!(written))
    }

    /// Begins a run, or goes on with the one that has not ended.
    pub(crate) fn begin(&mut self, now: i64) -> &Run {
        self.run.get_or_insert_with(|| Run {
            started: now,
            newest: None,
            floor: None,
            after: None,
            object: None,
            seen: Window::default(),
            text: None,
        })
    }

    /// So many rows of a file are done.
    pub(crate) fn rows_done(&mut self, object: &Object, rows: u64) {
        if let Some(run) = &mut self.run {
            run.object = Some(Place {
                key: object.key.clone(),
                etag: object.etag.clone(),
                rows,
            });
        }
    }

    /// A file is done, or was before.
    pub(crate) fn done(&mut self, object: &Object, chosen: &Chosen) {
        let Some(run) = &mut self.run else { return };
        let modified = object.modified.timestamp();
        run.newest = run.newest.max(Some(modified));
        run.pass(object);
        if modified >= run.horizon_after(self.horizon, chosen) {
            run.seen.add(object);
            run.text = None;
            if run.seen.is_over() {
                let horizon = run.horizon_after(self.horizon, chosen);
                run.floor = Some(run.seen.cut(horizon, run.settled(chosen)));
            }
        }
    }

    /// A file was left for the next run.
    pub(crate) fn left(&mut self, object: &Object) {
        if let Some(run) = &mut self.run {
            run.pass(object);
        }
    }

    /// The listing came to its end.
    pub(crate) fn end(&mut self, chosen: &Chosen) {
        if let Some(mut run) = self.run.take() {
            let horizon = run.horizon_after(self.horizon, chosen);
            self.horizon = Some(run.seen.cut(horizon, run.settled(chosen)));
            self.before_text = run.seen.encode();
            self.before = run.seen;
        }
    }

    /// How many files are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        self.before.len() + self.run.as_ref().map_or(0, |run| run.seen.len())
    }
}

impl Run {
    fn pass(&mut self, object: &Object) {
        self.after = Some(object.key.clone());
        self.object = None;
    }

    /// Before which second every file was seen by this run: none was too young for it, or written while it ran.
    fn settled(&self, chosen: &Chosen) -> i64 {
        let young = SKEW_SECONDS.max(chosen.min_age_seconds);
        self.started.saturating_sub(young)
    }

    /// Before which second files count as read once this run has ended. What was written while it ran may have a key
    /// that it had passed, so the newest file alone does not say.
    fn horizon_after(&self, before: Option<i64>, chosen: &Chosen) -> i64 {
        let newest = self.newest.unwrap_or(i64::MIN);
        let late = newest.min(self.started).saturating_sub(chosen.look_back_seconds);
        late.max(before.unwrap_or(i64::MIN))
            .max(self.floor.unwrap_or(i64::MIN))
    }
}
