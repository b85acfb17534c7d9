//! Named results of a check, in few words.

use std::time::Duration;

use halcyon_domain::{
    error::InputError,
    test_run::{CheckResult, CheckStatus},
};
use halcyon_egress::{Error as EgressError, Guard};
use tokio::{net::TcpStream, time::timeout};

use crate::{CheckContext, Error, SecretName, Secrets, secret_names, validate_connection};

/// How long a check waits for the other side at each step, and at all of them: a check has 5 s.
pub(crate) const STEP: Duration = Duration::from_millis(1_500);
const WHOLE: Duration = Duration::from_millis(4_700);

/// A thing that is as it should be.
pub fn passed(name: impl Into<String>, message: impl Into<String>) -> CheckResult {
    CheckResult {
        name: name.into(),
        status: CheckStatus::Passed,
        message: message.into(),
        remedy: None,
    }
}

/// A thing that is not, and what to do about it.
pub fn failed(name: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> CheckResult {
    let remedy = Some(remedy.into());
    CheckResult {
        name: name.into(),
        status: CheckStatus::Failed,
        message: message.into(),
        remedy,
    }
}

/// A thing that was not tried, and why.
pub fn skipped(name: impl Into<String>, message: impl Into<String>) -> CheckResult {
    CheckResult {
        name: name.into(),
        status: CheckStatus::Skipped,
        message: message.into(),
        remedy: None,
    }
}

/// The `secrets` check: each named secret has a value.
#[must_use]
pub fn of_secrets(names: &[SecretName], secrets: &Secrets) -> CheckResult {
    if names.is_empty() {
        return skipped("secrets", "the connection names no secret");
    }
    let missing: Vec<&str> = names
        .iter()
        .map(SecretName::as_str)
        .filter(|name| !secrets.has(name))
        .collect();
    if missing.is_empty() {
        return passed(
            "secrets",
            format!("every named secret ({}) has a value", names.len()),
        );
    }
    let missing = missing.join("`, `");
    failed(
        "secrets",
        format!("no value for `{missing}`"),
        format!("store a value for `{missing}` under the datasource's secrets"),
    )
}

/// The `configuration` check: what validation found.
#[must_use]
pub fn of_configuration(errors: &[InputError]) -> CheckResult {
    if errors.is_empty() {
        return passed("configuration", "the connection is valid");
    }
    let found: Vec<String> = errors.iter().map(ToString::to_string).collect();
    failed("configuration", found.join("; "), "correct the connection")
}

/// Where a check begins: what validation finds, and whether each named secret has a value.
///
/// # Errors
/// One of the two failed: the results, with those of `steps` as not tried if the secrets did.
pub(crate) fn begin(
    type_name: &str,
    context: &CheckContext<'_>,
    steps: &[&str],
) -> Result<Vec<CheckResult>, Vec<CheckResult>> {
    let configuration = of_configuration(&validate_connection(type_name, context.connection));
    if is_failure(&configuration) {
        return Err(vec![configuration]);
    }
    let secrets = of_secrets(&secret_names(context.connection), context.secrets);
    let complete = !is_failure(&secrets);
    let mut results = vec![configuration, secrets];
    if complete {
        return Ok(results);
    }
    results.extend(steps.iter().map(|step| not_tried(step)));
    Err(results)
}

/// The work of all steps, for no longer than a check has. A result that says so if that was too short: those of the
/// steps before stand.
pub(crate) async fn whole(who: &str, steps: impl Future<Output = ()>) -> Option<CheckResult> {
    let late = timeout(WHOLE, steps).await.is_err();
    let remedy = format!("see to the network between this installation and {who}");
    late.then(|| failed("answer", format!("{who} did not answer in time"), remedy))
}

/// A step's work, for no longer than a step has.
pub(crate) async fn in_time<T>(who: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = timeout(STEP, work).await;
    outcome.unwrap_or_else(|_| Err(Error::transient(format!("{who} did not answer in time"))))
}

/// The `resolve` and `connect` checks of a host; the connection if there is one.
pub(crate) async fn reach(guard: &Guard, host: &str, port: u16) -> (Vec<CheckResult>, Option<TcpStream>) {
    let addresses = match timeout(STEP, guard.resolve(host)).await {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => return (vec![unresolved(&error), not_tried("connect")], None),
        Err(_) => {
            let message = format!("no name server told the address of `{host}` in time");
            let result = failed("resolve", message, "see to the name servers of this installation");
            return (vec![result, not_tried("connect")], None);
        }
    };
    let resolved = passed("resolve", format!("`{host}` has {} address(es)", addresses.len()));
    match timeout(STEP, guard.connect(host, port)).await {
        Ok(Ok(stream)) => {
            let connected = passed("connect", format!("`{host}` answers at port {port}"));
            (vec![resolved, connected], Some(stream))
        }
        outcome => {
            let why = match outcome {
                Ok(Err(EgressError::Unreached { source, .. })) => source.to_string(),
                Ok(Err(error)) => error.to_string(),
                _ => "no answer in time".to_owned(),
            };
            let message = format!("`{host}` cannot be reached at port {port}: {why}");
            let remedy =
                "see that the service runs, the port is right, and firewalls let this installation through";
            (vec![resolved, failed("connect", message, remedy)], None)
        }
    }
}

fn unresolved(error: &EgressError) -> CheckResult {
    let remedy = match error {
        EgressError::Refused { .. } => "ask a global admin to add the host or its network to `egress.allow`",
        _ => "see that the name is spelled right and known to this installation's name servers",
    };
    failed("resolve", error.to_string(), remedy)
}

/// Whether a result is that of something that is not as it should be.
pub(crate) fn is_failure(result: &CheckResult) -> bool {
    result.status == CheckStatus::Failed
}

/// A step after one that failed.
pub(crate) fn not_tried(name: &str) -> CheckResult {
    skipped(name, "not tried, because a step before it failed")
}

/// The result of a step from what the connector's own code says of it.
pub(crate) fn of_step<T>(
    name: &str,
    outcome: &Result<T, Error>,
    good: impl Into<String>,
    remedy: impl Into<String>,
) -> CheckResult {
    match outcome {
        Ok(_) => passed(name, good),
        Err(error) => failed(name, error.to_string(), remedy),
    }
}
