//! The corpus of hostile scripts (`tests/hostile/scripts`): each ends at its deadline, within its memory, reads nothing,
//! spoils no other record, and hinders no other datasource. A script is added by adding a file.
//!
//! The first line says which codes its hostile record may end with (`expect: a|b`; `delivered` and `filtered` are
//! verdicts), a second line `at: load` that the script is hostile before any record. What gets out says `escaped`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, and says how long each script took"
)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use halcyon_domain::{
    id::DatasourceId,
    mapping::{ScriptLanguage, ScriptSpec},
    ontology::OntologyObject,
};
use halcyon_mapping::Outcome;
use halcyon_sandbox::{Pool, Settings};
use support::{map, pool};

/// What P18 asks for; processes that are sampled must stay below it.
const MAX_RESIDENT: u64 = 256 * 1024 * 1024;
const RECORDS: [&str; 3] = [r#"{"n": 1}"#, r#"{"n": 2, "hostile": true}"#, r#"{"n": 3}"#];

struct Hostile {
    name: String,
    spec: ScriptSpec,
    expected: Vec<String>,
    at_load: bool,
}

fn corpus() -> Vec<Hostile> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/hostile/scripts"
    ));
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| hostile(path)).collect()
}

fn hostile(path: &Path) -> Hostile {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let source = fs::read_to_string(path).unwrap();
    let mut lines = source
        .lines()
        .map(|line| line.trim_start_matches(['/', '#', ' ']));
    let expected = lines.next().unwrap().strip_prefix("expect: ");
    let expected = expected.unwrap_or_else(|| panic!("{name} does not say what to expect"));
    let at_load = lines.next().unwrap() == "at: load";
    let language = match path.extension().unwrap().to_str().unwrap() {
        "js" => ScriptLanguage::Javascript,
        "py" => ScriptLanguage::Python,
        other => panic!("{name}: what is .{other}?"),
    };
    Hostile {
        expected: expected.split('|').map(str::to_owned).collect(),
        spec: ScriptSpec { language, source },
        at_load,
        name,
    }
}

fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Delivered(objects) => {
            for object in objects {
                let OntologyObject::Entity(entity) = object else {
                    continue;
                };
                assert!(!entity.key.contains("escaped"), "{entity:?}");
            }
            "delivered".to_owned()
        }
        Outcome::Filtered => "filtered".to_owned(),
        Outcome::DeadLettered(failure) => {
            assert!(!failure.detail.contains("escaped"), "{failure:?}");
            failure.code.clone()
        }
    }
}

/// What is wrong with how a script ended; nothing if it was contained.
fn judge(pool: &Pool, hostile: &Hostile) -> (String, Option<String>) {
    let records = map(pool, DatasourceId::generate(), &hostile.spec, &RECORDS);
    let words: Vec<String> = records.iter().map(|record| word(&record.outcome)).collect();
    let [before, culprit, after] = &words[..] else {
        return (String::new(), Some(format!("{words:?}")));
    };
    let others = hostile.at_load || before == "delivered" && after == "delivered";
    let fault = if !hostile.expected.contains(culprit) {
        let failure = &records[1].outcome;
        Some(format!("ended with {failure:?}, not {:?}", hostile.expected))
    } else if !others {
        Some(format!("the other records ended with {words:?}"))
    } else {
        None
    };
    (culprit.clone(), fault)
}

/// The most resident memory that a child of this process has now.
fn largest_child() -> u64 {
    let me = std::process::id().to_string();
    let status = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("status")).ok();
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next().map(str::to_owned)
    };
    let children = fs::read_dir("/proc").unwrap().flatten().filter_map(status);
    let mine = children.filter(|status| field(status, "PPid:").as_ref() == Some(&me));
    let resident = mine.filter_map(|status| field(&status, "VmRSS:")?.parse::<u64>().ok());
    resident.max().unwrap_or_default() * 1024
}

/// Runs `body` while another datasource's records are mapped and the processes' memory is watched; how many records
/// were, and the most memory.
fn beside_a_bystander(pool: &Pool, body: impl FnOnce()) -> (u64, u64) {
    let spec = ScriptSpec {
        language: ScriptLanguage::Javascript,
        source: "const map = (record) => ({ kind: 'entity', type: 'probe', key: String(record.n) });"
            .to_owned(),
    };
    let (over, peak, mapped) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let datasource = DatasourceId::generate();
            while !over.load(Ordering::Relaxed) {
                for record in map(pool, datasource, &spec, &RECORDS) {
                    assert_eq!(word(&record.outcome), "delivered");
                    mapped.fetch_add(1, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                peak.fetch_max(largest_child(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(3));
            }
        });
        body();
        over.store(true, Ordering::Relaxed);
    });
    (mapped.into_inner(), peak.into_inner())
}

#[test]
fn every_hostile_script_is_contained() {
    let corpus = corpus();
    assert!(corpus.len() >= 60, "the corpus has {}", corpus.len());
    let pool = pool(Settings {
        processes: 4,
        ..Settings::default()
    });
    let (left, faults, slowest) = (
        Mutex::new(corpus.iter()),
        Mutex::new(Vec::new()),
        Mutex::new((Duration::ZERO, "")),
    );
    let (mapped, peak) = beside_a_bystander(&pool, || {
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    loop {
                        let Some(hostile) = left.lock().unwrap().next() else {
                            return;
                        };
                        let began = Instant::now();
                        let (ended, fault) = judge(&pool, hostile);
                        let took = began.elapsed();
                        eprintln!("{:28} {ended:18} {took:?}", hostile.name);
                        let mut slowest = slowest.lock().unwrap();
                        *slowest = (*slowest).max((took, &hostile.name));
                        faults
                            .lock()
                            .unwrap()
                            .extend(fault.map(|fault| format!("{}: {fault}", hostile.name)));
                    }
                });
            }
        });
    });
    let (counts, slowest) = (pool.counts(), slowest.into_inner().unwrap());
    eprintln!(
        "{} scripts, slowest {slowest:?}, largest process {} MiB, {mapped} other records, {counts:?}",
        corpus.len(),
        peak >> 20
    );
    let faults = faults.into_inner().unwrap();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(peak <= MAX_RESIDENT, "a process had {} MiB", peak >> 20);
    assert!(mapped > 0);
}
