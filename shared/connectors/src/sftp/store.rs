//! Files of a folder of the server.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use halcyon_egress::Guard;
use russh_sftp::{
    client::error::Error as SftpError,
    protocol::{FileAttributes, OpenFlags, StatusCode},
};
use tokio::sync::Mutex;

use super::{
    config::Connection,
    session::{Session, open},
};
use crate::{
    Error, Secrets,
    files::{Entry, Folders, Kind, Listing, Object, PAGE, Pattern, ReadError, Store, list},
};

/// How much is asked for in one request, and how many requests are on their way.
const PART: usize = 64 * 1024;
const REQUESTS: usize = 16;

/// A folder of the server, and the session with it while there is one.
pub(super) struct Folder {
    connection: Connection,
    secrets: Secrets,
    guard: Guard,
    names: Pattern,
    place: String,
    session: Mutex<Option<Arc<Session>>>,
}

impl Folder {
    pub(super) fn new(connection: &Connection, secrets: &Secrets, guard: &Guard) -> Result<Self, Error> {
        Ok(Self {
            names: connection.files.names()?,
            place: connection.place(),
            connection: connection.clone(),
            secrets: secrets.clone(),
            guard: guard.clone(),
            session: Mutex::default(),
        })
    }

    /// The same with a session that is there already.
    pub(super) fn with_session(mut self, session: Session) -> Self {
        self.session = Mutex::new(Some(Arc::new(session)));
        self
    }

    async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut held = self.session.lock().await;
        if let Some(session) = held.as_ref().filter(|session| !session.is_over()) {
            return Ok(Arc::clone(session));
        }
        let session = Arc::new(open(&self.connection, &self.secrets, &self.guard).await?);
        *held = Some(Arc::clone(&session));
        Ok(session)
    }

    /// The failure of our class. After one that is no answer the session is not used again.
    async fn told(&self, session: &Arc<Session>, error: &SftpError, path: &str) -> Error {
        let code = match error {
            SftpError::Status(status) => Some(status.status_code),
            _ => None,
        };
        match code {
            Some(StatusCode::PermissionDenied) => Error::Refused {
                message: format!("the user may not read `{path}`"),
            },
            Some(StatusCode::NoSuchFile) => Error::Refused {
                message: format!("there is no `{path}` on the server"),
            },
            _ => {
                let mut held = self.session.lock().await;
                if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
                    *held = None;
                }
                Error::transient(format!("the server failed at `{path}`: {}", kind(error)))
            }
        }
    }

    fn path(&self, key: &str) -> String {
        let folder = self.connection.folder.trim_end_matches('/');
        format!("{folder}/{key}")
    }

    async fn folder(&self, folder: &str) -> Result<Reading<'_>, Error> {
        let session = self.session().await?;
        let path = match folder {
            "" if self.connection.folder == "/" => "/".to_owned(),
            "" => self.path("").trim_end_matches('/').to_owned(),
            folder => self.path(folder.trim_end_matches('/')),
        };
        let handle = match session.sftp.opendir(&path).await {
            Ok(handle) => Some(handle.handle),
            // A folder in the folder that may not be read holds nothing of ours, nor one that is gone by now.
            Err(SftpError::Status(status))
                if !folder.is_empty()
                    && matches!(
                        status.status_code,
                        StatusCode::PermissionDenied | StatusCode::NoSuchFile
                    ) =>
            {
                None
            }
            Err(error) => return Err(self.told(&session, &error, &path).await),
        };
        Ok(Reading {
            folder: self,
            session,
            handle,
            path,
        })
    }

    async fn part(
        &self,
        session: &Session,
        handle: &str,
        object: &Object,
        offset: u64,
        length: usize,
    ) -> Result<Option<Bytes>, SftpError> {
        if tag(&session.sftp.fstat(handle).await?.attrs) != object.etag {
            return Ok(None);
        }
        let parts = (0..length).step_by(PART).map(|at| {
            let wanted = PART.min(length - at);
            async move { piece(session, handle, offset + at as u64, wanted).await }
        });
        let mut parts = stream::iter(parts).buffered(REQUESTS);
        let mut bytes = BytesMut::with_capacity(length);
        while let Some(part) = parts.try_next().await? {
            bytes.extend_from_slice(&part);
        }
        Ok((bytes.len() == length).then(|| bytes.freeze()))
    }
}

/// Asks until all has come: servers may give less than they were asked for.
async fn piece(session: &Session, handle: &str, offset: u64, length: usize) -> Result<Vec<u8>, SftpError> {
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let wanted = u32::try_from(length - bytes.len()).unwrap_or(u32::MAX);
        match session
            .sftp
            .read(handle, offset + bytes.len() as u64, wanted)
            .await
        {
            Ok(data) if data.data.is_empty() => break,
            Ok(data) => bytes.extend(data.data),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

/// A folder that is being read.
struct Reading<'a> {
    folder: &'a Folder,
    session: Arc<Session>,
    handle: Option<String>,
    path: String,
}

impl Reading<'_> {
    /// The next entries; `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, Error> {
        let Some(handle) = &self.handle else {
            return Ok(None);
        };
        match self.session.sftp.readdir(handle).await {
            Ok(names) => Ok(Some(
                names
                    .files
                    .into_iter()
                    .filter_map(|file| entry(file.filename, &file.attrs))
                    .collect(),
            )),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::Eof => {
                let _ = self.session.sftp.close(handle).await;
                Ok(None)
            }
            Err(error) => Err(self.folder.told(&self.session, &error, &self.path).await),
        }
    }
}

fn entry(name: String, attributes: &FileAttributes) -> Option<Entry> {
    // A server that is not to be trusted could name a place elsewhere.
    if name == "." || name == ".." || name.contains('/') {
        return None;
    }
    let kind = attributes.file_type();
    let kind = if kind.is_dir() {
        Kind::Folder
    } else if kind.is_file() || attributes.permissions.is_none() {
        Kind::File(Object {
            key: String::new(),
            etag: tag(attributes),
            size: attributes.size.unwrap_or_default(),
            modified: DateTime::from_timestamp(attributes.mtime.unwrap_or_default().into(), 0)
                .unwrap_or_default(),
        })
    } else {
        return None;
    };
    Some(Entry { name, kind })
}

fn tag(attributes: &FileAttributes) -> String {
    format!(
        "{:x}-{:x}",
        attributes.size.unwrap_or_default(),
        attributes.mtime.unwrap_or_default()
    )
}

/// What kind of failure it was; what servers write into their answers is not passed on.
fn kind(error: &SftpError) -> String {
    match error {
        SftpError::Status(status) => status.status_code.to_string(),
        SftpError::Timeout => "no answer in time".to_owned(),
        SftpError::IO(_) => "the connection broke".to_owned(),
        _ => "an answer that was not expected".to_owned(),
    }
}

impl Folders for Folder {
    fn entries<'a>(&'a self, folder: &'a str) -> BoxStream<'a, Result<Entry, Error>> {
        let begun = stream::once(self.folder(folder));
        let entries = begun.map_ok(|reading| {
            stream::try_unfold(reading, async |mut reading| {
                let entries = reading.next().await?;
                Ok::<_, Error>(entries.map(|entries| (stream::iter(entries.into_iter().map(Ok)), reading)))
            })
            .try_flatten()
        });
        entries.try_flatten().boxed()
    }
}

#[async_trait]
impl Store for Folder {
    fn place(&self) -> &str {
        &self.place
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key
    }

    fn list(self: Arc<Self>, after: Option<String>) -> Listing {
        let names = self.names.clone();
        list(self, names, after, PAGE)
    }

    async fn read(&self, object: &Object, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        let session = self.session().await?;
        let path = self.path(&object.key);
        let opened = session
            .sftp
            .open(&path, OpenFlags::READ, FileAttributes::empty())
            .await;
        let outcome = match opened {
            Ok(opened) => {
                let outcome = self.part(&session, &opened.handle, object, offset, length).await;
                let _ = session.sftp.close(opened.handle).await;
                outcome
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(ReadError::Changed),
            Err(SftpError::Status(status)) if status.status_code == StatusCode::NoSuchFile => {
                Err(ReadError::Changed)
            }
            Err(error) => Err(self.told(&session, &error, &path).await.into()),
        }
    }
}
