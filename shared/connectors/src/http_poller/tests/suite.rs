//! The compliance suite over a list that grows, with failures in between: once with a bearer token and page tokens,
//! once over TLS of an own authority with OAuth and links.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use serde_json::{Value, json};

use super::{Asked, Reply, Server, open};
use crate::{
    SecretValue, Secrets, SourceContext,
    compliance::{Peer, comply, context},
    http_poller::HttpPoller,
};

#[derive(Default)]
struct List {
    rows: Mutex<Vec<Value>>,
    asked: AtomicUsize,
}

struct Api {
    server: Server,
    list: Arc<List>,
    ca: Option<String>,
}

impl List {
    /// Pages of five from a value on, and now and then a failure.
    fn answer(&self, asked: &Asked, link: bool) -> Reply {
        if asked.path == "/token" {
            let form = asked.form();
            if form["client_id"] != "client" || form["client_secret"] != "canary-good" {
                return Reply::text(401, "{\"error\": \"invalid_client\"}");
            }
            return Reply::json(&json!({"access_token": "canary-good", "expires_in": "3600"}));
        }
        if asked.header("authorization") != "Bearer canary-good" {
            return Reply::text(401, "who?");
        }
        match self.asked.fetch_add(1, Ordering::SeqCst) % 19 {
            6 => return Reply::text(500, "oh"),
            11 => return Reply::text(429, "").with("retry-after", "0"),
            16 => {
                return Reply {
                    cut: Some(3),
                    ..Reply::text(200, "{\"rows\": []}")
                };
            }
            _ => {}
        }
        let since: u64 = asked.query("since").map_or(0, |since| since.parse().unwrap());
        let at: usize = asked.query("p").map_or(0, |at| at.parse().unwrap());
        let rows = self.rows.lock().unwrap();
        let found: Vec<&Value> = rows
            .iter()
            .filter(|row| row["at"].as_u64() >= Some(since))
            .collect();
        let page: Vec<&&Value> = found.iter().skip(at).take(5).collect();
        let next = (at + 5 < found.len()).then(|| (at + 5).to_string());
        match (next, link) {
            (Some(next), true) => {
                Reply::json(&json!(page)).with("link", &format!("<?since={since}&p={next}>; rel=\"next\""))
            }
            (None, true) => Reply::json(&json!(page)),
            (next, false) => Reply::json(&json!({"rows": page, "next": next})).gzip(),
        }
    }
}

#[async_trait]
impl Peer for Api {
    async fn fresh(&mut self) {
        self.list.rows.lock().unwrap().clear();
        self.list.asked.store(0, Ordering::SeqCst);
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let mut rows = self.list.rows.lock().unwrap();
        // Four rows of one value each.
        rows.extend(numbers.map(|n| json!({"n": n, "id": n, "at": n / 4})));
    }

    fn connection(&self) -> Value {
        let cursor = json!({"path": "at", "param": "since", "kind": "integer", "overlap": 1});
        match &self.ca {
            None => json!({
                "url": self.server.url("/rows"), "records": "rows", "id": "id", "cursor": cursor,
                "auth": {"type": "bearer", "secret": {"$secret": "token"}},
                "pagination": {"type": "cursor", "param": "p", "next": "next"},
            }),
            Some(ca) => json!({
                "url": format!("https://localhost:{}/rows", self.server.port), "id": "id", "cursor": cursor,
                "auth": {
                    "type": "oauth2", "token_url": format!("https://localhost:{}/token", self.server.port),
                    "client_id": "client", "secret": {"$secret": "token"}, "client_auth": "body",
                },
                "pagination": {"type": "link"},
                "tls": {"ca": ca},
            }),
        }
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        secrets.insert("token", SecretValue::new("canary-good"));
        secrets
    }
}

#[tokio::test]
async fn the_suite_passes_with_page_tokens() {
    let list = Arc::new(List::default());
    let answers = list.clone();
    let server = Server::start(move |asked| answers.answer(asked, false)).await;
    let mut api = Api {
        server,
        list,
        ca: None,
    };
    let kills = comply(&HttpPoller, &mut api).await;
    println!("killed at {kills} points");
    assert!(kills > 12);
    // A sample of the same place is one page.
    api.fresh().await;
    api.put(0..12).await;
    let mut sample = open(SourceContext {
        sample: true,
        ..context(&api, None)
    });
    assert_eq!(sample.next_batch().await.unwrap().unwrap().records.len(), 5);
    assert!(sample.next_batch().await.unwrap().is_none());
}

#[tokio::test]
async fn the_suite_passes_with_oauth_over_tls() {
    let list = Arc::new(List::default());
    let answers = list.clone();
    let (server, ca) = Server::start_tls(move |asked| answers.answer(asked, true), None).await;
    let mut api = Api {
        server,
        list,
        ca: Some(ca),
    };
    let kills = comply(&HttpPoller, &mut api).await;
    println!("killed at {kills} points");
    assert!(kills > 12);
}
