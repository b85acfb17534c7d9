//! TLS for PostgreSQL's library, as for everything else here.

use std::{
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::Poll,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};

use super::postgres_frames::Framed;
use crate::{Error, Secrets, tls::Tls};

/// TLS, as the library asks for it.
pub(super) struct Encrypt {
    pub(super) tls: Tls,
    pub(super) host: String,
    pub(super) secrets: Secrets,
    /// Set when the server's messages become too long.
    pub(super) too_long: Arc<AtomicBool>,
}

impl TlsConnect<TcpStream> for Encrypt {
    type Stream = Encrypted;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Encrypted, Error>> + Send>>;

    fn connect(self, stream: TcpStream) -> Self::Future {
        Box::pin(async move {
            let wrapped = self.tls.wrap(stream, &self.host, &self.secrets).await?;
            Ok(Encrypted(Framed::new(wrapped, self.too_long)))
        })
    }
}

/// An encrypted stream, as the library takes it.
pub(super) struct Encrypted(Framed<tokio_rustls::client::TlsStream<TcpStream>>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
