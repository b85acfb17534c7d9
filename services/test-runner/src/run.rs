//! A test-runner from its start to its end.

use std::{path::PathBuf, sync::Arc, time::Duration};

use halcyon_bus::{Bus, InstanceKey, RemoteError, requests::RunTest, rpc::RequestContext};
use halcyon_domain::{
    clock::Clock,
    id::InstanceId,
    test_run::{TestJob, TestReport},
};
use halcyon_egress::Guard;
use halcyon_infra::{Check, Health, Metric, Metrics, Shutdown, set_parent};
use halcyon_sandbox::{Pool, Program};
use tracing::Instrument;

use crate::{Settings, job::Runner, report, secrets::Registry};

/// What a message needs beside the report.
const OVERHEAD: usize = 64 * 1024;
/// How long to wait before a step of the start is tried again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often readiness is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What a test-runner works with.
pub struct Context {
    /// Its own connection to the bus.
    pub bus: Bus,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The way to the hosts that datasources name.
    pub guard: Guard,
    /// Where its check is shown.
    pub health: Health,
    /// Where its metrics are counted.
    pub metrics: Metrics,
    /// The `halcyon` executable, whose processes run scripts. Without it a configuration with one is refused.
    pub executable: Option<PathBuf>,
}

/// Answers `hc.svc.testrunner.run` until `shutdown` is triggered and the jobs under way are done.
///
/// # Errors
/// The bus refuses the service.
pub async fn run(ctx: Context, settings: Settings, shutdown: Shutdown) -> anyhow::Result<()> {
    let Context {
        bus,
        clock,
        guard,
        health,
        metrics,
        executable,
    } = ctx;
    let ready = health.check("test-runner.bus");
    let instance = InstanceId::generate();
    let key = InstanceKey::generate();
    let Some(registration) = shutdown.unless_triggered(registered(&bus, instance, &key)).await else {
        return Ok(());
    };
    let registry = Registry {
        bus: bus.clone(),
        clock: Arc::clone(&clock),
        instance,
        key,
        timeout: settings.secrets_timeout.get(),
    };
    let scripts = executable.map(|path| Pool::new(Program::halcyon(path), sandbox(&settings)));
    let runner = Runner::new(settings, clock, guard, Arc::new(registry), scripts);
    let serving = bus
        .serve("testrunner", env!("CARGO_PKG_VERSION"), "test runs")
        .await?;
    let limit = bus.max_payload().saturating_sub(OVERHEAD);
    serving
        .endpoint::<RunTest, _, _>(move |job, context| {
            let answer = answer(runner.clone(), job, context, limit);
            counted(metrics.clone(), answer)
        })
        .await?;
    tracing::info!(instance = %instance, "the test-runner is up");
    let _: Option<()> = shutdown.unless_triggered(watch(&bus, &ready)).await;
    serving.stop().await;
    drop(registration);
    tracing::info!(instance = %instance, "the test-runner is down");
    Ok(())
}

/// What a script may take: no event has more time than its job.
fn sandbox(settings: &Settings) -> halcyon_sandbox::Settings {
    let sandbox = settings.sandbox.clone();
    halcyon_sandbox::Settings {
        event_deadline: sandbox.event_deadline.min(settings.job_timeout),
        ..sandbox
    }
}

/// Puts the public key where the registry finds it; waits for the registry to have made the bucket.
async fn registered(
    bus: &Bus,
    instance: InstanceId,
    key: &InstanceKey,
) -> halcyon_bus::instances::InstanceRegistration {
    loop {
        match bus.register_instance(instance, key).await {
            Ok(registration) => return registration,
            Err(error) => {
                tracing::debug!(error = %error, "the public key cannot be put on the bus yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn watch(bus: &Bus, ready: &Check) {
    let mut interval = tokio::time::interval(LOOK);
    loop {
        interval.tick().await;
        if bus.is_connected() {
            ready.ready();
        } else {
            ready.failing("not connected");
        }
    }
}

/// Counts a test run by whether all went as it should.
async fn counted(
    metrics: Metrics,
    answer: impl Future<Output = Result<TestReport, RemoteError>>,
) -> Result<TestReport, RemoteError> {
    let answer = answer.await;
    let ok = answer.as_ref().is_ok_and(|report| report.ok);
    metrics.add(Metric::TestRuns, 1, &[("ok", if ok { "true" } else { "false" })]);
    answer
}

async fn answer(
    runner: Runner,
    job: TestJob,
    context: RequestContext,
    limit: usize,
) -> Result<TestReport, RemoteError> {
    let span = tracing::info_span!("test run", datasource.id = %job.datasource);
    if let Some(traceparent) = &context.traceparent {
        set_parent(&span, traceparent);
    }
    let report = runner.run(job).instrument(span).await?;
    Ok(report::fit(report, limit))
}

#[cfg(test)]
mod tests {
    use halcyon_domain::duration::HumanDuration;

    use super::*;

    #[test]
    fn no_event_has_more_time_than_its_job() {
        let settings = |job_timeout| Settings {
            job_timeout: HumanDuration::from_secs(job_timeout),
            ..Settings::default()
        };
        let event = |job_timeout| sandbox(&settings(job_timeout)).event_deadline;
        assert_eq!(event(15), HumanDuration::from_secs(15));
        assert_eq!(event(600), HumanDuration::from_secs(30));
    }
}
