//! How far a pull source has read. A write carries the expected revision and the assignment's epoch, so that a
//! worker that lost its datasource writes nothing any more.

use halcyon_domain::{clock::Timestamp, id::DatasourceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Bucket, Bus, Error, subjects::BucketName};

/// How often a claim is tried while somebody writes the checkpoint.
const CLAIMS: u32 = 20;

/// How far a source has read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The epoch of the assignment that wrote it.
    pub epoch: u64,
    /// The connector's own position; null before the first.
    pub position: Value,
    /// When it was written.
    pub at: Timestamp,
}

impl Checkpoint {
    /// What a claim of an epoch makes of what stands there: the same place, under that epoch. Nothing if a later
    /// epoch has claimed it.
    #[must_use]
    pub fn claimed(before: Option<&Self>, epoch: u64, at: Timestamp) -> Option<Self> {
        if before.is_some_and(|before| before.epoch > epoch) {
            return None;
        }
        let position = before.map_or(Value::Null, |before| before.position.clone());
        Some(Self { epoch, position, at })
    }
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
    epoch: u64,
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
    /// from now on. Returns the position to go on from.
    ///
    /// # Errors
    /// `Conflict` if the epoch is not the newest.
    pub async fn claim(
        &self,
        datasource: DatasourceId,
        instance: u16,
        epoch: u64,
        at: Timestamp,
    ) -> Result<(CheckpointWriter, Value), Error> {
        let key = key(datasource, instance);
        let mut tries = 0;
        let (revision, position) = loop {
            match self.try_claim(&key, epoch, at).await? {
                Some(claimed) => break claimed,
                None if tries >= CLAIMS => {
                    return Err(Error::Unavailable("it is written all the time".to_owned()));
                }
                // The holder of an earlier epoch has written in between.
                None => tries += 1,
            }
        };
        let writer = CheckpointWriter {
            bucket: self.bucket.clone(),
            key,
            epoch,
            revision,
        };
        Ok((writer, position))
    }

    /// Claims a checkpoint as it is; nothing if it was written meanwhile.
    async fn try_claim(&self, key: &str, epoch: u64, at: Timestamp) -> Result<Option<(u64, Value)>, Error> {
        let before = self.bucket.get(key).await?;
        let claimed = Checkpoint::claimed(before.as_ref().map(|entry| &entry.value), epoch, at);
        let claimed = claimed.ok_or(Error::Conflict)?;
        let revision = before.map(|entry| entry.revision);
        let position = claimed.position.clone();
        let written = match revision {
            Some(revision) => self.bucket.update(key, &claimed, revision).await,
            None => self.bucket.create(key, &claimed, None).await,
        };
        match written {
            Ok(revision) => Ok(Some((revision, position))),
            Err(Error::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A datasource's checkpoint with its revision.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn find(&self, datasource: DatasourceId) -> Result<Option<(Checkpoint, u64)>, Error> {
        let found = self.bucket.get(&datasource.to_string()).await?;
        Ok(found.map(|entry| (entry.value, entry.revision)))
    }

    /// Writes a position from outside, under the epoch that is there: a reader that still holds the checkpoint is
    /// refused from then on. Returns what is there now, with its revision.
    ///
    /// # Errors
    /// `Conflict` if `revision` is given and it is at another one, or if somebody wrote it meanwhile.
    pub async fn edit(
        &self,
        datasource: DatasourceId,
        position: Value,
        revision: Option<u64>,
        at: Timestamp,
    ) -> Result<(Checkpoint, u64), Error> {
        let key = datasource.to_string();
        let before = self.bucket.get(&key).await?;
        let found = before.as_ref().map(|entry| entry.revision);
        if revision.is_some() && revision != found {
            return Err(Error::Conflict);
        }
        let edited = Checkpoint {
            epoch: before.map_or(0, |entry| entry.value.epoch),
            position,
            at,
        };
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
            let key = key(datasource, instance);
            if let Some(entry) = self.bucket.get(&key).await? {
                self.bucket.delete(&key, Some(entry.revision)).await?;
            }
        }
        Ok(())
    }
}

/// The highest index that an instance can have.
const MAX_INSTANCE: u16 = 63;

/// The first instance has the datasource's own key.
fn key(datasource: DatasourceId, instance: u16) -> String {
    match instance {
        0 => datasource.to_string(),
        instance => format!("{datasource}_{instance}"),
    }
}

impl CheckpointWriter {
    /// Writes the position. To be called only after what was read before it is durable downstream.
    ///
    /// # Errors
    /// `Conflict` once a later epoch has claimed it: stop, and ack nothing upstream any more.
    pub async fn save(&mut self, position: Value, at: Timestamp) -> Result<(), Error> {
        let checkpoint = Checkpoint {
            epoch: self.epoch,
            position,
            at,
        };
        self.revision = self.bucket.update(&self.key, &checkpoint, self.revision).await?;
        Ok(())
    }
}
