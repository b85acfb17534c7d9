//! What is in files.

use std::{io::Write, sync::Arc};

use flate2::{Compression, write::GzEncoder};
use parquet::{
    data_type::{ByteArray, ByteArrayType, Int64Type},
    file::{
        properties::{WriterProperties, WriterVersion},
        reader::{FileReader, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    schema::parser::parse_message_type,
};
use serde_json::{Value, json};

use super::support::{Memory, NOW, Reader};

async fn read(format: Value, content: impl Into<bytes::Bytes>) -> Vec<String> {
    let memory = Arc::new(Memory::default());
    memory.put("file", content, NOW);
    Reader::new(memory, format).texts().await
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_bad_line_is_given_on_as_it_is_and_holds_up_none() {
    let content = b"\xef\xbb\xbf{\"n\":1}\r\n\n{\"n\":\n  \nnot json \xff\n{\"n\":3}";
    let found = read(json!({"type": "ndjson"}), content.as_slice()).await;
    assert_eq!(found, ["{\"n\":1}", "{\"n\":", "not json \u{fffd}", "{\"n\":3}"]);
    let found = read(json!({"type": "text"}), "one \"1\"\ntwo\n").await;
    assert_eq!(found, [r#"{"line":"one \"1\""}"#, r#"{"line":"two"}"#]);
}

#[tokio::test]
async fn a_line_without_an_end_is_cut() {
    let mut content = vec![b'x'; 9 * 1024 * 1024];
    content.extend(b"\n{\"n\":2}\n");
    let found = read(json!({"type": "ndjson"}), content).await;
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].len(), found[1].as_str()), (64 * 1024, "{\"n\":2}"));
}

#[tokio::test]
async fn rows_of_a_document_keep_their_bytes() {
    let document = r#" {"Records": [{"n": 100000000000000000000000000001}, "x", {"items": [1,2]}], "a": {"b": [[{"c":1}],[{"c":2}]]}} "#;
    let records = |path: &str| json!({"type": "json", "records": path});
    assert_eq!(
        read(records("Records[]"), document).await,
        [
            r#"{"n": 100000000000000000000000000001}"#,
            r#""x""#,
            r#"{"items": [1,2]}"#
        ]
    );
    assert_eq!(
        read(records("a.b[]"), document).await,
        [r#"[{"c":1}]"#, r#"[{"c":2}]"#]
    );
    assert_eq!(read(records("[]"), "[1, {}]").await, ["1", "{}"]);
    // What is something else than was expected is for a person to see.
    assert_eq!(read(records("none[]"), document).await, [document.trim()]);
    assert_eq!(read(records("[]"), document).await, [document.trim()]);
    assert_eq!(read(json!({"type": "json"}), document).await, [document.trim()]);
    assert_eq!(read(json!({"type": "json"}), "{\"a\": ").await, ["{\"a\":"]);
    assert_eq!(read(json!({"type": "json"}), " ").await, [""; 0]);
}

#[tokio::test]
async fn a_document_of_very_many_items_is_refused() {
    let list = |most: usize| format!("[{}]", vec!["1"; most].join(","));
    let (half, more) = (list(500_000), list(500_001));
    for (path, content, rows) in [
        ("[]", list(1_000_000), 1_000_000),
        ("[]", list(1_000_001), 1),
        ("[].a[]", format!(r#"[{{"a":{half}}},{{"a":{half}}}]"#), 1_000_000),
        ("[].a[]", format!(r#"[{{"a":{half}}},{{"a":{more}}}]"#), 1),
    ] {
        let memory = Arc::new(Memory::default());
        memory.put("file", content, NOW);
        let mut reader = Reader::new(memory, json!({"type": "json", "records": path}));
        reader.context.limits.max_records = 100_000;
        let found = reader.texts().await;
        assert_eq!(found.len(), rows, "{path}");
        assert_eq!(found[0].contains("NDJSON"), rows == 1, "{}", found[0]);
    }
}

#[tokio::test]
async fn a_batch_of_long_rows_is_a_short_one() {
    let memory = Arc::new(Memory::default());
    memory.put("file", format!("{}\n", "x".repeat(1024 * 1024)).repeat(20), NOW);
    let mut reader = Reader::new(memory, json!({"type": "text"}));
    reader.context.limits.max_records = 1_000;
    let mut source = reader.source();
    let mut lengths = Vec::new();
    while let Some(batch) = crate::Source::next_batch(&mut source).await.unwrap() {
        lengths.push(batch.records.len());
    }
    assert_eq!(lengths, [8, 8, 4]);
}

#[tokio::test]
async fn columns_become_fields_and_a_row_that_does_not_fit_stays() {
    let content = "name, note\na,\"x, \"\"y\"\"\nz\"\nb\nc,2,3\nd,4\n";
    let found = read(json!({"type": "csv"}), content).await;
    assert_eq!(
        found,
        [
            r#"{"name":"a","note":"x, \"y\"\nz"}"#,
            "b",
            "c,2,3",
            r#"{"name":"d","note":"4"}"#
        ]
    );
    let format = json!({"type": "csv", "delimiter": "\\t", "quote": "'", "columns": ["x", "y"]});
    assert_eq!(read(format, "'1\t2'\t3\n").await, [r#"{"x":"1\t2","y":"3"}"#]);
}

#[tokio::test]
async fn compression_is_found_out() {
    let content = "{\"n\":1}\n{\"n\":2}\n".repeat(5000);
    let zstd = zstd::stream::encode_all(content.as_bytes(), 0).unwrap();
    // Several members in one file, as log shippers write them.
    let twice = [gzip(content.as_bytes()), gzip(content.as_bytes())].concat();
    for (bytes, rows) in [
        (content.clone().into_bytes(), 10_000),
        (twice, 20_000),
        (zstd.clone(), 10_000),
        ([zstd.clone(), zstd].concat(), 20_000),
    ] {
        assert_eq!(read(json!({"type": "ndjson"}), bytes).await.len(), rows);
    }
    let found = read(json!({"type": "ndjson", "compression": "gzip"}), "{}\n").await;
    assert!(
        found.len() == 1 && found[0].starts_with("the file cannot be read on"),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_torn_or_too_large_file_gives_what_it_has_and_a_dead_letter() {
    let whole = gzip("{\"n\":1}\n".repeat(100_000).as_bytes());
    let found = read(json!({"type": "ndjson"}), whole[..whole.len() / 2].to_vec()).await;
    let (last, rows) = found.split_last().unwrap();
    assert!(rows.len() > 10_000, "{}", rows.len());
    assert!(last.starts_with("the file cannot be read on"), "{last}");

    // Few bytes may become many.
    let bomb = gzip(&vec![b'\n'; 3 * 1024 * 1024]);
    for content in [vec![b'\n'; 1024 * 1024 + 1], bomb] {
        let memory = Arc::new(Memory::default());
        memory.put("a", content, NOW);
        memory.put("b", "{\"n\":2}", NOW);
        let mut reader = Reader::new(memory, json!({"type": "ndjson"}));
        reader.chosen = json!({"max_object_mib": 1});
        let found = reader.texts().await;
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("max_object_mib") && found[1] == "{\"n\":2}");
    }
}

/// A file with `groups` row groups of `rows` rows each.
fn parquet(groups: i64, rows: i64, compression: parquet::basic::Compression) -> Vec<u8> {
    let properties = WriterProperties::builder().set_compression(compression).build();
    parquet_with(groups, rows, properties)
}

fn parquet_with(groups: i64, rows: i64, properties: WriterProperties) -> Vec<u8> {
    let schema = "message alert { REQUIRED INT64 n; OPTIONAL BINARY name (UTF8);
        REQUIRED INT64 time (TIMESTAMP_MICROS); REQUIRED group tags (LIST) { REPEATED group list { REQUIRED BINARY element (UTF8); } } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    for group in 0..groups {
        let mut writer = file.next_row_group().unwrap();
        let numbers: Vec<i64> = (group * rows..(group + 1) * rows).collect();
        let text = |n: &i64| ByteArray::from(format!("{n}{}", " of many".repeat(30)).into_bytes());

        let mut column = writer.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&numbers, None, None)
            .unwrap();
        column.close().unwrap();
        // Each second name is missing.
        let levels: Vec<i16> = numbers.iter().map(|n| i16::from(n % 2 == 0)).collect();
        let names: Vec<ByteArray> = numbers.iter().filter(|n| *n % 2 == 0).map(text).collect();
        let mut column = writer.next_column().unwrap().unwrap();
        column
            .typed::<ByteArrayType>()
            .write_batch(&names, Some(&levels), None)
            .unwrap();
        column.close().unwrap();
        let times: Vec<i64> = numbers.iter().map(|n| NOW * 1_000_000 + n).collect();
        let mut column = writer.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&times, None, None)
            .unwrap();
        column.close().unwrap();
        let tags: Vec<ByteArray> = numbers.iter().flat_map(|n| [text(n), "x".into()]).collect();
        let defined = vec![1; tags.len()];
        let repeated: Vec<i16> = (0..tags.len()).map(|at| i16::from(at % 2 == 1)).collect();
        let mut column = writer.next_column().unwrap().unwrap();
        let written = column
            .typed::<ByteArrayType>()
            .write_batch(&tags, Some(&defined), Some(&repeated));
        written.unwrap();
        column.close().unwrap();
        writer.close().unwrap();
    }
    file.into_inner().unwrap()
}

#[tokio::test]
async fn parquet_is_read_by_blocks_and_resumed_within_a_group() {
    for compression in compressions() {
        let found = read(json!({"type": "parquet"}), parquet(2, 300, compression)).await;
        assert_eq!(found.len(), 600, "{compression:?}");
        let row: Value = serde_json::from_str(&found[301]).unwrap();
        assert_eq!((&row["n"], &row["name"]), (&json!(301), &Value::Null));
        let row: Value = serde_json::from_str(&found[2]).unwrap();
        assert_eq!(row["tags"], json!([format!("2{}", " of many".repeat(30)), "x"]));
        assert_eq!(row["time"], "2027-01-15 08:00:00.000002 +00:00");
    }
    let memory = Arc::new(Memory::default());
    memory.put("a", parquet(3, 9, parquet::basic::Compression::UNCOMPRESSED), NOW);
    let mut reader = Reader::new(memory, json!({"type": "parquet"}));
    let mut rows = Vec::new();
    loop {
        // Each batch is a source of its own.
        let Some(batch) = crate::Source::next_batch(&mut reader.source()).await.unwrap() else {
            break;
        };
        reader.save(&batch.checkpoint);
        rows.extend(batch.records.iter().map(super::support::number));
    }
    assert_eq!(rows, (0..27).collect::<Vec<_>>());
}

/// Every way of compression that can be read.
fn compressions() -> [parquet::basic::Compression; 5] {
    [
        parquet::basic::Compression::UNCOMPRESSED,
        parquet::basic::Compression::SNAPPY,
        parquet::basic::Compression::ZSTD(parquet::basic::ZstdLevel::default()),
        parquet::basic::Compression::GZIP(parquet::basic::GzipLevel::default()),
        parquet::basic::Compression::LZ4_RAW,
    ]
}

#[tokio::test]
async fn pages_of_the_second_version_are_read() {
    for compression in compressions() {
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .set_writer_version(WriterVersion::PARQUET_2_0)
            .build();
        let found = read(json!({"type": "parquet"}), parquet_with(2, 300, properties)).await;
        assert_eq!(found.len(), 600, "{compression:?}: {:?}", found.last());
    }
}

#[tokio::test]
async fn parquet_may_not_become_longer_than_is_allowed() {
    for compression in compressions() {
        let content = parquet(1, 8_000, compression);
        let memory = Arc::new(Memory::default());
        memory.put("a", content, NOW);
        memory.put("b", parquet(1, 5, compression), NOW);
        let mut reader = Reader::new(memory, json!({"type": "parquet"}));
        reader.chosen = json!({"max_object_mib": 1});
        reader.context.limits.max_records = 1_000;
        let found = reader.texts().await;
        let broken = found.iter().position(|row| row.contains("max_object_mib"));
        // The file after it is read.
        assert_eq!(
            broken.map(|at| found.len() - at),
            Some(6),
            "{compression:?}: {}",
            found.len()
        );
    }
}

#[tokio::test]
async fn a_page_that_becomes_more_than_it_says_is_damaged() {
    let gzip = parquet::basic::Compression::GZIP(parquet::basic::GzipLevel::default());
    let mut content = parquet(1, 100, gzip);
    let file = SerializedFileReader::new(bytes::Bytes::from(content.clone())).unwrap();
    let (start, _) = file.metadata().row_group(0).column(1).byte_range();
    // After the type, the length: a number of more than one byte, whose lowest bits go.
    let length = &mut content[start as usize + 3];
    assert!(*length > 0x80);
    *length = 0x80;
    let found = read(json!({"type": "parquet"}), content).await;
    assert!(found[0].contains("what its header says"), "{found:?}");
}

/// A file of one column with lists: of the first row so many times the same text, then of others.
fn lists(text: &str, times: usize, version: WriterVersion) -> Vec<u8> {
    let schema = "message m { REQUIRED group tags (LIST) { REPEATED group list { REQUIRED BINARY element (UTF8); } } }";
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_dictionary_page_size_limit(1 << 30)
        .set_writer_version(version);
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let rest: Vec<i16> = [0, 1, 1, 0, 0, 1].repeat(100);
    let mut values = vec![ByteArray::from(text.as_bytes().to_vec()); times];
    values.resize(times + rest.len(), "y".into());
    let mut levels = vec![1; times];
    levels[0] = 0;
    levels.extend(rest);
    let column_writer = column.typed::<ByteArrayType>();
    let written = column_writer.write_batch(&values, Some(&vec![1; values.len()]), Some(&levels));
    written.unwrap();
    column.close().unwrap();
    group.close().unwrap();
    file.into_inner().unwrap()
}

#[tokio::test]
async fn a_list_of_few_bytes_may_not_become_a_row_of_many() {
    let long = "x".repeat(1024 * 1024);
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for (text, times, good) in [
            ("x", 100_000, true),
            ("x", 5_000_000, false),
            (&long, 5, true),
            (&long, 300, false),
        ] {
            let content = lists(text, times, version);
            let size = content.len();
            assert!(size < 4 * 1024 * 1024, "{size}");
            let found = read(json!({"type": "parquet"}), content).await;
            if good {
                let row: Value = serde_json::from_str(&found[0]).unwrap();
                assert_eq!(row["tags"].as_array().unwrap().len(), times);
                assert_eq!(found.len(), 301, "{times}");
            } else {
                assert!(
                    found[0].contains("a list is too long"),
                    "{times}: {:.80}",
                    found[0]
                );
            }
        }
    }
}

#[tokio::test]
async fn a_row_of_parquet_is_cut_like_any_other() {
    let schema = Arc::new(parse_message_type("message m { REQUIRED BINARY name (UTF8); }").unwrap());
    let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let names = ["x".repeat(9 * 1024 * 1024), "y".to_owned()];
    let names = names.map(|name| ByteArray::from(name.into_bytes()));
    let written = column.typed::<ByteArrayType>().write_batch(&names, None, None);
    written.unwrap();
    column.close().unwrap();
    group.close().unwrap();
    let found = read(json!({"type": "parquet"}), file.into_inner().unwrap()).await;
    assert_eq!(
        (found[0].len(), found[1].as_str()),
        (64 * 1024, r#"{"name":"y"}"#)
    );
}

#[tokio::test]
async fn a_large_parquet_file_needs_few_of_its_blocks() {
    let content = parquet(4, 4_000, parquet::basic::Compression::UNCOMPRESSED);
    let blocks = content.len() as u64 / (512 * 1024) + 1;
    let memory = Arc::new(Memory::default());
    memory.put("a", content, NOW);
    let mut reader = Reader::new(memory.clone(), json!({"type": "parquet"}));
    reader.context.limits.max_records = 500;
    assert_eq!(reader.run().await.len(), 16_000);
    let reads = memory.reads.load(std::sync::atomic::Ordering::Relaxed);
    assert!(
        blocks > 10 && reads < 2 * blocks,
        "{reads} reads of {blocks} blocks"
    );
}

#[tokio::test]
async fn what_is_no_parquet_is_a_dead_letter() {
    let good = parquet(1, 100, parquet::basic::Compression::SNAPPY);
    let mut damaged = good.clone();
    for byte in &mut damaged[100..400] {
        *byte ^= 0x5a;
    }
    for content in [
        b"PAR1".to_vec(),
        vec![0; 4096],
        good[..good.len() - 9].to_vec(),
        damaged,
    ] {
        let memory = Arc::new(Memory::default());
        memory.put("a", content, NOW);
        memory.put("b", good.clone(), NOW);
        let found = Reader::new(memory, json!({"type": "parquet"})).texts().await;
        let broken = found
            .iter()
            .filter(|row| row.starts_with("the file cannot be read on"));
        assert!(broken.count() == 1 && found.len() >= 101, "{}", found.len());
    }
}
