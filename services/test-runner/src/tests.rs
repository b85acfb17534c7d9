//! Whole jobs: in memory, and one over a real bus.

mod bus;
mod expectations;
mod jobs;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::DateTime;
use halcyon_connectors::{SecretValue, Secrets};
use halcyon_domain::{
    clock::{Clock, ManualClock},
    id::{DatasourceId, OrganizationId},
    test_run::{TestInput, TestJob},
};
use halcyon_egress::{Guard, Policy};
use serde_json::{Value, json};

use crate::{Settings, job::Runner, secrets::SecretSource};

struct Fixed(Option<&'static str>);

#[async_trait]
impl SecretSource for Fixed {
    async fn open(&self, _: &TestJob, names: Vec<String>) -> Result<Secrets, halcyon_bus::Error> {
        let mut secrets = Secrets::none();
        match self.0 {
            Some("unavailable") => return Err(halcyon_bus::Error::Timeout(Duration::ZERO)),
            Some(value) => names
                .into_iter()
                .for_each(|name| secrets.insert(name, SecretValue::new(value))),
            None => {}
        }
        Ok(secrets)
    }
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::at(
        DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
    ))
}

fn guard() -> Guard {
    Guard::new(Policy::default().with_loopback())
}

fn runner(secret: Option<&'static str>) -> Runner {
    Runner::new(
        Settings::default(),
        clock(),
        guard(),
        Arc::new(Fixed(secret)),
        None,
    )
}

fn config() -> Value {
    json!({
        "connection": {"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}},
        "mapping": {"filter": "sev > `10`", "outputs": [
            {"kind": "alert", "fields": {"external_id": "id", "title": "name", "time": {"expr": "ts", "as": "timestamp"},
                "severity": {"expr": "to_string(sev)", "lookup": {"70": "high"}, "default": "unknown"}}},
            {"kind": "entity", "when": "host", "fields": {"type": {"value": "host"}, "key": "host"}},
        ]},
    })
}

fn event(id: &str) -> Value {
    json!({"id": id, "name": "malware", "host": "web-1", "sev": 70, "ts": 1_700_000_000})
}

fn job(config: Value, input: TestInput) -> TestJob {
    TestJob {
        organization: OrganizationId::generate(),
        datasource: DatasourceId::generate(),
        connector: "http_webhook".to_owned(),
        config,
        compare_with: None,
        run_stored_tests: input == TestInput::None,
        input,
        ticket: Some("ticket".to_owned()),
    }
}

fn payload(body: impl ToString) -> TestInput {
    TestInput::Payload {
        body: body.to_string(),
        content_type: None,
    }
}
