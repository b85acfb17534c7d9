//! Opening of secrets.

use std::collections::HashMap;

use halcyon_domain::{
    clock::Timestamp,
    id::{DatasourceId, OrganizationId, SecretId},
};
use halcyon_secrets::SecretString;
use halcyon_store::{SecretState, Tenant};

use super::keeper::{ATTEMPTS, Keeper};
use crate::Error;

/// A secret's version, opened.
pub(super) struct OpenedVersion {
    pub(super) id: SecretId,
    pub(super) version: u32,
    pub(super) value: SecretString,
    pub(super) ends_at: Option<Timestamp>,
    pub(super) last_read_at: Option<Timestamp>,
}

/// Which versions are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    /// All that count: what comes in may be signed with any of them.
    Live,
    /// The newest: what goes out uses it.
    Newest,
}

/// Opened secrets.
#[derive(Default)]
pub(super) struct Opened {
    /// The versions of each name, the newest first. A name without any is left out.
    pub(super) secrets: HashMap<String, Vec<OpenedVersion>>,
    /// Names whose newest version has expired.
    pub(super) expired: Vec<String>,
}

impl Opened {
    /// Each version with its secret's name.
    pub(super) fn versions(&self) -> Vec<(&str, &OpenedVersion)> {
        let mut all = Vec::new();
        for (name, versions) in &self.secrets {
            all.extend(versions.iter().map(|version| (name.as_str(), version)));
        }
        all
    }
}

impl Keeper {
    /// Opens named secrets.
    pub(super) async fn open(
        &self,
        organization: OrganizationId,
        datasource: DatasourceId,
        names: &[String],
        which: Which,
    ) -> Result<Opened, Error> {
        let mut opened = Opened::default();
        for name in names {
            let (versions, has_expired) = self
                .open_one(Tenant(organization), datasource, name, which)
                .await?;
            if has_expired {
                opened.expired.push(name.clone());
            }
            if !versions.is_empty() {
                opened.secrets.insert(name.clone(), versions);
            }
        }
        Ok(opened)
    }

    /// A value that is not where its row said may just have been moved: the rows are read again then.
    async fn open_one(
        &self,
        tenant: Tenant,
        datasource: DatasourceId,
        name: &str,
        which: Which,
    ) -> Result<(Vec<OpenedVersion>, bool), Error> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let now = self.clock.now();
            let kept = self
                .store
                .read()
                .secrets()
                .versions(tenant, datasource, name)
                .await?;
            let has_expired = kept.first().is_some_and(|newest| !newest.meta.is_live(now));
            let live = kept.iter().filter(|stored| {
                let wanted = which == Which::Live || stored.meta.state == SecretState::Active;
                wanted && stored.meta.is_live(now)
            });
            let mut versions = Vec::new();
            let mut moved = None;
            for stored in live {
                match self.value(stored).await {
                    Ok(value) => versions.push(OpenedVersion {
                        id: stored.meta.id,
                        version: stored.meta.version,
                        value,
                        ends_at: stored.meta.ends_at(),
                        last_read_at: stored.meta.last_read_at,
                    }),
                    Err(error @ Error::Secrets(halcyon_secrets::Error::Missing)) => moved = Some(error),
                    Err(error) => return Err(error),
                }
            }
            match moved {
                None => return Ok((versions, has_expired)),
                Some(error) if attempt == ATTEMPTS => return Err(error),
                Some(_) => {}
            }
        }
    }
}
