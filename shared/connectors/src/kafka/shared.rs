//! What the library's thread and the source share: records that wait, the partitions that are ours, offsets to commit.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use rdkafka::{Offset, TopicPartitionList, statistics::Statistics};
use tokio::sync::Notify;

use crate::Error;

/// The most records and bytes that wait on this side.
const RECORDS: usize = 2_000;
const BYTES: usize = 16 << 20;

/// Offsets by topic and partition.
pub(super) type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// A record as it came.
pub(super) struct Item {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// In milliseconds since 1970, if the record has a time.
    pub(super) time: Option<i64>,
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(String, Bytes)>,
    /// When the partition became ours.
    pub(super) epoch: u64,
}

impl Item {
    fn size(&self) -> usize {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        200 + length(&self.key) + length(&self.value) + headers.sum::<usize>()
    }
}

/// A partition that is ours.
struct Part {
    epoch: u64,
    /// The offset before which reading ends, for a range.
    end: Option<i64>,
    done: bool,
    /// How many offsets the library has not fetched, and the next that it fetches.
    behind: i64,
    next: i64,
}

#[derive(Default)]
pub(super) struct State {
    queue: VecDeque<Item>,
    bytes: usize,
    parts: BTreeMap<Arc<str>, BTreeMap<i32, Part>>,
    epochs: u64,
    /// What the cluster calls itself.
    cluster: Option<String>,
    commits: Offsets,
    /// What went wrong, and whether the thread has ended by it.
    fault: Option<(Error, bool)>,
    stop: bool,
    over: bool,
    /// The library has told how far it is since partitions were dealt.
    told: bool,
    /// How many records the library has fetched and not given.
    fetched: i64,
}

/// The state, and ways to wait for it.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) arrived: Notify,
    room: Condvar,
}

/// What the source is given.
pub(super) enum Next {
    Item(Item),
    /// Wait until something has arrived.
    Nothing,
    /// What went wrong, and whether reading must be begun anew.
    Fault(Error, bool),
    /// The range has been read.
    End,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // The thread's side.

    /// Takes a record in, unless its partition is no longer ours or the range ends before it. `make` is given the
    /// topic's name and the partition's epoch.
    pub(super) fn push(
        &self,
        topic: &str,
        partition: i32,
        offset: i64,
        make: impl FnOnce(Arc<str>, u64) -> Item,
    ) {
        let mut state = self.lock();
        let found = state.parts.get_key_value(topic).map(|(name, _)| Arc::clone(name));
        let Some(name) = found else {
            return;
        };
        let part = state
            .parts
            .get_mut(topic)
            .and_then(|parts| parts.get_mut(&partition));
        let Some(part) = part else {
            return;
        };
        if part.end.is_some_and(|end| offset >= end) {
            part.done = true;
            return;
        }
        part.done = part.end.is_some_and(|end| offset + 1 >= end);
        let item = make(name, part.epoch);
        state.bytes += item.size();
        state.queue.push_back(item);
        drop(state);
        self.arrived.notify_one();
    }

    /// Waits a moment for room. Whether there is some.
    pub(super) fn wait_for_room(&self, patience: Duration) -> bool {
        let full = |state: &mut State| !state.stop && (state.queue.len() >= RECORDS || state.bytes >= BYTES);
        let waited = self.room.wait_timeout_while(self.lock(), patience, full);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !full(&mut state)
    }

    /// The cluster has told its name.
    pub(super) fn is_at(&self, cluster: Option<String>) {
        let mut state = self.lock();
        state.cluster = cluster.or_else(|| state.cluster.take());
    }

    /// Partitions have become ours, `ends` those of a range.
    pub(super) fn assigned(&self, list: &TopicPartitionList, ends: Option<&Offsets>) {
        let mut state = self.lock();
        state.epochs += 1;
        state.told = false;
        let epoch = state.epochs;
        for element in list.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let end = ends.and_then(|ends| ends.get(topic)?.get(&partition).copied());
            let start = match element.offset() {
                Offset::Offset(start) => Some(start),
                _ => None,
            };
            let part = Part {
                epoch,
                end,
                done: end.is_some_and(|end| start.is_some_and(|start| start >= end)),
                behind: 0,
                next: start.unwrap_or(0),
            };
            state
                .parts
                .entry(Arc::from(topic))
                .or_default()
                .insert(partition, part);
        }
    }

    /// No partition is ours any more; what was fetched of them is another member's to give.
    pub(super) fn revoked(&self) {
        let mut state = self.lock();
        state.parts.clear();
        state.queue.clear();
        state.bytes = 0;
        state.commits.clear();
        self.room.notify_all();
    }

    /// What is to be committed.
    pub(super) fn commits(&self) -> Offsets {
        std::mem::take(&mut self.lock().commits)
    }

    /// What the library tells of itself.
    pub(super) fn told(&self, statistics: &Statistics) {
        let mut state = self.lock();
        state.told = true;
        state.fetched = 0;
        for (name, topic) in &statistics.topics {
            let State { parts, fetched, .. } = &mut *state;
            let Some(parts) = parts.get_mut(name.as_str()) else {
                continue;
            };
            for (number, told) in &topic.partitions {
                let Some(part) = parts.get_mut(number) else {
                    continue;
                };
                let end = if told.ls_offset >= 0 {
                    told.ls_offset
                } else {
                    told.hi_offset
                };
                if end >= 0 && told.next_offset >= 0 {
                    part.behind = (end - told.next_offset).max(0);
                    part.next = told.next_offset;
                    // All partitions have one queue.
                    *fetched = told.fetchq_cnt.max(*fetched);
                }
            }
        }
    }

    /// Whether all of the range was fetched: each partition has given its last record, or the library is past the
    /// end (records that transactions or compaction took away are never given).
    pub(super) fn is_fetched(&self) -> bool {
        let state = self.lock();
        let mut parts = state.parts.values().flat_map(BTreeMap::values);
        let empty = state.told && state.fetched == 0;
        parts.all(|part| part.done || (empty && part.end.is_some_and(|end| part.next >= end)))
    }

    /// The thread ends by this.
    pub(super) fn fail(&self, error: Error) {
        self.lock().fault = Some((error, true));
        self.arrived.notify_one();
    }

    /// This is to be seen, though the thread goes on.
    pub(super) fn warn(&self, error: Error) {
        self.lock().fault.get_or_insert((error, false));
        self.arrived.notify_one();
    }

    /// The range has been read.
    pub(super) fn finish(&self) {
        self.lock().over = true;
        self.arrived.notify_one();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    // The source's side.

    pub(super) fn pop(&self) -> Next {
        let mut state = self.lock();
        while let Some(item) = state.queue.pop_front() {
            state.bytes = state.bytes.saturating_sub(item.size());
            self.room.notify_all();
            if state.owns(&item.topic, item.partition, item.epoch) {
                return Next::Item(item);
            }
        }
        match state.fault.take() {
            Some((error, ended)) => Next::Fault(error, ended),
            None if state.over => Next::End,
            None => Next::Nothing,
        }
    }

    /// Offsets to be committed, each with the epoch of the record that it comes from: those of partitions that have
    /// gone meanwhile are the next owner's affair.
    pub(super) fn commit<'a>(&self, offsets: impl Iterator<Item = (&'a str, i32, u64, i64)>) {
        let mut state = self.lock();
        for (topic, partition, epoch, next) in offsets {
            if state.owns(topic, partition, epoch) {
                let commits = state.commits.entry(topic.to_owned()).or_default();
                commits.insert(partition, next);
            }
        }
    }

    pub(super) fn cluster(&self) -> Option<String> {
        self.lock().cluster.clone()
    }

    /// Leaves only partitions that are ours.
    pub(super) fn keep_ours(&self, offsets: &mut Offsets) {
        let state = self.lock();
        offsets.retain(|topic, partitions| {
            let ours = state.parts.get(topic.as_str());
            partitions.retain(|partition, _| ours.is_some_and(|ours| ours.contains_key(partition)));
            !partitions.is_empty()
        });
    }

    /// How many records have not been given to the worker, once the library has told.
    pub(super) fn behind(&self) -> Option<u64> {
        let state = self.lock();
        let parts = state.parts.values().flat_map(BTreeMap::values);
        let behind = parts.map(|part| part.behind).sum::<i64>() + state.fetched;
        let waiting = state.queue.len() as u64;
        state.told.then(|| u64::try_from(behind).unwrap_or(0) + waiting)
    }

    pub(super) fn stop(&self) {
        self.lock().stop = true;
        self.room.notify_all();
        self.arrived.notify_one();
    }
}

impl State {
    fn owns(&self, topic: &str, partition: i32, epoch: u64) -> bool {
        let part = self.parts.get(topic).and_then(|parts| parts.get(&partition));
        part.is_some_and(|part| part.epoch == epoch)
    }
}

/// A list for the library.
pub(super) fn list(offsets: &Offsets) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (topic, partitions) in offsets {
        for (partition, offset) in partitions {
            // Fails for offsets that the library knows no name for; ours are numbers.
            let _ = list.add_partition_offset(topic, *partition, Offset::Offset(*offset));
        }
    }
    list
}

/// The offsets of a list of the library, without partitions that have none.
pub(super) fn offsets(list: &TopicPartitionList) -> Offsets {
    let mut found = Offsets::new();
    for element in list.elements() {
        if let (Offset::Offset(offset), Ok(())) = (element.offset(), element.error()) {
            found
                .entry(element.topic().to_owned())
                .or_default()
                .insert(element.partition(), offset);
        }
    }
    found
}
