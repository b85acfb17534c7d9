//! The compliance suite, over each transport.

use std::ops::Range;

use async_trait::async_trait;
use halcyon_tests::ports;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
};

use super::{super::Syslog, connection};
use crate::{
    SecretValue, Secrets,
    compliance::{Peer, comply},
    tls::Tls,
};

/// A sender that knows one port.
struct Sender {
    port: u16,
    transport: &'static str,
    server: CertifiedKey<rcgen::KeyPair>,
}

impl Sender {
    fn new(transport: &'static str) -> Self {
        let server = generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        Self {
            port: 0,
            transport,
            server,
        }
    }

    fn tls(&self) -> Tls {
        Tls {
            ca: Some(self.server.cert.pem()),
            ..Tls::default()
        }
    }
}

/// Half of them counted, half of them lines.
async fn write(mut stream: impl AsyncWrite + Unpin, numbers: Range<u64>) {
    for number in numbers {
        let text = format!("<13>1 - host app - - - {number}");
        let framed = if number % 2 == 0 {
            format!("{} {text}", text.len())
        } else {
            format!("{text}\n")
        };
        stream.write_all(framed.as_bytes()).await.unwrap();
    }
    stream.shutdown().await.unwrap();
}

#[async_trait]
impl Peer for Sender {
    async fn fresh(&mut self) {
        self.port = ports::free();
    }

    async fn put(&mut self, numbers: Range<u64>) {
        if self.transport == "udp" {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            for number in numbers {
                let text = format!("<13>1 - host app - - - {number}");
                socket
                    .send_to(text.as_bytes(), ("127.0.0.1", self.port))
                    .await
                    .unwrap();
            }
            return;
        }
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        if self.transport == "tcp" {
            return write(stream, numbers).await;
        }
        let stream = self
            .tls()
            .wrap(stream, "localhost", &Secrets::none())
            .await
            .unwrap();
        write(stream, numbers).await;
    }

    fn connection(&self) -> Value {
        let mut connection = connection(self.port, self.transport);
        if self.transport == "tls" {
            connection["tls"] = json!({"certificate": self.server.cert.pem(), "key": {"$secret": "key"}});
        }
        connection
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        if self.transport == "tls" {
            secrets.insert("key", SecretValue::new(self.server.signing_key.serialize_pem()));
        }
        secrets
    }

    fn forgets(&self) -> bool {
        true
    }

    fn number(&self, record: &[u8]) -> u64 {
        let record: Value = serde_json::from_slice(record).unwrap();
        record["message"].as_str().unwrap().parse().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_transport_complies() {
    for transport in ["tcp", "tls", "udp"] {
        let kills = comply(&Syslog, &mut Sender::new(transport)).await;
        assert!(kills >= 16, "{transport}: {kills}");
        println!("{transport}: killed {kills} times");
    }
}
