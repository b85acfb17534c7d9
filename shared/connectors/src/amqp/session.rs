//! What is said to a broker: logging in, looking at the queue, reading it. And what its refusals mean.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use halcyon_egress::Guard;
use lapin::{
    Channel, ConnectionProperties, Consumer, ErrorKind,
    options::{BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
    uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism},
};
use tokio::{net::TcpStream, task::JoinSet, time};

use super::{
    config::{Connection, Mechanism},
    stream::{Bytes, shake_hands},
};
use crate::{Error, Secrets, tls::not_agreed};

/// How long the broker may take for anything but a message.
const PATIENCE: Duration = Duration::from_secs(15);
/// How often the broker is asked how many messages wait.
const LOOK: Duration = Duration::from_secs(2);

/// A reader of the queue.
pub(crate) struct Session {
    pub(crate) connection: lapin::Connection,
    pub(crate) channel: Channel,
    pub(crate) consumer: Consumer,
    /// How many messages wait at the broker for a reader.
    pub(crate) waiting: Arc<AtomicU32>,
    /// The last message that was acknowledged.
    pub(crate) acknowledged: u64,
    /// Ends with the session.
    _watch: JoinSet<()>,
}

impl Session {
    /// The name that the broker gave to this reader; no other reader has it.
    pub(crate) fn name(&self) -> ShortString {
        self.consumer.tag()
    }
}

/// Connects, and begins to read.
pub(crate) async fn open(config: &Connection, secrets: &Secrets, guard: &Guard) -> Result<Session, Error> {
    let connection = connect(config, secrets, guard).await?;
    in_time(begin(config, connection)).await
}

/// Connects and logs in.
pub(crate) async fn connect(
    config: &Connection,
    secrets: &Secrets,
    guard: &Guard,
) -> Result<lapin::Connection, Error> {
    let connected = async {
        let stream = guard.connect(&config.host, config.port()).await?;
        let stream = encrypt(config, stream, secrets).await?;
        log_in(config, stream, secrets).await
    };
    in_time(connected).await
}

async fn in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let outcome = time::timeout(PATIENCE, work).await;
    outcome.unwrap_or_else(|_| Err(Error::transient("the broker did not answer in time")))
}

/// The connection, encrypted if that is asked for.
pub(crate) async fn encrypt(
    config: &Connection,
    stream: TcpStream,
    secrets: &Secrets,
) -> Result<Box<dyn Bytes>, Error> {
    // Acknowledgements are small and many.
    let _ = stream.set_nodelay(true);
    Ok(match config.tls() {
        Some(tls) => Box::new(tls.wrap(stream, &config.host, secrets).await?),
        None => Box::new(stream),
    })
}

/// Shakes hands with the broker.
pub(crate) async fn log_in(
    config: &Connection,
    stream: Box<dyn Bytes>,
    secrets: &Secrets,
) -> Result<lapin::Connection, Error> {
    let properties = ConnectionProperties::default().with_connection_name("halcyon".into());
    let uri = uri(config, secrets)?;
    shake_hands(stream, uri, properties)
        .await
        .map_err(|error| match code(&error) {
            Some(403) => Error::Refused {
                message: "the broker refuses the user or the password".to_owned(),
            },
            Some(530) => Error::Refused {
                message: format!(
                    "there is no virtual host `{}`, or the user may not use it",
                    config.virtual_host
                ),
            },
            Some(503) => Error::Refused {
                message: "the broker does not take this way of authentication".to_owned(),
            },
            _ => of_broker(&error, config),
        })
}

fn uri(config: &Connection, secrets: &Secrets) -> Result<AMQPUri, Error> {
    let (mut userinfo, mut mechanism) = (AMQPUserInfo::default(), SASLMechanism::Plain);
    if let Some(auth) = &config.auth {
        if auth.mechanism == Mechanism::External {
            mechanism = SASLMechanism::External;
        }
        if let (Some(username), Some(password)) = (&auth.username, &auth.password) {
            userinfo = AMQPUserInfo {
                username: username.clone(),
                password: password.text(secrets)?,
            };
        }
    }
    Ok(AMQPUri {
        // Only for the library's eyes: the connection is there already.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo,
            host: config.host.clone(),
            port: config.port(),
        },
        vhost: config.virtual_host.clone(),
        query: AMQPQueryString {
            heartbeat: Some(config.heartbeat),
            auth_mechanism: Some(mechanism),
            ..AMQPQueryString::default()
        },
    })
}

/// How many messages wait in the queue.
pub(crate) async fn look(channel: &Channel, config: &Connection) -> Result<u32, Error> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(short(&config.queue)?, passive, FieldTable::default())
        .await
        .map_err(|error| of_broker(&error, config))?;
    Ok(queue.message_count())
}

/// Whether the queue may be read, without reading it: a reader is asked for that no broker can give, and the broker
/// says first whether there could be one.
pub(crate) async fn may_read(channel: &Channel, config: &Connection) -> Result<(), Error> {
    let mut impossible = FieldTable::default();
    impossible.insert("x-priority".into(), AMQPValue::LongString("none".into()));
    let options = BasicConsumeOptions::default();
    let asked = channel.basic_consume(short(&config.queue)?, "".into(), options, impossible);
    match asked.await {
        Err(error) if code(&error) == Some(406) => Ok(()),
        Err(error) => Err(of_broker(&error, config)),
        // A broker that does not mind. What it may have handed out, it takes back.
        Ok(_) => Ok(()),
    }
}

async fn begin(config: &Connection, connection: lapin::Connection) -> Result<Session, Error> {
    let broken = |error: lapin::Error| of_broker(&error, config);
    let channel = connection.create_channel().await.map_err(broken)?;
    if let Some(bind) = &config.bind {
        for key in &bind.routing_keys {
            let (queue, exchange, key) = (short(&config.queue)?, short(&bind.exchange)?, short(key)?);
            let bound = channel.queue_bind(
                queue,
                exchange,
                key,
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.map_err(broken)?;
        }
    }
    let qos = channel.basic_qos(config.prefetch, BasicQosOptions::default());
    qos.await.map_err(broken)?;
    let looker = connection.create_channel().await.map_err(broken)?;
    let waiting = Arc::new(AtomicU32::new(look(&looker, config).await?));
    let consumer = channel
        .basic_consume(
            short(&config.queue)?,
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .map_err(broken)?;
    let mut watch = JoinSet::new();
    watch.spawn(keep_looking(looker, config.clone(), Arc::clone(&waiting)));
    Ok(Session {
        connection,
        channel,
        consumer,
        waiting,
        acknowledged: 0,
        _watch: watch,
    })
}

/// Keeps the number of waiting messages fresh, on a channel of its own: one that fails takes no reader with it.
async fn keep_looking(channel: Channel, config: Connection, waiting: Arc<AtomicU32>) {
    loop {
        time::sleep(LOOK).await;
        match look(&channel, &config).await {
            Ok(count) => waiting.store(count, Ordering::Relaxed),
            Err(_) => return,
        }
    }
}

pub(crate) fn short(text: &str) -> Result<ShortString, Error> {
    ShortString::try_new(text).map_err(|error| Error::System(error.to_string()))
}

/// The protocol's number of an error that the broker told.
fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(told) => Some(told.get_id()),
        _ => None,
    }
}

/// What an error of the broker means to us.
pub(crate) fn of_broker(error: &lapin::Error, config: &Connection) -> Error {
    let queue = &config.queue;
    // With TLS 1.3 a server looks at our certificate when we think that TLS is agreed on.
    if let ErrorKind::IOError(io) = error.kind()
        && io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>())
    {
        return not_agreed(io);
    }
    let ErrorKind::ProtocolError(told) = error.kind() else {
        return Error::transient(match error.kind() {
            ErrorKind::MissingHeartbeatError => "the broker fell silent".to_owned(),
            _ => "the connection to the broker broke".to_owned(),
        });
    };
    let refused = |message: String| Error::Refused { message };
    match told.get_id() {
        403 => refused(format!(
            "the user may not read `{queue}`, or bind it, or another reader has it for itself"
        )),
        // A cluster's node that has the queue may be away for a while.
        404 if told.get_message().as_str().contains("down or inaccessible") => {
            Error::transient(format!("the broker's node that has `{queue}` is away"))
        }
        404 => refused(match &config.bind {
            Some(bind) => format!(
                "there is no queue `{queue}`, or no exchange `{}`, in virtual host `{}`",
                bind.exchange, config.virtual_host
            ),
            None => format!(
                "there is no queue `{queue}` in virtual host `{}`",
                config.virtual_host
            ),
        }),
        405 => refused(format!("`{queue}` belongs to another connection alone")),
        530 | 540 => refused("the broker does not allow what reading needs".to_owned()),
        code => Error::transient(format!("the broker ended the connection with error {code}")),
    }
}
