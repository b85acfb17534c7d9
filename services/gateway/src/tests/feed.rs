//! A feed to review.

use halcyon_domain::id::DatasourceId;
use serde_json::{Value, json};

use super::support::{Answer, Gateway, config};

/// A datasource, and its admin.
pub(super) struct Feed {
    pub(super) gateway: Gateway,
    token: String,
    pub(super) path: String,
}

impl Feed {
    pub(super) async fn draft() -> Self {
        let gateway = Gateway::start().await;
        let token = gateway.admin();
        let body = json!({"name": "EDR", "type": "http_webhook", "config": config("title")});
        let made = gateway
            .call(&token, "POST", "/datasources", Some(body))
            .await
            .expect(201);
        let path = format!("/datasources/{}", made["id"].as_str().unwrap());
        Self { gateway, token, path }
    }

    pub(super) async fn published() -> Self {
        let feed = Self::draft().await;
        feed.call("PUT", "/secrets/token", json!({"value": "s3cret"}))
            .await
            .expect(200);
        feed.call("POST", "/publish", json!({})).await.expect(200);
        feed
    }

    pub(super) async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        self.by(&self.token, method, path, body).await
    }

    pub(super) async fn by(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        self.gateway
            .call(token, method, &format!("{}{path}", self.path), Some(body))
            .await
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        self.gateway
            .call(&self.token, "GET", &format!("{}{path}", self.path), None)
            .await
            .expect(200)
    }

    pub(super) async fn raw(&self, path: &str, body: &'static str) -> Answer {
        let bearer = format!("Bearer {}", self.token);
        let headers = [
            ("authorization", bearer.as_str()),
            ("content-type", "application/json"),
        ];
        let path = format!("/api/v1{}{path}", self.path);
        self.gateway.send(&path, &headers, body).await
    }

    pub(super) fn id(&self) -> DatasourceId {
        self.path.rsplit('/').next().unwrap().parse().unwrap()
    }
}

/// The word for programs in a problem's type.
pub(super) fn code(problem: &Value) -> &str {
    problem["type"].as_str().unwrap().rsplit(':').next().unwrap()
}
