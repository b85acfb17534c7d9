//! From what a script returned to objects: the same targets, types and checks as those of `outputs`.

use halcyon_domain::{
    error::InputError,
    mapping::{FieldSpec, Language, OutputSpec},
    ontology::{ObjectKind, OntologyObject},
};

use super::SOURCE;
use crate::{
    expr::{Compiler, Ledger, Record, Scope, Slots},
    json::{Node, parse_document},
    limits::MAX_OBJECTS,
    output::{Cx, Failure, Notes, Output, compile_output},
    value::Val,
};

/// The targets of each kind, without the parts of `attributes`, which is taken as a whole.
const TARGETS: [(ObjectKind, &[&str]); 3] = [
    (
        ObjectKind::Alert,
        &[
            "external_id",
            "title",
            "time",
            "severity",
            "status",
            "description",
            "category",
            "vendor",
            "product",
            "rule.id",
            "rule.name",
            "observables",
            "attributes",
        ],
    ),
    (ObjectKind::Entity, &["type", "key", "name", "time", "attributes"]),
    (
        ObjectKind::Relationship,
        &[
            "type",
            "source.type",
            "source.key",
            "target.type",
            "target.key",
            "start_time",
            "end_time",
            "time",
            "attributes",
        ],
    ),
];

/// How an object of a kind is made of what a script returned.
#[derive(Debug)]
struct Target {
    kind: ObjectKind,
    output: Output,
    slots: Slots,
    names: Vec<&'static str>,
}

/// How objects are made of what a script returned.
#[derive(Debug)]
pub(super) struct Results(Vec<Target>);

impl Results {
    pub(super) fn compile() -> Result<Self, Vec<InputError>> {
        let compiled = TARGETS.iter().map(|(kind, targets)| {
            let mut compiler = Compiler::default();
            let field = |target: &&str| {
                let spec = FieldSpec {
                    expr: Some((*target).to_owned()),
                    ..FieldSpec::default()
                };
                ((*target).to_owned(), spec)
            };
            let spec = OutputSpec {
                kind: *kind,
                when: None,
                for_each: None,
                fields: targets.iter().map(field).collect(),
            };
            let output = compile_output(&spec, Language::Jmespath, String::new(), &mut compiler);
            let slots = compiler.finish()?;
            let missing = || {
                vec![InputError::new(
                    SOURCE,
                    "internal",
                    "the results cannot be compiled",
                )]
            };
            let mut names: Vec<&str> = targets
                .iter()
                .map(|name| name.split('.').next().unwrap_or(name))
                .collect();
            names.push("kind");
            Ok(Target {
                kind: *kind,
                output: output.ok_or_else(missing)?,
                slots,
                names,
            })
        });
        compiled.collect::<Result<_, _>>().map(Self)
    }

    /// The objects that an answer stands for: none, one, or those of a list.
    pub(super) fn objects(&self, answer: &[u8]) -> Result<Vec<OntologyObject>, Failure> {
        let mut answer = parse_document(answer).map_err(|error| {
            let detail = format!("what `map` returned cannot be read: {}", error.detail);
            fault("script_result", detail)
        })?;
        exact(&mut answer);
        let ledger = Ledger::new(false);
        match &answer {
            Node::Null => Ok(Vec::new()),
            Node::List(items) if items.len() > MAX_OBJECTS => Err(fault(
                "too_many_objects",
                format!("a record becomes at most {MAX_OBJECTS} objects"),
            )),
            Node::List(items) => items.iter().map(|item| self.object(item, &ledger)).collect(),
            one => self.object(one, &ledger).map(|object| vec![object]),
        }
    }

    fn object(&self, node: &Node<'_>, ledger: &Ledger) -> Result<OntologyObject, Failure> {
        let Node::Map(members) = node else {
            let detail = "`map` returns one object, a list of objects, or null";
            return Err(fault("script_result", detail));
        };
        let kind = match node.get("kind") {
            Some(Node::Text(kind)) => self.0.iter().find(|result| result.kind.as_str() == kind.as_ref()),
            _ => None,
        };
        let Some(result) = kind else {
            let detail = "`kind` of what `map` returned is one of `alert`, `entity`, `relationship`";
            return Err(fault("script_result", detail));
        };
        if let Some((name, _)) = members
            .iter()
            .find(|(name, _)| !result.names.contains(&name.as_ref()))
        {
            return Err(fault("unknown_field", unknown(result.kind, name)));
        }
        let values = result.slots.of_value(&Val::Node(node));
        let no_context = Node::Null;
        let mut cx = Cx {
            scope: Scope {
                slots: &result.slots,
                record: Record::Made(&values),
                context: &no_context,
                ledger,
            },
            item: Val::Null,
            notes: &Notes::default(),
        };
        let mut objects = Vec::with_capacity(1);
        let made = result.output.make(&mut cx, &mut objects);
        made.map_err(|failure| {
            let field = failure.pointer.rsplit('/').next().unwrap_or_default();
            let why = failure.detail.split(" (`").next().unwrap_or_default();
            fault(
                &failure.code,
                format!("`{field}` of the returned {}: {why}", result.kind),
            )
        })?;
        objects
            .pop()
            .ok_or_else(|| fault("script_result", "the returned object makes nothing"))
    }
}

/// The name is shown if it looks like one, and not like a part of a payload.
fn unknown(kind: ObjectKind, name: &str) -> String {
    let plain = name.len() <= 40
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
    if plain {
        format!("an object of kind {kind} has no field `{name}`; put what is your own under `attributes`")
    } else {
        format!(
            "a field of the returned {kind} is not one that it has; put what is your own under `attributes`"
        )
    }
}

fn fault(code: &str, detail: impl Into<String>) -> Failure {
    Box::new(InputError::new(SOURCE, code, detail))
}

/// Turns what stands for an integer of any size (a NUL and its digits) into a number.
fn exact(node: &mut Node<'_>) {
    match node {
        Node::Text(text) => {
            let digits = text.strip_prefix('\0').unwrap_or_default();
            let plain = digits.strip_prefix('-').unwrap_or(digits);
            if !plain.is_empty() && plain.bytes().all(|byte| byte.is_ascii_digit()) {
                *node = Node::Number(digits.to_owned().into());
            }
        }
        Node::List(items) => items.iter_mut().for_each(exact),
        Node::Map(members) => members.iter_mut().for_each(|(_, value)| exact(value)),
        Node::Null | Node::Bool(_) | Node::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use halcyon_domain::ontology::Severity;
    use serde_json::json;

    use super::*;

    fn objects(answer: &str) -> Result<Vec<OntologyObject>, InputError> {
        Results::compile()
            .unwrap()
            .objects(answer.as_bytes())
            .map_err(|failure| *failure)
    }

    fn code(answer: &str) -> (String, String) {
        let failure = objects(answer).unwrap_err();
        assert_eq!(failure.pointer, SOURCE);
        (failure.code, failure.detail)
    }

    #[test]
    fn each_kind_is_made_with_the_types_of_outputs() {
        let answer = json!([
            {"kind": "alert", "external_id": 7, "title": "t", "time": 1_700_000_000, "severity": "HIGH",
                "rule": {"id": "r1", "name": null}, "attributes": {"n": 1, "gone": null},
                "observables": [{"type": "ip", "value": "10.0.0.1"}]},
            {"kind": "entity", "type": "host", "key": "web-1"},
            {"kind": "relationship", "type": "targets", "source": {"type": "alert", "key": "7"},
                "target": {"type": "host", "key": "web-1"}},
        ]);
        let made = objects(&answer.to_string()).unwrap();
        let [
            OntologyObject::Alert(alert),
            OntologyObject::Entity(entity),
            OntologyObject::Relationship(link),
        ] = &made[..]
        else {
            panic!("{made:?}")
        };
        assert_eq!(
            (alert.external_id.as_str(), alert.severity),
            ("7", Severity::High)
        );
        assert_eq!(alert.rule.as_ref().unwrap().id.as_deref(), Some("r1"));
        assert_eq!((alert.observables.len(), alert.attributes.len()), (1, 1));
        assert_eq!(
            (entity.key.as_str(), link.target.key.as_str()),
            ("web-1", "web-1")
        );
        assert_eq!(objects("null").unwrap(), []);
        assert_eq!(objects("[]").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_named_without_its_value() {
        assert_eq!(code("7").0, "script_result");
        assert_eq!(code("[null]").0, "script_result");
        assert_eq!(code("{\"kind\": \"secret\"}").0, "script_result");
        assert_eq!(code("{").0, "script_result");
        let (word, detail) = code(r#"{"kind": "entity", "type": "host"}"#);
        assert_eq!(
            (word.as_str(), detail.contains("`key`")),
            ("required", true),
            "{detail}"
        );
        let (word, detail) =
            code(r#"{"kind": "alert", "external_id": "a", "title": "t", "time": "hunter2"}"#);
        assert_eq!(
            (word.as_str(), detail.contains("hunter2")),
            ("mistyped", false),
            "{detail}"
        );
        let (word, detail) = code(r#"{"kind": "entity", "type": "host", "key": "k", "Hunter 2": 1}"#);
        assert_eq!(
            (word.as_str(), detail.contains("Hunter")),
            ("unknown_field", false),
            "{detail}"
        );
        let (word, detail) = code(r#"{"kind": "entity", "type": "host", "key": "k", "colour": 1}"#);
        assert!(word == "unknown_field" && detail.contains("`colour`"), "{detail}");
        assert_eq!(
            code("{\"kind\": \"entity\", \"type\": \"h\", \"key\": \"a\\u0000b\"}").0,
            "nul_character"
        );
    }

    #[test]
    fn integers_of_any_size_are_exact() {
        let answer = "{\"kind\": \"entity\", \"type\": \"h\", \"key\": \"\\u000012345678901234567890123\", \"attributes\": \
                      {\"a\": \"\\u00009007199254740993\", \"b\": 123456789012345678901234567890}}";
        let OntologyObject::Entity(entity) = objects(answer).unwrap().remove(0) else {
            panic!("no entity")
        };
        assert_eq!(entity.key, "12345678901234567890123");
        assert_eq!(entity.attributes["a"], json!(9_007_199_254_740_993_i64));
        assert_eq!(entity.attributes["b"], json!("123456789012345678901234567890"));
    }
}
