//! Fetches the keys that sign access tokens from the registry, sealed for this process, and keeps them in
//! memory: with every registry down, tokens go on being issued and checked.

use std::time::Duration;

use halcyon_bus::{
    Bus, InstanceKey,
    requests::{GetTokenKeys, TokenKeys},
};
use halcyon_domain::id::InstanceId;
use halcyon_infra::{Check, Shutdown};

use super::{TokenKey, Tokens};

/// How long the registry may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failure, and the least time between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// The least time between two refreshes that unknown keys ask for.
const REFRESH_PAUSE: Duration = Duration::from_secs(10);

/// Asks until the keys are there, and again when a token names a key that is not known.
pub(crate) async fn keep_token_keys(
    bus: &Bus,
    instance: InstanceId,
    key: &InstanceKey,
    tokens: &Tokens,
    shutdown: &Shutdown,
    ready: &Check,
) {
    let keep = async {
        let mut warned = false;
        loop {
            match fetch(bus, instance, key)
                .await
                .and_then(|keys| Ok(tokens.set_keys(&keys)?))
            {
                Ok(()) => {
                    warned = false;
                    ready.ready();
                    tracing::info!("the signing keys of access tokens are in use");
                    tokio::time::sleep(REFRESH_PAUSE).await;
                    tokens.unknown_key().await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut warned, true) {
                        tracing::warn!(error = %error, "the signing keys cannot be had yet; trying on");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    let _: Option<()> = shutdown.unless_triggered(keep).await;
}

async fn fetch(bus: &Bus, instance: InstanceId, key: &InstanceKey) -> anyhow::Result<Vec<TokenKey>> {
    let request = GetTokenKeys {
        instance,
        public_key: key.public_key().to_owned(),
    };
    let reply = bus.call::<TokenKeys>(&request, TIMEOUT).await?;
    reply
        .keys
        .iter()
        .map(|sealed| {
            Ok(TokenKey {
                kid: sealed.id.clone(),
                public: sealed.public_key.clone(),
                private_der: key.open(&reply.from, &sealed.private_key)?,
            })
        })
        .collect()
}
