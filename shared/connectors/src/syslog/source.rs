//! The reader: opens the port at its first call, and hands out what arrived.

use std::sync::Arc;

use async_trait::async_trait;
use halcyon_domain::clock::Clock;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::{
    config::Settings,
    listener::{Arrived, Listening},
    record::record,
};
use crate::{BatchLimits, Checkpoint, Error, Lag, Secrets, Source, SourceBatch, SourceContext, SourceRecord};

/// How many bytes a batch may have, so that large messages do not make large batches.
const BATCH_BYTES: usize = 8 << 20;

/// What the checkpoint holds: how many messages were taken in all. Nobody can be asked for them again, so it is for
/// people.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Position {
    received: u64,
}

/// An open port, or one that is to be opened.
pub(super) struct SyslogSource {
    settings: Settings,
    secrets: Secrets,
    limits: BatchLimits,
    clock: Arc<dyn Clock>,
    /// Messages that arrive are named by this and their number, so no two ever have the same name.
    session: Uuid,
    received: u64,
    listening: Option<Listening>,
    /// The next batch, as far as it has come, and when it is handed out at the latest.
    gathered: Vec<SourceRecord>,
    gathered_bytes: usize,
    last_call: Option<Instant>,
    stopped: bool,
}

impl SyslogSource {
    pub(super) fn new(settings: Settings, context: SourceContext) -> Result<Self, Error> {
        let received = match &context.checkpoint {
            None => 0,
            Some(checkpoint) => checkpoint.read::<Position>()?.received,
        };
        Ok(Self {
            settings,
            secrets: context.secrets,
            limits: context.limits,
            clock: context.clock,
            session: Uuid::new_v4(),
            received,
            listening: None,
            gathered: Vec::new(),
            gathered_bytes: 0,
            last_call: None,
            stopped: false,
        })
    }

    fn gather(&mut self, arrived: &Arrived) -> Result<(), Error> {
        let number = self.received + 1;
        let (session, now) = (self.session, self.clock.now());
        let made = record(&arrived.frame, arrived.origin, self.settings.reading, now, || {
            format!("{session}-{number}")
        })?;
        self.received = number;
        self.gathered_bytes += made.bytes.len();
        self.gathered.push(made);
        self.last_call
            .get_or_insert_with(|| Instant::now() + self.limits.max_wait);
        Ok(())
    }

    fn full(&self) -> bool {
        self.gathered.len() >= self.limits.max_records.max(1) || self.gathered_bytes >= BATCH_BYTES
    }
}

#[async_trait]
impl Source for SyslogSource {
    async fn next_batch(&mut self) -> Result<Option<SourceBatch>, Error> {
        if self.stopped {
            return Ok(None);
        }
        if self.listening.is_none() {
            let opened = Listening::open(&self.settings, &self.secrets, self.limits.max_records).await?;
            self.listening = Some(opened);
        }
        while !self.full() {
            let Some(listening) = self.listening.as_mut() else {
                return Ok(None);
            };
            let arrived = match self.last_call {
                None => listening.inbox.recv().await,
                Some(last_call) => match timeout_at(last_call, listening.inbox.recv()).await {
                    Ok(arrived) => arrived,
                    Err(_) => break,
                },
            };
            let Some(arrived) = arrived else {
                self.listening = None;
                return Err(Error::transient("the port was closed"));
            };
            self.gather(&arrived)?;
        }
        self.last_call = None;
        self.gathered_bytes = 0;
        let records = std::mem::take(&mut self.gathered);
        let checkpoint = Checkpoint(json!(Position {
            received: self.received
        }));
        Ok(Some(SourceBatch { records, checkpoint }))
    }

    async fn ack(&mut self, _: &Checkpoint) -> Result<(), Error> {
        // Syslog has no word for it.
        Ok(())
    }

    fn lag(&self) -> Lag {
        let waiting = self.listening.as_ref().map(|listening| listening.inbox.len());
        Lag {
            records: waiting.map(|waiting| (waiting + self.gathered.len()) as u64),
            age: None,
        }
    }

    async fn stop(&mut self) {
        self.stopped = true;
        self.gathered.clear();
        self.gathered_bytes = 0;
        if let Some(listening) = self.listening.take() {
            listening.close().await;
        }
    }
}
