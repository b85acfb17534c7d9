//! The compliance suite: what every connector of the catalog must keep to. A new connector is tested by it as soon
//! as it is in the catalog; all it adds is a line of [`example`].

mod config;
mod source;
mod spec;

use serde_json::{Value, json};

/// A valid, complete connection of each connector, for the suite.
fn example(type_name: &str) -> Value {
    match type_name {
        "http_webhook" => {
            json!({"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}})
        }
        "generator" => json!({"records_per_second": 1000, "total": 50}),
        other => panic!("connector `{other}` has no example connection in the compliance suite"),
    }
}
