//! What the leader does about secrets from time to time: values that have had their day are destroyed, expiries are
//! announced, keys are wrapped by the newest key-encryption key.

use std::time::Duration;

use chrono::TimeDelta;
use halcyon_domain::{clock::Timestamp, datasource::DatasourceEventKind};
use halcyon_store::{SecretMeta, Tenant};
use tokio::time::{MissedTickBehavior, interval};

use super::{entries, keeper::Keeper};
use crate::{Error, reconcile::load::CONTROL_PLANE, run::Shared};

/// Rows that are handled in one round.
const BATCH: u64 = 256;

/// Looks after the secrets, again and again.
pub(crate) async fn keep(shared: &Shared) {
    let mut interval = interval(
        shared
            .settings
            .secrets
            .sweep_interval
            .get()
            .max(Duration::from_millis(100)),
    );
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        shared.keeper.sweep().await;
        shared.bus.poke_outbox().await;
    }
}

impl Keeper {
    /// Does all that is due. What fails is done at the next round.
    pub(crate) async fn sweep(&self) {
        self.look_at_keys();
        if let Err(error) = self.wipe_outlived().await {
            tracing::warn!(error = %error, "replaced secrets could not be destroyed yet");
        }
        if let Err(error) = self.announce_expiries().await {
            tracing::warn!(error = %error, "expiries of secrets could not be announced yet");
        }
        if let Err(error) = self.rewrap(|_| ()).await {
            tracing::warn!(error = %error, "not all keys could be wrapped by the newest key yet");
        }
        if let Err(error) = self.ask_vault().await {
            tracing::debug!(error = %error, "vault does not answer");
        } else if let Err(error) = self.tidy_up().await {
            tracing::warn!(error = %error, "not all unused values in vault could be destroyed yet");
        }
    }

    /// Whether Vault, if there is one, answers.
    pub(crate) async fn ask_vault(&self) -> Result<(), Error> {
        match &self.vault {
            Some(vault) => self.watched(vault.check().await),
            None => Ok(()),
        }
    }

    /// Takes over what has changed in the key file.
    fn look_at_keys(&self) {
        match self.keys.file().map(halcyon_secrets::KeyFile::reload) {
            Some(Ok(true)) => tracing::info!("the key file has changed and was read again"),
            Some(Err(error)) => {
                tracing::warn!(error = %error, "the key file cannot be read again; the keys read before stay");
            }
            Some(Ok(false)) | None => {}
        }
    }

    /// Destroys versions that are accepted no more.
    pub(super) async fn wipe_outlived(&self) -> Result<u64, Error> {
        let mut wiped = 0;
        loop {
            let now = self.clock.now();
            let outlived = self
                .store
                .read()
                .secrets()
                .outlived(CONTROL_PLANE, now, BATCH)
                .await?;
            if outlived.is_empty() {
                return Ok(wiped);
            }
            let tx = self.store.begin().await?;
            for meta in &outlived {
                tx.secrets()
                    .destroy_version(Tenant(meta.organization), meta.id)
                    .await?;
            }
            self.leave_chores(&tx, &outlived, now).await?;
            tx.commit().await?;
            wiped += outlived.len() as u64;
        }
    }

    /// Says in the datasources' histories what will expire soon and what has expired, each once.
    pub(super) async fn announce_expiries(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let warnings = self.warnings();
        let horizon = warnings.last().copied().unwrap_or_default();
        let expiring = self
            .store
            .read()
            .secrets()
            .expiring(CONTROL_PLANE, now + horizon)
            .await?;
        for meta in expiring {
            if let Some(due) = due(&meta, &warnings, now) {
                self.announce(&meta, due, now).await?;
            }
        }
        Ok(())
    }

    async fn announce(&self, meta: &SecretMeta, ahead: TimeDelta, now: Timestamp) -> Result<(), Error> {
        let tenant = Tenant(meta.organization);
        let tx = self.store.begin().await?;
        let Some(datasource) = tx.datasources().lock(tenant, meta.datasource).await? else {
            return Ok(());
        };
        if !tx
            .secrets()
            .note_expiry(tenant, meta.id, ahead.num_seconds())
            .await?
        {
            return Ok(());
        }
        let until = meta.expires_at.unwrap_or(now);
        let (kind, message) = if until > now {
            let message = format!("secret `{}` expires {}", meta.name, ahead_text(until - now));
            (DatasourceEventKind::SecretExpiring, message)
        } else {
            let message = format!("secret `{}` has expired and is no longer used", meta.name);
            (DatasourceEventKind::SecretExpired, message)
        };
        entries::notify(&tx, &datasource, kind, None, message, now).await?;
        Ok(tx.commit().await?)
    }

    /// How long before an expiry it is announced, the shortest first.
    fn warnings(&self) -> Vec<TimeDelta> {
        let configured = self.settings.expiry_warnings.iter();
        let mut warnings: Vec<_> = configured
            .filter_map(|warning| TimeDelta::from_std(warning.get()).ok())
            .collect();
        warnings.sort_unstable();
        warnings
    }

    /// Destroys what is in Vault without a row.
    pub(crate) async fn tidy_up(&self) -> Result<(), Error> {
        loop {
            let now = self.clock.now();
            let due = self
                .store
                .read()
                .secrets()
                .due_chores(CONTROL_PLANE, now, BATCH)
                .await?;
            let mut done = 0;
            for chore in &due {
                if self.store.read().secrets().is_being_written(chore, now).await? {
                    continue;
                }
                self.tidy(chore.organization, chore.datasource, &chore.name)
                    .await?;
                let tx = self.store.begin().await?;
                tx.secrets().finish_chore(chore.id).await?;
                tx.commit().await?;
                done += 1;
            }
            if done == 0 {
                return Ok(());
            }
        }
    }
}

/// How far ahead of its expiry a secret is, as one of the warnings (zero once it has expired), if that was not said.
fn due(meta: &SecretMeta, warnings: &[TimeDelta], now: Timestamp) -> Option<TimeDelta> {
    let left = meta.expires_at? - now;
    let due = if left <= TimeDelta::zero() {
        TimeDelta::zero()
    } else {
        warnings.iter().copied().find(|warning| left <= *warning)?
    };
    let said = meta.expiry_notice.is_some_and(|said| said <= due.num_seconds());
    (!said).then_some(due)
}

fn ahead_text(left: TimeDelta) -> String {
    match (left.num_days(), left.num_hours(), left.num_minutes()) {
        (days, ..) if days >= 2 => format!("in {days} days"),
        (_, hours, _) if hours >= 2 => format!("in {hours} hours"),
        (.., minutes) => format!("in {} minutes", minutes.max(1)),
    }
}
