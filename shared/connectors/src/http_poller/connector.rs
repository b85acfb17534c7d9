//! The catalog's side of `http_poller`.

use std::{sync::Arc, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use halcyon_domain::{
    clock::{Clock, ManualClock},
    error::InputError,
    test_run::{CheckResult, CheckStatus},
};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::{
    client::Client,
    page::Page,
    plan::Plan,
    position::Position,
    request::Ask,
    source::{PollerSource, first_value},
    status::{Failure, Step},
};
use crate::{
    Capabilities, CheckContext, Checkpoint, Connector, ConnectorSpec, Error, Ordering, SamplePayload, Source,
    SourceContext,
    check::{begin, failed, not_tried, of_step, passed, reach, skipped},
    presets,
    spec::schema,
    validate::ensure_valid,
};

const TYPE: &str = "http_poller";
/// How long a check may take.
const WHOLE: Duration = Duration::from_millis(4_800);

/// An HTTP API that is asked again and again.
#[derive(Clone, Copy, Debug)]
pub struct HttpPoller;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "HTTP poller",
    description: "Asks an HTTP API at the datasource's schedule, walks its pages, and goes on where the last run ended.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: example(),
    capabilities: Capabilities {
        push: false,
        pull: true,
        shared: false,
        scheduled: true,
        ordering: Ordering::Total,
        resumable: true,
        backfill: true,
        sample: true,
    },
    samples: vec![SamplePayload {
        name: "A record of a list",
        payload: json!({
            "id": "e7f1", "created_at": "2026-01-01T00:00:00Z", "severity": "high", "title": "A rule fired",
        }),
    }],
    signature_presets: Vec::new(),
    presets: presets::of_connector(TYPE),
});

fn example() -> Value {
    json!({
        "url": "https://api.example.com/v1/events",
        "query": {"limit": "200"},
        "auth": {"type": "bearer", "secret": {"$secret": "token"}},
        "records": "data",
        "id": "id",
        "pagination": {"type": "cursor", "param": "page_token", "next": "next_page_token"},
        "cursor": {
            "path": "created_at", "param": "since", "kind": "timestamp", "initial": "{{now-24h}}", "overlap": 300,
        },
        "range": {"to_param": "until"},
        "rate_limit": 5,
    })
}

#[async_trait]
impl Connector for HttpPoller {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        Plan::read(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let mut results = match begin(TYPE, context, &[]) {
            Ok(results) => results,
            Err(results) => return results,
        };
        if let Ok(plan) = Plan::read(context.connection) {
            tried(plan, context, &mut results).await;
        }
        results
    }

    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        ensure_valid(TYPE, &context)?;
        let plan = Plan::read(&context.connection).map_err(Error::Config)?;
        if context.range.is_some() && !plan.takes_range() {
            let detail = "a stretch of time cannot be asked for: give `range`, a timestamp cursor with `param`, or \
                          {{from}} and {{to}} in the query or the body";
            return Err(Error::Config(vec![InputError::new("/range", "required", detail)]));
        }
        Ok(Box::new(PollerSource::new(plan, &context)?))
    }

    fn check_position(&self, connection: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        let position: Position = checkpoint.read()?;
        match position.run.map(|run| run.page) {
            Some(Page::Url(address)) => {
                let plan = Plan::read(connection).map_err(Error::Config)?;
                plan.stored(&address).map(drop)
            }
            _ => Ok(()),
        }
    }
}

/// Resolves, connects and asks for the first page.
async fn tried(plan: Plan, context: &CheckContext<'_>, results: &mut Vec<CheckResult>) {
    let end = Instant::now() + WHOLE;
    let plan = Arc::new(plan);
    let host = plan.url.host_str().unwrap_or_default();
    let port = plan.url.port_or_known_default().unwrap_or(443);
    let (reached, stream) = reach(context.guard, host, port).await;
    results.extend(reached);
    let mut good = stream.is_some();
    if plan.url.scheme() == "https" {
        let tls = plan.tls.clone().unwrap_or_default();
        let wrapped = match stream {
            Some(stream) => timeout_at(end, tls.wrap(stream, host, context.secrets))
                .await
                .ok(),
            None => None,
        };
        good = matches!(wrapped, Some(Ok(_)));
        results.push(match wrapped {
            Some(outcome) => of_step(
                "tls",
                &outcome,
                "the certificate is trusted",
                "see that the host shows a valid certificate of its name; give its authority's certificate in `tls.ca`",
            ),
            None if results.iter().any(|result| result.status == CheckStatus::Failed) => not_tried("tls"),
            None => failed("tls", "TLS was not agreed on in time", "see that the port speaks TLS"),
        });
    } else {
        results.push(skipped("tls", "nothing is encrypted: the URL says http"));
    }
    if !good {
        results.extend(["authenticate", "permission", "sample"].map(not_tried));
        return;
    }
    results.extend(asked(plan, context, end).await);
}

async fn asked(plan: Arc<Plan>, context: &CheckContext<'_>, end: Instant) -> [CheckResult; 3] {
    // The context's clock cannot be kept; a check takes no time that would matter.
    let now = context.clock.now();
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(now));
    let ask = Ask {
        page: Page::First,
        from: first_value(&plan, &Position::default(), now, None),
        began: now,
        range: None,
    };
    let client = Client::new(plan.clone(), context.secrets, context.guard, clock, WHOLE);
    let outcome = match client {
        Ok(client) => timeout_at(end, client.fetch(&ask)).await,
        Err(error) => Ok(Err(Failure {
            step: Step::Connect,
            error,
        })),
    };
    match outcome {
        Ok(Ok(page)) => match plan.can_move_on(&page.records) {
            Ok(()) => of_page(page.records.len()),
            Err(error) => of_failure(Step::Sample, &error),
        },
        Ok(Err(Failure { step, error })) => of_failure(step, &error),
        Err(_) => of_failure(
            Step::Sample,
            &Error::transient("the first page did not come in time"),
        ),
    }
}

fn of_page(records: usize) -> [CheckResult; 3] {
    [
        passed("authenticate", "the credentials are taken"),
        passed("permission", "the first page may be read"),
        passed("sample", format!("the first page has {records} record(s)")),
    ]
}

fn of_failure(step: Step, error: &Error) -> [CheckResult; 3] {
    let said = error.to_string();
    match step {
        Step::Authenticate => [
            failed(
                "authenticate",
                said,
                "see that the secret's value is right and has not ended",
            ),
            not_tried("permission"),
            not_tried("sample"),
        ],
        Step::Permission => [
            passed("authenticate", "the credentials are known"),
            failed(
                "permission",
                said,
                "let the credentials read this list at the vendor's side",
            ),
            not_tried("sample"),
        ],
        Step::Connect | Step::Tls => [
            failed(
                "authenticate",
                said,
                "see that the service answers at this address",
            ),
            not_tried("permission"),
            not_tried("sample"),
        ],
        Step::Page | Step::Sample => [
            skipped("authenticate", "the answer does not tell"),
            skipped("permission", "the answer does not tell"),
            failed(
                "sample",
                said,
                "see the URL, the query, the body and `records` against the vendor's description",
            ),
        ],
    }
}
