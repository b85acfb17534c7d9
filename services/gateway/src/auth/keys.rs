//! Fetches the keys that sign access tokens from the registry, sealed for this process, and keeps them in
//! memory: with every registry down, tokens go on being issued and checked.

use std::time::Duration;

use halcyon_bus::{
    Bus, InstanceKey,
    requests::{GetTokenKeys, TokenKeys},
};
use halcyon_domain::id::InstanceId;
use halcyon_infra::{Check, Shutdown};

use tokio::sync::watch;

use super::{Sight, TokenKey, Tokens};

/// How long the registry may take to answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a failure, and the least time between two questions.
const PAUSE: Duration = Duration::from_millis(500);
/// The least time between two refreshes that unknown keys ask for.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// How often the keys are asked for although nothing seems to have changed.
const REFRESH: Duration = Duration::from_secs(300);

/// Asks until the keys are there, and again when they have changed or a token names a key that is not known.
pub(crate) async fn keep_token_keys(
    bus: &Bus,
    instance: InstanceId,
    key: &InstanceKey,
    tokens: &Tokens,
    mut sight: watch::Receiver<Sight>,
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
                    tracing::debug!("the signing keys of access tokens are in use");
                    tokio::time::sleep(REFRESH_PAUSE).await;
                    tokio::select! {
                        () = tokens.unknown_key() => {}
                        () = changed(&mut sight) => {}
                        () = tokio::time::sleep(REFRESH) => {}
                    }
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

/// Waits until the counter of the keys has risen.
async fn changed(sight: &mut watch::Receiver<Sight>) {
    let counter = |sight: &Sight| sight.epochs.map(|epochs| epochs.token_keys);
    let before = counter(&sight.borrow_and_update());
    if sight.wait_for(|now| counter(now) != before).await.is_err() {
        // The process goes down.
        std::future::pending::<()>().await;
    }
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
                private_der: sealed
                    .private_key
                    .as_ref()
                    .map(|private| key.open(&reply.from, private))
                    .transpose()?,
                signs_from: sealed.signs_from,
            })
        })
        .collect()
}
