//! Reading without a group: for a range of time, or a sample.

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};

use super::{
    config::Connection,
    context::Context,
    shared::{Offsets, Shared},
    starts::{Known, PATIENCE, at_time, cluster, partitions},
};
use crate::{Share, TimeRange};

/// How many records before the end of each partition a sample begins.
const RECENT: i64 = 50;

/// Gives the library this source's partitions, from where they are to be read.
pub(super) fn assign(
    consumer: &BaseConsumer<Context>,
    connection: &Connection,
    share: Share,
    range: Option<TimeRange>,
    known: &Known,
    shared: &Shared,
) -> KafkaResult<()> {
    let mut all = TopicPartitionList::new();
    let mut count = 0_usize;
    for topic in topics(consumer, connection)? {
        for element in partitions(consumer, &topic)?.elements() {
            if count % usize::from(share.of.max(1)) == usize::from(share.index) {
                all.add_partition(&topic, element.partition());
            }
            count += 1;
        }
    }
    let cluster = cluster(consumer);
    let known = known.clone().in_cluster(cluster.as_deref()).offsets;
    shared.is_at(cluster);
    let (mut begin, ends) = match range {
        Some(range) => {
            let begin = at_time(consumer, &all, range.from.timestamp_millis())?;
            (begin, Some(at_time(consumer, &all, range.to.timestamp_millis())?))
        }
        None => (recent(consumer, &all)?, None),
    };
    for (topic, partitions) in &mut begin {
        for (partition, offset) in partitions {
            let read = known.get(topic).and_then(|known| known.get(partition));
            *offset = read.map_or(*offset, |read| *read.max(offset));
        }
    }
    let mut placed = TopicPartitionList::new();
    for (topic, partitions) in &begin {
        for (partition, offset) in partitions {
            placed.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
    }
    shared.assigned(&placed, ends.as_ref());
    consumer.assign(&placed)
}

/// The topics that are wanted, sorted.
fn topics(consumer: &BaseConsumer<Context>, connection: &Connection) -> KafkaResult<Vec<String>> {
    let mut found = connection.topics.clone();
    if connection.pattern.is_some() {
        let metadata = consumer.fetch_metadata(None, PATIENCE)?;
        let names = metadata.topics().iter().map(|topic| topic.name());
        found = names
            .filter(|name| connection.wants(name))
            .map(ToOwned::to_owned)
            .collect();
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn recent(consumer: &BaseConsumer<Context>, list: &TopicPartitionList) -> Result<Offsets, KafkaError> {
    let mut found = Offsets::new();
    for element in list.elements() {
        let (topic, partition) = (element.topic(), element.partition());
        let (first, end) = consumer.fetch_watermarks(topic, partition, PATIENCE)?;
        let begin = first.max(end - RECENT);
        found
            .entry(topic.to_owned())
            .or_default()
            .insert(partition, begin);
    }
    Ok(found)
}
