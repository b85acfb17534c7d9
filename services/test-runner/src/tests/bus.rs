//! A job over a real bus, with a registry of the test's own.

use std::collections::BTreeMap;

use halcyon_bus::{
    Bus, BusSettings, Identity, InstanceKey, RemoteError, Service,
    requests::{OpenedSecrets, RunTest, SealedSecret, SecretsOpen},
};
use halcyon_domain::test_run::CheckStatus;
use halcyon_infra::{Health, Metrics, Shutdown};
use halcyon_tests::nats::Nats;

use super::*;

const SOON: Duration = Duration::from_secs(20);

async fn connect(nats: &Nats, service: Service) -> Bus {
    let settings = BusSettings {
        url: nats.url(),
        ..BusSettings::default()
    };
    Bus::connect(&settings, &Identity::from_url(service))
        .await
        .unwrap()
}

#[tokio::test]
async fn a_job_is_answered_with_the_secrets_of_its_ticket() {
    let nats = Nats::start().await.unwrap();
    let registry = connect(&nats, Service::Registry).await;
    registry.ensure_streams(1).await.unwrap();
    let serving = registry
        .serve("registry", "0.1.0", "control plane")
        .await
        .unwrap();
    let (bus, key) = (registry.clone(), Arc::new(InstanceKey::generate()));
    serving
        .endpoint::<SecretsOpen, _, _>(move |asked, _| {
            let (bus, key) = (bus.clone(), Arc::clone(&key));
            async move {
                assert_eq!(asked.ticket.as_deref(), Some("ticket"));
                let known = bus.instance_key(asked.service, asked.instance).await.unwrap();
                if known.as_deref() != Some(asked.public_key.as_str()) {
                    return Err(RemoteError::new("refused", "unknown instance"));
                }
                let value = key.seal(&asked.public_key, b"canary-value").unwrap();
                let sealed = vec![SealedSecret {
                    version: 1,
                    value,
                    expires_at: None,
                }];
                let secrets = BTreeMap::from([(asked.names[0].clone(), sealed)]);
                Ok(OpenedSecrets {
                    from: key.public_key().to_owned(),
                    secrets,
                })
            }
        })
        .await
        .unwrap();

    let shutdown = Shutdown::new();
    let health = Health::new();
    let context = crate::Context {
        bus: connect(&nats, Service::TestRunner).await,
        clock: clock(),
        guard: guard(),
        health: health.clone(),
        metrics: Metrics::new().unwrap(),
        executable: None,
    };
    let running = tokio::spawn(crate::run(context, Settings::default(), shutdown.clone()));
    tokio::time::timeout(SOON, async {
        // Without a check everything is ready: the runner's own has to be there.
        while health.report().checks.is_empty() || !health.report().ready {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();

    let gateway = connect(&nats, Service::Gateway).await;
    let report = gateway
        .call::<RunTest>(&job(config(), payload(event("a"))), SOON)
        .await
        .unwrap();
    assert!(report.ok, "{report:#?}");
    assert_eq!(report.outputs.len(), 2);
    let secrets = report
        .checks
        .iter()
        .find(|check| check.name == "secrets")
        .unwrap();
    assert_eq!(secrets.status, CheckStatus::Passed);
    assert!(!format!("{report:?}").contains("canary"));

    shutdown.trigger();
    tokio::time::timeout(SOON, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    serving.stop().await;
}
