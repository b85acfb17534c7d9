//! Against a Redis server of the test's own.

use std::{ops::Range, time::Duration};

use async_trait::async_trait;
use halcyon_domain::test_run::CheckStatus;
use halcyon_tests::redis::{PASSWORD, Redis};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::RedisStream;
use crate::{
    CheckContext, Connector, Error, SecretValue, Secrets, Share, Source, SourceContext,
    compliance::{Peer, comply, context, loopback},
    validate_connection,
};

/// A stream on a started server.
struct Streams {
    redis: Redis,
    tls: bool,
    count: u32,
}

impl Streams {
    async fn start(tls: bool) -> Self {
        let redis = Redis::start().await.unwrap();
        Self { redis, tls, count: 0 }
    }

    fn stream(&self) -> String {
        format!("events-{}", self.count)
    }
}

#[async_trait]
impl Peer for Streams {
    async fn fresh(&mut self) {
        self.count += 1;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let stream = self.stream();
        let lines: Vec<String> = numbers
            .map(|number| format!("XADD {stream} * event '{{\"n\":{number}}}'"))
            .collect();
        self.redis.commands(&lines).await.unwrap();
    }

    fn connection(&self) -> Value {
        let mut connection = json!({
            "host": "localhost", "port": self.redis.port(), "password": {"$secret": "password"},
            "stream": self.stream(), "field": "event", "claim_after": "1s",
        });
        if self.tls {
            connection["port"] = json!(self.redis.tls_port());
            connection["tls"] = json!({"ca": self.redis.ca});
        }
        connection
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        secrets.insert("password", SecretValue::new(PASSWORD));
        secrets
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_to_the_suite_in_the_clear_and_with_tls() {
    for tls in [false, true] {
        let mut peer = Streams::start(tls).await;
        let kills = comply(&RedisStream, &mut peer).await;
        println!("redis_stream, TLS {tls}: killed at {kills} points");
    }
}

/// Reads until `count` different records have come, without acknowledging; their numbers, sorted.
async fn gather(source: &mut Box<dyn Source>, peer: &Streams, count: usize) -> Vec<u64> {
    let mut found = std::collections::BTreeSet::new();
    while found.len() < count {
        let batch = tokio::time::timeout(Duration::from_secs(30), source.next_batch());
        let batch = batch.await.unwrap().unwrap().unwrap();
        found.extend(batch.records.iter().map(|record| peer.number(&record.bytes)));
    }
    found.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_closed_between_batches_is_made_again() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    for number in 0..3 {
        peer.put(number..number + 1).await;
        let batch = source.next_batch().await.unwrap().unwrap();
        source.ack(&batch.checkpoint).await.unwrap();
        // As a server does with `timeout`, or a balancer, to the one that only acknowledges.
        let clients = peer.redis.commands(&["CLIENT LIST".to_owned()]).await.unwrap();
        let acks = clients.lines().find(|line| line.contains("cmd=xack")).unwrap();
        let id = acks.split(' ').find_map(|part| part.strip_prefix("id=")).unwrap();
        let kill = format!("CLIENT KILL ID {id}");
        peer.redis.commands(&[kill]).await.unwrap();
    }
    let pending = format!("XPENDING {} halcyon", peer.stream());
    let pending = peer.redis.commands(&[pending]).await.unwrap();
    assert!(pending.contains("*4\r\n:0\r\n"), "{pending}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_being_worked_on_is_not_given_out_again_here() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    peer.put(0..5).await;
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    let batch = source.next_batch().await.unwrap().unwrap();
    assert_eq!(batch.records.len(), 5);
    // Longer than `claim_after`, and than a read waits at the server.
    let more = tokio::time::timeout(Duration::from_secs(4), source.next_batch()).await;
    assert!(more.is_err(), "{more:?}");
    source.ack(&batch.checkpoint).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_entries_are_asked_for_few_at_a_time() {
    const EACH: usize = 1 << 20;
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    let fill = format!(
        "EVAL \"for i=1,40 do redis.call('XADD', KEYS[1], '*', 'event', string.rep('x', {EACH})) end\" 1 {}",
        peer.stream()
    );
    peer.redis.commands(&[fill]).await.unwrap();
    let mut context = context(&peer, None);
    context.limits.max_records = 10_000;
    let mut source = RedisStream.source(context).unwrap();
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 40 {
        let batch = tokio::time::timeout(Duration::from_secs(30), source.next_batch());
        let batch = batch.await.unwrap().unwrap().unwrap();
        sizes.push(batch.records.len());
        source.ack(&batch.checkpoint).await.unwrap();
    }
    // The first read cannot know; those after it bring 8 MiB.
    assert!(sizes[0] <= 16, "{sizes:?}");
    assert!(sizes[1..].iter().all(|size| *size <= 8), "{sizes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_member_left_behind_is_claimed_by_another() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    peer.put(0..10).await;
    let with_share = |index| SourceContext {
        share: Share { index, of: 2 },
        ..context(&peer, None)
    };
    let mut first = RedisStream.source(with_share(0)).unwrap();
    assert_eq!(gather(&mut first, &peer, 7).await.len(), 7);
    // It dies and never comes again.
    drop(first);
    let mut second = RedisStream.source(with_share(1)).unwrap();
    assert_eq!(gather(&mut second, &peer, 10).await, (0..10).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_a_group_that_is_removed_lose_nothing() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    peer.put(0..5).await;
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    assert_eq!(gather(&mut source, &peer, 5).await, [0, 1, 2, 3, 4]);
    peer.redis.kill();
    let error = loop {
        if let Err(error) = source.next_batch().await {
            break error;
        }
    };
    assert!(error.is_transient(), "{error}");
    peer.redis.restart().await.unwrap();
    peer.put(5..8).await;
    assert_eq!(gather(&mut source, &peer, 8).await, (0..8).collect::<Vec<_>>());
    let destroy = format!("XGROUP DESTROY {} halcyon", peer.stream());
    peer.redis.commands(&[destroy]).await.unwrap();
    peer.put(8..9).await;
    assert_eq!(gather(&mut source, &peer, 9).await, (0..9).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_without_the_field_are_objects_and_deleted_ones_are_passed_over() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    let stream = peer.stream();
    let add = |id: &str, fields: &str| format!("XADD {stream} {id} {fields}");
    let lines = [
        add("1-1", "n 1 title \"a \\xff byte\""),
        add("1-2", "n 2"),
        add("1-3", "event '{\"n\":3}'"),
    ];
    peer.redis.commands(&lines).await.unwrap();
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    let batch = source.next_batch().await.unwrap().unwrap();
    let texts: Vec<&str> = batch
        .records
        .iter()
        .map(|record| std::str::from_utf8(&record.bytes).unwrap())
        .collect();
    assert_eq!(
        texts,
        [
            r#"{"n":"1","title":"YSD/IGJ5dGU="}"#,
            r#"{"n":"2"}"#,
            r#"{"n":3}"#
        ]
    );
    assert_eq!(batch.records[1].headers["redis-entry-id"], "1-2");
    assert_eq!(
        batch.records[1].dedupe_key.as_deref(),
        Some(format!("{stream}/1-2").as_str())
    );
    // Deleted while it was pending: the server gives it again without fields.
    let delete = format!("XDEL {stream} 1-1 1-2");
    peer.redis.commands(&[delete]).await.unwrap();
    drop(source);
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    let batch = source.next_batch().await.unwrap().unwrap();
    assert_eq!(batch.records.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_is_of_the_newest_entries_and_joins_no_group() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    peer.put(0..20).await;
    let context = SourceContext {
        sample: true,
        ..context(&peer, None)
    };
    let mut source = RedisStream.source(context).unwrap();
    let batch = source.next_batch().await.unwrap().unwrap();
    let numbers: Vec<u64> = batch
        .records
        .iter()
        .map(|record| peer.number(&record.bytes))
        .collect();
    assert_eq!(numbers, (13..20).collect::<Vec<_>>());
    assert!(source.next_batch().await.unwrap().is_none());
    let groups = format!("XINFO GROUPS {}", peer.stream());
    assert!(!peer.redis.commands(&[groups]).await.unwrap().contains("halcyon"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_told_with_what_to_do() {
    let mut peer = Streams::start(false).await;
    peer.fresh().await;
    let wrong_type = format!("SET {} x", peer.stream());
    peer.redis.commands(&[wrong_type]).await.unwrap();
    let mut source = RedisStream.source(context(&peer, None)).unwrap();
    let error = source.next_batch().await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { message } if message.contains("not a stream")),
        "{error}"
    );

    peer.fresh().await;
    let user = format!("ACL SETUSER reader on >{PASSWORD} ~* +@read");
    peer.redis.commands(&[user]).await.unwrap();
    peer.put(0..1).await;
    let mut connection = peer.connection();
    connection["username"] = json!("reader");
    let (secrets, guard) = (peer.secrets(), loopback());
    let check = CheckContext {
        connection: &connection,
        secrets: &secrets,
        clock: &halcyon_domain::clock::SystemClock,
        guard: &guard,
    };
    let results = RedisStream.check(&check).await;
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.status == CheckStatus::Failed)
        .collect();
    // It may look, but not read as a group; only the attempt tells.
    assert!(failed.is_empty(), "{failed:?}");
    let mut source = RedisStream
        .source(SourceContext {
            connection,
            ..context(&peer, None)
        })
        .unwrap();
    let error = source.next_batch().await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { message } if message.contains("XREADGROUP")),
        "{error}"
    );
}

/// A server that lets us in and then says nothing any more: what was found by then is told in time.
#[tokio::test]
async fn a_check_ends_in_time_and_tells_what_it_found() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let said = String::from_utf8_lossy(&buffer[..length]);
                if said.contains("TYPE") {
                    break;
                }
                let commands = said.split("\r\n").filter(|line| line.starts_with('*')).count();
                stream
                    .write_all("+OK\r\n".repeat(commands).as_bytes())
                    .await
                    .unwrap();
            }
            kept.push(stream);
        }
    });
    let connection = json!({"host": "127.0.0.1", "port": port, "stream": "events"});
    let guard = loopback();
    let check = CheckContext {
        connection: &connection,
        secrets: &Secrets::none(),
        clock: &halcyon_domain::clock::SystemClock,
        guard: &guard,
    };
    // It has 5 s, and a busy machine some more; each answer would be waited for 10 s.
    let results = tokio::time::timeout(Duration::from_secs(8), RedisStream.check(&check)).await;
    let results = results.expect("a check ends in time");
    let told: Vec<_> = results
        .iter()
        .map(|result| (result.name.as_str(), result.status))
        .collect();
    assert!(
        told.contains(&("authenticate", CheckStatus::Passed)),
        "{results:?}"
    );
    assert_eq!(told.last(), Some(&("answer", CheckStatus::Failed)), "{results:?}");
    server.abort();
}

#[test]
fn what_is_wrong_is_said_at_its_field() {
    let base = json!({"host": "a", "stream": "b"});
    for (change, pointer, code) in [
        (json!({"username": "u"}), "/password", "required"),
        (json!({"claim_after": "0s"}), "/claim_after", "out_of_range"),
        (json!({"claim_after": "soon"}), "/claim_after", "format"),
        (json!({"port": 0}), "/port", "out_of_range"),
        (json!({"tls": {"ca": "no certificate"}}), "/tls/ca", "format"),
        (
            json!({"tls": {"key": {"$secret": "k"}}}),
            "/tls/certificate",
            "required",
        ),
        (json!({"start": "now"}), "/start", "unknown_value"),
    ] {
        let mut connection = base.clone();
        for (key, value) in change.as_object().unwrap() {
            connection[key] = value.clone();
        }
        let errors = validate_connection("redis_stream", &connection);
        let found: Vec<_> = errors
            .iter()
            .map(|error| (error.pointer.as_str(), error.code.as_str()))
            .collect();
        assert_eq!(found, [(pointer, code)]);
    }
}
