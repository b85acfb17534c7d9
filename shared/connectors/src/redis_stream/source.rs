//! A reader as the worker sees it: batches from the task that reads, and acknowledgements.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use halcyon_egress::Guard;
use redis::{Value, cmd};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use super::{
    client::{Client, failed},
    config::Connection,
    entry,
    reader::{Held, Pace, Read, Reader, acknowledge},
};
use crate::{Checkpoint, Error, Lag, Secrets, Source, SourceBatch, SourceContext, SourceRecord};

/// What the checkpoint holds. The place itself is kept by the group.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    /// The newest entry that is durable.
    last: String,
}

/// A running reader.
pub(super) struct RedisStreamSource {
    connection: Connection,
    context: SourceContext,
    reading: Option<Reading>,
    /// Entries that were given out, by the last one of their batch.
    unacknowledged: VecDeque<(String, Vec<String>)>,
    /// How many entries are asked for at a time; known on when the reader is begun anew.
    pace: Arc<Pace>,
    held: Arc<Held>,
    /// For acknowledgements: the reader's connection waits at the server most of the time.
    acks: Option<Client>,
    stopped: bool,
}

/// The task that reads; it ends with this.
struct Reading {
    task: JoinHandle<()>,
    batches: mpsc::Receiver<Result<Read, Error>>,
    lag: watch::Receiver<Lag>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl RedisStreamSource {
    pub(super) fn new(connection: Connection, context: SourceContext) -> Result<Self, Error> {
        if let Some(checkpoint) = &context.checkpoint {
            checkpoint.read::<Position>()?;
        }
        let pace = Arc::new(Pace::up_to(context.limits.max_records));
        Ok(Self {
            connection,
            context,
            reading: None,
            unacknowledged: VecDeque::new(),
            pace,
            held: Arc::default(),
            acks: None,
            stopped: false,
        })
    }

    /// The task that reads, started if there is none. It has one batch ready while the worker has another.
    fn reading(&mut self) -> &mut Reading {
        self.reading.get_or_insert_with(|| {
            let (out, batches) = mpsc::channel(1);
            let (lag, told) = watch::channel(Lag::default());
            let reader = Reader {
                connection: self.connection.clone(),
                secrets: self.context.secrets.clone(),
                guard: self.context.guard.clone(),
                clock: Arc::clone(&self.context.clock),
                consumer: format!("halcyon-{}", self.context.share.index),
                pace: Arc::clone(&self.pace),
                late: AtomicBool::new(false),
                held: Arc::clone(&self.held),
                out,
                lag,
            };
            Reading {
                task: tokio::spawn(reader.run()),
                batches,
                lag: told,
            }
        })
    }

    /// Tells the server what is done with; the connection that it was told over. One that was used before may have been
    /// closed in a quiet hour by the server or by what is between; to say it twice does no harm.
    async fn acknowledged(&mut self, ids: &[String]) -> Result<Client, Error> {
        if let Some(client) = self.acks.take() {
            match acknowledge(&mut client.connection.clone(), &self.connection, ids).await {
                Ok(()) => return Ok(client),
                Err(error) if error.is_transient() => {}
                Err(error) => return Err(error),
            }
        }
        let client = Client::connect(&self.connection, &self.context.secrets, &self.context.guard).await?;
        acknowledge(&mut client.connection.clone(), &self.connection, ids).await?;
        Ok(client)
    }

    async fn sample(&mut self) -> Result<Option<SourceBatch>, Error> {
        self.stopped = true;
        let (secrets, guard): (&Secrets, &Guard) = (&self.context.secrets, &self.context.guard);
        let client = Client::connect(&self.connection, secrets, guard).await?;
        let mut newest = cmd("XREVRANGE");
        newest.arg(&self.connection.stream).arg("+").arg("-");
        newest.arg("COUNT").arg(self.context.limits.max_records);
        let answer: Value = newest
            .query_async(&mut client.connection.clone())
            .await
            .map_err(|error| failed(&error))?;
        let now = self.context.clock.now();
        let entries = entry::entries(answer).into_iter().rev();
        let records =
            entries.filter_map(|entry| Some((entry.id.clone(), entry.record(&self.connection, now)?)));
        let (ids, records) = records.unzip::<_, _, Vec<String>, Vec<SourceRecord>>();
        Ok(ids.last().map(|last| batch(last, records)))
    }
}

fn batch(last: &str, records: Vec<SourceRecord>) -> SourceBatch {
    SourceBatch {
        records,
        checkpoint: Checkpoint(serde_json::json!({ "last": last })),
    }
}

#[async_trait]
impl Source for RedisStreamSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        if self.stopped {
            return Ok(None);
        }
        if self.context.sample {
            return self.sample().await;
        }
        match self.reading().batches.recv().await {
            Some(Ok(Read { ids, records })) => {
                let last = ids.last().cloned().unwrap_or_default();
                self.unacknowledged.push_back((last.clone(), ids));
                Ok(Some(batch(&last, records)))
            }
            Some(Err(error)) => {
                self.reading = None;
                Err(error)
            }
            None => {
                self.reading = None;
                Err(Error::System("the task that reads has ended".to_owned()))
            }
        }
    }

    async fn ack(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let position: Position = checkpoint.read()?;
        let Some(place) = self
            .unacknowledged
            .iter()
            .position(|(last, _)| *last == position.last)
        else {
            return Ok(());
        };
        let ids: Vec<String> = self
            .unacknowledged
            .iter()
            .take(place + 1)
            .flat_map(|(_, ids)| ids.clone())
            .collect();
        self.acks = Some(self.acknowledged(&ids).await?);
        self.unacknowledged.drain(..=place);
        self.held.with(|held| {
            for id in &ids {
                held.remove(id);
            }
        });
        Ok(())
    }

    fn lag(&self) -> Lag {
        self.reading
            .as_ref()
            .map(|reading| *reading.lag.borrow())
            .unwrap_or_default()
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.reading = None;
        self.acks = None;
    }
}
