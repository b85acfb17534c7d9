//! The secrets service over a real bus, with the real permissions.

use halcyon_bus::{
    Error as BusError, RemoteError, Service,
    requests::{
        DeleteSecret, Empty, GetTokenKeys, IssueTicket, ListSecrets, OpenSecrets, OpenedSecrets, PublicKey,
        PutSecret, SecretDelete, SecretList, SecretPut, SecretsOpen, TicketIssue, TokenKeys,
    },
};
use halcyon_domain::{
    audit::AuditEntry,
    datasource::{Datasource, DatasourceEventKind},
};
use halcyon_tests::wait;
use serde_json::json;

use crate::fixture::{CALL, DEADLINE, Process, System, by};

fn signed() -> serde_json::Value {
    json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}})
}

fn open(process: &Process, service: Service, datasource: &Datasource, names: &[&str]) -> OpenSecrets {
    OpenSecrets {
        service,
        instance: process.instance,
        public_key: process.key.public_key().to_owned(),
        organization: datasource.organization,
        datasource: datasource.id,
        names: names.iter().map(|name| (*name).to_owned()).collect(),
        ticket: None,
        backfill: None,
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, BusError>) -> String {
    match result {
        Err(BusError::Remote(RemoteError { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

fn read(process: &Process, opened: &OpenedSecrets, name: &str) -> Result<Vec<u8>, BusError> {
    process.key.open(&opened.from, &opened.secrets[name][0].value)
}

#[tokio::test]
async fn a_signing_secret_reaches_the_gateway_that_asks_and_nobody_else() {
    let system = System::start().await;
    let registry = system.registry().await;
    let datasource = system.database.publish("http_webhook", signed()).await;
    let (gateway, other) = (
        system.process(Service::Gateway).await,
        system.process(Service::Gateway).await,
    );
    gateway.put_secret(&datasource, "signing", "s3cret").await;
    gateway.put_secret(&datasource, "unused", "x").await;

    let request = open(&gateway, Service::Gateway, &datasource, &["signing"]);
    let opened = gateway.bus.call::<SecretsOpen>(&request, CALL).await.unwrap();
    assert_eq!(read(&gateway, &opened, "signing").unwrap(), b"s3cret");
    assert!(read(&other, &opened, "signing").is_err());

    let pretends = OpenSecrets {
        public_key: other.key.public_key().to_owned(),
        ..request.clone()
    };
    assert_eq!(
        code(other.bus.call::<SecretsOpen>(&pretends, CALL).await),
        "refused"
    );
    let unnamed = open(&gateway, Service::Gateway, &datasource, &["unused"]);
    assert_eq!(
        code(gateway.bus.call::<SecretsOpen>(&unnamed, CALL).await),
        "refused"
    );
    let worker = system.process(Service::Worker).await;
    let request = open(&worker, Service::Worker, &datasource, &["signing"]);
    assert_eq!(
        code(worker.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused"
    );

    let list = ListSecrets {
        organization: datasource.organization,
        datasource: datasource.id,
    };
    let names: Vec<_> = gateway
        .bus
        .call::<SecretList>(&list, CALL)
        .await
        .unwrap()
        .into_iter()
        .map(|s| s.name)
        .collect();
    assert_eq!(names, ["signing", "unused"]);
    let delete = DeleteSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: Some("signing".to_owned()),
        by: by(),
    };
    gateway.bus.call::<SecretDelete>(&delete, CALL).await.unwrap();
    assert_eq!(
        code(gateway.bus.call::<SecretDelete>(&delete, CALL).await),
        "not_found"
    );
    registry.stop().await;
}

#[tokio::test]
async fn a_workers_secrets_are_those_of_its_own_sources() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let connection = json!({"token": {"$secret": "token"}});
    let source = system.database.publish("generator", connection).await;
    let gateway = system.process(Service::Gateway).await;
    gateway.put_secret(&source, "token", "s3cret").await;
    let (holder, other) = (
        system.process(Service::Worker).await,
        system.process(Service::Worker).await,
    );
    let _lease = holder.hold_worker_lease().await;
    system
        .notify(&gateway.bus, &source, DatasourceEventKind::Published)
        .await;

    let request = open(&holder, Service::Worker, &source, &["token"]);
    let opened = || async { holder.bus.call::<SecretsOpen>(&request, CALL).await.ok() };
    wait::eventually(DEADLINE, || async { opened().await.is_some() })
        .await
        .unwrap();
    assert_eq!(
        read(&holder, &opened().await.unwrap(), "token").unwrap(),
        b"s3cret"
    );
    let request = open(&other, Service::Worker, &source, &["token"]);
    assert_eq!(
        code(other.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused"
    );
    let request = open(&gateway, Service::Gateway, &source, &["token"]);
    assert_eq!(
        code(gateway.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused",
        "gateways fetch nothing"
    );
}

#[tokio::test]
async fn a_backfills_secrets_are_for_the_worker_that_has_the_backfill() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let gateway = system.process(Service::Gateway).await;
    let workers = [
        system.process(Service::Worker).await,
        system.process(Service::Worker).await,
    ];
    let _leases = [
        workers[0].hold_worker_lease().await,
        workers[1].hold_worker_lease().await,
    ];
    let has = async |datasource: &Datasource, backfill| {
        let mut has = [false; 2];
        for (worker, has) in workers.iter().zip(&mut has) {
            let request = OpenSecrets {
                backfill,
                ..open(worker, Service::Worker, datasource, &["token"])
            };
            let opened = worker.bus.call::<SecretsOpen>(&request, CALL).await;
            *has = opened.is_ok_and(|opened| read(worker, &opened, "token").unwrap() == b"s3cret");
        }
        has
    };
    // Work is spread evenly, so that not every backfill is with the live source for long.
    let mut apart = None;
    for _ in 0..8 {
        let connection = json!({"token": {"$secret": "token"}});
        let source = system.database.publish("generator", connection).await;
        gateway.put_secret(&source, "token", "s3cret").await;
        let backfill = system.database.ask_for_backfill(&source).await;
        system
            .notify(&gateway.bus, &source, DatasourceEventKind::BackfillRequested)
            .await;
        let is_one = |has: [bool; 2]| has[0] != has[1];
        wait::eventually(DEADLINE, || async {
            is_one(has(&source, None).await) && is_one(has(&source, Some(backfill)).await)
        })
        .await
        .unwrap();
        if has(&source, None).await != has(&source, Some(backfill)).await {
            apart = Some(backfill);
            break;
        }
    }
    let apart = apart.expect("no backfill is on the other worker");
    let another = system.database.publish("generator", json!({})).await;
    assert_eq!(
        has(&another, Some(apart)).await,
        [false; 2],
        "it is of another datasource"
    );
}

#[tokio::test]
async fn what_is_sealed_for_another_registry_is_answered_with_a_word_for_it() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let datasource = system.database.publish("http_webhook", signed()).await;
    let gateway = system.process(Service::Gateway).await;
    let gone = halcyon_bus::InstanceKey::generate();
    let mut request = PutSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: "signing".to_owned(),
        from: gateway.key.public_key().to_owned(),
        to: gone.public_key().to_owned(),
        value: gateway.key.seal(gone.public_key(), b"x").unwrap(),
        expires_at: None,
        change: Default::default(),
        by: by(),
    };
    assert_eq!(
        code(gateway.bus.call::<SecretPut>(&request, CALL).await),
        "unknown_key"
    );
    request.to = gateway
        .bus
        .call::<PublicKey>(&Empty {}, CALL)
        .await
        .unwrap()
        .public_key;
    assert_eq!(
        code(gateway.bus.call::<SecretPut>(&request, CALL).await),
        "invalid"
    );
    request.value = gateway.key.seal(&request.to, b"x").unwrap();
    request.name = "not a name".to_owned();
    assert_eq!(
        code(gateway.bus.call::<SecretPut>(&request, CALL).await),
        "invalid"
    );
}

#[tokio::test]
async fn a_ticket_is_good_for_its_names_once_and_leaves_an_audit_entry() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let datasource = system.database.publish("http_webhook", signed()).await;
    let (gateway, runner) = (
        system.process(Service::Gateway).await,
        system.process(Service::TestRunner).await,
    );
    gateway.put_secret(&datasource, "signing", "s3cret").await;
    let issue = IssueTicket {
        organization: datasource.organization,
        datasource: datasource.id,
        names: vec!["signing".to_owned(), "absent".to_owned()],
        by: by(),
    };
    let ticket = gateway.bus.call::<TicketIssue>(&issue, CALL).await.unwrap();

    let mut request = open(&runner, Service::TestRunner, &datasource, &["signing", "absent"]);
    assert_eq!(
        code(runner.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused",
        "without a ticket"
    );
    request.ticket = Some(ticket.ticket);
    let opened = runner.bus.call::<SecretsOpen>(&request, CALL).await.unwrap();
    assert_eq!(read(&runner, &opened, "signing").unwrap(), b"s3cret");
    assert!(!opened.secrets.contains_key("absent"));
    assert_eq!(
        code(runner.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused",
        "a second time"
    );

    let narrow = gateway
        .bus
        .call::<TicketIssue>(
            &IssueTicket {
                names: Vec::new(),
                ..issue
            },
            CALL,
        )
        .await
        .unwrap();
    request.ticket = Some(narrow.ticket);
    assert_eq!(
        code(runner.bus.call::<SecretsOpen>(&request, CALL).await),
        "refused",
        "for other names"
    );

    let mut trail = system.connect(Service::Audit).await.audit_consumer();
    let entry: AuditEntry = trail.next().await.json().unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.actor.name.as_str(), entry.version),
        ("secret.open", "ada", Some(1))
    );
}

#[tokio::test]
async fn token_keys_are_for_gateways_and_the_same_for_all_of_them() {
    let system = System::start().await;
    let _registry = system.registry().await;
    let mut keys = Vec::new();
    for gateway in [
        system.process(Service::Gateway).await,
        system.process(Service::Gateway).await,
    ] {
        let public_key = gateway.key.public_key().to_owned();
        let request = GetTokenKeys {
            instance: gateway.instance,
            public_key,
        };
        let answer = gateway.bus.call::<TokenKeys>(&request, CALL).await.unwrap();
        keys.push(
            gateway
                .key
                .open(&answer.from, answer.keys[0].private_key.as_ref().unwrap())
                .unwrap(),
        );
    }
    assert_eq!(keys[0], keys[1]);
    let worker = system.process(Service::Worker).await;
    let request = GetTokenKeys {
        instance: worker.instance,
        public_key: worker.key.public_key().to_owned(),
    };
    let gateway = system.connect(Service::Gateway).await;
    assert_eq!(code(gateway.call::<TokenKeys>(&request, CALL).await), "refused");
}
