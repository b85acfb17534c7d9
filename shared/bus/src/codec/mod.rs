//! What is in a message: CloudEvents 1.0 in JSON, in batches on the data path.

pub(crate) mod base64_bytes;
mod cloud_event;
mod event;
mod outcome;
mod text;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::Error;

pub use event::{decode_event, decode_events, encode_event};
pub use outcome::decode_outcomes;

/// The media type of a frame (CloudEvents JSON batch format).
pub const BATCH_CONTENT_TYPE: &str = "application/cloudevents-batch+json";

/// Something that travels in frames.
pub trait FrameItem: Send + Sync + 'static {
    /// The item as one or more CloudEvents of at most `limit` bytes each.
    ///
    /// # Errors
    /// It, or a part that cannot be divided, is larger than `limit`.
    fn encode(&self, limit: usize) -> Result<Vec<Bytes>, Error>;
}

/// One frame of already encoded items.
#[must_use]
pub fn frame<'a>(items: impl IntoIterator<Item = &'a Bytes>, size_hint: usize) -> Bytes {
    let mut frame = Vec::with_capacity(size_hint + 2);
    frame.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            frame.push(b',');
        }
        frame.extend_from_slice(item);
    }
    frame.push(b']');
    frame.into()
}
