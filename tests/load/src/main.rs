//! Load and latency of the real system, measured beside a yardstick in the same run.
//!
//! `halcyon-load ingest` compares ingest (signature check, envelope, durable ack) with a bare hyper server that
//! publishes one JetStream message for each event on the same nats-server. `halcyon-load latency` measures the
//! time from 202 to the alert. `halcyon-load chaos` breaks the system in every way that it promises to survive.
//! `halcyon-load scale` and `halcyon-load partitions` measure what many datasources and many partitions cost. All
//! start what they need on loopback and stop it.

mod chaos;
mod latency;
mod partitions;
mod scale;
mod sender;
mod setup;
mod usage;
mod yardstick;

use std::{path::PathBuf, time::Duration};

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use halcyon_tests::cluster::Sync;

/// Measures the system on this machine.
#[derive(Parser)]
struct Args {
    /// The `halcyon` executable to measure.
    #[arg(long, default_value = "target/release/halcyon")]
    halcyon: PathBuf,
    #[command(subcommand)]
    command: What,
}

#[derive(Subcommand)]
enum What {
    /// Events per second at the gateway, beside the yardstick.
    Ingest {
        /// How nats syncs its files.
        #[arg(long, value_enum, default_value = "always")]
        sync: SyncArg,
        /// How many connections send, one run for each.
        #[arg(long, value_delimiter = ',', default_value = "1,8,64")]
        senders: Vec<usize>,
        /// Seconds for each run.
        #[arg(long, default_value_t = 5)]
        seconds: u64,
    },
    /// What the system promises to survive, one scenario for each promise, as a table.
    Chaos(chaos::ChaosArgs),
    /// One feed over several partitions, mapped by as many workers.
    Partitions(partitions::Plan),
    /// Many datasources: memory, start, hot reload, and what moves when a worker dies.
    Scale(scale::Plan),
    /// Milliseconds from 202 to the alert in the API's answer.
    Latency {
        /// How many events to send, one after the other.
        #[arg(long, default_value_t = 300)]
        events: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum SyncArg {
    /// Before each ack.
    Always,
    /// The server's default.
    Default,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        What::Ingest {
            sync,
            senders,
            seconds,
        } => {
            let sync = match sync {
                SyncArg::Always => Sync::Always,
                SyncArg::Default => Sync::Default,
            };
            ingest(&args.halcyon, sync, &senders, Duration::from_secs(seconds)).await
        }
        What::Chaos(chaos) => chaos::run(&args.halcyon, chaos),
        What::Partitions(plan) => partitions::run(&args.halcyon, plan).await,
        What::Scale(plan) => scale::run(&args.halcyon, plan).await,
        What::Latency { events } => latency::run(&args.halcyon, events).await,
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
async fn ingest(halcyon: &std::path::Path, sync: Sync, senders: &[usize], time: Duration) -> Result<()> {
    let setup = setup::start(halcyon, sync).await?;
    println!(
        "nats sync: {sync:?}; {} s each; events per second",
        time.as_secs()
    );
    println!(
        "{:>8} {:>12} {:>12} {:>8}",
        "senders", "halcyon", "yardstick", "ratio"
    );
    for &count in senders {
        let ours = sender::run(&setup.ours, count, time).await?.per_second;
        let bare = sender::run(&setup.yardstick, count, time).await?.per_second;
        println!("{count:>8} {ours:>12.0} {bare:>12.0} {:>8.2}", ours / bare);
    }
    Ok(())
}
