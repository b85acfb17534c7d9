//! `halcyon-load chaos`: each promise as a scenario with its oracle. Faults are real ones: processes are killed and
//! stopped, networks are cut, servers are taken away, disks lose what was not synced.
//!
//! Every event carries its feed and a sequence number. The generator writes down what was accepted; a trigger in the
//! database writes one row for every effect, without a key, so that nothing can hide that an effect came twice.
//! Lost is what was accepted and has no effect; duplicates are rows beyond the first of each event.

mod bus;
mod commands;
mod database;
mod effects;
mod flood;
mod full;
mod kills;
mod links;
mod owners;
mod poison;
mod power;
mod publishes;
mod replays;
mod system;
mod table;
mod traffic;

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use clap::Args;
use futures::{FutureExt, future::LocalBoxFuture};

use table::{Outcome, Row};

/// What to break, and for how long.
#[derive(Args)]
pub(crate) struct ChaosArgs {
    /// A scenario, or `all`; `list` names them.
    scenario: String,
    /// Seconds of load for each scenario, where the fault does not say how long it takes.
    #[arg(long)]
    seconds: Option<u64>,
    /// Events a second.
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// The long forms: more rounds, and the promised times as they are. The short forms take machines into account
    /// that do other things as well.
    #[arg(long)]
    long: bool,
    /// Scenarios that run at a time. With more than one, times say less.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Where logs of red scenarios are kept.
    #[arg(long, default_value = "target/chaos")]
    logs: PathBuf,
}

/// What a scenario works with.
pub(crate) struct Bench {
    halcyon: PathBuf,
    seconds: Option<u64>,
    rate: u64,
    long: bool,
    /// Where logs are kept when the scenario is red.
    logs: PathBuf,
}

impl Bench {
    /// How long the load lasts: as asked for, or by the form.
    fn load(&self, short: u64, long: u64) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.long { long } else { short }))
    }

    /// One of two, by the form.
    const fn by_form<T: Copy>(&self, short: T, long: T) -> T {
        if self.long { long } else { short }
    }

    /// The time in which something is promised. The short form runs beside other work and gives three times that.
    const fn promised(&self, seconds: u64) -> Duration {
        Duration::from_secs(self.by_form(3 * seconds, seconds))
    }
}

type Run = for<'b> fn(&'b Bench) -> LocalBoxFuture<'b, Result<Outcome>>;

/// A scenario: its name, what it proves, and how it is run.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: Run,
}

macro_rules! scenarios {
    ($($name:literal: $about:literal => $run:path),* $(,)?) => {
        &[$(Scenario { name: $name, about: $about, run: |bench| $run(bench).boxed_local() }),*]
    };
}

const SCENARIOS: &[Scenario] = scenarios![
    "p1-kills": "kill -9 of a process every 2 s, nats among them" => kills::kills,
    "p1-power-cut": "power cuts, every ack synced" => power::synced,
    "p1-power-cut-default": "the same on the server's default: must lose" => power::unsynced,
    "p3-replays": "everything three times more, over restarts and a publish" => replays::replays,
    "p4-stop": "a worker is stopped for longer than its lease" => owners::stops,
    "p4-partition": "a worker's network is cut for longer than its lease" => owners::partitions,
    "p6-publishes": "publishes and rollbacks under load, one in ten broken" => publishes::publishes,
    "p7-commands": "kill -9 of gateways and registries around commands" => commands::commands,
    "p8-database-down": "Postgres is stopped" => database::stopped,
    "p8-database-hangs": "Postgres is silent (SIGSTOP)" => database::silent,
    "p9-nats-kills": "kill -9 of nats, again and again" => bus::kills,
    "p9-nats-hangs": "nats is silent (SIGSTOP)" => bus::silent,
    "p9-half-open": "the links to nats swallow what is sent" => bus::half_open,
    "p11-deadly-event": "an event kills the worker process each time" => poison::deadly,
    "p12-full": "ten times the load with the sink stopped, until the streams are full" => full::full,
    "p12-flood": "one feed floods, another one goes on" => flood::flood,
    "p13-rolling": "rolling restarts (SIGTERM) behind two gateways" => kills::rolling,
    "links": "slow, narrow, broken and silent links to nats and Postgres" => links::links,
];

/// Runs what was asked for and prints the table.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
pub(crate) fn run(halcyon: &Path, args: ChaosArgs) -> Result<()> {
    if args.scenario == "list" {
        for scenario in SCENARIOS {
            println!("{:<22} {}", scenario.name, scenario.about);
        }
        return Ok(());
    }
    let chosen: Vec<_> = SCENARIOS
        .iter()
        .filter(|scenario| {
            args.scenario == "all" || args.scenario.split(',').any(|name| name == scenario.name)
        })
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no scenario is called {}; `list` names them",
        args.scenario
    );
    let bench = Bench {
        halcyon: std::path::absolute(halcyon)?,
        seconds: args.seconds,
        rate: args.rate.max(10),
        long: args.long,
        logs: args.logs,
    };
    println!("{}", table::HEAD);
    let (next, red) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while let Some(scenario) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    red.fetch_add(usize::from(!show(scenario, &bench)), Ordering::Relaxed);
                }
            });
        }
    });
    let red = red.into_inner();
    ensure!(red == 0, "{red} scenarios are red");
    Ok(())
}

/// Runs a scenario and prints its line. Tells whether it is green.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn show(scenario: &Scenario, bench: &Bench) -> bool {
    let begun = Instant::now();
    // What fails in a panic of the harness is a red line, too, and the others go on.
    let run = std::panic::AssertUnwindSafe(|| alone(scenario, bench));
    let outcome = match std::panic::catch_unwind(run) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => Outcome::broken(format!("{error:#}")),
        Err(_) => Outcome::broken("the harness gave up; see above".to_owned()),
    };
    let (name, time) = (scenario.name, begun.elapsed());
    println!(
        "{}",
        Row {
            name,
            time,
            outcome: &outcome
        }
    );
    outcome.is_green()
}

/// A runtime of its own: what one scenario waits for in its threads holds no other one up.
fn alone(scenario: &Scenario, bench: &Bench) -> Result<Outcome> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on((scenario.run)(bench))
}
