//! How far a pull source has read. A write carries the expected revision and the assignment's epoch, so that a
//! worker that lost its datasource writes nothing any more.

use chrono::TimeDelta;
use halcyon_domain::{backfill::BackfillProgress, clock::Timestamp, id::DatasourceId, schedule::RunMemory};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Bucket, Bus, Error, subjects::BucketName};

/// How often a claim is tried while somebody writes the checkpoint.
const CLAIMS: u32 = 20;

/// The most earlier places that are kept, and the most bytes of JSON that they have together. One that has more on its
/// own is kept, alone of its kind, if it was left by hand: it is what somebody may want back.
const HISTORY: (usize, usize) = (20, 32 * 1024);
/// Places that one writer wrote are kept in the history at least so far apart.
const APART: TimeDelta = TimeDelta::minutes(1);

/// How far a source has read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch of the assignment that wrote it.
    pub epoch: u64,
    /// The connector's own position; null before the first.
    pub position: Value,
    /// When the position was written.
    pub at: Timestamp,
    /// Who wrote the position: a worker, or whoever moved it by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What is remembered of the source's runs, if it is fetched by a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<RunMemory>,
    /// How far a backfill is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<BackfillProgress>,
    /// Where it was before, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<EarlierPosition>,
}

/// Where a source was before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EarlierPosition {
    /// The connector's own position.
    pub position: Value,
    /// When it was written.
    pub at: Timestamp,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Checkpoint {
    /// A place that nothing else is known of.
    #[must_use]
    pub const fn new(epoch: u64, position: Value, at: Timestamp) -> Self {
        Self {
            epoch,
            position,
            at,
            by: None,
            runs: None,
            progress: None,
            history: Vec::new(),
        }
    }

    /// What a claim of an epoch makes of what stands there: the same place, under that epoch. Nothing if a later
    /// epoch has claimed it.
    #[must_use]
    pub fn claimed(before: Option<&Self>, epoch: u64, at: Timestamp) -> Option<Self> {
        match before {
            Some(before) if before.epoch > epoch => None,
            Some(before) => Some(Self {
                epoch,
                ..before.clone()
            }),
            None => Some(Self::new(epoch, Value::Null, at)),
        }
    }

    /// Moves to another place. Where it was goes into the history, if another wrote that or it is a while since the
    /// last place there.
    pub fn advance(&mut self, position: Value, by: &str, at: Timestamp) {
        self.go_to(position, by, at, false);
    }

    fn go_to(&mut self, position: Value, by: &str, at: Timestamp, is_by_hand: bool) {
        let is_others = self.by.as_deref() != Some(by);
        let is_due = self.history.last().is_none_or(|last| self.at - last.at >= APART);
        let position = std::mem::replace(&mut self.position, position);
        let written_at = std::mem::replace(&mut self.at, at);
        let by = if is_others {
            self.by.replace(by.to_owned())
        } else {
            self.by.clone()
        };
        let is_kept = is_by_hand || ((is_others || is_due) && !is_large(&position));
        if position.is_null() || !is_kept {
            return;
        }
        if is_large(&position) {
            self.history.retain(|earlier| !is_large(&earlier.position));
        }
        self.history.push(EarlierPosition {
            position,
            at: written_at,
            by,
        });
        let mut bytes = 0;
        let kept = self.history.iter().rev().take(HISTORY.0).take_while(|earlier| {
            bytes += Some(size(&earlier.position))
                .filter(|size| *size <= HISTORY.1)
                .unwrap_or(0);
            bytes <= HISTORY.1
        });
        let gone = self.history.len() - kept.count();
        self.history.drain(..gone);
    }
}

/// The bytes of a position as JSON.
fn size(position: &Value) -> usize {
    position.to_string().len()
}

fn is_large(position: &Value) -> bool {
    size(position) > HISTORY.1
}

/// All checkpoints.
#[derive(Clone)]
pub struct CheckpointStore {
    bucket: Bucket<Checkpoint>,
}

/// The right to write one datasource's checkpoint, until a later epoch claims it.
pub struct CheckpointWriter {
    bucket: Bucket<Checkpoint>,
    key: String,
    by: String,
    /// What stands there.
    current: Checkpoint,
    revision: u64,
}

impl Bus {
    /// The checkpoints of pull sources.
    #[must_use]
    pub fn checkpoints(&self) -> CheckpointStore {
        CheckpointStore {
            bucket: Bucket::new(self, BucketName::Checkpoints, ""),
        }
    }
}

impl CheckpointStore {
    /// The checkpoint of a datasource's first instance.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn load(&self, datasource: DatasourceId) -> Result<Option<Checkpoint>, Error> {
        Ok(self
            .bucket
            .get(&datasource.to_string())
            .await?
            .map(|entry| entry.value))
    }

    /// Claims the checkpoint of one of a datasource's instances for an epoch: writers of earlier epochs are refused
    /// from now on. `by` is whom the history names for what is written. Returns the position to go on from.
    ///
    /// # Errors
    /// `Conflict` if the epoch is not the newest.
    pub async fn claim(
        &self,
        datasource: DatasourceId,
        instance: u16,
        epoch: u64,
        by: &str,
        at: Timestamp,
    ) -> Result<(CheckpointWriter, Value), Error> {
        let key = key(datasource, instance);
        let mut tries = 0;
        let (revision, current) = loop {
            match self.try_claim(&key, epoch, at).await? {
                Some(claimed) => break claimed,
                None if tries >= CLAIMS => {
                    return Err(Error::Unavailable("it is written all the time".to_owned()));
                }
                // The holder of an earlier epoch has written in between.
                None => tries += 1,
            }
        };
        let position = current.position.clone();
        let writer = CheckpointWriter {
            bucket: self.bucket.clone(),
            key,
            by: by.to_owned(),
            current,
            revision,
        };
        Ok((writer, position))
    }

    /// Claims a checkpoint as it is; nothing if it was written meanwhile.
    async fn try_claim(
        &self,
        key: &str,
        epoch: u64,
        at: Timestamp,
    ) -> Result<Option<(u64, Checkpoint)>, Error> {
        let before = self.bucket.get(key).await?;
        let claimed = Checkpoint::claimed(before.as_ref().map(|entry| &entry.value), epoch, at);
        let claimed = claimed.ok_or(Error::Conflict)?;
        let revision = before.map(|entry| entry.revision);
        let written = match revision {
            Some(revision) => self.bucket.update(key, &claimed, revision).await,
            None => self.bucket.create(key, &claimed, None).await,
        };
        match written {
            Ok(revision) => Ok(Some((revision, claimed))),
            Err(Error::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The checkpoint of one of a datasource's instances with its revision.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn find(
        &self,
        datasource: DatasourceId,
        instance: u16,
    ) -> Result<Option<(Checkpoint, u64)>, Error> {
        let found = self.bucket.get(&key(datasource, instance)).await?;
        Ok(found.map(|entry| (entry.value, entry.revision)))
    }

    /// The checkpoints of a datasource's instances, with their numbers and revisions. A source that has never run in
    /// several has at most the first one.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn find_all(
        &self,
        datasource: DatasourceId,
        is_shared: bool,
    ) -> Result<Vec<(u16, Checkpoint, u64)>, Error> {
        let last = if is_shared { MAX_INSTANCE } else { 0 };
        let reads = (0..=last).map(|instance| async move {
            let found = self.find(datasource, instance).await?;
            Ok::<_, Error>(found.map(|(checkpoint, revision)| (instance, checkpoint, revision)))
        });
        let found = futures::future::try_join_all(reads).await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Writes a position from outside, under the epoch that is there: a reader that still holds the checkpoint is
    /// refused from then on. Returns what is there now, with its revision.
    ///
    /// # Errors
    /// `Conflict` if `revision` is given and it is at another one, or if somebody wrote it meanwhile.
    pub async fn edit(
        &self,
        (datasource, instance): (DatasourceId, u16),
        position: Value,
        revision: Option<u64>,
        by: &str,
        at: Timestamp,
    ) -> Result<(Checkpoint, u64), Error> {
        let key = key(datasource, instance);
        let before = self.bucket.get(&key).await?;
        let found = before.as_ref().map(|entry| entry.revision);
        if revision.is_some() && revision != found {
            return Err(Error::Conflict);
        }
        let before = before.map(|entry| entry.value);
        let mut edited = before.unwrap_or_else(|| Checkpoint::new(0, Value::Null, at));
        edited.go_to(position, by, at, true);
        let revision = match found {
            Some(revision) => self.bucket.update(&key, &edited, revision).await?,
            None => self.bucket.create(&key, &edited, None).await?,
        };
        Ok((edited, revision))
    }

    /// Forgets the places of a datasource's instances from `first` on, where there are any.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn forget_from(&self, datasource: DatasourceId, first: u16) -> Result<(), Error> {
        for instance in first..=MAX_INSTANCE {
            self.forget(datasource, instance).await?;
        }
        Ok(())
    }

    /// Forgets the place of one of a datasource's instances, if there is one.
    ///
    /// # Errors
    /// `Conflict` if somebody wrote it meanwhile.
    pub async fn forget(&self, datasource: DatasourceId, instance: u16) -> Result<(), Error> {
        let key = key(datasource, instance);
        match self.bucket.get(&key).await? {
            Some(entry) => self.bucket.forget(&key, entry.revision).await,
            None => Ok(()),
        }
    }

    /// Which places there are, or were a moment ago: of datasources' instances, and of backfills by their identifiers.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn places(&self) -> Result<Vec<(DatasourceId, u16)>, Error> {
        let keys = self.bucket.keys().await?;
        let places = keys.iter().filter_map(|key| {
            let (owner, instance) = key.split_once('_').unwrap_or((key, "0"));
            Some((owner.parse().ok()?, instance.parse().ok()?))
        });
        Ok(places.collect())
    }
}

/// The highest index that an instance can have.
pub const MAX_INSTANCE: u16 = 63;

/// The first instance has the datasource's own key.
fn key(datasource: DatasourceId, instance: u16) -> String {
    match instance {
        0 => datasource.to_string(),
        instance => format!("{datasource}_{instance}"),
    }
}

impl CheckpointWriter {
    /// The position that stands there.
    #[must_use]
    pub const fn position(&self) -> &Value {
        &self.current.position
    }

    /// What is remembered of the source's runs.
    #[must_use]
    pub fn runs(&self) -> RunMemory {
        self.current.runs.clone().unwrap_or_default()
    }

    /// How far the backfill is.
    #[must_use]
    pub fn progress(&self) -> BackfillProgress {
        self.current.progress.unwrap_or_default()
    }

    /// Writes the position. To be called only after what was read before it is durable downstream.
    ///
    /// # Errors
    /// `Conflict` once a later epoch has claimed it: stop, and ack nothing upstream any more.
    pub async fn save(&mut self, position: Value, at: Timestamp) -> Result<(), Error> {
        let mut next = self.current.clone();
        next.advance(position, &self.by, at);
        self.write(next).await
    }

    /// Writes the position of a backfill, and how far it is with it.
    ///
    /// # Errors
    /// As of [`CheckpointWriter::save`].
    pub async fn save_progress(
        &mut self,
        position: Value,
        progress: BackfillProgress,
        at: Timestamp,
    ) -> Result<(), Error> {
        let mut next = self.current.clone();
        next.advance(position, &self.by, at);
        next.progress = Some(progress);
        self.write(next).await
    }

    /// Remembers something else of the source's runs; its place stays.
    ///
    /// # Errors
    /// As of [`CheckpointWriter::save`].
    pub async fn remember(&mut self, runs: RunMemory) -> Result<(), Error> {
        let next = Checkpoint {
            runs: Some(runs),
            ..self.current.clone()
        };
        self.write(next).await
    }

    async fn write(&mut self, next: Checkpoint) -> Result<(), Error> {
        self.revision = self.bucket.update(&self.key, &next, self.revision).await?;
        self.current = next;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
