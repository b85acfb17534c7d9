//! A session: an SSH connection to a server whose host key is known, with SFTP spoken over it.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use halcyon_egress::Guard;
use russh::{
    Preferred,
    client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse},
    keys::{
        Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate,
        decode_secret_key,
    },
};
use russh_sftp::client::RawSftpSession;
use tokio::{net::TcpStream, time::timeout};

use super::config::{Auth, AuthKind, Connection, is_fingerprint};
use crate::{Error, Secrets};

/// How long each step may take.
const STEP: Duration = Duration::from_secs(15);
/// How long an answer to a request may take, in seconds.
const ANSWER: u64 = 30;

/// Host keys that are taken; not RSA over SHA-1.
const HOST_KEYS: &[Algorithm] = &[
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

/// A session.
pub(super) struct Session {
    pub(super) sftp: RawSftpSession,
    ssh: Handle<Known>,
}

/// Judges the server by its host key.
pub(super) struct Known {
    wanted: Vec<String>,
    /// What the server showed, if that was not wanted.
    shown: Arc<Mutex<Option<String>>>,
}

impl client::Handler for Known {
    type Error = russh::Error;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Ok(false);
        };
        let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
        let is_wanted = self.wanted.iter().any(|wanted| {
            if is_fingerprint(wanted) {
                *wanted == fingerprint
            } else {
                PublicKey::from_openssh(wanted).is_ok_and(|wanted| wanted.key_data() == key.key_data())
            }
        });
        if !is_wanted {
            let told = format!("{fingerprint} ({})", key.algorithm());
            *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(told);
        }
        Ok(is_wanted)
    }
}

/// Gets a session.
pub(super) async fn open(
    connection: &Connection,
    secrets: &Secrets,
    guard: &Guard,
) -> Result<Session, Error> {
    let late = |_| Error::transient("the SSH server does not answer in time");
    let identity = Identity::read(&connection.auth, secrets)?;
    let stream = timeout(STEP, guard.connect(&connection.host, connection.port))
        .await
        .map_err(late)??;
    let mut ssh = timeout(STEP, handshake(connection, stream))
        .await
        .map_err(late)??;
    timeout(STEP, log_in(&mut ssh, &connection.auth.user, &identity))
        .await
        .map_err(late)??;
    timeout(STEP, speak(ssh)).await.map_err(late)?
}

/// Agrees on keys with a server whose host key is one of the connection's.
pub(super) async fn handshake(connection: &Connection, stream: TcpStream) -> Result<Handle<Known>, Error> {
    // A request is worth more than a full packet.
    let _ = stream.set_nodelay(true);
    let shown = Arc::new(Mutex::new(None));
    let known = Known {
        wanted: connection.host_keys.clone(),
        shown: Arc::clone(&shown),
    };
    let config = client::Config {
        keepalive_interval: Some(Duration::from_secs(15)),
        preferred: Preferred {
            key: HOST_KEYS.into(),
            ..Preferred::DEFAULT
        },
        ..client::Config::default()
    };
    let outcome = client::connect_stream(Arc::new(config), stream, known).await;
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).take();
    outcome.map_err(|error| match (shown, error) {
        (Some(shown), _) => Error::Refused {
            message: format!("the server's host key is {shown}, which `host_keys` does not name"),
        },
        (None, russh::Error::NoCommonAlgo { kind, .. }) => Error::Refused {
            message: format!("no {kind:?} algorithm is known to both sides; those of long ago are not taken"),
        },
        (None, error) => Error::transient(format!("SSH could not be agreed on: {error}")),
    })
}

/// What proves who we are.
pub(super) enum Identity {
    Password(String),
    Key(Arc<PrivateKey>),
}

impl Identity {
    /// Reads it from the secrets.
    pub(super) fn read(auth: &Auth, secrets: &Secrets) -> Result<Self, Error> {
        let missing = || Error::Secret { name: String::new() };
        match auth.kind {
            AuthKind::Password => {
                let password = auth.password.as_ref().ok_or_else(missing)?;
                Ok(Self::Password(password.text(secrets)?))
            }
            AuthKind::PrivateKey => {
                let reference = auth.private_key.as_ref().ok_or_else(missing)?;
                let passphrase = auth
                    .passphrase
                    .as_ref()
                    .map(|secret| secret.text(secrets))
                    .transpose()?;
                let key = decode_secret_key(&reference.text(secrets)?, passphrase.as_deref());
                let key = key.map_err(|_| Error::Secret {
                    name: reference.name.clone(),
                })?;
                Ok(Self::Key(Arc::new(key)))
            }
        }
    }
}

/// Logs in.
pub(super) async fn log_in(ssh: &mut Handle<Known>, user: &str, identity: &Identity) -> Result<(), Error> {
    let broken =
        |error: russh::Error| Error::transient(format!("the connection broke at the login: {error}"));
    let is_in = match identity {
        Identity::Key(key) => {
            let hash = ssh.best_supported_rsa_hash().await.map_err(broken)?.flatten();
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash.or(Some(HashAlg::Sha256)));
            ssh.authenticate_publickey(user, key)
                .await
                .map_err(broken)?
                .success()
        }
        Identity::Password(password) => {
            let outcome = ssh.authenticate_password(user, password).await.map_err(broken)?;
            match outcome {
                AuthResult::Success => true,
                AuthResult::Failure {
                    remaining_methods, ..
                } => {
                    remaining_methods.contains(&russh::MethodKind::KeyboardInteractive)
                        && answer_questions(ssh, user, password).await.map_err(broken)?
                }
            }
        }
    };
    if is_in {
        return Ok(());
    }
    Err(Error::Refused {
        message: "the server does not let this user in with these credentials".to_owned(),
    })
}

/// Some servers ask for the password as a question.
async fn answer_questions(ssh: &mut Handle<Known>, user: &str, password: &str) -> Result<bool, russh::Error> {
    let mut reply = ssh.authenticate_keyboard_interactive_start(user, None).await?;
    for _ in 0..3 {
        let prompts = match reply {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
        };
        let answers = prompts.iter().map(|_| password.to_owned()).collect();
        reply = ssh.authenticate_keyboard_interactive_respond(answers).await?;
    }
    Ok(matches!(reply, KeyboardInteractiveAuthResponse::Success))
}

/// Speaks SFTP over a connection that is logged in.
pub(super) async fn speak(ssh: Handle<Known>) -> Result<Session, Error> {
    let refused = |_| Error::Refused {
        message: "the server lets this user in, but offers it no SFTP".to_owned(),
    };
    let channel = ssh.channel_open_session().await.map_err(refused)?;
    channel.request_subsystem(true, "sftp").await.map_err(refused)?;
    let sftp = RawSftpSession::new(channel.into_stream());
    sftp.set_timeout(ANSWER);
    let greeted = sftp.init().await;
    greeted.map_err(|_| refused(russh::Error::Disconnect))?;
    Ok(Session { sftp, ssh })
}

impl Session {
    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.ssh.is_closed()
    }
}
