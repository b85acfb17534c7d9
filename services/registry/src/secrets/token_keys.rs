//! The keys that sign access tokens: made when first asked for, kept encrypted, sealed to gateways only, and replaced
//! from time to time.
//!
//! A new key is known to all gateways before it signs. The one before it verifies until the last token that it may
//! have signed has run out; then it is destroyed.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use halcyon_bus::{
    Service,
    requests::{GetTokenKeys, RotateTokenKeys, RotatedTokenKeys, SealedTokenKey, SealedTokenKeys},
};
use halcyon_domain::{
    audit::{AuditEntry, AuditOutcome, Resource},
    clock::Timestamp,
    id::AuditEntryId,
    session::MAX_ACCESS_TOKEN_LIFETIME,
};
use halcyon_secrets::{ExposeSecret, SecretSlice, TokenKey, Wrapped};
use halcyon_store::{NewMessage, SigningKey, Tenant, Topic, WriteTx};
use uuid::Uuid;

use super::{Secrets, keeper::Keeper};
use crate::{Error, reconcile::load::CONTROL_PLANE};

/// What the keys sign.
const PURPOSE: &str = "access_token";
/// The lock under which keys are made and destroyed.
const LOCK: &str = "halcyon.token-keys";
/// How often is looked whether a new key is due.
const LOOK: Duration = Duration::from_secs(600);

/// A token key, opened.
pub(super) struct OpenedTokenKey {
    pub(super) id: String,
    pub(super) public: Vec<u8>,
    /// None of a key that only verifies any more.
    pub(super) private: Option<SecretSlice<u8>>,
    pub(super) created_at: Timestamp,
    pub(super) signs_from: Timestamp,
}

/// How keys are replaced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rotation {
    /// How long the new key is known before it signs.
    pub(super) announce: TimeDelta,
    /// Whether the keys before it are destroyed at once.
    pub(super) drop_old: bool,
}

impl Secrets {
    pub(super) async fn token_keys(&self, request: GetTokenKeys) -> Result<SealedTokenKeys, Error> {
        let key = self
            .registered_key(Service::Gateway, request.instance, &request.public_key)
            .await?;
        let opened = self.keeper.token_keys().await?;
        let keys = opened.into_iter().map(|opened| {
            let private = opened.private.as_ref();
            Ok(SealedTokenKey {
                id: opened.id,
                public_key: URL_SAFE_NO_PAD.encode(&opened.public),
                private_key: private
                    .map(|private| self.key.seal(&key, private.expose_secret()))
                    .transpose()?,
                created_at: opened.created_at,
                signs_from: opened.signs_from,
            })
        });
        let keys = keys.collect::<Result<Vec<_>, Error>>()?;
        Ok(SealedTokenKeys {
            from: self.key.public_key().to_owned(),
            keys,
        })
    }

    pub(super) async fn rotate_token_keys(
        &self,
        request: RotateTokenKeys,
    ) -> Result<RotatedTokenKeys, Error> {
        let rotation = Rotation {
            announce: delta(self.shared.settings.announce_token_key.get()),
            drop_old: request.drop_old,
        };
        let made = self.keeper.rotate_token_keys(rotation, Some(&request)).await?;
        self.shared.bus.poke_outbox().await;
        Ok(RotatedTokenKeys {
            signs_from: signs_from(&made),
            id: made.id,
        })
    }

    /// Replaces the key when it is old enough, for ever. Of several registries one does.
    pub(crate) async fn keep_token_keys(&self) {
        let settings = &self.shared.settings;
        let (every, announce) = (
            delta(settings.rotate_token_keys_every.get()),
            delta(settings.announce_token_key.get()),
        );
        let mut interval = tokio::time::interval(LOOK);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            if let Err(error) = self.keeper.rotate_token_keys_if_due(every, announce).await {
                tracing::warn!(error = %error, "the keys of access tokens cannot be looked after now");
            }
        }
    }
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}

fn signs_from(key: &SigningKey) -> Timestamp {
    key.signs_from.unwrap_or(key.created_at)
}

/// Whether a key may still verify something, or is to come.
fn is_of_use(key: &SigningKey, now: Timestamp) -> bool {
    let longest = delta(MAX_ACCESS_TOKEN_LIFETIME.get());
    key.retired_at.is_none_or(|at| at + longest > now)
}

impl Keeper {
    /// The token keys, the newest first; one is made if there is none that signs.
    pub(super) async fn token_keys(&self) -> Result<Vec<OpenedTokenKey>, Error> {
        let mut kept = self.store.read().keys().signing(CONTROL_PLANE, PURPOSE).await?;
        let now = self.clock.now();
        if kept.iter().all(|key| key.retired_at.is_some()) {
            kept = self.make_token_key().await?;
        }
        kept.retain(|key| is_of_use(key, now));
        let mut opened = Vec::with_capacity(kept.len());
        for key in kept {
            opened.push(self.open_token_key(key, now).await?);
        }
        Ok(opened)
    }

    /// Makes the first key, unless another registry has made one meanwhile.
    async fn make_token_key(&self) -> Result<Vec<SigningKey>, Error> {
        let made = self.new_token_key().await?;
        let tx = self.store.begin().await?;
        tx.lock(LOCK).await?;
        let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
        if kept.iter().any(|key| key.retired_at.is_none()) {
            return Ok(kept);
        }
        tx.keys().insert_signing(&made).await?;
        let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
        tx.commit().await?;
        Ok(kept)
    }

    /// Replaces the key that signs if it is older than `every`, and destroys what is of no use any more. Returns the
    /// new key, if there is one.
    pub(super) async fn rotate_token_keys_if_due(
        &self,
        every: TimeDelta,
        announce: TimeDelta,
    ) -> Result<Option<String>, Error> {
        let now = self.clock.now();
        let kept = self.store.read().keys().signing(CONTROL_PLANE, PURPOSE).await?;
        // Without any key the first question makes one.
        let due = |key: &SigningKey| key.retired_at.is_none() && key.created_at + every <= now;
        if kept.iter().any(due) {
            let rotation = Rotation {
                announce,
                drop_old: false,
            };
            let made = self.rotate_token_keys(rotation, None).await?;
            tracing::info!(key.id = %made.id, "a new key is going to sign access tokens");
            return Ok(Some(made.id));
        }
        if kept.iter().any(|key| !is_of_use(key, now)) {
            let tx = self.store.begin().await?;
            tx.lock(LOCK).await?;
            destroy(&tx, |key| !is_of_use(key, now)).await?;
            tx.commit().await?;
        }
        Ok(None)
    }

    /// Makes a new key, retires those before it, and destroys what is of no use any more.
    pub(super) async fn rotate_token_keys(
        &self,
        rotation: Rotation,
        asked: Option<&RotateTokenKeys>,
    ) -> Result<SigningKey, Error> {
        let (mut made, now) = (self.new_token_key().await?, self.clock.now());
        let tx = self.store.begin().await?;
        tx.lock(LOCK).await?;
        let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
        if let (None, Some(newest)) = (asked, kept.first())
            && newest.created_at + rotation.announce > now
        {
            // Another registry was faster.
            return Ok(newest.clone());
        }
        if !rotation.drop_old && !kept.is_empty() {
            made.signs_from = Some(made.created_at + rotation.announce);
        }
        tx.keys().insert_signing(&made).await?;
        for old in kept.iter().filter(|key| key.retired_at.is_none()) {
            tx.keys().retire_signing(&old.id, signs_from(&made)).await?;
        }
        destroy(&tx, |key| {
            key.id != made.id && (rotation.drop_old || !is_of_use(key, now))
        })
        .await?;
        if let Some(request) = asked {
            tell(&tx, request, &made, now).await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// A key that signs from now on, not kept yet: sealing it may take another system's answer, and a transaction does
    /// not wait for that.
    async fn new_token_key(&self) -> Result<SigningKey, Error> {
        let (id, key) = (Uuid::now_v7().to_string(), TokenKey::generate()?);
        let wrapped = self
            .keys
            .seal_system(&label(&id), key.private.expose_secret())
            .await?;
        let now = self.clock.now();
        Ok(SigningKey {
            id,
            purpose: PURPOSE.to_owned(),
            public_key: key.public,
            wrapped: wrapped.bytes,
            wrapped_by: wrapped.wrapped_by,
            created_at: now,
            signs_from: Some(now),
            retired_at: None,
        })
    }

    async fn open_token_key(&self, kept: SigningKey, now: Timestamp) -> Result<OpenedTokenKey, Error> {
        let signs_from = signs_from(&kept);
        let signs = kept.retired_at.is_none_or(|at| at > now);
        let wrapped = Wrapped {
            bytes: kept.wrapped,
            wrapped_by: kept.wrapped_by,
        };
        let private = if signs {
            Some(self.keys.open_system(&label(&kept.id), &wrapped).await?)
        } else {
            None
        };
        Ok(OpenedTokenKey {
            id: kept.id,
            public: kept.public_key,
            private,
            created_at: kept.created_at,
            signs_from,
        })
    }
}

async fn destroy(tx: &WriteTx, which: impl Fn(&SigningKey) -> bool) -> Result<(), Error> {
    let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
    for key in kept.iter().filter(|key| which(key)) {
        tx.keys().destroy_signing(&key.id).await?;
    }
    Ok(())
}

/// Writes the audit entry of a rotation that somebody asked for.
async fn tell(
    tx: &WriteTx,
    request: &RotateTokenKeys,
    made: &SigningKey,
    at: Timestamp,
) -> Result<(), Error> {
    let summary = if request.drop_old {
        "a new key signs access tokens; those that older ones signed hold no more"
    } else {
        "a new key is going to sign access tokens"
    };
    let entry = AuditEntry {
        id: AuditEntryId::generate(),
        organization: request.organization,
        at,
        actor: request.by.actor.clone(),
        action: "token_key.rotate".to_owned(),
        resource: Resource {
            kind: "token_key".to_owned(),
            id: Some(made.id.clone()),
            name: None,
        },
        version: None,
        outcome: AuditOutcome::Succeeded,
        diff: None,
        summary: Some(summary.to_owned()),
        request_id: request.by.request_id.clone(),
        remote_ip: request.by.remote_ip.clone(),
    };
    let mut message = NewMessage::new(Topic::Audit, &made.id, None, &entry, at)?;
    message.id = halcyon_domain::id::OutboxId(entry.id.0);
    Ok(tx
        .outbox()
        .append(Tenant(request.organization), &[message])
        .await?)
}

/// What the encryption of a token key is bound to.
pub(super) fn label(id: &str) -> String {
    format!("token key {id}")
}
