//! The secrets service: what every registry answers, leader or not. They share the database and the
//! key-encryption keys; each has an instance key of its own, so that a value travels sealed for one process.

mod entries;
mod keeper;
pub(crate) mod moving;
mod open;
mod opening;
mod put;
mod rewrap;
mod tenant_keys;
mod tickets;
mod token_keys;
pub(crate) mod upkeep;
mod values;
mod writing;

#[cfg(test)]
mod keeper_tests;
#[cfg(test)]
mod moving_tests;
#[cfg(test)]
mod rewrap_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_key_tests;

use std::sync::Arc;

use halcyon_bus::{
    InstanceKey, RemoteError,
    requests::{
        PublicKey, SecretDelete, SecretList, SecretPut, SecretsOpen, TicketIssue, TokenKeys, TokenKeysRotate,
    },
    rpc::Serving,
};

use crate::{Error, run::Shared};
pub(crate) use keeper::Keeper;

macro_rules! answers {
    ($self:ident, $serving:ident: $($endpoint:ty => $method:ident),* $(,)?) => {$(
        let service = $self.clone();
        let handler = move |request, _| {
            let service = service.clone();
            async move { service.$method(request).await.map_err(RemoteError::from) }
        };
        $serving.endpoint::<$endpoint, _, _>(handler).await?;
    )*};
}

/// Answers questions about secrets.
#[derive(Clone)]
pub(crate) struct Secrets {
    shared: Arc<Shared>,
    keeper: Arc<Keeper>,
    key: Arc<InstanceKey>,
}

impl Secrets {
    /// A service that has nothing to answer yet.
    pub(crate) fn new(shared: Arc<Shared>, key: InstanceKey) -> Self {
        Self {
            keeper: shared.keeper.clone(),
            shared,
            key: Arc::new(key),
        }
    }

    /// Begins to answer.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub(crate) async fn serve(&self) -> Result<Serving, Error> {
        let version = env!("CARGO_PKG_VERSION");
        let serving = self
            .shared
            .bus
            .serve("registry", version, "HALCYON's control plane")
            .await?;
        answers!(self, serving:
            PublicKey => public_key,
            SecretPut => put,
            SecretDelete => delete,
            SecretList => list,
            TicketIssue => issue_ticket,
            SecretsOpen => open,
            TokenKeys => token_keys,
            TokenKeysRotate => rotate_token_keys,
        );
        Ok(serving)
    }
}
