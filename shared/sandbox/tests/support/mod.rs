//! Records through a pool of this crate's own program.

use std::{collections::BTreeMap, time::Instant};

use halcyon_domain::{
    event::EventId,
    id::DatasourceId,
    mapping::{MappingSpec, ScriptSpec},
};
use halcyon_mapping::{MappingContext, RecordResult};
use halcyon_sandbox::{Error, Mapped, Mapping, Pool, Program, Settings};

pub(crate) fn pool(settings: Settings) -> Pool {
    let program = Program {
        path: env!("CARGO_BIN_EXE_halcyon-sandbox").into(),
        arguments: Vec::new(),
    };
    Pool::new(program, settings)
}

pub(crate) fn compiled(datasource: DatasourceId, script: &ScriptSpec) -> Mapping {
    let spec = MappingSpec {
        script: Some(script.clone()),
        ..MappingSpec::default()
    };
    Mapping::compile(&spec, datasource).unwrap()
}

/// What became of events.
pub(crate) fn map_events(
    pool: &Pool,
    mapping: &Mapping,
    events: &[&str],
    until: Option<Instant>,
) -> Result<Mapped, Error> {
    let Mapping::Script(mapping, script) = mapping else {
        panic!("{mapping:?}")
    };
    let (id, headers) = (EventId::generate(), BTreeMap::new());
    let context = MappingContext {
        event_id: &id,
        received_at: "2026-01-02T03:04:05Z".parse().unwrap(),
        headers: &headers,
        datasource: DatasourceId::generate(),
    };
    let events = events.iter().map(|event| (event.as_bytes(), context));
    pool.map(script, mapping, events, until)
}

/// What became of the records, each an event of its own, and what was logged.
pub(crate) fn map_with_logs(
    pool: &Pool,
    mapping: &Mapping,
    records: &[&str],
) -> (Vec<RecordResult>, Vec<(usize, String)>) {
    let mapped = map_events(pool, mapping, records, None).unwrap();
    let records = mapped.results.into_iter().flat_map(|result| result.records);
    (records.collect(), mapped.logs)
}

/// What became of the records of a datasource.
pub(crate) fn map(
    pool: &Pool,
    datasource: DatasourceId,
    script: &ScriptSpec,
    records: &[&str],
) -> Vec<RecordResult> {
    map_with_logs(pool, &compiled(datasource, script), records).0
}
