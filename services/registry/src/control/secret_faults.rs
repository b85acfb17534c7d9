//! What is the matter with secrets: those that have expired, and those in Vault while it does not answer.

use std::collections::BTreeSet;

use halcyon_domain::id::DatasourceId;

use crate::{
    Error,
    reconcile::{SecretFault, load::CONTROL_PLANE},
    run::Shared,
};

/// Secrets that cannot be used now, by datasource and name.
#[derive(Debug, Default)]
pub(super) struct SecretFaults {
    expired: BTreeSet<(DatasourceId, String)>,
    out_of_reach: BTreeSet<(DatasourceId, String)>,
    vault_was_away: bool,
    missed: BTreeSet<DatasourceId>,
}

impl SecretFaults {
    /// Reads them.
    pub(super) async fn read(shared: &Shared) -> Result<Self, Error> {
        let read = shared.store.read();
        let expired = read.secrets().expiring(CONTROL_PLANE, shared.clock.now()).await?;
        let vault_was_away = shared.keeper.vault_is_away();
        let missed = shared.keeper.missed();
        let out_of_reach = if vault_was_away || !missed.is_empty() {
            read.secrets().names_in_vault(CONTROL_PLANE).await?
        } else {
            Vec::new()
        };
        Ok(Self {
            expired: expired
                .into_iter()
                .map(|meta| (meta.datasource, meta.name))
                .collect(),
            out_of_reach: out_of_reach.into_iter().collect(),
            vault_was_away,
            missed,
        })
    }

    /// Whether Vault is still there or away, and the same secrets are missed.
    pub(super) fn are_current(&self, shared: &Shared) -> bool {
        self.vault_was_away == shared.keeper.vault_is_away() && self.missed == shared.keeper.missed()
    }

    /// What is the matter with one of these secrets of a datasource.
    pub(super) fn of(&self, datasource: DatasourceId, names: &[String]) -> Option<SecretFault> {
        let among = |faulty: &BTreeSet<(DatasourceId, String)>| {
            let mut names = names.iter();
            names
                .find(|name| faulty.contains(&(datasource, (*name).clone())))
                .cloned()
        };
        if let Some(name) = among(&self.expired) {
            return Some(SecretFault::Expired(name));
        }
        let is_missed = self.missed.contains(&datasource);
        let name = among(&self.out_of_reach).filter(|_| is_missed || self.vault_was_away)?;
        Some(SecretFault::Unavailable { name, is_missed })
    }
}
