//! The catalog's side of `http_webhook`.

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use halcyon_domain::{
    error::InputError,
    test_run::{CheckResult, CheckStatus},
};
use serde_json::{Value, json};

use super::{auth::Auth, compiled::CompiledWebhook, presets::PRESETS};
use crate::{
    Capabilities, CheckContext, Connector, ConnectorSpec, Ordering, SamplePayload, Verifier, check, presets,
    spec::schema,
};

/// The word for a datasource's `type`.
pub(crate) const TYPE: &str = "http_webhook";

/// Events that a vendor posts to us.
#[derive(Clone, Copy, Debug)]
pub struct HttpWebhook;

static SPEC: LazyLock<ConnectorSpec> = LazyLock::new(|| ConnectorSpec {
    type_name: TYPE,
    name: "HTTP webhook",
    description: "Events that a vendor posts to an address of ours, verified by signature, key or password.",
    icon: include_str!("icon.svg"),
    config_schema: schema(include_str!("schema.json")),
    example: json!({"auth": {"type": "hmac", "preset": "github", "secret": {"$secret": "signing"}}}),
    capabilities: Capabilities {
        push: true,
        pull: false,
        shared: false,
        scheduled: false,
        ordering: Ordering::None,
        resumable: false,
        backfill: false,
        sample: false,
    },
    samples: samples(),
    signature_presets: PRESETS.iter().map(|preset| preset.describe()).collect(),
    presets: presets::of_connector(TYPE),
});

fn samples() -> Vec<SamplePayload> {
    let payload = serde_json::json!({
        "id": "evt-1", "time": "2026-01-01T00:00:00Z", "severity": "high", "title": "Malware found",
        "host": {"name": "web-1", "ip": "192.0.2.10"}, "user": {"name": "alice"},
    });
    vec![SamplePayload {
        name: "A generic alert",
        payload,
    }]
}

#[async_trait]
impl Connector for HttpWebhook {
    fn spec(&self) -> &'static ConnectorSpec {
        &SPEC
    }

    fn validate(&self, connection: &Value) -> Vec<InputError> {
        CompiledWebhook::build(connection).err().unwrap_or_default()
    }

    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult> {
        let webhook = match CompiledWebhook::compile(context.connection) {
            Ok(webhook) => webhook,
            Err(errors) => return vec![check::of_configuration(&errors)],
        };
        let secrets = check::of_secrets(&webhook.required_secrets(), context.secrets);
        let key = key_check(&webhook, context, secrets.status);
        vec![
            check::passed("configuration", "the connection is valid"),
            authentication(&webhook),
            secrets,
            key,
        ]
    }

    fn verifier(&self, connection: &Value) -> Result<Arc<dyn Verifier>, Vec<InputError>> {
        Ok(Arc::new(CompiledWebhook::compile(connection)?))
    }
}

fn authentication(webhook: &CompiledWebhook) -> CheckResult {
    let mut result = check::passed(
        "authentication",
        format!("requests are verified ({})", webhook.auth_kind()),
    );
    if matches!(webhook.auth(), Auth::None) {
        result.message = "requests are not verified: whoever knows the address can post events".to_owned();
        result.remedy = Some("choose a type of auth other than `none`".to_owned());
    }
    result
}

/// Whether each secret is in the form that the vendor writes it in.
fn key_check(webhook: &CompiledWebhook, context: &CheckContext<'_>, secrets: CheckStatus) -> CheckResult {
    const NAME: &str = "signing_key";
    let Auth::Hmac(scheme) = webhook.auth() else {
        return check::skipped(NAME, "nothing is signed");
    };
    if secrets != CheckStatus::Passed {
        return check::skipped(NAME, "a secret is missing");
    }
    let mut named = scheme
        .secrets
        .iter()
        .map(|name| (name, context.secrets.values(name.as_str())));
    match named.find(|(_, values)| values.iter().any(|value| scheme.key(value).is_none())) {
        None => check::passed(NAME, "each secret can be used as a key"),
        Some((name, _)) => check::failed(
            NAME,
            format!("secret `{name}` cannot be used as a key: it is empty or not encoded as the scheme says"),
            format!("copy the secret from the vendor again and store it as `{name}`"),
        ),
    }
}
