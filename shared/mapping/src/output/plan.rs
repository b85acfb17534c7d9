//! A compiled output, and the objects it makes of a record.

use halcyon_domain::{
    error::InputError,
    ontology::{Alert, End, Entity, OntologyObject, Relationship, Rule, Severity},
};
use serde_json::{Map, Value};

use super::{
    fault::Fault,
    field::{Cx, Field},
    observables,
};
use crate::{expr::Expression, value::Val};

/// Why a record cannot be mapped. In a box: every field's result has room for it.
pub(crate) type Failure = Box<InputError>;

/// A compiled output.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) when: Option<Expression>,
    pub(crate) for_each: Option<Expression>,
    pub(crate) plan: Plan,
    /// Where it is in the mapping.
    pub(crate) pointer: String,
}

/// The fields of an output by the kind of its objects.
#[derive(Debug)]
pub(crate) enum Plan {
    Alert(Box<AlertPlan>),
    Entity(Box<EntityPlan>),
    Relationship(Box<RelationshipPlan>),
}

#[derive(Debug)]
pub(crate) struct AlertPlan {
    pub(crate) external_id: Field,
    pub(crate) title: Field,
    pub(crate) time: Field,
    pub(crate) severity: Option<Field>,
    pub(crate) status: Option<Field>,
    pub(crate) description: Option<Field>,
    pub(crate) category: Option<Field>,
    pub(crate) vendor: Option<Field>,
    pub(crate) product: Option<Field>,
    pub(crate) rule_id: Option<Field>,
    pub(crate) rule_name: Option<Field>,
    pub(crate) observables: Option<Field>,
    pub(crate) attributes: AttributesPlan,
}

#[derive(Debug)]
pub(crate) struct EntityPlan {
    pub(crate) kind: Field,
    pub(crate) key: Field,
    pub(crate) name: Option<Field>,
    pub(crate) time: Option<Field>,
    pub(crate) attributes: AttributesPlan,
}

#[derive(Debug)]
pub(crate) struct EndPlan {
    pub(crate) kind: Field,
    pub(crate) key: Field,
}

#[derive(Debug)]
pub(crate) struct RelationshipPlan {
    pub(crate) kind: Field,
    pub(crate) source: EndPlan,
    pub(crate) target: EndPlan,
    pub(crate) start_time: Option<Field>,
    pub(crate) end_time: Option<Field>,
    pub(crate) time: Option<Field>,
    pub(crate) attributes: AttributesPlan,
}

#[derive(Debug)]
pub(crate) struct AttributesPlan {
    /// An object that gives many.
    pub(crate) all: Option<Field>,
    /// Single ones by path; they win over `all`.
    pub(crate) named: Vec<(Vec<String>, Field)>,
}

impl Output {
    /// Adds the objects that this output makes of the record.
    pub(crate) fn make<'n>(
        &'n self,
        cx: &mut Cx<'n>,
        objects: &mut Vec<OntologyObject>,
    ) -> Result<(), Failure> {
        if let Some(when) = &self.when {
            let verdict = self.condition(when, "when", cx)?;
            cx.scope.used(&verdict);
            if !verdict.truthy() {
                return Ok(());
            }
        }
        let Some(for_each) = &self.for_each else {
            cx.item = Val::Null;
            objects.push(self.object(cx)?);
            return Ok(());
        };
        let list = self.condition(for_each, "for_each", cx)?;
        let mut one = |item: Val<'n>| {
            cx.item = item;
            objects.push(self.object(cx)?);
            cx.scope
                .spend(16)
                .map_err(|error| Box::new(Fault::from(error).at(&self.pointer, for_each.text())))
        };
        match list.items() {
            Some(items) => items.into_iter().try_for_each(&mut one),
            None if list.is_null() => Ok(()),
            None => one(list),
        }
    }

    fn condition<'n>(&self, expression: &'n Expression, name: &str, cx: &Cx<'n>) -> Result<Val<'n>, Failure> {
        expression.evaluate(&Val::Null, &cx.scope).map_err(|error| {
            Box::new(Fault::from(error).at(&format!("{}/{name}", self.pointer), expression.text()))
        })
    }

    fn object<'n>(&'n self, cx: &Cx<'n>) -> Result<OntologyObject, Failure> {
        match &self.plan {
            Plan::Alert(plan) => plan.make(cx).map(OntologyObject::Alert),
            Plan::Entity(plan) => plan.make(cx).map(OntologyObject::Entity),
            Plan::Relationship(plan) => plan.make(cx).map(OntologyObject::Relationship),
        }
    }
}

/// The value of a field that is needed.
fn needed<T>(field: &Field, value: Result<Option<T>, Fault>) -> Result<T, Failure> {
    match value {
        Ok(Some(value)) => Ok(value),
        Ok(None) => Err(Box::new(field.failure(&Fault::Missing))),
        Err(fault) => Err(Box::new(field.failure(&fault))),
    }
}

/// The value of a field that may be absent: only what must not be passed over fails the record.
fn wanted<'n, T>(
    field: Option<&'n Field>,
    read: impl FnOnce(&'n Field) -> Result<Option<T>, Fault>,
) -> Result<Option<T>, Failure> {
    let Some(field) = field else { return Ok(None) };
    match read(field) {
        Ok(value) => Ok(value),
        Err(fault) if fault.is_mild() => Ok(None),
        Err(fault) => Err(Box::new(field.failure(&fault))),
    }
}

impl AlertPlan {
    fn make<'n>(&'n self, cx: &Cx<'n>) -> Result<Alert, Failure> {
        let text = |field: &'n Option<Field>| wanted(field.as_ref(), |field| field.text(cx));
        let (id, name) = (text(&self.rule_id)?, text(&self.rule_name)?);
        let has_rule = id.is_some() || name.is_some();
        let observables = wanted(self.observables.as_ref(), |field| {
            field.with(cx, |value| observables::of_value(value))
        })?;
        Ok(Alert {
            external_id: needed(&self.external_id, self.external_id.filled_text(cx))?,
            title: needed(&self.title, self.title.filled_text(cx))?,
            time: needed(&self.time, self.time.time(cx))?,
            severity: wanted(self.severity.as_ref(), |field| field.severity(cx))?
                .unwrap_or(Severity::Unknown),
            status: wanted(self.status.as_ref(), |field| field.status(cx))?,
            description: text(&self.description)?,
            category: text(&self.category)?,
            vendor: text(&self.vendor)?,
            product: text(&self.product)?,
            rule: has_rule.then_some(Rule { id, name }),
            observables: observables.unwrap_or_default(),
            attributes: self.attributes.make(cx)?,
        })
    }
}

impl EntityPlan {
    fn make<'n>(&'n self, cx: &Cx<'n>) -> Result<Entity, Failure> {
        Ok(Entity {
            kind: needed(&self.kind, self.kind.filled_text(cx))?,
            key: needed(&self.key, self.key.filled_text(cx))?,
            name: wanted(self.name.as_ref(), |field| field.text(cx))?,
            time: wanted(self.time.as_ref(), |field| field.time(cx))?,
            attributes: self.attributes.make(cx)?,
        })
    }
}

impl EndPlan {
    fn make<'n>(&'n self, cx: &Cx<'n>) -> Result<End, Failure> {
        Ok(End {
            kind: needed(&self.kind, self.kind.filled_text(cx))?,
            key: needed(&self.key, self.key.filled_text(cx))?,
        })
    }
}

impl RelationshipPlan {
    fn make<'n>(&'n self, cx: &Cx<'n>) -> Result<Relationship, Failure> {
        let time = |field: &'n Option<Field>| wanted(field.as_ref(), |field| field.time(cx));
        Ok(Relationship {
            kind: needed(&self.kind, self.kind.filled_text(cx))?,
            source: self.source.make(cx)?,
            target: self.target.make(cx)?,
            start_time: time(&self.start_time)?,
            end_time: time(&self.end_time)?,
            time: time(&self.time)?,
            attributes: self.attributes.make(cx)?,
        })
    }
}

impl AttributesPlan {
    fn make<'n>(&'n self, cx: &Cx<'n>) -> Result<Map<String, Value>, Failure> {
        let mut attributes = Map::new();
        if let Some(Value::Object(all)) = wanted(self.all.as_ref(), |field| field.json(cx))? {
            attributes.extend(all.into_iter().filter(|(_, value)| !value.is_null()));
        }
        for (path, field) in &self.named {
            if let Some(value) = wanted(Some(field), |field| field.json(cx))? {
                put(&mut attributes, path, value);
            }
        }
        Ok(attributes)
    }
}

/// Sets a value at a path; objects are made on the way.
fn put(map: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [] => {}
        [name] => {
            map.insert(name.clone(), value);
        }
        [name, rest @ ..] => {
            let inner = map
                .entry(name.clone())
                .or_insert_with(|| Value::Object(Map::new()));
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                put(inner, rest, value);
            }
        }
    }
}
