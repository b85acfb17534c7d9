//! The page on subjects, streams and buckets, from `nats/` and the names of this crate.

use std::collections::BTreeMap;

use halcyon_domain::{
    clock::Timestamp,
    event::EventId,
    id::{DatasourceId, OrganizationId, WorkerId},
    ontology::{Entity, ObjectKind, OntologyObject},
};
use halcyon_tests::reference::{check, code, codes, page, table};
use serde::Deserialize;
use uuid::Uuid;

use crate::{
    Service,
    objects::PublicObject,
    requests::ENDPOINTS,
    server::{AUDITOR, SUBSCRIBER},
    subjects::{HEARTBEATS, SERVICES, Subject, objects_filter},
};

const STREAMS: &str = include_str!("../../../nats/streams.toml");
const PERMISSIONS: &str = include_str!("../../../nats/permissions.toml");

/// Identifiers and a partition that are shown as what they stand for.
const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));
const DATASOURCE: DatasourceId = DatasourceId(Uuid::from_u128(2));
const WORKER: WorkerId = WorkerId(Uuid::from_u128(3));
const PARTITION: u16 = u16::MAX;

#[derive(Deserialize)]
struct Topology {
    stream: Vec<Definition>,
    bucket: Vec<Definition>,
}

/// A stream or a bucket, as far as the page shows it.
#[derive(Deserialize)]
struct Definition {
    name: String,
    description: String,
    #[serde(default)]
    subjects: Vec<String>,
    storage: String,
    max_bytes: u64,
    max_age: Option<String>,
    max_per_subject: Option<u64>,
    marker_ttl: Option<String>,
    when_full: String,
}

impl Definition {
    fn limits(&self) -> String {
        let size = Some(size(self.max_bytes));
        let age = self.max_age.clone();
        let messages = self.max_per_subject.map(|most| format!("{most} a subject"));
        let ttl = self
            .marker_ttl
            .as_ref()
            .map(|_| "entries may have a time to live".to_owned());
        let all: Vec<_> = [size, age, messages, ttl].into_iter().flatten().collect();
        all.join(", ")
    }
}

#[derive(Deserialize)]
struct Lists {
    publish: Vec<String>,
    subscribe: Vec<String>,
}

/// What each service may do.
struct Permissions(BTreeMap<String, Lists>);

impl Permissions {
    /// The services with a permission that `has` it, in a list that `of` chooses.
    fn services(&self, of: fn(&Lists) -> &Vec<String>, has: impl Fn(&str) -> bool) -> Vec<&'static str> {
        let holds = |name: &str| of(&self.0[name]).iter().any(|pattern| has(pattern));
        let every = holds("all");
        let names = Service::ALL.iter().map(|service| service.as_str());
        names.filter(|name| every || holds(name)).collect()
    }

    fn publishers(&self, subject: &str) -> Vec<&'static str> {
        self.services(|lists| &lists.publish, |pattern| matches(pattern, subject))
    }

    fn subscribers(&self, subject: &str) -> Vec<&'static str> {
        self.services(|lists| &lists.subscribe, |pattern| matches(pattern, subject))
    }

    /// Who may publish what begins with `prefix` and there ends or goes on with a new token.
    fn with(&self, prefix: &str) -> Vec<&'static str> {
        let begins = |pattern: &str| {
            let rest = pattern.strip_prefix(prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.services(|lists| &lists.publish, begins)
    }

    /// Who is told of a stream's new messages.
    fn consumers(&self, stream: &str) -> Vec<&'static str> {
        self.with(&format!("$JS.API.CONSUMER.MSG.NEXT.{stream}"))
    }

    /// Who looks up what a stream stores.
    fn readers(&self, stream: &str) -> Vec<&'static str> {
        self.with(&format!("$JS.API.DIRECT.GET.{stream}"))
    }

    /// Who follows a bucket.
    fn followers(&self, bucket: &str) -> Vec<&'static str> {
        self.with(&format!("$JS.API.CONSUMER.CREATE.KV_{bucket}"))
    }
}

/// Names in a cell of a table; all services are "all".
fn named(services: &[&str]) -> String {
    if services.len() == Service::ALL.len() {
        return "all".to_owned();
    }
    services.join(", ")
}

/// Whether a subject is one of a pattern with `*` and `>`.
fn matches(pattern: &str, subject: &str) -> bool {
    let mut rest = subject.split('.');
    for token in pattern.split('.') {
        match (token, rest.next()) {
            (">", Some(_)) => return true,
            ("*", Some(_)) => {}
            (token, Some(part)) if token == part => {}
            _ => return false,
        }
    }
    rest.next().is_none()
}

fn size(bytes: u64) -> String {
    match bytes >> 20 {
        mebi if mebi >= 1024 && mebi % 1024 == 0 => format!("{} GiB", mebi >> 10),
        mebi => format!("{mebi} MiB"),
    }
}

/// A sentence of a table, from a description that a file has in small letters. What looks like HTML stays visible.
fn sentence(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    let rest = rest.trim_end_matches('.').replace('<', "\\<");
    format!("{}{rest}.", first.to_uppercase())
}

/// A subject of each kind.
fn subjects() -> Vec<Subject> {
    let kind = ObjectKind::Alert;
    vec![
        Subject::Ingest(PARTITION),
        Subject::Ontology(PARTITION),
        Subject::DeadLetter(ORGANIZATION, DATASOURCE),
        Subject::Parked(PARTITION, DATASOURCE),
        Subject::Replay(PARTITION, DATASOURCE),
        Subject::Captured(ORGANIZATION, DATASOURCE),
        Subject::Config(ORGANIZATION, DATASOURCE),
        Subject::Audit(ORGANIZATION),
        Subject::Log(ORGANIZATION, DATASOURCE),
        Subject::Object(ORGANIZATION, DATASOURCE, kind),
        Subject::RecordedAudit(ORGANIZATION),
        Subject::AuditCheckpoint(ORGANIZATION),
        Subject::Heartbeat(WORKER),
        Subject::OutboxPoke,
        Subject::ReplayPoke(PARTITION),
    ]
}

/// The subject with words for the parts that differ from message to message.
fn shown(subject: Subject) -> String {
    let text = match subject {
        Subject::Object(..) => subject
            .to_string()
            .replace(&format!(".{}", ObjectKind::Alert), ".<kind>"),
        _ => subject.to_string(),
    };
    text.replace(&ORGANIZATION.to_string(), "<organisation>")
        .replace(&DATASOURCE.to_string(), "<datasource>")
        .replace(&WORKER.to_string(), "<worker>")
        .replace(&PARTITION.to_string(), "<partition>")
}

/// What travels on a subject of no stream; of a stream, its description says it.
fn purpose(subject: Subject, stream: Option<&Definition>) -> String {
    match (subject, stream) {
        (_, Some(stream)) => sentence(&stream.description),
        (Subject::Heartbeat(_), None) => {
            "What a worker says of itself, each second and on a change.".to_owned()
        }
        (Subject::RecordedAudit(_), None) => {
            "Entries of the audit trail, once they are in the chain.".to_owned()
        }
        (Subject::OutboxPoke, None) => "The hint that the outbox has rows.".to_owned(),
        (Subject::ReplayPoke(_), None) => "The hint that a partition has events to process anew.".to_owned(),
        (other, None) => panic!("{other} is of no stream and has no description"),
    }
}

fn public(text: &mut String) {
    let subject = shown(Subject::Object(ORGANIZATION, DATASOURCE, ObjectKind::Alert));
    let kinds = codes(ObjectKind::ALL.iter().map(|kind| kind.as_str()));
    let example = PublicObject {
        id: OntologyObject::Entity(entity()).id(ORGANIZATION, DATASOURCE),
        organization: ORGANIZATION,
        datasource: DATASOURCE,
        event: EventId::from_key(DATASOURCE, "1"),
        version: 1,
        received_at: Timestamp::default(),
        object: OntologyObject::Entity(entity()),
    };
    text.push_str(&format!(
        "## For users\n\n`{subject}`, where kind is one of {kinds}: each object after its commit, one a message. The \
         user `{SUBSCRIBER}` of the server's configuration may subscribe to these subjects (`{}` is all of them, \
         `{}` all of one datasource) and to the checkpoints of the audit trail, and do nothing else. A message may be \
         missed by who is not connected; the database has every object.\n\n```json\n{}\n```\n\n",
        objects_filter(None, None, None),
        objects_filter(None, Some(DATASOURCE), None).replace(&DATASOURCE.to_string(), "<datasource>"),
        serde_json::to_string_pretty(&example).unwrap(),
    ));
    let [entries, checkpoints] = [
        Subject::RecordedAudit(ORGANIZATION),
        Subject::AuditCheckpoint(ORGANIZATION),
    ]
    .map(shown);
    text.push_str(&format!(
        "`{entries}`: each entry of the audit trail once it is in the chain, with its number and hash, as \
         `GET /api/v1/audit` shows it. `{checkpoints}`: each signed checkpoint of the trail; the newest ones are kept. \
         Whoever keeps them can later show that the trail was cut or rewritten ([the audit trail](../audit.md)). The \
         user `{AUDITOR}` may subscribe to both, and do nothing else. No other subject is a contract with users.\n\n"
    ));
}

fn entity() -> Entity {
    Entity {
        kind: "user".to_owned(),
        key: "alice@example.com".to_owned(),
        name: Some("Alice".to_owned()),
        time: Some(Timestamp::default()),
        attributes: serde_json::Map::new(),
    }
}

fn message_subjects(text: &mut String, topology: &Topology, permissions: &Permissions) {
    let rows = subjects().into_iter().map(|subject| {
        let concrete = subject.to_string();
        let of = |stream: &&Definition| stream.subjects.iter().any(|pattern| matches(pattern, &concrete));
        let stream = topology.stream.iter().find(of);
        let mut receivers = permissions.subscribers(&concrete);
        match subject {
            Subject::Object(..) => receivers.push(SUBSCRIBER),
            Subject::RecordedAudit(_) => receivers.push(AUDITOR),
            Subject::AuditCheckpoint(_) => receivers.extend([SUBSCRIBER, AUDITOR]),
            _ => {}
        }
        vec![
            code(&shown(subject)),
            purpose(subject, stream),
            named(&permissions.publishers(&concrete)),
            named(&receivers),
            stream.map(|stream| code(&stream.name)).unwrap_or_default(),
        ]
    });
    text.push_str(
        "## Messages\n\nWho has no subscription reads the stream. Each service is an nkey user of its own, with the \
         permissions of `nats/permissions.toml` and no others.\n\n",
    );
    let head = ["Subject", "What", "Published by", "Subscribed to by", "Kept in"];
    text.push_str(&table(&head, rows));
    let rows = ENDPOINTS.iter().map(|(service, name, description)| {
        let subject = format!("{SERVICES}.{service}.{name}");
        let (asks, answers) = (
            permissions.publishers(&subject),
            permissions.subscribers(&subject),
        );
        vec![
            code(&subject),
            description.trim().to_owned(),
            named(&asks),
            named(&answers),
        ]
    });
    text.push_str("## Questions\n\nThe answer goes to an inbox that only the asking service may read.\n\n");
    text.push_str(&table(&["Subject", "What", "Asked by", "Answered by"], rows));
}

fn streams(text: &mut String, topology: &Topology, permissions: &Permissions) {
    text.push_str(
        "## Streams\n\nWhat is in a file is synced before it is acked; what is in memory costs no sync and is gone \
         when the server is killed. Who consumes a stream gets new messages and acks them; who reads it looks \
         stored ones up.\n\n",
    );
    let rows = topology.stream.iter().map(|stream| {
        vec![
            code(&stream.name),
            sentence(&stream.description),
            stream.storage.clone(),
            stream.limits(),
            stream.when_full.clone(),
            named(&permissions.consumers(&stream.name)),
            named(&permissions.readers(&stream.name)),
        ]
    });
    let head = [
        "Stream",
        "What",
        "Storage",
        "Limits",
        "When full",
        "Consumed by",
        "Read by",
    ];
    text.push_str(&table(&head, rows));
}

fn buckets(text: &mut String, topology: &Topology, permissions: &Permissions) {
    text.push_str("## Buckets\n\nKey-value state. Who follows a bucket is told of every change.\n\n");
    let rows = topology.bucket.iter().map(|bucket| {
        vec![
            code(&bucket.name),
            sentence(&bucket.description),
            bucket.storage.clone(),
            bucket.limits(),
            bucket.when_full.clone(),
            named(&permissions.with(&format!("$KV.{}", bucket.name))),
            named(&permissions.readers(&format!("KV_{}", bucket.name))),
            named(&permissions.followers(&bucket.name)),
        ]
    });
    let head = [
        "Bucket",
        "What",
        "Storage",
        "Limits",
        "When full",
        "Written by",
        "Read by",
        "Followed by",
    ];
    text.push_str(&table(&head, rows));
}

#[test]
fn the_subjects_reference_is_up_to_date() {
    let topology: Topology = toml::from_str(STREAMS).unwrap();
    let permissions = Permissions(toml::from_str(PERMISSIONS).unwrap());
    let sources = [
        "nats/streams.toml",
        "nats/permissions.toml",
        "shared/bus/src/subjects.rs",
        "shared/bus/src/requests.rs",
    ];
    let mut text = page("Subjects, streams and buckets", &sources);
    public(&mut text);
    message_subjects(&mut text, &topology, &permissions);
    streams(&mut text, &topology, &permissions);
    buckets(&mut text, &topology, &permissions);
    check("subjects.md", &text);
}

#[test]
fn the_reference_names_every_subject_that_somebody_may_use() {
    let known: Vec<_> = subjects().iter().map(ToString::to_string).collect();
    let asked = ENDPOINTS
        .iter()
        .map(|(service, name, _)| format!("{SERVICES}.{service}.{name}"));
    let known: Vec<_> = known.into_iter().chain(asked).collect();
    assert!(known.iter().any(|subject| matches(HEARTBEATS, subject)));
    let permissions: BTreeMap<String, Lists> = toml::from_str(PERMISSIONS).unwrap();
    let patterns = permissions
        .values()
        .flat_map(|lists| lists.publish.iter().chain(&lists.subscribe));
    for pattern in patterns.filter(|pattern| !pattern.starts_with(['$', '<'])) {
        let used = known.iter().any(|subject| matches(pattern, subject));
        assert!(used, "nothing is sent on `{pattern}`");
    }
}
