//! The connector's named checks, within a deadline and with a panic that stays inside.

use std::{sync::Arc, time::Duration};

use halcyon_connectors::{CheckContext, Secrets, check};
use halcyon_domain::{
    clock::Clock,
    config::SecretRef,
    test_run::{CheckResult, CheckStatus, Warning},
};
use halcyon_egress::Guard;

use crate::plan::Plan;

/// Runs the checks.
pub(crate) async fn run(
    plan: &Plan,
    secrets: &Secrets,
    clock: &Arc<dyn Clock>,
    guard: &Guard,
    limit: Duration,
) -> Vec<CheckResult> {
    const NAME: &str = "checks";
    let (connector, connection) = (plan.connector, plan.connection.clone());
    let (secrets, clock, guard) = (secrets.clone(), Arc::clone(clock), guard.clone());
    let mut task = tokio::spawn(async move {
        let context = CheckContext {
            connection: &connection,
            secrets: &secrets,
            clock: &*clock,
            guard: &guard,
        };
        connector.check(&context).await
    });
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(results)) => results,
        Ok(Err(_)) => vec![check::failed(NAME, "a check broke", "see the test-runner's log")],
        Err(_) => {
            task.abort();
            let message = format!("the checks did not end within {limit:?}");
            vec![check::failed(
                NAME,
                message,
                "see whether the other side can be reached",
            )]
        }
    }
}

/// A mapping can be tried before its datasource has its secrets: then their absence is a warning, no failure.
pub(crate) fn excuse_missing_secrets(results: &mut [CheckResult]) {
    for result in results.iter_mut().filter(|result| result.name == "secrets") {
        if result.status == CheckStatus::Failed {
            result.status = CheckStatus::Skipped;
        }
    }
}

/// A warning for each named secret that has no value.
pub(crate) fn missing_secrets(refs: &[SecretRef], secrets: &Secrets) -> Vec<Warning> {
    let missing = refs.iter().filter(|found| !secrets.has(&found.name));
    missing
        .map(|found| Warning {
            pointer: found.pointer.clone(),
            code: "secret_missing".to_owned(),
            message: format!("secret `{}` has no value", found.name),
        })
        .collect()
}
