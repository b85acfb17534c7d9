//! Carries plans out: each write is a compare-and-set, so that a registry that no longer leads changes nothing.

use std::{collections::HashMap, str::FromStr, sync::Arc};

use futures::{StreamExt, stream};
use halcyon_bus::{Bucket, Bus, Entry};
use halcyon_domain::{
    assignment::{Assignment, IngestRoute, PartitionAssignment},
    id::DatasourceId,
};

use super::plan::{Action, CurrentAssignments};
use crate::Error;

/// Writes that are under way at a time.
const CONCURRENT: usize = 16;

/// What stands on the bus, as this registry read and wrote it.
pub(crate) struct Board {
    buckets: Buckets,
    current: CurrentAssignments,
    revisions: HashMap<Key, u64>,
}

#[derive(Clone)]
struct Buckets {
    assignments: Bucket<Assignment>,
    partitions: Bucket<PartitionAssignment>,
    routes: Bucket<IngestRoute>,
}

/// A key of one of the buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Assignment(DatasourceId),
    Partition(u16),
    Route(DatasourceId),
}

impl Action {
    const fn key(&self) -> Key {
        match self {
            Self::PutAssignment(assignment) => Key::Assignment(assignment.datasource),
            Self::DeleteAssignment(datasource) => Key::Assignment(*datasource),
            Self::PutPartition(partition) => Key::Partition(partition.partition),
            Self::PutRoute(route) => Key::Route(route.datasource),
            Self::DeleteRoute(datasource) => Key::Route(*datasource),
        }
    }
}

impl Board {
    /// Nothing is known yet.
    pub(crate) fn new(bus: &Bus) -> Self {
        let buckets = Buckets {
            assignments: bus.assignments(),
            partitions: bus.partition_assignments(),
            routes: bus.routes(),
        };
        Self {
            buckets,
            current: CurrentAssignments::default(),
            revisions: HashMap::new(),
        }
    }

    /// What stands on the bus.
    pub(crate) const fn current(&self) -> &CurrentAssignments {
        &self.current
    }

    /// The revision at which a datasource's assignment stands.
    pub(crate) fn revision(&self, datasource: DatasourceId) -> Option<u64> {
        self.revisions.get(&Key::Assignment(datasource)).copied()
    }

    /// Reads everything anew. Waits for the bus.
    pub(crate) async fn read(&mut self) {
        let Buckets {
            assignments,
            partitions,
            routes,
        } = &self.buckets;
        let (assignments, partitions, routes) = (assignments.mirror(), partitions.mirror(), routes.mirror());
        assignments.ready().await;
        partitions.ready().await;
        routes.ready().await;
        let mut revisions = HashMap::new();
        let mut current = CurrentAssignments::default();
        for (datasource, entry) in parsed(assignments.snapshot()) {
            revisions.insert(Key::Assignment(datasource), entry.revision);
            current.datasources.insert(datasource, entry.value.clone());
        }
        for (partition, entry) in parsed(partitions.snapshot()) {
            revisions.insert(Key::Partition(partition), entry.revision);
            current.partitions.insert(partition, entry.value.clone());
        }
        for (datasource, entry) in parsed(routes.snapshot()) {
            revisions.insert(Key::Route(datasource), entry.revision);
            current.routes.insert(datasource, entry.value.clone());
        }
        self.current = current;
        self.revisions = revisions;
    }

    /// Carries out a plan's actions. What succeeded is remembered, whatever becomes of the others.
    ///
    /// # Errors
    /// The first failure. What stands on the bus is to be read anew then.
    pub(crate) async fn execute(&mut self, actions: Vec<Action>) -> Result<(), Error> {
        let writes = actions.into_iter().map(|action| {
            let revision = self.revisions.get(&action.key()).copied();
            write(self.buckets.clone(), action, revision)
        });
        let writes: Vec<_> = writes.collect();
        let written: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENT).collect().await;
        let mut failure = None;
        for (action, result) in written {
            match result {
                Ok(revision) => self.remember(action, revision),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }

    fn remember(&mut self, action: Action, revision: Option<u64>) {
        match revision {
            Some(revision) => self.revisions.insert(action.key(), revision),
            None => self.revisions.remove(&action.key()),
        };
        self.current.apply(action);
    }
}

/// The keys that are what they should be. A key that is not was not written by a registry.
fn parsed<K: FromStr, T>(
    snapshot: HashMap<String, Arc<Entry<T>>>,
) -> impl Iterator<Item = (K, Arc<Entry<T>>)> {
    snapshot
        .into_iter()
        .filter_map(|(key, entry)| Some((key.parse().ok()?, entry)))
}

/// Writes, and returns the new revision; none after a deletion.
async fn write(
    buckets: Buckets,
    action: Action,
    revision: Option<u64>,
) -> (Action, Result<Option<u64>, halcyon_bus::Error>) {
    let result = match &action {
        Action::PutAssignment(assignment) => {
            put(
                &buckets.assignments,
                &assignment.datasource.to_string(),
                &**assignment,
                revision,
            )
            .await
        }
        Action::PutPartition(partition) => {
            put(
                &buckets.partitions,
                &partition.partition.to_string(),
                partition,
                revision,
            )
            .await
        }
        Action::PutRoute(route) => {
            put(&buckets.routes, &route.datasource.to_string(), &**route, revision).await
        }
        Action::DeleteAssignment(datasource) => buckets
            .assignments
            .delete(&datasource.to_string(), revision)
            .await
            .map(|()| None),
        Action::DeleteRoute(datasource) => buckets
            .routes
            .delete(&datasource.to_string(), revision)
            .await
            .map(|()| None),
    };
    (action, result)
}

async fn put<T>(
    bucket: &Bucket<T>,
    key: &str,
    value: &T,
    revision: Option<u64>,
) -> Result<Option<u64>, halcyon_bus::Error>
where
    T: serde::Serialize + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    match revision {
        Some(revision) => bucket.update(key, value, revision).await.map(Some),
        None => bucket.create(key, value, None).await.map(Some),
    }
}
