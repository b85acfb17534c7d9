//! Vendors' signature schemes, as settings of the template.

use halcyon_domain::duration::HumanDuration;
use serde_json::Value;

use super::config::{Algorithm, AuthKind, Encoding, Handshake, SecretEncoding, Template};
use crate::SignaturePreset;

/// How far a signed time may be off if nothing else is said, either way.
pub(crate) const DEFAULT_TOLERANCE: HumanDuration = HumanDuration::from_secs(300);

/// Where a vendor puts an event's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    Nowhere,
    Header(&'static str),
    Path(&'static str),
}

/// A vendor's scheme; an empty text is a setting that the scheme has not.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preset {
    pub(crate) id: &'static str,
    name: &'static str,
    documentation: &'static str,
    pub(crate) kind: AuthKind,
    header: &'static str,
    encoding: Encoding,
    prefix: &'static str,
    separator: &'static str,
    signing_string: &'static str,
    timestamp_header: &'static str,
    timestamp_field: &'static str,
    id_header: &'static str,
    secret_encoding: SecretEncoding,
    secret_prefix: &'static str,
    pub(crate) identity: Identity,
    pub(crate) handshake: Option<Handshake>,
}

const HMAC_OF_BODY: Preset = Preset {
    id: "",
    name: "",
    documentation: "",
    kind: AuthKind::Hmac,
    header: "",
    encoding: Encoding::Hex,
    prefix: "",
    separator: "",
    signing_string: "{body}",
    timestamp_header: "",
    timestamp_field: "",
    id_header: "",
    secret_encoding: SecretEncoding::Text,
    secret_prefix: "",
    identity: Identity::Nowhere,
    handshake: None,
};

/// Every preset.
pub(crate) static PRESETS: [Preset; 8] = [
    Preset {
        id: "github",
        name: "GitHub",
        documentation: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        header: "X-Hub-Signature-256",
        prefix: "sha256=",
        identity: Identity::Header("x-github-delivery"),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "stripe",
        name: "Stripe",
        documentation: "https://docs.stripe.com/webhooks/signature",
        header: "Stripe-Signature",
        prefix: "v1=",
        separator: ",",
        signing_string: "{timestamp}.{body}",
        timestamp_field: "t",
        identity: Identity::Path("id"),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "slack",
        name: "Slack",
        documentation: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        header: "X-Slack-Signature",
        prefix: "v0=",
        signing_string: "v0:{timestamp}:{body}",
        timestamp_header: "X-Slack-Request-Timestamp",
        identity: Identity::Path("event_id"),
        handshake: Some(Handshake::Slack),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "standard-webhooks",
        name: "Standard Webhooks",
        documentation: "https://www.standardwebhooks.com",
        header: "webhook-signature",
        encoding: Encoding::Base64,
        prefix: "v1,",
        separator: " ",
        signing_string: "{id}.{timestamp}.{body}",
        timestamp_header: "webhook-timestamp",
        id_header: "webhook-id",
        secret_encoding: SecretEncoding::Base64,
        secret_prefix: "whsec_",
        identity: Identity::Header("webhook-id"),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "shopify",
        name: "Shopify",
        documentation: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
        header: "X-Shopify-Hmac-Sha256",
        encoding: Encoding::Base64,
        identity: Identity::Header("x-shopify-webhook-id"),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "zoom",
        name: "Zoom",
        documentation: "https://developers.zoom.us/docs/api/webhooks/",
        header: "x-zm-signature",
        prefix: "v0=",
        signing_string: "v0:{timestamp}:{body}",
        timestamp_header: "x-zm-request-timestamp",
        handshake: Some(Handshake::Zoom),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "pagerduty",
        name: "PagerDuty",
        documentation: "https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        header: "X-PagerDuty-Signature",
        prefix: "v1=",
        separator: ",",
        identity: Identity::Path("event.id"),
        ..HMAC_OF_BODY
    },
    Preset {
        id: "okta",
        name: "Okta event hooks",
        documentation: "https://developer.okta.com/docs/concepts/event-hooks/",
        kind: AuthKind::ApiKey,
        header: "Authorization",
        signing_string: "",
        identity: Identity::Path("eventId"),
        handshake: Some(Handshake::Okta),
        ..HMAC_OF_BODY
    },
];

impl Preset {
    pub(crate) fn find(id: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.id == id)
    }

    /// The scheme as settings.
    pub(crate) fn template(&self) -> Template {
        let text = |value: &str| (!value.is_empty()).then(|| value.to_owned());
        let is_hmac = self.kind == AuthKind::Hmac;
        let has_time = !self.timestamp_header.is_empty() || !self.timestamp_field.is_empty();
        Template {
            algorithm: is_hmac.then_some(Algorithm::Sha256),
            header: text(self.header),
            encoding: is_hmac.then_some(self.encoding),
            prefix: text(self.prefix),
            separator: text(self.separator),
            signing_string: text(self.signing_string),
            timestamp_header: text(self.timestamp_header),
            timestamp_field: text(self.timestamp_field),
            id_header: text(self.id_header),
            tolerance: has_time.then_some(DEFAULT_TOLERANCE),
            secret_encoding: is_hmac.then_some(self.secret_encoding),
            secret_prefix: text(self.secret_prefix),
        }
    }

    /// The scheme for the catalog.
    pub(crate) fn describe(&self) -> SignaturePreset {
        let mut auth = serde_json::to_value(self.template()).unwrap_or_default();
        if let (Value::Object(auth), Ok(kind)) = (&mut auth, serde_json::to_value(self.kind)) {
            auth.insert("type".to_owned(), kind);
        }
        SignaturePreset {
            id: self.id,
            name: self.name,
            auth,
            documentation: self.documentation,
        }
    }
}

impl Template {
    /// What is written here, and for the rest what `other` says.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            algorithm: self.algorithm.or(other.algorithm),
            header: self.header.or(other.header),
            encoding: self.encoding.or(other.encoding),
            prefix: self.prefix.or(other.prefix),
            separator: self.separator.or(other.separator),
            signing_string: self.signing_string.or(other.signing_string),
            timestamp_header: self.timestamp_header.or(other.timestamp_header),
            timestamp_field: self.timestamp_field.or(other.timestamp_field),
            id_header: self.id_header.or(other.id_header),
            tolerance: self.tolerance.or(other.tolerance),
            secret_encoding: self.secret_encoding.or(other.secret_encoding),
            secret_prefix: self.secret_prefix.or(other.secret_prefix),
        }
    }
}
