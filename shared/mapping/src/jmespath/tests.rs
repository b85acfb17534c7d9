//! Our evaluation against the `jmespath` crate's own, and what it must withstand.

use std::time::{Duration, Instant};

use halcyon_domain::mapping::Language;
use serde_json::{Value, json};

use crate::{
    expr::{Compiler, EvalError, Home, Ledger, Record, Scope, SlotTable},
    json::{Node, parse_document},
    value::{Val, to_json},
};

/// The value of `text` on `payload`, both as an expression on the record and on a value that is handed in.
pub(crate) fn evaluate(language: Language, text: &str, payload: &str) -> Result<Value, EvalError> {
    let document = parse_document(payload.as_bytes()).unwrap();
    let run = |home: Home| {
        let mut compiler = Compiler::default();
        let expression = compiler.expression(text, language, home, "");
        let slots = compiler.finish().unwrap();
        let (ledger, context) = (Ledger::new(false), Node::Null);
        let values = slots.of_value(&Val::Node(&document));
        let scope = Scope {
            slots: &slots,
            record: Record::Made(&values),
            context: &context,
            ledger: &ledger,
        };
        let expression = expression.unwrap();
        let value = expression.evaluate(&Val::Node(&document), &scope)?;
        Ok(to_json(&value).unwrap())
    };
    let (of_record, given) = (run(Home::Record)?, run(Home::Given)?);
    assert_eq!(of_record, given, "{text}");
    Ok(given)
}

fn document() -> Value {
    json!({
        "a": {"b": {"c": [1, 2, {"d": "x"}], "e": null}, "f": true},
        "list": [{"n": 3, "s": "c", "t": ["p", "q"]}, {"n": 1, "s": "a", "t": []}, {"n": 2, "s": "b"}],
        "nested": [[1, 2], [3, [4, 5]], 6],
        "texts": ["beta", "alpha", "gamma"], "numbers": [3, 1.5, -2], "empty": [], "nothing": null,
        "host name": "web-1", "name": "Ünïcode", "number": 7, "text": "12", "object": {"x": 1, "y": {"z": 2}}
    })
}

const EXPRESSIONS: &[&str] = &[
    "a",
    "a.b.c",
    "a.b.c[0]",
    "a.b.c[-1].d",
    "a.b.c[9]",
    "a.b.e",
    "a.x.y",
    "\"host name\"",
    "@",
    "@.a.f",
    "list[0].t[1]",
    "list[*].n",
    "list[].t",
    "list[].t[]",
    "list[?n > `1`].s",
    "list[?s == 'a' || n == `2`].n",
    "list[?!t]",
    "list[?t && n > `0`].s",
    "nested[]",
    "nested[][]",
    "nested[*][0]",
    "list[1:]",
    "list[::-1].n",
    "texts[:2]",
    "texts[-2:]",
    "texts[5:1:-2]",
    "object.*",
    "*.b",
    "a.*.c",
    "[name, number]",
    "{n: name, m: a.f}",
    "list[].{s: s, first: t[0]}",
    "list[*].[n, s]",
    "a | b.c",
    "list[*].n | [0]",
    "list[*] | [1].s",
    "!a",
    "!nothing",
    "nothing || name",
    "a && number",
    "number == `7`",
    "number != '7'",
    "number < `8`",
    "text < `8`",
    "a == a",
    "`{\"lit\": [1, 2]}`.lit[1]",
    "'raw'",
    "abs(`-3`)",
    "avg(numbers)",
    "ceil(`1.2`)",
    "floor(`-1.2`)",
    "contains(texts, 'alpha')",
    "contains(name, 'code')",
    "contains(numbers, `3`)",
    "ends_with(name, 'ode')",
    "starts_with(name, 'Ün')",
    "join(', ', texts)",
    "keys(object)",
    "length(texts)",
    "length(name)",
    "length(object)",
    "map(&n, list)",
    "max(numbers)",
    "max(texts)",
    "min(numbers)",
    "min(empty)",
    "max_by(list, &n).s",
    "min_by(list, &s).n",
    "merge(object, {x: `5`, w: `6`})",
    "not_null(nothing, a.b.e, name)",
    "reverse(texts)",
    "reverse(name)",
    "sort(texts)",
    "sort(numbers)",
    "sort_by(list, &n)[*].s",
    "sum(numbers)",
    "sum(empty)",
    "to_array(name)",
    "to_array(texts)",
    "to_number(text)",
    "to_number(name)",
    "to_string(number)",
    "to_string(object)",
    "to_string(name)",
    "type(a)",
    "type(nothing)",
    "values(object)",
    "list[?contains(t, 'p')] | [0].s",
    "[0]",
    "missing[*].x",
    "missing[]",
    "missing.*",
    "missing.[a, b]",
    "list[?n == max(@.list[].n)]",
    "list[*].t[*]",
    "(a || b).b.c[0]",
    "list[?@.n >= `2`] | length(@)",
    "[list[0].n, `1`][]",
];

#[test]
fn agrees_with_the_reference() {
    let document = document();
    for text in EXPRESSIONS {
        let expected = jmespath::compile(text).unwrap().search(&document);
        let ours = evaluate(Language::Jmespath, text, &document.to_string());
        match (expected, ours) {
            (Ok(expected), Ok(ours)) => {
                let expected = serde_json::to_value(&*expected).unwrap();
                assert!(same(&expected, &ours), "{text}: {expected} against our {ours}");
            }
            (Err(_), Err(_)) => {}
            (expected, ours) => assert!(
                expected.is_err() == ours.is_err(),
                "{text}: {expected:?} against {ours:?}"
            ),
        }
    }
}

/// Equal, where 7 and 7.0 are the same.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(name, value)| other.get(name).is_some_and(|o| same(value, o)))
        }
        _ => one == other,
    }
}

#[test]
fn what_explodes_runs_out_of_steps() {
    let doubling = format!("[@, @]{}", "| [@, @][]".repeat(200));
    let compared = format!(
        "[@, @]{} == [@, @]{}",
        "| [@, @]".repeat(100),
        "| [@, @]".repeat(100)
    );
    let nested = "texts[?texts[?texts]]".to_owned();
    for text in [doubling, format!("({compared})"), nested] {
        let started = Instant::now();
        let outcome = std::panic::catch_unwind(|| {
            let payload = document().to_string();
            evaluate(Language::Jmespath, &text, &payload).map(drop)
        });
        assert!(started.elapsed() < Duration::from_secs(20), "{text}");
        assert!(
            outcome.is_err()
                || outcome.is_ok_and(|outcome| outcome == Err(EvalError::Exhausted) || outcome == Ok(()))
        );
    }
}

#[test]
fn hostile_expressions_are_refused_or_survived() {
    let hostile = [
        "(".repeat(4_096),
        format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000)),
        "!".repeat(4_096),
        "&".repeat(4_095),
        "[".repeat(4_096),
        "a".to_owned() + &".a".repeat(2_000),
        "a".to_owned() + &"[]".repeat(2_000),
        "a".to_owned() + &"[*]".repeat(1_300),
        "*.".repeat(2_000) + "a",
        "a|".repeat(2_000) + "a",
        "a||".repeat(1_300) + "a",
        "`".to_owned() + &"[".repeat(4_000) + "`",
        "{a:".repeat(1_300),
        "a[0".to_owned() + &":".repeat(4_000),
        "[9999999999999999999]".to_owned(),
        "a[-2147483648]".to_owned(),
        "a[::-2147483648]".to_owned(),
        "a[2147483647:0:-2147483647]".to_owned(),
        "\u{0}".to_owned(),
        "x".repeat(5_000),
        String::new(),
    ];
    for text in hostile {
        for language in [Language::Jmespath, Language::Jsonpath] {
            let started = Instant::now();
            let compiled = Compiler::on_large_stack(|| {
                let mut compiler = Compiler::default();
                let _ = compiler.expression(&text, language, Home::Record, "/filter");
                compiler.finish().map(drop)
            });
            assert!(
                compiled.is_ok(),
                "the parser panicked on {}",
                &text[..text.len().min(20)]
            );
            assert!(
                started.elapsed() < Duration::from_secs(10),
                "{}",
                &text[..text.len().min(20)]
            );
        }
    }
}

#[test]
fn arguments_of_the_wrong_type_are_errors() {
    for text in [
        "join(',', number)",
        "contains(number, 'a')",
        "sort(list)",
        "length(number)",
        "keys(texts)",
    ] {
        let outcome = evaluate(Language::Jmespath, text, &document().to_string());
        assert!(
            matches!(outcome, Err(EvalError::Argument { .. })),
            "{text}: {outcome:?}"
        );
    }
}

#[test]
fn slots_are_the_shortest_paths() {
    let mut table = SlotTable::default();
    let path = |text: &str| text.split('.').map(str::to_owned).collect::<Vec<_>>();
    let ids = ["a.b", "a", "c.d", "a.b.e", "c.f"].map(|text| table.ask(path(text)));
    let slots = table.finish();
    assert_eq!(slots.projection().slots(), 3);
    let document = parse_document(br#"{"a": {"b": {"e": 1}}, "c": {"d": 2, "f": 3}}"#).unwrap();
    let values = slots.of_value(&Val::Node(&document));
    let found = ids.map(|id| to_json(&slots.get(id, Record::Made(&values))).unwrap());
    assert_eq!(
        found,
        [
            json!({"e": 1}),
            json!({"b": {"e": 1}}),
            json!(2),
            json!(1),
            json!(3)
        ]
    );
}

#[test]
fn texts_are_lowered_trimmed_and_split() {
    let payload = r#"{"who": " Jack@ACME.io ", "path": "C:\\bin\\at.exe", "none": null, "n": 7}"#;
    let value = |text: &str| evaluate(Language::Jmespath, text, payload);
    assert_eq!(value("lower(trim(who))"), Ok(json!("jack@acme.io")));
    assert_eq!(value(r#"split(path, `"\\"`)[-1]"#), Ok(json!("at.exe")));
    assert_eq!(value("split('a', ',')"), Ok(json!(["a"])));
    for text in ["lower(none)", "trim(none)", "split(none, ',')"] {
        assert_eq!(value(text), Ok(json!(null)), "{text}");
    }
    assert!(value("lower(n)").is_err() && value("split(who, n)").is_err());
}
