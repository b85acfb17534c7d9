//! The connection to a server: judged addresses only, TLS as everywhere, and what the server says meanwhile.

use std::{
    error::Error as StdError,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, ServerError,
    jetstream::{self, ErrorCode},
};
use halcyon_egress::Guard;
use tokio::sync::watch;

use super::config::{AuthKind, Connection};
use crate::{Error, Secrets, endpoint::Endpoint, tls::of_tls};

/// What became of a connection after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    /// It is gone; another one is needed.
    Lost,
    /// The server does not let us do what we tried.
    Denied,
}

/// How many messages of a plain subject were lost on this side.
#[derive(Debug, Default)]
pub(super) struct Lost(AtomicU64);

impl Lost {
    /// One more; said for the first, the second, the fourth, and so on.
    pub(super) fn count(&self) {
        let lost = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        if lost.is_power_of_two() {
            tracing::warn!(
                nats.lost = lost,
                "messages of a plain subject were lost: they come faster than they are processed"
            );
        }
    }

    #[cfg(test)]
    pub(super) fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection to a server.
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) lost: Arc<Lost>,
    pub(super) state: watch::Receiver<State>,
}

impl Link {
    /// Connects to the first server that takes us.
    pub(super) async fn make(
        connection: &Connection,
        secrets: &Secrets,
        guard: &Guard,
        patience: Duration,
    ) -> Result<Self, Error> {
        let mut refused = None;
        let mut last = None;
        for endpoint in connection.endpoints() {
            match Self::to(connection, secrets, guard, &endpoint, patience).await {
                Ok(link) => return Ok(link),
                Err(error) if error.is_transient() => last = Some(error),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        Err(refused
            .or(last)
            .unwrap_or_else(|| Error::transient("there is no server to connect to")))
    }

    async fn to(
        connection: &Connection,
        secrets: &Secrets,
        guard: &Guard,
        endpoint: &Endpoint,
        patience: Duration,
    ) -> Result<Self, Error> {
        let mut last = None;
        for address in guard.resolve(&endpoint.host).await? {
            // Written as an address, so that the library has nothing to resolve.
            let url = format!("nats://{}", SocketAddr::new(address, endpoint.port));
            let (told, state) = watch::channel(State::Up);
            let lost = Arc::new(Lost::default());
            let counted = Arc::clone(&lost);
            let options =
                options(connection, secrets, &endpoint.host, patience)?.event_callback(move |event| {
                    let (told, counted) = (told.clone(), Arc::clone(&counted));
                    async move { hear(&event, &told, &counted) }
                });
            match options.connect(url).await {
                Ok(client) => return Ok(Self { client, lost, state }),
                Err(error) => last = Some(not_connected(&error, endpoint)),
            }
        }
        Err(last.unwrap_or_else(|| Error::transient(format!("`{endpoint}` cannot be reached"))))
    }

    /// Does `what` unless the connection is lost or the server denies it meanwhile: a request that is not allowed has
    /// no answer.
    pub(super) async fn heed<T>(&self, what: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let mut state = self.state.clone();
        let trouble = async move {
            match state.wait_for(|state| *state != State::Up).await {
                Ok(state) => trouble(*state),
                Err(_) => trouble(State::Lost),
            }
        };
        tokio::select! {
            biased;
            done = what => done,
            error = trouble => Err(error),
        }
    }
}

/// The error that a state stands for.
pub(super) fn trouble(state: State) -> Error {
    match state {
        State::Denied => Error::Refused {
            message:
                "the server does not let this user do what reading needs: see to the user's permissions \
                      (the page of the connector lists them)"
                    .to_owned(),
        },
        State::Up | State::Lost => Error::transient("the connection to the server was lost"),
    }
}

fn hear(event: &Event, told: &watch::Sender<State>, lost: &Lost) {
    let state = match event {
        Event::SlowConsumer(_) => return lost.count(),
        Event::Disconnected | Event::Closed => State::Lost,
        Event::ServerError(ServerError::Other(text))
            if text.to_ascii_lowercase().contains("permissions violation") =>
        {
            State::Denied
        }
        _ => return,
    };
    told.send_if_modified(|known| {
        let news = *known == State::Up;
        if news {
            *known = state;
        }
        news
    });
}

fn options(
    connection: &Connection,
    secrets: &Secrets,
    host: &str,
    patience: Duration,
) -> Result<ConnectOptions, Error> {
    let tls = connection.tls.clone().unwrap_or_default();
    let required = connection.tls.as_ref().is_some_and(|tls| tls.enabled);
    // One try: whoever needs another connection has its address judged anew.
    let options = ConnectOptions::new()
        .name("halcyon")
        .connection_timeout(patience)
        .request_timeout(Some(patience))
        .ping_interval(Duration::from_secs(5))
        .max_reconnects(1)
        .ignore_discovered_servers()
        .require_tls(required)
        .tls_client_config(tls.client_config_for(host, secrets)?);
    let Some(auth) = &connection.auth else {
        return Ok(options);
    };
    let Some(reference) = &auth.secret else {
        return Ok(options);
    };
    let secret = reference.text(secrets)?;
    Ok(match auth.kind {
        AuthKind::User => options.user_and_password(auth.user.clone().unwrap_or_default(), secret),
        AuthKind::Token => options.token(secret),
        AuthKind::Nkey => options.nkey(secret.trim().to_owned()),
        AuthKind::Credentials => options.credentials(&secret).map_err(|_| Error::Secret {
            name: reference.name.clone(),
        })?,
    })
}

fn not_connected(error: &ConnectError, endpoint: &Endpoint) -> Error {
    let refused = |message: String| Error::Refused { message };
    if let Some(tls) = tls_error(error) {
        return of_tls(
            tls,
            format!("TLS could not be agreed on with `{endpoint}`: {tls}"),
        );
    }
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            refused(format!("`{endpoint}` does not accept the credentials"))
        }
        ConnectErrorKind::TimedOut => Error::transient(format!("`{endpoint}` does not answer in time")),
        _ => Error::transient(format!("`{endpoint}` cannot be talked to: {}", error.kind())),
    }
}

fn tls_error(error: &ConnectError) -> Option<&rustls::Error> {
    let mut cause = Some(error as &(dyn StdError + 'static));
    while let Some(found) = cause {
        if let Some(tls) = found.downcast_ref::<rustls::Error>() {
            return Some(tls);
        }
        let inner = found.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(tls) = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Some(tls);
        }
        cause = found.source();
    }
    None
}

/// What JetStream answered, by whose it is to put right.
pub(super) fn answered(error: &jetstream::Error) -> Error {
    let message = match error.error_code() {
        ErrorCode::STREAM_NOT_FOUND => "there is no such stream for this user",
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            "JetStream is not enabled there"
        }
        code if (400..500).contains(&error.code()) && code != ErrorCode::CONSUMER_NOT_FOUND => {
            let message = format!("JetStream does not take the request (code {})", code.0);
            return Error::Refused { message };
        }
        code => return Error::transient(format!("JetStream failed (code {})", code.0)),
    };
    Error::Refused {
        message: message.to_owned(),
    }
}
