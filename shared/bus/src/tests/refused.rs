//! What each service is refused, message by message: the server says so by name.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use halcyon_tests::{nats::Nats, wait::eventually};
use secrecy::ExposeSecret;
use tokio::sync::Mutex;

use crate::{
    Identity, Service,
    server::{ServerParams, server_config},
};

/// Commands, other services' data, and the keys of JetStream's interface that lead to them.
const PUBLISHED: [(Service, &[&str]); 6] = [
    (
        Service::Worker,
        &[
            "hc.config.org.ds",
            "hc.ingest.0",
            "hc.audit.org",
            "hc.outbox.poke",
            "halcyon.org.ds.alert",
            "hc.svc.registry.secret_put",
            "hc.svc.registry.token_keys",
            "hc.svc.registry.ticket_issue",
            "hc.svc.testrunner.run",
            "$KV.ASSIGNMENTS.partition.0",
            "$KV.ROUTES.ds",
            "$KV.LEASES.registry-leader",
            "$KV.LEASES.outbox-relay",
            "$KV.INSTANCES.gateway.x",
            "$JS.API.STREAM.DELETE.INGEST",
            "$JS.API.STREAM.PURGE.INGEST",
            "$JS.API.STREAM.UPDATE.INGEST",
            "$JS.API.STREAM.MSG.GET.AUDIT",
            "$JS.API.DIRECT.GET.AUDIT",
            "$JS.API.DIRECT.GET.KV_ROUTES.$KV.ROUTES.x",
            "$JS.API.CONSUMER.CREATE.ONTOLOGY.spy",
            "$JS.API.CONSUMER.CREATE.AUDIT.spy",
            "$JS.API.CONSUMER.MSG.NEXT.ONTOLOGY.ontology",
            "$JS.API.CONSUMER.DELETE.INGEST.worker-0",
            "$JS.ACK.ONTOLOGY.ontology.1.1.1.1.1",
            "_INBOX_gateway.x",
        ],
    ),
    (
        Service::TestRunner,
        &[
            "hc.ingest.0",
            "hc.ontology.0",
            "hc.config.org.ds",
            "hc.svc.registry.secret_put",
            "$KV.ASSIGNMENTS.partition.0",
            "$JS.API.CONSUMER.CREATE.INGEST.spy.hc.ingest.0",
        ],
    ),
    (
        Service::Gateway,
        &[
            "hc.ontology.0",
            "hc.deadletter.org.ds",
            "$KV.ASSIGNMENTS.partition.0",
            "$KV.CHECKPOINTS.ds",
            "$KV.LEASES.registry-leader",
            "$JS.API.STREAM.DELETE.INGEST",
            "$JS.API.CONSUMER.MSG.NEXT.INGEST.worker-0",
        ],
    ),
    (
        Service::Registry,
        &[
            "hc.ingest.0",
            "hc.ontology.0",
            "halcyon.org.ds.alert",
            "$JS.API.STREAM.DELETE.INGEST",
        ],
    ),
    (
        Service::Audit,
        &[
            "hc.config.org.ds",
            "hc.ingest.0",
            "$JS.API.STREAM.PURGE.AUDIT",
            "halcyon.org.ds.alert",
        ],
    ),
    (
        Service::Ontology,
        &[
            "hc.config.org.ds",
            "hc.ontology.0",
            "halcyon.org.audit",
            "$KV.ASSIGNMENTS.partition.0",
        ],
    ),
];

/// Whole trees, and other services' inboxes.
const LISTENED: [(Service, &[&str]); 6] = [
    (
        Service::Worker,
        &[
            ">",
            "hc.>",
            "hc.ingest.*",
            "hc.svc.registry.*",
            "$KV.>",
            "halcyon.>",
            "_INBOX_gateway.>",
            "$JS.>",
        ],
    ),
    (
        Service::TestRunner,
        &[
            ">",
            "hc.svc.registry.*",
            "hc.ingest.*",
            "_INBOX_worker.>",
            "halcyon.>",
        ],
    ),
    (
        Service::Gateway,
        &[">", "hc.svc.registry.*", "hc.audit.*", "_INBOX_registry.>"],
    ),
    (
        Service::Registry,
        &[
            ">",
            "hc.ingest.*",
            "hc.ontology.*",
            "halcyon.>",
            "_INBOX_gateway.>",
        ],
    ),
    (
        Service::Audit,
        &[">", "hc.audit.*", "hc.svc.registry.*", "_INBOX_gateway.>"],
    ),
    (
        Service::Ontology,
        &[">", "hc.ontology.*", "halcyon.*.audit", "_INBOX_worker.>"],
    ),
];

#[tokio::test]
async fn what_is_not_a_service_s_own_is_refused_by_name() {
    let identities = Service::ALL.map(Identity::generate);
    let users = identities
        .iter()
        .map(|id| (id.service(), id.public_key().unwrap()))
        .collect();
    let nats = Nats::start_with(|port, store| {
        let listen = format!("127.0.0.1:{port}").parse().unwrap();
        server_config(&ServerParams::new(
            listen,
            store.to_owned(),
            users,
            "look-only".into(),
        ))
        .unwrap()
    })
    .await
    .unwrap();
    for identity in &identities {
        let service = identity.service();
        let said = Arc::new(Mutex::new(BTreeSet::new()));
        let (seed, heard) = (identity.seed().unwrap().expose_secret().to_owned(), said.clone());
        let client = async_nats::ConnectOptions::with_nkey(seed)
            .custom_inbox_prefix(service.inbox_prefix())
            .event_callback(move |event| {
                let heard = heard.clone();
                async move {
                    heard.lock().await.insert(event.to_string().to_lowercase());
                }
            })
            .connect(nats.url())
            .await
            .unwrap();
        let of = |table: &[(Service, &'static [&'static str])]| {
            table
                .iter()
                .find(|(of, _)| *of == service)
                .map(|(_, subjects)| *subjects)
                .unwrap()
        };
        let (published, listened) = (of(&PUBLISHED), of(&LISTENED));
        let mut subscriptions = Vec::new();
        for subject in published {
            client.publish(*subject, "x".into()).await.unwrap();
        }
        for subject in listened {
            subscriptions.push(client.subscribe(*subject).await.unwrap());
        }
        client.flush().await.unwrap();
        let refused = |kind: &str, subject: &str| {
            format!("permissions violation for {kind} to \"{subject}\"").to_lowercase()
        };
        let expected: Vec<String> = published
            .iter()
            .map(|subject| refused("publish", subject))
            .chain(listened.iter().map(|subject| refused("subscription", subject)))
            .collect();
        let missing = || async {
            let said = said.lock().await;
            let unheard = expected
                .iter()
                .filter(|one| !said.iter().any(|text| text.contains(*one)));
            unheard.cloned().collect::<Vec<_>>()
        };
        // What is missing in the end is what the assertion shows.
        let _ = eventually(Duration::from_secs(10), || async { missing().await.is_empty() }).await;
        assert_eq!(
            missing().await,
            Vec::<String>::new(),
            "{service} is not refused these"
        );
    }
}
