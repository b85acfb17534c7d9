//! What the mapping of one alert costs, beside code that was written by hand for just this alert.
//!
//! `by_hand/struct` is the yardstick: `serde_json` into a struct that borrows from the payload, and from it the
//! same objects. `by_hand/value` goes through `serde_json::Value`. `compiled/*` are mappings of this crate that
//! make the same objects: by plain paths, with JMESPath functions, and with JSONPath.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark stops on a surprise"
)]

use std::{borrow::Cow, collections::BTreeMap, hint::black_box};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use halcyon_domain::{
    clock::{Timestamp, truncate},
    error::from_value,
    event::EventId,
    id::DatasourceId,
    mapping::MappingSpec,
    ontology::{Alert, Entity, OntologyObject, Rule, Severity},
    redact::RedactionSpec,
    shape::{Expected, Shape},
};
use halcyon_mapping::{CompiledMapping, MappingContext, Outcome, RecordCutter};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// An alert of about 1 KB, of which a mapping reads 13 fields.
fn payload() -> Vec<u8> {
    let alert = json!({
        "id": "ldt:877761efa8db44d792ddc2a1b2c3d4e5:4295752857",
        "created_at": "2025-02-25T20:40:06.721Z",
        "severity": "high",
        "status": "new",
        "name": "Suspicious PowerShell with an encoded command",
        "description": "A PowerShell process started with an encoded command line and a parent that is seldom seen.",
        "tactic": "Execution", "technique": "PowerShell", "technique_id": "T1059.001", "confidence": 80,
        "rule": {"id": "rule-4711", "name": "EncodedPowerShell", "version": 12, "tags": ["attack.execution", "windows"]},
        "device": {"id": "877761efa8db44d7", "hostname": "web-1.corp.example.com", "platform": "Windows",
            "os_version": "Windows Server 2022", "external_ip": "203.0.113.17", "local_ip": "10.20.30.40",
            "groups": ["servers", "dmz"]},
        "user": {"name": "svc-deploy", "domain": "CORP", "sid": "S-1-5-21-239183934-720705223-383019856-500"},
        "process": {"pid": 3120, "file": "powershell.exe", "sha256": "840e1f9dc5a29bebf01626822d7390251e9cf05bb3560ba7b68bdb8a41cf08e3",
            "command_line": "powershell.exe -EncodedCommand \"aGVsbG93b3JsZA==\""}
    });
    alert.to_string().into_bytes()
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Cow<'a, str>,
    #[serde(borrow)]
    severity: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    description: Cow<'a, str>,
    #[serde(borrow)]
    tactic: Cow<'a, str>,
    #[serde(borrow)]
    rule: RuleOf<'a>,
    #[serde(borrow)]
    device: Device<'a>,
    #[serde(borrow)]
    user: User<'a>,
}

#[derive(Deserialize)]
struct RuleOf<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Device<'a> {
    #[serde(borrow)]
    hostname: Cow<'a, str>,
    #[serde(borrow)]
    platform: Cow<'a, str>,
    #[serde(borrow)]
    local_ip: Cow<'a, str>,
}

#[derive(Deserialize)]
struct User<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

fn time(text: &str) -> Timestamp {
    truncate(chrono::DateTime::parse_from_rfc3339(text).unwrap().to_utc())
}

fn attributes<const N: usize>(pairs: [(&str, &str); N]) -> Map<String, Value> {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::from(value)))
        .collect()
}

fn by_struct(payload: &[u8]) -> Vec<OntologyObject> {
    let event: Event<'_> = serde_json::from_slice(payload).unwrap();
    let alert = Alert {
        external_id: event.id.into_owned(),
        title: event.name.into_owned(),
        time: time(&event.created_at),
        severity: event.severity.parse().unwrap_or(Severity::Unknown),
        status: None,
        description: Some(event.description.into_owned()),
        category: Some(event.tactic.into_owned()),
        vendor: Some("Example".to_owned()),
        product: None,
        rule: Some(Rule {
            id: Some(event.rule.id.into_owned()),
            name: Some(event.rule.name.into_owned()),
        }),
        observables: Vec::new(),
        attributes: attributes([("user", &event.user.name)]),
    };
    let host = Entity {
        kind: "host".to_owned(),
        key: event.device.hostname.into_owned(),
        name: None,
        time: None,
        attributes: attributes([
            ("platform", &event.device.platform),
            ("ip", &event.device.local_ip),
        ]),
    };
    vec![OntologyObject::Alert(alert), OntologyObject::Entity(host)]
}

fn by_value(payload: &[u8]) -> Vec<OntologyObject> {
    let event: Value = serde_json::from_slice(payload).unwrap();
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let alert = Alert {
        external_id: text("/id").to_owned(),
        title: text("/name").to_owned(),
        time: time(text("/created_at")),
        severity: text("/severity").parse().unwrap_or(Severity::Unknown),
        status: None,
        description: Some(text("/description").to_owned()),
        category: Some(text("/tactic").to_owned()),
        vendor: Some("Example".to_owned()),
        product: None,
        rule: Some(Rule {
            id: Some(text("/rule/id").to_owned()),
            name: Some(text("/rule/name").to_owned()),
        }),
        observables: Vec::new(),
        attributes: attributes([("user", text("/user/name"))]),
    };
    let host = Entity {
        kind: "host".to_owned(),
        key: text("/device/hostname").to_owned(),
        name: None,
        time: None,
        attributes: attributes([
            ("platform", text("/device/platform")),
            ("ip", text("/device/local_ip")),
        ]),
    };
    vec![OntologyObject::Alert(alert), OntologyObject::Entity(host)]
}

/// The mapping, with some of its expressions replaced.
fn compiled(language: &str, prefix: &str, changes: &[(usize, &str, Value)]) -> CompiledMapping {
    let path = |path: &str| json!(format!("{prefix}{path}"));
    let mut spec = json!({"language": language, "outputs": [
        {"kind": "alert", "fields": {"external_id": path("id"), "title": path("name"), "time": path("created_at"),
            "severity": path("severity"), "description": path("description"), "category": path("tactic"),
            "vendor": {"value": "Example"}, "rule.id": path("rule.id"), "rule.name": path("rule.name"),
            "attributes.user": path("user.name")}},
        {"kind": "entity", "fields": {"type": {"value": "host"}, "key": path("device.hostname"),
            "attributes.platform": path("device.platform"), "attributes.ip": path("device.local_ip")}}]});
    for (output, field, value) in changes {
        spec["outputs"][output]["fields"][field] = value.clone();
    }
    CompiledMapping::compile(&from_value(spec).unwrap()).unwrap()
}

fn objects(mapping: &CompiledMapping, payload: &[u8], context: &MappingContext<'_>) -> Vec<OntologyObject> {
    match mapping.map(payload, context).records.remove(0).outcome {
        Outcome::Delivered(objects) => objects,
        other => panic!("{other:?}"),
    }
}

fn bench(criterion: &mut Criterion) {
    let payload = payload();
    let (event_id, headers) = (EventId::from("event".to_owned()), BTreeMap::new());
    let datasource = DatasourceId(uuid::Uuid::nil());
    let context = MappingContext {
        event_id: &event_id,
        received_at: Timestamp::default(),
        headers: &headers,
        datasource,
    };
    let plain = compiled("jmespath", "", &[]);
    let functions = compiled(
        "jmespath",
        "",
        &[
            (0, "title", json!("join(' on ', [name, device.hostname])")),
            (0, "category", json!("not_null(tactic, technique)")),
            (0, "attributes.user", json!("user.name || 'nobody'")),
            (1, "key", json!("device.groups[?@ == 'dmz'] && device.hostname")),
        ],
    );
    let jsonpath = compiled("jsonpath", "$.", &[]);
    let expected = by_struct(&payload);
    assert_eq!(by_value(&payload), expected);
    assert_eq!(objects(&plain, &payload, &context), expected);
    assert_eq!(objects(&jsonpath, &payload, &context), expected);

    let mut group = criterion.benchmark_group(format!("mapping/{}-byte-alert", payload.len()));
    group.throughput(Throughput::Elements(1));
    group.bench_function("by_hand/struct", |bencher| {
        bencher.iter(|| by_struct(black_box(&payload)))
    });
    group.bench_function("by_hand/value", |bencher| {
        bencher.iter(|| by_value(black_box(&payload)))
    });
    for (name, mapping) in [
        ("plain", &plain),
        ("jsonpath_plain", &jsonpath),
        ("functions", &functions),
    ] {
        group.bench_function(format!("compiled/{name}"), |bencher| {
            bencher.iter(|| mapping.map(black_box(&payload), &context));
        });
    }
    watched(&mut group, &payload);
    group.finish();
}

/// What it costs to look whether the alert is what a version expects, as `schema.drift: stop` does of each record.
fn watched(group: &mut BenchmarkGroup<'_, WallTime>, payload: &[u8]) {
    let cutter = RecordCutter::compile(&MappingSpec::default()).unwrap();
    let record = cutter.cut(payload, 1).unwrap().remove(0);
    let mut shape = Shape::default();
    shape.learn(&record);
    let expected = Expected::compile(&shape.schema()).unwrap();
    group.bench_function("drift/compare", |bencher| {
        bencher.iter(|| expected.compare(black_box(&record), &mut |drift| panic!("{drift}")));
    });
    group.bench_function("drift/cut_and_compare", |bencher| {
        bencher.iter(|| {
            for record in cutter.cut(black_box(payload), 1_000).unwrap() {
                expected.compare(&record, &mut |drift| panic!("{drift}"));
            }
        });
    });
    group.bench_function("drift/learn", |bencher| {
        bencher.iter(|| shape.learn(black_box(&record)));
    });
    let redaction = RedactionSpec::default().compile().unwrap();
    group.bench_function("capture/redact", |bencher| {
        bencher.iter(|| redaction.payload(black_box(payload)).unwrap());
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
