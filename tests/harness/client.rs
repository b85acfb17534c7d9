//! A client of the REST API and of ingest, as a user's script would be.

use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;

/// A signed-in client.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    /// Where the gateway is, such as `http://127.0.0.1:8080`.
    pub url: String,
    token: String,
}

/// An answer: status and body.
#[derive(Debug)]
pub struct Answer {
    /// The status; 502 when no answer came.
    pub status: StatusCode,
    /// The body, as text when it is no JSON.
    pub body: Value,
    /// The request's identifier, as the audit trail and the log name it.
    pub request_id: String,
}

impl Answer {
    /// What stands for an answer that did not come.
    fn none(error: &reqwest::Error) -> Self {
        Self {
            status: StatusCode::BAD_GATEWAY,
            body: Value::String(format!("{error:?}")),
            request_id: String::new(),
        }
    }

    async fn read(response: reqwest::Response) -> Self {
        let status = response.status();
        let request_id = response.headers().get("x-request-id");
        let request_id = request_id
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned();
        let text = response.text().await.unwrap_or_default();
        Self {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::String(text)),
            request_id,
        }
    }

    /// The body, after checking the status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self.body
    }
}

impl Client {
    /// Signs in.
    pub async fn login(url: &str, email: &str, password: &str) -> Self {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(30))
            .build()
            .unwrap();
        let mut client = Self {
            http,
            url: url.to_owned(),
            token: String::new(),
        };
        let body = json!({"email": email, "password": password});
        let answer = client
            .call(Method::POST, "/api/v1/auth/login", Some(body))
            .await
            .expect(200);
        client.token = answer["access_token"].as_str().unwrap().to_owned();
        client
    }

    /// The token that it signs its requests with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// A call of any method; `path` begins with a slash.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .unwrap_or_else(|error| panic!("{path}: {error:?}"));
        Answer::read(response).await
    }

    /// GET below `/api/v1`; anything but 200 is a failure.
    pub async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, &format!("/api/v1{path}"), None)
            .await
            .expect(200)
    }

    /// POST below `/api/v1`.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, &format!("/api/v1{path}"), Some(body))
            .await
    }

    /// POST below `/api/v1` with an `Idempotency-Key`; 502 when no answer came.
    pub async fn post_keyed(&self, path: &str, key: &str, body: Value) -> Answer {
        let url = format!("{}/api/v1{path}", self.url);
        let request = self.http.post(url).bearer_auth(&self.token).json(&body);
        match request.header("idempotency-key", key).send().await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Answer::none(&error),
        }
    }

    /// PUT below `/api/v1`.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, &format!("/api/v1{path}"), Some(body))
            .await
    }

    /// All items of a list, page by page.
    pub async fn all(&self, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }

    /// Creates a webhook datasource with a bearer token and publishes `mapping`. Returns its id.
    pub async fn publish_webhook(&self, name: &str, mapping: Value) -> String {
        let config = json!({
            "connection": {"auth": {"type": "bearer", "secret": {"$secret": "token"}}},
            "mapping": mapping,
        });
        let body = json!({"name": name, "type": "http_webhook", "config": config});
        let id = self.post("/datasources", body).await.expect(201)["id"]
            .as_str()
            .unwrap()
            .to_owned();
        self.put(
            &format!("/datasources/{id}/secrets/token"),
            json!({"value": TOKEN}),
        )
        .await
        .expect(200);
        self.post(&format!("/datasources/{id}/publish"), json!({"comment": "first"}))
            .await
            .expect(200);
        self.wait_running(&id, 1).await;
        self.wait_judged(&id).await;
        id
    }

    /// Waits until the gateway has what it judges the requests of a webhook with. A GET, which is no event, is 405
    /// from then on; workers and gateways hear of a publish each for themselves.
    pub async fn wait_judged(&self, id: &str) {
        self.wait_for(&format!("{id} to be judged by the gateway"), async |client| {
            let answer = client
                .http
                .get(format!("{}/ingest/{id}", client.url))
                .send()
                .await;
            answer.is_ok_and(|answer| answer.status() == 405)
        })
        .await;
    }

    /// Waits until a worker runs `version`.
    pub async fn wait_running(&self, id: &str, version: u64) {
        self.wait_for(&format!("{id} to run version {version}"), async |client| {
            let state = client.get(&format!("/datasources/{id}")).await["state"].clone();
            state["status"] == "RUNNING" && state["version"] == version
        })
        .await;
    }

    /// Waits for a condition, asking again and again, for at most a minute.
    pub async fn wait_for(&self, what: &str, condition: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition(self).await {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Sends `body` to a datasource's ingest endpoint with extra headers.
    pub async fn ingest_with(&self, id: &str, body: Vec<u8>, headers: &[(&str, String)]) -> Answer {
        let mut request = self.http.post(format!("{}/ingest/{id}", self.url));
        request = request.header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Ok(response) => Answer::read(response).await,
            Err(error) => Answer::none(&error),
        }
    }

    /// Sends `body` with the token of [`Client::publish_webhook`].
    pub async fn ingest(&self, id: &str, body: Vec<u8>) -> Answer {
        self.ingest_with(id, body, &[("authorization", format!("Bearer {TOKEN}"))])
            .await
    }
}

/// The bearer token of the test datasources: made up here, worth nothing anywhere.
pub const TOKEN: &str = "integration-test-token";

/// HMAC-SHA256 in hex.
pub fn hmac_sha256_hex(key: &[u8], message: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
