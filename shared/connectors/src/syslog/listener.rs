//! The port: whoever may send is read, and messages wait in a window of a fixed size until a worker takes them.

use std::{
    io,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;

use super::{
    config::{Settings, Transport},
    framing::{Decoder, Frame},
    record::Origin,
};
use crate::{Error, Secrets};

/// How many bytes of messages may wait, besides their number. A message counts at least [`LEAST`].
const WINDOW: u32 = 8 << 20;
const LEAST: u32 = 256;
/// How long a sender may take to agree on TLS.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// After how long without a word a sender is asked whether it lives, how often, and how many times in vain.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(10))
    .with_retries(3);
/// How long to wait before the next connection is taken when the last could not be.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is said what was not taken.
const REPORT: Duration = Duration::from_secs(30);

/// A message that waits for a worker.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) frame: Frame,
    pub(super) origin: Origin,
    /// Its part of the window.
    _room: OwnedSemaphorePermit,
}

/// An open port. Dropping it closes the port and all connections.
#[derive(Debug)]
pub(super) struct Listening {
    pub(super) inbox: mpsc::Receiver<Arrived>,
    tasks: JoinSet<()>,
    hub: Arc<Hub>,
}

/// What the port's tasks share.
#[derive(Debug)]
struct Hub {
    settings: Settings,
    window: mpsc::Sender<Arrived>,
    room: Arc<Semaphore>,
    turned_away: TurnedAway,
}

/// What was not taken.
#[derive(Debug, Default)]
struct TurnedAway {
    strangers: AtomicU64,
    too_many: AtomicU64,
    handshakes: AtomicU64,
    badly_framed: AtomicU64,
    dropped: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Listening {
    /// Opens the port. At most `most` messages wait.
    pub(super) async fn open(settings: &Settings, secrets: &Secrets, most: usize) -> Result<Self, Error> {
        let (window, inbox) = mpsc::channel(most.clamp(1, 10_000));
        let hub = Arc::new(Hub {
            settings: settings.clone(),
            window,
            room: Arc::new(Semaphore::new(WINDOW as usize)),
            turned_away: TurnedAway::default(),
        });
        let acceptor = match &settings.tls {
            Some(tls) if settings.transport == Transport::Tls => {
                Some(TlsAcceptor::from(tls.server_config(secrets)?))
            }
            _ => None,
        };
        let mut tasks = JoinSet::new();
        let not_bound = |error: io::Error| not_bound(settings, &error);
        if settings.transport == Transport::Udp {
            let socket = UdpSocket::bind(settings.listen).await.map_err(not_bound)?;
            tasks.spawn(datagrams(Arc::clone(&hub), socket));
        } else {
            let listener = TcpListener::bind(settings.listen).await.map_err(not_bound)?;
            tasks.spawn(connections(Arc::clone(&hub), listener, acceptor));
        }
        tasks.spawn(reports(Arc::clone(&hub)));
        Ok(Self { inbox, tasks, hub })
    }

    /// Closes the port.
    pub(super) async fn close(mut self) {
        self.tasks.shutdown().await;
        self.hub.report(0);
    }
}

/// Why the port is not open. Somebody else's port may become free: the worker that had this datasource before may
/// just be letting go of it.
fn not_bound(settings: &Settings, error: &io::Error) -> Error {
    let at = settings.listen;
    match error.kind() {
        io::ErrorKind::AddrInUse => Error::transient(format!(
            "port {} is in use on this worker: another datasource or program listens there",
            at.port()
        )),
        io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied => Error::Refused {
            message: format!("this worker cannot listen at {at}: {error}"),
        },
        _ => Error::transient(format!("this worker cannot listen at {at}: {error}")),
    }
}

impl Hub {
    /// Puts a message into the window, once there is room. Whether anyone still reads.
    async fn deliver(&self, frame: Frame, origin: Origin) -> bool {
        let size = u32::try_from(frame.bytes.len())
            .unwrap_or(WINDOW)
            .clamp(LEAST, WINDOW);
        let Ok(room) = Arc::clone(&self.room).acquire_many_owned(size).await else {
            return false;
        };
        let arrived = Arrived {
            frame,
            origin,
            _room: room,
        };
        self.window.send(arrived).await.is_ok()
    }

    fn origin(&self, sender: IpAddr) -> Origin {
        Origin {
            sender: sender.to_canonical(),
            transport: self.settings.transport.as_str(),
        }
    }

    /// Says what was not taken, if that is more than `before`. How much it is now.
    fn report(&self, before: u64) -> u64 {
        let away = &self.turned_away;
        if let (Transport::Udp, Some(dropped)) = (
            self.settings.transport,
            dropped_datagrams(self.settings.listen.port()),
        ) {
            away.dropped.fetch_max(dropped, Ordering::Relaxed);
        }
        let [strangers, too_many, handshakes, badly_framed, dropped] = [
            &away.strangers,
            &away.too_many,
            &away.handshakes,
            &away.badly_framed,
            &away.dropped,
        ]
        .map(|counter| counter.load(Ordering::Relaxed));
        let now = strangers + too_many + handshakes + badly_framed + dropped;
        if now > before {
            tracing::warn!(
                syslog.port = self.settings.listen.port(),
                syslog.not_allowed = strangers,
                syslog.too_many_connections = too_many,
                syslog.failed_handshakes = handshakes,
                syslog.badly_framed = badly_framed,
                syslog.dropped_datagrams = dropped,
                "some of what was sent to a syslog port was not taken"
            );
        }
        now
    }
}

async fn reports(hub: Arc<Hub>) {
    let mut told = 0;
    loop {
        sleep(REPORT).await;
        told = hub.report(told);
    }
}

async fn datagrams(hub: Arc<Hub>, socket: UdpSocket) {
    let most = hub.settings.max_message;
    let mut buffer = vec![0; most + 1];
    loop {
        let Ok((length, sender)) = socket.recv_from(&mut buffer).await else {
            sleep(PAUSE).await;
            continue;
        };
        if !hub.settings.allows(sender.ip()) {
            count(&hub.turned_away.strangers);
            continue;
        }
        let mut bytes = buffer[..length.min(most)].to_vec();
        while matches!(bytes.last(), Some(b'\n' | b'\r' | 0)) {
            bytes.pop();
        }
        let truncated = length > most;
        // While this waits the kernel keeps what comes, as much as it has room for.
        if !bytes.is_empty()
            && !hub
                .deliver(Frame { bytes, truncated }, hub.origin(sender.ip()))
                .await
        {
            return;
        }
    }
}

async fn connections(hub: Arc<Hub>, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
    let places = Arc::new(Semaphore::new(hub.settings.max_connections));
    let mut senders = JoinSet::new();
    loop {
        let Ok((stream, sender)) = listener.accept().await else {
            sleep(PAUSE).await;
            continue;
        };
        while senders.try_join_next().is_some() {}
        if !hub.settings.allows(sender.ip()) {
            count(&hub.turned_away.strangers);
            continue;
        }
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            count(&hub.turned_away.too_many);
            continue;
        };
        let (hub, acceptor) = (Arc::clone(&hub), acceptor.clone());
        senders.spawn(async move {
            converse(&hub, stream, sender.ip(), acceptor).await;
            drop(place);
        });
    }
}

async fn converse(hub: &Hub, stream: TcpStream, sender: IpAddr, acceptor: Option<TlsAcceptor>) {
    // One that died without a word would keep its place until `idle` has passed.
    let _ = SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE);
    let Some(acceptor) = acceptor else {
        return read(hub, stream, sender).await;
    };
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => read(hub, stream, sender).await,
        _ => count(&hub.turned_away.handshakes),
    }
}

/// Reads a sender to its end. While the window is full nothing is read, so the sender has to wait.
async fn read(hub: &Hub, mut stream: impl AsyncRead + Unpin, sender: IpAddr) {
    let origin = hub.origin(sender);
    let mut decoder = Decoder::new(hub.settings.framing, hub.settings.max_message);
    let mut buffer = vec![0; 16 << 10];
    let mut frames = Vec::new();
    loop {
        let outcome = timeout(hub.settings.idle, stream.read(&mut buffer)).await;
        let (more, framed) = match outcome {
            Ok(Ok(length)) if length > 0 => {
                let framed = decoder.take(&buffer[..length], &mut frames);
                (framed.is_ok(), framed)
            }
            Ok(Ok(_)) => {
                decoder.finish(&mut frames);
                (false, Ok(()))
            }
            // Many end TLS without saying so.
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                decoder.finish(&mut frames);
                (false, Ok(()))
            }
            Ok(Err(_)) | Err(_) => (false, Ok(())),
        };
        if framed.is_err() {
            count(&hub.turned_away.badly_framed);
        }
        for frame in frames.drain(..) {
            if !hub.deliver(frame, origin).await {
                return;
            }
        }
        if !more {
            return;
        }
    }
}

/// How many datagrams the kernel had no room for; of all sockets at this port, which is ours alone.
fn dropped_datagrams(port: u16) -> Option<u64> {
    let mut found = None;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        for line in std::fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let mut columns = line.split_whitespace();
            let local = columns.nth(1).and_then(|local| local.rsplit_once(':'));
            if local.is_some_and(|(_, hex)| u16::from_str_radix(hex, 16) == Ok(port)) {
                let dropped = columns.last().and_then(|last| last.parse::<u64>().ok());
                found = Some(found.unwrap_or(0) + dropped.unwrap_or(0));
            }
        }
    }
    found
}
