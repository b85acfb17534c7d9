//! Leases: a key that vanishes unless its holder renews it. A lease is no fence by itself: what must not be done
//! twice carries an epoch that the registry raises.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Bucket, Bus, Error, KvMirror, subjects::BucketName};

/// What a lease says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Who holds it: a process's identifier.
    pub holder: String,
    /// What the holder says of itself.
    #[serde(default)]
    pub info: Value,
}

impl LeaseRecord {
    /// What the holder says of itself.
    ///
    /// # Errors
    /// It is no `T`.
    pub fn info<T: DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.info).map_err(Error::malformed)
    }
}

/// Leases with one time to live.
#[derive(Clone)]
pub struct LeaseStore {
    bucket: Bucket<LeaseRecord>,
    ttl: Duration,
}

/// A lease that is held until `expires_at`.
#[derive(Debug)]
pub struct Lease {
    key: String,
    record: LeaseRecord,
    revision: u64,
    expires_at: Instant,
}

impl Bus {
    /// Leases that run out after `ttl` (whole seconds, at least 2).
    #[must_use]
    pub fn leases(&self, ttl: Duration) -> LeaseStore {
        let ttl = Duration::from_secs(ttl.as_secs().max(2));
        LeaseStore {
            bucket: Bucket::new(self, BucketName::Leases, ""),
            ttl,
        }
    }
}

impl Lease {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What it says.
    #[must_use]
    pub const fn record(&self) -> &LeaseRecord {
        &self.record
    }

    /// Until when it may be relied on: the time to live, counted from before it was asked for, less a tenth.
    #[must_use]
    pub const fn expires_at(&self) -> Instant {
        self.expires_at
    }
}

impl LeaseStore {
    /// The time to live.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Takes a lease; nothing if somebody else holds it.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn acquire(&self, key: &str, record: LeaseRecord) -> Result<Option<Lease>, Error> {
        let expires_at = self.expiry();
        match self.bucket.create(key, &record, Some(self.ttl)).await {
            Ok(revision) => Ok(Some(Lease {
                key: key.to_owned(),
                record,
                revision,
                expires_at,
            })),
            Err(Error::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease.
    ///
    /// # Errors
    /// `Conflict` if it has run out or somebody else has it.
    pub async fn renew(&self, lease: &mut Lease) -> Result<(), Error> {
        let expires_at = self.expiry();
        lease.revision = self
            .bucket
            .update_with_ttl(&lease.key, &lease.record, lease.revision, self.ttl)
            .await?;
        lease.expires_at = expires_at;
        Ok(())
    }

    /// Takes up a lease that says that it is held by `record`'s holder: a write of ours whose answer was lost. Nothing
    /// if it is somebody else's, or nobody's.
    async fn resume(&self, key: &str, record: &LeaseRecord) -> Result<Option<Lease>, Error> {
        let Some(entry) = self.bucket.get(key).await? else {
            return Ok(None);
        };
        if entry.value.holder != record.holder {
            return Ok(None);
        }
        let mut lease = Lease {
            key: key.to_owned(),
            record: record.clone(),
            revision: entry.revision,
            expires_at: self.expiry(),
        };
        match self.renew(&mut lease).await {
            Ok(()) => Ok(Some(lease)),
            Err(Error::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews a lease and changes what its holder says of itself.
    ///
    /// # Errors
    /// `Conflict` if it has run out or somebody else has it.
    pub async fn renew_with(&self, lease: &mut Lease, info: Value) -> Result<(), Error> {
        lease.record.info = info;
        self.renew(lease).await
    }

    /// Gives a lease back, so that others need not wait for its end.
    ///
    /// # Errors
    /// The bus cannot be reached. A lease that is lost already is fine.
    pub async fn release(&self, lease: Lease) -> Result<(), Error> {
        match self.bucket.delete(&lease.key, Some(lease.revision)).await {
            Err(Error::Conflict) => Ok(()),
            other => other,
        }
    }

    /// All leases, followed as they come and go.
    #[must_use]
    pub fn watch(&self) -> KvMirror<LeaseRecord> {
        self.bucket.mirror()
    }

    /// Acquires a lease as soon as it is free and renews it until the returned holder is released or dropped.
    #[must_use]
    pub fn hold(&self, key: &str, record: LeaseRecord) -> LeaseHolder {
        let (until, held_until) = watch::channel(None);
        let (info, infos) = watch::channel(record.info.clone());
        let stop = CancellationToken::new();
        let keeper = Keeper {
            store: self.clone(),
            key: key.to_owned(),
            record,
            until,
            infos,
        };
        let task = tokio::spawn(keeper.run(stop.clone()));
        LeaseHolder {
            held_until,
            info,
            task,
            stop: Arc::new(stop.drop_guard()),
        }
    }

    fn expiry(&self) -> Instant {
        Instant::now() + self.ttl * 9 / 10
    }
}

/// Keeps a lease.
pub struct LeaseHolder {
    held_until: watch::Receiver<Option<Instant>>,
    info: watch::Sender<Value>,
    task: tokio::task::JoinHandle<()>,
    stop: Arc<DropGuard>,
}

impl LeaseHolder {
    /// Whether the lease is held now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.held_until
            .borrow()
            .is_some_and(|until| until > Instant::now())
    }

    /// Waits until the lease is held.
    pub async fn held(&self) {
        let mut held_until = self.held_until.clone();
        let held = |until: &Option<Instant>| until.is_some_and(|until| until > Instant::now());
        if held_until.wait_for(held).await.is_err() {
            // The keeper has ended: it will never be held.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the lease is no longer held, be it because it could not be renewed in time.
    pub async fn lost(&self) {
        let mut held_until = self.held_until.clone();
        loop {
            let Some(until) = *held_until.borrow_and_update() else {
                return;
            };
            tokio::select! {
                () = tokio::time::sleep_until(until) => return,
                changed = held_until.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Changes what the lease says of its holder, at once.
    pub fn set_info(&self, info: Value) {
        self.info.send_replace(info);
    }

    /// Gives the lease back and waits until that is done.
    pub async fn release(self) {
        let Self { task, stop, .. } = self;
        drop(stop);
        let _ = task.await;
    }
}

/// The task behind a holder.
struct Keeper {
    store: LeaseStore,
    key: String,
    record: LeaseRecord,
    until: watch::Sender<Option<Instant>>,
    infos: watch::Receiver<Value>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        loop {
            let acquired = tokio::select! {
                () = stop.cancelled() => return,
                lease = self.acquire() => lease,
            };
            if let Some(lease) = self.keep(acquired, &stop).await {
                self.until.send_replace(None);
                if let Err(error) = self.store.release(lease).await {
                    tracing::debug!(lease = self.key, error = %error, "a lease could not be given back");
                }
                return;
            }
            self.until.send_replace(None);
            tracing::warn!(lease = self.key, "a lease was lost");
        }
    }

    /// Waits for the lease: looks again when the bucket changes, and from time to time.
    async fn acquire(&self) -> Lease {
        let mut leases = self.store.watch();
        loop {
            let acquired = match self.store.acquire(&self.key, self.record.clone()).await {
                Ok(None) => self.store.resume(&self.key, &self.record).await,
                other => other,
            };
            match acquired {
                Ok(Some(lease)) => return lease,
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(lease = self.key, error = %error, "a lease cannot be asked for")
                }
            }
            tokio::select! {
                () = leases.changed() => {}
                () = tokio::time::sleep(self.store.ttl / 2) => {}
            }
        }
    }

    /// Renews the lease. Returns it when it is to be given back, and nothing when it is lost.
    async fn keep(&mut self, mut lease: Lease, stop: &CancellationToken) -> Option<Lease> {
        loop {
            self.until.send_replace(Some(lease.expires_at));
            tokio::select! {
                () = stop.cancelled() => return Some(lease),
                () = tokio::time::sleep(self.store.ttl / 3) => {}
                Ok(()) = self.infos.changed() => {}
            }
            self.record.info = self.infos.borrow_and_update().clone();
            let expires_at = lease.expires_at;
            let renewed = tokio::time::timeout_at(expires_at, self.renew(&mut lease)).await;
            if !renewed.unwrap_or(false) {
                return None;
            }
        }
    }

    /// Tries until the lease is renewed (true) or known to be lost.
    async fn renew(&self, lease: &mut Lease) -> bool {
        loop {
            let renewed = match self.store.renew_with(lease, self.record.info.clone()).await {
                Err(Error::Conflict) => match self.store.resume(&self.key, &self.record).await {
                    Ok(Some(ours)) => {
                        *lease = ours;
                        Ok(())
                    }
                    Ok(None) => return false,
                    Err(error) => Err(error),
                },
                other => other,
            };
            match renewed {
                Ok(()) => return true,
                Err(error) => {
                    tracing::debug!(lease = self.key, error = %error, "a lease could not be renewed yet");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}
