//! Checking an organisation's trail from its first entry to its last.

use halcyon_domain::id::OrganizationId;
use halcyon_store::{Store, Tenant};

use crate::chain::{Broken, Verifier};

/// How many entries are read at a time.
const PAGE: u64 = 1_000;

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// How many entries are in order.
    pub entries: i64,
    /// The first thing that is wrong, if anything is.
    pub broken: Option<Broken>,
}

/// Checks the trail of an organisation.
///
/// # Errors
/// The database fails.
pub async fn verify(store: &Store, organization: OrganizationId) -> Result<Verified, halcyon_store::Error> {
    let mut verifier = Verifier::new(organization);
    let read = store.read();
    loop {
        let links = read
            .audit()
            .chain(Tenant(organization), verifier.checked(), PAGE)
            .await?;
        if links.is_empty() {
            return Ok(Verified {
                entries: verifier.checked(),
                broken: None,
            });
        }
        for link in &links {
            if let Err(broken) = verifier.check(link) {
                return Ok(Verified {
                    entries: verifier.checked(),
                    broken: Some(broken),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::{
        audit::{Actor, ActorKind, AuditEntry, AuditOutcome, Resource},
        clock::Timestamp,
        id::AuditEntryId,
    };
    use halcyon_store::StoreSettings;

    use super::*;
    use crate::append::append;

    fn entry(organization: OrganizationId) -> AuditEntry {
        AuditEntry {
            id: AuditEntryId::generate(),
            organization,
            at: Timestamp::default(),
            actor: Actor {
                kind: ActorKind::System,
                id: None,
                name: "test".into(),
            },
            action: "datasource.publish".into(),
            resource: Resource {
                kind: "datasource".into(),
                id: None,
                name: None,
            },
            version: Some(1),
            outcome: AuditOutcome::Succeeded,
            diff: None,
            summary: None,
            request_id: None,
            remote_ip: None,
        }
    }

    #[tokio::test]
    async fn what_was_appended_verifies_and_a_redelivery_adds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}?mode=rwc", folder.path().join("audit.db").display());
        let store = Store::connect(&StoreSettings {
            url,
            ..StoreSettings::default()
        })
        .await
        .unwrap();
        store.migrate().await.unwrap();
        let (one, other) = (OrganizationId::generate(), OrganizationId::generate());
        let entries: Vec<_> = (0..7)
            .map(|n| entry(if n % 3 == 0 { other } else { one }))
            .collect();
        assert_eq!(append(&store, entries.clone()).await.unwrap(), 7);
        assert_eq!(append(&store, entries).await.unwrap(), 0);
        assert_eq!(append(&store, vec![entry(one)]).await.unwrap(), 1);
        let verified = verify(&store, one).await.unwrap();
        assert_eq!(
            verified,
            Verified {
                entries: 5,
                broken: None
            }
        );
        assert_eq!(verify(&store, other).await.unwrap().entries, 3);
    }
}
