//! Queries that users write, rules between fields, and the SQL for engines that are not here.

use serde_json::{Value, json};

use super::super::{
    config::Kind,
    config::{Overlap, Settings},
    position::{Start, compare, identity, instant},
    session::conditions,
    sqlserver::{Types, select},
    statement::fault,
};
use crate::validate_connection;

#[test]
fn one_select_is_a_query() {
    for good in [
        "SELECT 1",
        "  select a, ';' AS b FROM t -- the end; of it",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "SELECT ')' AS \"(\", `;` FROM t /* ; ) */ WHERE a = 'it''s; (' AND b = 'it\\'s'",
        "SELECT a\nFROM t -- ;\nWHERE (b)",
    ] {
        assert_eq!(fault(good), None, "{good}");
    }
    for bad in [
        "",
        "DELETE FROM t",
        "selection",
        "SELECT 1; DELETE FROM t",
        "SELECT 1;",
        "SELECT 1) AS q; --",
        "SELECT 1) UNION (SELECT 2",
        "SELECT (1",
        "SELECT 'a",
        "SELECT \"a",
        "SELECT 1 /* x",
        "EXPLAIN SELECT 1",
        "SELECT \0",
        "COPY t TO '/x'",
    ] {
        assert!(fault(bad).is_some(), "{bad}");
    }
}

fn connection(change: &Value) -> Value {
    let mut connection = json!({
        "engine": "sqlserver", "host": "db", "database": "siem", "username": "reader", "password": {"$secret": "password"},
        "table": "dbo.al]erts", "cursor": {"column": "at", "kind": "timestamp"}, "key": "id",
    });
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => connection.as_object_mut().unwrap().remove(name),
            value => connection
                .as_object_mut()
                .unwrap()
                .insert(name.clone(), value.clone()),
        };
    }
    connection
}

#[test]
fn rules_between_fields_point_at_them() {
    let pointers = |change: Value| -> Vec<String> {
        let errors = validate_connection("sql_poller", &connection(&change));
        errors.into_iter().map(|error| error.pointer).collect()
    };
    assert_eq!(pointers(json!({})), [""; 0]);
    assert_eq!(pointers(json!({"table": null})), ["/table"]);
    assert_eq!(pointers(json!({"table": "a..b"})), ["/table"]);
    assert_eq!(pointers(json!({"table": "a.b.c.d"})), ["/table"]);
    assert_eq!(pointers(json!({"query": "SELECT 1"})), ["/query"]);
    assert_eq!(
        pointers(json!({"table": null, "query": "DROP TABLE x"})),
        ["/query"]
    );
    let cursor = |change: &str, value: Value, kind: &str| json!({"cursor": {"column": "at", "kind": kind, change: value}});
    assert_eq!(pointers(cursor("overlap", json!("5m"), "timestamp")), [""; 0]);
    assert_eq!(
        pointers(cursor("overlap", json!("5m"), "integer")),
        ["/cursor/overlap"]
    );
    assert_eq!(
        pointers(cursor("overlap", json!("8days"), "timestamp")),
        ["/cursor/overlap"]
    );
    assert_eq!(
        pointers(cursor("overlap", json!("soon"), "timestamp")),
        ["/cursor/overlap"]
    );
    assert_eq!(pointers(cursor("overlap_values", json!(5), "integer")), [""; 0]);
    assert_eq!(
        pointers(cursor("overlap_values", json!(5), "text")),
        ["/cursor/overlap_values"]
    );
    assert_eq!(
        pointers(json!({"statement_timeout": "1ms"})),
        ["/statement_timeout"]
    );
    assert_eq!(pointers(json!({"json_columns": ["a"]})), ["/json_columns"]);
    assert_eq!(pointers(json!({"tls": {"ca": "x"}})), ["/tls/ca"]);
    assert_eq!(pointers(json!({"batch": 0})), ["/batch"]);
}

#[test]
fn sql_server_is_asked_for_pages() {
    let settings = Settings::read(&connection(&json!({"columns": ["id", "a b"]}))).unwrap();
    let kinds = ("datetime2(7)", "uniqueidentifier");
    let types = |overlap| Types {
        cursor: kinds.0,
        key: kinds.1,
        overlap,
    };
    let after = Start::After {
        cursor: "2026-01-01 00:00:00.1234567".to_owned(),
        key: "k".to_owned(),
    };
    let found = conditions(&types(Overlap::None), &settings, &after, None);
    assert_eq!(
        select(&settings, kinds, &found.text, 10),
        "SELECT TOP (11) CONVERT(nvarchar(450), q.[at], 121), CONVERT(nvarchar(450), q.[id]), \
         (SELECT q.[id] AS [id], q.[a b] AS [a b] FOR JSON PATH, WITHOUT_ARRAY_WRAPPER, INCLUDE_NULL_VALUES) \
         FROM [dbo].[al]]erts] AS q WHERE q.[at] IS NOT NULL AND q.[at] >= CONVERT(datetime2(7), @P1, 121) \
         AND (q.[at] > CONVERT(datetime2(7), @P2, 121) OR q.[id] > CONVERT(uniqueidentifier, @P3) OR q.[id] IS NULL) \
         ORDER BY q.[at], q.[id]"
    );
    assert_eq!(
        found.values,
        ["2026-01-01 00:00:00.1234567", "2026-01-01 00:00:00.1234567", "k"]
    );

    let before = Start::Before("x".to_owned());
    let overlap = Overlap::Time(std::time::Duration::from_millis(1_500));
    let found = conditions(&types(overlap), &settings, &before, None);
    assert_eq!(
        found.text,
        "q.[at] IS NOT NULL AND q.[at] >= DATEADD(second, -2, CONVERT(datetime2(7), @P1, 121))"
    );

    let live = Some((None, "2026-01-01T00:00:00Z".parse().unwrap()));
    let found = conditions(&types(Overlap::None), &settings, &Start::Beginning, live);
    assert_eq!(
        found.text,
        "q.[at] IS NOT NULL AND q.[at] < CONVERT(datetime2(7), CONVERT(datetime2, @P1, 121))"
    );
    assert_eq!(found.values, ["2026-01-01 00:00:00.000000"]);

    let stretch = (
        Some("2026-01-01T00:00:00Z".parse().unwrap()),
        "2026-01-02T00:00:00Z".parse().unwrap(),
    );
    let found = conditions(&types(Overlap::None), &settings, &Start::Beginning, Some(stretch));
    assert_eq!(
        found.text,
        "q.[at] IS NOT NULL AND q.[at] >= CONVERT(datetime2(7), CONVERT(datetime2, @P1, 121)) \
         AND q.[at] < CONVERT(datetime2(7), CONVERT(datetime2, @P2, 121))"
    );
    assert_eq!(
        found.values,
        ["2026-01-01 00:00:00.000000", "2026-01-02 00:00:00.000000"]
    );

    let versioned = ("timestamp", "bigint");
    let all = select(
        &Settings::read(&connection(&json!({}))).unwrap(),
        versioned,
        "1 = 1",
        1,
    );
    assert!(
        all.contains(
            "CONVERT(nvarchar(450), q.[at], 1), CONVERT(nvarchar(450), q.[id]), (SELECT q.* FOR JSON"
        ),
        "{all}"
    );
}

#[test]
fn cursors_are_compared_as_what_they_are() {
    use std::cmp::Ordering::{Equal, Greater, Less};
    for (kind, left, right, expected) in [
        (Kind::Integer, "9", "10", Less),
        (Kind::Integer, "-9", "-10", Greater),
        (
            Kind::Integer,
            "18446744073709551615",
            "9223372036854775807",
            Greater,
        ),
        (
            Kind::Timestamp,
            "2026-01-01 00:00:00+00",
            "2026-01-01 00:00:00.1+00",
            Less,
        ),
        (
            Kind::Timestamp,
            "2026-01-01 00:00:00.100000",
            "2026-01-01 00:00:00.1",
            Equal,
        ),
        (
            Kind::Timestamp,
            "2026-01-01 02:00:00 +02:00",
            "2026-01-01 00:00:00.0000001 +00:00",
            Less,
        ),
        (Kind::Timestamp, "2026-01-02", "2026-01-01", Greater),
        (Kind::Timestamp, "infinity", "2026-01-01 00:00:00+00", Greater),
        (Kind::Timestamp, "-infinity", "2026-01-01 00:00:00+00", Less),
    ] {
        assert_eq!(compare(kind, left, right), expected, "{left} {right}");
    }
    assert_eq!(
        instant("2026-01-01 00:00:00.5+00")
            .unwrap()
            .timestamp_subsec_millis(),
        500
    );
}

#[test]
fn identities_are_apart() {
    assert_eq!(identity("7", "2026"), "7@2026");
    assert_ne!(identity("a@b", "c"), identity("a", "b@c"));
    let long = "x".repeat(500);
    assert!(identity(&long, "1").len() < 80);
    assert_ne!(identity(&long, "1"), identity(&long, "2"));
}
