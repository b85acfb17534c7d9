//! What the parts of a worker share: the datasources it knows, what is parked, the bus and the time.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicUsize},
    time::Duration,
};

use halcyon_bus::Bus;
use halcyon_domain::{
    assignment::{HeldSource, PartitionLoad},
    clock::Clock,
    id::DatasourceId,
};
use halcyon_egress::Guard;
use halcyon_sandbox::{Pool, Program};
use tokio::sync::{Notify, Semaphore, watch};

use crate::{Settings, apart::Apart, captures::Captures, feed::Feed, logs::Logs, meter::Meter, sink::Sink};

/// What the worker says of the sources that are assigned to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Holds {
    /// Those that it has not let go of.
    pub(crate) sources: Vec<HeldSource>,
    /// The newest revision of an assignment that it acts on.
    pub(crate) reached: u64,
    /// Whether it starts nothing any more.
    pub(crate) draining: bool,
}

/// What the parts of a worker share.
pub(crate) struct Board {
    pub(crate) bus: Bus,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) guard: Guard,
    pub(crate) settings: Settings,
    pub(crate) sink: Sink,
    pub(crate) logs: Logs,
    /// Who wants copies of what comes by.
    pub(crate) captures: Captures,
    /// Where events are mapped that may kill the process; nothing where there is no executable for it.
    pub(crate) apart: Option<Apart>,
    /// The processes that run scripts; nothing where there is no executable for them.
    pub(crate) scripts: Option<Pool>,
    /// Mappings that run at a time.
    pub(crate) processors: Semaphore,
    pub(crate) threads: usize,
    /// Backfills that read at a time.
    pub(crate) lanes: Semaphore,
    /// Rung when a datasource's state has changed: the next heartbeat goes at once.
    pub(crate) news: Notify,
    /// The worker's session while its lease is held: sources run only then.
    pub(crate) leased: watch::Sender<Option<u64>>,
    /// How many partitions are held here.
    pub(crate) partitions: AtomicUsize,
    feeds: RwLock<HashMap<DatasourceId, Arc<Feed>>>,
    /// Sources that this worker runs, by what their assignments name.
    sources: RwLock<HashMap<DatasourceId, Arc<Feed>>>,
    holds: Mutex<Holds>,
    meters: RwLock<HashMap<u16, Arc<Meter>>>,
    /// Grows with every change of the feeds or of a feed's state.
    changes: watch::Sender<u64>,
    parked: RwLock<HashMap<(u16, DatasourceId), u64>>,
    /// Datasources whose events came although no partition held here is theirs by their configuration.
    strays: Mutex<HashSet<DatasourceId>>,
    strayed: Notify,
}

impl Board {
    pub(crate) fn new(
        bus: Bus,
        clock: Arc<dyn Clock>,
        guard: Guard,
        settings: Settings,
        executable: Option<PathBuf>,
    ) -> Self {
        let scripts = executable
            .clone()
            .map(|path| Pool::new(Program::halcyon(path), settings.sandbox.clone()));
        let available = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if settings.mapping_threads == 0 {
            available
        } else {
            settings.mapping_threads
        };
        Self {
            sink: Sink::new(&bus, clock.clone()),
            logs: Logs::new(&bus, clock.clone()),
            captures: Captures::new(&bus, clock.clone()),
            lanes: Semaphore::new(settings.backfills.max(1)),
            bus,
            clock,
            guard,
            settings,
            apart: executable.map(Apart::new),
            scripts,
            processors: Semaphore::new(threads),
            threads,
            news: Notify::new(),
            leased: watch::Sender::new(None),
            partitions: AtomicUsize::new(0),
            feeds: RwLock::default(),
            sources: RwLock::default(),
            holds: Mutex::default(),
            meters: RwLock::default(),
            changes: watch::Sender::new(0),
            parked: RwLock::default(),
            strays: Mutex::default(),
            strayed: Notify::new(),
        }
    }

    /// The datasource, if its events may come in frames here.
    pub(crate) fn feed(&self, datasource: DatasourceId) -> Option<Arc<Feed>> {
        self.feeds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&datasource)
            .cloned()
    }

    pub(crate) fn feeds(&self) -> Vec<Arc<Feed>> {
        self.feeds
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn add_feed(&self, feed: Arc<Feed>) {
        self.feeds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(feed.id, feed);
    }

    pub(crate) fn remove_feed(&self, datasource: DatasourceId) {
        self.feeds
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&datasource);
        self.changed();
    }

    pub(crate) fn sources(&self) -> Vec<Arc<Feed>> {
        self.sources
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .values()
            .cloned()
            .collect()
    }

    pub(crate) fn add_source(&self, feed: Arc<Feed>) {
        self.sources
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(feed.work, feed);
    }

    /// Forgets a source that has ended, unless another run of it has begun.
    pub(crate) fn remove_source(&self, ended: &Arc<Feed>) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if sources
            .get(&ended.work)
            .is_some_and(|feed| Arc::ptr_eq(feed, ended))
        {
            sources.remove(&ended.work);
        }
        drop(sources);
        self.changed();
    }

    /// Changes what is said of the sources that are held.
    pub(crate) fn hold(&self, change: impl FnOnce(&mut Holds)) {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner);
        let before = holds.sources.len();
        change(&mut holds);
        if holds.sources.len() < before {
            // Somebody may wait for it.
            self.news.notify_one();
        }
    }

    pub(crate) fn holds(&self) -> Holds {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What counts the work on a partition.
    pub(crate) fn meter(&self, partition: u16) -> Arc<Meter> {
        let mut meters = self.meters.write().unwrap_or_else(PoisonError::into_inner);
        meters.entry(partition).or_default().clone()
    }

    /// How busy each partition keeps this worker.
    pub(crate) fn partition_loads(&self) -> Vec<PartitionLoad> {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        let loads = meters.iter().map(|(partition, meter)| PartitionLoad {
            partition: *partition,
            busy: meter.busy(),
        });
        loads.collect()
    }

    /// Measures the second that has passed.
    pub(crate) fn sample_meters(&self) {
        let meters = self.meters.read().unwrap_or_else(PoisonError::into_inner);
        meters.values().for_each(|meter| meter.sample());
    }

    /// Tells everyone that a feed came, went or changed its state.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.news.notify_one();
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Events of a datasource are here that is not known: it is looked for among all assignments. Its parallelism
    /// may have been lowered after they were accepted.
    pub(crate) fn look_for(&self, datasource: DatasourceId) {
        let mut strays = self.strays.lock().unwrap_or_else(PoisonError::into_inner);
        if strays.insert(datasource) {
            self.strayed.notify_one();
        }
    }

    /// Waits until another datasource is looked for.
    pub(crate) async fn strayed(&self) {
        self.strayed.notified().await;
    }

    pub(crate) fn is_looked_for(&self, datasource: DatasourceId) -> bool {
        self.strays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&datasource)
    }

    /// The feed once its fate is known (it runs, it is stopped, it cannot run), or as it is after `patience`.
    pub(crate) async fn settled(&self, datasource: DatasourceId, patience: Duration) -> Option<Arc<Feed>> {
        use halcyon_domain::lifecycle::RuntimeStatus::{Init, Starting};
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                let feed = self.feed(datasource);
                if feed.is_none() {
                    self.look_for(datasource);
                }
                if let Some(feed) = feed.filter(|feed| !matches!(feed.state().status, Init | Starting)) {
                    return Some(feed);
                }
                if changes.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(patience, wait)
            .await
            .unwrap_or_else(|_| self.feed(datasource))
    }

    /// Sets how many of a datasource's events are parked on a partition.
    pub(crate) fn set_parked(&self, partition: u16, datasource: DatasourceId, count: u64) {
        let mut parked = self.parked.write().unwrap_or_else(PoisonError::into_inner);
        if count == 0 {
            parked.remove(&(partition, datasource));
        } else {
            parked.insert((partition, datasource), count);
        }
    }

    /// Forgets what is parked on a partition that is given up, and how busy it was.
    pub(crate) fn forget_partition(&self, partition: u16) {
        self.parked
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(held, _), _| *held != partition);
        self.meters
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&partition);
    }

    /// How many events are parked, by datasource.
    pub(crate) fn parked(&self) -> HashMap<DatasourceId, u64> {
        let mut sums = HashMap::new();
        for ((_, datasource), count) in self.parked.read().unwrap_or_else(PoisonError::into_inner).iter() {
            *sums.entry(*datasource).or_default() += count;
        }
        sums
    }
}
