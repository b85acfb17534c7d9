//! A file as something to read from, on a thread that may block: in pieces, the next of which is on its way while one
//! is used.

use std::{
    io::{self, Read},
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{runtime::Handle, sync::mpsc, task::JoinHandle};

use super::{Object, ReadError, Store, scan::Event};
use crate::Error;

/// How much is fetched at a time.
pub(crate) const PIECE: u64 = 2 * 1024 * 1024;

/// A piece that is on its way; dropped, it does not come.
#[derive(Debug)]
pub(crate) struct Fetch(JoinHandle<Result<Bytes, ReadError>>);

impl Fetch {
    /// Begins to fetch a part of a file.
    pub(crate) fn begin(
        runtime: &Handle,
        store: &Arc<dyn Store>,
        object: &Arc<Object>,
        part: Range<u64>,
    ) -> Self {
        let (store, object) = (Arc::clone(store), Arc::clone(object));
        Self(runtime.spawn(async move {
            let length = usize::try_from(part.end - part.start).unwrap_or_default();
            if length == 0 {
                return Ok(Bytes::new());
            }
            store.read(&object, part.start, length).await
        }))
    }
}

impl Future for Fetch {
    type Output = Result<Bytes, ReadError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(|ended| {
            let broken = |error| ReadError::Failed(Error::System(format!("a read broke off: {error}")));
            ended.map_err(broken)?
        })
    }
}

impl Drop for Fetch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What every reader of a file shares.
#[derive(Clone)]
pub(crate) struct Access {
    pub(crate) runtime: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) object: Arc<Object>,
    /// Closed when nobody wants the rows any more.
    pub(crate) wanted: mpsc::Sender<Event>,
    /// Why the file could not be read on. What libraries make of it is no matter.
    pub(crate) failure: Arc<Mutex<Option<ReadError>>>,
}

impl Access {
    pub(crate) fn begin(&self, part: Range<u64>) -> Fetch {
        Fetch::begin(&self.runtime, &self.store, &self.object, part)
    }

    /// Waits for a piece.
    pub(crate) fn wait(&self, fetch: Fetch) -> io::Result<Bytes> {
        let outcome = self.runtime.block_on(async {
            tokio::select! {
                () = self.wanted.closed() => None,
                outcome = fetch => Some(outcome),
            }
        });
        match outcome {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(error)) => {
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::Error::other("the file cannot be read on"))
            }
            None => Err(io::ErrorKind::Interrupted.into()),
        }
    }
}

/// Reads a file from its beginning to its end.
pub(crate) struct Pieces {
    access: Access,
    piece: Bytes,
    next: u64,
    ahead: Option<Fetch>,
}

impl Pieces {
    /// `first` is the piece at the beginning.
    pub(crate) fn new(access: Access, first: Bytes) -> Self {
        let next = first.len() as u64;
        let mut pieces = Self {
            access,
            piece: first,
            next,
            ahead: None,
        };
        pieces.look_ahead();
        pieces
    }

    fn look_ahead(&mut self) {
        let end = (self.next + PIECE).min(self.access.object.size);
        self.ahead = (self.next < end).then(|| self.access.begin(self.next..end));
        self.next = end;
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty()
            && let Some(fetch) = self.ahead.take()
        {
            // `Interrupted` would be tried again for ever.
            let ended = |error: io::Error| io::Error::other(error.to_string());
            self.piece = self.access.wait(fetch).map_err(ended)?;
            self.look_ahead();
        }
        let length = buffer.len().min(self.piece.len());
        if let Some(target) = buffer.get_mut(..length) {
            self.piece.copy_to_slice(target);
        }
        Ok(length)
    }
}
