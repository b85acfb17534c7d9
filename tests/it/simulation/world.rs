//! The world around the processes: time, chance, the network, and the bus's key-value server. Everything follows from
//! the seed.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use halcyon_bus::checkpoint::Checkpoint;
use halcyon_domain::assignment::{Assignment, Heartbeat, LeaderTerm, PartitionAssignment, WorkerMember};

use super::dice::Dice;

/// Milliseconds since the world began.
pub(super) type Time = u64;
pub(super) type NodeId = usize;

/// The time to live of every lease.
pub(super) const TTL: Time = 10_000;
/// A write that is not answered is sent again after this, and given up after that.
const RESEND: Time = 2_000;
const GIVE_UP: Time = 5_000;

/// What is deliberately wrong with a world, to see that it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing.
    None,
    /// The server writes checkpoints whatever revision is expected.
    UnfencedCheckpoints,
    /// The server lets leases run out before their time.
    ShortLeases,
    /// Workers take up again what was theirs before they lost their lease.
    ForgottenSessions,
    /// The server writes assignments whatever revision is expected.
    UnfencedAssignments,
    /// Workers keep their sources when their lease cannot be renewed.
    DeafWorkers,
}

/// A value on the server.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Leader(NodeId),
    Worker(WorkerMember),
    Term(LeaderTerm),
    Assignment(Box<Assignment>),
    Partition(PartitionAssignment),
    Checkpoint(Box<Checkpoint>),
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) value: Value,
    pub(super) revision: u64,
    expires_at: Option<Time>,
}

/// What a process asks of the server.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Get(String),
    /// Write where there is nothing (no revision), or at a revision. True: it is a lease.
    Put(String, Value, Option<u64>, bool),
    Delete(String, Option<u64>),
    /// All keys with a prefix.
    Read(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Reply {
    Written(u64),
    Conflict,
    Found(Option<Stored>),
    All(Vec<(String, Stored)>),
    Unavailable,
}

/// Something that happens at a process.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Time to look.
    Wake,
    Reply(u64, Reply),
    /// A key of a followed bucket is another.
    Change(String, Option<Value>, u64),
    /// A followed bucket, read from its beginning.
    Replay(&'static str, Vec<(String, Stored)>, u64),
    Heartbeat(Box<Heartbeat>),
}

#[derive(Clone, Debug)]
enum Event {
    Input(NodeId, u64, Input),
    Request(NodeId, u64, u64, Op),
    GiveUp(NodeId, u64, u64),
    Expire(String),
    Replay(NodeId, u64),
    Fault,
}

/// The world.
pub(super) struct World {
    pub(super) now: Time,
    pub(super) dice: Dice,
    pub(super) fault: Fault,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, Event>,
    /// Who is to be woken when.
    wakes: BTreeSet<(Time, NodeId, u64)>,
    numbers: u64,
    store: BTreeMap<String, Stored>,
    revision: u64,
    /// What was answered to each question: one that comes twice counts once.
    answered: BTreeMap<(NodeId, u64), Reply>,
    /// Until when a node cannot be reached.
    pub(super) cut: Vec<Time>,
    /// When the last change reaches a node: changes stay in order.
    last_change: Vec<Time>,
    /// The lives that each node has had.
    pub(super) lives: Vec<u64>,
    pub(super) calm: bool,
    /// Writes that were accepted since the last look: key, before, after, by whom.
    pub(super) accepted: Vec<(String, Option<Value>, Value, NodeId)>,
    pub(super) trace: Option<Vec<String>>,
}

/// What the world hands to whoever drives it.
pub(super) enum Happening {
    Input(NodeId, Input),
    Fault,
}

impl World {
    pub(super) fn new(seed: u64, fault: Fault, nodes: usize, trace: bool) -> Self {
        Self {
            now: 0,
            dice: Dice(seed),
            fault,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            wakes: BTreeSet::new(),
            numbers: 0,
            store: BTreeMap::new(),
            revision: 0,
            answered: BTreeMap::new(),
            cut: vec![0; nodes],
            last_change: vec![0; nodes],
            lives: vec![0; nodes],
            calm: false,
            accepted: Vec::new(),
            trace: trace.then(Vec::new),
        }
    }

    pub(super) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now:>6} {}", what()));
        }
    }

    pub(super) fn stored(&self, key: &str) -> Option<&Value> {
        self.store.get(key).map(|stored| &stored.value)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Value)> {
        self.store.iter().map(|(key, stored)| (key, &stored.value))
    }

    fn at(&mut self, time: Time, event: Event) {
        self.numbers += 1;
        self.queue.push(Reverse((time.max(self.now), self.numbers)));
        self.events.insert(self.numbers, event);
    }

    pub(super) fn fault_at(&mut self, time: Time) {
        self.at(time, Event::Fault);
    }

    /// Wakes a process at a time; several calls for the same time are one.
    pub(super) fn wake(&mut self, node: NodeId, time: Time) {
        let (life, time) = (self.lives[node], time.max(self.now));
        if self.wakes.insert((time, node, life)) {
            self.at(time, Event::Input(node, life, Input::Wake));
        }
    }

    pub(super) fn again(&mut self, node: NodeId, time: Time, input: Input) {
        let life = self.lives[node];
        self.at(time, Event::Input(node, life, input));
    }

    /// Asks the server; the answer comes as an input with this number.
    pub(super) fn ask(&mut self, node: NodeId, op: Op) -> u64 {
        self.numbers += 1;
        let (number, life) = (self.numbers, self.lives[node]);
        let first = self.travel(node);
        if let Some(delay) = first {
            self.at(self.now + delay, Event::Request(node, life, number, op.clone()));
        }
        // Sent again if it was lost, and now and then because the answer was.
        if first.is_none() || (!self.calm && self.dice.chance(10)) {
            // Some stay in the network until nobody waits for them any more.
            let lingers = !self.calm && self.dice.chance(15);
            let delay = if lingers {
                self.dice.between(3_000, 20_000)
            } else {
                self.dice.between(1, 50)
            };
            self.at(self.now + RESEND + delay, Event::Request(node, life, number, op));
        }
        self.at(self.now + GIVE_UP, Event::GiveUp(node, life, number));
        number
    }

    /// How long a message takes to or from a node; nothing if it is lost.
    fn travel(&mut self, node: NodeId) -> Option<Time> {
        if self.cut[node] > self.now {
            return None;
        }
        if self.calm {
            return Some(self.dice.between(1, 20));
        }
        match self.dice.below(100) {
            0..3 => None,
            3..6 => Some(self.dice.between(500, 3_500)),
            _ => Some(self.dice.between(1, 50)),
        }
    }

    /// A heartbeat to every registry: not stored, not sent again.
    pub(super) fn tell(&mut self, from: NodeId, to: impl Iterator<Item = NodeId>, heartbeat: &Heartbeat) {
        let Some(up) = self.travel(from) else { return };
        for node in to {
            if let Some(down) = self.travel(node) {
                let (life, input) = (self.lives[node], Input::Heartbeat(Box::new(heartbeat.clone())));
                self.at(self.now + up + down, Event::Input(node, life, input));
            }
        }
    }

    /// A process begins: it follows both buckets from their beginning.
    pub(super) fn begin(&mut self, node: NodeId) {
        self.lives[node] += 1;
        let life = self.lives[node];
        self.at(self.now + 1, Event::Replay(node, life));
        self.wake(node, self.now + 2);
    }

    /// The next thing that happens at a process, or to all of them.
    pub(super) fn next(&mut self) -> Option<Happening> {
        loop {
            let Reverse((time, number)) = self.queue.pop()?;
            self.now = time;
            match self.events.remove(&number)? {
                Event::Fault => return Some(Happening::Fault),
                Event::Input(node, life, input) if life == self.lives[node] => {
                    if matches!(input, Input::Wake) {
                        self.wakes.remove(&(time, node, life));
                    }
                    return Some(Happening::Input(node, input));
                }
                Event::GiveUp(node, life, number) if life == self.lives[node] => {
                    return Some(Happening::Input(node, Input::Reply(number, Reply::Unavailable)));
                }
                Event::Input(..) | Event::GiveUp(..) => {}
                Event::Request(node, life, number, op) => self.serve(node, life, number, op),
                Event::Expire(key) => self.expire(&key),
                Event::Replay(node, life) => self.replay(node, life),
            }
        }
    }

    fn serve(&mut self, node: NodeId, life: u64, number: u64, op: Op) {
        if self.cut[node] > self.now {
            return;
        }
        let reply = match self.answered.get(&(node, number)) {
            Some(known) => known.clone(),
            None => {
                let reply = self.carry_out(node, op);
                self.answered.insert((node, number), reply.clone());
                reply
            }
        };
        if let Some(delay) = self.travel(node) {
            let copies = if !self.calm && self.dice.chance(3) { 2 } else { 1 };
            for copy in 0..copies {
                let input = Input::Reply(number, reply.clone());
                self.at(self.now + delay + copy * 40, Event::Input(node, life, input));
            }
        }
    }

    fn carry_out(&mut self, node: NodeId, op: Op) -> Reply {
        match op {
            Op::Get(key) => Reply::Found(self.store.get(&key).cloned()),
            Op::Read(prefix) => Reply::All(self.with_prefix(prefix)),
            Op::Put(key, value, expected, lease) => {
                let found = self.store.get(&key).map(|stored| stored.revision);
                let unfenced = match self.fault {
                    Fault::UnfencedCheckpoints => matches!(value, Value::Checkpoint(_)),
                    Fault::UnfencedAssignments => matches!(value, Value::Assignment(_) | Value::Partition(_)),
                    _ => false,
                };
                if found != expected && !unfenced {
                    return Reply::Conflict;
                }
                self.revision += 1;
                let ttl = if self.fault == Fault::ShortLeases {
                    TTL / 2
                } else {
                    TTL
                };
                let expires_at = lease.then_some(self.now + ttl);
                if let Some(at) = expires_at {
                    self.at(at, Event::Expire(key.clone()));
                }
                let stored = Stored {
                    value: value.clone(),
                    revision: self.revision,
                    expires_at,
                };
                let before = self.store.insert(key.clone(), stored).map(|stored| stored.value);
                self.announce(&key, Some(value.clone()));
                self.accepted.push((key, before, value, node));
                Reply::Written(self.revision)
            }
            Op::Delete(key, expected) => {
                let found = self.store.get(&key).map(|stored| stored.revision);
                if found.is_some() && expected.is_some() && found != expected {
                    return Reply::Conflict;
                }
                self.remove(&key);
                Reply::Written(self.revision)
            }
        }
    }

    fn expire(&mut self, key: &str) {
        let over = |stored: &Stored| stored.expires_at.is_some_and(|at| at <= self.now);
        if self.store.get(key).is_some_and(over) {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: &str) {
        if self.store.remove(key).is_some() {
            self.revision += 1;
            self.announce(key, None);
        }
    }

    fn with_prefix(&self, prefix: &str) -> Vec<(String, Stored)> {
        let range = self.store.range(prefix.to_owned()..);
        let range = range.take_while(|(key, _)| key.starts_with(prefix));
        range.map(|(key, stored)| (key.clone(), stored.clone())).collect()
    }

    /// Tells all who follow the bucket. One who misses a change reads the bucket again later.
    fn announce(&mut self, key: &str, value: Option<Value>) {
        if key.starts_with("checkpoint.") {
            return;
        }
        self.say(|| format!("       {key} = {value:?}"));
        for node in 0..self.lives.len() {
            let life = self.lives[node];
            match self.travel(node) {
                Some(delay) => {
                    let time = (self.now + delay).max(self.last_change[node]);
                    self.last_change[node] = time;
                    let input = Input::Change(key.to_owned(), value.clone(), self.revision);
                    self.at(time, Event::Input(node, life, input));
                }
                None => {
                    let time = self.cut[node].max(self.now) + self.dice.between(100, 3_000);
                    self.at(time, Event::Replay(node, life));
                }
            }
        }
    }

    fn replay(&mut self, node: NodeId, life: u64) {
        let Some(delay) = self.travel(node) else {
            let time = self.cut[node].max(self.now) + self.dice.between(100, 1_000);
            return self.at(time, Event::Replay(node, life));
        };
        let time = (self.now + delay).max(self.last_change[node]);
        self.last_change[node] = time;
        for prefix in ["lease.", "assigned."] {
            let input = Input::Replay(prefix, self.with_prefix(prefix), self.revision);
            self.at(time, Event::Input(node, life, input));
        }
    }

    /// From now on nothing goes wrong.
    pub(super) fn calm_down(&mut self) {
        self.calm = true;
        self.cut.iter_mut().for_each(|until| *until = 0);
        for node in 0..self.lives.len() {
            let life = self.lives[node];
            self.at(self.now + 1, Event::Replay(node, life));
        }
    }
}
