//! Files in a folder of this machine, for installations that allow it.

use std::{
    fs::{self, File, FileType, Metadata},
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::DateTime;
use futures::{StreamExt, stream::BoxStream};
use halcyon_domain::clock::Timestamp;
use tokio::{sync::mpsc, task::spawn_blocking};

use crate::{
    Error,
    files::{Entry, Folders, Kind, Listing, Object, Pattern, ReadError, Store, list},
};

/// A folder, by its real place.
pub(super) struct Folder {
    pub(super) root: PathBuf,
    pub(super) name: String,
    pub(super) names: Pattern,
    pub(super) page: usize,
}

impl Folders for Folder {
    fn entries<'a>(&'a self, folder: &'a str) -> BoxStream<'a, Result<Entry, Error>> {
        let (path, is_first) = (self.root.join(folder), folder.is_empty());
        let (sender, receiver) = mpsc::channel(64);
        spawn_blocking(move || {
            let entries = match fs::read_dir(&path) {
                Ok(entries) => entries,
                Err(error) if is_first => {
                    let _ = sender.blocking_send(Err(Error::transient(format!("the folder: {error}"))));
                    return;
                }
                Err(_) => return,
            };
            for entry in entries.flatten() {
                let known = entry.file_type().ok().zip(entry.file_name().into_string().ok());
                let told = known.and_then(|(kind, name)| told(kind, name, || entry.metadata()));
                if told.is_some_and(|entry| sender.blocking_send(Ok(entry)).is_err()) {
                    return;
                }
            }
        });
        futures::stream::unfold(receiver, async |mut receiver| {
            Some((receiver.recv().await?, receiver))
        })
        .boxed()
    }
}

/// Links are not followed, so that a file is in the folder where it is listed.
fn told(kind: FileType, name: String, metadata: impl FnOnce() -> io::Result<Metadata>) -> Option<Entry> {
    let kind = if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() {
        Kind::File(object(&metadata().ok()?))
    } else {
        return None;
    };
    Some(Entry { name, kind })
}

fn object(metadata: &Metadata) -> Object {
    Object {
        key: String::new(),
        etag: format!(
            "{:x}-{:x}.{:x}",
            metadata.size(),
            metadata.mtime(),
            metadata.mtime_nsec()
        ),
        size: metadata.size(),
        modified: modified(metadata),
    }
}

fn modified(metadata: &Metadata) -> Timestamp {
    let micros = metadata.mtime().saturating_mul(1_000_000) + metadata.mtime_nsec() / 1_000;
    DateTime::from_timestamp_micros(micros).unwrap_or_default()
}

#[async_trait]
impl Store for Folder {
    fn place(&self) -> &str {
        &self.name
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key
    }

    fn list(self: Arc<Self>, after: Option<String>) -> Listing {
        let (names, page) = (self.names.clone(), self.page);
        list(self, names, after, page)
    }

    async fn read(&self, wanted: &Object, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        let (root, path, etag) = (
            self.root.clone(),
            self.root.join(&wanted.key),
            wanted.etag.clone(),
        );
        let part = move || -> io::Result<Option<Vec<u8>>> {
            // A folder on the way may have become a link since it was listed.
            if !path.canonicalize()?.starts_with(&root) {
                return Ok(None);
            }
            let file = File::open(&path)?;
            if object(&file.metadata()?).etag != etag {
                return Ok(None);
            }
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(Some(bytes))
        };
        match spawn_blocking(part).await {
            Ok(Ok(Some(bytes))) => Ok(bytes.into()),
            Ok(Ok(None)) => Err(ReadError::Changed),
            Ok(Err(error))
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Err(ReadError::Changed)
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Err(Error::Refused {
                message: format!("the file `{}` may not be read", wanted.key),
            }
            .into()),
            Ok(Err(error)) => Err(Error::transient(format!("the file `{}`: {error}", wanted.key)).into()),
            Err(error) => Err(Error::System(format!("a read broke off: {error}")).into()),
        }
    }
}
