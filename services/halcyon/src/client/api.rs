//! Calls of the REST API.

use std::time::Duration;

use anyhow::Result;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{ACCEPT, IF_MATCH, RETRY_AFTER},
};
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Error, Problem, session::Session};

/// How long an answer may take. A publish runs stored tests, which may take a while.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a call is made again that came too soon after others.
const TOO_SOON: u32 = 8;

/// The longest pause before a call is made again.
const PAUSE: Duration = Duration::from_secs(15);

/// The revision that the object must have, if it matters.
pub(crate) type IfMatch = Option<i64>;

/// A client of the system at one address, as one caller.
pub(crate) struct Api {
    http: reqwest::Client,
    base: Url,
    session: Mutex<Session>,
}

/// One call.
struct Call<'c> {
    method: Method,
    url: Url,
    body: Option<&'c Value>,
    if_match: IfMatch,
    accept: &'static str,
}

impl Api {
    pub(super) fn new(http: reqwest::Client, base: Url, session: Session) -> Self {
        Self {
            http,
            base,
            session: Mutex::new(session),
        }
    }

    /// Where the system is.
    pub(crate) fn url(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// GET below `/api/v1`. Each part of the path is one segment, whatever it holds.
    pub(crate) async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value> {
        self.json(Method::GET, path, query, None, None).await
    }

    /// POST.
    pub(crate) async fn post(&self, path: &[&str], body: &Value, if_match: IfMatch) -> Result<Value> {
        self.json(Method::POST, path, &[], Some(body), if_match).await
    }

    /// POST with a query.
    pub(crate) async fn post_with(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        body: &Value,
    ) -> Result<Value> {
        self.json(Method::POST, path, query, Some(body), None).await
    }

    /// PUT.
    pub(crate) async fn put(&self, path: &[&str], body: &Value, if_match: IfMatch) -> Result<Value> {
        self.json(Method::PUT, path, &[], Some(body), if_match).await
    }

    /// DELETE.
    pub(crate) async fn delete(&self, path: &[&str], if_match: IfMatch) -> Result<()> {
        self.json(Method::DELETE, path, &[], None, if_match).await?;
        Ok(())
    }

    /// All items of a list, page by page.
    pub(crate) async fn all(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Vec<Value>> {
        self.up_to(path, query, usize::MAX).await
    }

    /// The first items of a list, page by page.
    pub(crate) async fn up_to(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        most: usize,
    ) -> Result<Vec<Value>> {
        Ok(self.list_from(path, query, None, most).await?.0)
    }

    /// The first items of a list from a place in it on, page by page, and the place after them if there are more.
    pub(crate) async fn list_from(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut cursor: Option<String>,
        most: usize,
    ) -> Result<(Vec<Value>, Option<String>)> {
        let mut items = Vec::new();
        loop {
            let limit = most.saturating_sub(items.len()).clamp(1, 200).to_string();
            let mut query = query.to_vec();
            query.push(("limit", &limit));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query).await?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || items.len() >= most {
                items.truncate(most);
                return Ok((items, cursor));
            }
        }
    }

    /// An answer that goes on: server-sent events.
    pub(crate) async fn stream(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Response> {
        let call = Call {
            method: Method::GET,
            url: self.at(path, query)?,
            body: None,
            if_match: None,
            accept: "text/event-stream",
        };
        self.send(&call).await
    }

    /// Where a path leads.
    fn at(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    async fn json(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<&Value>,
        if_match: IfMatch,
    ) -> Result<Value> {
        let call = Call {
            method,
            url: self.at(path, query)?,
            body,
            if_match,
            accept: "application/json",
        };
        let response = self.send(&call).await?;
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        let detail = || format!("{} gave no JSON; is it HALCYON's gateway?", call.url);
        let no_json = |_| Error::Refused(Box::new(Problem::told(502, detail())));
        Ok(serde_json::from_str(&text).map_err(no_json)?)
    }

    /// Makes a call; again with a new token if the one at hand has run out, and again later if it came too soon.
    async fn send(&self, call: &Call<'_>) -> Result<Response> {
        let mut renewed = false;
        let mut too_soon = 0;
        loop {
            let token = self.session.lock().await.token(&self.http, &self.base).await?;
            let mut request = self
                .http
                .request(call.method.clone(), call.url.clone())
                .bearer_auth(&token)
                .header(ACCEPT, call.accept);
            if call.accept == "application/json" {
                request = request.timeout(PATIENCE);
            }
            if let Some(body) = call.body {
                request = request.json(body);
            }
            if let Some(revision) = call.if_match {
                request = request.header(IF_MATCH, format!("\"{revision}\""));
            }
            let response = request.send().await.map_err(|error| self.unreachable(&error))?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if !renewed => {
                    renewed = true;
                    if self.session.lock().await.refused(&token) {
                        continue;
                    }
                    return Err(self.refused(response).await);
                }
                StatusCode::TOO_MANY_REQUESTS if too_soon < TOO_SOON => {
                    too_soon += 1;
                    tokio::time::sleep(pause(&response)).await;
                }
                _ => return Err(self.refused(response).await),
            }
        }
    }

    async fn refused(&self, response: Response) -> anyhow::Error {
        let status = response.status().as_u16();
        let body = response.text().await.unwrap_or_default();
        let problem = Problem::read(status, &body);
        if status == 401 {
            let hint = format!(
                "{} (sign in with `halcyon login --url {}`)",
                problem.detail,
                self.url()
            );
            return Error::SignedOut(hint).into();
        }
        Error::Refused(Box::new(problem)).into()
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        unreachable(self.url(), error)
    }
}

/// What the network says, without the address, which is told already.
pub(super) fn unreachable(url: &str, error: &reqwest::Error) -> Error {
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    let detail = if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        source.to_string()
    };
    Error::Unreachable {
        url: url.trim_end_matches('/').to_owned(),
        detail,
    }
}

/// How long the system says to wait.
fn pause(response: &Response) -> Duration {
    let header = response.headers().get(RETRY_AFTER);
    let seconds = header
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse().ok());
    seconds
        .map_or(Duration::from_secs(1), Duration::from_secs)
        .min(PAUSE)
}
