//! The public keys of running processes. A service may write only its own processes' keys, so that a key found
//! here belongs to the service it stands under.

use std::{sync::Arc, time::Duration};

use halcyon_domain::id::InstanceId;
use serde::{Deserialize, Serialize};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Bucket, Bus, Error, InstanceKey, Service, subjects::BucketName};

/// How long a key stays without being written again.
const TTL: Duration = Duration::from_secs(3_600);

/// What a running process says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRecord {
    /// The public key to seal for.
    pub public_key: String,
}

/// Keeps a process's public key in the bucket while it lives.
pub struct InstanceRegistration {
    _stop: Arc<DropGuard>,
}

impl Bus {
    /// Puts this process's public key where the registry finds it, and keeps it there.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn register_instance(
        &self,
        instance: InstanceId,
        key: &InstanceKey,
    ) -> Result<InstanceRegistration, Error> {
        let bucket = instances(self);
        let name = name(self.service(), instance);
        let record = InstanceRecord {
            public_key: key.public_key().to_owned(),
        };
        bucket.put_with_ttl(&name, &record, TTL).await?;
        let stop = CancellationToken::new();
        let (stopped, mut connections) = (stop.clone(), self.connections());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = stopped.cancelled() => break,
                    () = tokio::time::sleep(TTL / 3) => {}
                    Ok(()) = connections.changed() => {}
                }
                if let Err(error) = bucket.put_with_ttl(&name, &record, TTL).await {
                    tracing::warn!(error = %error, "the process's public key could not be written again");
                    connections.mark_changed();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
            // Best effort: the key runs out by itself.
            let _ = bucket.delete(&name, None).await;
        });
        Ok(InstanceRegistration {
            _stop: Arc::new(stop.drop_guard()),
        })
    }

    /// The public key of a running process of a service.
    ///
    /// # Errors
    /// The bus cannot be reached.
    pub async fn instance_key(
        &self,
        service: Service,
        instance: InstanceId,
    ) -> Result<Option<String>, Error> {
        let entry = instances(self).get(&name(service, instance)).await?;
        Ok(entry.map(|entry| entry.value.public_key))
    }
}

fn instances(bus: &Bus) -> Bucket<InstanceRecord> {
    Bucket::new(bus, BucketName::Instances, "")
}

fn name(service: Service, instance: InstanceId) -> String {
    format!("{service}.{instance}")
}
