//! The way of `librdkafka` to brokers. The library connects to ports of this process on loopback, one for each
//! broker; what it sends goes on over a connection that was made like any other of a connector: to an address that
//! the guard has judged, over TLS, with proof of who we are. Where an answer names brokers, it is rewritten to name
//! ports of the relay, so a broker cannot send the library elsewhere.
//!
//! Other processes of this machine gain nothing by the ports: every request must carry a word that only the library
//! was told.

mod rewrite;

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures::future::BoxFuture;
use tokio::{
    io::{
        AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, ReadHalf, WriteHalf,
        split,
    },
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use self::rewrite::concerns;
pub(in crate::kafka) use self::rewrite::{named, renamed};
use super::{
    dial::{Dialer, Stream, silent, uuid},
    wire::{Malformed, Reader, Writer, framed},
};
use crate::{Error, endpoint::Endpoint};

/// What brokers see as the client's name.
pub(super) const CLIENT: &str = "halcyon";
/// The most brokers of a cluster.
const BROKERS: usize = 1_024;
/// The largest answer that is rewritten, and the largest message at all.
const REWRITTEN: usize = 64 << 20;
const MESSAGE: usize = 1 << 30;
/// How much is read at a time.
const BUFFER: usize = 64 << 10;

/// A relay to the brokers of one cluster. Ends when it is dropped.
pub(super) struct Relay {
    state: Arc<State>,
    /// What the library is to put into its requests.
    pub(super) word: String,
}

struct State {
    dialer: Dialer,
    word: String,
    /// The port for each broker.
    ports: Mutex<HashMap<Endpoint, Endpoint>>,
    tasks: Mutex<JoinSet<()>>,
    fault: Mutex<Option<Error>>,
    runtime: tokio::runtime::Handle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        lock(&self.state.tasks).abort_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Relay {
    /// A relay over a way to connect to brokers. To be called on a runtime.
    pub(super) fn new(dialer: Dialer) -> Self {
        let word = uuid();
        let state = State {
            dialer,
            word: word.clone(),
            ports: Mutex::default(),
            tasks: Mutex::default(),
            fault: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
        };
        Self {
            state: Arc::new(state),
            word,
        }
    }

    /// Where the library finds a broker.
    pub(super) async fn place(&self, broker: &Endpoint) -> io::Result<Endpoint> {
        State::place(&self.state, broker).await
    }

    /// Why brokers could not be reached, the last time one could not; asked once.
    pub(super) fn fault(&self) -> Option<Error> {
        lock(&self.state.fault).take()
    }

    /// The last reason for which asking the user is the only way on.
    pub(super) fn refusal(&self) -> Option<Error> {
        let mut fault = lock(&self.state.fault);
        if fault.as_ref().is_some_and(|error| !error.is_transient()) {
            fault.take()
        } else {
            None
        }
    }
}

impl State {
    async fn place(self: &Arc<Self>, broker: &Endpoint) -> io::Result<Endpoint> {
        if let Some(place) = lock(&self.ports).get(broker) {
            return Ok(place.clone());
        }
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let place = Endpoint {
            host: "127.0.0.1".to_owned(),
            port: listener.local_addr()?.port(),
        };
        let mut ports = lock(&self.ports);
        if ports.len() >= BROKERS {
            return Err(io::Error::other("the cluster has too many brokers"));
        }
        // Someone else may have been quicker; then this listener is closed again.
        if let Some(place) = ports.get(broker) {
            return Ok(place.clone());
        }
        ports.insert(broker.clone(), place.clone());
        drop(ports);
        let serving = serve(Arc::downgrade(self), listener, broker.clone());
        lock(&self.tasks).spawn_on(serving, &self.runtime);
        Ok(place)
    }

    fn report(&self, error: Error) {
        let mut fault = lock(&self.fault);
        // What asks for the user is not covered by what passes.
        if fault.as_ref().is_none_or(Error::is_transient) {
            *fault = Some(error);
        }
    }
}

/// Takes the library's connections to one broker. Holds the relay weakly: connections end with it. Boxed, because
/// what serves a broker finds places for others.
fn serve(state: std::sync::Weak<State>, listener: TcpListener, broker: Endpoint) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        let mut connections = JoinSet::new();
        while let Ok((local, _)) = listener.accept().await {
            let Some(state) = state.upgrade() else {
                return;
            };
            while connections.try_join_next().is_some() {}
            connections.spawn(connect(state, local, broker.clone()));
        }
    })
}

async fn connect(state: Arc<State>, local: TcpStream, broker: Endpoint) {
    let _ = local.set_nodelay(true);
    match state.dialer.dial(&broker).await {
        Ok(remote) => {
            let answered = carry(&state, local, remote).await;
            if !answered {
                state.report(silent(&broker));
            }
        }
        Err((_, error)) => state.report(error),
    }
}

/// Requests whose answers are rewritten, by correlation id.
type Asked = Mutex<HashMap<i32, (i16, i16)>>;

/// Carries messages both ways until either side ends. Whether the broker has answered at all.
async fn carry(state: &Arc<State>, local: TcpStream, remote: Box<dyn Stream>) -> bool {
    let (local_in, local_out) = split(local);
    let (remote_in, remote_out) = split(remote);
    let asked = Asked::default();
    let mut answered = false;
    tokio::select! {
        _ = requests(&state.word, local_in, remote_out, &asked) => true,
        _ = answers(state, remote_in, local_out, &asked, &mut answered) => answered,
    }
}

/// From the library to the broker.
async fn requests<R, W>(word: &str, from: ReadHalf<R>, mut to: WriteHalf<W>, asked: &Asked) -> io::Result<()>
where
    R: AsyncRead + AsyncWrite,
    W: AsyncRead + AsyncWrite,
{
    let mut from = BufReader::with_capacity(BUFFER, from);
    loop {
        let length = usize::try_from(from.read_i32().await?).unwrap_or(usize::MAX);
        // Key, version, correlation id, and the client's name, which is the word.
        let mut head = vec![0; 10 + word.len()];
        if length < head.len() || length > MESSAGE {
            return Err(io::Error::other(Malformed));
        }
        from.read_exact(&mut head).await?;
        let (key, version, correlation, name) = opening(&head).map_err(io::Error::other)?;
        if name != Some(word) {
            return Err(io::Error::other("a request of someone else"));
        }
        if concerns(key) {
            lock(asked).insert(correlation, (key, version));
        }
        let rest = length - head.len();
        let mut changed = Writer::default();
        changed.bytes(&head[..8]);
        changed.string(Some(CLIENT), false);
        let length = i32::try_from(changed.0.len() + rest).map_err(io::Error::other)?;
        to.write_i32(length).await?;
        to.write_all(&changed.0).await?;
        copy(&mut from, &mut to, rest).await?;
        to.flush().await?;
    }
}

/// The head of a request: key, version, correlation id and the client's name.
fn opening(head: &[u8]) -> Result<(i16, i16, i32, Option<&str>), Malformed> {
    let mut reader = Reader(head);
    Ok((reader.i16()?, reader.i16()?, reader.i32()?, reader.string(false)?))
}

/// From the broker to the library.
async fn answers<R, W>(
    state: &Arc<State>,
    from: ReadHalf<R>,
    mut to: WriteHalf<W>,
    asked: &Asked,
    answered: &mut bool,
) -> io::Result<()>
where
    R: AsyncRead + AsyncWrite,
    W: AsyncRead + AsyncWrite,
{
    let mut from = BufReader::with_capacity(BUFFER, from);
    loop {
        let length = usize::try_from(from.read_i32().await?).unwrap_or(usize::MAX);
        if !(4..=MESSAGE).contains(&length) {
            return Err(io::Error::other(Malformed));
        }
        *answered = true;
        let correlation = from.read_i32().await?;
        let request = lock(asked).remove(&correlation);
        let Some((key, version)) = request else {
            let mut head = Writer::default();
            head.i32(i32::try_from(length).map_err(io::Error::other)?);
            head.i32(correlation);
            to.write_all(&head.0).await?;
            copy(&mut from, &mut to, length - 4).await?;
            continue;
        };
        if length > REWRITTEN {
            return Err(io::Error::other(Malformed));
        }
        let mut answer = vec![0; length - 4];
        from.read_exact(&mut answer).await?;
        let mut places = HashMap::new();
        for broker in named(key, version, &answer).map_err(io::Error::other)? {
            let place = state.place(&broker).await?;
            places.insert(broker, place);
        }
        let written = renamed(key, version, &answer, &places).map_err(io::Error::other)?;
        let mut message = Writer::default();
        message.i32(correlation);
        message.bytes(&written);
        to.write_all(&framed(&message.0)).await?;
    }
}

async fn copy<R: AsyncBufRead + Unpin, W: AsyncWrite + Unpin>(
    from: &mut R,
    to: &mut W,
    length: usize,
) -> io::Result<()> {
    let copied = tokio::io::copy_buf(&mut from.take(length as u64), to).await?;
    if copied == length as u64 {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
