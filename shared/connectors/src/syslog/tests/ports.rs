//! Who may send, how much, and what is said when a port cannot be had.

use halcyon_domain::{clock::SystemClock, test_run::CheckStatus};
use halcyon_tests::ports;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, generate_simple_self_signed,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Duration, Instant, sleep, timeout},
};

use super::{super::Syslog, PATIENCE, connection, context, nothing_more, opened, take};
use crate::{
    CheckContext, Connector, Error, SecretValue, Secrets,
    compliance::nowhere,
    tls::{SecretRef, Tls},
    validate_connection,
};

async fn connected(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).await.unwrap()
}

/// The port hangs up without a word.
async fn hung_up(mut stream: TcpStream) {
    // It may say first that it understood nothing.
    let end = timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    let _ = end.expect("it hangs up in time");
}

#[tokio::test]
async fn only_allowed_senders_are_heard() {
    let port = ports::free();
    let mut closed = connection(port, "tcp");
    closed["allowed_networks"] = json!(["10.0.0.0/8", "192.0.2.1"]);
    let mut source = opened(closed, Secrets::none()).await;
    let mut stream = connected(port).await;
    let _ = stream.write_all(b"<13>x\n").await;
    hung_up(stream).await;
    nothing_more(&mut source).await;

    let port = ports::free();
    let mut closed = connection(port, "udp");
    closed["allowed_networks"] = json!(["::1"]);
    let mut source = opened(closed, Secrets::none()).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(b"<13>x", ("127.0.0.1", port)).await.unwrap();
    nothing_more(&mut source).await;
}

#[tokio::test]
async fn further_connections_are_turned_away_and_idle_ones_closed() {
    let port = ports::free();
    let mut few = connection(port, "tcp");
    few["max_connections"] = json!(1);
    few["idle_timeout"] = json!("300ms");
    let mut source = opened(few, Secrets::none()).await;
    let mut first = connected(port).await;
    first.write_all(b"<13>first\n").await.unwrap();
    assert_eq!(take(&mut source, 1).await[0]["message"], "first");
    hung_up(connected(port).await).await;
    hung_up(first).await;
    // Its place is free again.
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline);
        let mut next = connected(port).await;
        let _ = next.write_all(b"<13>next\n").await;
        if let Ok(batch) = timeout(Duration::from_millis(200), source.next_batch()).await {
            assert_eq!(batch.unwrap().unwrap().records.len(), 1);
            break;
        }
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_sender_that_died_without_a_word_is_noticed() {
    let port = ports::free();
    let mut source = opened(connection(port, "tcp"), Secrets::none()).await;
    let mut stream = connected(port).await;
    stream.write_all(b"<13>x\n").await.unwrap();
    assert_eq!(take(&mut source, 1).await.len(), 1);
    // Our side of the connection asks now and then: the kernel's table says which timer runs (2 is the keepalive).
    let ours = format!(":{port:04X}");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let timers: Vec<&str> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|columns| columns[1].ends_with(&ours) && columns[3] == "01")
            .map(|columns| columns[5])
            .collect();
        if timers.iter().any(|timer| timer.starts_with("02:")) {
            break;
        }
        assert!(Instant::now() < deadline, "{timers:?}");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_sender_waits_while_the_window_is_full() {
    let port = ports::free();
    let mut source = opened(connection(port, "tcp"), Secrets::none()).await;
    let mut stream = connected(port).await;
    // Far more than the window and the kernel's buffers hold, and nobody takes it.
    let message = format!("<13>{}\n", "x".repeat(60_000));
    let mut sent = 0;
    let blocked = async {
        loop {
            stream.write_all(message.as_bytes()).await.unwrap();
            sent += 1;
            assert!(sent < 2_000, "120 MB were taken in though nobody reads them");
        }
    };
    assert!(timeout(Duration::from_secs(2), blocked).await.is_err());
    assert!(source.lag().records.unwrap() > 0);
    let mut found = 0;
    while found < sent {
        found += take_any(&mut source).await;
    }
}

async fn take_any(source: &mut Box<dyn crate::Source>) -> usize {
    let batch = timeout(PATIENCE, source.next_batch())
        .await
        .expect("there is more");
    batch.unwrap().unwrap().records.len()
}

#[tokio::test]
async fn what_is_too_long_is_cut_and_broken_counts_end_the_connection() {
    for transport in ["tcp", "udp"] {
        let port = ports::free();
        let mut small = connection(port, transport);
        small["max_message"] = json!(480);
        let mut source = opened(small, Secrets::none()).await;
        let long = format!("<13>{}", "x".repeat(1_000));
        if transport == "tcp" {
            let mut stream = connected(port).await;
            stream
                .write_all(format!("{long}\n<13>y\n").as_bytes())
                .await
                .unwrap();
        } else {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket
                .send_to(long.as_bytes(), ("127.0.0.1", port))
                .await
                .unwrap();
            socket.send_to(b"<13>y\n", ("127.0.0.1", port)).await.unwrap();
        }
        let found = take(&mut source, 2).await;
        assert_eq!(
            (
                found[0]["truncated"] == true,
                found[0]["raw"].as_str().unwrap().len()
            ),
            (true, 480)
        );
        assert_eq!(
            (&found[1]["message"], &found[1]["transport"]),
            (&json!("y"), &json!(transport))
        );
        assert_eq!(found[1]["sender"], "127.0.0.1");
    }
    let port = ports::free();
    let mut counted = connection(port, "tcp");
    counted["framing"] = json!("octet_counted");
    let mut source = opened(counted, Secrets::none()).await;
    let mut stream = connected(port).await;
    stream.write_all(b"5 <13>a<13>no count\n").await.unwrap();
    assert_eq!(take(&mut source, 1).await[0]["message"], "a");
    hung_up(stream).await;
}

#[tokio::test]
async fn a_port_in_use_is_said_and_taken_once_it_is_free() {
    for transport in ["tcp", "udp"] {
        let port = ports::free();
        let mut first = opened(connection(port, transport), Secrets::none()).await;
        let mut second = Syslog
            .source(context(connection(port, transport), Secrets::none()))
            .unwrap();
        let refused = second.next_batch().await.unwrap_err();
        assert!(refused.is_transient(), "{refused}");
        assert!(
            refused
                .to_string()
                .contains(&format!("port {port} is in use on this worker")),
            "{refused}"
        );
        let checked = check(&connection(port, transport), &Secrets::none()).await;
        assert!(
            checked.iter().any(|(name, status, told)| {
                name == "listen" && *status == CheckStatus::Passed && told.contains("in use")
            }),
            "{checked:?}"
        );
        first.stop().await;
        assert!(
            timeout(Duration::from_millis(50), second.next_batch())
                .await
                .is_err()
        );
    }
    let mut elsewhere = connection(ports::free(), "tcp");
    elsewhere["listen"]["address"] = json!("192.0.2.77");
    let mut source = Syslog
        .source(context(elsewhere.clone(), Secrets::none()))
        .unwrap();
    assert!(matches!(source.next_batch().await, Err(Error::Refused { .. })));
    let checked = check(&elsewhere, &Secrets::none()).await;
    assert_eq!(checked.last().unwrap().1, CheckStatus::Failed);
}

async fn check(connection: &Value, secrets: &Secrets) -> Vec<(String, CheckStatus, String)> {
    let context = CheckContext {
        connection,
        secrets,
        clock: &SystemClock,
        guard: &nowhere(),
    };
    let results = Syslog.check(&context).await;
    results
        .into_iter()
        .map(|result| (result.name, result.status, result.message))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_without_the_right_certificate_are_not_heard() {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let server = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let signed = |authority: &CertifiedIssuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["sender".to_owned()]).unwrap();
        (
            params.signed_by(&key, authority).unwrap().pem(),
            key.serialize_pem(),
        )
    };
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let other = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();

    let port = ports::free();
    let mut strict = connection(port, "tls");
    strict["tls"] = json!({
        "certificate": server.cert.pem(), "key": {"$secret": "key"}, "client_ca": authority.pem(),
    });
    let mut secrets = Secrets::none();
    secrets.insert("key", SecretValue::new(server.signing_key.serialize_pem()));
    let mut source = opened(strict, secrets).await;
    for (credentials, heard) in [
        (Some(signed(&authority)), true),
        (Some(signed(&other)), false),
        (None, false),
    ] {
        let mut own = Secrets::none();
        let mut tls = Tls {
            ca: Some(server.cert.pem()),
            ..Tls::default()
        };
        if let Some((certificate, key)) = credentials {
            own.insert("own", SecretValue::new(key));
            tls.certificate = Some(certificate);
            tls.key = Some(SecretRef {
                name: "own".to_owned(),
            });
        }
        // In TLS 1.3 the sender learns of it only after it has sent.
        if let Ok(mut stream) = tls.wrap(connected(port).await, "localhost", &own).await {
            let _ = stream.write_all(b"6 <13>in").await;
            let _ = stream.shutdown().await;
        }
        if heard {
            assert_eq!(take(&mut source, 1).await[0]["message"], "in");
        } else {
            sleep(Duration::from_millis(100)).await;
            nothing_more(&mut source).await;
        }
    }
    // Without TLS nothing is understood.
    let mut stream = connected(port).await;
    let _ = stream
        .write_all(b"<13>plain\n<13>text that is longer than a record's head\n")
        .await;
    hung_up(stream).await;
    nothing_more(&mut source).await;
}

#[test]
fn rules_between_fields_point_at_them() {
    let pointers = |change: Value| {
        let mut changed = connection(5_514, "tcp");
        for (name, value) in change.as_object().unwrap() {
            changed[name] = value.clone();
        }
        let errors = validate_connection("syslog", &changed);
        errors.into_iter().map(|error| error.pointer).collect::<Vec<_>>()
    };
    assert_eq!(pointers(json!({})), [""; 0]);
    assert_eq!(pointers(json!({"listen": {"port": 514}})), ["/listen/port"]);
    assert_eq!(
        pointers(json!({"listen": {"port": 5514, "address": "1:2"}})),
        ["/listen/address"]
    );
    assert_eq!(
        pointers(json!({"listen": {"port": 5514, "address": "host"}})),
        ["/listen/address"]
    );
    assert_eq!(pointers(json!({"transport": "tls"})), ["/tls"]);
    let tls = json!({"certificate": "x", "key": {"$secret": "key"}});
    assert_eq!(pointers(json!({"tls": tls})), ["/tls"]);
    assert_eq!(
        pointers(json!({"tls": tls, "transport": "tls"})),
        ["/tls/certificate"]
    );
    assert_eq!(
        pointers(json!({"transport": "udp", "framing": "newline"})),
        ["/framing"]
    );
    assert_eq!(
        pointers(json!({"transport": "udp", "max_message": 100_000, "max_connections": 1})),
        ["/max_message"]
    );
    assert_eq!(pointers(json!({"max_message": 1_048_576})), ["/max_connections"]);
    assert_eq!(
        pointers(json!({"allowed_networks": ["10.0.0.0/8", "ten"]})),
        ["/allowed_networks/1"]
    );
    assert_eq!(pointers(json!({"allowed_networks": []})), ["/allowed_networks"]);
    assert_eq!(pointers(json!({"timezone": "+29:00"})), ["/timezone"]);
    assert_eq!(pointers(json!({"idle_timeout": "soon"})), ["/idle_timeout"]);
}
