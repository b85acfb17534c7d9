//! One feed over 1, 2 and 4 partitions: what ingest takes, what as many workers map, and what the partitions cost.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use halcyon_tests::{
    client::Client,
    cluster::{Cluster, Sync},
    postgres::Postgres,
};

use crate::{sender, setup, usage::memory};

/// How long the backlog may take.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOKER: (&str, &str) = ("looker", "of-this-run-only");

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Plan {
    /// How many partitions, one run for each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    partitions: Vec<u16>,
    /// How many connections send.
    #[arg(long, default_value_t = 64)]
    senders: usize,
    /// Seconds of sending for each run.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// What a run measured.
struct Row {
    partitions: u16,
    ingest: f64,
    mapped: f64,
    consumers: usize,
    nats: f64,
}

/// Runs the plan and prints a table.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
pub(crate) async fn run(halcyon: &Path, plan: Plan) -> Result<()> {
    println!(
        "partitions and workers | ingest, events/s | mapped, events/s | consumers in nats | memory of nats, MiB"
    );
    for &partitions in &plan.partitions {
        let row = measure(halcyon, &plan, partitions).await?;
        println!(
            "{:>22} | {:>16.0} | {:>16.0} | {:>17} | {:>19.0}",
            row.partitions, row.ingest, row.mapped, row.consumers, row.nats
        );
    }
    Ok(())
}

async fn measure(halcyon: &Path, plan: &Plan, partitions: u16) -> Result<Row> {
    let postgres = Postgres::start().await?;
    let database = postgres.database().await?;
    let mut cluster = Cluster::lay_out(halcyon, &database, Sync::Always)?;
    cluster.admit(LOOKER.0, LOOKER.1)?;
    cluster.begin().await?;
    let setting = format!("bus.partitions={partitions}");
    for service in ["registry", "gateway"] {
        cluster.spawn_as(service, service, &[&setting])?;
    }
    cluster.wait_ready().await?;
    let client = Client::login(&cluster.url, &cluster.email, &cluster.password).await;
    let payload = setup::feed(&cluster, &client, partitions).await?;
    let sent = sender::run(&payload, plan.senders, Duration::from_secs(plan.seconds)).await?;

    let options = async_nats::ConnectOptions::with_user_and_password(LOOKER.0.into(), LOOKER.1.into());
    let looker = options.connect(&cluster.nats_address).await?;
    let context = async_nats::jetstream::new(looker);
    for worker in 0..partitions {
        cluster.spawn_as(&format!("worker-{worker}"), "worker", &[&setting])?;
    }
    let (took, share) = drained(&context, partitions).await?;
    Ok(Row {
        partitions,
        ingest: sent.per_second,
        mapped: sent.answered as f64 * share / took.as_secs_f64(),
        consumers: consumers(&context).await?,
        nats: memory(cluster.pid("nats").context("nats does not run")?, "VmRSS")?,
    })
}

/// How long the workers took for the backlog: from when all partitions had a worker until the last frame was
/// acknowledged; and the share of the backlog that was left at the beginning.
async fn drained(context: &async_nats::jetstream::Context, partitions: u16) -> Result<(Duration, f64)> {
    let began = Instant::now();
    let mut first = None;
    loop {
        let mut stream = context.get_stream("INGEST").await?;
        let frames = stream.info().await?.state.messages;
        let consumers: Vec<_> = stream.consumers().try_collect().await?;
        let left: u64 = consumers
            .iter()
            .map(|consumer| consumer.num_pending + consumer.num_ack_pending as u64)
            .sum();
        // What no consumer knows of yet is not counted by any.
        let all = consumers.len() >= usize::from(partitions);
        if first.is_none() && all && left > 0 {
            first = Some((Instant::now(), left as f64 / frames as f64));
        }
        ensure!(!all || first.is_some() || left > 0, "nothing was left to measure");
        if let Some((at, share)) = first.filter(|_| left == 0) {
            return Ok((at.elapsed(), share));
        }
        ensure!(began.elapsed() < PATIENCE, "{left} frames are left");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn consumers(context: &async_nats::jetstream::Context) -> Result<usize> {
    let streams: Vec<_> = context.streams().try_collect().await?;
    Ok(streams.iter().map(|stream| stream.state.consumer_count).sum())
}
