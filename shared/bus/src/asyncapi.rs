//! The subjects that users may subscribe to, described in AsyncAPI 3.0. What is described is taken from the subjects
//! themselves and from the messages' own schemas.

use halcyon_domain::{
    audit::{AuditCheckpoint, RecordedEntry},
    id::{DatasourceId, OrganizationId},
    ontology::ObjectKind,
};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::{
    objects::PublicObject,
    server::{AUDITOR, SUBSCRIBER},
    subjects::Subject,
};

/// What stands for the parts of a subject that differ from message to message.
const ORGANIZATION: OrganizationId = OrganizationId(Uuid::from_u128(1));
const DATASOURCE: DatasourceId = DatasourceId(Uuid::from_u128(2));

/// A channel that users may subscribe to.
struct Channel {
    name: &'static str,
    subject: Subject,
    title: &'static str,
    text: &'static str,
    /// The users of the server's configuration that may subscribe to it.
    users: &'static [&'static str],
    /// The message's name and schema.
    message: (&'static str, fn(&mut SchemaGenerator) -> Value),
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Value {
    generator.subschema_for::<T>().to_value()
}

/// Every one of them.
fn channels() -> Vec<Channel> {
    vec![
        Channel {
            name: "objects",
            subject: Subject::Object(ORGANIZATION, DATASOURCE, ObjectKind::Alert),
            title: "Committed objects",
            text: "Each alert, entity and relationship after its commit, one a message. A message may be missed by who \
               is not connected; the database has every object.",
            users: &[SUBSCRIBER],
            message: ("object", schema::<PublicObject>),
        },
        Channel {
            name: "audit",
            subject: Subject::RecordedAudit(ORGANIZATION),
            title: "The audit trail",
            text: "Each entry of the audit trail once it is in the chain, with its number and hash. A message may be \
               missed by who is not connected; the trail has every entry.",
            users: &[AUDITOR],
            message: ("recorded_entry", schema::<RecordedEntry>),
        },
        Channel {
            name: "audit_checkpoints",
            subject: Subject::AuditCheckpoint(ORGANIZATION),
            title: "Checkpoints of the audit trail",
            text: "Each signed checkpoint of the audit trail. Whoever keeps them can later show that the trail was cut or \
               rewritten.",
            users: &[SUBSCRIBER, AUDITOR],
            message: ("audit_checkpoint", schema::<AuditCheckpoint>),
        },
    ]
}

/// The subject with its parameters in braces.
fn address(subject: Subject) -> String {
    let text = subject.to_string();
    let text = match subject {
        Subject::Object(_, _, kind) => text.replace(&format!(".{kind}"), ".{kind}"),
        _ => text,
    };
    text.replace(&ORGANIZATION.to_string(), "{organization}")
        .replace(&DATASOURCE.to_string(), "{datasource}")
}

/// What the parameters of an address are.
fn parameters(address: &str) -> Map<String, Value> {
    let kinds: Vec<_> = ObjectKind::ALL.iter().map(|kind| kind.as_str()).collect();
    let known = [
        (
            "organization",
            json!({"description": "The organisation's identifier."}),
        ),
        (
            "datasource",
            json!({"description": "The datasource's identifier."}),
        ),
        (
            "kind",
            json!({"description": "The kind of object.", "enum": kinds}),
        ),
    ];
    known
        .into_iter()
        .filter(|(name, _)| address.contains(&format!("{{{name}}}")))
        .map(|(name, text)| (name.to_owned(), text))
        .collect()
}

/// The users that users of the system may be on the bus.
const USERS: [&str; 2] = [SUBSCRIBER, AUDITOR];

/// One of these users is needed.
fn security(users: &[&str]) -> Vec<Value> {
    let scheme = |user: &&str| json!({"$ref": format!("#/components/securitySchemes/{user}")});
    users.iter().map(scheme).collect()
}

/// The description.
#[must_use]
pub fn document(version: &str) -> Value {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let (mut all, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for channel in channels() {
        let address = address(channel.subject);
        let (message, payload) = (channel.message.0, (channel.message.1)(&mut generator));
        messages.insert(
            message.to_owned(),
            json!({"name": message, "title": channel.title, "contentType": "application/json", "payload": payload}),
        );
        operations.insert(
            format!("publish_{}", channel.name),
            json!({
                "security": security(channel.users),
                "action": "send", "summary": channel.title, "description": channel.text,
                "channel": {"$ref": format!("#/channels/{}", channel.name)},
                "messages": [{"$ref": format!("#/channels/{}/messages/{message}", channel.name)}],
            }),
        );
        all.insert(
            channel.name.to_owned(),
            json!({
                "address": address, "title": channel.title, "description": channel.text,
                "parameters": parameters(&address),
                "servers": [{"$ref": "#/servers/nats"}],
                "messages": {message: {"$ref": format!("#/components/messages/{message}")}},
            }),
        );
    }
    let users: Map<String, Value> = USERS
        .into_iter()
        .map(|user| {
            let text = format!("The user `{user}` and its password.");
            (
                user.to_owned(),
                json!({"type": "userPassword", "description": text}),
            )
        })
        .collect();
    json!({
        "asyncapi": "3.0.0",
        "id": "urn:halcyon:events",
        "info": {
            "title": "HALCYON Datasource Studio: events", "version": version,
            "description": format!(
                "What users may subscribe to on the bus, as the users `{SUBSCRIBER}` and `{AUDITOR}` of the server's \
                 configuration: each may subscribe to the channels that name it and do nothing else. `*` stands for \
                 any one part of a subject. No other subject is a contract with users."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {"nats": {
            "host": "{host}:{port}", "protocol": "nats",
            "description": "The nats-server of the installation; `halcyon up` prints its address.",
            "variables": {
                "host": {"default": "127.0.0.1", "description": "Its host."},
                "port": {"default": "4222", "description": "Its port."},
            },
            "security": security(&USERS),
        }},
        "channels": all,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": generator.take_definitions(true),
            "securitySchemes": users,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_asyncapi_reference_is_up_to_date() {
        let text = serde_json::to_string_pretty(&document(env!("CARGO_PKG_VERSION"))).unwrap();
        halcyon_tests::reference::check("asyncapi.json", &text);
    }

    #[test]
    fn every_channel_is_one_that_users_may_subscribe_to_and_every_reference_leads_somewhere() {
        let document = document("0.0.0");
        let channels = document["channels"].as_object().unwrap();
        assert!(!channels.is_empty());
        for channel in channels.values() {
            let address = channel["address"].as_str().unwrap();
            assert!(address.starts_with("halcyon."), "{address}");
            let braces = address.matches('{').count();
            assert_eq!(
                channel["parameters"].as_object().unwrap().len(),
                braces,
                "{address}"
            );
        }
        let mut pending = vec![&document];
        while let Some(value) = pending.pop() {
            match value {
                Value::Object(object) => {
                    if let Some(location) = object.get("$ref").and_then(Value::as_str) {
                        assert!(
                            document.pointer(location.trim_start_matches('#')).is_some(),
                            "{location}"
                        );
                    }
                    pending.extend(object.values());
                }
                Value::Array(items) => pending.extend(items),
                _ => {}
            }
        }
    }
}
