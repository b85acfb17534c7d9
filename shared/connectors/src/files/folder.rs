//! Files in folders, in the order of their keys. Folders tell their entries in no order, so a page is made of the
//! least keys after the last one: the folders are gone through once for each page, and never more than a page is held.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use super::{Listing, Object, Pattern};
use crate::Error;

/// How many files a page has.
pub(crate) const PAGE: usize = 20_000;
/// How deep folders are gone into.
const DEPTH: usize = 32;
/// How many folders are known that were not gone into yet.
const FOLDERS: usize = 100_000;

/// An entry of a folder.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What an entry is. Links are not followed.
#[derive(Debug)]
pub(crate) enum Kind {
    Folder,
    /// A file, with its key left out.
    File(Object),
}

/// Something with folders.
#[async_trait]
pub(crate) trait Folders: Send + Sync + 'static {
    /// The entries of a folder, in any order. `folder` is empty or ends in a slash. A folder below the first one that
    /// is gone by now, or may not be read, has none.
    fn entries<'a>(&'a self, folder: &'a str) -> BoxStream<'a, Result<Entry, Error>>;
}

/// All files after a key whose names fit.
pub(crate) fn list<F: Folders>(
    folders: Arc<F>,
    names: Pattern,
    after: Option<String>,
    page: usize,
) -> Listing {
    let pages = stream::try_unfold(Some(after), move |after| {
        let (folders, names) = (Arc::clone(&folders), names.clone());
        async move {
            let Some(after) = after else {
                return Ok::<_, Error>(None);
            };
            let found = one_page(&*folders, &names, after.as_deref(), page).await?;
            let last = (found.len() == page).then(|| found.last_key_value()).flatten();
            let next = last.map(|(key, _)| Some(key.clone()));
            Ok(Some((stream::iter(found.into_values().map(Ok)), next)))
        }
    });
    pages.try_flatten().boxed()
}

fn too_many() -> Error {
    Error::Refused {
        message: format!("there are more than {FOLDERS} folders to go into; read a folder below"),
    }
}

/// The least `most` files after a key.
async fn one_page(
    folders: &impl Folders,
    names: &Pattern,
    after: Option<&str>,
    most: usize,
) -> Result<BTreeMap<String, Object>, Error> {
    let mut least: BTreeMap<String, Object> = BTreeMap::new();
    let mut todo = vec![String::new()];
    while let Some(folder) = todo.pop() {
        let is_past = after.is_some_and(|after| after > folder.as_str() && !after.starts_with(&folder));
        let last = || least.last_key_value().map(|(key, _)| key.as_str());
        if is_past || (least.len() >= most && last() < Some(folder.as_str())) {
            continue;
        }
        let mut entries = folders.entries(&folder);
        while let Some(entry) = entries.try_next().await? {
            let key = format!("{folder}{}", entry.name);
            match entry.kind {
                Kind::Folder if folder.matches('/').count() < DEPTH => {
                    if todo.len() >= FOLDERS {
                        return Err(too_many());
                    }
                    todo.push(key + "/");
                }
                Kind::File(object) if names.fits(&key) && after.is_none_or(|after| key.as_str() > after) => {
                    least.insert(key.clone(), Object { key, ..object });
                    if least.len() > most {
                        least.pop_last();
                    }
                }
                Kind::Folder | Kind::File(_) => {}
            }
        }
    }
    Ok(least)
}
