//! Names to addresses, and connections to addresses that were judged.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{Policy, special::Kind};

/// How long an address may be silent before the next one is tried, too (RFC 8305, section 8).
const SILENCE: Duration = Duration::from_millis(250);

/// Why a host was not reached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every address of the host is one that users' hosts may not have. Which addresses those are is not said: a
    /// user is not to learn what names mean inside.
    #[error("`{host}` stands for {kind}, which this installation does not allow")]
    Refused {
        /// The host as it was given.
        host: String,
        /// What its address is for.
        kind: Kind,
    },
    /// The name has no address, or the name server did not say.
    #[error("the name `{host}` cannot be resolved")]
    Unresolved {
        /// The host as it was given.
        host: String,
        /// What the resolver said.
        #[source]
        source: Option<io::Error>,
    },
    /// No address of the host took the connection.
    #[error("`{host}` cannot be reached")]
    Unreached {
        /// The host as it was given.
        host: String,
        /// What the last address to fail said.
        #[source]
        source: io::Error,
    },
}

/// From names to addresses.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of `host`, which is a name.
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((host, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// The way out to hosts that users name.
#[derive(Clone)]
pub struct Guard {
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolver>,
    folders: Arc<[PathBuf]>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard")
            .field("policy", &self.policy)
            .field("folders", &self.folders)
            .finish_non_exhaustive()
    }
}

impl Guard {
    /// A guard over the operating system's resolver.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self::over(policy, Arc::new(SystemResolver))
    }

    /// A guard over another resolver.
    #[must_use]
    pub fn over(policy: Policy, resolver: Arc<dyn Resolver>) -> Self {
        let policy = Arc::new(policy);
        Self {
            policy,
            resolver,
            folders: Arc::default(),
        }
    }

    /// The addresses of `host` that may be connected to: at least one. `host` is a name or an address, an IPv6
    /// address with or without brackets. Connect to these and not to the name, which may mean something else by
    /// then.
    ///
    /// # Errors
    /// [`Error::Unresolved`], or [`Error::Refused`] when no address may be.
    pub async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, Error> {
        let addresses = match literal(host) {
            Some(address) => vec![address],
            None => self
                .resolver
                .resolve(host)
                .await
                .map_err(|source| Error::Unresolved {
                    host: host.to_owned(),
                    source: Some(source),
                })?,
        };
        let mut refused = None;
        let mut good = Vec::with_capacity(addresses.len());
        for address in addresses {
            match self.policy.judge(host, address) {
                Ok(()) => good.push(address),
                Err(kind) => refused = Some(kind),
            }
        }
        if !good.is_empty() {
            return Ok(good);
        }
        let host = host.to_owned();
        Err(match refused {
            Some(kind) => Error::Refused { host, kind },
            None => Error::Unresolved { host, source: None },
        })
    }

    /// A TCP connection to `host`.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), or [`Error::Unreached`].
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Error> {
        let addresses = self.resolve(host).await?;
        first_of(&addresses, port)
            .await
            .map_err(|source| Error::Unreached {
                host: host.to_owned(),
                source,
            })
    }

    /// The same guard, which also lets users read all that is in these folders of this machine. By default there are
    /// none.
    #[must_use]
    pub fn with_folders(mut self, folders: Vec<PathBuf>) -> Self {
        self.folders = folders.into();
        self
    }

    /// The real place of a folder of this machine, if users may read it. Links and `..` do not lead out of what is
    /// allowed.
    #[must_use]
    pub fn folder(&self, folder: &Path) -> Option<PathBuf> {
        let real = folder.canonicalize().ok()?;
        let holds = |allowed: &PathBuf| {
            allowed
                .canonicalize()
                .is_ok_and(|allowed| real.starts_with(allowed))
        };
        (real.is_dir() && self.folders.iter().any(holds)).then_some(real)
    }

    /// Judges a host that is written as an address; names are judged when they are resolved.
    pub(crate) fn judge_literal(&self, host: &str) -> Result<(), Error> {
        let Some(address) = literal(host) else {
            return Ok(());
        };
        self.policy.judge(host, address).map_err(|kind| Error::Refused {
            host: host.to_owned(),
            kind,
        })
    }
}

/// A connection to the first address that takes one: they are tried one after the other, and the next one as soon as
/// those before have failed, or are silent for a while (RFC 8305, section 5).
async fn first_of(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut attempts = JoinSet::new();
    let mut last = io::ErrorKind::NotFound.into();
    loop {
        let begun = left
            .next()
            .map(|address| attempts.spawn(TcpStream::connect(SocketAddr::new(*address, port))));
        let ended = match begun {
            Some(_) => tokio::time::timeout(SILENCE, attempts.join_next()).await,
            None => Ok(attempts.join_next().await),
        };
        match ended {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => last = error,
            Ok(Some(Err(error))) => last = error.into(),
            Ok(None) => return Err(last),
            // It may still answer, while the next one is tried.
            Err(_) => {}
        }
    }
}

fn literal(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}
