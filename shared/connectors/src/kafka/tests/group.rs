//! Several members of one group: partitions move while records come, and nothing is lost or has two effects.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::{task::JoinSet, time::Instant};

use super::{
    peer::KafkaPeer,
    reading::{PATIENCE, number},
};
use crate::{
    Connector, Source,
    compliance::{Peer, context},
    kafka::Kafka,
};

const RECORDS: u64 = 600;

/// What all members have made of the feed, by identity, and which of them has had how many records.
#[derive(Default)]
struct Effects {
    by_key: BTreeMap<String, u64>,
    by_member: BTreeMap<usize, usize>,
    repeats: usize,
}

async fn work(
    member: usize,
    mut source: Box<dyn Source>,
    effects: Arc<Mutex<Effects>>,
    stop: Arc<AtomicBool>,
    batches: usize,
) {
    let mut done = 0;
    while !stop.load(Ordering::SeqCst) && done < batches {
        let next = tokio::time::timeout(std::time::Duration::from_millis(200), source.next_batch()).await;
        let batch = match next {
            Err(_) => continue,
            Ok(Err(error)) => {
                assert!(error.is_transient(), "{error}");
                continue;
            }
            Ok(Ok(batch)) => batch.expect("the feed goes on"),
        };
        done += 1;
        {
            let mut effects = effects.lock().unwrap();
            *effects.by_member.entry(member).or_default() += batch.records.len();
            for record in &batch.records {
                let key = record.dedupe_key.clone().unwrap();
                match effects.by_key.insert(key, number(record)) {
                    None => {}
                    Some(before) => {
                        assert_eq!(before, number(record));
                        effects.repeats += 1;
                    }
                }
            }
        }
        // The last batch of a member that dies is not acknowledged.
        if done < batches {
            source.ack(&batch.checkpoint).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_come_and_go() {
    let mut peer = KafkaPeer::start(2, None).await;
    peer.partitions = 6;
    peer.fresh().await;
    let effects = Arc::new(Mutex::new(Effects::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut members = JoinSet::new();
    let mut join = |member: usize, batches: usize, peer: &KafkaPeer| {
        let source = Kafka.source(context(peer, None)).unwrap();
        members.spawn(work(
            member,
            source,
            Arc::clone(&effects),
            Arc::clone(&stop),
            batches,
        ));
    };
    peer.put(0..RECORDS / 4).await;
    // The first dies with a batch in hand; the others take its partitions over.
    join(0, 6, &peer);
    join(1, usize::MAX, &peer);
    let wait = async |least: u64, members: &[usize]| {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let effects = effects.lock().unwrap();
                let all = effects.by_key.len() as u64 >= least;
                if all
                    && members
                        .iter()
                        .all(|member| effects.by_member.contains_key(member))
                {
                    return;
                }
                assert!(
                    Instant::now() < deadline,
                    "{} of {least}: {:?}",
                    effects.by_key.len(),
                    effects.by_member
                );
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    wait(RECORDS / 4, &[]).await;
    join(2, usize::MAX, &peer);
    let mut next = RECORDS / 4;
    // Records keep coming while partitions move, until the newcomer has had some.
    while !effects.lock().unwrap().by_member.contains_key(&2) {
        peer.put(next..next + 30).await;
        next += 30;
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    peer.put(next..next + RECORDS / 4).await;
    next += RECORDS / 4;
    wait(next, &[1, 2]).await;
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = members.join_next().await {
        ended.unwrap();
    }
    let effects = effects.lock().unwrap();
    let mut found: Vec<u64> = effects.by_key.values().copied().collect();
    found.sort_unstable();
    assert_eq!(found, (0..next).collect::<Vec<_>>());
    println!(
        "kafka: {next} records, {} read again, by {:?}",
        effects.repeats, effects.by_member
    );
}
