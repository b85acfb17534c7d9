//! Leases: a key that vanishes unless its holder renews it. A lease is no fence by itself: what must not be done
//! twice carries an epoch that the registry raises.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use halcyon_domain::lease::{Answer, Ask, LeaseKeeper, Step};
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
    /// How often this holder has held it.
    #[serde(default)]
    pub session: u64,
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
        let session = Arc::new(AtomicU64::new(1));
        let keeper = Keeper {
            session: session.clone(),
            store: self.clone(),
            key: key.to_owned(),
            record,
            until,
            infos,
        };
        let task = tokio::spawn(keeper.run(stop.clone()));
        LeaseHolder {
            held_until,
            session,
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
    session: Arc<AtomicU64>,
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

    /// Counts how often the lease was held.
    #[must_use]
    pub fn session(&self) -> u64 {
        self.session.load(Ordering::SeqCst)
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

/// The task behind a holder: asks what [`LeaseKeeper`] wants asked, and tells the holder what it may rely on.
struct Keeper {
    session: Arc<AtomicU64>,
    store: LeaseStore,
    key: String,
    record: LeaseRecord,
    until: watch::Sender<Option<Instant>>,
    infos: watch::Receiver<Value>,
}

impl Keeper {
    async fn run(mut self, stop: CancellationToken) {
        let (origin, leases) = (Instant::now(), self.store.watch());
        let mut machine = LeaseKeeper::new(self.store.ttl);
        let mut waiting: Waiting<'_> = Box::pin(std::future::pending());
        let mut changes = leases.clone();
        loop {
            let mut step = machine.step(origin.elapsed());
            // Before the lease can be held anew.
            self.record.session = machine.session();
            self.session.store(machine.session(), Ordering::SeqCst);
            if let Step::Ask(number, ask) = step {
                waiting = self.asking(number, ask);
                step = machine.step(origin.elapsed());
            }
            self.show(&machine, origin);
            let wake = match step {
                Step::Wait(until) => origin + until,
                Step::Ask(..) => continue,
            };
            tokio::select! {
                () = stop.cancelled() => break,
                (number, answer) = &mut waiting => {
                    waiting = Box::pin(std::future::pending());
                    if let Step::Ask(number, ask) = machine.answer(number, answer, origin.elapsed()) {
                        self.record.session = machine.session();
                        waiting = self.asking(number, ask);
                    }
                }
                // Free again, as far as this process knows.
                () = changes.changed() => if leases.get(&self.key).is_none() { machine.hint(origin.elapsed()) },
                Ok(()) = self.infos.changed() => {
                    self.record.info = self.infos.borrow_and_update().clone();
                    machine.hint(origin.elapsed());
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        drop(waiting);
        let held = machine.held_until(origin.elapsed()).and(machine.revision());
        self.until.send_replace(None);
        if let Some(revision) = held {
            let released = self.store.bucket.delete(&self.key, Some(revision)).await;
            if let Err(error) = released {
                tracing::debug!(lease = self.key, error = %error, "a lease could not be given back");
            }
        }
    }

    /// Tells the holder until when the lease may be relied on.
    fn show(&self, machine: &LeaseKeeper, origin: Instant) {
        let until = machine.held_until(origin.elapsed()).map(|until| origin + until);
        self.until.send_if_modified(|shown| {
            if shown.is_some() && until.is_none() {
                tracing::warn!(lease = self.key, "a lease was lost");
            }
            let changed = *shown != until;
            *shown = until;
            changed
        });
    }

    fn asking(&self, number: u64, ask: Ask) -> Waiting<'static> {
        let (store, key, record) = (self.store.clone(), self.key.clone(), self.record.clone());
        Box::pin(async move { (number, store.ask(&key, &record, ask).await) })
    }
}

type Waiting<'a> = std::pin::Pin<Box<dyn Future<Output = (u64, Answer)> + Send + 'a>>;

impl LeaseStore {
    /// Asks the server on behalf of a keeper.
    async fn ask(&self, key: &str, record: &LeaseRecord, ask: Ask) -> Answer {
        let written = match ask {
            Ask::Create => self.bucket.create(key, record, Some(self.ttl)).await,
            Ask::Update { revision } => self.bucket.update_with_ttl(key, record, revision, self.ttl).await,
            Ask::Read => match self.bucket.get(key).await {
                Ok(Some(entry)) if entry.value.holder == record.holder => {
                    return Answer::Ours(entry.revision);
                }
                Ok(_) => return Answer::NotOurs,
                Err(error) => Err(error),
            },
        };
        match written {
            Ok(revision) => Answer::Written(revision),
            Err(Error::Conflict) => Answer::Conflict,
            Err(error) => {
                tracing::debug!(lease = key, error = %error, "a lease cannot be asked for or renewed yet");
                Answer::Unavailable
            }
        }
    }
}
