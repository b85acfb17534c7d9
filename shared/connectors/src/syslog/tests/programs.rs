//! The programs that send: util-linux's `logger`, rsyslog with its disk queue, and OpenSSL's client.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
};

use halcyon_tests::ports;
use rcgen::generate_simple_self_signed;
use serde_json::json;
use tokio::{
    io::AsyncWriteExt,
    net::TcpStream,
    time::{Duration, Instant, sleep, timeout},
};

use super::{PATIENCE, connection, opened, read, take};
use crate::{SecretValue, Secrets};

/// Runs a program to its end, away from the runtime.
async fn run(program: &str, arguments: &[&str]) {
    let output = tokio::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logger_is_understood() {
    for (transport, arguments) in [
        ("tcp", &["--tcp", "--rfc5424"][..]),
        ("tcp", &["--tcp", "--rfc5424", "--octet-count"]),
        ("tcp", &["--tcp", "--rfc3164"]),
        ("tcp", &["--tcp", "--rfc3164", "--octet-count"]),
        ("udp", &["--udp", "--rfc5424"]),
        ("udp", &["--udp", "--rfc3164"]),
    ] {
        let port = ports::free();
        let mut source = opened(connection(port, transport), Secrets::none()).await;
        let number = port.to_string();
        let mut all = vec![
            "--server",
            "127.0.0.1",
            "--port",
            &number,
            "--tag",
            "halcyon",
            "--id=4711",
        ];
        all.extend(["--priority", "authpriv.warning"]);
        all.extend(arguments);
        let structured = arguments.contains(&"--rfc5424");
        if structured {
            all.extend([
                "--sd-id",
                "test@32473",
                "--sd-param",
                "key=\"a \\\"b\\\"\"",
                "--msgid",
                "LOGIN",
            ]);
        }
        all.push("somebody came in: [1] = \"2\"");
        run("logger", &all).await;
        let found = take(&mut source, 1).await.remove(0);
        let told = format!("{arguments:?}: {found}");
        assert_eq!(
            (&found["facility"], &found["severity"]),
            (&json!("authpriv"), &json!("warning")),
            "{told}"
        );
        assert_eq!(
            (&found["app"], &found["procid"]),
            (&json!("halcyon"), &json!("4711")),
            "{told}"
        );
        assert_eq!(found["message"], "somebody came in: [1] = \"2\"", "{told}");
        assert!(
            found["timestamp"].is_string() && found["host"].is_string(),
            "{told}"
        );
        if structured {
            assert_eq!(found["structured_data"]["test@32473"]["key"], "a \"b\"", "{told}");
            assert_eq!(found["msgid"], "LOGIN", "{told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_is_understood() {
    let server = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, server.cert.pem()).unwrap();
    let port = ports::free();
    let mut encrypted = connection(port, "tls");
    encrypted["tls"] = json!({"certificate": server.cert.pem(), "key": {"$secret": "key"}});
    let mut secrets = Secrets::none();
    secrets.insert("key", SecretValue::new(server.signing_key.serialize_pem()));
    let mut source = opened(encrypted, secrets).await;
    let mut client = tokio::process::Command::new("openssl");
    client.args([
        "s_client",
        "-quiet",
        "-verify_return_error",
        "-verify_hostname",
        "localhost",
    ]);
    client
        .args(["-connect", &format!("127.0.0.1:{port}"), "-CAfile"])
        .arg(&authority);
    let mut client = client
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = client.stdin.take().unwrap();
    input
        .write_all(b"13 <13>1 - - - -13 <13>1 - - - -")
        .await
        .unwrap();
    input
        .write_all(b"<13>Jan  1 00:00:00 host app: line\n")
        .await
        .unwrap();
    let found = take(&mut source, 3).await;
    assert_eq!(
        (&found[2]["message"], &found[2]["transport"]),
        (&json!("line"), &json!("tls"))
    );
}

/// An rsyslogd that takes lines at a port and forwards them, by way of a queue on disk.
struct Rsyslog {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Rsyslog {
    async fn start(target: u16, transport: &str, extra: &str, global: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = ports::free();
        let config = folder.path().join("rsyslog.conf");
        let work = folder.path().display();
        fs::write(
            &config,
            format!(
                r#"global(workDirectory="{work}" maxMessageSize="64k" {global})
module(load="imptcp")
input(type="imptcp" address="127.0.0.1" port="{port}")
action(type="omfwd" target="127.0.0.1" port="{target}" protocol="{transport}" {extra}
       action.resumeRetryCount="-1" action.resumeInterval="1" template="RSYSLOG_SyslogProtocol23Format"
       queue.type="LinkedList" queue.filename="forward" queue.saveOnShutdown="on" queue.size="200000")
"#
            ),
        )
        .unwrap();
        let child = Command::new("rsyslogd")
            .arg("-n")
            .arg("-f")
            .arg(&config)
            .arg("-i")
            .arg(folder.path().join("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let program = Self { child, port, folder };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(
                Instant::now() < deadline,
                "rsyslogd: {}",
                log(program.folder.path())
            );
            sleep(Duration::from_millis(20)).await;
        }
        program
    }

    async fn put(&self, numbers: std::ops::Range<u64>) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let lines: String = numbers
            .map(|number| format!("<13>1 2026-01-01T00:00:00Z host app - - - {number}\n"))
            .collect();
        stream.write_all(lines.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    }
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_default()
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads until all `numbers` have come. How many came more than once.
async fn read_all(source: &mut Box<dyn crate::Source>, numbers: std::ops::Range<u64>) -> usize {
    let mut found = BTreeSet::new();
    let mut again = 0;
    while !numbers.clone().all(|number| found.contains(&number)) {
        let batch = timeout(PATIENCE, source.next_batch()).await;
        let batch = batch.unwrap_or_else(|_| panic!("only {} of {numbers:?} came", found.len()));
        for record in batch.unwrap().unwrap().records {
            let record = read(&record);
            assert_eq!(
                (&record["host"], &record["app"]),
                (&json!("host"), &json!("app")),
                "{record}"
            );
            let number: u64 = record["message"].as_str().unwrap().parse().unwrap();
            again += usize::from(!found.insert(number));
        }
    }
    again
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_keeps_what_nobody_takes_and_comes_back() {
    let port = ports::free();
    let rsyslog = Rsyslog::start(port, "tcp", r#"TCP_Framing="octet-counted""#, "").await;
    // Nobody listens yet.
    rsyslog.put(0..2_000).await;
    let mut source = opened_later(port, "tcp").await;
    assert_eq!(read_all(&mut source, 0..2_000).await, 0);
    // A planned stop while nothing is on the way, and a death: rsyslog tries until there is a port again.
    for from in [2_000, 3_000] {
        source.stop().await;
        drop(source);
        rsyslog.put(from..from + 1_000).await;
        source = opened_later(port, "tcp").await;
        let mut found = BTreeSet::new();
        // What rsyslog wrote into the connection before it saw that it was closed is lost; the rest comes.
        while !found.contains(&(from + 999)) {
            let batch = timeout(PATIENCE, source.next_batch())
                .await
                .expect("rsyslog comes back");
            let records = batch.unwrap().unwrap().records;
            found.extend(
                records
                    .iter()
                    .map(|record| -> u64 { read(record)["message"].as_str().unwrap().parse().unwrap() }),
            );
        }
        println!("of 1000 sent after the port was closed {} came", found.len());
        assert!(found.len() > 500, "{}", found.len());
    }
}

async fn opened_later(port: u16, transport: &str) -> Box<dyn crate::Source> {
    use crate::Connector;
    super::super::Syslog
        .source(super::context(connection(port, transport), Secrets::none()))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_sends_lines_and_datagrams() {
    for (transport, extra) in [("tcp", r#"TCP_Framing="traditional""#), ("udp", "")] {
        let port = ports::free();
        let mut source = opened(connection(port, transport), Secrets::none()).await;
        let rsyslog = Rsyslog::start(port, transport, extra, "").await;
        rsyslog.put(0..100).await;
        assert_eq!(read_all(&mut source, 0..100).await, 0, "{transport}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rsyslog_sends_by_tls_to_whom_it_trusts() {
    let shown = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let authority = folder.path().join("ca.pem");
    fs::write(&authority, shown.cert.pem()).unwrap();
    let port = ports::free();
    let mut encrypted = connection(port, "tls");
    encrypted["tls"] = json!({"certificate": shown.cert.pem(), "key": {"$secret": "key"}});
    let mut secrets = Secrets::none();
    secrets.insert("key", SecretValue::new(shown.signing_key.serialize_pem()));
    let mut source = opened(encrypted, secrets).await;
    let trusts = format!(r#"defaultNetstreamDriverCAFile="{}""#, authority.display());
    let named = |name: &str| {
        format!(
            r#"TCP_Framing="octet-counted" StreamDriver="ossl" StreamDriverMode="1"
               StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="{name}""#
        )
    };
    let stranger = Rsyslog::start(port, "tcp", &named("other.test"), &trusts).await;
    stranger.put(500..510).await;
    let rsyslog = Rsyslog::start(port, "tcp", &named("localhost"), &trusts).await;
    rsyslog.put(0..100).await;
    assert_eq!(read_all(&mut source, 0..100).await, 0);
    super::nothing_more(&mut source).await;
}
