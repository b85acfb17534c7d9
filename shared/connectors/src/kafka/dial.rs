//! A connection to a broker: to a judged address, encrypted, and with proof of who we are.

use std::{io, time::Duration};

use halcyon_egress::Guard;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    config::Sasl,
    sasl::{Mechanism, Scram, plain},
    wire::{Reader, Writer, api, ask},
};
use crate::{Error, Secrets, endpoint::Endpoint, tls::Tls};

/// How large an answer may be while who we are is being settled.
const ANSWER: usize = 1 << 20;
/// Answers of the protocol.
const UNSUPPORTED_MECHANISM: i16 = 33;
const ILLEGAL_STATE: i16 = 34;

/// A stream of bytes to a broker.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// How brokers are connected to.
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) guard: Guard,
    pub(super) secrets: Secrets,
    pub(super) tls: Option<Tls>,
    pub(super) sasl: Option<Sasl>,
    pub(super) patience: Duration,
}

/// What a failure of a connection was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Connect,
    Tls,
    Authenticate,
}

impl Dialer {
    /// Connects to a broker.
    pub(super) async fn dial(&self, endpoint: &Endpoint) -> Result<Box<dyn Stream>, (Step, Error)> {
        let late = |step| {
            let message = format!("broker `{endpoint}` does not answer in time");
            (step, Error::transient(message))
        };
        let connecting = self.guard.connect(&endpoint.host, endpoint.port);
        let stream = timeout(self.patience, connecting).await;
        let stream = stream.map_err(|_| late(Step::Connect))?;
        let stream = stream.map_err(|error| (Step::Connect, error.into()))?;
        // Requests are small and wait for their answers.
        let _ = stream.set_nodelay(true);
        let mut stream: Box<dyn Stream> = match self.tls.as_ref().filter(|tls| tls.enabled) {
            None => Box::new(stream),
            Some(tls) => {
                let wrapped = timeout(self.patience, tls.wrap(stream, &endpoint.host, &self.secrets)).await;
                let wrapped = wrapped.map_err(|_| late(Step::Tls))?;
                Box::new(wrapped.map_err(|error| (Step::Tls, error))?)
            }
        };
        if let Some(sasl) = &self.sasl {
            let proven = timeout(self.patience, self.prove(&mut stream, sasl, endpoint)).await;
            let proven = proven.map_err(|_| late(Step::Authenticate))?;
            proven.map_err(|error| (Step::Authenticate, error))?;
        }
        Ok(stream)
    }

    async fn prove(
        &self,
        stream: &mut Box<dyn Stream>,
        sasl: &Sasl,
        endpoint: &Endpoint,
    ) -> Result<(), Error> {
        let password = sasl.password.text(&self.secrets)?;
        let mut body = Writer::default();
        body.string(Some(sasl.mechanism.name()), false);
        let answer = ask(stream, api::SASL_HANDSHAKE, 1, &body.0, ANSWER).await;
        let answer = answer.map_err(|error| broken(&error, endpoint))?;
        match Reader(&answer).i16() {
            Ok(0) => {}
            Ok(UNSUPPORTED_MECHANISM) => {
                let message = format!("broker `{endpoint}` does not offer {}", sasl.mechanism.name());
                return Err(Error::Refused { message });
            }
            Ok(ILLEGAL_STATE) => {
                let message = format!("broker `{endpoint}` takes no SASL at this port");
                return Err(Error::Refused { message });
            }
            _ => {
                return Err(Error::transient(format!(
                    "broker `{endpoint}` does not begin SASL"
                )));
            }
        }
        if sasl.mechanism == Mechanism::Plain {
            authenticate(stream, endpoint, &plain(&sasl.username, &password)).await?;
            return Ok(());
        }
        let unusual = || Error::Refused {
            message: format!("broker `{endpoint}` does not keep to SCRAM"),
        };
        let nonce = uuid();
        let mut scram = Scram::new(sasl.mechanism, &sasl.username, &password, nonce);
        let first = authenticate(stream, endpoint, scram.first().as_bytes()).await?;
        let proving = spawn_blocking(move || {
            let proof = scram.proof(&first);
            (scram, proof)
        });
        let proven = proving.await;
        let (scram, proof) =
            proven.map_err(|error| Error::System(format!("no proof came about: {error}")))?;
        let proof = proof.ok_or_else(unusual)?;
        let last = authenticate(stream, endpoint, proof.as_bytes()).await?;
        if scram.is_genuine(&last) {
            Ok(())
        } else {
            Err(unusual())
        }
    }
}

/// 122 random bits as text.
pub(super) fn uuid() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// One message of SASL and its answer.
async fn authenticate(
    stream: &mut Box<dyn Stream>,
    endpoint: &Endpoint,
    message: &[u8],
) -> Result<String, Error> {
    let mut body = Writer::default();
    body.i32(i32::try_from(message.len()).unwrap_or(0));
    body.bytes(message);
    let answer = ask(stream, api::SASL_AUTHENTICATE, 0, &body.0, ANSWER).await;
    let answer = answer.map_err(|error| broken(&error, endpoint))?;
    let read = || {
        let mut reader = Reader(&answer);
        let code = reader.i16()?;
        reader.string(false)?;
        let length = usize::try_from(reader.i32()?).unwrap_or(0);
        Ok::<_, super::wire::Malformed>((code, reader.bytes(length)?))
    };
    match read() {
        Ok((0, bytes)) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Ok(_) => Err(Error::Refused {
            message: format!("broker `{endpoint}` does not accept the credentials"),
        }),
        Err(error) => Err(broken(&io::Error::other(error), endpoint)),
    }
}

fn broken(error: &io::Error, endpoint: &Endpoint) -> Error {
    Error::transient(format!(
        "broker `{endpoint}` broke off while credentials were shown: {error}"
    ))
}

/// What the checks and the relay are told when a broker says nothing to a first request.
pub(super) fn silent(endpoint: &Endpoint) -> Error {
    Error::transient(format!(
        "broker `{endpoint}` closes the connection at the first request: see whether it asks for TLS or SASL"
    ))
}
