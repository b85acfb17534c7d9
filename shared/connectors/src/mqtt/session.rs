//! What is said to a broker: logging in, subscribing, and the two tasks that keep a session going. And what its
//! refusals mean.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use halcyon_egress::Guard;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, interval_at, timeout},
};

use super::{
    config::{Connection, Version},
    packet::{self, Connect, Malformed, Message, Packet},
};
use crate::{Error, Secrets, tls::not_agreed};

/// How long the broker may take to let us in.
const PATIENCE: Duration = Duration::from_secs(15);
/// How much may have come and be in no batch yet, in KiB. A single message may be larger.
const ROOM: u32 = 32 * 1024;

/// Bytes to and from a broker, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// As whom a session is opened.
#[derive(Clone, Debug)]
pub(crate) struct Who {
    pub(crate) client_id: String,
    /// Whether the session ends with its connection.
    pub(crate) clean: bool,
}

/// Something that came.
pub(crate) enum Event {
    /// A message, and its place in memory, which is free when this is dropped.
    Message(Message, OwnedSemaphorePermit),
    /// What became of the subscriptions.
    Subscribed(Vec<u8>),
}

/// What is to be written, and whom to tell when it is.
struct Outgoing {
    packet: Bytes,
    written: Option<oneshot::Sender<()>>,
}

/// A connection that reads. Ends when it is dropped; what was not acknowledged then comes again.
pub(crate) struct Session {
    pub(crate) events: mpsc::Receiver<Result<Event, Error>>,
    outgoing: mpsc::Sender<Outgoing>,
    tasks: JoinSet<()>,
}

impl Session {
    /// Writes a packet, and waits until the system has it: what ends with us then reaches the broker all the same.
    pub(crate) async fn write(&self, packet: Bytes) -> Result<(), Error> {
        let (sender, written) = oneshot::channel();
        let outgoing = Outgoing {
            packet,
            written: Some(sender),
        };
        let done = async { self.outgoing.send(outgoing).await.is_ok() && written.await.is_ok() };
        match timeout(PATIENCE, done).await {
            Ok(true) => Ok(()),
            _ => Err(Error::transient("the connection to the broker broke")),
        }
    }

    /// Says goodbye, and waits until that is said.
    pub(crate) async fn close(mut self) {
        self.events.close();
        if self.write(packet::GOODBYE).await.is_ok() {
            self.tasks.join_next().await;
        }
    }
}

/// A connection, and what was read of the next packet.
pub(crate) struct Wire<S> {
    stream: S,
    buffer: BytesMut,
    version: Version,
    keep_alive: u16,
    /// We are let in: there may be messages.
    is_in: bool,
    /// How much of a message is still to come that is not taken in.
    rest: usize,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// The next packet. A dropped call loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Packet, Error> {
        loop {
            let passing = self.rest > 0;
            if let Some(packet) = self.read().map_err(of_malformed)? {
                return Ok(packet);
            }
            if passing {
                // The broker is not silent while it sends what is passed over.
                self.more().await?;
                return Ok(Packet::Other);
            }
            self.more().await?;
        }
    }

    /// A packet of those bytes that came.
    fn read(&mut self) -> Result<Option<Packet>, Malformed> {
        let passed = self.rest.min(self.buffer.len());
        self.buffer.advance(passed);
        self.rest -= passed;
        if self.rest > 0 {
            return Ok(None);
        }
        let packet = match packet::read(&mut self.buffer, self.version) {
            Err(Malformed::TooLarge(_)) if self.is_in => {
                packet::pass_over(&mut self.buffer)?.map(Packet::PassedOver)
            }
            read => read?,
        };
        if let Some(Packet::PassedOver(passed)) = &packet {
            self.rest = passed.rest;
        }
        Ok(packet)
    }

    async fn more(&mut self) -> Result<(), Error> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(1..) => Ok(()),
            // With TLS 1.3 a server looks at our certificate when we think that TLS is agreed on.
            Err(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => {
                Err(not_agreed(&error))
            }
            _ => Err(Error::transient("the connection to the broker broke")),
        }
    }
}

/// A broker that speaks something else will do so again.
fn of_malformed(error: Malformed) -> Error {
    Error::Refused {
        message: error.to_string(),
    }
}

/// Connects, logs in, and asks for the topics; takes those back that are asked for no more.
pub(crate) async fn open(
    config: &Connection,
    who: &Who,
    no_more: &[String],
    secrets: &Secrets,
    guard: &Guard,
) -> Result<Session, Error> {
    let opened = async {
        let stream = guard.connect(&config.host, config.port()).await?;
        let stream = encrypt(config, stream, secrets).await?;
        let mut wire = log_in(config, stream, who, secrets).await?;
        if !no_more.is_empty() {
            say(&mut wire.stream, &packet::unsubscribe(no_more, config.version)).await?;
        }
        subscribe(config, &mut wire).await?;
        Ok(run(config, wire))
    };
    let outcome = timeout(PATIENCE, opened).await;
    outcome.unwrap_or_else(|_| Err(Error::transient("the broker did not answer in time")))
}

/// The connection, encrypted if that is asked for.
pub(crate) async fn encrypt(
    config: &Connection,
    stream: TcpStream,
    secrets: &Secrets,
) -> Result<Box<dyn Stream>, Error> {
    // Acknowledgements are small and many.
    let _ = stream.set_nodelay(true);
    Ok(match config.tls() {
        Some(tls) => Box::new(tls.wrap(stream, &config.host, secrets).await?),
        None => Box::new(stream),
    })
}

/// Connects to the session of `who`.
pub(crate) async fn log_in(
    config: &Connection,
    mut stream: Box<dyn Stream>,
    who: &Who,
    secrets: &Secrets,
) -> Result<Wire<Box<dyn Stream>>, Error> {
    let auth = config.auth.as_ref();
    let password = auth.and_then(|auth| auth.password.as_ref());
    let password = password.map(|secret| secret.text(secrets)).transpose()?;
    let connect = Connect {
        version: config.version,
        client_id: &who.client_id,
        clean: who.clean,
        keep_alive: config.keep_alive,
        session_expiry: config.session_expiry,
        in_flight: config.in_flight,
        username: auth.map(|auth| auth.username.as_str()),
        password: password.as_deref(),
    };
    // A server that turns us away may not even listen; what it says tells more.
    let _ = say(&mut stream, &connect.write()).await;
    let mut wire = Wire {
        stream,
        buffer: BytesMut::new(),
        version: config.version,
        keep_alive: config.keep_alive,
        is_in: false,
        rest: 0,
    };
    match wire.next().await? {
        Packet::Connected { code: 0, keep_alive } => {
            wire.is_in = true;
            wire.keep_alive = keep_alive.filter(|asked| *asked > 0).unwrap_or(config.keep_alive);
            Ok(wire)
        }
        Packet::Connected { code, .. } | Packet::Disconnected { code } => Err(of_code(code)),
        _ => Err(of_malformed(Malformed::Packet)),
    }
}

/// Asks for the topics. The answer is among what comes.
pub(crate) async fn subscribe<S: AsyncWrite + Unpin>(
    config: &Connection,
    wire: &mut Wire<S>,
) -> Result<(), Error> {
    let asked = packet::subscribe(&config.filters(), config.qos, config.retained, config.version);
    say(&mut wire.stream, &asked).await
}

async fn say(stream: &mut (impl AsyncWrite + Unpin), packet: &[u8]) -> Result<(), Error> {
    let said = async {
        stream.write_all(packet).await?;
        stream.flush().await
    };
    let broken = |_| Error::transient("the connection to the broker broke");
    said.await.map_err(broken)
}

/// Whether all subscriptions were granted.
pub(crate) fn granted(config: &Connection, codes: &[u8]) -> Result<(), Error> {
    let filters = config.filters();
    let refused = filters.iter().zip(codes).filter(|(_, code)| **code >= 128);
    let refused: Vec<&str> = refused.map(|(filter, _)| filter.as_str()).collect();
    if refused.is_empty() && codes.len() == filters.len() {
        return Ok(());
    }
    Err(Error::Refused {
        message: format!(
            "the broker does not let us subscribe to `{}`",
            refused.join("`, `")
        ),
    })
}

fn run(config: &Connection, wire: Wire<Box<dyn Stream>>) -> Session {
    let alive = Duration::from_secs(u64::from(wire.keep_alive));
    let (read, write) = split(wire.stream);
    let wire = Wire {
        stream: read,
        buffer: wire.buffer,
        version: wire.version,
        keep_alive: wire.keep_alive,
        is_in: wire.is_in,
        rest: wire.rest,
    };
    let (sender, events) = mpsc::channel(usize::from(config.in_flight));
    let (outgoing, packets) = mpsc::channel(64);
    let mut tasks = JoinSet::new();
    tasks.spawn(talk(write, packets, alive / 2));
    let listener = Listener {
        wire,
        events: sender,
        outgoing: outgoing.clone(),
        room: Arc::new(Semaphore::new(ROOM as usize)),
        silence: alive + alive / 2,
        retained: config.retained,
        passed_over: 0,
    };
    tasks.spawn(listener.run());
    Session {
        events,
        outgoing,
        tasks,
    }
}

/// Writes what there is to write, and pings. The other task notices when nothing can be written any more.
async fn talk(
    mut stream: WriteHalf<Box<dyn Stream>>,
    mut packets: mpsc::Receiver<Outgoing>,
    every: Duration,
) {
    let mut ping = interval_at(Instant::now() + every, every);
    let unasked = |packet| Outgoing {
        packet,
        written: None,
    };
    loop {
        let Outgoing { packet, written } = tokio::select! {
            next = packets.recv() => next.unwrap_or_else(|| unasked(packet::GOODBYE)),
            _ = ping.tick() => unasked(packet::PING),
        };
        if say(&mut stream, &packet).await.is_err() {
            return;
        }
        if let Some(written) = written {
            let _ = written.send(());
        }
        if packet == packet::GOODBYE {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

/// Reads what comes, as long as there is room for it.
struct Listener {
    wire: Wire<ReadHalf<Box<dyn Stream>>>,
    events: mpsc::Sender<Result<Event, Error>>,
    outgoing: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    /// How long a broker that is alive can be silent.
    silence: Duration,
    retained: bool,
    /// How many messages were not taken in.
    passed_over: u64,
}

impl Listener {
    async fn run(mut self) {
        loop {
            let next = timeout(self.silence, self.wire.next()).await;
            let packet = next.unwrap_or_else(|_| Err(Error::transient("the broker fell silent")));
            let event = match packet {
                Ok(packet) => self.take(packet).await,
                Err(error) => Err(error),
            };
            let ends = event.is_err();
            if let Some(event) = event.transpose()
                && self.events.send(event).await.is_err()
            {
                return;
            }
            if ends {
                return;
            }
        }
    }

    async fn answer(&mut self, packet: Bytes) {
        let written = None;
        // If nobody writes any more, nothing comes any more either.
        let _ = self.outgoing.send(Outgoing { packet, written }).await;
    }

    async fn acknowledge(&mut self, qos: u8, id: u16) {
        let mut packet = BytesMut::new();
        packet::acknowledge(&mut packet, qos, id);
        if !packet.is_empty() {
            self.answer(packet.freeze()).await;
        }
    }

    async fn take(&mut self, packet: Packet) -> Result<Option<Event>, Error> {
        match packet {
            Packet::Message(message) if message.retained && !self.retained => {
                self.acknowledge(message.qos, message.id).await;
                Ok(None)
            }
            Packet::PassedOver(message) => {
                self.passed_over += 1;
                tracing::warn!(
                    mqtt.topic = message.topic,
                    mqtt.bytes = message.size,
                    mqtt.passed_over = self.passed_over,
                    "a message has too many bytes or properties and was not taken in"
                );
                // It would come again for ever, and nothing else with it.
                self.acknowledge(message.qos, message.id).await;
                Ok(None)
            }
            Packet::Message(message) => {
                let size = u32::try_from(message.size() / 1024 + 1).unwrap_or(ROOM);
                let room = Arc::clone(&self.room).acquire_many_owned(size.min(ROOM)).await;
                let room = room.map_err(|_| Error::System("there is no room any more".to_owned()))?;
                Ok(Some(Event::Message(message, room)))
            }
            Packet::Release(id) => {
                self.answer(packet::complete(id)).await;
                Ok(None)
            }
            Packet::Subscribed(codes) => Ok(Some(Event::Subscribed(codes))),
            Packet::Disconnected { code } => Err(of_code(code)),
            Packet::Other => Ok(None),
            Packet::Connected { .. } => Err(of_malformed(Malformed::Packet)),
        }
    }
}

/// What a broker's reason means to us (MQTT 5, 2.4; MQTT 3.1.1, 3.2.2.3).
pub(crate) fn of_code(code: u8) -> Error {
    let message = match code {
        1 | 0x84 => "the broker does not speak this version of MQTT",
        2 | 0x85 => "the broker does not accept the client id",
        4 | 5 | 0x86 | 0x87 | 0x8c => "the broker refuses the user, the password or the client id",
        0x8a => "the broker has banned the client",
        0x8f | 0x90 | 0x9e | 0xa1 | 0xa2 => "the broker does not offer what the subscription needs",
        0x9c | 0x9d => "the broker sends us to another server",
        0x8e => return Error::transient("another client with the same client id took the session over"),
        3 | 0x88 | 0x89 => return Error::transient("the broker is not available"),
        code => return Error::transient(format!("the broker ended the connection with reason {code:#04x}")),
    };
    Error::Refused {
        message: message.to_owned(),
    }
}
