//! What the leader reacts to: notices of changed configurations, workers that come and go, heartbeats, and from
//! time to time nothing at all.

#[cfg(test)]
mod backfill_tests;
mod backfills;
mod notices;
mod secret_faults;
#[cfg(test)]
mod tests;
mod workers;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;
use halcyon_bus::subjects::LEADER_TERM;
use halcyon_domain::{
    assignment::{LeaderTerm, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, OrganizationId, WorkerId},
    lifecycle::RuntimeStatus,
};
use halcyon_infra::{Metric, Shutdown};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::{
    Error,
    reconcile::{
        Action, DesiredDatasource, Observed, SecretFault, Workers,
        execute::Board,
        load::{CONTROL_PLANE, DesiredSet, Known},
        plan,
    },
    run::Shared,
    state::{self, Tracker},
};
use secret_faults::SecretFaults;

/// How soon a change of state is written: a burst of heartbeats makes one transaction.
const TICK: Duration = Duration::from_millis(100);
/// How often states are judged although no heartbeat came.
const SILENT_TICKS: u32 = 10;
/// When to try again what failed.
const RETRY: Duration = Duration::from_secs(1);
/// Notices that are handled together.
const BATCH: usize = 256;
/// How long a new leader listens to the workers before it takes work from one for balance.
const WARM_UP: TimeDelta = TimeDelta::seconds(5);
/// How often old partitions are looked after.
const UPKEEP: Duration = Duration::from_secs(3_600);

/// Leads until `shutdown` is triggered. Dropped when the lease is lost: nothing is held that others wait for.
///
/// # Errors
/// Another registry leads, or the bus cannot be reached.
pub(crate) async fn lead(shared: &Shared, shutdown: &Shutdown) -> Result<(), Error> {
    let term = raise_term(shared).await?;
    let mut leases = shared.leases.clone();
    let mut changes = shared.bus.config_consumer();
    let mut heartbeats = shared.bus.heartbeats().await?;
    leases.ready().await;
    let mut control = Control::new(shared, term);
    control.see_members(&leases);
    let mut full = interval(shared.settings.reconcile_interval.get());
    let mut tick = interval(TICK);
    full.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let due = control.due.unwrap_or_else(|| Instant::now() + UPKEEP);
        tokio::select! {
            () = shutdown.triggered() => {
                control.write(true).await;
                return Ok(());
            }
            deliveries = changes.next_batch(BATCH), if control.is_complete => control.take_in(deliveries).await,
            () = leases.changed() => if control.see_members(&leases) { control.look_again().await },
            Some(heartbeat) = heartbeats.next() => if control.hear(&heartbeat) { control.look_again().await },
            _ = full.tick() => control.compare_everything().await,
            () = sleep_until(due) => control.look_again().await,
            _ = tick.tick() => control.tick().await,
        }
        if control.is_deposed {
            return Err(Error::Deposed);
        }
    }
}

/// Begins a term: whoever led before finds out that it does no more.
async fn raise_term(shared: &Shared) -> Result<u64, Error> {
    let terms = shared.bus.leader_terms();
    let before = terms.get(LEADER_TERM).await?;
    let next = LeaderTerm::next(
        before.as_ref().map(|entry| &entry.value),
        shared.instance,
        shared.clock.now(),
    );
    match before {
        Some(entry) => terms.update(LEADER_TERM, &next, entry.revision).await?,
        None => terms.create(LEADER_TERM, &next, None).await?,
    };
    tracing::info!(registry.instance = %shared.instance, term = next.term, "a term begins");
    Ok(next.term)
}

struct Control<'s> {
    shared: &'s Shared,
    desired: DesiredSet,
    board: Board,
    memory: Memory,
    members: Vec<WorkerMember>,
    observed: Observed,
    /// Workers that are to let go of something: what they say next decides who gets it.
    awaited: BTreeSet<WorkerId>,
    backfills: backfills::Reports,
    /// Before that time no work is taken from a worker for balance.
    balance_at: Timestamp,
    warm_at: Timestamp,
    term: u64,
    /// Whether another registry leads.
    is_deposed: bool,
    /// Whether database and bus have been read; until then nothing but partitions is given away.
    is_complete: bool,
    /// Whether the states have been read.
    is_primed: bool,
    /// When to look again at the latest.
    due: Option<Instant>,
    heard: bool,
    silent_ticks: u32,
    numbers_written: Instant,
    upkeep_done: Option<Instant>,
}

/// What the registry knows besides the configurations.
struct Memory {
    tracker: Tracker,
    secrets: BTreeMap<DatasourceId, u64>,
    /// The newest generation at which somebody accepted what records have come to be like.
    accepted: BTreeMap<DatasourceId, i64>,
    faults: SecretFaults,
}

impl Known for Memory {
    fn last_good(&self, datasource: DatasourceId) -> Option<u32> {
        self.tracker.last_good(datasource)
    }

    fn backlog_full(&self, datasource: DatasourceId) -> bool {
        self.tracker.backlog_full(datasource)
    }

    fn secrets_revision(&self, datasource: DatasourceId) -> u64 {
        self.secrets.get(&datasource).copied().unwrap_or_default()
    }

    fn accepted(&self, datasource: DatasourceId) -> i64 {
        self.accepted.get(&datasource).copied().unwrap_or_default()
    }

    fn secret_fault(&self, datasource: DatasourceId, names: &[String]) -> Option<SecretFault> {
        self.faults.of(datasource, names)
    }
}

impl<'s> Control<'s> {
    fn new(shared: &'s Shared, term: u64) -> Self {
        let now = shared.clock.now();
        let tracker = Tracker::new([], now, TimeDelta::zero(), TimeDelta::MAX);
        Self {
            shared,
            desired: DesiredSet::new(shared.store.clone()),
            board: Board::new(&shared.bus),
            memory: Memory {
                tracker,
                secrets: BTreeMap::new(),
                accepted: BTreeMap::new(),
                faults: SecretFaults::default(),
            },
            members: Vec::new(),
            observed: Observed::default(),
            awaited: BTreeSet::new(),
            backfills: backfills::Reports::default(),
            balance_at: now + WARM_UP,
            warm_at: now + WARM_UP,
            term,
            is_deposed: false,
            is_complete: false,
            is_primed: false,
            due: None,
            heard: false,
            silent_ticks: 0,
            numbers_written: Instant::now(),
            upkeep_done: None,
        }
    }

    /// Reads database and bus anew, and brings them together.
    async fn compare_everything(&mut self) {
        let result = self.read().await;
        let read = result.is_ok();
        if let Err(error) = result {
            tracing::warn!(error = %error, "the configuration cannot be read; what runs goes on");
            self.retry_soon();
        }
        if let Err(error) = self.reconcile().await {
            tracing::warn!(error = %error, "not all assignments could be written");
        }
        if read && self.upkeep_done.is_none_or(|done| done.elapsed() >= UPKEEP) {
            match self.upkeep().await {
                Ok(()) => self.upkeep_done = Some(Instant::now()),
                Err(error) => tracing::warn!(error = %error, "the database's upkeep failed"),
            }
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        let term = self.shared.bus.leader_terms().get(LEADER_TERM).await?;
        if term.is_none_or(|entry| entry.value.term != self.term) {
            self.is_deposed = true;
            return Err(Error::Deposed);
        }
        self.board.read().await;
        for (datasource, route) in &self.board.current().routes {
            let revision = self.memory.secrets.entry(*datasource).or_default();
            *revision = (*revision).max(route.secrets_revision);
        }
        for (datasource, assignment) in &self.board.current().datasources {
            let accepted = self.memory.accepted.entry(*datasource).or_default();
            *accepted = (*accepted).max(assignment.accepted);
        }
        if !self.is_primed {
            let stored = self.shared.store.read().states().all(CONTROL_PLANE).await?;
            let stored = stored
                .into_iter()
                .map(|record| (record.datasource, record.state, record.metrics));
            let settings = &self.shared.settings;
            let [patience, deadline] = [&settings.worker_lease, &settings.state_deadline]
                .map(|time| TimeDelta::from_std(time.get()).unwrap_or(TimeDelta::MAX));
            self.memory.tracker = Tracker::new(stored, self.shared.clock.now(), patience, deadline);
            self.is_primed = true;
        }
        self.memory.faults = SecretFaults::read(self.shared).await?;
        let gone = self.desired.read_all(&self.memory).await?;
        self.forget_backfills(gone).await;
        self.is_complete = true;
        Ok(())
    }

    /// Plans and carries out.
    async fn reconcile(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        self.due = self.due.filter(|_| !self.is_complete);
        let now = self.shared.clock.now();
        self.await_workers();
        let released = self.released();
        let workers = Workers {
            members: &self.members,
            observed: &self.observed,
            released: &released,
            balance_at: self.balance_at,
        };
        let planned = plan(
            self.desired.as_slice(),
            self.board.current(),
            workers,
            self.shared.bus.partitions(),
            now,
        );
        let mut actions = planned.actions;
        if planned.balances {
            self.balance_at = now + self.balance_interval();
        }
        if !self.is_complete {
            actions.retain(|action| matches!(action, Action::PutPartition(_)));
        } else {
            self.memory.tracker.set_missing(planned.waiting);
        }
        if let Some(next) = planned.next_due {
            let wait = (next - now).to_std().unwrap_or_default();
            self.due = Some(
                self.due
                    .map_or(Instant::now() + wait, |due| due.min(Instant::now() + wait)),
            );
        }
        self.count_moves(&actions);
        let result = self.board.execute(actions).await;
        self.await_workers();
        if result.is_err() {
            // Perhaps somebody else wrote: what stands on the bus is read anew then.
            self.is_complete = false;
            self.retry_soon();
        }
        self.shared
            .metrics
            .observe(Metric::ReconcileSeconds, started.elapsed().as_secs_f64(), &[]);
        result
    }

    fn count_moves(&self, actions: &[Action]) {
        let current = self.board.current();
        for action in actions {
            let what = match action {
                Action::PutPartition(partition) if current.partitions.contains_key(&partition.partition) => {
                    "partition"
                }
                Action::PutAssignment(assignment) => match current.datasources.get(&assignment.datasource) {
                    Some(before) if before.instances != assignment.instances => "datasource",
                    _ => continue,
                },
                _ => continue,
            };
            self.shared
                .metrics
                .add(Metric::RegistryMoves, 1, &[("what", what)]);
        }
    }

    async fn look_again(&mut self) {
        if !self.is_complete {
            self.compare_everything().await;
        } else if let Err(error) = self.reconcile().await {
            tracing::warn!(error = %error, "not all assignments could be written");
        }
    }

    fn retry_soon(&mut self) {
        self.due = Some(Instant::now() + RETRY);
    }

    /// Judges the states if something was heard, or nothing for a while, and writes what is due.
    async fn tick(&mut self) {
        self.silent_ticks += 1;
        if !self.is_complete || (!self.heard && self.silent_ticks < SILENT_TICKS) {
            return;
        }
        self.heard = false;
        self.silent_ticks = 0;
        self.look_at_vault().await;
        self.memory
            .tracker
            .refresh(self.desired.datasources(), self.shared.clock.now());
        if self.desired.note_backlogs(&self.memory)
            && let Err(error) = self.reconcile().await
        {
            tracing::warn!(error = %error, "the gateways could not be told of full backlogs yet");
        }
        self.count_states();
        let numbers = self.numbers_written.elapsed() >= self.shared.settings.heartbeat_write_interval.get();
        self.carry_backfills_on(numbers).await;
        if numbers || self.memory.tracker.has_news() {
            self.write(numbers).await;
        }
    }

    /// Whether secrets in Vault can be had is seen at once; the rest of their faults comes with notices.
    async fn look_at_vault(&mut self) {
        if self.memory.faults.are_current(self.shared) {
            return;
        }
        match SecretFaults::read(self.shared).await {
            Ok(faults) => {
                self.memory.faults = faults;
                self.desired.note_secret_faults(&self.memory);
            }
            Err(error) => tracing::warn!(error = %error, "what secrets cannot be had is not known yet"),
        }
    }

    async fn write(&mut self, numbers: bool) {
        if numbers {
            self.numbers_written = Instant::now();
        }
        let unwritten = self.memory.tracker.unwritten(numbers);
        let tenants: BTreeMap<DatasourceId, OrganizationId> =
            self.desired.as_slice().iter().map(tenant_of).collect();
        match state::write(
            &self.shared.store,
            &unwritten,
            &tenants,
            self.term,
            self.shared.clock.now(),
        )
        .await
        {
            Ok(()) => self.memory.tracker.written(unwritten),
            Err(error) => tracing::warn!(error = %error, "states could not be written yet"),
        }
    }

    fn count_states(&self) {
        let mut counts: BTreeMap<RuntimeStatus, u32> =
            RuntimeStatus::ALL.iter().map(|status| (*status, 0)).collect();
        for state in self.memory.tracker.states() {
            *counts.entry(state.status).or_default() += 1;
        }
        for (status, count) in counts {
            self.shared.metrics.set(
                Metric::RegistryDatasources,
                f64::from(count),
                &[("status", status.as_str())],
            );
        }
    }

    /// Partitions of the coming months.
    async fn upkeep(&self) -> Result<(), Error> {
        let now: Timestamp = self.shared.clock.now();
        let tx = self.shared.store.begin().await?;
        tx.datasource_events().ensure_partitions(now).await?;
        Ok(tx.commit().await?)
    }
}

const fn tenant_of(desired: &DesiredDatasource) -> (DatasourceId, OrganizationId) {
    (desired.datasource, desired.organization)
}
