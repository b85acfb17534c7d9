//! A scripted HTTP server: what it answers is a function of what it is asked. It is written on sockets, so that it
//! can break every rule.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
};
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: BTreeMap<String, String>,
    /// Names are lower case.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Asked {
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name).map(String::as_str)
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The fields of a form in the body.
    pub(super) fn form(&self) -> BTreeMap<String, String> {
        pairs(&self.body)
    }
}

fn pairs(query: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://h/?{query}")).unwrap();
    url.query_pairs()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
    /// The connection ends after so many bytes of the body.
    pub(super) cut: Option<usize>,
    pub(super) delay: Duration,
}

impl Reply {
    pub(super) fn json(body: &Value) -> Self {
        Self::text(200, &body.to_string()).with("content-type", "application/json")
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
            cut: None,
            delay: Duration::ZERO,
        }
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn gzip(mut self) -> Self {
        let mut writer = GzEncoder::new(Vec::new(), Compression::fast());
        writer.write_all(&self.body).unwrap();
        self.body = writer.finish().unwrap();
        self.with("content-encoding", "gzip")
    }
}

pub(super) struct Server {
    pub(super) port: u16,
    pub(super) asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::serve(None, answer).await
    }

    /// With a certificate for `localhost`; gives its authority. Asks for a certificate that `client` vouches for.
    pub(super) async fn start_tls(
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
        client: Option<CertificateDer<'static>>,
    ) -> (Self, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = client.map_or_else(WebPkiClientVerifier::no_client_auth, |client| {
            let mut roots = RootCertStore::empty();
            roots.add(client).unwrap();
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
                .build()
                .unwrap()
        });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let server = Self::serve(Some(TlsAcceptor::from(Arc::new(config))), answer).await;
        (server, made.cert.pem())
    }

    async fn serve(
        tls: Option<TlsAcceptor>,
        answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, heard) = (Arc::new(answer), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (answer, heard, tls) = (answer.clone(), heard.clone(), tls.clone());
                tokio::spawn(async move {
                    let talk = |asked: &Asked| {
                        heard.lock().unwrap().push(asked.clone());
                        answer(asked)
                    };
                    // A client may go at any time.
                    let _ = match tls {
                        None => converse(stream, talk).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, talk).await,
                            Err(error) => Err(error),
                        },
                    };
                });
            }
        });
        Self { port, asked, task }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What came so far.
    pub(super) fn heard(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.heard().iter().filter(|asked| asked.path == path).count()
    }
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    talk: impl Fn(&Asked) -> Reply,
) -> io::Result<()> {
    while let Some(asked) = read(&mut stream).await? {
        let reply = talk(&asked);
        tokio::time::sleep(reply.delay).await;
        let mut head = format!(
            "HTTP/1.1 {} S\r\ncontent-length: {}\r\n",
            reply.status,
            reply.body.len()
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await?;
        let end = reply.cut.unwrap_or(reply.body.len());
        stream.write_all(&reply.body[..end]).await?;
        stream.flush().await?;
        if reply.cut.is_some() {
            break;
        }
    }
    stream.shutdown().await
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<Option<Asked>> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read(&mut part).await? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&part[..read]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let headers: BTreeMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .map_or(0, |text| text.parse().unwrap());
    while bytes.len() < end + length {
        match stream.read(&mut part).await? {
            0 => return Ok(None),
            read => bytes.extend_from_slice(&part[..read]),
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Ok(Some(Asked {
        method: method.to_owned(),
        path: path.to_owned(),
        query: pairs(query),
        headers,
        body: String::from_utf8(bytes[end..end + length].to_vec()).unwrap(),
    }))
}
