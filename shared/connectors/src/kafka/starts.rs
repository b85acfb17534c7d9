//! Where reading of partitions begins that were dealt to us.
//!
//! The group's committed offsets decide. They are what all members share, so a partition goes on where its last owner
//! left it, whoever that was. Only what an operator wrote into `seek` of the checkpoint comes before them. A partition
//! of a group that has committed nothing begins where this source's checkpoint says, else where the connection says.

use std::{collections::BTreeSet, time::Duration};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult},
};

use super::{
    config::Start,
    shared::{Offsets, list, offsets},
};

/// How long brokers may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What a source knows by itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) seek: Offsets,
    pub(super) offsets: Offsets,
    /// The cluster that the offsets are of.
    pub(super) cluster: Option<String>,
}

impl Known {
    /// What it is worth in a cluster: offsets of another one mean nothing there. Where one of the two is not known,
    /// they count as the same.
    pub(super) fn in_cluster(mut self, cluster: Option<&str>) -> Self {
        if let (Some(known), Some(cluster)) = (self.cluster.as_deref(), cluster)
            && known != cluster
        {
            self.offsets.clear();
        }
        self
    }
}

/// What the cluster calls itself, if it does.
pub(super) fn cluster<C: ConsumerContext>(consumer: &BaseConsumer<C>) -> Option<String> {
    consumer.client().fetch_cluster_id(PATIENCE)
}

fn of(offsets: &Offsets, topic: &str, partition: i32) -> Option<i64> {
    offsets.get(topic)?.get(&partition).copied()
}

/// The offsets to begin at.
pub(super) fn starts<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    dealt: &TopicPartitionList,
    known: &Known,
    start: Start,
) -> KafkaResult<Offsets> {
    let committed = consumer.committed_offsets(dealt.clone(), PATIENCE)?;
    refuse_errors(&committed)?;
    let committed = offsets(&committed);
    let mut found = Offsets::new();
    let mut without = BTreeSet::new();
    for element in dealt.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let at = of(&known.seek, topic, partition)
            .or_else(|| of(&committed, topic, partition))
            .or_else(|| of(&known.offsets, topic, partition));
        match at {
            Some(at) => {
                found.entry(topic.to_owned()).or_default().insert(partition, at);
            }
            None => {
                without.insert(topic.to_owned());
            }
        }
    }
    if start != Start::Earliest {
        for topic in without {
            begin(consumer, &topic, start, &mut found)?;
        }
    }
    Ok(found)
}

/// The beginning of a topic's partitions that have nothing committed. What "now" is gets committed at once: a death
/// before the first record must not move it. A partition of a topic that has commits already is a new one, and its
/// records are all later than the beginning.
fn begin<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
    start: Start,
    found: &mut Offsets,
) -> KafkaResult<()> {
    let all = partitions(consumer, topic)?;
    let committed = consumer.committed_offsets(all.clone(), PATIENCE)?;
    refuse_errors(&committed)?;
    if !offsets(&committed).is_empty() {
        return Ok(());
    }
    let begin = match start {
        Start::Earliest => return Ok(()),
        Start::Latest => ends(consumer, &all)?,
        Start::Time(time) => at_time(consumer, &all, time)?,
    };
    consumer.commit(&list(&begin), CommitMode::Sync)?;
    for (topic, partitions) in begin {
        let found = found.entry(topic).or_default();
        for (partition, offset) in partitions {
            found.entry(partition).or_insert(offset);
        }
    }
    Ok(())
}

/// The partitions of a topic.
pub(super) fn partitions<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    topic: &str,
) -> KafkaResult<TopicPartitionList> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE)?;
    let mut all = TopicPartitionList::new();
    for found in metadata.topics().iter().filter(|found| found.name() == topic) {
        if let Some(error) = found.error() {
            return Err(KafkaError::MetadataFetch(error.into()));
        }
        for partition in found.partitions() {
            all.add_partition(topic, partition.id());
        }
    }
    Ok(all)
}

/// The offsets behind the last records.
pub(super) fn ends<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
) -> KafkaResult<Offsets> {
    watermarks(consumer, list, |(_, end)| end)
}

fn watermarks<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
    which: fn((i64, i64)) -> i64,
) -> KafkaResult<Offsets> {
    let mut found = Offsets::new();
    for element in list.elements() {
        let marks = consumer.fetch_watermarks(element.topic(), element.partition(), PATIENCE)?;
        let partitions = found.entry(element.topic().to_owned()).or_default();
        partitions.insert(element.partition(), which(marks));
    }
    Ok(found)
}

/// The offsets of the first records at or after a time; behind the last one where there is none. Numbers below zero
/// have meanings of their own in the protocol, and no record is so old.
pub(super) fn at_time<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    list: &TopicPartitionList,
    time: i64,
) -> KafkaResult<Offsets> {
    if time <= 0 {
        return watermarks(consumer, list, |(first, _)| first);
    }
    let mut asked = TopicPartitionList::new();
    for element in list.elements() {
        asked.add_partition_offset(element.topic(), element.partition(), Offset::Offset(time))?;
    }
    let answered = consumer.offsets_for_times(asked, PATIENCE)?;
    refuse_errors(&answered)?;
    let mut found = offsets(&answered);
    let mut later = TopicPartitionList::new();
    for element in list.elements() {
        if of(&found, element.topic(), element.partition()).is_none() {
            later.add_partition(element.topic(), element.partition());
        }
    }
    for (topic, ends) in ends(consumer, &later)? {
        found.entry(topic).or_default().extend(ends);
    }
    Ok(found)
}

fn refuse_errors(list: &TopicPartitionList) -> KafkaResult<()> {
    list.elements().iter().try_for_each(|element| element.error())
}
