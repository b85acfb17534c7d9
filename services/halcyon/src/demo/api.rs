//! A client of the REST API.

use std::time::Duration;

use anyhow::{Context, bail};
use reqwest::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Login;

/// A signed-in client of the REST API.
pub(super) struct Api {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A client with a timeout, for the system at `url`.
pub(super) fn http() -> anyhow::Result<reqwest::Client> {
    reqwest::Client::builder()
        .timeout(Duration::from_secs(30))
        .build()
        .context("cannot make an HTTP client")
}

impl Api {
    pub(super) async fn login(login: &Login) -> anyhow::Result<Self> {
        let Login { url, email, password } = login;
        let mut api = Self {
            http: http()?,
            url: url.trim_end_matches('/').to_owned(),
            token: String::new(),
        };
        let session = api
            .post(
                "/auth/login",
                json!({"email": email, "password": password.expose_secret()}),
            )
            .await
            .with_context(|| format!("cannot sign in as {email}"))?;
        api.token = session["access_token"]
            .as_str()
            .context("the login gave no token")?
            .to_owned();
        Ok(api)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.call(Method::PUT, path, Some(body)).await
    }

    /// The number of items of a list, page by page, and its first few items.
    pub(super) async fn count(&self, path: &str) -> anyhow::Result<(usize, Vec<Value>)> {
        let (mut count, mut first, mut cursor) = (0, Vec::new(), String::new());
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let page = self.get(&format!("{path}{joint}limit=200{cursor}")).await?;
            let items = page["items"].as_array().cloned().unwrap_or_default();
            count += items.len();
            if first.is_empty() {
                first = items.into_iter().take(5).collect();
            }
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok((count, first)),
            }
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1{path}", self.url);
        let mut request = self.http.request(method.clone(), &url);
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{} cannot be reached", self.url))?;
        let status = response.status();
        let text = response
            .text()
            .await
            .with_context(|| format!("{method} {url} broke off"))?;
        if !status.is_success() {
            bail!("{method} {url} was answered with {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("{method} {url} gave no JSON"))
    }
}
