//! A nats-server with a way to prove who one is, as the compliance suite wants it.

use std::{fs, ops::Range};

use async_nats::{ConnectOptions, jetstream};
use async_trait::async_trait;
use halcyon_tests::nats::Nats as Server;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{SecretValue, Secrets, compliance::Peer};

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Open,
    Password,
    Token,
    Nkey,
    /// User and password over TLS, with a client certificate.
    Tls,
}

/// An authority of the test's own, and what it has signed for 127.0.0.1.
pub(super) struct Certificates {
    pub(super) ca: String,
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Certificates {
    pub(super) fn make() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned(), "nats.example".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        Self {
            ca: ca.pem(),
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }
}

pub(super) struct NatsPeer {
    pub(super) server: Server,
    pub(super) way: Way,
    pub(super) certificates: Certificates,
    seed: String,
    streams: usize,
    _folder: TempDir,
}

impl NatsPeer {
    pub(super) async fn start(way: Way) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::make();
        for (name, text) in [
            ("ca.pem", &certificates.ca),
            ("cert.pem", &certificates.certificate),
            ("key.pem", &certificates.key),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let pair = nkeys::KeyPair::new_user();
        let path = folder.path().display().to_string();
        let users = match way {
            Way::Open => String::new(),
            Way::Password | Way::Tls => {
                "authorization { users: [ { user: reader, password: right }, \
                 { user: denied, password: right, permissions: { publish: \"nothing\", subscribe: \"_INBOX.>\" } } ] }\n"
                    .to_owned()
            }
            Way::Token => "authorization { token: right }\n".to_owned(),
            Way::Nkey => format!("authorization {{ users: [ {{ nkey: {} }} ] }}\n", pair.public_key()),
        };
        let tls = match way {
            Way::Tls => format!(
                "tls {{ cert_file: \"{path}/cert.pem\", key_file: \"{path}/key.pem\", ca_file: \"{path}/ca.pem\", verify: true }}\n"
            ),
            _ => String::new(),
        };
        let server = Server::start_with(|port, store| {
            let store = store.display();
            format!(
                "listen: \"127.0.0.1:{port}\"\nmax_payload: 8388608\n{users}{tls}jetstream {{ store_dir: \"{store}\" }}\n"
            )
        })
        .await
        .unwrap();
        Self {
            server,
            way,
            certificates,
            seed: pair.seed().unwrap(),
            streams: 0,
            _folder: folder,
        }
    }

    pub(super) fn stream(&self) -> String {
        format!("S{}", self.streams)
    }

    /// The test's own client.
    pub(super) async fn client(&self) -> async_nats::Client {
        let options = match self.way {
            Way::Open => ConnectOptions::new(),
            Way::Password | Way::Tls => {
                ConnectOptions::new().user_and_password("reader".to_owned(), "right".to_owned())
            }
            Way::Token => ConnectOptions::new().token("right".to_owned()),
            Way::Nkey => ConnectOptions::new().nkey(self.seed.clone()),
        };
        let options = if self.way == Way::Tls {
            let tls = crate::tls::Tls {
                ca: Some(self.certificates.ca.clone()),
                certificate: Some(self.certificates.certificate.clone()),
                key: Some(crate::tls::SecretRef {
                    name: "key".to_owned(),
                }),
                ..Default::default()
            };
            let config = tls.client_config(&self.secrets()).unwrap();
            options.require_tls(true).tls_client_config((*config).clone())
        } else {
            options
        };
        options.connect(self.server.url()).await.unwrap()
    }

    pub(super) async fn context(&self) -> jetstream::Context {
        jetstream::new(self.client().await)
    }
}

#[async_trait]
impl Peer for NatsPeer {
    async fn fresh(&mut self) {
        self.streams += 1;
        let config = jetstream::stream::Config {
            name: self.stream(),
            subjects: vec![format!("s{}.>", self.streams)],
            ..Default::default()
        };
        self.context().await.create_stream(config).await.unwrap();
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let context = self.context().await;
        for number in numbers {
            let body = json!({"n": number}).to_string();
            let subject = format!("s{}.{}", self.streams, number % 3);
            context
                .publish(subject, body.into())
                .await
                .unwrap()
                .await
                .unwrap();
        }
    }

    fn connection(&self) -> Value {
        let mut connection = json!({
            "servers": [format!("127.0.0.1:{}", self.server.port())],
            "stream": self.stream(),
            "consumer": "halcyon",
            "ack_wait": "1s",
        });
        let secret = json!({"$secret": "secret"});
        match self.way {
            Way::Open => {}
            Way::Password => connection["auth"] = json!({"type": "user", "user": "reader", "secret": secret}),
            Way::Token => connection["auth"] = json!({"type": "token", "secret": secret}),
            Way::Nkey => connection["auth"] = json!({"type": "nkey", "secret": secret}),
            Way::Tls => {
                connection["auth"] = json!({"type": "user", "user": "reader", "secret": secret});
                connection["tls"] = json!({
                    "ca": self.certificates.ca, "certificate": self.certificates.certificate,
                    "key": {"$secret": "key"}, "server_name": "nats.example",
                });
            }
        }
        connection
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        match self.way {
            Way::Open => {}
            Way::Nkey => secrets.insert("secret", SecretValue::new(self.seed.clone())),
            _ => secrets.insert("secret", SecretValue::new("right")),
        }
        if self.way == Way::Tls {
            secrets.insert("key", SecretValue::new(self.certificates.key.clone()));
        }
        secrets
    }
}
