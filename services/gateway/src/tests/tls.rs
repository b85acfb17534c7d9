//! The gateway's own TLS, with certificates made on the spot.

use std::{fs, path::Path, sync::Arc, time::Duration};

use halcyon_domain::{
    clock::{Clock, SystemClock, Timestamp},
    duration::HumanDuration,
};
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_tests::wait;
use rcgen::{CertificateParams, KeyPair};
use reqwest::tls::TlsInfo;
use salvo::{Router, Service, handler};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    Settings,
    edge::{
        settings::{LimitSettings, TlsSettings},
        tls::Certificates,
    },
    server::{self, Ending},
};

const SOON: Duration = Duration::from_secs(15);

#[handler]
async fn hello() -> &'static str {
    "hello"
}

struct Pair {
    certificate: String,
    der: Vec<u8>,
    key: String,
}

fn pair() -> Pair {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2071, 3, 4);
    let certificate = params.self_signed(&key).unwrap();
    Pair {
        certificate: certificate.pem(),
        der: certificate.der().to_vec(),
        key: key.serialize_pem(),
    }
}

fn tls(folder: &Path) -> TlsSettings {
    TlsSettings {
        certificate: folder.join("tls.crt"),
        key: folder.join("tls.key"),
        reload: HumanDuration::from_millis(100),
    }
}

fn write(folder: &Path, certificate: &str, key: &str) {
    let settings = tls(folder);
    fs::write(settings.certificate, certificate).unwrap();
    fs::write(settings.key, key).unwrap();
}

/// A client that trusts these certificates.
fn client(trusted: &[&Pair]) -> reqwest::Client {
    let mut builder = reqwest::Client::builder().tls_info(true).timeout(SOON);
    for pair in trusted {
        builder = builder
            .add_root_certificate(reqwest::Certificate::from_pem(pair.certificate.as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

/// The certificate that the answering connection was made with.
async fn seen(client: &reqwest::Client, url: &str) -> Vec<u8> {
    let answer = client.get(url).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    let info = answer.extensions().get::<TlsInfo>().unwrap();
    let seen = info.peer_certificate().unwrap().to_vec();
    assert_eq!(answer.text().await.unwrap(), "hello");
    seen
}

#[tokio::test]
async fn a_changed_certificate_is_taken_up_and_open_connections_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (pair(), pair());
    write(folder.path(), &one.certificate, &one.key);
    let (certificates, configs) = Certificates::open(tls(folder.path())).unwrap();
    let listening = server::listen("127.0.0.1:0".parse().unwrap(), Some(configs))
        .await
        .unwrap();
    let url = format!("https://localhost:{}/", listening.address.port());
    let (shutdown, health, metrics) = (Shutdown::new(), Health::new(), Metrics::new().unwrap());
    let check = health.check("gateway.tls");
    let keeping = certificates.keep(check, metrics.clone(), Arc::new(SystemClock), shutdown.clone());
    let keeping = tokio::spawn(keeping);
    let (settings, stop) = (Settings::default(), Ending::at_once(shutdown.clone()));
    let service = Service::new(Router::new().get(hello));
    let serving = tokio::spawn(async move { server::serve(listening, service, &settings, stop).await });

    let old = client(&[&one, &two]);
    assert_eq!(seen(&old, &url).await, one.der);

    // A pair that does not fit together is not taken up, and is complained about.
    write(folder.path(), &two.certificate, &one.key);
    let detail = || health.report().checks["gateway.tls"].detail.clone();
    wait::eventually(SOON, || async {
        detail().contains("the certificate before is in use")
    })
    .await
    .unwrap();
    assert!(health.report().ready);
    assert_eq!(seen(&client(&[&one]), &url).await, one.der);

    write(folder.path(), &two.certificate, &two.key);
    wait::eventually(SOON, || async { detail() == "ok" })
        .await
        .unwrap();
    wait::eventually(SOON, || async {
        seen(&client(&[&one, &two]), &url).await == two.der
    })
    .await
    .unwrap();
    assert_eq!(
        seen(&old, &url).await,
        one.der,
        "the connection that was open is still the same"
    );

    let text = metrics.render();
    let expiry = text
        .lines()
        .find_map(|line| line.strip_prefix("tls_certificate_expiry_seconds "));
    let end = "2071-03-04T00:00:00Z".parse::<Timestamp>().unwrap();
    let left = (end - SystemClock.now()).as_seconds_f64();
    assert!(
        (expiry.unwrap().parse::<f64>().unwrap() - left).abs() < 60.0,
        "{expiry:?}"
    );
    assert!(
        text.contains("tls_reloads_total{ok=\"false\"} 1")
            && text.contains("tls_reloads_total{ok=\"true\"} 1"),
        "{text}"
    );
    drop(old);
    shutdown.trigger();
    tokio::time::timeout(SOON, serving)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    keeping.await.unwrap();
}

#[test]
fn what_is_no_certificate_is_refused_at_start() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (pair(), pair());
    let error = |folder: &Path| format!("{:#}", Certificates::open(tls(folder)).map(|_| ()).unwrap_err());
    assert!(error(folder.path()).contains("tls.crt"));
    write(folder.path(), "nonsense", &one.key);
    assert!(error(folder.path()).contains("holds no certificate"));
    write(folder.path(), &one.certificate, &two.key);
    assert!(error(folder.path()).contains("do not fit together"));
}

#[tokio::test]
async fn who_sends_nothing_or_too_large_a_head_is_not_waited_for() {
    let settings = Settings {
        limits: LimitSettings {
            header_timeout: HumanDuration::from_millis(200),
            ..LimitSettings::default()
        },
        ..Settings::default()
    };
    let listening = server::listen("127.0.0.1:0".parse().unwrap(), None)
        .await
        .unwrap();
    let address = listening.address;
    let shutdown = Shutdown::new();
    let stop = Ending::at_once(shutdown.clone());
    let service = Service::new(Router::new().get(hello));
    let serving = tokio::spawn(async move { server::serve(listening, service, &settings, stop).await });
    for begun in ["", "GET / HTTP/1.1\r\nhost: x\r\nx-slow: "] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(SOON, stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{begun:?} is waited for");
        assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nhost: x\r\nx-large: {}\r\n\r\n",
        "a".repeat(100_000)
    );
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = [0; 12];
    if tokio::time::timeout(SOON, stream.read_exact(&mut answer))
        .await
        .unwrap()
        .is_ok()
    {
        assert_eq!(&answer[..], b"HTTP/1.1 431");
    }
    shutdown.trigger();
    serving.await.unwrap().unwrap();
}
