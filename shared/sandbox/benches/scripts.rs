//! What a script costs through the pool, beside the same mapping by expressions in the same run: a small record and an
//! alert of about 1 KB, in batches of 256. `processor` is the time of both sides of the border.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark stops on a surprise, and says what it found"
)]

use std::{
    collections::BTreeMap,
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use halcyon_domain::{
    error::from_value,
    event::EventId,
    id::DatasourceId,
    mapping::{MappingSpec, ScriptLanguage, ScriptSpec},
};
use halcyon_mapping::MappingContext;
use halcyon_sandbox::{Mapping, Pool, Program, Settings};
use serde_json::{Value, json};

const BATCH: usize = 256;

fn small() -> Value {
    json!({"id": "a-4711", "name": "Malware found", "host": "web-1.example.com", "sev": "high", "ts": "2025-02-25T20:40:06Z"})
}

fn alert() -> Value {
    json!({
        "id": "ldt:877761efa8db44d792ddc2a1b2c3d4e5:4295752857",
        "ts": "2025-02-25T20:40:06.721Z", "sev": "high", "status": "new",
        "name": "Suspicious PowerShell with an encoded command",
        "description": "A PowerShell process started with an encoded command line and a parent that is seldom seen.",
        "tactic": "Execution", "technique": "PowerShell", "technique_id": "T1059.001", "confidence": 80,
        "rule": {"id": "rule-4711", "name": "EncodedPowerShell", "version": 12, "tags": ["attack.execution", "windows"]},
        "host": "web-1.corp.example.com",
        "device": {"id": "877761efa8db44d7", "platform": "Windows",
            "os_version": "Windows Server 2022", "external_ip": "203.0.113.17", "local_ip": "10.20.30.40",
            "groups": ["servers", "dmz"]},
        "user": {"name": "svc-deploy", "domain": "CORP", "sid": "S-1-5-21-239183934-720705223-383019856-500"},
        "process": {"pid": 3120, "file": "powershell.exe", "sha256": "840e1f9dc5a29bebf01626822d7390251e9cf05bb3560ba7b68bdb8a41cf08e3",
            "command_line": "powershell.exe -EncodedCommand \"aGVsbG93b3JsZA==\""}
    })
}

const JAVASCRIPT: &str = "
const map = (record) => ({
  kind: 'alert', external_id: record.id, title: record.name, time: record.ts, severity: record.sev,
  vendor: 'Example', attributes: { host: record.host.toLowerCase() },
});";

const PYTHON: &str = "
def map(record, context):
    return {
        'kind': 'alert', 'external_id': record['id'], 'title': record['name'], 'time': record['ts'],
        'severity': record['sev'], 'vendor': 'Example', 'attributes': {'host': record['host'].lower()},
    }";

fn expressions() -> MappingSpec {
    let spec = json!({"outputs": [{"kind": "alert", "fields": {
        "external_id": "id", "title": "name", "time": "ts", "severity": "sev", "vendor": {"value": "Example"},
        "attributes.host": "lower(host)"}}]});
    from_value(spec).unwrap()
}

fn script(language: ScriptLanguage, source: &str) -> MappingSpec {
    MappingSpec {
        script: Some(ScriptSpec {
            language,
            source: source.to_owned(),
        }),
        ..MappingSpec::default()
    }
}

struct Feed {
    pool: Pool,
    mapping: Mapping,
    payloads: Vec<Vec<u8>>,
    id: EventId,
    headers: BTreeMap<String, String>,
    datasource: DatasourceId,
}

impl Feed {
    fn new(pool: &Pool, spec: &MappingSpec, record: &Value) -> Self {
        let datasource = DatasourceId::generate();
        Self {
            pool: pool.clone(),
            mapping: Mapping::compile(spec, datasource).unwrap(),
            payloads: vec![record.to_string().into_bytes(); BATCH],
            id: EventId::generate(),
            headers: BTreeMap::new(),
            datasource,
        }
    }

    fn context(&self) -> MappingContext<'_> {
        MappingContext {
            event_id: &self.id,
            received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            headers: &self.headers,
            datasource: self.datasource,
        }
    }

    /// Maps a batch; how many objects came of it.
    fn map(&self) -> usize {
        let context = self.context();
        match &self.mapping {
            Mapping::Outputs(mapping) => {
                let results = self.payloads.iter().map(|payload| mapping.map(payload, &context));
                results.map(|result| black_box(result).objects()).sum()
            }
            Mapping::Script(mapping, script) => {
                let events = self.payloads.iter().map(|payload| (payload.as_slice(), context));
                let mapped = self.pool.map(script, mapping, events, None).unwrap();
                mapped
                    .results
                    .iter()
                    .map(halcyon_mapping::EventResult::objects)
                    .sum()
            }
        }
    }
}

/// The processor time of this process and of those that it has waited for, in ticks.
fn processor_ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

fn children() -> Vec<u32> {
    let me = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line.strip_prefix("PPid:").is_some_and(|ppid| ppid.trim() == me))
    })
    .collect()
}

/// Records per second of one processor, both sides of the border counted, over three seconds.
fn per_core(name: &str, feed: &Feed) {
    feed.map();
    let used =
        || processor_ticks(std::process::id()) + children().into_iter().map(processor_ticks).sum::<u64>();
    let (before, began, mut records) = (used(), Instant::now(), 0);
    while began.elapsed() < Duration::from_secs(3) {
        records += feed.map();
    }
    let seconds = (used() - before) as f64 / 100.0;
    println!(
        "{name}: {:.0} records/s of one processor",
        records as f64 / seconds
    );
}

fn benchmark(criterion: &mut Criterion) {
    let program = Program {
        path: env!("CARGO_BIN_EXE_halcyon-sandbox").into(),
        arguments: Vec::new(),
    };
    let pool = Pool::new(program, Settings::default());
    for (size, record) in [("small", small()), ("alert", alert())] {
        let mut group = criterion.benchmark_group(size);
        group.throughput(Throughput::Elements(BATCH as u64));
        let specs = [
            ("jmespath", expressions()),
            ("javascript", script(ScriptLanguage::Javascript, JAVASCRIPT)),
            ("python", script(ScriptLanguage::Python, PYTHON)),
        ];
        for (name, spec) in specs {
            let feed = Feed::new(&pool, &spec, &record);
            assert_eq!(feed.map(), BATCH, "{name}");
            per_core(&format!("{size}/{name}"), &feed);
            group.bench_function(name, |bencher| bencher.iter(|| feed.map()));
        }
        group.finish();
    }
}

criterion_group!(benches, benchmark);
criterion_main!(benches);
