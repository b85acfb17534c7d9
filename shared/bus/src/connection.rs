//! The connection to the bus.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_nats::{Client, ConnectOptions, Event, jetstream};
use futures::StreamExt;
use halcyon_domain::partition::Partitions;
use secrecy::ExposeSecret;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::{
    BusSettings, Error, Identity, Service,
    delivery::{NakQueue, nak_task},
    settings::PING_INTERVAL,
};

/// Bytes of submitted events that may wait for their publish, over all partitions of a connection.
const QUEUED_BYTES: usize = 64 * 1024 * 1024;

/// A connection to the bus. Clones share it.
#[derive(Clone)]
pub struct Bus {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    jetstream: jetstream::Context,
    service: Service,
    settings: BusSettings,
    partitions: Partitions,
    connections: watch::Receiver<u64>,
    counters: Counters,
    naks: NakQueue,
    queue: Arc<Semaphore>,
}

/// What the connection counts.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) consumers_recreated: AtomicU64,
    pub(crate) frames: AtomicU64,
    pub(crate) frame_items: AtomicU64,
    pub(crate) frames_retried: AtomicU64,
    pub(crate) naks: Arc<AtomicU64>,
}

/// A snapshot of what the connection counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BusStats {
    /// Connections made, the first included.
    pub connections: u64,
    /// Consumers and watches that were made again because they fell silent or broke.
    pub consumers_recreated: u64,
    /// Frames that were acked.
    pub frames: u64,
    /// Items in them.
    pub frame_items: u64,
    /// Publishes of a frame beyond its first.
    pub frames_retried: u64,
    /// Deliveries that were given back because they were dropped without an ack.
    pub naks: u64,
}

impl Bus {
    /// Connects, and goes on trying for `connect_timeout`. A connection that breaks later is made again,
    /// for ever, with a jittered delay of at most two seconds.
    ///
    /// # Errors
    /// No server could be reached in time, it refused the identity, it is too old, or `bus.tls` names what is not
    /// there.
    pub async fn connect(settings: &BusSettings, identity: &Identity) -> Result<Self, Error> {
        settings.tls.check()?;
        let partitions = Partitions::new(settings.partitions, settings.pools.clone());
        if let Some(fault) = partitions.fault() {
            return Err(Error::Setup(format!("bus.pools: {fault}")));
        }
        let (connected, connections) = watch::channel(0_u64);
        let deadline = Instant::now() + settings.connect_timeout.get();
        let mut attempt = 0;
        let client = loop {
            match options(settings, identity, connected.clone())
                .connect(servers(&settings.url))
                .await
            {
                Ok(client) => break client,
                Err(error) if Instant::now() >= deadline => return Err(Error::unavailable(error)),
                Err(error) => tracing::debug!(error = %error, "the bus cannot be reached yet"),
            }
            attempt += 1;
            tokio::time::sleep(reconnect_delay(attempt)).await;
        };
        check_version(&client)?;
        let jetstream = jetstream::ContextBuilder::new()
            .timeout(settings.request_timeout.get())
            .build(client.clone());
        let (naks, queue) = mpsc::unbounded_channel();
        let inner = Arc::new(Inner {
            client,
            jetstream,
            service: identity.service(),
            settings: settings.clone(),
            partitions,
            connections,
            counters: Counters::default(),
            naks,
            queue: Arc::new(Semaphore::new(QUEUED_BYTES)),
        });
        tokio::spawn(nak_task(queue, inner.counters.naks.clone()));
        Ok(Self { inner })
    }

    /// Whether the connection stands, as far as the client knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.inner.client.connection_state() == async_nats::connection::State::Connected
    }

    /// The time of a message's way to the server and back.
    ///
    /// # Errors
    /// It did not come back in time.
    pub async fn rtt(&self) -> Result<Duration, Error> {
        let timeout = self.inner.settings.request_timeout.get();
        let inbox = self.inner.client.new_inbox();
        let started = Instant::now();
        let trip = async {
            let mut answers = self
                .inner
                .client
                .subscribe(inbox.clone())
                .await
                .map_err(Error::unavailable)?;
            self.inner
                .client
                .publish(inbox, bytes::Bytes::new())
                .await
                .map_err(Error::unavailable)?;
            answers
                .next()
                .await
                .ok_or_else(|| Error::unavailable("the connection closed"))
        };
        tokio::time::timeout(timeout, trip)
            .await
            .map_err(|_| Error::Timeout(timeout))??;
        Ok(started.elapsed())
    }

    /// The service this connection belongs to.
    #[must_use]
    pub fn service(&self) -> Service {
        self.inner.service
    }

    /// The partitions of the data path.
    #[must_use]
    pub fn partitions(&self) -> &Partitions {
        &self.inner.partitions
    }

    /// The number of copies that each stream has.
    #[must_use]
    pub fn replicas(&self) -> u8 {
        self.inner.settings.replicas.max(1)
    }

    /// The largest message that the server takes, in bytes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.inner.client.max_payload()
    }

    /// What was counted since the start.
    #[must_use]
    pub fn stats(&self) -> BusStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.inner.counters;
        BusStats {
            connections: *self.inner.connections.borrow(),
            consumers_recreated: load(&counters.consumers_recreated),
            frames: load(&counters.frames),
            frame_items: load(&counters.frame_items),
            frames_retried: load(&counters.frames_retried),
            naks: load(&counters.naks),
        }
    }

    /// Sends what is buffered, ends all subscriptions and closes the connection.
    ///
    /// # Errors
    /// The connection is gone already.
    pub async fn close(&self) -> Result<(), Error> {
        self.inner.client.drain().await.map_err(Error::unavailable)
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.inner.jetstream
    }

    pub(crate) fn settings(&self) -> &BusSettings {
        &self.inner.settings
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.inner.counters
    }

    pub(crate) fn naks(&self) -> &NakQueue {
        &self.inner.naks
    }

    pub(crate) fn queue(&self) -> &Arc<Semaphore> {
        &self.inner.queue
    }

    /// Changes each time the connection is made, so that what hangs on the server can be made again.
    pub(crate) fn connections(&self) -> watch::Receiver<u64> {
        let mut connections = self.inner.connections.clone();
        connections.mark_unchanged();
        connections
    }
}

fn options(settings: &BusSettings, identity: &Identity, connected: watch::Sender<u64>) -> ConnectOptions {
    let service = identity.service();
    let mut options = ConnectOptions::new()
        .name(format!("halcyon-{service}"))
        .custom_inbox_prefix(service.inbox_prefix())
        .ping_interval(PING_INTERVAL)
        .connection_timeout(Duration::from_secs(5))
        .request_timeout(Some(settings.request_timeout.get()))
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            on_event(service, &event, &connected);
            std::future::ready(())
        });
    let tls = &settings.tls;
    if tls.is_required() {
        options = options.require_tls(true);
    }
    if let Some(file) = &tls.ca_file {
        options = options.add_root_certificates(file.clone());
    }
    if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    if let Some(seed) = identity.seed() {
        options = options.nkey(seed.expose_secret().to_owned());
    } else if let Some((user, password)) = url_credentials(&settings.url) {
        options = options.user_and_password(user, password);
    }
    options
}

fn on_event(service: Service, event: &Event, connected: &watch::Sender<u64>) {
    match event {
        Event::Connected => {
            connected.send_modify(|count| *count += 1);
            tracing::debug!(service = %service, "connected to the bus");
        }
        Event::Disconnected => tracing::warn!(service = %service, "the connection to the bus broke"),
        Event::ServerError(error) => {
            tracing::warn!(service = %service, error = %error, "the bus reports an error");
        }
        Event::SlowConsumer(subscription) => {
            tracing::warn!(service = %service, subscription, "messages were dropped because they were not read in time");
        }
        other => tracing::debug!(service = %service, event = %other, "bus event"),
    }
}

/// User and password of the first server that names them: the client library does not look for them in the URL.
fn url_credentials(url: &str) -> Option<(String, String)> {
    servers(url).iter().find_map(|server| {
        let address: async_nats::ServerAddr = server.parse().ok()?;
        Some((
            address.username()?.to_owned(),
            address.password().unwrap_or_default().to_owned(),
        ))
    })
}

fn servers(url: &str) -> Vec<String> {
    url.split(',')
        .map(|part| part.trim().to_owned())
        .filter(|part| !part.is_empty())
        .collect()
}

/// Between half and all of 50 ms, 100 ms, ... 2 s.
fn reconnect_delay(attempt: usize) -> Duration {
    let full = 50_u64.saturating_mul(1 << attempt.min(6)).min(2_000);
    Duration::from_millis(full / 2 + random_below(full / 2 + 1))
}

/// A number below `limit`, from the random bits of a version 4 UUID.
pub(crate) fn random_below(limit: u64) -> u64 {
    (uuid::Uuid::new_v4().as_u128() as u64) % limit.max(1)
}

fn check_version(client: &Client) -> Result<(), Error> {
    if client.is_server_compatible(2, 11, 0) {
        return Ok(());
    }
    let version = client
        .try_server_info()
        .map(|info| info.version)
        .unwrap_or_default();
    Err(Error::Setup(format!(
        "nats-server {version} is too old: 2.11 or newer is needed, 2.12 or newer is tested"
    )))
}
