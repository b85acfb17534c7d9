//! A trace is followed from the request through the worker to the commit: what an OpenTelemetry collector is sent.

use std::sync::{Arc, Mutex};

use halcyon_tests::{
    client::{Client, TOKEN},
    load::sequence_mapping,
    up::Up,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The bodies that a collector was sent: protobuf, in which names and identifiers stand as they are.
pub(crate) type Sent = Arc<Mutex<Vec<Vec<u8>>>>;

/// A collector that takes everything (OTLP over HTTP).
pub(crate) async fn collector() -> (String, Sent) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let sent = Sent::default();
    let bodies = sent.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(collect(stream, bodies.clone()));
        }
    });
    (endpoint, sent)
}

async fn collect(mut stream: TcpStream, bodies: Sent) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let header_end = loop {
            if let Some(end) = buffer.windows(4).position(|part| part == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..header_end]).to_lowercase();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok())?;
        while buffer.len() < header_end + length {
            stream.read_buf(&mut buffer).await.ok()?;
        }
        bodies
            .lock()
            .unwrap()
            .push(buffer[header_end..header_end + length].to_vec());
        buffer.drain(..header_end + length);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            .await
            .ok()?;
    }
}

/// Whether some span of `name` belongs to the trace: in OTLP's span the trace's identifier is the first field and
/// the name follows within a hundred bytes.
fn has_span(sent: &Sent, trace: &[u8], name: &str) -> bool {
    sent.lock().unwrap().iter().any(|body| {
        let starts = body
            .windows(trace.len())
            .enumerate()
            .filter(|(_, part)| *part == trace);
        starts.into_iter().any(|(at, _)| {
            let span = &body[at..body.len().min(at + 100)];
            span.windows(name.len()).any(|part| part == name.as_bytes())
        })
    })
}

#[tokio::test]
async fn a_trace_goes_from_the_request_to_the_commit() {
    let (endpoint, sent) = collector().await;
    let folder = tempfile::tempdir().unwrap();
    let environment = [("HALCYON__TELEMETRY__OTLP_ENDPOINT", endpoint.as_str())];
    let up = Up::start_with(crate::halcyon(), &folder.path().join("data"), &environment);
    let password = up.ready.admin_password.clone().unwrap();
    let client = Client::login(&up.ready.url, &up.ready.admin_email, &password).await;
    let id = client.publish_webhook("traced", sequence_mapping("t")).await;

    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let headers = [
        ("authorization", format!("Bearer {TOKEN}")),
        ("traceparent", format!("00-{trace}-00f067aa0ba902b7-01")),
    ];
    let body = json!({"seq": 1, "host": "h", "at": "2026-01-02T03:04:05Z"}).to_string();
    client
        .ingest_with(&id, body.into_bytes(), &headers)
        .await
        .expect(202);
    let bytes: Vec<u8> = (0..16)
        .map(|n| u8::from_str_radix(&trace[2 * n..2 * n + 2], 16).unwrap())
        .collect();
    for name in ["request", "frame", "commit"] {
        client
            .wait_for(&format!("the span `{name}`"), async |_| {
                has_span(&sent, &bytes, name)
            })
            .await;
    }
    up.stop();
}
