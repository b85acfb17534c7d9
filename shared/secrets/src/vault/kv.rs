//! Values in a KV version 2 engine: a path for each secret, a version of it for each of ours.

use halcyon_domain::id::{DatasourceId, OrganizationId};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use vaultrs::kv2;
use zeroize::ZeroizeOnDrop;

use super::Vault;
use crate::Error;

/// Which secret.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The organisation.
    pub organization: OrganizationId,
    /// The datasource.
    pub datasource: DatasourceId,
    /// The secret's name.
    pub name: &'a str,
}

/// What is kept: the value, and the version that it is of, so that none can be passed off as another.
#[derive(Serialize, Deserialize, ZeroizeOnDrop)]
struct Document {
    value: String,
    #[zeroize(skip)]
    id: Uuid,
}

impl Vault {
    fn path(&self, place: &Place<'_>) -> String {
        let prefix = self.settings.kv_prefix.trim_matches('/');
        let path = format!("{}/{}/{}", place.organization, place.datasource, place.name);
        if prefix.is_empty() {
            path
        } else {
            format!("{prefix}/{path}")
        }
    }

    /// Keeps the value of a secret's version. Returns the version that Vault gives it.
    ///
    /// # Errors
    /// Vault does not answer or does not allow it; the value may be there all the same.
    pub async fn put(&self, place: &Place<'_>, id: Uuid, value: &SecretString) -> Result<u64, Error> {
        let path = &self.path(place);
        let document = &Document {
            value: value.expose_secret().to_owned(),
            id,
        };
        let mount = &self.settings.kv_mount;
        let kept = self
            .ask(async |client| kv2::set(&*client, mount, path, document).await)
            .await?;
        Ok(kept.version)
    }

    /// Reads the value of a secret's version.
    ///
    /// # Errors
    /// Vault does not answer, does not allow it, or has none or another one there.
    pub async fn get(&self, place: &Place<'_>, id: Uuid, version: u64) -> Result<SecretString, Error> {
        let path = &self.path(place);
        let mount = &self.settings.kv_mount;
        let document: Document = self
            .ask(async |client| kv2::read_version(&*client, mount, path, version).await)
            .await?;
        if document.id != id {
            return Err(Error::Missing);
        }
        Ok(SecretString::from(document.value.as_str()))
    }

    /// The versions at a place whose values are there.
    ///
    /// # Errors
    /// Vault does not answer or does not allow it.
    pub async fn versions(&self, place: &Place<'_>) -> Result<Vec<u64>, Error> {
        let path = &self.path(place);
        let mount = &self.settings.kv_mount;
        let metadata = self
            .ask(async |client| kv2::read_metadata(&*client, mount, path).await)
            .await;
        let metadata = match metadata {
            Err(Error::Missing) => return Ok(Vec::new()),
            metadata => metadata?,
        };
        let there = metadata.versions.iter().filter(|(_, version)| !version.destroyed);
        let mut versions: Vec<u64> = there.filter_map(|(number, _)| number.parse().ok()).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Destroys values for good.
    ///
    /// # Errors
    /// Vault does not answer or does not allow it.
    pub async fn destroy(&self, place: &Place<'_>, versions: &[u64]) -> Result<(), Error> {
        let path = &self.path(place);
        let mount = &self.settings.kv_mount;
        self.ask(async |client| kv2::destroy_versions(&*client, mount, path, versions.to_vec()).await)
            .await
    }

    /// Forgets a secret with all that was ever there. Nobody may be writing it.
    ///
    /// # Errors
    /// Vault does not answer or does not allow it.
    pub async fn forget_place(&self, place: &Place<'_>) -> Result<(), Error> {
        let path = &self.path(place);
        let mount = &self.settings.kv_mount;
        self.ask(async |client| kv2::delete_metadata(&*client, mount, path).await)
            .await
    }
}
