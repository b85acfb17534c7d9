//! The sources that this worker runs, and those that it has told to stop and that still finish a batch.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use halcyon_bus::Entry;
use halcyon_domain::{
    assignment::{Assignment, HeldSource},
    id::{DatasourceId, WorkerId},
};
use tokio::task::JoinHandle;

use crate::{
    board::Board,
    holding::{Hold, compare},
    pull::{PullTask, secrets::Opener},
};

/// How often to look whether what was told to stop has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The sources of a worker.
pub(crate) struct Sources {
    worker: WorkerId,
    opener: Arc<Opener>,
    running: BTreeMap<DatasourceId, PullTask>,
    ending: Vec<(HeldSource, JoinHandle<()>)>,
}

impl Sources {
    pub(crate) fn new(worker: WorkerId, opener: Opener) -> Self {
        Self {
            worker,
            opener: Arc::new(opener),
            running: BTreeMap::new(),
            ending: Vec::new(),
        }
    }

    /// Brings what runs to what is assigned, and says what is held now.
    pub(crate) fn compare(
        &mut self,
        board: &Arc<Board>,
        assignments: &[Arc<Entry<Assignment>>],
        session: Option<u64>,
    ) {
        // One that has ended by itself, fenced or without a lease, is begun anew if it is still this worker's.
        self.running.retain(|_, source| !source.has_ended());
        self.ending.retain(|(_, task)| !task.is_finished());
        let running: BTreeMap<DatasourceId, Hold> = self
            .running
            .iter()
            .map(|(datasource, source)| (*datasource, source.hold()))
            .collect();
        let ending = |datasource| self.ending.iter().any(|(held, _)| held.datasource == datasource);
        let all = assignments.iter().map(|entry| &entry.value);
        let changes = compare(self.worker, session, all, &running, ending);
        for datasource in changes.stop {
            self.stop(datasource);
        }
        let mut entries: HashMap<DatasourceId, &Arc<Entry<Assignment>>> = assignments
            .iter()
            .map(|entry| (entry.value.datasource, entry))
            .collect();
        for (datasource, source) in &self.running {
            if let Some(entry) = entries.get(datasource) {
                source.tell((*entry).clone());
            }
        }
        for (datasource, hold) in changes.start {
            if let Some(entry) = entries.remove(&datasource) {
                let task = PullTask::start(board.clone(), self.opener.clone(), entry.clone(), hold);
                self.running.insert(datasource, task);
            }
        }
        self.show(board);
    }

    /// Waits until one that was told to stop has ended; for ever if there is none.
    pub(crate) async fn let_go(&mut self, board: &Board) {
        if self.ending.is_empty() {
            std::future::pending::<()>().await;
        }
        while self.ending.iter().all(|(_, task)| !task.is_finished()) {
            tokio::time::sleep(LOOK).await;
        }
        // Whoever waits for it hears of it at once.
        board.news.notify_one();
    }

    /// Stops all, and says of each when it has ended: others may take it over before the last one has.
    pub(crate) async fn drain(&mut self, board: &Board) {
        board.hold(|holds| holds.draining = true);
        let all: Vec<DatasourceId> = self.running.keys().copied().collect();
        all.into_iter().for_each(|datasource| self.stop(datasource));
        while !self.ending.is_empty() {
            self.ending.retain(|(_, task)| !task.is_finished());
            self.show(board);
            tokio::time::sleep(LOOK).await;
        }
        self.show(board);
    }

    fn stop(&mut self, datasource: DatasourceId) {
        if let Some(source) = self.running.remove(&datasource) {
            let held = held(datasource, source.hold());
            self.ending.push((held, source.stop()));
        }
    }

    fn show(&self, board: &Board) {
        let running = self
            .running
            .iter()
            .map(|(datasource, source)| held(*datasource, source.hold()));
        let ending = self.ending.iter().map(|(held, _)| *held);
        let sources: Vec<HeldSource> = running.chain(ending).collect();
        board.hold(|holds| holds.sources = sources);
    }
}

const fn held(datasource: DatasourceId, hold: Hold) -> HeldSource {
    HeldSource {
        datasource,
        instance: hold.instance,
        epoch: hold.epoch,
    }
}
