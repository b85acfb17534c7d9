//! The task that reads. It is a task of its own because a read that the server has answered must not be dropped: the
//! entries would wait in the group's list of pending ones until they are claimed.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use halcyon_domain::clock::Clock;
use halcyon_egress::Guard;
use redis::{RedisError, Value, aio::MultiplexedConnection, cmd};
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use super::{
    client::{Client, failed, is_no_group},
    config::Connection,
    entry::{self, Entry},
};
use crate::{Error, Lag, Secrets, SourceRecord};

/// How long a read waits at the server for an entry.
const WAIT: Duration = Duration::from_secs(2);
/// How often the lag is asked for.
const LAG: Duration = Duration::from_secs(5);

/// How many entries the first read asks for, and about how many bytes one is to bring.
const FIRST: usize = 16;
const BYTES: usize = 8 << 20;

/// How many entries to ask for, up to `most`: the server bounds no answer by bytes.
#[derive(Debug)]
pub(super) struct Pace {
    count: AtomicUsize,
    most: usize,
}

impl Pace {
    pub(super) fn up_to(most: usize) -> Self {
        let most = most.max(1);
        Self {
            count: AtomicUsize::new(FIRST.min(most)),
            most,
        }
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn set(&self, count: usize) {
        self.count.store(count.clamp(1, self.most), Ordering::Relaxed);
    }

    /// Learns from an answer how large entries are.
    fn learn(&self, entries: &[Entry]) {
        let bytes: usize = entries.iter().map(Entry::size).sum();
        if let Some(each) = bytes.checked_div(entries.len()) {
            self.set((BYTES / each.max(1)).min(self.count() * 2));
        }
    }

    /// An answer did not come in time: the next one is to be smaller.
    fn slow_down(&self) {
        self.set(self.count() / 2);
    }
}

/// Entries that were given on and are not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Held(Mutex<HashSet<String>>);

impl Held {
    pub(super) fn with<T>(&self, change: impl FnOnce(&mut HashSet<String>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Records, and the identifiers to acknowledge for them.
pub(super) struct Read {
    pub(super) ids: Vec<String>,
    pub(super) records: Vec<SourceRecord>,
}

/// What a reader needs.
pub(super) struct Reader {
    pub(super) connection: Connection,
    pub(super) secrets: Secrets,
    pub(super) guard: Guard,
    pub(super) clock: Arc<dyn Clock>,
    /// The member's name in the group.
    pub(super) consumer: String,
    pub(super) pace: Arc<Pace>,
    /// Whether the last answer did not come in time.
    pub(super) late: AtomicBool,
    pub(super) held: Arc<Held>,
    pub(super) out: mpsc::Sender<Result<Read, Error>>,
    pub(super) lag: watch::Sender<Lag>,
}

/// Which entries to ask for next.
enum Next {
    /// Those that this member was given before and has not acknowledged, after an identifier.
    Own(String),
    /// Those that nobody was given yet.
    New,
}

impl Reader {
    /// Reads until nobody listens, or something fails. An answer that was too slow is asked for again over a new
    /// connection, and smaller, for as long as it can be.
    pub(super) async fn run(self) {
        while let Err(error) = self.read().await {
            if self.late.swap(false, Ordering::Relaxed) && self.pace.count() > 1 {
                tracing::info!(
                    entries = self.pace.count(),
                    "an answer took too long: fewer entries are asked for"
                );
                continue;
            }
            // Nobody listens any more: then nobody needs to know.
            let _ = self.out.send(Err(error)).await;
            return;
        }
    }

    async fn read(&self) -> Result<(), Error> {
        let client = Client::connect(&self.connection, &self.secrets, &self.guard).await?;
        let mut link = client.connection.clone();
        self.join(&mut link).await?;
        // What another reader had is given out again, whether it reached the worker or not.
        self.held.with(HashSet::clear);
        let mut next = Next::Own("0".to_owned());
        let claim_after = self.connection.claim_after.get();
        let (mut claimed, mut told) = (Instant::now(), None::<Instant>);
        loop {
            if claimed.elapsed() >= claim_after {
                self.claim(&mut link).await?;
                claimed = Instant::now();
            }
            let entries = match self.ask(&mut link, &next).await {
                Ok(entries) => entries,
                // Somebody removed it, with all it knew: what the stream has is read from its beginning.
                Err(error) if is_no_group(&error) => {
                    self.join(&mut link).await?;
                    continue;
                }
                Err(error) => return Err(self.not_read(&error)),
            };
            match (&next, entries.last()) {
                (Next::Own(_), None) => next = Next::New,
                (Next::Own(_), Some(last)) => next = Next::Own(last.id.clone()),
                (Next::New, _) => {}
            }
            if !self.hand_on(&mut link, entries).await? {
                return Ok(());
            }
            if told.is_none_or(|told| told.elapsed() >= LAG) {
                self.tell_lag(&mut link).await;
                told = Some(Instant::now());
            }
        }
    }

    /// Makes the group, and the stream with it, unless they are there.
    async fn join(&self, link: &mut MultiplexedConnection) -> Result<(), Error> {
        let Connection {
            stream, group, start, ..
        } = &self.connection;
        let mut create = cmd("XGROUP");
        create
            .arg("CREATE")
            .arg(stream)
            .arg(group)
            .arg(start.id())
            .arg("MKSTREAM");
        match create.query_async::<Value>(link).await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(failed(&error)),
            _ => Ok(()),
        }
    }

    async fn ask(&self, link: &mut MultiplexedConnection, next: &Next) -> Result<Vec<Entry>, RedisError> {
        let Connection { stream, group, .. } = &self.connection;
        let mut read = cmd("XREADGROUP");
        read.arg("GROUP").arg(group).arg(&self.consumer);
        read.arg("COUNT").arg(self.pace.count());
        match next {
            Next::Own(after) => read.arg("STREAMS").arg(stream).arg(after),
            Next::New => read
                .arg("BLOCK")
                .arg(WAIT.as_millis() as u64)
                .arg("STREAMS")
                .arg(stream)
                .arg(">"),
        };
        let entries = entry::of_one_stream(read.query_async(link).await?);
        self.pace.learn(&entries);
        Ok(entries)
    }

    fn not_read(&self, error: &RedisError) -> Error {
        if error.is_timeout() {
            self.late.store(true, Ordering::Relaxed);
            self.pace.slow_down();
        }
        failed(error)
    }

    /// Takes over entries that other members had for too long, and gives them on.
    async fn claim(&self, link: &mut MultiplexedConnection) -> Result<(), Error> {
        let Connection {
            stream,
            group,
            claim_after,
            ..
        } = &self.connection;
        let mut from = "0-0".to_owned();
        loop {
            let mut claim = cmd("XAUTOCLAIM");
            claim.arg(stream).arg(group).arg(&self.consumer);
            claim.arg(claim_after.get().as_millis() as u64).arg(&from);
            claim.arg("COUNT").arg(self.pace.count());
            let answer = claim.query_async::<Value>(link).await;
            let answer = answer.map_err(|error| self.not_read(&error))?;
            let Value::Array(parts) = answer else {
                return Ok(());
            };
            let mut parts = parts.into_iter();
            let next = parts
                .next()
                .and_then(|next| redis::from_redis_value::<String>(next).ok());
            let mut entries = parts.next().map(entry::entries).unwrap_or_default();
            self.pace.learn(&entries);
            // Entries that this member itself has had for so long are among them: they are being worked on.
            self.held
                .with(|held| entries.retain(|entry| !held.contains(&entry.id)));
            if !self.hand_on(link, entries).await? {
                return Ok(());
            }
            match next {
                Some(next) if next != "0-0" => from = next,
                _ => return Ok(()),
            }
        }
    }

    /// Gives entries on; what was deleted meanwhile is acknowledged at once. False when nobody listens any more.
    async fn hand_on(&self, link: &mut MultiplexedConnection, entries: Vec<Entry>) -> Result<bool, Error> {
        let (mut read, mut deleted) = (
            Read {
                ids: Vec::new(),
                records: Vec::new(),
            },
            Vec::new(),
        );
        let now = self.clock.now();
        for entry in entries {
            let id = entry.id.clone();
            match entry.record(&self.connection, now) {
                Some(record) => {
                    read.ids.push(id);
                    read.records.push(record);
                }
                None => deleted.push(id),
            }
        }
        if !deleted.is_empty() {
            acknowledge(link, &self.connection, &deleted).await?;
        }
        if read.records.is_empty() {
            return Ok(!self.out.is_closed());
        }
        self.held.with(|held| held.extend(read.ids.iter().cloned()));
        Ok(self.out.send(Ok(read)).await.is_ok())
    }

    /// A server that does not tell it (before 7.0) leaves it unknown.
    async fn tell_lag(&self, link: &mut MultiplexedConnection) {
        let mut groups = cmd("XINFO");
        groups.arg("GROUPS").arg(&self.connection.stream);
        let answer = groups
            .query_async::<redis::streams::StreamInfoGroupsReply>(link)
            .await;
        let groups = answer.map(|answer| answer.groups).unwrap_or_default();
        let own = groups
            .into_iter()
            .find(|group| group.name == self.connection.group);
        let waiting = own.and_then(|group| Some(group.lag? + group.pending));
        self.lag.send_replace(Lag {
            records: waiting.map(|count| count as u64),
            age: None,
        });
    }
}

/// Tells the server that entries are done with.
pub(super) async fn acknowledge(
    link: &mut MultiplexedConnection,
    connection: &Connection,
    ids: &[String],
) -> Result<(), Error> {
    let mut ack = cmd("XACK");
    ack.arg(&connection.stream).arg(&connection.group).arg(ids);
    let done: Result<Value, RedisError> = ack.query_async(link).await;
    done.map(drop).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_is_too_slow_is_followed_by_smaller_ones() {
        let entries = |count: usize, size: usize| -> Vec<Entry> {
            let entry = Entry {
                id: "1-1".to_owned(),
                fields: Some(vec![(Vec::new(), vec![0; size])]),
            };
            vec![entry; count]
        };
        let pace = Pace::up_to(500);
        for _ in 0..20 {
            pace.learn(&entries(2, 100));
        }
        assert_eq!(pace.count(), 500);
        for _ in 0..20 {
            pace.slow_down();
        }
        assert_eq!(pace.count(), 1);
        pace.learn(&entries(1, 1 << 20));
        assert_eq!(pace.count(), 2);
        for _ in 0..5 {
            pace.learn(&entries(1, 1 << 20));
        }
        assert_eq!(pace.count(), 8);
    }
}
