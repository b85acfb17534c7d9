//! Files, and what holds them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use halcyon_domain::clock::Timestamp;

use crate::Error;

/// A file, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    /// Where it is; files are read in the order of their keys.
    pub(crate) key: String,
    /// Which content it has: another content has another tag.
    pub(crate) etag: String,
    /// How long it is, in bytes.
    pub(crate) size: u64,
    /// When it was written.
    pub(crate) modified: Timestamp,
}

/// Why a part of a file was not read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The file is not what was listed any more, or not there.
    Changed,
    /// Anything else.
    Failed(Error),
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Files in the order of the bytes of their keys.
pub(crate) type Listing = BoxStream<'static, Result<Object, Error>>;

/// What holds files.
#[async_trait]
pub(crate) trait Store: Send + Sync + 'static {
    /// The name that makes its keys the only ones of that name.
    fn place(&self) -> &str;

    /// The part of a key that patterns are matched against.
    fn below<'a>(&self, key: &'a str) -> &'a str;

    /// The files after a key. Holds no more than a page in memory.
    fn list(self: Arc<Self>, after: Option<String>) -> Listing;

    /// Exactly `length` bytes of a file that has not changed since it was listed.
    async fn read(&self, object: &Object, offset: u64, length: usize) -> Result<Bytes, ReadError>;
}
