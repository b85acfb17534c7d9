//! A mock cluster, optionally behind a front that asks for TLS and SASL, as the compliance suite wants it.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    message::{Header, OwnedHeaders},
    mocking::MockCluster,
    producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer},
};
use serde_json::{Value, json};

use super::front::{Front, Way};
use crate::{SecretValue, Secrets, compliance::Peer};

pub(super) struct KafkaPeer {
    /// The cluster is this producer's.
    pub(super) front: Option<Front>,
    producer: BaseProducer,
    pub(super) partitions: i32,
    topics: usize,
}

impl KafkaPeer {
    pub(super) async fn start(brokers: i32, way: Option<Way>) -> Self {
        let producer: BaseProducer = ClientConfig::new()
            .set("test.mock.num.brokers", brokers.to_string())
            .set("message.max.bytes", "20000000")
            .create()
            .unwrap();
        let bootstrap = producer.client().mock_cluster().unwrap().bootstrap_servers();
        let front = match way {
            Some(way) => Some(Front::start(&bootstrap, way).await),
            None => None,
        };
        Self {
            front,
            producer,
            partitions: 3,
            topics: 0,
        }
    }

    pub(super) fn cluster(&self) -> MockCluster<'_, DefaultProducerContext> {
        self.producer.client().mock_cluster().unwrap()
    }

    pub(super) fn topic(&self) -> String {
        format!("topic-{}", self.topics)
    }

    /// Puts one record where it is wanted.
    pub(super) fn put_at(&self, topic: &str, partition: i32, key: Option<&[u8]>, value: Option<&[u8]>) {
        let headers = OwnedHeaders::new().insert(Header {
            key: "X-Tenant",
            value: Some("blue"),
        });
        let mut record = BaseRecord::<[u8], [u8]>::to(topic)
            .partition(partition)
            .headers(headers);
        record.key = key;
        record.payload = value;
        self.producer.send(record).map_err(|(error, _)| error).unwrap();
    }

    /// Waits until all that was put is there.
    pub(super) fn flush(&self) {
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }

    /// What the group has committed for a topic.
    pub(super) fn committed(&self, group: &str, topic: &str) -> Vec<Option<i64>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.cluster().bootstrap_servers())
            .set("group.id", group)
            .create()
            .unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in 0..self.partitions {
            list.add_partition(topic, partition);
        }
        let committed = consumer.committed_offsets(list, Duration::from_secs(10)).unwrap();
        committed
            .elements()
            .iter()
            .map(|element| element.offset().to_raw().filter(|raw| *raw >= 0))
            .collect()
    }
}

#[async_trait]
impl Peer for KafkaPeer {
    async fn fresh(&mut self) {
        self.topics += 1;
        self.cluster()
            .create_topic(&self.topic(), self.partitions, 1)
            .unwrap();
    }

    async fn put(&mut self, numbers: Range<u64>) {
        for number in numbers {
            let partition = i32::try_from(number).unwrap() % self.partitions;
            let value = json!({"n": number}).to_string();
            self.put_at(&self.topic(), partition, None, Some(value.as_bytes()));
        }
        self.flush();
    }

    fn connection(&self) -> Value {
        let brokers = self
            .front
            .as_ref()
            .map_or_else(|| self.cluster().bootstrap_servers(), Front::bootstrap);
        let mut connection = json!({
            "brokers": brokers.split(',').collect::<Vec<_>>(),
            "topics": [self.topic()],
            "group": format!("group-{}", self.topics),
        });
        if let Some(front) = &self.front {
            front.complete(&mut connection);
        }
        connection
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        if self.front.is_some() {
            secrets.insert("password", SecretValue::new("right"));
        }
        secrets
    }
}
