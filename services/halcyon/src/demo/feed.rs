//! The vendor's side: events, signed as the vendor signs them, sent to the ingest endpoint.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

/// How often an event is offered again that the gateway asked to wait with.
const ATTEMPTS: u32 = 20;

/// How a vendor proves who it is.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    secret_name: String,
    secret: String,
    scheme: Scheme,
}

#[derive(Clone, Debug)]
enum Scheme {
    Bearer,
    Header(String),
    GithubSignature,
}

impl Sender {
    /// The sender that fits a preset's connection, with a fresh random secret.
    pub(super) fn for_connection(connection: &Value) -> anyhow::Result<Self> {
        let auth = &connection["auth"];
        let header = auth["header"].as_str().unwrap_or("x-api-key");
        let scheme = match (auth["type"].as_str(), auth["preset"].as_str()) {
            (Some("bearer"), _) => Scheme::Bearer,
            (Some("api_key"), _) => Scheme::Header(header.to_owned()),
            (Some("hmac"), Some("github")) => Scheme::GithubSignature,
            _ => bail!("the demonstration cannot sign for {auth}"),
        };
        let secret_name = auth["secret"]["$secret"]
            .as_str()
            .context("the preset names no secret")?;
        let random: [u8; 32] = rand::random();
        Ok(Self {
            secret_name: secret_name.to_owned(),
            secret: hex(&random),
            scheme,
        })
    }

    /// The secrets that the datasource needs to know: name and value.
    pub(super) fn secrets(&self) -> Vec<(String, String)> {
        vec![(self.secret_name.clone(), self.secret.clone())]
    }

    fn headers(&self, body: &str) -> anyhow::Result<BTreeMap<String, String>> {
        let (name, value) = match &self.scheme {
            Scheme::Bearer => ("authorization".to_owned(), format!("Bearer {}", self.secret)),
            Scheme::Header(name) => (name.clone(), self.secret.clone()),
            Scheme::GithubSignature => {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(self.secret.as_bytes()).context("cannot sign")?;
                mac.update(body.as_bytes());
                let signature = hex(&mac.finalize().into_bytes());
                ("x-hub-signature-256".to_owned(), format!("sha256={signature}"))
            }
        };
        Ok(BTreeMap::from([(name, value)]))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a replay came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    /// Events that were answered with 202.
    pub(super) accepted: u64,
    /// How often an event had to be offered again.
    pub(super) repeated: u64,
    /// How long it took.
    pub(super) took: Duration,
}

/// A datasource's ingest endpoint and who sends to it.
pub(super) struct Feed {
    http: reqwest::Client,
    endpoint: String,
    sender: Sender,
}

impl Feed {
    pub(super) fn new(url: &str, id: &str, sender: Sender) -> anyhow::Result<Self> {
        let endpoint = format!("{}/ingest/{id}", url.trim_end_matches('/'));
        Ok(Self {
            http: super::api::http()?,
            endpoint,
            sender,
        })
    }

    /// Sends every event, `rate` a second.
    pub(super) async fn replay(&self, events: &[String], rate: u32) -> anyhow::Result<Sent> {
        let start = Instant::now();
        let mut sent = Sent::default();
        let mut pace = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        for event in events {
            pace.tick().await;
            let (_, repeated) = self.send(event).await?;
            sent.accepted += 1;
            sent.repeated += repeated;
        }
        sent.took = start.elapsed();
        Ok(sent)
    }

    /// Sends one event, again if the gateway asks to wait. Returns its id and how often it was repeated.
    pub(super) async fn send(&self, event: &str) -> anyhow::Result<(String, u64)> {
        for attempt in 0..ATTEMPTS {
            let mut request = self
                .http
                .post(&self.endpoint)
                .header("content-type", "application/json");
            for (name, value) in self.sender.headers(event)? {
                request = request.header(name, value);
            }
            let response = request
                .body(event.to_owned())
                .send()
                .await
                .context("the gateway cannot be reached")?;
            let status = response.status();
            let wait = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok());
            let text = response.text().await.context("the answer broke off")?;
            match status.as_u16() {
                202 => {
                    let answer: Value = serde_json::from_str(&text).context("ingest gave no JSON")?;
                    let id = answer["id"].as_str().context("ingest gave no id")?;
                    return Ok((id.to_owned(), attempt.into()));
                }
                // 404: the route of a datasource just published may still be on its way to this gateway.
                404 | 429 | 503 => tokio::time::sleep(Duration::from_secs(wait.unwrap_or(1))).await,
                _ => bail!("an event was answered with {status}: {text}"),
            }
        }
        bail!("the gateway asked to wait {ATTEMPTS} times")
    }
}
