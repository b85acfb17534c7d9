//! A registry: the real lease keeper, term, plan and observation of workers; around them what election and execution
//! do in production.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::TimeDelta;
use halcyon_domain::{
    assignment::{Heartbeat, LeaderTerm, WorkerMember},
    clock::Timestamp,
    id::InstanceId,
    lease::{Answer, Ask, LeaseKeeper, Step},
    partition::Partitions,
};
use halcyon_registry::reconcile::{
    Action, CurrentAssignments, DesiredDatasource, Observed, SETTLE, Workers, plan,
};
use uuid::Uuid;

use super::{
    clock::LocalClock,
    world::{Input, NodeId, Op, Reply, Stored, TTL, Time, Value, World},
};

const LEADER: &str = "lease.leader";
const TERM: &str = "assigned.leader.term";
/// How often everything is read anew.
const RECONCILE: Time = 6_000;
const RETRY: Time = 1_000;
const WARM_UP: TimeDelta = TimeDelta::seconds(5);
const BALANCE: TimeDelta = TimeDelta::seconds(20);

pub(super) struct Registry {
    node: NodeId,
    instance: InstanceId,
    clock: LocalClock,
    keeper: LeaseKeeper,
    lease_asks: BTreeMap<u64, (u64, Ask)>,
    leases: BTreeMap<String, Value>,
    leases_known: bool,
    lead: Option<Lead>,
    next_try: Time,
}

/// What a leader knows.
struct Lead {
    term: Option<u64>,
    asked: Option<(u64, Question)>,
    /// Writes under way.
    writes: BTreeMap<u64, Action>,
    failed: bool,
    current: CurrentAssignments,
    revisions: BTreeMap<String, u64>,
    complete: bool,
    read_at: Time,
    due: Time,
    observed: Observed,
    members: Vec<WorkerMember>,
    balance_at: Timestamp,
    warm_at: Timestamp,
}

#[derive(Clone, Copy, Debug)]
enum Question {
    OldTerm,
    NewTerm(u64),
    SameTerm,
    Everything,
}

fn key_of(action: &Action) -> String {
    match action {
        Action::PutAssignment(assignment) => format!("assigned.ds.{}", assignment.datasource),
        Action::DeleteAssignment(datasource) => format!("assigned.ds.{datasource}"),
        Action::PutPartition(held) => format!("assigned.partition.{}", held.partition),
        Action::PutRoute(_) | Action::DeleteRoute(_) => String::new(),
    }
}

impl Registry {
    pub(super) fn new(node: NodeId, clock: LocalClock, world: &World) -> Self {
        Self {
            node,
            instance: InstanceId(Uuid::from_u128(
                (node as u128) << 64 | u128::from(world.lives[node] + 1),
            )),
            clock,
            keeper: LeaseKeeper::new(Duration::from_millis(TTL)),
            lease_asks: BTreeMap::new(),
            leases: BTreeMap::new(),
            leases_known: false,
            lead: None,
            next_try: 0,
        }
    }

    pub(super) fn leads(&self) -> bool {
        self.lead.as_ref().is_some_and(|lead| lead.complete)
    }

    pub(super) fn input(
        &mut self,
        input: Input,
        world: &mut World,
        desired: &[DesiredDatasource],
        partitions: &Partitions,
    ) {
        match input {
            Input::Wake => {}
            Input::Reply(number, reply) => self.reply(number, reply, world),
            Input::Change(key, value, _) => {
                if key.starts_with("lease.") {
                    match value {
                        Some(value) => self.leases.insert(key.clone(), value),
                        None => self.leases.remove(&key),
                    };
                    if key == LEADER && !self.leases.contains_key(LEADER) {
                        self.keeper.hint(self.clock.mono(world.now));
                    }
                }
            }
            Input::Replay("lease.", all, _) => {
                self.leases = all.into_iter().map(|(key, stored)| (key, stored.value)).collect();
                self.leases_known = true;
            }
            Input::Replay(..) => {}
            Input::Heartbeat(heartbeat) => self.hear(&heartbeat),
        }
        self.step(world, desired, partitions);
    }

    fn hear(&mut self, heartbeat: &Heartbeat) {
        if let Some(lead) = &mut self.lead
            && lead
                .members
                .iter()
                .any(|member| member.worker == heartbeat.worker)
        {
            lead.observed.hear(heartbeat);
        }
    }

    fn step(&mut self, world: &mut World, desired: &[DesiredDatasource], partitions: &Partitions) {
        let step = self.keeper.step(self.clock.mono(world.now));
        self.follow(step, world);
        let mono = self.clock.mono(world.now);
        if let Step::Wait(until) = self.keeper.step(mono) {
            world.wake(self.node, self.clock.truly(until).max(world.now + 1));
        }
        if self.keeper.held_until(mono).is_none() {
            if self.lead.take().is_some() {
                world.say(|| format!("registry {} leads no more", self.node));
            }
            return;
        }
        if self.lead.is_none() {
            if world.now < self.next_try {
                return;
            }
            let now = self.clock.wall(world.now);
            let asked = world.ask(self.node, Op::Get(TERM.to_owned()));
            self.lead = Some(Lead {
                term: None,
                asked: Some((asked, Question::OldTerm)),
                writes: BTreeMap::new(),
                failed: false,
                current: CurrentAssignments::default(),
                revisions: BTreeMap::new(),
                complete: false,
                read_at: 0,
                due: 0,
                observed: Observed::default(),
                members: Vec::new(),
                balance_at: now + WARM_UP,
                warm_at: now + WARM_UP,
            });
        }
        self.reconcile(world, desired, partitions);
    }

    fn follow(&mut self, step: Step, world: &mut World) {
        let Step::Ask(number, ask) = step else { return };
        let (key, lease) = (LEADER.to_owned(), Value::Leader(self.node));
        let op = match ask {
            Ask::Create => Op::Put(key, lease, None, true),
            Ask::Update { revision } => Op::Put(key, lease, Some(revision), true),
            Ask::Read => Op::Get(key),
        };
        let question = world.ask(self.node, op);
        self.lease_asks.insert(question, (number, ask));
    }

    fn members(&self) -> Vec<WorkerMember> {
        let workers = self.leases.values().filter_map(|value| match value {
            Value::Worker(member) => Some(member.clone()),
            _ => None,
        });
        let mut members: Vec<WorkerMember> = workers.collect();
        members.sort_by_key(|member| member.worker);
        members
    }

    /// What a leader does next.
    fn reconcile(&mut self, world: &mut World, desired: &[DesiredDatasource], partitions: &Partitions) {
        if !self.leases_known {
            return;
        }
        let members = self.members();
        let now = self.clock.wall(world.now);
        let (node, Some(lead)) = (self.node, &mut self.lead) else {
            return;
        };
        if lead.members != members {
            lead.observed.retain(
                |worker| members.iter().any(|member| member.worker == worker),
                &lead.current,
            );
            lead.balance_at = (now + SETTLE).max(lead.warm_at);
            lead.members = members;
        }
        if lead.asked.is_some() || !lead.writes.is_empty() || lead.term.is_none() || world.now < lead.due {
            return;
        }
        if !lead.complete || world.now >= lead.read_at + RECONCILE {
            let asked = world.ask(node, Op::Get(TERM.to_owned()));
            lead.asked = Some((asked, Question::SameTerm));
            return;
        }
        let current = &lead.current;
        let revisions = &lead.revisions;
        let released = lead.observed.released(current, |datasource| {
            revisions.get(&format!("assigned.ds.{datasource}")).copied()
        });
        let workers = Workers {
            members: &lead.members,
            observed: &lead.observed,
            released: &released,
            balance_at: lead.balance_at,
        };
        let planned = plan(desired, current, workers, partitions, now);
        if planned.balances {
            lead.balance_at = now + BALANCE;
        }
        for action in planned.actions {
            let key = key_of(&action);
            let expected = lead.revisions.get(&key).copied();
            let op = match &action {
                Action::PutAssignment(assignment) => {
                    Op::Put(key, Value::Assignment(assignment.clone()), expected, false)
                }
                Action::PutPartition(held) => Op::Put(key, Value::Partition(held.clone()), expected, false),
                Action::DeleteAssignment(_) => Op::Delete(key, expected),
                Action::PutRoute(_) | Action::DeleteRoute(_) => continue,
            };
            world.say(|| format!("registry {node} (term {:?}) asks for {op:?}", lead.term));
            lead.writes.insert(world.ask(node, op), action);
        }
        world.wake(node, lead.read_at + RECONCILE);
        if let Some(due) = planned.next_due {
            let wait = u64::try_from((due - now).num_milliseconds()).unwrap_or_default();
            world.wake(node, world.now + wait.max(1));
        }
    }

    fn reply(&mut self, number: u64, reply: Reply, world: &mut World) {
        if let Some((ask, kind)) = self.lease_asks.remove(&number) {
            let answer = match (kind, reply) {
                (_, Reply::Written(revision)) => Answer::Written(revision),
                (_, Reply::Conflict) => Answer::Conflict,
                (Ask::Read, Reply::Found(Some(Stored { value, revision, .. })))
                    if value == Value::Leader(self.node) =>
                {
                    Answer::Ours(revision)
                }
                (Ask::Read, Reply::Found(_)) => Answer::NotOurs,
                _ => Answer::Unavailable,
            };
            let step = self.keeper.answer(ask, answer, self.clock.mono(world.now));
            return self.follow(step, world);
        }
        let Some(lead) = &mut self.lead else { return };
        if let Some(action) = lead.writes.remove(&number) {
            match reply {
                Reply::Written(revision) => {
                    let key = key_of(&action);
                    match action {
                        Action::DeleteAssignment(_) => lead.revisions.remove(&key),
                        _ => lead.revisions.insert(key, revision),
                    };
                    lead.current.apply(action);
                }
                _ => lead.failed = true,
            }
            if lead.writes.is_empty() && std::mem::take(&mut lead.failed) {
                lead.complete = false;
                lead.due = world.now + RETRY;
                world.wake(self.node, lead.due);
            }
            return;
        }
        let Some((_, question)) = lead.asked.filter(|(asked, _)| *asked == number) else {
            return;
        };
        lead.asked = None;
        self.answered(question, reply, world);
    }

    fn answered(&mut self, question: Question, reply: Reply, world: &mut World) {
        let (node, now) = (self.node, world.now);
        let wall = self.clock.wall(now);
        let Some(lead) = &mut self.lead else { return };
        let deposed = match (question, reply) {
            (Question::OldTerm, Reply::Found(found)) => {
                let before = found.as_ref().and_then(|stored| match &stored.value {
                    Value::Term(term) => Some(term),
                    _ => None,
                });
                let next = LeaderTerm::next(before, self.instance, wall);
                let question = Question::NewTerm(next.term);
                let expected = found.as_ref().map(|stored| stored.revision);
                let op = Op::Put(TERM.to_owned(), Value::Term(next), expected, false);
                lead.asked = Some((world.ask(node, op), question));
                false
            }
            (Question::NewTerm(term), Reply::Written(_)) => {
                world.say(|| format!("registry {node} leads in term {term}"));
                lead.term = Some(term);
                false
            }
            (
                Question::SameTerm,
                Reply::Found(Some(Stored {
                    value: Value::Term(term),
                    ..
                })),
            ) if Some(term.term) == lead.term => {
                lead.asked = Some((world.ask(node, Op::Read("assigned.")), Question::Everything));
                false
            }
            (Question::Everything, Reply::All(all)) => {
                let (current, revisions) = standing(all);
                lead.current = current;
                lead.revisions = revisions;
                lead.complete = true;
                lead.read_at = now;
                false
            }
            (Question::SameTerm | Question::Everything, Reply::Unavailable) => {
                lead.due = now + RETRY;
                world.wake(node, lead.due);
                false
            }
            _ => true,
        };
        if deposed {
            self.lead = None;
            self.next_try = now + RETRY;
            world.wake(node, self.next_try);
        }
    }
}

/// What stands on the server, as a registry reads it.
fn standing(all: Vec<(String, Stored)>) -> (CurrentAssignments, BTreeMap<String, u64>) {
    let (mut current, mut revisions) = (CurrentAssignments::default(), BTreeMap::new());
    for (key, stored) in all {
        match stored.value {
            Value::Assignment(assignment) => {
                current.apply(Action::PutAssignment(assignment));
            }
            Value::Partition(held) => current.apply(Action::PutPartition(held)),
            _ => continue,
        }
        revisions.insert(key, stored.revision);
    }
    (current, revisions)
}

/// The workers whose membership stands, by what the server says.
pub(super) fn living(world: &World) -> BTreeSet<halcyon_domain::id::WorkerId> {
    let workers = world.all().filter_map(|(_, value)| match value {
        Value::Worker(member) => Some(member.worker),
        _ => None,
    });
    workers.collect()
}
