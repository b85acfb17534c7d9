//! A worker: the real lease keeper, the real comparison of what is assigned with what runs, the real claim of a
//! checkpoint; around them what tasks and connections do in production.

use std::{collections::BTreeMap, time::Duration};

use halcyon_domain::{
    assignment::{Assignment, DEFAULT_POOL, Heartbeat, HeldSource, WorkerMember},
    clock::Timestamp,
    id::{DatasourceId, InstanceId, WorkerId},
    lease::{Answer, Ask, LeaseKeeper, Step},
    lifecycle::DesiredState,
};
use halcyon_worker::holding::{Hold, compare};
use uuid::Uuid;

use super::{
    clock::LocalClock,
    task::Task,
    world::{Fault, Input, NodeId, Op, Reply, TTL, Time, Value, World},
};

/// The longest that a batch takes that is under way when its source is told to stop.
const FINISH: Time = 400;
const HEARTBEAT: Time = 1_000;
/// How often what has ended by itself is looked for.
const LOOK: Time = 5_000;

pub(super) struct Worker {
    node: NodeId,
    pub(super) id: WorkerId,
    pool: String,
    clock: LocalClock,
    keeper: LeaseKeeper,
    lease_asks: BTreeMap<u64, (u64, Ask)>,
    assignments: BTreeMap<DatasourceId, (Assignment, u64)>,
    reached: u64,
    pub(super) running: BTreeMap<DatasourceId, Task>,
    ending: BTreeMap<DatasourceId, (Hold, Time)>,
    told_at: Time,
    looked_at: Time,
    pub(super) draining: bool,
    started_at: Timestamp,
    pub(super) is_gone: bool,
}

impl Worker {
    pub(super) fn new(node: NodeId, pool: &str, clock: LocalClock, world: &World) -> Self {
        // Never the same twice: a process that begins anew is another worker.
        let id = WorkerId(Uuid::from_u128(
            (node as u128) << 64 | u128::from(world.lives[node] + 1),
        ));
        Self {
            node,
            id,
            pool: pool.to_owned(),
            started_at: clock.wall(world.now),
            clock,
            keeper: LeaseKeeper::new(Duration::from_millis(TTL)),
            lease_asks: BTreeMap::new(),
            assignments: BTreeMap::new(),
            reached: 0,
            running: BTreeMap::new(),
            ending: BTreeMap::new(),
            told_at: 0,
            looked_at: 0,
            draining: false,
            is_gone: false,
        }
    }

    fn lease_key(&self) -> String {
        format!("lease.worker.{}", self.id)
    }

    fn member(&self) -> WorkerMember {
        WorkerMember {
            worker: self.id,
            instance: InstanceId(self.id.0),
            pool: self.pool.clone(),
            labels: [].into(),
            started_at: self.started_at,
            draining: self.draining,
            session: self.keeper.session(),
        }
    }

    /// The session, while the lease may be relied on.
    fn session(&self, world: &World) -> Option<u64> {
        let held = self.keeper.held_until(self.clock.mono(world.now));
        held.map(|_| self.keeper.session())
    }

    /// Whether what runs may go on.
    fn may_go_on(session: Option<u64>, hold: Hold, world: &World) -> bool {
        session == Some(hold.session) || world.fault == Fault::DeafWorkers
    }

    /// What it runs, and what it still lets go of.
    fn holds(&self) -> impl Iterator<Item = (DatasourceId, Hold)> {
        let running = self.running.iter();
        let running = running.map(|(datasource, task)| (*datasource, task.hold));
        let ending = self.ending.iter();
        running.chain(ending.map(|(datasource, (hold, _))| (*datasource, *hold)))
    }

    /// What it is at work on now: what its clock no longer allows ends before anything else happens.
    pub(super) fn at_work(&self, world: &World) -> impl Iterator<Item = (DatasourceId, u16)> {
        let session = self.session(world);
        let all: Vec<_> = self.holds().collect();
        let fault = world.fault;
        all.into_iter()
            .filter(move |(_, hold)| session == Some(hold.session) || fault == Fault::DeafWorkers)
            .map(|(datasource, hold)| (datasource, hold.instance))
    }

    /// Whether a source has got beyond its claim.
    pub(super) fn reads(&self, datasource: DatasourceId) -> bool {
        let task = self.running.get(&datasource);
        task.is_some_and(Task::reads)
    }

    pub(super) fn leave(&mut self, world: &mut World) {
        self.draining = true;
        self.keeper.hint(self.clock.mono(world.now));
        world.say(|| format!("worker {} drains", self.node));
        world.wake(self.node, world.now);
    }

    pub(super) fn input(&mut self, input: Input, world: &mut World, registries: &[NodeId]) {
        match input {
            Input::Wake => {}
            Input::Reply(number, reply) => self.reply(number, reply, world),
            Input::Change(key, value, revision) => self.change(&key, value, revision),
            Input::Replay("assigned.", all, revision) => {
                self.assignments.clear();
                for (key, stored) in all {
                    self.change(&key, Some(stored.value), revision);
                }
                self.reached = revision;
            }
            Input::Replay(..) | Input::Heartbeat(_) => {}
        }
        self.look(world.now);
        self.step(world);
        if world.now >= self.told_at + HEARTBEAT {
            self.tell(world, registries);
        }
    }

    fn change(&mut self, key: &str, value: Option<Value>, revision: u64) {
        let Some(name) = key.strip_prefix("assigned.ds.") else {
            return;
        };
        self.reached = self.reached.max(revision);
        match value {
            Some(Value::Assignment(assignment)) => {
                self.assignments
                    .insert(assignment.datasource, (*assignment, revision));
            }
            _ => self
                .assignments
                .retain(|datasource, _| datasource.to_string() != name),
        }
    }

    fn tell(&mut self, world: &mut World, registries: &[NodeId]) {
        self.told_at = world.now;
        let sources = self.holds().map(|(datasource, hold)| HeldSource {
            datasource,
            instance: hold.instance,
            epoch: hold.epoch,
        });
        let heartbeat = Heartbeat {
            worker: self.id,
            instance: InstanceId(self.id.0),
            at: self.clock.wall(world.now),
            tasks: Vec::new(),
            sources: sources.collect(),
            reached: self.reached,
            draining: self.draining,
            partitions: Vec::new(),
        };
        world.tell(self.node, registries.iter().copied(), &heartbeat);
        world.wake(self.node, world.now + HEARTBEAT);
    }

    /// What is due by its clock.
    fn step(&mut self, world: &mut World) {
        self.keep_lease(world);
        let session = self.session(world);
        // In production these end as soon as the lease's timer fires.
        let now = world.now;
        self.running
            .retain(|_, task| Self::may_go_on(session, task.hold, world));
        self.ending
            .retain(|_, (hold, until)| *until > now && Self::may_go_on(session, *hold, world));
        if session.is_some() || world.fault != Fault::DeafWorkers {
            self.compare(session, world);
        }
        let due: Vec<DatasourceId> = self
            .running
            .iter()
            .filter(|(_, task)| task.asked.is_none() && task.next <= now)
            .map(|(datasource, _)| *datasource)
            .collect();
        for datasource in due {
            self.work(datasource, world);
        }
        if self.draining && self.running.is_empty() && self.ending.is_empty() && !self.is_gone {
            self.is_gone = true;
            let held = self
                .keeper
                .held_until(self.clock.mono(now))
                .and(self.keeper.revision());
            if let Some(revision) = held {
                world.ask(self.node, Op::Delete(self.lease_key(), Some(revision)));
            }
        }
    }

    fn keep_lease(&mut self, world: &mut World) {
        if self.is_gone {
            return;
        }
        let step = self.keeper.step(self.clock.mono(world.now));
        self.follow(step, world);
        let step = self.keeper.step(self.clock.mono(world.now));
        if let Step::Wait(until) = step {
            world.wake(self.node, self.clock.truly(until).max(world.now + 1));
        }
    }

    fn follow(&mut self, step: Step, world: &mut World) {
        let Step::Ask(number, ask) = step else { return };
        let (key, lease) = (self.lease_key(), Value::Worker(self.member()));
        let op = match ask {
            Ask::Create => Op::Put(key, lease, None, true),
            Ask::Update { revision } => Op::Put(key, lease, Some(revision), true),
            Ask::Read => Op::Get(key),
        };
        let question = world.ask(self.node, op);
        self.lease_asks.insert(question, (number, ask));
    }

    fn compare(&mut self, session: Option<u64>, world: &mut World) {
        if self.draining {
            for (datasource, task) in std::mem::take(&mut self.running) {
                let until = world.now + world.dice.below(FINISH);
                self.ending.insert(datasource, (task.hold, until));
                world.wake(self.node, until + 1);
            }
            return;
        }
        if world.fault == Fault::ForgottenSessions {
            let all = self.assignments.values_mut();
            let instances = all.flat_map(|(assignment, _)| &mut assignment.instances);
            instances.for_each(|instance| instance.session = session.unwrap_or_default());
        }
        let running: BTreeMap<DatasourceId, Hold> = self
            .running
            .iter()
            .map(|(datasource, task)| (*datasource, task.hold))
            .collect();
        let ending = |datasource| self.ending.contains_key(&datasource);
        let all = self.assignments.values().map(|(assignment, _)| assignment);
        let changes = compare(self.id, session, all, &running, ending);
        for datasource in changes.stop {
            if let Some(task) = self.running.remove(&datasource) {
                let until = world.now + world.dice.below(FINISH);
                self.ending.insert(datasource, (task.hold, until));
                world.wake(self.node, until + 1);
            }
        }
        for (datasource, hold) in changes.start {
            world.say(|| format!("worker {} starts {datasource} {hold:?}", self.node));
            self.running
                .insert(datasource, Task::new(datasource, hold, world.now));
        }
    }

    /// The next thing that a source does.
    fn work(&mut self, datasource: DatasourceId, world: &mut World) {
        let stopped = |(assignment, _): &(Assignment, u64)| assignment.desired == DesiredState::Stopped;
        if self.assignments.get(&datasource).is_some_and(stopped) {
            return;
        }
        let at = self.clock.wall(world.now);
        if let Some(task) = self.running.get_mut(&datasource)
            && let Some(op) = task.next_op(at)
        {
            task.asked = Some(world.ask(self.node, op));
        }
    }

    fn reply(&mut self, number: u64, reply: Reply, world: &mut World) {
        if let Some((ask, kind)) = self.lease_asks.remove(&number) {
            let answer = match (kind, reply) {
                (_, Reply::Written(revision)) => Answer::Written(revision),
                (_, Reply::Conflict) => Answer::Conflict,
                // The key is the worker's own: nobody else's lease can stand there.
                (Ask::Read, Reply::Found(Some(stored))) => Answer::Ours(stored.revision),
                (Ask::Read, Reply::Found(None)) => Answer::NotOurs,
                _ => Answer::Unavailable,
            };
            let step = self.keeper.answer(ask, answer, self.clock.mono(world.now));
            if !self.is_gone {
                self.follow(step, world);
            }
            return;
        }
        let mut tasks = self.running.values_mut();
        let Some(task) = tasks.find(|task| task.asked == Some(number)) else {
            return;
        };
        task.asked = None;
        let (pause, op) = task.answered(reply, self.clock.wall(world.now));
        task.asked = op.map(|op| world.ask(self.node, op));
        task.next = world.now + pause;
        world.wake(self.node, task.next);
    }

    /// Fenced sources are begun anew from time to time while they are still this worker's.
    fn look(&mut self, now: Time) {
        if now >= self.looked_at + LOOK {
            self.looked_at = now;
            self.running.retain(|_, task| !task.has_ended());
        }
    }

    pub(super) fn fits_default(&self) -> bool {
        self.pool == DEFAULT_POOL && !self.draining && !self.is_gone
    }
}
