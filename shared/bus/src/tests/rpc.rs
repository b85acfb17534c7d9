//! Questions and answers.

use std::time::Duration;

use super::support::{connect, server};
use crate::{
    Error, RemoteError, Service,
    requests::{Empty, GetTokenKeys, PublicKey, RegistryKey, RunTest, SecretsOpen, TokenKeys},
};
use halcyon_domain::id::InstanceId;

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn a_question_is_answered_and_an_error_travels_typed() {
    let (nats, bus) = server().await;
    let serving = bus.serve("registry", "0.1.0", "control plane").await.unwrap();
    serving
        .endpoint::<PublicKey, _, _>(|_, _| async {
            Ok(RegistryKey {
                public_key: "X1".to_owned(),
            })
        })
        .await
        .unwrap();
    serving
        .endpoint::<TokenKeys, _, _>(|_, _| async { Err(RemoteError::transient("not_ready", "no keys yet")) })
        .await
        .unwrap();
    let asker = connect(&nats, Service::Gateway).await;
    let answer = asker.call::<PublicKey>(&Empty {}, WAIT).await.unwrap();
    assert_eq!(answer.public_key, "X1");
    let question = GetTokenKeys {
        instance: InstanceId::generate(),
        public_key: "X2".to_owned(),
    };
    let error = asker.call::<TokenKeys>(&question, WAIT).await.unwrap_err();
    assert!(error.is_unavailable());
    assert!(matches!(error, Error::Remote(RemoteError { code, retry: true, .. }) if code == "not_ready"));

    // Discoverable as a NATS service.
    let found = asker
        .client()
        .request("$SRV.INFO.halcyon-registry", "".into())
        .await
        .unwrap();
    let info: serde_json::Value = serde_json::from_slice(&found.payload).unwrap();
    assert_eq!(info["endpoints"].as_array().unwrap().len(), 2);
    serving.stop().await;
    let error = asker.call::<PublicKey>(&Empty {}, WAIT).await.unwrap_err();
    assert!(matches!(error, Error::NoResponders(_)), "{error}");
}

#[tokio::test]
async fn an_endpoint_of_another_service_is_refused() {
    let (_nats, bus) = server().await;
    let serving = bus.serve("registry", "0.1.0", "control plane").await.unwrap();
    let refused = serving
        .endpoint::<RunTest, _, _>(|_, _| async { Err(RemoteError::new("x", "x")) })
        .await;
    assert!(matches!(refused, Err(Error::Setup(_))));
}

#[tokio::test]
async fn a_slow_answer_is_a_timeout_and_stop_waits_for_it() {
    let (_nats, bus) = server().await;
    let serving = bus.serve("registry", "0.1.0", "control plane").await.unwrap();
    let (entered, mut enters) = tokio::sync::mpsc::unbounded_channel();
    let (leave, leaves) = tokio::sync::watch::channel(false);
    serving
        .endpoint::<PublicKey, _, _>(move |_, _| {
            let (entered, mut leaves) = (entered.clone(), leaves.clone());
            async move {
                entered.send(()).unwrap();
                leaves.wait_for(|leave| *leave).await.unwrap();
                Ok(RegistryKey {
                    public_key: "X".to_owned(),
                })
            }
        })
        .await
        .unwrap();
    let error = bus
        .call::<PublicKey>(&Empty {}, Duration::from_millis(100))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Timeout(_)));
    let asked = bus.clone();
    let call = tokio::spawn(async move { asked.call::<PublicKey>(&Empty {}, WAIT).await });
    enters.recv().await.unwrap();
    enters.recv().await.unwrap();
    let stop = tokio::spawn(serving.stop());
    leave.send(true).unwrap();
    assert_eq!(call.await.unwrap().unwrap().public_key, "X");
    stop.await.unwrap();
}

#[tokio::test]
async fn nobody_there_is_told_apart() {
    let (_nats, bus) = server().await;
    let error = bus.call::<SecretsOpen>(&open_secrets(), WAIT).await.unwrap_err();
    assert!(matches!(error, Error::NoResponders(_)));
}

fn open_secrets() -> crate::requests::OpenSecrets {
    crate::requests::OpenSecrets {
        service: Service::Worker,
        instance: InstanceId::generate(),
        public_key: "X".to_owned(),
        organization: halcyon_domain::id::OrganizationId::generate(),
        datasource: halcyon_domain::id::DatasourceId::generate(),
        names: vec!["signing".to_owned()],
        ticket: None,
        backfill: None,
    }
}
