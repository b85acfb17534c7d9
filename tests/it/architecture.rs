//! The dependency rules of `docs/architecture.md`, read off the manifests.

use std::{collections::BTreeMap, path::Path};

/// What each of our crates may depend on, of our crates. What is not listed is an error.
const EDGES: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("infra", &[]),
    ("migrations", &[]),
    ("bus", &["domain"]),
    ("egress", &[]),
    ("connectors", &["domain", "egress"]),
    ("mapping", &["domain"]),
    ("sandbox", &["domain", "mapping"]),
    ("secrets", &["domain"]),
    ("store", &["domain", "migrations"]),
    ("trail", &["domain", "store"]),
    (
        "gateway",
        &[
            "domain",
            "egress",
            "infra",
            "bus",
            "store",
            "trail",
            "connectors",
            "mapping",
        ],
    ),
    (
        "registry",
        &["domain", "infra", "bus", "store", "connectors", "secrets"],
    ),
    (
        "worker",
        &[
            "domain",
            "egress",
            "infra",
            "bus",
            "connectors",
            "mapping",
            "sandbox",
        ],
    ),
    (
        "test-runner",
        &[
            "domain",
            "egress",
            "infra",
            "bus",
            "connectors",
            "mapping",
            "sandbox",
        ],
    ),
    ("audit", &["domain", "infra", "bus", "store", "trail"]),
    ("ontology", &["domain", "infra", "bus", "store"]),
    ("tests", &[]),
    ("load", &["tests"]),
];

/// Crates that drive the system from outside, as a user's programs would, and take what they need for it.
const OUTSIDE: &[&str] = &["tests", "load"];

/// Libraries that only some of our crates may use.
const FENCES: &[(&str, &[&str])] = &[
    ("sea-orm", &["store", "migrations"]),
    ("sea-orm-migration", &["store", "migrations"]),
    ("sqlx", &["store", "migrations"]),
    ("async-nats", &["bus", "connectors"]),
    ("rdkafka", &["connectors"]),
    ("apache-avro", &["connectors"]),
    ("salvo", &["gateway", "infra"]),
    ("async-graphql", &["gateway"]),
    ("aes-gcm", &["secrets"]),
    ("vaultrs", &["secrets"]),
    ("rustify", &["secrets"]),
    ("rquickjs", &["sandbox"]),
    ("monty", &["sandbox"]),
    ("seccompiler", &["sandbox"]),
    ("landlock", &["sandbox"]),
    ("config", &["infra"]),
    ("async-rs", &["connectors"]),
    ("lapin", &["connectors"]),
    ("mysql_async", &["connectors"]),
    ("tiberius", &["connectors"]),
    ("tokio-postgres", &["connectors"]),
    ("object_store", &["connectors"]),
    ("parquet", &["connectors"]),
    ("russh", &["connectors"]),
    ("russh-sftp", &["connectors"]),
];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// The normal dependencies of every member of the workspace, by the member's name without `halcyon-`.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let read = |path: &Path| -> toml::Table {
        let text =
            std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.parse()
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let workspace = read(&root().join("Cargo.toml"));
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let member = |folder: &toml::Value| {
        let manifest = read(&root().join(folder.as_str().unwrap()).join("Cargo.toml"));
        let name = manifest["package"]["name"].as_str().unwrap().to_owned();
        let normal = manifest.get("dependencies").and_then(toml::Value::as_table);
        let names = normal
            .map(|table| table.keys().cloned().collect())
            .unwrap_or_default();
        (name.strip_prefix("halcyon-").unwrap_or(&name).to_owned(), names)
    };
    members.iter().map(member).collect()
}

#[test]
fn dependencies_point_down() {
    let found = dependencies();
    for (name, uses) in &found {
        let ours = uses.iter().filter_map(|used| used.strip_prefix("halcyon-"));
        let allowed = match (name.as_str(), EDGES.iter().find(|(from, _)| from == name)) {
            ("halcyon", _) => continue,
            (_, Some((_, allowed))) => allowed,
            (_, None) => panic!("`{name}` has no row in EDGES"),
        };
        let wrong: Vec<_> = ours.filter(|used| !allowed.contains(used)).collect();
        assert!(wrong.is_empty(), "`{name}` must not depend on {wrong:?}");
    }
    for (name, _) in EDGES {
        assert!(
            found.contains_key(*name),
            "EDGES names `{name}`, which is not in the workspace"
        );
    }
}

#[test]
fn fenced_libraries_stay_in_their_rooms() {
    for (name, uses) in dependencies() {
        for (library, rooms) in FENCES {
            let inside = rooms.contains(&name.as_str()) || OUTSIDE.contains(&name.as_str());
            assert!(
                inside || !uses.iter().any(|used| used == library),
                "`{name}` must not use {library}"
            );
        }
    }
}

/// Our own sources, the tests apart.
fn sources() -> Vec<String> {
    let mut texts = Vec::new();
    let mut folders = vec![root().join("services"), root().join("shared")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "tests" {
                folders.push(path);
            } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                texts.push(std::fs::read_to_string(&path).unwrap());
            }
        }
    }
    texts
}

#[test]
fn every_metric_is_measured_somewhere() {
    let texts = sources();
    for metric in halcyon_infra::Metric::ALL {
        let used = format!("Metric::{metric:?}");
        let measured = texts.iter().any(|text| {
            text.match_indices(&used).any(|(at, _)| {
                let next = text.as_bytes().get(at + used.len());
                next.is_none_or(|byte| !byte.is_ascii_alphanumeric())
            })
        });
        assert!(measured, "nothing measures `{}`", metric.name());
    }
}
