//! RabbitMQ as a peer of the compliance suite.

use std::{
    ops::Range,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use halcyon_tests::rabbitmq::{READER, RabbitMq};
use lapin::{
    BasicProperties, Channel, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::{Value, json};

use super::{super::Amqp, password};
use crate::{
    Connector, SecretValue, Secrets, Source,
    compliance::{Peer, context},
};

/// How a peer's queues are, and how they are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A classic queue, with a password; messages with ids.
    Plain,
    /// A quorum queue, with a certificate over TLS; messages without ids.
    External,
}

pub(super) struct Rabbit<'a> {
    pub(super) broker: &'a RabbitMq,
    pub(super) channel: Channel,
    pub(super) way: Way,
    pub(super) queue: String,
}

impl<'a> Rabbit<'a> {
    pub(super) async fn at(broker: &'a RabbitMq, way: Way) -> Self {
        let mut rabbit = Self {
            broker,
            channel: publisher(broker).await,
            way,
            queue: String::new(),
        };
        rabbit.fresh().await;
        rabbit
    }

    pub(super) async fn publish(&self, body: &[u8], properties: BasicProperties) {
        publish(&self.channel, "", &self.queue, body, properties).await;
    }

    pub(super) fn source(&self) -> Box<dyn Source> {
        Amqp.source(context(self, None)).unwrap()
    }
}

/// A channel whose messages are confirmed.
pub(super) async fn publisher(broker: &RabbitMq) -> Channel {
    let url = broker.url();
    let connection = lapin::Connection::connect(&url, ConnectionProperties::default());
    let channel = connection.await.unwrap().create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    channel
}

pub(super) async fn publish(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) {
    let published = channel.basic_publish(
        exchange.into(),
        key.into(),
        BasicPublishOptions::default(),
        body,
        properties.with_delivery_mode(2),
    );
    published.await.unwrap().await.unwrap();
}

pub(super) async fn declare(channel: &Channel, queue: &str, kind: &str) {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString(kind.into()));
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), durable, arguments)
        .await
        .unwrap();
}

#[async_trait]
impl Peer for Rabbit<'_> {
    async fn fresh(&mut self) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let (name, kind) = match self.way {
            Way::Plain => ("classic", "classic"),
            Way::External => ("quorum", "quorum"),
        };
        self.queue = format!("{name}-{made}");
        declare(&self.channel, &self.queue, kind).await;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let properties = match self.way {
                Way::Plain => BasicProperties::default().with_message_id(format!("m-{number}").into()),
                Way::External => BasicProperties::default(),
            };
            self.publish(json!({"n": number}).to_string().as_bytes(), properties)
                .await;
        }
    }

    fn connection(&self) -> Value {
        match self.way {
            Way::Plain => json!({
                "host": "127.0.0.1", "port": self.broker.port(), "queue": self.queue,
                "auth": {"mechanism": "plain", "username": READER.0, "password": {"$secret": "password"}},
            }),
            Way::External => json!({
                "host": "127.0.0.1", "port": self.broker.tls_port(), "queue": self.queue,
                "auth": {"mechanism": "external"},
                "tls": {
                    "ca": self.broker.authority.certificate, "server_name": "localhost",
                    "certificate": CERTIFICATE.get().unwrap().certificate, "key": {"$secret": "key"},
                },
            }),
        }
    }

    fn secrets(&self) -> Secrets {
        match self.way {
            Way::Plain => password(READER.1),
            Way::External => {
                let mut secrets = Secrets::none();
                let key = CERTIFICATE.get().unwrap().key.as_str();
                secrets.insert("key", SecretValue::new(key));
                secrets
            }
        }
    }
}

/// The reader's certificate, of the test's authority.
pub(super) static CERTIFICATE: OnceLock<halcyon_tests::authority::Identity> = OnceLock::new();
