//! What every connector can be asked.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use halcyon_domain::{
    clock::{Clock, Timestamp},
    error::InputError,
    test_run::CheckResult,
};
use halcyon_egress::Guard;
use http::HeaderMap;
use serde_json::Value;

use crate::{
    Checkpoint, ConnectorSpec, Error, SecretName, Secrets, Source, SourceContext,
    http_webhook::{BodyError, HandshakeAnswer, RawEvent, Rejection, Request},
};

/// A kind of feed.
#[async_trait]
pub trait Connector: Send + Sync {
    /// What the connector says of itself.
    fn spec(&self) -> &'static ConnectorSpec;

    /// What the JSON Schema cannot say: rules between fields. Called after the schema has passed; see
    /// [`validate_connection`](crate::validate_connection) for both. Pointers are relative to the connection.
    fn validate(&self, connection: &Value) -> Vec<InputError>;

    /// What stands in the way of reading the feed by `parallelism` instances: of some upstreams each instance would
    /// get all of it. Called for a connection that is valid; see [`validate_feed`](crate::validate_feed). Pointers are
    /// relative to the connection.
    fn validate_parallelism(&self, connection: &Value, parallelism: u16) -> Vec<InputError> {
        let _ = (connection, parallelism);
        Vec::new()
    }

    /// Tries the connection out: named results, each with what to do when it is not ok. Has no effect on the
    /// other side, and ends within 5 s. The usual names, in this order, of which a connector gives those that make
    /// sense for it: `configuration`, `secrets`, `resolve`, `connect`, `tls`, `authenticate`, `permission`,
    /// `sample`; after one that failed the others are skipped. See [`check`](crate::check).
    async fn check(&self, context: &CheckContext<'_>) -> Vec<CheckResult>;

    /// A reader of the feed, for connectors with `capabilities.pull`. Opens no connection yet.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a push connector; else a configuration, checkpoint or secret that has no use.
    fn source(&self, context: SourceContext) -> Result<Box<dyn Source>, Error> {
        drop(context);
        Err(Error::Unsupported {
            connector: self.spec().type_name,
            operation: "reading",
        })
    }

    /// Whether a source of this connection could go on from a checkpoint that somebody wrote. Told without secrets and
    /// without a way to anywhere, by what [`source`](Self::source) reads checkpoints by.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], or the connection has no use.
    fn check_position(&self, connection: &Value, checkpoint: &Checkpoint) -> Result<(), Error> {
        let _ = (connection, checkpoint);
        Ok(())
    }

    /// The judge of incoming requests, for connectors with `capabilities.push`.
    ///
    /// # Errors
    /// What is wrong with the connection; for a pull connector, that it takes no requests.
    fn verifier(&self, connection: &Value) -> Result<Arc<dyn Verifier>, Vec<InputError>> {
        let _ = connection;
        let detail = format!("connector `{}` takes no requests", self.spec().type_name);
        Err(vec![InputError::new("", "unsupported", detail)])
    }
}

/// What a check may use.
#[derive(Clone)]
pub struct CheckContext<'a> {
    /// The version's `connection`; valid.
    pub connection: &'a Value,
    /// The secrets that could be had. A name that is missing here does not exist.
    pub secrets: &'a Secrets,
    /// The time.
    pub clock: &'a dyn Clock,
    /// The way to the hosts that the connection names.
    pub guard: &'a Guard,
}

/// The judge of requests that are sent to a push connector.
pub trait Verifier: Send + Sync {
    /// The secrets that verification needs, by name.
    fn required_secrets(&self) -> Vec<SecretName>;

    /// Whether the request is authentic, fresh and from an allowed address. Works on the raw bytes.
    ///
    /// # Errors
    /// Why not. What the sender may be told is in [`Rejection`].
    fn verify(&self, request: &Request<'_>, secrets: &Secrets, now: Timestamp) -> Result<(), Rejection>;

    /// The answer to a vendor's handshake, if the request is one; such a request is no event.
    ///
    /// # Errors
    /// The request is a handshake but not authentic.
    fn handshake(
        &self,
        request: &Request<'_>,
        secrets: &Secrets,
        now: Timestamp,
    ) -> Result<Option<HandshakeAnswer>, Rejection>;

    /// The events of an accepted body.
    ///
    /// # Errors
    /// The body cannot be taken.
    fn events(&self, headers: &HeaderMap, body: Bytes) -> Result<Vec<RawEvent>, BodyError>;
}
