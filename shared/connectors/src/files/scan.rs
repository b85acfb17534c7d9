//! One way through a listing: a task that tells the rows of the files that are to be read, in order, through a channel
//! that holds few of them. While one file is decoded, on a thread that may block, the next ones are on their way.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
};

use super::{
    Format, Object, Pattern, ReadError, Store,
    choice::{Choice, Verdict, is_named},
    config::Kind,
    decode::{Blocks, Halt, Out, parquet_rows, rows},
    reader::{Access, Fetch, PIECE, Pieces},
};
use crate::Error;

/// How many files are begun ahead of the one that is decoded.
const AHEAD: usize = 8;
/// How many events wait to be taken.
const WAITING: usize = 4;
/// How many files are looked at for the newest one.
const LOOKED_AT: usize = 10_000;

/// What a scan tells.
#[derive(Debug)]
pub(crate) enum Event {
    /// Rows of a file, and the number of the first.
    Rows(Arc<Object>, u64, Vec<Bytes>),
    /// A file is done, or was before.
    Done(Arc<Object>),
    /// A file could not be read as it was listed; a later run sees it again.
    Left(Arc<Object>),
    /// The listing has ended.
    End,
    /// It cannot go on.
    Failed(Error),
}

/// What a scan reads.
#[derive(Clone)]
pub(crate) struct Plan {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) format: Arc<Format>,
    pub(crate) max_bytes: u64,
}

/// A running scan; dropped, it ends.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scan {
    /// Reads what `choice` chooses after a key.
    pub(crate) fn begin(plan: Plan, choice: Choice, after: Option<String>) -> Self {
        Self::spawn(async move |events| {
            let store = Arc::clone(&plan.store);
            let judged = judged(&store, choice, after);
            plan.read_all(judged, &events).await
        })
    }

    /// Reads the newest file, as far as a look at the first ones shows.
    pub(crate) fn newest(plan: Plan, names: Pattern) -> Self {
        Self::spawn(async move |events| {
            let store = Arc::clone(&plan.store);
            let named = |object: &Object| is_named(&names, store.below(&object.key));
            let seen = Arc::clone(&store).list(None).take(LOOKED_AT);
            let newest = seen
                .try_fold(None::<Object>, |newest, object| {
                    let newer = newest
                        .as_ref()
                        .is_none_or(|newest| newest.modified <= object.modified);
                    let next = if newer && object.size > 0 && named(&object) {
                        Some(object)
                    } else {
                        newest
                    };
                    async { Ok(next) }
                })
                .await?;
            let found = newest.map(|object| Ok((Arc::new(object), Verdict::Read(0))));
            plan.read_all(stream::iter(found), &events).await
        })
    }

    fn spawn<F, R>(run: F) -> Self
    where
        F: FnOnce(mpsc::Sender<Event>) -> R + Send + 'static,
        R: Future<Output = Result<(), Error>> + Send,
    {
        let (sender, events) = mpsc::channel(WAITING);
        let task = tokio::spawn(async move {
            let last = match run(sender.clone()).await {
                Ok(()) => Event::End,
                Err(error) => Event::Failed(error),
            };
            let _ = sender.send(last).await;
        });
        Self { events, task }
    }
}

type Judged = (Arc<Object>, Verdict);

fn judged(
    store: &Arc<dyn Store>,
    choice: Choice,
    after: Option<String>,
) -> impl Stream<Item = Result<Judged, Error>> + Send + use<> {
    let names = Arc::clone(store);
    Arc::clone(store).list(after).try_filter_map(move |object| {
        let verdict = choice.judge(&object, names.below(&object.key));
        let told = (verdict != Verdict::Pass).then(|| (Arc::new(object), verdict));
        async { Ok(told) }
    })
}

impl Plan {
    async fn read_all(
        &self,
        judged: impl Stream<Item = Result<Judged, Error>> + Send,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), Error> {
        let runtime = Handle::current();
        let begun = judged.map_ok(|(object, verdict)| {
            let wanted = matches!(verdict, Verdict::Read(_)) && self.format.kind != Kind::Parquet;
            let most = if object.size > self.max_bytes {
                0
            } else {
                object.size.min(PIECE)
            };
            let first = wanted.then(|| Fetch::begin(&runtime, &self.store, &object, 0..most));
            async move { Ok((object, verdict, first)) }
        });
        let mut begun = std::pin::pin!(begun.try_buffered(AHEAD));
        while let Some((object, verdict, first)) = begun.try_next().await? {
            let outcome = match verdict {
                Verdict::Read(from) => self.read(&runtime, &object, from, first, events).await,
                Verdict::Known | Verdict::Pass => Ok(()),
            };
            let event = match outcome {
                Ok(()) => Event::Done(object),
                Err(ReadError::Changed) => Event::Left(object),
                Err(ReadError::Failed(error)) => return Err(error),
            };
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Tells the rows of a file from a row on.
    async fn read(
        &self,
        runtime: &Handle,
        object: &Arc<Object>,
        from: u64,
        first: Option<Fetch>,
        events: &mpsc::Sender<Event>,
    ) -> Result<(), ReadError> {
        let failure = Arc::new(Mutex::new(None));
        let access = Access {
            runtime: runtime.clone(),
            store: Arc::clone(&self.store),
            object: Arc::clone(object),
            wanted: events.clone(),
            failure: Arc::clone(&failure),
        };
        let first = match first {
            Some(first) => first.await?,
            None => Bytes::new(),
        };
        let plan = self.clone();
        let reading = spawn_blocking(move || plan.decode(access, from, first));
        let lost = |error| ReadError::Failed(Error::System(format!("the reading broke off: {error}")));
        reading.await.map_err(lost)?;
        match failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn decode(&self, access: Access, from: u64, first: Bytes) {
        let (events, object, failure) = (
            access.wanted.clone(),
            Arc::clone(&access.object),
            Arc::clone(&access.failure),
        );
        let mut send = |first, rows| {
            events
                .blocking_send(Event::Rows(Arc::clone(&object), first, rows))
                .is_ok()
        };
        let mut out = Out::new(from, &mut send);
        // Libraries for files that anyone may have made are not trusted not to panic.
        let caught = catch_unwind(AssertUnwindSafe(|| {
            if object.size > self.max_bytes {
                Err(Halt::Broken(
                    "it is longer than `max_object_mib` allows".to_owned(),
                ))
            } else if self.format.kind == Kind::Parquet {
                parquet_rows(Blocks::new(access), self.max_bytes, &mut out)
            } else {
                rows(&self.format, self.max_bytes, Pieces::new(access, first), &mut out)
            }
        }));
        let outcome = caught.unwrap_or_else(|_| Err(Halt::Broken("it is damaged".to_owned())));
        let unread = failure.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        // What the network did is no word on the file.
        if let Err(Halt::Broken(why)) = outcome
            && !unread
        {
            let _ = out.broken(&why);
        }
    }
}
