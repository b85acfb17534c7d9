//! The secrets service: at rest, and over the bus with the real permissions.

use std::sync::Arc;

use chrono::TimeDelta;
use halcyon_bus::{
    Error as BusError, RemoteError, Service,
    requests::{
        DeleteSecret, Empty, GetTokenKeys, IssueTicket, ListSecrets, OpenSecrets, OpenedSecrets, PublicKey,
        PutSecret, SecretDelete, SecretList, SecretPut, SecretsOpen, TicketIssue, TokenKeys,
    },
};
use halcyon_domain::{
    audit::AuditEntry,
    clock::{Clock, ManualClock},
    datasource::Datasource,
    id::OrganizationId,
};
use halcyon_secrets::{ExposeSecret, TokenKey};
use halcyon_store::Topic;
use serde_json::json;

use super::vault::{NewSecret, Vault};
use crate::{
    Error,
    fixture::{CALL, Database, Process, System, by, now},
    reconcile::load::CONTROL_PLANE,
};

fn signed() -> serde_json::Value {
    json!({"auth": {"type": "bearer", "secret": {"$secret": "signing"}}})
}

fn new<'a>(
    datasource: &Datasource,
    value: &'a str,
    by: &'a halcyon_bus::requests::OnBehalf,
) -> NewSecret<'a> {
    NewSecret {
        organization: datasource.organization,
        datasource: datasource.id,
        name: "signing",
        value: value.as_bytes(),
        expires_at: None,
        overlap_until: None,
        by,
    }
}

async fn values(vault: &Vault, datasource: &Datasource) -> Vec<String> {
    let opened = vault
        .open(datasource.organization, datasource.id, &["signing".to_owned()])
        .await
        .unwrap();
    let versions = opened.get("signing").map(Vec::as_slice).unwrap_or_default();
    versions
        .iter()
        .map(|opened| String::from_utf8(opened.value.expose_secret().to_vec()).unwrap())
        .collect()
}

#[tokio::test]
async fn a_rotated_secret_counts_until_the_overlap_ends() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let clock = ManualClock::at(now());
    let vault = Vault::new(
        database.store.clone(),
        database.keyring(),
        Arc::new(clock.clone()),
    );
    let by = by();
    vault.put(&new(&datasource, "first", &by)).await.unwrap();
    clock.advance(TimeDelta::seconds(1));
    let overlap_until = Some(clock.now() + TimeDelta::minutes(5));
    let info = vault
        .put(&NewSecret {
            overlap_until,
            ..new(&datasource, "second", &by)
        })
        .await
        .unwrap();
    assert_eq!(
        (info.version, info.created_at - info.first_created_at),
        (2, TimeDelta::seconds(1))
    );
    assert_eq!(values(&vault, &datasource).await, ["second", "first"]);
    clock.advance(TimeDelta::minutes(5));
    assert_eq!(values(&vault, &datasource).await, ["second"]);
    vault.put(&new(&datasource, "third", &by)).await.unwrap();
    assert_eq!(
        values(&vault, &datasource).await,
        ["third"],
        "without an overlap the old one is void at once"
    );
}

#[tokio::test]
async fn a_write_leaves_one_audit_entry_and_one_notice_and_no_plaintext() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let vault = Vault::new(
        database.store.clone(),
        database.keyring(),
        Arc::new(ManualClock::at(now())),
    );
    vault.put(&new(&datasource, "canary-value", &by())).await.unwrap();
    let messages = database
        .store
        .read()
        .outbox()
        .next(CONTROL_PLANE, 10)
        .await
        .unwrap();
    let topics: Vec<_> = messages.iter().map(|row| row.message.topic).collect();
    assert_eq!(topics, [Topic::Config, Topic::Audit]);
    let entry: AuditEntry = serde_json::from_str(&messages[1].message.body).unwrap();
    assert_eq!(
        (entry.action.as_str(), entry.actor.name.as_str()),
        ("secret.write", "ada")
    );
    database.store.close().await.unwrap();
    for file in std::fs::read_dir(database.folder.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|window| window == b"canary-value"));
    }
}

#[tokio::test]
async fn another_tenant_and_another_kek_open_nothing() {
    let database = Database::new().await;
    let datasource = database.publish("http_webhook", signed()).await;
    let clock = Arc::new(ManualClock::at(now()));
    let vault = Vault::new(database.store.clone(), database.keyring(), clock.clone());
    vault.put(&new(&datasource, "value", &by())).await.unwrap();
    let stranger = Datasource {
        organization: OrganizationId::generate(),
        ..datasource.clone()
    };
    assert!(values(&vault, &stranger).await.is_empty());
    let by = by();
    assert!(matches!(
        vault.put(&new(&stranger, "x", &by)).await,
        Err(Error::NotFound("datasource"))
    ));
    let other = Database::new().await;
    let foreign = Vault::new(database.store.clone(), other.keyring(), clock);
    assert!(matches!(
        foreign
            .open(datasource.organization, datasource.id, &["signing".to_owned()])
            .await,
        Err(Error::Secrets(_))
    ));
}

#[tokio::test]
async fn two_registries_make_one_token_key() {
    let database = Database::new().await;
    let clock = Arc::new(ManualClock::at(now()));
    let one = Vault::new(database.store.clone(), database.keyring(), clock.clone());
    let other = Vault::new(database.store.clone(), database.keyring(), clock);
    let (one, other) = tokio::join!(one.token_keys(), other.token_keys());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!((one.len(), &one[0].id), (1, &other[0].id));
    assert_eq!(
        TokenKey::from_private(one[0].private.clone()).unwrap().public,
        other[0].public
    );
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
        overlap_until: None,
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
        (entry.action.as_str(), entry.actor.name.as_str()),
        ("secret.open", "ada")
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
                .open(&answer.from, &answer.keys[0].private_key)
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
