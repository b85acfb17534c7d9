//! The records of a payload as values, without mapping them: for those who look at what records are like.

use halcyon_domain::{error::InputError, mapping::MappingSpec};
use serde_json::Value;

use crate::{
    expr::{Compiler, Expression, Home, Ledger, Record, Scope, Slots},
    json::{self, Node},
    output::Fault,
    value::{Val, to_json},
};

/// Cuts payloads into records as a mapping does. It is immutable: share it between threads.
#[derive(Debug)]
pub struct RecordCutter {
    records: Option<Expression>,
    slots: Slots,
}

static NO_CONTEXT: Node<'static> = Node::Null;

impl RecordCutter {
    /// Compiles the part of a mapping that says where the records are.
    ///
    /// # Errors
    /// What is wrong with it, by JSON pointers into the mapping.
    pub fn compile(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        Compiler::on_large_stack(|| Self::compile_here(spec)).map_err(|error| vec![error])?
    }

    fn compile_here(spec: &MappingSpec) -> Result<Self, Vec<InputError>> {
        let mut compiler = Compiler::default();
        let records = spec
            .records
            .as_ref()
            .and_then(|text| compiler.expression(text, spec.language, Home::Given, "/records"));
        Ok(Self {
            records,
            slots: compiler.finish()?,
        })
    }

    /// The first records of a payload. Integers beyond 64 bits are texts of their digits; a record that cannot be a
    /// value, because of a NUL or its size, is left out.
    ///
    /// # Errors
    /// The payload cannot be read, or the expression fails on it.
    pub fn cut(&self, payload: &[u8], most: usize) -> Result<Vec<Value>, InputError> {
        let document = json::parse_document(payload)?;
        let document = Val::Node(&document);
        let ledger = Ledger::new(false);
        let scope = Scope {
            slots: &self.slots,
            record: Record::Made(&[]),
            context: &NO_CONTEXT,
            ledger: &ledger,
        };
        let records = match &self.records {
            None => document,
            Some(expression) => expression
                .evaluate(&document, &scope)
                .map_err(|error| Fault::from(error).at("/records", expression.text()))?,
        };
        if records.list_len().is_some() {
            let items = records.items().into_iter().flatten().take(most);
            return Ok(items.filter_map(|record| to_json(&record).ok()).collect());
        }
        if records.is_null() && self.records.is_some() {
            return Ok(Vec::new());
        }
        Ok(to_json(&records).into_iter().take(most).collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cut(records: Option<&str>, payload: &str, most: usize) -> Vec<Value> {
        let spec = MappingSpec {
            records: records.map(str::to_owned),
            ..MappingSpec::default()
        };
        RecordCutter::compile(&spec)
            .unwrap()
            .cut(payload.as_bytes(), most)
            .unwrap()
    }

    #[test]
    fn records_are_those_of_the_mapping() {
        let payload = r#"{"items": [{"id": 1}, {"id": 2}], "one": {"id": 3}, "none": null}"#;
        assert_eq!(
            cut(Some("items[]"), payload, 9),
            [json!({"id": 1}), json!({"id": 2})]
        );
        assert_eq!(cut(Some("items[]"), payload, 1), [json!({"id": 1})]);
        assert_eq!(cut(Some("one"), payload, 9), [json!({"id": 3})]);
        assert!(cut(Some("none"), payload, 9).is_empty());
        assert_eq!(cut(None, "[1, 2]", 9), [json!(1), json!(2)]);
        assert_eq!(cut(None, "{}", 9), [json!({})]);
        let cutter = RecordCutter::compile(&MappingSpec::default()).unwrap();
        assert!(cutter.cut(b"no json", 9).is_err());
        let wrong = MappingSpec {
            records: Some("items[".to_owned()),
            ..MappingSpec::default()
        };
        assert_eq!(RecordCutter::compile(&wrong).unwrap_err()[0].pointer, "/records");
    }
}
