//! What the mock cluster lacks: listeners that ask for TLS and SASL. It is the relay the other way round, one port
//! for each broker; the proofs of SCRAM are the server's side of RFC 5802, written for this test.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    endpoint::Endpoint,
    kafka::{
        dial::Stream,
        relay::{named, renamed},
        sasl::{Mechanism, attribute},
        wire::{Reader, Writer, api, framed, read_frame},
    },
};

/// What the front asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) tls: bool,
    pub(super) mechanism: Option<Mechanism>,
}

pub(super) struct Front {
    inner: Arc<Inner>,
    ports: Vec<Endpoint>,
    pub(super) ca: String,
    _tasks: Arc<Mutex<JoinSet<()>>>,
}

struct Inner {
    way: Way,
    acceptor: TlsAcceptor,
    /// The front's port for each broker.
    ports: HashMap<Endpoint, Endpoint>,
}

impl Front {
    pub(super) async fn start(bootstrap: &str, way: Way) -> Self {
        let (ca, acceptor) = certificates();
        let mut ports = HashMap::new();
        let mut listeners = Vec::new();
        for broker in bootstrap.split(',').map(|text| Endpoint::parse(text, 0).unwrap()) {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = Endpoint {
                host: "127.0.0.1".to_owned(),
                port: listener.local_addr().unwrap().port(),
            };
            ports.insert(broker.clone(), port);
            listeners.push((listener, broker));
        }
        let all: Vec<Endpoint> = listeners
            .iter()
            .map(|(_, broker)| ports[broker].clone())
            .collect();
        let inner = Arc::new(Inner { way, acceptor, ports });
        let tasks = Arc::new(Mutex::new(JoinSet::new()));
        for (listener, broker) in listeners {
            let inner = Arc::clone(&inner);
            tasks.lock().unwrap().spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(Arc::clone(&inner).serve(stream, broker.clone()));
                }
            });
        }
        Self {
            inner,
            ports: all,
            ca,
            _tasks: tasks,
        }
    }

    pub(super) fn bootstrap(&self) -> String {
        self.ports
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",")
    }

    /// What a connection must say.
    pub(super) fn complete(&self, connection: &mut Value) {
        if self.inner.way.tls {
            connection["tls"] = json!({"ca": self.ca, "server_name": "kafka.example"});
        }
        if let Some(mechanism) = self.inner.way.mechanism {
            connection["sasl"] = json!({
                "mechanism": mechanism.name(), "username": "reader", "password": {"$secret": "password"},
            });
        }
    }
}

fn certificates() -> (String, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["kafka.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &ca).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    (ca.pem(), TlsAcceptor::from(Arc::new(config)))
}

impl Inner {
    async fn serve(self: Arc<Self>, stream: TcpStream, broker: Endpoint) {
        let mut stream: Box<dyn Stream> = if self.way.tls {
            match self.acceptor.accept(stream).await {
                Ok(stream) => Box::new(stream),
                Err(_) => return,
            }
        } else {
            Box::new(stream)
        };
        if let Some(mechanism) = self.way.mechanism
            && prove(&mut stream, mechanism).await.is_none()
        {
            return;
        }
        let Ok(remote) = TcpStream::connect((broker.host.as_str(), broker.port)).await else {
            return;
        };
        let _ = self.carry(stream, remote).await;
    }

    async fn carry(&self, local: Box<dyn Stream>, remote: TcpStream) -> std::io::Result<()> {
        let (mut local_in, mut local_out) = tokio::io::split(local);
        let (mut remote_in, mut remote_out) = tokio::io::split(remote);
        let asked = Mutex::new(HashMap::new());
        let requests = async {
            loop {
                let request = read_frame(&mut local_in, 1 << 26).await?;
                let mut reader = Reader(&request);
                let (key, version, correlation) = (
                    reader.i16().unwrap(),
                    reader.i16().unwrap(),
                    reader.i32().unwrap(),
                );
                // The word of the library stays between it and the relay.
                assert_eq!(reader.string(false).unwrap(), Some("halcyon"));
                asked.lock().unwrap().insert(correlation, (key, version));
                remote_out.write_all(&framed(&request)).await?;
            }
        };
        let answers = async {
            loop {
                let answer = read_frame(&mut remote_in, 1 << 26).await?;
                let correlation = Reader(&answer).i32().unwrap();
                let (key, version) = asked.lock().unwrap().remove(&correlation).unwrap();
                let mut whole = Writer::default();
                whole.i32(correlation);
                if matches!(key, api::METADATA | api::FIND_COORDINATOR) {
                    named(key, version, &answer[4..]).unwrap();
                    whole.bytes(&renamed(key, version, &answer[4..], &self.ports).unwrap());
                } else {
                    whole.bytes(&answer[4..]);
                }
                local_out.write_all(&framed(&whole.0)).await?;
                local_out.flush().await?;
            }
        };
        tokio::select! {
            ended = requests => ended,
            ended = answers => ended,
        }
    }
}

/// The server's side of SASL; `None` ends the connection.
async fn prove(stream: &mut Box<dyn Stream>, mechanism: Mechanism) -> Option<()> {
    let (correlation, body) = next(stream, api::SASL_HANDSHAKE).await?;
    let offered = Reader(&body).string(false).ok()? == Some(mechanism.name());
    let mut answer = Writer::default();
    answer.i16(if offered { 0 } else { 33 });
    answer.count(1, false);
    answer.string(Some(mechanism.name()), false);
    say(stream, correlation, &answer.0).await?;
    let first = message(stream).await?;
    if mechanism == Mechanism::Plain {
        let good = first.1 == "\0reader\0right";
        return reply(stream, first.0, good, "").await;
    }
    let bare = first.1.strip_prefix("n,,")?.to_owned();
    let nonce = format!("{}server", attribute(&bare, 'r')?);
    let salt = b"salt of the test";
    let server_first = format!("r={nonce},s={},i=4096", STANDARD.encode(salt));
    reply(stream, first.0, true, &server_first).await?;
    let last = message(stream).await?;
    let (without_proof, proof) = last.1.rsplit_once(",p=")?;
    let signed = format!("{bare},{server_first},{without_proof}");
    let salted = mechanism.salted(b"right", salt, 4096);
    let stored = mechanism.hash(&mechanism.hmac(&salted, b"Client Key"));
    let signature = mechanism.hmac(&stored, signed.as_bytes());
    let proof = STANDARD.decode(proof).ok()?;
    let key: Vec<u8> = proof
        .iter()
        .zip(&signature)
        .map(|(proof, sign)| proof ^ sign)
        .collect();
    let good = mechanism.hash(&key) == stored && attribute(&bare, 'n') == Some("reader");
    let verifier = mechanism.hmac(&mechanism.hmac(&salted, b"Server Key"), signed.as_bytes());
    reply(stream, last.0, good, &format!("v={}", STANDARD.encode(verifier))).await
}

async fn next(stream: &mut Box<dyn Stream>, expected: i16) -> Option<(i32, Vec<u8>)> {
    let request = read_frame(stream, 1 << 20).await.ok()?;
    let mut reader = Reader(&request);
    let key = reader.i16().ok()?;
    reader.i16().ok()?;
    let correlation = reader.i32().ok()?;
    reader.string(false).ok()?;
    (key == expected).then(|| (correlation, reader.0.to_vec()))
}

async fn message(stream: &mut Box<dyn Stream>) -> Option<(i32, String)> {
    let (correlation, body) = next(stream, api::SASL_AUTHENTICATE).await?;
    Some((correlation, String::from_utf8(body.get(4..)?.to_vec()).ok()?))
}

async fn reply(stream: &mut Box<dyn Stream>, correlation: i32, good: bool, text: &str) -> Option<()> {
    let mut answer = Writer::default();
    answer.i16(if good { 0 } else { 58 });
    answer.string((!good).then_some("Authentication failed"), false);
    let text = if good { text } else { "" };
    answer.i32(i32::try_from(text.len()).unwrap());
    answer.bytes(text.as_bytes());
    say(stream, correlation, &answer.0).await?;
    good.then_some(())
}

async fn say(stream: &mut Box<dyn Stream>, correlation: i32, body: &[u8]) -> Option<()> {
    let mut answer = Writer::default();
    answer.i32(correlation);
    answer.bytes(body);
    stream.write_all(&framed(&answer.0)).await.ok()?;
    stream.flush().await.ok()?;
    Some(())
}
