//! Subscriptions over a websocket: who may connect, what comes, what is refused, and when it ends.

use std::{sync::Arc, time::Duration};

use futures::{SinkExt, StreamExt};
use halcyon_domain::{
    clock::Timestamp,
    datasource::{DatasourceMetrics, DatasourceState},
    duration::HumanDuration,
    session::EndReason,
};
use halcyon_infra::Shutdown;
use halcyon_store::StateRecord;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use super::support::Gateway;
use crate::{
    Settings,
    app::App,
    edge::settings::{LimitSettings, Quota},
    server::{self, Ending},
};

/// How long an answer is waited for.
const SOON: Duration = Duration::from_secs(20);

/// A gateway, and another one beside it that listens.
struct Open {
    gateway: Gateway,
    app: Arc<App>,
    address: std::net::SocketAddr,
    shutdown: Shutdown,
}

impl Open {
    async fn with(settings: Settings) -> Self {
        let gateway = Gateway::start().await;
        let Gateway { service, app, .. } = gateway.beside_with(&settings);
        let listening = server::listen("127.0.0.1:0".parse().unwrap(), None)
            .await
            .unwrap();
        let (address, shutdown) = (listening.address, Shutdown::new());
        let stop = Ending::at_once(shutdown.clone());
        tokio::spawn(async move { server::serve(listening, service, &settings, stop).await });
        Self {
            gateway,
            app,
            address,
            shutdown,
        }
    }

    async fn socket(&self) -> Socket {
        let mut request = format!("ws://{}/graphql", self.address)
            .into_client_request()
            .unwrap();
        let protocol = "graphql-transport-ws".parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let (stream, answer) = connect_async(request).await.unwrap();
        assert_eq!(answer.headers()["sec-websocket-protocol"], "graphql-transport-ws");
        Socket(stream)
    }

    async fn signed_in(&self) -> Socket {
        let mut socket = self.socket().await;
        socket
            .say(json!({"type": "connection_init", "payload": {"token": self.gateway.admin()}}))
            .await;
        assert_eq!(socket.hear().await["type"], "connection_ack");
        socket
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str) {
        let payload = json!({"query": query});
        self.say(json!({"id": id, "type": "subscribe", "payload": payload}))
            .await;
    }

    async fn next(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(SOON, self.0.next()).await;
            match message.expect("nothing comes").unwrap().unwrap() {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next message that is no sign of life.
    async fn hear(&mut self) -> Value {
        loop {
            let message = self.next().await;
            let value: Value = serde_json::from_str(message.to_text().unwrap()).unwrap();
            if value["type"] != "ping" {
                return value;
            }
        }
    }

    /// The code that the connection is closed with.
    async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.next().await {
                return frame.unwrap().code.into();
            }
        }
    }
}

#[tokio::test]
async fn only_who_shows_a_token_that_holds_is_let_in() {
    let open = Open::with(Settings::default()).await;
    let mut early = open.socket().await;
    early.subscribe("1", "{ me { name } }").await;
    assert_eq!(early.closed().await, 4401);
    for payload in [
        json!(null),
        json!({"token": "nonsense"}),
        json!({"Authorization": "Basic x"}),
    ] {
        let mut socket = open.socket().await;
        socket
            .say(json!({"type": "connection_init", "payload": payload}))
            .await;
        assert_eq!(socket.closed().await, 4403);
    }
    let mut twice = open.signed_in().await;
    twice.say(json!({"type": "connection_init"})).await;
    assert_eq!(twice.closed().await, 4429);
    let plain = connect_async(format!("ws://{}/graphql", open.address)).await;
    assert!(plain.is_err(), "without the protocol");
}

#[tokio::test]
async fn a_state_comes_at_once_and_when_it_changes_and_ends_with_the_session() {
    let open = Open::with(Settings::default()).await;
    let gateway = &open.gateway;
    let body = json!({"name": "EDR", "type": "generator"});
    let admin = gateway.admin();
    let made = gateway.call(&admin, "POST", "/datasources", Some(body));
    let id = made.await.expect(201)["id"].as_str().unwrap().to_owned();
    let mut record = StateRecord {
        datasource: id.parse().unwrap(),
        organization: gateway.organization,
        state: DatasourceState::default(),
        epoch: 1,
        error_code: None,
        metrics: DatasourceMetrics::default(),
        updated_at: Timestamp::default(),
    };
    record.state.restarts = 1;
    let put = async |record: &StateRecord| {
        let tx = gateway.store.begin().await.unwrap();
        tx.states().put(std::slice::from_ref(record)).await.unwrap();
        tx.commit().await.unwrap();
    };
    put(&record).await;

    let mut socket = open.signed_in().await;
    let query = format!("subscription {{ datasourceState(id: \"{id}\") {{ restarts }} }}");
    socket.subscribe("s", &query).await;
    let first = socket.hear().await;
    assert_eq!((&first["id"], &first["type"]), (&json!("s"), &json!("next")));
    assert_eq!(first["payload"]["data"]["datasourceState"]["restarts"], 1);
    record.state.restarts = 2;
    put(&record).await;
    let second = socket.hear().await;
    assert_eq!(second["payload"]["data"]["datasourceState"]["restarts"], 2);
    socket.subscribe("s", &query).await;
    assert_eq!(socket.closed().await, 4409, "the identifier is in use");

    let mut socket = open.signed_in().await;
    let tx = gateway.store.begin().await.unwrap();
    let (sessions, now) = (tx.sessions(), gateway.now());
    let ended = sessions.end_all_of(gateway.admin, EndReason::Revoked, now).await;
    assert!(ended.unwrap() > 0);
    tx.commit().await.unwrap();
    let looks = async {
        loop {
            open.app.look_at_access().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let code = tokio::select! {
        code = socket.closed() => code,
        () = looks => 0,
    };
    assert_eq!(code, 4401);
}

#[tokio::test]
async fn questions_are_answered_and_what_changes_something_is_refused() {
    let open = Open::with(Settings::default()).await;
    let mut socket = open.signed_in().await;
    socket.subscribe("q", "{ me { kind } }").await;
    assert_eq!(socket.hear().await["payload"]["data"]["me"]["kind"], "USER");
    assert_eq!(socket.hear().await, json!({"id": "q", "type": "complete"}));
    socket
        .subscribe("m", "mutation { rotateTokenKeys(input: {}) { id } }")
        .await;
    let refused = socket.hear().await;
    assert_eq!((&refused["id"], &refused["type"]), (&json!("m"), &json!("error")));
    let nobodys = uuid::Uuid::new_v4();
    let query = format!("subscription {{ logs(datasourceId: \"{nobodys}\") {{ message }} }}");
    socket.subscribe("n", &query).await;
    let told = socket.hear().await.to_string();
    assert!(told.contains("not_found"), "{told}");
}

#[tokio::test]
async fn what_is_asked_over_a_connection_counts_as_requests() {
    let settings = Settings {
        limits: LimitSettings {
            subject: Quota {
                requests: 3,
                window: HumanDuration::from_secs(3_600),
            },
            ..LimitSettings::default()
        },
        ..Settings::default()
    };
    let open = Open::with(settings).await;
    let mut socket = open.signed_in().await;
    for id in ["1", "2", "3"] {
        socket.subscribe(id, "{ me { kind } }").await;
        assert_eq!(socket.hear().await["type"], "next");
        assert_eq!(socket.hear().await["type"], "complete");
    }
    socket.subscribe("4", "{ me { kind } }").await;
    let refused = socket.hear().await;
    assert_eq!((&refused["id"], &refused["type"]), (&json!("4"), &json!("error")));
    let extensions = &refused["payload"][0]["extensions"];
    assert_eq!(extensions["code"], "too_many_requests");
    assert!(extensions["retry_after"].as_u64().unwrap() > 0);
}
