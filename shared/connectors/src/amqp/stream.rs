//! The broker's library over a connection that was made, and encrypted, by us: it never opens one itself.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

use async_rs::{Runtime, Tokio, traits::Reactor, util::RuntimeParts};
use futures::{AsyncRead as FuturesRead, AsyncWrite as FuturesWrite, Stream};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, uri::AMQPUri};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

/// Bytes to and from a broker, encrypted or not.
pub(crate) trait Bytes: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Bytes for T {}

/// Shakes hands over `stream`.
pub(crate) async fn shake_hands(
    stream: Box<dyn Bytes>,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let tokio = Tokio::current();
    let runtime = Runtime::new(RuntimeParts::new(tokio.clone(), NoDialling(tokio)));
    let once = Mutex::new(Some(stream));
    let take = async move |_: AMQPUri, _: Runtime<Parts>| {
        let stream = once.lock().ok().and_then(|mut stream| stream.take());
        let stream = stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        Ok(AsyncTcpStream::Plain(stream.compat()))
    };
    Connection::connector(uri, runtime, take, properties).await
}

type Parts = RuntimeParts<Tokio, NoDialling>;

/// Tokio's timers, and no way to connect.
#[derive(Clone, Debug)]
struct NoDialling(Tokio);

impl Reactor for NoDialling {
    type TcpStream = Compat<Box<dyn Bytes>>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl FuturesRead + FuturesWrite + Send + Unpin + 'static> {
        Err::<Self::TcpStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        std::future::ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
