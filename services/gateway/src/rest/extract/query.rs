//! The query of a request.

use std::fmt::Debug;

use halcyon_domain::error::{InputError, escape, from_value};
use salvo::{
    Depot, Extractible, Request, Writer,
    extract::Metadata,
    oapi::{Components, EndpointArgRegister, Operation, Parameter, ParameterIn, Required},
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{openapi, problem::Problem};

/// The query. Parameters that are not known are refused with 400.
pub(crate) struct Query<T>(pub(crate) T);

impl<'ex, T: DeserializeOwned + JsonSchema + Send> Extractible<'ex> for Query<T> {
    no_metadata!();

    async fn extract(
        req: &'ex mut Request,
        _: &'ex mut Depot,
    ) -> Result<Self, impl Writer + Send + Debug + 'static> {
        read_query(
            req.queries()
                .iter_all()
                .map(|(name, values)| (name.as_str(), values.as_slice())),
        )
        .map(Self)
    }
}

/// Refuses every parameter, where an operation takes none.
pub(crate) fn none(req: &Request) -> Result<(), Problem> {
    let Some((name, _)) = req.queries().iter().next() else {
        return Ok(());
    };
    let detail = "unknown; this operation takes none";
    let problem = Problem::bad_request(format!("query parameter `{name}`: {detail}"));
    let error = InputError::new(format!("/{}", escape(name)), "unknown_parameter", detail);
    Err(problem.with_errors(vec![error]))
}

/// Reads parameters by the schema of `T`, which says of each whether it is a number, a truth or a text.
fn read_query<'a, T: DeserializeOwned + JsonSchema>(
    given: impl Iterator<Item = (&'a str, &'a [String])>,
) -> Result<T, Problem> {
    let known = openapi::properties_of::<T>();
    let refuse = |name: &str, code: &str, detail: String| {
        let problem = Problem::bad_request(format!("query parameter `{name}`: {detail}"));
        Err(problem.with_errors(vec![InputError::new(format!("/{}", escape(name)), code, detail)]))
    };
    let mut object = Map::new();
    for (name, values) in given {
        let Some((_, schema, _)) = known.iter().find(|(known, _, _)| known == name) else {
            let names: Vec<_> = known.iter().map(|(name, _, _)| name.as_str()).collect();
            let detail = format!("unknown; known are {}", names.join(", "));
            return refuse(name, "unknown_parameter", detail);
        };
        let [value] = values else {
            return refuse(name, "repeated", "given more than once".to_owned());
        };
        if value.contains('\0') {
            // Postgres takes none in a text.
            return refuse(
                name,
                "invalid",
                "the character NUL is in nothing that is stored".to_owned(),
            );
        }
        object.insert(name.to_owned(), typed(schema, value));
    }
    from_value(Value::Object(object)).or_else(|error| {
        let name = error.pointer.trim_start_matches('/').to_owned();
        refuse(&name, &error.code, error.detail)
    })
}

/// The value of a parameter's text, by its schema's `type`.
fn typed(schema: &Value, text: &str) -> Value {
    let is = |wanted: &str| match schema.get("type") {
        Some(Value::String(kind)) => kind == wanted,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == wanted),
        _ => false,
    };
    if is("integer")
        && let Ok(number) = text.parse::<i64>()
    {
        return number.into();
    }
    if is("boolean")
        && let Ok(truth) = text.parse::<bool>()
    {
        return truth.into();
    }
    Value::from(text)
}

impl<T: JsonSchema> EndpointArgRegister for Query<T> {
    fn register(_: &mut Components, operation: &mut Operation, _: &str) {
        for (name, mut schema, required) in openapi::properties_of::<T>() {
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"))
                .and_then(|text| text.as_str().map(str::to_owned))
                .unwrap_or_default();
            let mut parameter = Parameter::new(name)
                .location(ParameterIn::Query)
                .required(if required { Required::True } else { Required::False })
                .description(description);
            parameter.extensions.extend([openapi::parameter_schema(schema)]);
            operation.parameters.insert(parameter);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        limit: Option<u32>,
        q: Option<String>,
    }

    fn query(pairs: &[(&str, &str)]) -> Result<Filter, Problem> {
        let pairs: Vec<(&str, Vec<String>)> = pairs
            .iter()
            .map(|(name, value)| (*name, vec![(*value).to_owned()]))
            .collect();
        read_query(pairs.iter().map(|(name, values)| (*name, values.as_slice())))
    }

    #[test]
    fn a_query_is_read_by_its_types() {
        let filter = query(&[("limit", "7"), ("q", "12")]).unwrap();
        assert_eq!((filter.limit, filter.q.as_deref()), (Some(7), Some("12")));
    }

    #[test]
    fn an_unknown_or_unfit_parameter_is_400() {
        for (name, value, code) in [
            ("limt", "7", "unknown_parameter"),
            ("limit", "x", "invalid"),
            ("q", "a\0", "invalid"),
        ] {
            let problem = query(&[(name, value)]).unwrap_err();
            assert_eq!(problem.status.as_u16(), 400);
            assert_eq!(
                (
                    problem.errors[0].pointer.as_str(),
                    problem.errors[0].code.as_str()
                ),
                (&*format!("/{name}"), code)
            );
        }
    }
}
