//! What connectors of files do when something fails: the checks that say so, and servers that die.

use halcyon_domain::{clock::SystemClock, test_run::CheckStatus};
use serde_json::{Value, json};

use super::{Peer, context, loopback};
use crate::{CheckContext, Connector};

/// What a check of a connection says has failed: the names and the messages.
pub(crate) async fn failures(
    connector: &dyn Connector,
    peer: &dyn Peer,
    connection: &Value,
) -> Vec<(String, String)> {
    let secrets = peer.secrets();
    let check = CheckContext {
        connection,
        secrets: &secrets,
        clock: &SystemClock,
        guard: &loopback(),
    };
    let results = connector.check(&check).await;
    let failed = results
        .into_iter()
        .filter(|result| result.status == CheckStatus::Failed);
    failed.map(|result| (result.name, result.message)).collect()
}

/// Two files of JSON lines: one that is many pieces long, with the first 40,000 numbers, and one with the next.
pub(crate) fn two_files() -> [String; 2] {
    let line = |n: u64| json!({"n": n, "more": "x".repeat(200)});
    let lines = (0..40_000).map(|n| format!("{}\n", line(n))).collect();
    [lines, "{\"n\":40000}\n".to_owned()]
}

/// Reads [`two_files`] from a server that `kill` ends in the midst of the first, and `restart` starts again.
pub(crate) async fn read_over_a_death<P: Peer>(
    connector: &dyn Connector,
    peer: &mut P,
    kill: fn(&mut P),
    mut restart: impl AsyncFnMut(&mut P),
) {
    let mut given = context(peer, None);
    given.limits.max_records = 500;
    let mut source = connector.source(given).unwrap();
    let (mut next, mut failed) = (0, 0);
    loop {
        match source.next_batch().await {
            Ok(Some(batch)) => {
                for record in &batch.records {
                    assert_eq!(peer.number(&record.bytes), next);
                    next += 1;
                }
                if next == 5_000 {
                    kill(peer);
                }
            }
            Ok(None) => break,
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                failed += 1;
                assert!(failed < 100);
                restart(peer).await;
            }
        }
    }
    assert_eq!(next, 40_001);
    assert!(failed > 0, "the server was not missed");
}
