//! Leases, election, placement and fencing on simulated time and network: the decisions are the ones of production,
//! all around them is made up from a seed. Messages are lost, late, doubled; processes are stopped, killed and begun
//! anew; clocks run up to 5 % too fast or slow and show wrong times.
//!
//! `HALCYON_SIM_SEED=17` runs one seed and prints what happens; `HALCYON_SIM_SEEDS=10000` runs so many.

mod clock;
mod dice;
mod oracle;
mod registry;
mod task;
mod worker;
mod world;

use std::collections::BTreeMap;

use halcyon_domain::{
    assignment::AssignedVersion,
    id::{DatasourceId, OrganizationId},
    lifecycle::{DatasourceStatus, DesiredState},
    partition::{Partitions, PoolPartitions},
};
use halcyon_registry::reconcile::DesiredDatasource;
use serde_json::json;
use uuid::Uuid;

use clock::LocalClock;
use oracle::Oracle;
use registry::Registry;
use worker::Worker;
use world::{Fault, Happening, Input, NodeId, Time, World};

/// How many seeds a run of the tests tries, and how long faults last and what follows them may take.
const SEEDS: u64 = 1_000;
const FAULTS: Time = 45_000;
const QUIET: Time = 45_000;
/// The longest time between two faults.
const PAUSE: u64 = 4_000;

/// A process.
enum Process {
    Registry(Box<Registry>),
    Worker(Box<Worker>),
    /// Killed; begun anew at some time.
    Dead,
}

struct Simulation {
    world: World,
    processes: Vec<Process>,
    /// Until when each is stopped (SIGSTOP), and what waits for it.
    stopped: Vec<Time>,
    registries: Vec<NodeId>,
    desired: Vec<DesiredDatasource>,
    partitions: Partitions,
    oracle: Oracle,
}

/// The pool of each worker.
const POOLS: [&str; 4] = ["default", "default", "default", "edge"];

impl Simulation {
    fn new(seed: u64, fault: Fault, trace: bool) -> Self {
        let registries = 2 + usize::from(seed.is_multiple_of(2));
        let nodes = registries + POOLS.len();
        let mut simulation = Self {
            world: World::new(seed, fault, nodes, trace),
            processes: (0..nodes).map(|_| Process::Dead).collect(),
            stopped: vec![0; nodes],
            registries: (0..registries).collect(),
            desired: desired(),
            partitions: Partitions::new(
                3,
                BTreeMap::from([("edge".to_owned(), PoolPartitions { first: 10, count: 1 })]),
            ),
            oracle: Oracle::default(),
        };
        for node in 0..nodes {
            simulation.begin(node);
        }
        simulation.world.fault_at(2_000);
        simulation
    }

    fn begin(&mut self, node: NodeId) {
        let clock = LocalClock::any(&mut self.world.dice);
        self.processes[node] = match node.checked_sub(self.registries.len()) {
            None => Process::Registry(Box::new(Registry::new(node, clock, &self.world))),
            Some(worker) => Process::Worker(Box::new(Worker::new(node, POOLS[worker], clock, &self.world))),
        };
        self.world.begin(node);
    }

    /// Runs to the end.
    fn run(mut self) -> Result<Self, (String, Vec<String>)> {
        while self.world.now < FAULTS + QUIET {
            let Some(happening) = self.world.next() else { break };
            match happening {
                Happening::Fault => self.fault(),
                Happening::Input(node, input) => self.input(node, input),
            }
            self.judge();
            if let Some(wrong) = self.oracle.verdict.take() {
                return Err((wrong, self.world.trace.unwrap_or_default()));
            }
        }
        match self.arrived() {
            Ok(()) => Ok(self),
            Err(wrong) => Err((wrong, self.world.trace.unwrap_or_default())),
        }
    }

    fn input(&mut self, node: NodeId, input: Input) {
        if self.stopped[node] > self.world.now {
            let until = self.stopped[node];
            return self.world.again(node, until, input);
        }
        match &mut self.processes[node] {
            Process::Registry(registry) => {
                registry.input(input, &mut self.world, &self.desired, &self.partitions);
            }
            Process::Worker(worker) => {
                worker.input(input, &mut self.world, &self.registries);
                if worker.is_gone && self.world.calm {
                    self.begin(node);
                }
            }
            Process::Dead => {}
        }
    }

    /// Something goes wrong, or somebody changes what is wanted.
    fn fault(&mut self) {
        if self.world.now >= FAULTS {
            // Who stands still goes on in its time: what waits for it must not be overtaken.
            self.world.calm_down();
            for node in 0..self.processes.len() {
                let gone = match &self.processes[node] {
                    Process::Worker(worker) => worker.is_gone,
                    Process::Registry(_) => false,
                    Process::Dead => true,
                };
                if gone {
                    self.begin(node);
                }
            }
            for desired in &mut self.desired {
                desired.desired = DesiredState::Running;
            }
            return;
        }
        let node = self.world.dice.below(self.processes.len() as u64) as usize;
        let until = self.world.now + self.world.dice.between(200, 18_000);
        match self.world.dice.below(10) {
            0..3 => {
                self.world.say(|| format!("node {node} is cut off until {until}"));
                self.world.cut[node] = until;
            }
            // Not while it stands still already: what waits for the end of that would be overtaken.
            3..6 if self.stopped[node] <= self.world.now => {
                self.world
                    .say(|| format!("node {node} stands still until {until}"));
                self.stopped[node] = until;
            }
            3..6 => {}
            6..8 => {
                self.world.say(|| format!("node {node} is killed"));
                self.processes[node] = Process::Dead;
                self.stopped[node] = 0;
                self.begin(node);
            }
            8 => {
                if let Process::Worker(worker) = &mut self.processes[node] {
                    worker.leave(&mut self.world);
                }
            }
            _ => {
                let place = self.world.dice.below(self.desired.len() as u64) as usize;
                let source = &mut self.desired[place];
                source.generation += 1;
                source.desired = match source.desired {
                    DesiredState::Running => DesiredState::Stopped,
                    DesiredState::Stopped => DesiredState::Running,
                };
            }
        }
        let gone = matches!(&self.processes[node], Process::Worker(worker) if worker.is_gone);
        if gone {
            self.begin(node);
        }
        let pause = self.world.dice.between(200, PAUSE);
        self.world.fault_at(self.world.now + pause);
    }

    fn judge(&mut self) {
        let accepted = std::mem::take(&mut self.world.accepted);
        for (key, before, after, node) in accepted {
            self.oracle.write(&key, before.as_ref(), &after, node);
        }
        let awake = self
            .processes
            .iter()
            .enumerate()
            .filter_map(|(node, process)| match process {
                Process::Worker(worker) if self.stopped[node] <= self.world.now => Some(worker),
                _ => None,
            });
        let at_work = awake.flat_map(|worker| worker.at_work(&self.world).map(|work| (work, worker.id)));
        self.oracle.look(at_work);
    }

    /// Whether all is where it should be, once nothing went wrong for a while.
    fn arrived(&self) -> Result<(), String> {
        let leaders = self.processes.iter().filter(|process| match process {
            Process::Registry(registry) => registry.leads(),
            _ => false,
        });
        let leaders = leaders.count();
        if leaders != 1 {
            return Err(format!("{leaders} registries lead in the end"));
        }
        let living = registry::living(&self.world);
        for (number, pool) in self.partitions.all() {
            match self.world.stored(&format!("assigned.partition.{number}")) {
                Some(world::Value::Partition(held))
                    if held.worker.is_some_and(|worker| living.contains(&worker)) => {}
                other => return Err(format!("partition {number} of {pool} is not held: {other:?}")),
            }
        }
        for source in &self.desired {
            let readers = self.processes.iter().filter(|process| match process {
                Process::Worker(worker) => worker.reads(source.datasource),
                _ => false,
            });
            let (readers, wanted) = (readers.count(), usize::from(source.shares()));
            if readers != wanted {
                let id = source.datasource;
                let stands = self.world.stored(&format!("assigned.ds.{id}"));
                return Err(format!(
                    "{readers} workers instead of {wanted} read {id}: {stands:?}"
                ));
            }
        }
        let fit = self.processes.iter().filter(|process| match process {
            Process::Worker(worker) => worker.fits_default(),
            _ => false,
        });
        match fit.count() {
            3 => Ok(()),
            other => Err(format!(
                "{other} workers of the default pool are there in the end"
            )),
        }
    }
}

/// Exclusive sources, one of another pool, and one that two workers share.
fn desired() -> Vec<DesiredDatasource> {
    let source = |number: u128, runtime: serde_json::Value| DesiredDatasource {
        datasource: DatasourceId(Uuid::from_u128(number)),
        organization: OrganizationId(Uuid::from_u128(1)),
        connector: "generator".to_owned(),
        pull: true,
        shared: true,
        status: DatasourceStatus::Active,
        desired: DesiredState::Running,
        generation: 1,
        accepted: 0,
        wanted: Some(AssignedVersion {
            number: 1,
            config: json!({"connection": {}, "runtime": runtime}),
        }),
        last_good: None,
        secrets_revision: 0,
        backlog_full: false,
        secret_fault: None,
        backfill: None,
    };
    vec![
        source(1, json!({})),
        source(2, json!({})),
        source(3, json!({"worker_labels": ["edge"]})),
        source(4, json!({"parallelism": 2})),
    ]
}

/// The first of some seeds that ends badly, and how.
fn first_failure(seeds: std::ops::Range<u64>, fault: Fault) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let count = seeds.end - seeds.start;
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|part| {
                let (from, to) = (
                    seeds.start + count * part / threads,
                    seeds.start + count * (part + 1) / threads,
                );
                scope.spawn(move || {
                    (from..to).find_map(|seed| {
                        let failed = Simulation::new(seed, fault, false).run().err();
                        failed.map(|(wrong, _)| (seed, wrong))
                    })
                })
            })
            .collect();
        parts.into_iter().filter_map(|part| part.join().unwrap()).min()
    })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_breaks_a_promise() {
    if let Some(seed) = number("HALCYON_SIM_SEED") {
        if let Err((wrong, trace)) = Simulation::new(seed, Fault::None, true).run() {
            panic!("{}\nseed {seed}: {wrong}", trace.join("\n"));
        }
        return;
    }
    let seeds = number("HALCYON_SIM_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, wrong)) = first_failure(0..seeds, Fault::None) {
        panic!("seed {seed} (HALCYON_SIM_SEED={seed} shows what happened): {wrong}");
    }
}

/// An oracle that finds nothing in a broken world would prove nothing in a sound one.
#[test]
fn each_thing_that_is_broken_on_purpose_is_noticed() {
    for fault in [
        Fault::UnfencedCheckpoints,
        Fault::ShortLeases,
        Fault::ForgottenSessions,
        Fault::UnfencedAssignments,
        Fault::DeafWorkers,
    ] {
        let found = first_failure(0..400, fault);
        assert!(found.is_some(), "{fault:?} is not noticed");
    }
}

#[test]
fn the_same_seed_is_the_same_history() {
    let history = || {
        let done = Simulation::new(5, Fault::None, true).run();
        done.map(|done| done.world.trace).map_err(|(wrong, _)| wrong)
    };
    assert_eq!(history(), history());
}
