//! Our evaluation against the `jsonpath-rust` crate's own, and what is refused.

use std::time::{Duration, Instant};

use halcyon_domain::mapping::Language;
use jsonpath_rust::JsonPath;
use serde_json::{Value, json};

use crate::{
    expr::{Compiler, EvalError, Home},
    jmespath::evaluate_for_tests as evaluate,
};

fn document() -> Value {
    json!({
        "store": {"book": [
            {"category": "reference", "author": "Nigel Rees", "title": "Sayings", "price": 8.95},
            {"category": "fiction", "author": "Evelyn Waugh", "title": "Sword", "price": 12.99, "tags": ["a", "b"]},
            {"category": "fiction", "author": "Herman Melville", "isbn": "0-553", "title": "Moby Dick", "price": 8.99}
        ], "bicycle": {"color": "red", "price": 19.95}},
        "limit": 10, "a b": {"c.d": 1}, "null": null, "list": [0, 1, 2, 3, 4]
    })
}

/// Queries for several places.
const MANY: &[&str] = &[
    "$.store.book[*].author",
    "$..author",
    "$.store.*",
    "$.store..price",
    "$..book[2]",
    "$..book[-1]",
    "$..book[0,1].title",
    "$..book[:2].title",
    "$..book[?@.isbn].title",
    "$..book[?@.price<10].title",
    "$.store.book[?@.price < $.limit].title",
    "$.store.book[?@.category=='fiction' && @.price>9].title",
    "$.store.book[?!@.isbn].title",
    "$.list[1:4:2]",
    "$.list[::-1]",
    "$.store.book[?(@.category=='x' || @.author=='Nigel Rees')].price",
    "$.store.book[?length(@.title)>5].title",
    "$.store.book[?count(@.tags[*])==2].title",
    "$.store.book[?match(@.author, 'E.*')].title",
    "$.store.book[?search(@.title, 'Dick')].title",
    "$.store.book[?value(@..isbn)=='0-553'].title",
    "$.list[?@>2]",
    "$.*",
    "$.store.book[?@.missing==@.also_missing].title",
    "$.store.book[0:0]",
    "$['store']['book'][*]['title']",
];

/// Queries for a single place.
const SINGLE: &[&str] = &[
    "$",
    "$.limit",
    "$.store.book[0].title",
    "$.store.book[-1].title",
    "$['a b']['c.d']",
    "$.null",
    "$.list[4]",
    "$.missing.x",
    "$.store.book[9]",
    "$.limit.x",
];

#[test]
fn agrees_with_the_reference() {
    let document = document();
    for text in MANY {
        let expected: Vec<Value> = document.query(text).unwrap().into_iter().cloned().collect();
        let ours = evaluate(Language::Jsonpath, text, &document.to_string()).unwrap();
        let mut ours = ours.as_array().cloned().unwrap_or_default();
        let mut expected = expected;
        // The order of the nodes below `..` and of an object's members is not settled by the RFC.
        ours.sort_by_key(Value::to_string);
        expected.sort_by_key(Value::to_string);
        assert_eq!(ours, expected, "{text}");
    }
    for text in SINGLE {
        let expected = document
            .query(text)
            .unwrap()
            .first()
            .copied()
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            evaluate(Language::Jsonpath, text, &document.to_string()).unwrap(),
            expected,
            "{text}"
        );
    }
}

fn refusal(text: &str) -> Option<String> {
    let mut compiler = Compiler::default();
    let _ = compiler.expression(text, Language::Jsonpath, Home::Record, "/x");
    compiler
        .finish()
        .err()
        .and_then(|errors| errors.into_iter().next())
        .map(|error| error.code)
}

#[test]
fn what_is_costly_or_not_served_is_refused() {
    assert_eq!(refusal("$..*..*..*").as_deref(), Some("too_complex"));
    assert_eq!(refusal("$..a[?@..b]").as_deref(), Some("too_complex"));
    assert_eq!(
        refusal("$.a[?length(length(length(length(length(length(length(@.a)))))))]").as_deref(),
        Some("too_deep")
    );
    assert_eq!(
        refusal("$.a[?in(@.b, @.c)]").as_deref(),
        Some("invalid_expression")
    );
    assert_eq!(
        refusal("$.a[?match(@.b, '[')]").as_deref(),
        Some("invalid_expression")
    );
    assert_eq!(
        refusal("$.a[?match(@.b, '(a{999}){999}')]").as_deref(),
        Some("invalid_expression")
    );
    assert_eq!(refusal("$.a[?match(@.b, @.c)]").as_deref(), Some("unsupported"));
    assert_eq!(refusal("no dollar").as_deref(), Some("invalid_expression"));
    assert_eq!(refusal("$.a['..'].b['....']").as_deref(), None);
}

#[test]
fn quadratic_filters_run_out_of_steps() {
    let payload = format!("[{}]", vec!["0"; 60_000].join(","));
    let started = Instant::now();
    let outcome = evaluate(Language::Jsonpath, "$[?count($[*]) > 0]", &payload);
    assert_eq!(outcome, Err(EvalError::Exhausted));
    assert!(started.elapsed() < Duration::from_secs(20));
}
