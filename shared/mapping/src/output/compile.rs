//! From an output's specification to its plan: targets, fields, and what is missing.

use std::collections::BTreeMap;

use halcyon_domain::{
    error::escape,
    mapping::{DefaultSpec, FieldSpec, From, Language, OutputSpec},
    ontology::ObjectKind,
};

use super::{
    field::{Field, Located, Origin, Place},
    plan::{AlertPlan, AttributesPlan, EndPlan, EntityPlan, Output, Plan, RelationshipPlan},
};
use crate::{
    expr::{Compiler, Home},
    json::Node,
    limits::{MAX_FIELDS, MAX_LOOKUP_ENTRIES, MAX_PAYLOAD_DEPTH},
};

/// What the fields of an output have in common.
#[derive(Clone, Copy)]
pub(crate) struct FieldHome {
    pub(crate) language: Language,
    /// Whether there is a current item.
    pub(crate) has_item: bool,
}

/// Compiles an output; what is wrong is noted with the compiler.
pub(crate) fn compile_output(
    spec: &OutputSpec,
    language: Language,
    pointer: String,
    compiler: &mut Compiler,
) -> Option<Output> {
    if spec.fields.len() > MAX_FIELDS {
        let detail = format!("an output has at most {MAX_FIELDS} fields");
        compiler.refuse(&format!("{pointer}/fields"), "too_many", detail);
        return None;
    }
    let mut condition = |text: &Option<String>, name: &str| {
        let text = text.as_ref()?;
        compiler.expression(text, language, Home::Record, &format!("{pointer}/{name}"))
    };
    let (when, for_each) = (
        condition(&spec.when, "when"),
        condition(&spec.for_each, "for_each"),
    );
    let home = FieldHome {
        language,
        has_item: spec.for_each.is_some(),
    };
    let mut targets = Targets {
        fields: BTreeMap::new(),
        given: &spec.fields,
        pointer: &pointer,
        compiler,
    };
    for (name, field) in &spec.fields {
        let at = format!("{pointer}/fields/{}", escape(name));
        if let Some(field) = compile_field(field, home, at, targets.compiler) {
            targets.fields.insert(name, field);
        }
    }
    let plan = targets.plan(spec.kind)?;
    Some(Output {
        when,
        for_each,
        plan,
        pointer,
    })
}

fn compile_field(
    spec: &FieldSpec,
    home: FieldHome,
    pointer: String,
    compiler: &mut Compiler,
) -> Option<Field> {
    let language = spec.language.unwrap_or(home.language);
    let entries = spec.lookup.as_ref().map_or(0, BTreeMap::len);
    if entries > MAX_LOOKUP_ENTRIES {
        let detail = format!("a lookup has at most {MAX_LOOKUP_ENTRIES} entries");
        compiler.refuse(&format!("{pointer}/lookup"), "too_many", detail);
        return None;
    }
    let mut located = |text: &str, from: Option<From>, pointer: &str| {
        let (place, at) = match from {
            Some(From::Context) => (Place::Context, Home::Given),
            Some(From::Record) => (Place::Record, Home::Record),
            Some(From::Item) | None if home.has_item => (Place::Item, Home::Given),
            Some(From::Item) | None => (Place::Record, Home::Record),
        };
        let expression = compiler.expression(text, language, at, pointer)?;
        Some(Located { expression, place })
    };
    let default = match &spec.default {
        None => None,
        Some(DefaultSpec::Value(value)) => Some(Origin::Constant(Node::from(value))),
        Some(DefaultSpec::Expression(default)) => Some(Origin::Expression(located(
            &default.expr,
            default.from,
            &format!("{pointer}/default/expr"),
        )?)),
    };
    let origin = match (&spec.expr, &spec.value) {
        (Some(expr), _) => Origin::Expression(located(expr, spec.from, &pointer)?),
        (None, Some(value)) => Origin::Constant(Node::from(value)),
        (None, None) => {
            compiler.refuse(&pointer, "required", "a field needs `expr` or `value`");
            return None;
        }
    };
    let lookup = spec.lookup.as_ref().map(|lookup| {
        lookup
            .iter()
            .map(|(key, value)| (key.clone(), Node::from(value)))
            .collect()
    });
    Some(Field {
        origin,
        lookup,
        default,
        cast: spec.cast,
        pointer,
    })
}

/// The compiled fields of an output by target, on their way into a plan.
struct Targets<'s, 'c> {
    fields: BTreeMap<&'s str, Field>,
    /// All that were given, those with errors included.
    given: &'s BTreeMap<String, FieldSpec>,
    pointer: &'s str,
    compiler: &'c mut Compiler,
}

impl Targets<'_, '_> {
    fn plan(mut self, kind: ObjectKind) -> Option<Plan> {
        let plan = match kind {
            ObjectKind::Alert => self.alert().map(|plan| Plan::Alert(Box::new(plan))),
            ObjectKind::Entity => self.entity().map(|plan| Plan::Entity(Box::new(plan))),
            ObjectKind::Relationship => self.relationship().map(|plan| Plan::Relationship(Box::new(plan))),
        };
        for name in self.fields.keys() {
            let pointer = format!("{}/fields/{}", self.pointer, escape(name));
            self.compiler.refuse(
                &pointer,
                "unknown_field",
                format!("an object of kind {kind} has no field `{name}`"),
            );
        }
        plan
    }

    fn alert(&mut self) -> Option<AlertPlan> {
        let (external_id, title, time) = (
            self.needed("external_id"),
            self.needed("title"),
            self.needed("time"),
        );
        let severity = self.wanted("severity");
        let status = self.wanted("status");
        let description = self.wanted("description");
        let category = self.wanted("category");
        let (vendor, product) = (self.wanted("vendor"), self.wanted("product"));
        let (rule_id, rule_name) = (self.wanted("rule.id"), self.wanted("rule.name"));
        let observables = self.wanted("observables");
        let attributes = self.attributes();
        Some(AlertPlan {
            external_id: external_id?,
            title: title?,
            time: time?,
            severity,
            status,
            description,
            category,
            vendor,
            product,
            rule_id,
            rule_name,
            observables,
            attributes,
        })
    }

    fn entity(&mut self) -> Option<EntityPlan> {
        let (kind, key) = (self.needed("type"), self.needed("key"));
        let (name, time, attributes) = (self.wanted("name"), self.wanted("time"), self.attributes());
        Some(EntityPlan {
            kind: kind?,
            key: key?,
            name,
            time,
            attributes,
        })
    }

    fn relationship(&mut self) -> Option<RelationshipPlan> {
        let kind = self.needed("type");
        let source = (self.needed("source.type"), self.needed("source.key"));
        let target = (self.needed("target.type"), self.needed("target.key"));
        let (start_time, end_time) = (self.wanted("start_time"), self.wanted("end_time"));
        let (time, attributes) = (self.wanted("time"), self.attributes());
        Some(RelationshipPlan {
            kind: kind?,
            source: EndPlan {
                kind: source.0?,
                key: source.1?,
            },
            target: EndPlan {
                kind: target.0?,
                key: target.1?,
            },
            start_time,
            end_time,
            time,
            attributes,
        })
    }

    fn wanted(&mut self, name: &str) -> Option<Field> {
        self.fields.remove(name)
    }

    fn needed(&mut self, name: &str) -> Option<Field> {
        if !self.given.contains_key(name) {
            let pointer = format!("{}/fields/{}", self.pointer, escape(name));
            self.compiler
                .refuse(&pointer, "required", format!("`{name}` is needed"));
        }
        self.fields.remove(name)
    }

    /// The attributes by path, the shorter paths first.
    fn attributes(&mut self) -> AttributesPlan {
        let all = self.fields.remove("attributes");
        let names: Vec<&str> = self
            .fields
            .keys()
            .copied()
            .filter(|name| name.starts_with("attributes."))
            .collect();
        let mut named: Vec<(Vec<String>, Field)> = Vec::new();
        for name in names {
            let Some(field) = self.fields.remove(name) else {
                continue;
            };
            let path: Vec<String> = name.split('.').skip(1).map(str::to_owned).collect();
            if path.iter().any(String::is_empty) || path.len() > MAX_PAYLOAD_DEPTH / 2 || name.contains('\0')
            {
                self.compiler.refuse(
                    &field.pointer,
                    "invalid",
                    "an attribute's path is names with single dots between",
                );
            } else if named.iter().any(|(known, _)| path.starts_with(known)) {
                self.compiler.refuse(
                    &field.pointer,
                    "conflict",
                    "an attribute cannot be both a value and an object",
                );
            } else {
                named.push((path, field));
            }
        }
        AttributesPlan { all, named }
    }
}
