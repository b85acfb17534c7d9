//! Mosquitto as a peer of the compliance suite. What is published comes from another implementation.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use halcyon_tests::{
    authority::Identity,
    mosquitto::{Mosquitto, USER},
};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use super::{super::Mqtt, secret};
use crate::{
    Connector, Secrets, Source, SourceContext,
    compliance::{Peer, context},
};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How a broker is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Version 5, quality of service 1, with a password.
    Password,
    /// Version 3.1.1, quality of service 2, over TLS with a certificate.
    Certificate,
    /// Version 5, as a member of a group.
    Group,
}

pub(super) struct Broker<'a> {
    pub(super) broker: &'a Mosquitto,
    pub(super) way: Way,
    pub(super) topic: String,
    pub(super) publisher: Publisher,
}

/// The reader's certificate, of the test's authority.
pub(super) static CERTIFICATE: OnceLock<Identity> = OnceLock::new();

/// A topic or a client that nobody else has.
pub(super) fn unique(name: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}", MADE.fetch_add(1, Ordering::Relaxed))
}

impl<'a> Broker<'a> {
    pub(super) async fn at(broker: &'a Mosquitto, way: Way) -> Self {
        let mut peer = Self {
            broker,
            way,
            topic: String::new(),
            publisher: Publisher::at(broker),
        };
        peer.fresh().await;
        peer
    }

    pub(super) fn source(&self) -> Box<dyn Source> {
        self.source_of(self.connection())
    }

    pub(super) fn source_of(&self, connection: Value) -> Box<dyn Source> {
        let made = Mqtt.source(SourceContext {
            connection,
            ..context(self, None)
        });
        made.unwrap()
    }

    /// A session at the broker, subscribed and left, as a reader leaves it: without one nothing is kept.
    pub(super) async fn subscribed(&mut self, connection: Value) {
        let mut source = self.source_of(connection);
        // The first message says that the subscription is there.
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            assert!(tokio::time::Instant::now() < deadline);
            self.publisher.publish(&self.topic, b"{\"n\":0}").await;
            if let Ok(batch) = timeout(Duration::from_millis(200), source.next_batch()).await {
                let batch = batch.unwrap().unwrap();
                source.ack(&batch.checkpoint).await.unwrap();
                break;
            }
        }
        // Those that were published before are few; they are taken in, too.
        while let Ok(batch) = timeout(Duration::from_millis(200), source.next_batch()).await {
            let batch = batch.unwrap().unwrap();
            source.ack(&batch.checkpoint).await.unwrap();
        }
        source.stop().await;
    }
}

#[async_trait]
impl Peer for Broker<'_> {
    async fn fresh(&mut self) {
        self.topic = unique("alarms/a");
        self.subscribed(self.connection()).await;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let body = json!({"n": number}).to_string();
            self.publisher.publish(&self.topic, body.as_bytes()).await;
        }
    }

    fn connection(&self) -> Value {
        let client_id = self.topic.replace('/', "-");
        match self.way {
            Way::Password => json!({
                "host": "127.0.0.1", "port": self.broker.password_port(), "client_id": client_id,
                "topics": [self.topic],
                "auth": {"username": USER.0, "password": {"$secret": "password"}},
            }),
            Way::Certificate => json!({
                "host": "127.0.0.1", "port": self.broker.tls_port(), "client_id": client_id,
                "topics": [self.topic], "version": "3.1.1", "qos": 2,
                "tls": {
                    "ca": self.broker.authority.certificate, "server_name": "localhost",
                    "certificate": CERTIFICATE.get().unwrap().certificate, "key": {"$secret": "key"},
                },
            }),
            Way::Group => json!({
                "host": "127.0.0.1", "port": self.broker.port(), "client_id": client_id,
                "topics": [self.topic], "group": "readers",
            }),
        }
    }

    fn secrets(&self) -> Secrets {
        match self.way {
            Way::Password => secret("password", USER.1),
            Way::Certificate => secret("key", &CERTIFICATE.get().unwrap().key),
            Way::Group => Secrets::none(),
        }
    }
}

/// Publishes, and waits until the broker has what was published.
pub(super) struct Publisher {
    client: AsyncClient,
    confirmed: mpsc::UnboundedReceiver<()>,
    _task: JoinSet<()>,
}

impl Publisher {
    pub(super) fn at(broker: &Mosquitto) -> Self {
        let mut options = MqttOptions::new(unique("publisher"), "127.0.0.1", broker.port());
        options.set_max_packet_size(64 << 20, 64 << 20);
        let (client, mut events) = AsyncClient::new(options, 10);
        let (sender, confirmed) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(async move {
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::PubComp(_)) = event {
                    let _ = sender.send(());
                }
            }
        });
        Self {
            client,
            confirmed,
            _task: task,
        }
    }

    pub(super) async fn publish(&mut self, topic: &str, body: &[u8]) {
        self.send(topic, body, false).await;
    }

    pub(super) async fn send(&mut self, topic: &str, body: &[u8], retain: bool) {
        let sent = self.client.publish(topic, QoS::ExactlyOnce, retain, body);
        sent.await.unwrap();
        timeout(PATIENCE, self.confirmed.recv()).await.unwrap().unwrap();
    }
}
