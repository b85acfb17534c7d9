//! A request with an `Idempotency-Key` takes effect once, whatever dies when.
//!
//! The gateway claims the key before the use case runs. The run travels with the request's task, so that
//! [`App::commit`] marks the key in the very transaction that gives the request its effect: no use case has to
//! think of it. What commits several times marks the same key each time, which does no harm.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use chrono::TimeDelta;
use halcyon_domain::audit::Resource;
use halcyon_store::{KeptAnswer, KeyedRequest, Remembered, Tenant, WriteTx};

use super::{App, Error, RequestContext, Result, access::tenant};

tokio::task_local! {
    /// The request that this task carries out, if it has a key.
    static RUN: Arc<Run>;
}

/// How much longer than the longest request a claim lasts.
const MARGIN: TimeDelta = TimeDelta::seconds(5);

/// One run of a request with a key.
pub(crate) struct Run {
    tenant: Tenant,
    request: KeyedRequest,
    /// What it was done to: the first object that an audit entry names.
    object: Mutex<Option<String>>,
    /// Whether a transaction of it may have been committed.
    marked: AtomicBool,
    holds_secret: AtomicBool,
}

impl Run {
    /// A run of `key` by the caller; `hash` tells the request from another one with the same key.
    pub(crate) fn new(context: &RequestContext, key: String, hash: Vec<u8>) -> Self {
        Self {
            tenant: tenant(context),
            request: KeyedRequest {
                subject: context.actor().id.unwrap_or_default(),
                key,
                hash,
                claim: uuid::Uuid::new_v4(),
            },
            object: Mutex::default(),
            marked: AtomicBool::new(false),
            holds_secret: AtomicBool::new(false),
        }
    }

    /// Does `work` as this run.
    pub(crate) async fn scope<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        RUN.scope(self, work).await
    }

    /// Whether it took effect, or may have.
    pub(crate) fn took_effect(&self) -> bool {
        self.marked.load(Ordering::Acquire)
    }

    /// Whether its answer holds a secret.
    pub(crate) fn holds_secret(&self) -> bool {
        self.holds_secret.load(Ordering::Acquire)
    }
}

/// Says that the answer of the request under way holds a secret: it is not kept, and a repetition is told so.
pub(crate) fn answer_holds_secret() {
    let _ = RUN.try_with(|run| run.holds_secret.store(true, Ordering::Release));
}

/// Notes what the request under way was done to.
pub(super) fn touched(resource: &Resource) {
    let _ = RUN.try_with(|run| {
        let mut object = run.object.lock().unwrap_or_else(PoisonError::into_inner);
        if object.is_none() {
            *object = resource.id.as_ref().map(|id| format!("{} {id}", resource.kind));
        }
    });
}

impl App {
    /// Claims the key; says what is known of it. Only if it is [`Remembered::New`] may the request run.
    pub(crate) async fn claim(&self, run: &Run) -> Result<Remembered> {
        let now = self.clock.now();
        let lease = TimeDelta::from_std(self.options.request_timeout).map_err(Error::internal)? + MARGIN;
        let tx = self.store.begin().await?;
        let keys = tx.idempotency();
        let known = keys.claim(run.tenant, &run.request, now, now + lease).await?;
        tx.commit().await?;
        Ok(known)
    }

    /// Keeps the answer of a run.
    pub(crate) async fn keep_answer(&self, run: &Run, answer: &KeptAnswer) -> Result<()> {
        let tx = self.store.begin().await?;
        tx.idempotency().answer(run.tenant, &run.request, answer).await?;
        Ok(tx.commit().await?)
    }

    /// Lets the request run again, if it had no effect.
    pub(crate) async fn give_up(&self, run: &Run) -> Result<()> {
        let tx = self.store.begin().await?;
        tx.idempotency().give_up(run.tenant, &run.request).await?;
        Ok(tx.commit().await?)
    }

    /// Says in a transaction that with it the request under way takes effect.
    pub(super) async fn mark(&self, tx: &WriteTx) -> Result<()> {
        let Ok(run) = RUN.try_with(Arc::clone) else {
            return Ok(());
        };
        let object = run.object.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let keys = tx.idempotency();
        let held = keys.mark(run.tenant, &run.request, object.as_deref(), self.clock.now());
        if held.await? {
            run.marked.store(true, Ordering::Release);
            return Ok(());
        }
        Err(Error::Conflict {
            code: "request_in_flight",
            detail: "the request took too long; its repetition is under way".to_owned(),
        })
    }
}
