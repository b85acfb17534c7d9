//! Runs the tests that are stored with a version.

use std::time::Instant;

use bytes::Bytes;
use halcyon_domain::{config::StoredTest, test_run::StoredTestResult};
use serde_json::Value;

use crate::{expect, input::EventMaker, outcome::Mapped, plan::Plan};

/// Runs every stored test of a configuration, in order; after `until` those of a script fail.
pub(crate) fn run(plan: &Plan, maker: &EventMaker, until: Instant) -> Vec<StoredTestResult> {
    plan.tests
        .iter()
        .map(|test| one(plan, maker, test, until))
        .collect()
}

fn one(plan: &Plan, maker: &EventMaker, test: &StoredTest, until: Instant) -> StoredTestResult {
    let (body, content_type) = match &test.payload {
        Value::String(text) => (Bytes::copy_from_slice(text.as_bytes()), None),
        value => (Bytes::from(value.to_string()), Some("application/json")),
    };
    let failures = match maker.of_body(plan, body, content_type) {
        Ok(events) => expect::failures(&test.expect, &Mapped::of(plan, &events, until)),
        Err(mut error) => {
            // Pointers of failures lead into `expect`, and this one is about the payload.
            error.pointer.clear();
            vec![error]
        }
    };
    StoredTestResult {
        name: test.name.clone(),
        passed: failures.is_empty(),
        failures,
    }
}
