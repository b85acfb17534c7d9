//! Objects of a bucket.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::SubsecRound;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use object_store::{Error as StoreError, GetOptions, GetRange, ObjectMeta, ObjectStore, path::Path};
use tokio::time::timeout;

use crate::{
    Error,
    files::{Listing, Object, ReadError, Store},
};

/// How long a page of a listing, or a part of an object, may take with all that is tried again.
const PATIENCE: Duration = Duration::from_secs(120);

/// What marks a tag that we made, for want of one.
const OWN_TAG: char = '~';

/// A bucket (S3, Google Cloud Storage) or a container (Azure), below a prefix.
pub(super) struct Bucket {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) name: String,
    pub(super) prefix: String,
}

impl Bucket {
    /// The prefix as far as its last slash: listings begin at whole parts of keys.
    fn folder(&self) -> Option<Path> {
        let (folder, _) = self.prefix.rsplit_once('/')?;
        Path::parse(folder).ok()
    }

    fn found(&self, after: Option<&str>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let folder = self.folder();
        // The prefix may end within a part of keys: what comes before it is passed over.
        match Path::parse(after.unwrap_or(&self.prefix))
            .ok()
            .filter(|after| !after.is_root())
        {
            Some(after) => self.store.list_with_offset(folder.as_ref(), &after),
            None => self.store.list(folder.as_ref()),
        }
    }
}

#[async_trait]
impl Store for Bucket {
    fn place(&self) -> &str {
        &self.name
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    fn list(self: Arc<Self>, after: Option<String>) -> Listing {
        let found = self.found(after.as_deref());
        let pages = stream::unfold(found, async |mut found| {
            let next = match timeout(PATIENCE, found.next()).await {
                Ok(next) => next?.map_err(|error| told(&error)),
                Err(_) => Err(Error::transient("the listing of the bucket takes too long")),
            };
            Some((next, found))
        });
        let prefix = self.prefix.clone();
        // What comes after it is not gone through.
        let ours = pages.try_take_while(move |meta| {
            let key = meta.location.as_ref();
            let is_ours = key < prefix.as_str() || key.starts_with(&prefix);
            async move { Ok(is_ours) }
        });
        let prefix = self.prefix.clone();
        ours.try_filter_map(move |meta| {
            let fits = meta.location.as_ref().starts_with(&prefix);
            let object = fits.then(|| object(&meta));
            async { Ok(object) }
        })
        .boxed()
    }

    async fn read(&self, object: &Object, offset: u64, length: usize) -> Result<Bytes, ReadError> {
        let path = Path::parse(&object.key).map_err(|_| ReadError::Changed)?;
        let options = GetOptions {
            range: Some(GetRange::Bounded(offset..offset + length as u64)),
            ..GetOptions::default()
        };
        let get = async {
            let result = self.store.get_opts(&path, options).await?;
            let is_same = object.etag.starts_with(OWN_TAG) || tag(&result.meta) == object.etag;
            Ok::<_, StoreError>((is_same, result.bytes().await?))
        };
        match timeout(PATIENCE, get).await {
            Ok(Ok((true, bytes))) if bytes.len() == length => Ok(bytes),
            Ok(Ok(_) | Err(StoreError::NotFound { .. } | StoreError::Precondition { .. })) => {
                Err(ReadError::Changed)
            }
            Ok(Err(error)) => Err(told(&error).into()),
            Err(_) => Err(Error::transient("a part of an object takes too long").into()),
        }
    }
}

fn object(meta: &ObjectMeta) -> Object {
    Object {
        key: meta.location.to_string(),
        etag: tag(meta),
        size: meta.size,
        modified: meta.last_modified.trunc_subsecs(6),
    }
}

fn tag(meta: &ObjectMeta) -> String {
    match &meta.e_tag {
        Some(tag) => tag.trim_matches('"').to_owned(),
        None => format!("{OWN_TAG}{}-{}", meta.size, meta.last_modified.timestamp_millis()),
    }
}

/// What the other side says by a code, in our words; it answers with other things that may hold secrets.
const REFUSALS: &[(&str, &str)] = &[
    ("InvalidAccessKeyId", "the access key is not known there"),
    ("SignatureDoesNotMatch", "the secret access key is wrong"),
    ("InvalidToken", "the session token is wrong"),
    ("ExpiredToken", "the session token has expired"),
    (
        "AuthenticationFailed",
        "the account's key or the signature is wrong",
    ),
    ("AuthorizationHeaderMalformed", "the region is not the bucket's"),
    ("PermanentRedirect", "the bucket is in another region"),
    ("NoSuchBucket", "there is no such bucket"),
    ("ContainerNotFound", "there is no such container"),
    ("InvalidBucketName", "the name is no bucket's"),
    (
        "AccessDenied",
        "the credentials may not list the bucket and read its objects",
    ),
    (
        "AuthorizationPermissionMismatch",
        "the credentials may not list and read",
    ),
];

/// The failure in our words and of our class.
pub(super) fn told(error: &StoreError) -> Error {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut text = String::new();
    while let Some(found) = cause {
        match found.downcast_ref::<Error>() {
            Some(Error::Refused { message }) => {
                return Error::Refused {
                    message: message.clone(),
                };
            }
            Some(own) => return Error::transient(own.to_string()),
            None => text.push_str(&found.to_string()),
        }
        cause = found.source();
    }
    let refused = |message: &str| Error::Refused {
        message: message.to_owned(),
    };
    let said = REFUSALS
        .iter()
        .find(|(code, _)| text.contains(&format!("<Code>{code}</Code>")));
    match (said, error) {
        (Some((code, meaning)), _) => refused(&format!("{meaning} ({code})")),
        (None, StoreError::NotFound { .. }) => refused("there is no such bucket"),
        (None, StoreError::Unauthenticated { .. }) => refused("the credentials are not known there"),
        (None, StoreError::PermissionDenied { .. }) => {
            refused("the credentials may not list the bucket and read its objects")
        }
        (None, StoreError::InvalidPath { .. }) => refused(
            "the bucket has a key with an empty or relative part, such as `a//b`, which cannot be read",
        ),
        _ => Error::transient("the object store does not answer as it should"),
    }
}
