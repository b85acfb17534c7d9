//! What the library calls back: partitions come and go, statistics, errors.

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::{
    ClientContext, Offset, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
    types::RDKafkaRespErr,
};

use super::{
    config::Start,
    shared::{Offsets, Shared, list},
    starts::{Known, cluster, starts},
};
use crate::Error;

/// The library's ear.
pub(super) struct Context {
    pub(super) shared: Arc<Shared>,
    pub(super) known: Mutex<Known>,
    pub(super) start: Start,
}

impl Context {
    fn dealt(&self, consumer: &BaseConsumer<Self>, dealt: &TopicPartitionList) -> Result<(), KafkaError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let cluster = cluster(consumer);
        let known = known.in_cluster(cluster.as_deref());
        self.shared.is_at(cluster);
        let starts = starts(consumer, dealt, &known, self.start)?;
        let mut placed = TopicPartitionList::new();
        for element in dealt.elements() {
            let (topic, partition) = (element.topic(), element.partition());
            let at = starts.get(topic).and_then(|starts| starts.get(&partition));
            let at = at.map_or(Offset::Beginning, |at| Offset::Offset(*at));
            placed.add_partition_offset(topic, partition, at)?;
        }
        self.shared.assigned(&placed, None);
        consumer.assign(&placed)?;
        // An operator's wish is heeded once.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for element in dealt.elements() {
            if let Some(partitions) = known.seek.get_mut(element.topic()) {
                partitions.remove(&element.partition());
            }
        }
        Ok(())
    }

    fn taken(&self, consumer: &BaseConsumer<Self>) -> Result<(), KafkaError> {
        // What is durable is told to the group while the partitions are still ours.
        let commits = self.shared.commits();
        if !commits.is_empty() && !consumer.assignment_lost() {
            let _ = consumer.commit(&list(&commits), CommitMode::Sync);
        }
        self.shared.revoked();
        consumer.unassign()
    }
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {
        // What matters comes as an error.
    }

    fn stats(&self, statistics: Statistics) {
        self.shared.told(&statistics);
    }

    fn error(&self, _: KafkaError, _: &str) {
        // Comes out of `poll` as well.
    }
}

impl ConsumerContext for Context {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        let done = match what {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.dealt(consumer, partitions),
            _ => self.taken(consumer),
        };
        if let Err(error) = done {
            self.shared.revoked();
            let _ = consumer.unassign();
            self.shared.fail(classified(&error).unwrap_or_else(|| {
                Error::transient(format!("partitions could not be taken over: {}", said(&error)))
            }));
        }
    }
}

/// The library's error in words that hold nothing of the other side's.
pub(super) fn said(error: &KafkaError) -> String {
    match error.rdkafka_error_code() {
        Some(code) => code.to_string(),
        None => "the library failed".to_owned(),
    }
}

/// What an error asks for; `None` for what the library gets over by itself.
pub(super) fn classified(error: &KafkaError) -> Option<Error> {
    let code = error.rdkafka_error_code()?;
    let refused = |message: &str| {
        Some(Error::Refused {
            message: message.to_owned(),
        })
    };
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            refused("there is no such topic, or this user may not see it")
        }
        Code::InvalidTopic => refused("a topic's name is none"),
        Code::TopicAuthorizationFailed => refused("this user may not read a topic (ACL: Read, Describe)"),
        Code::GroupAuthorizationFailed => refused("this user may not use the group (ACL: Read on the group)"),
        Code::ClusterAuthorizationFailed => refused("the cluster does not let this user in"),
        Code::InconsistentGroupProtocol => {
            refused("others use the group in another way: give the datasource a group of its own")
        }
        Code::UnsupportedSASLMechanism | Code::SaslAuthenticationFailed => {
            refused("the brokers do not accept the credentials")
        }
        Code::BadMessage | Code::InvalidMessage | Code::InvalidMessageSize | Code::NotImplemented => {
            Some(Error::System(
                "a batch of records cannot be read: it is damaged or of an unknown kind".to_owned(),
            ))
        }
        Code::Fatal => Some(Error::transient("the library gave up; it is begun anew")),
        _ => None,
    }
}

/// Commits what is durable; `Sync` waits for the group to have it.
pub(super) fn commit(consumer: &BaseConsumer<Context>, offsets: &Offsets, mode: CommitMode) {
    if !offsets.is_empty() {
        // A commit that fails is made up for by the next, or by reading again.
        let _ = consumer.commit(&list(offsets), mode);
    }
}
