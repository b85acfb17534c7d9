//! What a pool promises besides containment: exact numbers, no chance, logs, errors with their line, and a rest for
//! scripts that do nothing but fail.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use halcyon_domain::{
    duration::HumanDuration,
    id::DatasourceId,
    mapping::{
        ScriptLanguage::{self, Javascript, Python},
        ScriptSpec,
    },
    ontology::OntologyObject,
};
use halcyon_mapping::{Outcome, RecordResult};
use halcyon_sandbox::{Error, Pool, Program, Settings};
use serde_json::{Value, json};
use support::{compiled, map, map_events, map_with_logs, pool};

fn script(language: ScriptLanguage, source: &str) -> ScriptSpec {
    ScriptSpec {
        language,
        source: source.to_owned(),
    }
}

/// The attributes of the one entity that a record became.
fn attributes(record: &RecordResult) -> Value {
    match &record.outcome {
        Outcome::Delivered(objects) => match &objects[..] {
            [OntologyObject::Entity(entity)] => Value::Object(entity.attributes.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn failure(record: &RecordResult) -> (&str, &str) {
    match &record.outcome {
        Outcome::DeadLettered(failure) => (&failure.code, &failure.detail),
        other => panic!("{other:?}"),
    }
}

#[test]
fn integers_of_any_size_are_exact_in_both_languages() {
    let pool = pool(Settings::default());
    let javascript = "const map = (r) => ({kind: 'entity', type: 't', key: `${r.id}`, attributes: {
        same: r.id, next: typeof r.id === 'bigint' ? r.id + 1n : r.id + 1, text: JSON.stringify(r)}});";
    let python = "import json\ndef map(r, c):\n    return {'kind': 'entity', 'type': 't', 'key': str(r['id']), \
                  'attributes': {'same': r['id'], 'next': r['id'] + 1, 'text': json.dumps(r)}}";
    let records = [
        r#"{"id": 9007199254740993}"#,
        r#"{"id": 123456789012345678901234567890}"#,
        r#"{"id": 7}"#,
    ];
    for script in [script(Javascript, javascript), script(Python, python)] {
        let mapped = map(&pool, DatasourceId::generate(), &script, &records);
        let found: Vec<Value> = mapped.iter().map(attributes).collect();
        assert_eq!(found[0]["same"], json!(9_007_199_254_740_993_i64), "{script:?}");
        assert_eq!(found[0]["next"], json!(9_007_199_254_740_994_i64));
        // Beyond 64 bits they are text, as everywhere.
        assert_eq!(found[1]["same"], json!("123456789012345678901234567890"));
        assert_eq!(found[1]["next"], json!("123456789012345678901234567891"));
        assert!(
            found[1]["text"]
                .as_str()
                .unwrap()
                .contains("123456789012345678901234567890")
        );
        assert_eq!(found[2]["next"], json!(8));
    }
}

#[test]
fn a_record_becomes_the_same_whenever_and_wherever_it_is_mapped() {
    let source = "const map = () => ({kind: 'entity', type: 't', key: 'k', attributes: {
        now: Date.now(), date: new Date().toISOString(), year: new Date(0).getFullYear(), random: Math.random()}});";
    let script = script(Javascript, source);
    let once = || {
        attributes(
            &map(
                &pool(Settings::default()),
                DatasourceId::generate(),
                &script,
                &["{}"],
            )[0],
        )
    };
    let (first, second) = (once(), once());
    assert_eq!(first, second);
    assert_eq!(first["date"], json!("2026-01-02T03:04:05.000Z"));
    assert_eq!(first["year"], json!(1970));
}

#[test]
fn what_a_script_logs_is_bounded_and_only_there_when_it_is_asked_for() {
    let pool = pool(Settings::default());
    let javascript = "function map(r) { console.log('saw', r); for (let i = 0; i < 1000; i++) console.warn(i); return null; }";
    let python = "def map(r, c):\n    print('saw', r['n'])\n    for i in range(1000):\n        print(i)\n    return None";
    for script in [script(Javascript, javascript), script(Python, python)] {
        let datasource = DatasourceId::generate();
        let (_, silent) = map_with_logs(&pool, &compiled(datasource, &script), &["{\"n\": 1}"]);
        assert_eq!(silent, []);
        let told = compiled(datasource, &script).with_logs();
        let (_, lines) = map_with_logs(&pool, &told, &["{\"n\": 1}", "{\"n\": 2}"]);
        let of = |place: usize| {
            lines
                .iter()
                .filter(move |(at, _)| *at == place)
                .map(|(_, line)| line.as_str())
        };
        assert_eq!((of(0).count(), of(1).count()), (51, 51));
        assert!(of(1).next().unwrap().starts_with("saw"), "{lines:?}");
        assert!(of(1).next_back().unwrap().contains("951 more lines"), "{lines:?}");
    }
}

#[test]
fn errors_name_their_line_and_no_value_of_the_payload() {
    let pool = pool(Settings::default());
    let javascript = "function map(r) {\n  const id = r.id;\n  throw new RangeError('no ' + id + ' of ' + r.deep.list[0]);\n}";
    let python = "def map(r, c):\n    id = r['id']\n    raise ValueError('no ' + id + ' of ' + str(r['deep']['list'][0]))";
    let record = r#"{"id": "hunter2", "deep": {"list": [4711]}}"#;
    for script in [script(Javascript, javascript), script(Python, python)] {
        let mapped = map(&pool, DatasourceId::generate(), &script, &[record]);
        let (code, detail) = failure(&mapped[0]);
        assert_eq!(code, "script_failed");
        assert!(
            detail.starts_with("line 3: ") && detail.ends_with("Error: no … of …"),
            "{detail}"
        );
    }
    let broken = compiled(
        DatasourceId::generate(),
        &script(Javascript, "\n\nfunction map( {"),
    );
    let errors = broken.check(Some(&pool)).unwrap_err();
    assert_eq!(errors[0].pointer, "/script/source");
    assert!(errors[0].detail.starts_with("line 3: SyntaxError"), "{errors:?}");
}

#[test]
fn datasources_share_nothing_even_with_one_script() {
    let source = "let seen = 0; const map = () => ({kind: 'entity', type: 't', key: 'k', attributes: {seen: ++seen}});";
    let script = script(Javascript, source);
    let pool = pool(Settings::default());
    let (one, other) = (DatasourceId::generate(), DatasourceId::generate());
    let seen = |datasource| attributes(&map(&pool, datasource, &script, &["{}"])[0])["seen"].clone();
    assert_eq!(
        (seen(one), seen(one), seen(other)),
        (json!(1), json!(2), json!(1))
    );
}

#[test]
fn a_script_that_does_nothing_but_fail_rests() {
    let pool = pool(Settings {
        record_deadline: HumanDuration::from_millis(100),
        suspend_after: 2,
        suspend_for: HumanDuration::from_secs(3_600),
        ..Settings::default()
    });
    let source = "function map(r) { if (r.n) for (;;); return null; }";
    let (datasource, bad) = (DatasourceId::generate(), script(Javascript, source));
    let words = |datasource, script, records: &[&str]| -> Vec<String> {
        map(&pool, datasource, script, records).iter().map(word).collect()
    };
    let (good, poison) = ("{\"n\": 0}", "{\"n\": 1}");
    // One good record between them, and it goes on.
    assert_eq!(
        words(datasource, &bad, &[poison, good, poison]),
        ["script_timeout", "filtered", "script_timeout"]
    );
    assert_eq!(
        words(datasource, &bad, &[poison, poison]),
        ["script_timeout", "script_suspended"]
    );
    assert_eq!(words(datasource, &bad, &[good]), ["script_suspended"]);
    assert_eq!(
        words(DatasourceId::generate(), &bad, &[good]),
        ["filtered"],
        "another datasource"
    );
    let mended = script(Javascript, "const map = () => null;");
    assert_eq!(
        words(datasource, &mended, &[poison]),
        ["filtered"],
        "another version"
    );
    assert_eq!(pool.counts().suspended, 1);
}

/// What a record became, in a word.
fn word(record: &RecordResult) -> String {
    match &record.outcome {
        Outcome::DeadLettered(failure) => failure.code.clone(),
        outcome => outcome.verdict().to_string(),
    }
}

/// A script that takes some time for each record, well within its deadline.
fn slow() -> ScriptSpec {
    script(
        Javascript,
        "function map(r) { let n = 0; for (let i = 0; i < 2000000; i++) n += i; return null; }",
    )
}

#[test]
fn an_event_of_many_slow_records_ends_at_its_deadline() {
    let pool = pool(Settings {
        event_deadline: HumanDuration::from_secs(2),
        ..Settings::default()
    });
    let mapping = compiled(DatasourceId::generate(), &slow());
    let many = format!("[{}1]", "1,".repeat(4_999));
    let mapped = map_events(&pool, &mapping, &[&many], None).unwrap();
    let words: Vec<String> = mapped.results[0].records.iter().map(word).collect();
    let done = words.iter().take_while(|word| *word == "filtered").count();
    assert_eq!(words.len(), 5_000);
    assert!(
        done > 0 && words[done..].iter().all(|word| word == "script_timeout"),
        "{words:?}"
    );
    assert!(done < 5_000, "it had no deadline");
    // That was worth many failures.
    let next = map_events(&pool, &mapping, &["1"], None).unwrap();
    assert_eq!(word(&next.results[0].records[0]), "script_suspended");
}

#[test]
fn when_time_is_over_no_event_is_begun_and_none_is_blamed() {
    let pool = pool(Settings::default());
    let mapping = compiled(DatasourceId::generate(), &slow());
    let events = ["1"; 500];
    let until = Instant::now() + Duration::from_millis(100);
    let mapped = map_events(&pool, &mapping, &events, Some(until)).unwrap();
    let words: Vec<String> = mapped
        .results
        .iter()
        .flat_map(|result| result.records.iter().map(word))
        .collect();
    assert!(
        !words.is_empty() && words.iter().all(|word| word == "filtered"),
        "{words:?}"
    );
    assert!(
        words.len() < 128,
        "a whole piece of {} was waited for",
        words.len()
    );
    assert_eq!((pool.counts().late, pool.counts().suspended), (0, 0));
}

#[test]
fn few_processes_serve_many_datasources() {
    let pool = pool(Settings {
        processes: 2,
        ..Settings::default()
    });
    let script = script(
        Javascript,
        "const map = (r) => ({kind: 'entity', type: 't', key: String(r.n)});",
    );
    for _ in 0..6 {
        let mapped = map(&pool, DatasourceId::generate(), &script, &["{\"n\": 1}"]);
        assert!(matches!(mapped[0].outcome, Outcome::Delivered(_)));
    }
    let counts = pool.counts();
    assert_eq!((counts.processes, counts.started, counts.records), (2, 6, 6));
}

#[test]
fn processes_are_confined_and_their_absence_is_said() {
    let confinement = pool(Settings::default()).confinement().unwrap();
    assert!(
        confinement.no_new_privileges && confinement.limits,
        "{confinement:?}"
    );
    assert!(confinement.seccomp, "{confinement:?}");
    let missing = Program {
        path: "/nowhere/halcyon".into(),
        arguments: Vec::new(),
    };
    assert!(Pool::new(missing, Settings::default()).confinement().is_err());
    // A program that says nothing must not be waited for without end.
    let mute = Program {
        path: "/bin/true".into(),
        arguments: Vec::new(),
    };
    let began = std::time::Instant::now();
    assert!(Pool::new(mute, Settings::default()).confinement().is_err());
    assert!(began.elapsed() < Duration::from_secs(60));
}

/// A program of the shell's that says that it is confined and then does what `text` says. In its folder there is a
/// file for each process that was started; `$0` is the real program, `$1` the number of the process.
fn stand_in(folder: &Path, text: &str) -> Program {
    let hello = r#"{"no_new_privileges":true,"seccomp":true,"landlock":true,"limits":true,"missing":[]}"#;
    let hello = format!("printf 'H\\000\\000\\000\\{:03o}%s' '{hello}'", hello.len());
    let count = format!(
        "n=1; while [ -e {0}/$n ]; do n=$((n + 1)); done; : > {0}/$n; set -- $n",
        folder.display()
    );
    Program {
        path: "/bin/sh".into(),
        arguments: vec![
            "-c".to_owned(),
            format!("{count}\nhello() {{ {hello}; }}\n{text}"),
            env!("CARGO_BIN_EXE_halcyon-sandbox").to_owned(),
        ],
    }
}

#[test]
fn a_script_that_was_not_read_in_time_is_read_again_and_not_condemned() {
    let settings = || Settings {
        record_deadline: HumanDuration::from_millis(300),
        ..Settings::default()
    };
    let spec = script(Javascript, "const map = () => null;");
    // The first process stands still.
    let folder = tempfile::tempdir().unwrap();
    let stalls = stand_in(folder.path(), "[ $1 = 1 ] && hello && exec sleep 1000; exec $0");
    let pool = Pool::new(stalls, settings());
    let words: Vec<String> = map(&pool, DatasourceId::generate(), &spec, &["1", "2"])
        .iter()
        .map(word)
        .collect();
    assert_eq!(words, ["filtered", "filtered"]);
    // Each process dies over it: only the record that was to be mapped is at fault each time.
    let folder = tempfile::tempdir().unwrap();
    let dies = stand_in(folder.path(), "hello; head -c 5 > /dev/null; kill -SEGV $$");
    let pool = Pool::new(
        dies,
        Settings {
            suspend_after: 2,
            ..settings()
        },
    );
    let mapping = compiled(DatasourceId::generate(), &spec);
    assert_eq!(mapping.check(Some(&pool)), Ok(()), "nothing is known of it");
    let mapped = map_events(&pool, &mapping, &["1", "2", "3"], None).unwrap();
    let words: Vec<String> = mapped
        .results
        .iter()
        .map(|event| word(&event.records[0]))
        .collect();
    assert_eq!(words, ["script_crashed", "script_crashed", "script_suspended"]);
}

#[test]
fn a_record_over_which_processes_are_killed_again_and_again_is_at_fault() {
    let folder = tempfile::tempdir().unwrap();
    // As the kernel does for want of memory: in the middle of a record, the first bytes are the script.
    let killed = stand_in(
        folder.path(),
        "hello; head -c 5 > /dev/null; printf 'O\\000\\000\\000\\000'; head -c 2000 > /dev/null; kill -KILL $$",
    );
    let pool = Pool::new(killed, Settings::default());
    let mapping = compiled(
        DatasourceId::generate(),
        &script(Javascript, "const map = () => null;"),
    );
    let (large, other) = (
        format!("\"{}\"", "x".repeat(4_000)),
        format!("\"{}\"", "y".repeat(4_000)),
    );
    let mapped = |record: &str| map_events(&pool, &mapping, &[record], None);
    for record in [&large, &large, &other] {
        assert!(
            matches!(mapped(record), Err(Error::Ended)),
            "once or twice is chance"
        );
    }
    let blamed = mapped(&large).unwrap();
    assert_eq!(word(&blamed.results[0].records[0]), "script_memory");
    assert!(mapped(&large).is_err(), "it begins anew");
}
