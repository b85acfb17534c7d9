//! A cell of the matrix as a subscription: over a websocket to the same use cases.

use std::{future::ready, time::Duration};

use futures::{SinkExt, StreamExt};
use halcyon_infra::Shutdown;
use halcyon_tests::wait;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

use super::{graphql::verdict_of_error, holder::Holder, rows::Verdict};
use crate::{
    Settings,
    server::{self, Ending},
    tests::support::Gateway,
};

const SOON: Duration = Duration::from_secs(20);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The gateway's own server.
pub(super) struct Live {
    url: String,
    shutdown: Shutdown,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Live {
    pub(super) async fn start(gateway: &Gateway) -> Self {
        let listening = server::listen("127.0.0.1:0".parse().unwrap(), None)
            .await
            .unwrap();
        let url = format!("ws://{}/graphql", listening.address);
        let shutdown = Shutdown::new();
        let (service, stop) = (gateway.same(), Ending::at_once(shutdown.clone()));
        tokio::spawn(async move { server::serve(listening, service, &Settings::default(), stop).await });
        Self { url, shutdown }
    }

    /// Subscribes: what is refused is told, what is allowed stands, or says something.
    pub(super) async fn ask(&self, gateway: &Gateway, holder: &Holder, body: &Value) -> Verdict {
        let mut request = self.url.as_str().into_client_request().unwrap();
        let protocol = HeaderValue::from_static("graphql-transport-ws");
        request.headers_mut().insert("sec-websocket-protocol", protocol);
        let mut socket = connect_async(request).await.unwrap().0;
        let payload = holder.token.as_ref().map(|token| json!({"token": token}));
        say(
            &mut socket,
            &json!({"type": "connection_init", "payload": payload}),
        )
        .await;
        match hear(&mut socket).await {
            Heard::Said(said) => assert_eq!(said["type"], "connection_ack", "{said}"),
            Heard::Closed(code) => {
                assert_eq!(code, 4403);
                return Verdict::Unauthenticated;
            }
        }
        // What was followed for the one before is closed.
        let followed = || gateway.app.followed.topics();
        let closed = wait::eventually(SOON, || ready(followed() == 0));
        closed.await.unwrap();
        say(
            &mut socket,
            &json!({"type": "subscribe", "id": "1", "payload": body}),
        )
        .await;
        tokio::select! {
            heard = hear(&mut socket) => verdict_of(&heard, body),
            // What says nothing yet stands.
            stands = wait::eventually(SOON, || ready(followed() > 0)) => {
                stands.unwrap();
                Verdict::Allowed
            }
        }
    }
}

enum Heard {
    Said(Value),
    Closed(u16),
}

async fn say(socket: &mut Socket, message: &Value) {
    socket.send(Message::text(message.to_string())).await.unwrap();
}

/// The next message that is no sign of life.
async fn hear(socket: &mut Socket) -> Heard {
    loop {
        match socket.next().await.unwrap().unwrap() {
            Message::Text(text) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                if said["type"] != "ping" {
                    return Heard::Said(said);
                }
            }
            Message::Close(Some(frame)) => return Heard::Closed(frame.code.into()),
            Message::Ping(_) | Message::Pong(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn verdict_of(heard: &Heard, body: &Value) -> Verdict {
    let Heard::Said(said) = heard else {
        panic!("{body}: the connection was closed");
    };
    let errors = match said["type"].as_str() {
        Some("error") => &said["payload"],
        Some("next") => &said["payload"]["errors"],
        _ => return Verdict::Allowed,
    };
    if errors.is_null() {
        return Verdict::Allowed;
    }
    verdict_of_error(&errors[0]).unwrap_or_else(|| panic!("{body}: {said}"))
}
