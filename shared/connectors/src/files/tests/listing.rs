//! Listings of any length in bounded memory.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use serde_json::json;

use super::support::{NOW, Reader, at};
use crate::{
    Error, Source,
    files::{
        Entry, Folders, Kind, Listing, Object, Pattern, ReadError, Store, list,
        position::Position,
        window::{MOST, Window},
    },
};

/// A bucket with as many files as one likes, made while they are listed. Each has one row.
struct Generated {
    files: usize,
    /// How many files were written within a second, up to now.
    each_second: usize,
    listed: AtomicUsize,
}

impl Generated {
    fn object(&self, index: usize) -> Object {
        let age = (self.files - index) / self.each_second;
        Object {
            key: format!("logs/{index:012}"),
            etag: "1".to_owned(),
            size: 2,
            modified: at(NOW - i64::try_from(age).unwrap()),
        }
    }
}

#[async_trait]
impl Store for Generated {
    fn place(&self) -> &str {
        "generated"
    }

    fn below<'a>(&self, key: &'a str) -> &'a str {
        key
    }

    fn list(self: Arc<Self>, after: Option<String>) -> Listing {
        let first = after.map_or(0, |after| after[5..].parse::<usize>().unwrap() + 1);
        stream::iter(first..self.files)
            .map(move |index| {
                self.listed.fetch_add(1, Ordering::Relaxed);
                Ok(self.object(index))
            })
            .boxed()
    }

    async fn read(&self, _: &Object, _: u64, _: usize) -> Result<Bytes, ReadError> {
        Ok(Bytes::from_static(b"{}"))
    }
}

#[tokio::test]
async fn a_million_keys_are_gone_through_and_only_the_new_ones_read() {
    let store = Arc::new(Generated {
        files: 1_000_000,
        each_second: 2,
        listed: AtomicUsize::new(0),
    });
    let mut reader = Reader::new(store.clone(), json!({"type": "ndjson"}));
    reader.context.limits.max_records = 500;
    // Earlier runs read everything that is older than ten minutes.
    reader.chosen = json!({"look_back_seconds": 600});
    reader.context.checkpoint = Some(crate::Checkpoint(json!({"horizon": NOW - 600, "run": null})));
    let found = reader.run().await;
    assert_eq!(found.len(), 1201);
    assert_eq!(store.listed.load(Ordering::Relaxed), 1_000_000);
    let checkpoint = reader.context.checkpoint.as_ref().unwrap();
    assert!(checkpoint.0.to_string().len() < 64 * 1024);
    assert_eq!(reader.run().await.len(), 0);
}

#[tokio::test]
async fn a_listing_goes_no_faster_than_its_files_are_taken() {
    let store = Arc::new(Generated {
        files: 1_000_000,
        each_second: 2,
        listed: AtomicUsize::new(0),
    });
    let mut reader = Reader::new(store.clone(), json!({"type": "ndjson"}));
    reader.context.limits.max_records = 5;
    let mut source = reader.source();
    for batch in 1..=20 {
        source.next_batch().await.unwrap().unwrap();
        let listed = store.listed.load(Ordering::Relaxed);
        assert!(listed < batch * 5 + 64, "{listed} after {batch} batches");
    }
}

#[tokio::test]
async fn what_is_remembered_is_bounded_and_nothing_is_left_out() {
    // More files than can be remembered, all of them within the look-back.
    let store = Arc::new(Generated {
        files: 22_000,
        each_second: 20,
        listed: AtomicUsize::new(0),
    });
    let mut reader = Reader::new(store, json!({"type": "ndjson"}));
    reader.context.limits.max_records = 500;
    reader.chosen = json!({"look_back_seconds": 86_400});
    let mut source = reader.source();
    let (mut rows, mut largest) = (0, 0);
    while let Some(batch) = source.next_batch().await.unwrap() {
        rows += batch.records.len();
        if rows % 4000 == 0 || rows == 22_000 {
            let position = Position::read(&batch.checkpoint).unwrap();
            assert!(position.remembered() <= MOST + MOST / 4 + 1);
            largest = largest.max(batch.checkpoint.0.to_string().len());
            reader.save(&batch.checkpoint);
        }
    }
    assert_eq!(rows, 22_000);
    assert!(largest < 512 * 1024, "{largest}");
    // The look-back became shorter, so none is read again.
    assert_eq!(reader.run().await.len(), 0);
}

#[test]
fn a_full_window_becomes_shorter_though_not_shorter_than_the_run() {
    let object = |index: usize, seconds: i64| Object {
        key: index.to_string(),
        etag: String::new(),
        size: 1,
        modified: at(seconds),
    };
    let mut window = Window::default();
    for index in 0..MOST + 100 {
        window.add(&object(index, NOW + index as i64));
    }
    assert_eq!(window.cut(NOW, NOW + 10_000), NOW + 100);
    assert_eq!(window.len(), MOST);
    // What was written since the run began is never taken for read without being known.
    for index in 0..MOST {
        window.add(&object(MOST + 100 + index, NOW + 100_000));
    }
    assert_eq!(window.cut(NOW, NOW + 5000), NOW + 5000);
    assert!(window.len() <= MOST);
    assert_eq!(Window::decode(&window.encode()), Some(window));
    assert_eq!(Window::decode("AAAA"), None);
}

#[test]
fn a_file_that_was_too_young_is_not_lost_when_the_memory_is_cut() {
    let chosen = serde_json::from_value(json!({"min_age_seconds": 300})).unwrap();
    let mut position = Position::default();
    position.begin(NOW);
    // The run goes on so long that files of its time become old enough while it does; one before them was too young.
    for index in 0..2 * MOST {
        let object = Object {
            key: format!("{index:012}"),
            etag: String::new(),
            size: 1,
            modified: at(NOW - 50),
        };
        position.done(&object, &chosen);
    }
    position.end(&chosen);
    assert!(position.horizon <= Some(NOW - 300), "{:?}", position.horizon);
}

/// A server that names folder after folder.
struct Endless;

impl Folders for Endless {
    fn entries<'a>(&'a self, _: &'a str) -> BoxStream<'a, Result<Entry, Error>> {
        let folder = |number: u32| Entry {
            name: number.to_string(),
            kind: Kind::Folder,
        };
        stream::iter((0..).map(move |number| Ok(folder(number)))).boxed()
    }
}

#[tokio::test]
async fn folders_without_end_are_not_gone_into() {
    let names = Pattern::new("**").unwrap();
    let listed: Result<Vec<_>, _> = list(Arc::new(Endless), names, None, 10).try_collect().await;
    let error = listed.unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error}");
}

/// Folders in memory: each with its entries, files by `None`.
struct Tree(BTreeMap<String, Vec<(String, bool)>>);

impl Tree {
    fn of(paths: &[String]) -> Self {
        let mut folders: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::new();
        folders.entry(String::new()).or_default();
        for path in paths {
            let mut folder = String::new();
            let mut parts = path.split('/').peekable();
            while let Some(part) = parts.next() {
                let is_file = parts.peek().is_none();
                let entries = folders.entry(folder.clone()).or_default();
                // Told in no order.
                if !entries.iter().any(|(name, _)| name == part) {
                    entries.insert(entries.len() / 2, (part.to_owned(), is_file));
                }
                folder = format!("{folder}{part}/");
            }
        }
        Self(folders)
    }
}

impl Folders for Tree {
    fn entries<'a>(&'a self, folder: &'a str) -> BoxStream<'a, Result<Entry, Error>> {
        let entries = self.0[folder].iter().map(|(name, is_file)| {
            let object = Object {
                key: String::new(),
                etag: String::new(),
                size: 1,
                modified: at(NOW),
            };
            let kind = if *is_file {
                Kind::File(object)
            } else {
                Kind::Folder
            };
            Ok(Entry {
                name: name.clone(),
                kind,
            })
        });
        stream::iter(entries).boxed()
    }
}

proptest::proptest! {
    #[test]
    fn pages_of_folders_are_in_the_order_of_keys(
        parts in proptest::collection::btree_set("[ab.](/[ab-]){0,3}/[a-c0]", 0..40),
        page in 1_usize..8,
        skip in 0_usize..10,
    ) {
        let mut paths: Vec<String> = parts.into_iter().collect();
        // A name cannot be a file and a folder.
        let folders: Vec<String> = paths.iter().map(|path| format!("{path}/")).collect();
        paths.retain(|path| !folders.iter().any(|folder| folder != &format!("{path}/") && folder.starts_with(&format!("{path}/"))));
        let after = (skip > 0).then(|| paths.get(skip - 1).cloned()).flatten();
        let tree = Arc::new(Tree::of(&paths));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let names = Pattern::new("**").unwrap();
        let listed: Vec<Object> = runtime.block_on(list(tree, names, after.clone(), page).try_collect()).unwrap();
        let keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
        let expected: Vec<String> =
            paths.into_iter().filter(|path| after.as_ref().is_none_or(|after| path > after)).collect();
        proptest::prop_assert_eq!(keys, expected);
    }
}
