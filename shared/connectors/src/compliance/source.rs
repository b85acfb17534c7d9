//! Sources: they stop, go on from their checkpoint, and lose nothing when dropped between any two steps. Run on
//! the runtime's paused clock, so pacing costs no time.

use std::{sync::Arc, time::Duration};

use halcyon_domain::clock::ManualClock;

use super::{ALONE, nowhere};
use crate::{BatchLimits, Checkpoint, Connector, Error, Source, SourceContext, catalog};

/// How many records the suite reads of each feed; the example connections have at least as many.
const RECORDS: usize = 50;

pub(super) fn open(
    connector: &dyn Connector,
    checkpoint: Option<Checkpoint>,
) -> Result<Box<dyn Source>, Error> {
    connector.source(SourceContext {
        connection: connector.spec().example.clone(),
        secrets: crate::Secrets::none(),
        checkpoint,
        limits: BatchLimits {
            max_records: 7,
            max_wait: Duration::from_millis(5),
        },
        share: crate::Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(ManualClock::at(chrono::DateTime::from_timestamp(0, 0).unwrap())),
        guard: nowhere(),
    })
}

fn pulling() -> impl Iterator<Item = &'static dyn Connector> {
    catalog()
        .iter()
        .copied()
        .filter(|connector| ALONE.contains(&connector.spec().type_name))
}

#[test]
fn every_other_reader_is_tested_against_its_other_side() {
    for connector in catalog() {
        let spec = connector.spec();
        if !spec.capabilities.pull || ALONE.contains(&spec.type_name) {
            continue;
        }
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src")
            .join(spec.type_name);
        let mut files = vec![folder];
        let mut found = false;
        while let Some(path) = files.pop() {
            if path.is_dir() {
                files.extend(
                    std::fs::read_dir(path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found |= std::fs::read_to_string(path).unwrap().contains("comply(");
            }
        }
        assert!(
            found,
            "no test of `{}` calls the compliance suite",
            spec.type_name
        );
    }
}

async fn read_all(source: &mut Box<dyn Source>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while let Some(batch) = source.next_batch().await.unwrap() {
        assert!(!batch.records.is_empty() && batch.records.len() <= 7);
        found.extend(batch.records.iter().map(|record| record.bytes.to_vec()));
        source.ack(&batch.checkpoint).await.unwrap();
        if found.len() >= RECORDS {
            break;
        }
    }
    found
}

#[tokio::test(start_paused = true)]
async fn a_restart_at_every_step_loses_nothing_and_leaves_no_gap() {
    for connector in pulling() {
        let whole = read_all(&mut open(connector, None).unwrap()).await;
        assert_eq!(whole.len(), RECORDS);
        // What a crash after each step of each batch leaves behind: the records made durable, the stored checkpoint.
        for crash_after in ["read", "output", "checkpoint", "ack"] {
            let (mut output, mut stored): (Vec<Vec<u8>>, Option<Checkpoint>) = (Vec::new(), None);
            let mut crashed = false;
            loop {
                let mut source = open(connector, stored.clone()).unwrap();
                let Some(batch) = source.next_batch().await.unwrap() else {
                    break;
                };
                if crash_after == "read" && !crashed {
                    crashed = true;
                    continue;
                }
                output.extend(batch.records.iter().map(|record| record.bytes.to_vec()));
                if crash_after == "output" && !crashed {
                    crashed = true;
                    continue;
                }
                // Through text, as it would be stored.
                stored = serde_json::from_str(&serde_json::to_string(&batch.checkpoint).unwrap()).unwrap();
                if crash_after != "checkpoint" {
                    source.ack(&batch.checkpoint).await.unwrap();
                }
                crashed = false;
            }
            // At least once on the wire; once each, in order, when repeats are dropped.
            let mut once: Vec<Vec<u8>> = Vec::new();
            for record in output {
                if !once.contains(&record) {
                    once.push(record);
                }
            }
            assert_eq!(once, whole, "{} after {crash_after}", connector.spec().type_name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_no_record() {
    for connector in pulling() {
        let whole = read_all(&mut open(connector, None).unwrap()).await;
        let mut source = open(connector, None).unwrap();
        let mut found = Vec::new();
        for step in 0_u64.. {
            let patience = Duration::from_micros(step * 137 % 8_000);
            match tokio::time::timeout(patience, source.next_batch()).await {
                Err(_) => continue,
                Ok(batch) => match batch.unwrap() {
                    Some(batch) => found.extend(batch.records.iter().map(|record| record.bytes.to_vec())),
                    None => break,
                },
            }
        }
        assert_eq!(found, whole, "{}", connector.spec().type_name);
    }
}

#[tokio::test(start_paused = true)]
async fn records_keep_their_identity() {
    for connector in pulling() {
        let mut keys = Vec::new();
        for _ in 0..2 {
            let batch = open(connector, None)
                .unwrap()
                .next_batch()
                .await
                .unwrap()
                .unwrap();
            keys.push(
                batch
                    .records
                    .into_iter()
                    .map(|record| record.dedupe_key.unwrap())
                    .collect::<Vec<_>>(),
            );
        }
        let shared = keys[0].len().min(keys[1].len());
        assert!(shared > 0);
        assert_eq!(keys[0][..shared], keys[1][..shared]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_source_gives_nothing_within_the_deadline() {
    for connector in pulling() {
        let mut source = open(connector, None).unwrap();
        source.next_batch().await.unwrap();
        let _ = source.lag();
        tokio::time::timeout(Duration::from_secs(5), source.stop())
            .await
            .unwrap();
        let after = tokio::time::timeout(Duration::from_secs(1), source.next_batch())
            .await
            .unwrap();
        assert!(after.unwrap().is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_damaged_checkpoint_is_refused() {
    for connector in pulling() {
        let damaged = Checkpoint(serde_json::json!({"surely": "not ours"}));
        let judged = connector.check_position(&connector.spec().example, &damaged);
        assert!(matches!(judged, Err(Error::Checkpoint { .. })));
        assert!(matches!(
            open(connector, Some(damaged)),
            Err(Error::Checkpoint { .. })
        ));
    }
}
