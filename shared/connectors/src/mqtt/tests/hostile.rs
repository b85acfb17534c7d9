//! Servers that refuse, say nonsense, or say nothing.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
    time::timeout,
};

use super::{super::Mqtt, failure};
use crate::{BatchLimits, Connector, Error, Secrets, Share, SourceContext, compliance::loopback};

const CONNECTED: [u8; 5] = [0x20, 3, 0, 0, 0];

/// A server that answers the first thing it is told with the first answer, and so on.
async fn scripted(answers: &'static [&'static [u8]]) -> (Value, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            for answer in answers {
                let _ = stream.read(&mut [0; 1024]).await;
                let _ = stream.write_all(answer).await;
            }
            kept.push(stream);
        }
    });
    let connection =
        json!({"host": "127.0.0.1", "port": port, "client_id": "c", "topics": ["a"], "keep_alive": 5});
    (connection, server)
}

fn context(connection: Value) -> SourceContext {
    SourceContext {
        connection,
        secrets: Secrets::none(),
        checkpoint: None,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: std::sync::Arc::new(halcyon_domain::clock::SystemClock),
        guard: loopback(),
    }
}

async fn error_of(connection: Value) -> Error {
    let mut source = Mqtt.source(context(connection)).unwrap();
    let outcome = timeout(Duration::from_secs(30), source.next_batch()).await;
    outcome.expect("it ends in time").expect_err("nothing came")
}

#[tokio::test]
async fn what_a_server_does_is_told_by_step_and_class() {
    let cases: [(&'static [&'static [u8]], &str, bool); 10] = [
        // Refused for ever: the version, the user.
        (&[&[0x20, 2, 0, 1]], "authenticate", false),
        (&[&[0x20, 3, 0, 0x86, 0]], "authenticate", false),
        // Not now.
        (&[&[0x20, 3, 0, 0x88, 0]], "authenticate", true),
        (&[&[0xe0, 1, 0x89]], "authenticate", true),
        // Nonsense, and a claim of 256 MiB.
        (&[b"HTTP/1.1 400 Bad Request\r\n\r\n"], "authenticate", false),
        (&[&[0x30, 0xff, 0xff, 0xff, 0x7f]], "authenticate", false),
        // A message before we are in.
        (&[&[0x30, 5, 0, 1, b'a', 0, b'x']], "authenticate", false),
        // The subscription.
        (&[&CONNECTED, &[0x90, 4, 0, 1, 0, 0x87]], "permission", false),
        (&[&CONNECTED, &[0x90, 3, 0, 1, 0]], "permission", false),
        (&[&CONNECTED, &[0xe0, 2, 0x8e, 0]], "permission", true),
    ];
    for (answers, step, passes) in cases {
        let (connection, server) = scripted(answers).await;
        assert_eq!(failure(&connection, &Secrets::none()).await, step, "{answers:?}");
        let error = error_of(connection).await;
        assert_eq!(error.is_transient(), passes, "{answers:?}: {error:?}");
        assert!(passes || matches!(error, Error::Refused { .. }), "{error:?}");
        server.abort();
    }
}

/// A message that is too large does not end the reading of all others: it is stepped over and acknowledged.
#[tokio::test]
async fn a_message_that_is_too_large_is_passed_over() {
    const SIZE: usize = 65 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(&[0x20, 2, 0, 0]).await.unwrap();
        let _ = stream.read(&mut [0; 1024]).await;
        stream.write_all(&[0x90, 3, 0, 1, 1]).await.unwrap();
        // Quality of service 1, number 7.
        let length = [0x80, 0x80, 0xc0, 0x20];
        assert_eq!(SIZE, 0x20 << 21 | 0x40 << 14);
        stream
            .write_all(&[&[0x32][..], &length, &[0, 1, b'a', 0, 7]].concat())
            .await
            .unwrap();
        let part = vec![0; 1 << 20];
        let mut left = SIZE - 5;
        while left > 0 {
            let now = left.min(part.len());
            stream.write_all(&part[..now]).await.unwrap();
            left -= now;
        }
        stream
            .write_all(&[0x32, 6, 0, 1, b'a', 0, 8, b'x'])
            .await
            .unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        (stream, answer)
    });
    let connection = json!({
        "host": "127.0.0.1", "port": port, "client_id": "c", "topics": ["a"], "version": "3.1.1",
    });
    let mut source = Mqtt.source(context(connection)).unwrap();
    let batch = timeout(Duration::from_secs(30), source.next_batch()).await;
    let batch = batch.unwrap().unwrap().unwrap();
    let bodies: Vec<&[u8]> = batch.records.iter().map(|record| &record.bytes[..]).collect();
    assert_eq!(bodies, [b"x"]);
    let (_stream, answer) = server.await.unwrap();
    assert_eq!(answer, [0x40, 2, 0, 7], "the large one is acknowledged");
}

#[tokio::test]
async fn a_broker_that_falls_silent_is_noticed() {
    // It lets us in, and never says a word again, not even to a ping.
    let (connection, server) = scripted(&[&CONNECTED, &[0x90, 4, 0, 1, 0, 0]]).await;
    let error = error_of(connection).await;
    assert!(
        error.is_transient() && error.to_string().contains("silent"),
        "{error}"
    );
    server.abort();
    // Or does not even let us in.
    let (connection, server) = scripted(&[]).await;
    assert_eq!(failure(&connection, &Secrets::none()).await, "authenticate");
    server.abort();
}

#[test]
fn several_readers_need_a_group() {
    let connection = json!({"host": "h", "client_id": "c", "topics": ["a"]});
    let share = Share { index: 0, of: 2 };
    let made = Mqtt.source(SourceContext {
        share,
        ..context(connection.clone())
    });
    let Err(Error::Config(errors)) = made else {
        panic!("two readers without a group");
    };
    assert_eq!(errors[0].pointer, "/group");
    let grouped = super::but(&connection, "/group", json!("g"));
    let made = Mqtt.source(SourceContext {
        share,
        ..context(grouped)
    });
    assert!(made.is_ok());
}
