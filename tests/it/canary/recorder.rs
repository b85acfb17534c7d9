//! A client that keeps all answers, and the credentials that it gives and is given.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use halcyon_tests::{
    client::{Answer, Client},
    load::sequence_mapping,
};

use super::search::canary;

/// What is looked for: a value for each field that takes a credential.
pub(super) struct Canaries(BTreeMap<&'static str, String>);

impl Canaries {
    pub(super) fn new() -> Self {
        let names = [
            "bearer",
            "api-key",
            "basic",
            "hmac",
            "hmac, the second",
            "hmac, the third",
            "rotated",
            "refused",
            "wrong-password",
            "password-of-the-administrator's-choice",
            "password-of-the-user's-choice",
            "password-set-anew",
            "vault",
        ];
        Self(names.into_iter().map(|name| (name, canary(name))).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        &self.0[name]
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let all = self.0.iter();
        all.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
    }
}

/// A client that keeps all answers.
pub(super) struct Recorder {
    pub(super) client: Client,
    pub(super) answers: Vec<(String, String)>,
    /// What the system made up and told the one whom it is for.
    pub(super) told: BTreeMap<String, Vec<u8>>,
}

impl Recorder {
    pub(super) fn new(client: Client) -> Self {
        let mut recorder = Self {
            client,
            answers: Vec::new(),
            told: BTreeMap::new(),
        };
        recorder.learn_token();
        recorder
    }

    /// Goes on as somebody else, or after a restart.
    pub(super) fn go_on_as(&mut self, client: Client) -> Client {
        let before = std::mem::replace(&mut self.client, client);
        self.learn_token();
        before
    }

    fn learn_token(&mut self) {
        let token = self.client.token().to_owned();
        self.learn("access token", &token);
    }

    /// A credential that an answer told: it must not be anywhere else.
    pub(super) fn learn(&mut self, what: &str, value: &str) {
        let name = format!("{what} {}", self.told.len());
        self.told.insert(name, value.as_bytes().to_vec());
    }

    pub(super) async fn call(&mut self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let name = format!("{method} {path}");
        let answer = self.client.call(method, path, body).await;
        self.answers.push((name, answer.body.to_string()));
        answer
    }

    pub(super) async fn get(&mut self, path: &str) -> Answer {
        self.call(Method::GET, path, None).await
    }

    pub(super) async fn post(&mut self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, Some(body)).await
    }

    pub(super) async fn put(&mut self, path: &str, body: Value) -> Answer {
        self.call(Method::PUT, path, Some(body)).await
    }

    pub(super) async fn ingest(&mut self, id: &str, body: &[u8], headers: &[(&str, String)]) -> u16 {
        let answer = self.client.ingest_with(id, body.to_vec(), headers).await;
        self.answers
            .push((format!("ingest {id}"), answer.body.to_string()));
        answer.status.as_u16()
    }

    /// A published feed with this kind of authentication and secret.
    pub(super) async fn feed(&mut self, kind: &str, auth: Value, secret: &str) -> String {
        let config = json!({"connection": {"auth": auth}, "mapping": sequence_mapping("t")});
        let body = json!({"name": kind, "type": "http_webhook", "config": config});
        let created = self.post("/api/v1/datasources", body).await.expect(201);
        let id = created["id"].as_str().unwrap().to_owned();
        let base = format!("/api/v1/datasources/{id}");
        let path = format!("{base}/secrets/key");
        self.put(&path, json!({"value": secret})).await.expect(200);
        let run = json!({"version": 1, "payload": {"seq": 1, "host": "h", "at": "2026-01-02T03:04:05Z"}});
        self.post(&format!("{base}/test"), run).await.expect(200);
        self.post(&format!("{base}/publish"), json!({"comment": "go"}))
            .await
            .expect(200);
        self.client.wait_running(&id, 1).await;
        id
    }
}
