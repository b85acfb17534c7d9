//! PostgreSQL's messages, none of which may be longer than a row may be: the library waits for a whole one, and has room
//! for 2 GiB.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::session::LONGEST;

/// A stream that ends where a message is too long. A message is its type, a byte, and its length, which counts itself.
/// <https://www.postgresql.org/docs/current/protocol-message-formats.html>
pub(super) struct Framed<S> {
    inner: S,
    length: [u8; 4],
    /// How much of the next message's type and length came, and how much of this one is to come.
    head: usize,
    left: usize,
    too_long: Arc<AtomicBool>,
}

impl<S> Framed<S> {
    /// `too_long` is set when a message is.
    pub(super) fn new(inner: S, too_long: Arc<AtomicBool>) -> Self {
        Self {
            inner,
            length: [0; 4],
            head: 0,
            left: 0,
            too_long,
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        loop {
            let passed = self.left.min(bytes.len());
            self.left -= passed;
            bytes = bytes.get(passed..).unwrap_or_default();
            let Some((byte, rest)) = bytes.split_first() else {
                return Ok(());
            };
            bytes = rest;
            if let Some(place) = self.head.checked_sub(1).and_then(|at| self.length.get_mut(at)) {
                *place = *byte;
            }
            self.head += 1;
            if self.head <= self.length.len() {
                continue;
            }
            self.head = 0;
            self.left = (u32::from_be_bytes(self.length) as usize).saturating_sub(self.length.len());
            if self.left > LONGEST {
                self.too_long.store(true, Ordering::Relaxed);
                return Err(io::Error::other("a message is too long"));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        Poll::Ready(self.pass(buffer.filled().get(before..).unwrap_or_default()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
