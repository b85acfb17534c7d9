//! Whether an acked event survives a power cut.

use std::time::Duration;

use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Bus, Error, subjects::Stream};

/// Whether what JetStream acked is safe from a power cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each ack comes after a file sync.
    SyncAlways,
    /// The stream has this many copies (3 or more).
    Replicated(usize),
    /// One copy, and the server syncs its files only from time to time.
    Unsafe,
    /// One copy, and the server's settings cannot be seen: no monitoring address is set, or it does not answer.
    Unknown(String),
}

impl Durability {
    /// Whether it is known to be safe.
    #[must_use]
    pub const fn is_safe(&self) -> bool {
        matches!(self, Self::SyncAlways | Self::Replicated(_))
    }
}

#[derive(Deserialize)]
struct Varz {
    #[serde(default)]
    jetstream: VarzJetStream,
}

#[derive(Default, Deserialize)]
struct VarzJetStream {
    config: Option<VarzConfig>,
}

#[derive(Deserialize)]
struct VarzConfig {
    #[serde(default)]
    sync_always: bool,
}

impl Bus {
    /// Looks whether accepted events are safe from a power cut.
    ///
    /// # Errors
    /// The ingest stream cannot be looked at.
    pub async fn durability(&self) -> Result<Durability, Error> {
        let replicas = self.stream_info(Stream::Ingest).await?.config.num_replicas;
        if replicas >= 3 {
            return Ok(Durability::Replicated(replicas));
        }
        let Some(url) = &self.settings().monitor_url else {
            return Ok(Durability::Unknown("no monitoring address is set".to_owned()));
        };
        Ok(match varz(url).await {
            Ok(true) => Durability::SyncAlways,
            Ok(false) => Durability::Unsafe,
            Err(why) => Durability::Unknown(why),
        })
    }
}

/// Whether the server says that it syncs always. A plain HTTP/1.0 exchange: the monitoring port is on loopback.
async fn varz(url: &str) -> Result<bool, String> {
    let host = url
        .strip_prefix("http://")
        .ok_or("the monitoring address is no http:// address")?;
    let host = host.split('/').next().unwrap_or(host);
    let exchange = async {
        let mut stream = TcpStream::connect(host).await?;
        let request = format!("GET /varz HTTP/1.0\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(4 * 1024 * 1024).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(3), exchange)
        .await
        .map_err(|_| "the monitoring address does not answer".to_owned())?
        .map_err(|error| error.to_string())?;
    let body = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| &answer[at + 4..]);
    let varz: Varz = serde_json::from_slice(body.unwrap_or_default()).map_err(|error| error.to_string())?;
    let config = varz.jetstream.config.ok_or("the server has no JetStream")?;
    Ok(config.sync_always)
}
