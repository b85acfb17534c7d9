//! Connections to Redis through the guard, and what its errors mean.

use std::time::Duration;

use halcyon_egress::Guard;
use redis::{
    AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind,
    aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::JoinHandle,
};

use super::config::Connection;
use crate::{Error, Secrets};

/// How long the server may take to answer; longer than any read waits there.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection and the task that drives it.
pub(super) struct Client {
    /// Clones share the connection.
    pub(super) connection: MultiplexedConnection,
    driver: JoinHandle<()>,
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Client {
    /// Connects, with TLS and credentials as the connection says.
    pub(super) async fn connect(
        connection: &Connection,
        secrets: &Secrets,
        guard: &Guard,
    ) -> Result<Self, Error> {
        let connect = async {
            let stream = guard.connect(&connection.host, connection.port).await?;
            Self::over(connection, secrets, stream).await
        };
        tokio::time::timeout(CONNECT, connect)
            .await
            .map_err(|_| Error::transient(format!("`{}` did not answer in time", connection.host)))?
    }

    /// The same over a connection that was made.
    pub(super) async fn over(
        connection: &Connection,
        secrets: &Secrets,
        stream: TcpStream,
    ) -> Result<Self, Error> {
        match connection.tls() {
            Some(tls) => {
                let stream = tls.wrap(stream, &connection.host, secrets).await?;
                Self::greet(connection, secrets, stream).await
            }
            None => Self::greet(connection, secrets, stream).await,
        }
    }

    /// Names itself on a stream, encrypted or not.
    pub(super) async fn greet(
        connection: &Connection,
        secrets: &Secrets,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, Error> {
        let mut info = RedisConnectionInfo::default().set_db(i64::from(connection.database));
        if let Some(username) = &connection.username {
            info = info.set_username(username);
        }
        if let Some(password) = &connection.password {
            info = info.set_password(password.text(secrets)?);
        }
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(ANSWER));
        let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config)
            .await
            .map_err(|error| failed(&error))?;
        let driver = tokio::spawn(driver);
        Ok(Self { connection, driver })
    }
}

/// Whose an error is to put right. What the server wrote is not passed on: it may quote arguments.
pub(super) fn failed(error: &RedisError) -> Error {
    let refused = |message: &str| Error::Refused {
        message: message.to_owned(),
    };
    match (error.kind(), error.code()) {
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS" | "NOAUTH")) => {
            refused("the server refuses the user or the password")
        }
        (ErrorKind::Server(ServerErrorKind::NoPerm), _) => refused(
            "the user lacks a permission: it needs XREADGROUP, XACK, XAUTOCLAIM, XGROUP and XINFO on the stream",
        ),
        (_, Some("WRONGTYPE")) => refused("the key is not a stream"),
        (
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::CrossSlot),
            _,
        ) => refused("the stream is on another node of a cluster: give that node's host and port"),
        (ErrorKind::Server(ServerErrorKind::ReadOnly), _) => {
            refused("the server is a replica, and a group's reader writes: give the primary's host")
        }
        (_, Some(code)) => Error::transient(format!("the server answered with {code}")),
        (kind, None) => Error::transient(format!("the connection to the server failed ({kind:?})")),
    }
}

/// Whether the group, or the stream with it, is gone.
pub(super) fn is_no_group(error: &RedisError) -> bool {
    error.code() == Some("NOGROUP")
}
