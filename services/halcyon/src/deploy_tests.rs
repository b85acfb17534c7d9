//! What deploy/ says of the system: settings that exist, metrics that exist, sections of the runbook that exist.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::Parser;
use halcyon_infra::metrics::{Kind, Metric};
use serde_json::Value;

use crate::{cli::Args, production, settings::Settings};

/// Words of PromQL that are no names of metrics.
const WORDS: &[&str] = &[
    "absent",
    "and",
    "by",
    "histogram_quantile",
    "increase",
    "label_values",
    "max",
    "max_over_time",
    "min",
    "or",
    "rate",
    "sum",
    "unless",
    "up",
    "without",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> Vec<Value> {
    let rules: Value = serde_saphyr::from_str(&text("deploy/prometheus/rules.yml")).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone())
        .collect()
}

/// Every value of the key `name`, wherever it is.
fn all<'a>(name: &str, value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == name => found.push(text),
                    _ => all(name, value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| all(name, item, found)),
        _ => {}
    }
}

/// The names of metrics in a query: what is left without strings, labels, durations and PromQL's own words.
fn metrics_of(query: &str) -> BTreeSet<String> {
    let mut plain = String::new();
    let mut depth = 0_u32;
    for c in query.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => plain.push(c),
            _ => {}
        }
    }
    // `by (a, b)` lists labels.
    while let Some(at) = plain.find(" by (") {
        let end = plain[at..].find(')').map_or(plain.len(), |end| at + end + 1);
        plain.replace_range(at..end, " ");
    }
    plain
        .split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | ':')))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic()))
        .filter(|word| !WORDS.contains(word))
        .map(str::to_owned)
        .collect()
}

fn known() -> BTreeSet<String> {
    let mut known = BTreeSet::new();
    for metric in Metric::ALL {
        let name = metric.name();
        match metric.kind() {
            Kind::Seconds => {
                known.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
            }
            Kind::Counter | Kind::Gauge => {
                known.insert(name.to_owned());
            }
        }
    }
    let recorded = rules();
    known.extend(
        recorded
            .iter()
            .filter_map(|rule| Some(rule["record"].as_str()?.to_owned())),
    );
    known
}

#[test]
fn rules_and_dashboards_ask_for_metrics_that_exist() {
    let known = known();
    let mut queries: Vec<String> = rules()
        .iter()
        .map(|rule| rule["expr"].as_str().unwrap().to_owned())
        .collect();
    for file in fs::read_dir(root().join("deploy/grafana/dashboards")).unwrap() {
        let board: Value = serde_json::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        let mut found = Vec::new();
        all("expr", &board, &mut found);
        assert!(!found.is_empty());
        queries.extend(found.into_iter().map(str::to_owned));
    }
    assert!(queries.len() > 40, "{}", queries.len());
    for query in queries {
        let names = metrics_of(&query);
        assert!(!names.is_empty() || query.contains("up"), "{query}");
        for name in names {
            assert!(known.contains(&name), "`{name}` in `{query}` is no metric");
        }
    }
}

#[test]
fn a_name_that_is_no_metric_is_found() {
    let names = metrics_of("sum by (le, x) (rate(no_such_total{a=\"b\"}[5m])) / up > 5");
    assert_eq!(names, BTreeSet::from(["no_such_total".to_owned()]));
    assert!(!known().contains("no_such_total"));
}

#[test]
fn each_alert_leads_to_a_section_of_the_runbook() {
    let runbook = text("docs/runbook.md");
    let anchors: BTreeSet<String> = runbook
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|title| {
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-'));
            kept.collect::<String>().to_lowercase().replace(' ', "-")
        })
        .collect();
    let alerts: Vec<Value> = rules()
        .into_iter()
        .filter(|rule| rule["alert"].is_string())
        .collect();
    assert!(alerts.len() > 10);
    for alert in alerts {
        let link = alert["annotations"]["runbook"].as_str().unwrap_or_default();
        let anchor = link.strip_prefix("docs/runbook.md#").unwrap_or_default();
        assert!(anchors.contains(anchor), "{}: {link}", alert["alert"]);
    }
}

#[test]
fn the_stack_is_set_up_for_production() {
    let settings: Settings = toml::from_str(&text("deploy/halcyon.toml")).unwrap();
    assert!(settings.mode().is_production());
    assert_eq!(production::findings(&settings), Vec::<String>::new());
    assert_eq!(settings.bus.replicas, 3);
    assert_eq!(settings.health.len(), 6, "each service is asked for its health");
}

#[test]
fn the_stack_s_commands_are_commands_of_this_executable() {
    let compose: Value = serde_saphyr::from_str(&text("deploy/compose.yaml")).unwrap();
    let words = |value: &Value| -> Vec<String> {
        let words = value.as_array().into_iter().flatten();
        words.filter_map(|word| Some(word.as_str()?.to_owned())).collect()
    };
    let mut commands = Vec::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        if let Some((_, check)) = words(&service["healthcheck"]["test"]).split_first()
            && check.first().is_some_and(|program| program == "halcyon")
        {
            commands.push(check.to_vec());
            let own = words(&service["command"]);
            assert_eq!(own.last(), Some(name), "{name}");
            commands.push([&["halcyon".to_owned()], own.as_slice()].concat());
        }
    }
    let script = words(&compose["services"]["init"]["command"]).join("\n");
    let lines = script.lines().filter_map(|line| line.strip_prefix("$$halcyon "));
    for line in lines {
        let arguments = line
            .split_whitespace()
            .map(|word| word.trim_matches('"').to_owned());
        commands.push([vec!["halcyon".to_owned()], arguments.collect()].concat());
    }
    assert_eq!(commands.len(), 6 * 2 + 3);
    for command in commands {
        assert!(Args::try_parse_from(&command).is_ok(), "{command:?}");
    }
}
