//! The keys that sign access tokens: made when first asked for, kept encrypted, sealed to gateways only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::TimeDelta;
use halcyon_bus::{
    Service,
    requests::{GetTokenKeys, SealedTokenKey, SealedTokenKeys},
};
use halcyon_domain::clock::Timestamp;
use halcyon_secrets::{ExposeSecret, SecretSlice, TokenKey, Wrapped};
use halcyon_store::{SigningKey, WriteTx};
use uuid::Uuid;

use super::{Secrets, keeper::Keeper};
use crate::{Error, reconcile::load::CONTROL_PLANE};

/// What the keys sign.
const PURPOSE: &str = "access_token";

/// How long a retired key is still handed out, so that what it signed can be verified until it expires.
const RETIRED_FOR: TimeDelta = TimeDelta::days(1);

/// A token key, opened.
pub(super) struct OpenedTokenKey {
    pub(super) id: String,
    pub(super) public: Vec<u8>,
    pub(super) private: SecretSlice<u8>,
    pub(super) created_at: Timestamp,
}

impl Secrets {
    pub(super) async fn token_keys(&self, request: GetTokenKeys) -> Result<SealedTokenKeys, Error> {
        let key = self
            .registered_key(Service::Gateway, request.instance, &request.public_key)
            .await?;
        let opened = self.keeper.token_keys().await?;
        let keys = opened.into_iter().map(|opened| {
            Ok(SealedTokenKey {
                id: opened.id,
                public_key: URL_SAFE_NO_PAD.encode(&opened.public),
                private_key: self.key.seal(&key, opened.private.expose_secret())?,
                created_at: opened.created_at,
            })
        });
        let keys = keys.collect::<Result<Vec<_>, Error>>()?;
        Ok(SealedTokenKeys {
            from: self.key.public_key().to_owned(),
            keys,
        })
    }
}

impl Keeper {
    /// The token keys, the one to sign with first; one is made if there is none.
    pub(super) async fn token_keys(&self) -> Result<Vec<OpenedTokenKey>, Error> {
        let mut kept = self.store.read().keys().signing(CONTROL_PLANE, PURPOSE).await?;
        if kept.iter().all(|key| key.retired_at.is_some()) {
            kept = self.make_token_key().await?;
        }
        let now = self.clock.now();
        kept.retain(|key| key.retired_at.is_none_or(|at| at + RETIRED_FOR > now));
        // The sort is stable: the newest stays first among those that sign.
        kept.sort_by_key(|key| key.retired_at.is_some());
        let mut opened = Vec::with_capacity(kept.len());
        for key in kept {
            opened.push(self.open_token_key(key).await?);
        }
        Ok(opened)
    }

    /// Makes a key, unless another registry has made one meanwhile.
    async fn make_token_key(&self) -> Result<Vec<SigningKey>, Error> {
        let tx = self.store.begin().await?;
        tx.lock("halcyon.token-keys").await?;
        let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
        if kept.iter().any(|key| key.retired_at.is_none()) {
            return Ok(kept);
        }
        self.insert_token_key(&tx).await?;
        let kept = tx.keys().signing(CONTROL_PLANE, PURPOSE).await?;
        tx.commit().await?;
        Ok(kept)
    }

    async fn insert_token_key(&self, tx: &WriteTx) -> Result<(), Error> {
        let (id, key) = (Uuid::now_v7().to_string(), TokenKey::generate()?);
        let wrapped = self
            .keys
            .seal_system(&label(&id), key.private.expose_secret())
            .await?;
        let kept = SigningKey {
            id,
            purpose: PURPOSE.to_owned(),
            public_key: key.public,
            wrapped: wrapped.bytes,
            wrapped_by: wrapped.wrapped_by,
            created_at: self.clock.now(),
            retired_at: None,
        };
        Ok(tx.keys().insert_signing(&kept).await?)
    }

    async fn open_token_key(&self, kept: SigningKey) -> Result<OpenedTokenKey, Error> {
        let wrapped = Wrapped {
            bytes: kept.wrapped,
            wrapped_by: kept.wrapped_by,
        };
        let private = self.keys.open_system(&label(&kept.id), &wrapped).await?;
        Ok(OpenedTokenKey {
            id: kept.id,
            public: kept.public_key,
            private,
            created_at: kept.created_at,
        })
    }
}

/// What the encryption of a token key is bound to.
pub(super) fn label(id: &str) -> String {
    format!("token key {id}")
}
