//! Exported trails.

use std::io::Cursor;

use halcyon_domain::clock::Timestamp;
use halcyon_store::{AuditFilter, Store, StoreSettings, Tenant};

use super::{Random, Trail, keys};
use crate::{
    PublicKey, SigningKeys,
    export::{Export, Format},
    file::{self, FileError, FileReport},
};

async fn export(keys: &SigningKeys, length: i64, filter: AuditFilter, format: Format) -> (Trail, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        url: format!("sqlite://{}/audit.db?mode=rwc", folder.path().display()),
        ..StoreSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    store.migrate().await.unwrap();
    let trail = Trail::new(length, keys);
    let tx = store.begin().await.unwrap();
    let rows: Vec<_> = trail.links.iter().cloned().zip(trail.entries.iter().cloned()).collect();
    tx.audit().append(&rows).await.unwrap();
    for checkpoint in &trail.checkpoints {
        tx.audit_checkpoints().insert(checkpoint).await.unwrap();
    }
    for key in keys.records(Timestamp::default()) {
        tx.audit_checkpoints().insert_key(&key).await.unwrap();
    }
    tx.commit().await.unwrap();
    let mut export = Export::new(&store, Tenant(trail.organization), filter, format, Timestamp::default());
    let mut text = Vec::new();
    while let Some(piece) = export.next().await.unwrap() {
        text.extend(piece);
    }
    (trail, text)
}

fn check(text: &[u8], pinned: &[PublicKey]) -> Result<FileReport, FileError> {
    file::verify(Cursor::new(text), pinned, &[])
}

#[tokio::test]
async fn an_exported_trail_is_verified_elsewhere_and_edits_of_the_file_are_located() {
    let keys = keys();
    let pinned = [keys.newest().public()];
    let (_, text) = export(&keys, 300, AuditFilter::default(), Format::JsonLines).await;
    let good = check(&text, &pinned).unwrap();
    assert_eq!((good.report.fault.as_ref(), good.report.entries, good.report.confirmed), (None, 300, 300));
    assert!(good.ended && good.pinned && !good.filtered);
    assert!(!check(&text, &[]).unwrap().pinned, "its own keys prove nothing");

    let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let is = |line: &[u8], kind: &str| line.starts_with(format!("{{\"type\":\"{kind}\"").as_bytes());
    let sequence = |line: &[u8]| -> i64 {
        let value: serde_json::Value = serde_json::from_slice(line).unwrap();
        let inner = if value["checkpoint"].is_object() { &value["checkpoint"] } else { &value };
        inner["sequence"].as_i64().unwrap()
    };
    let mut random = Random(42);
    for round in 0..300 {
        let at = loop {
            let at = random.below(lines.len());
            if is(lines[at], "entry") {
                break at;
            }
        };
        let place = sequence(lines[at]);
        let mut edited: Vec<Vec<u8>> = lines.iter().map(|line| line.to_vec()).collect();
        match round % 3 {
            0 => {
                // Any byte of what is said, that of the time beside it excepted: nothing rests on it.
                let body = String::from_utf8(edited[at].clone()).unwrap().find("\"body\"").unwrap();
                let byte = body + 10 + random.below(edited[at].len() - body - 14);
                edited[at][byte] = if edited[at][byte] == b'z' { b'y' } else { b'z' };
            }
            1 => drop(edited.remove(at)),
            _ => {
                let to = edited.len() - 2;
                let line = edited.remove(at);
                edited.insert(to, line);
            }
        }
        if edited == lines.iter().map(|line| line.to_vec()).collect::<Vec<_>>() {
            continue;
        }
        let report = check(&edited.concat(), &pinned).unwrap().report;
        let fault = report.fault.unwrap_or_else(|| panic!("{round}: an edit of entry {place} is not seen"));
        let found = (fault.sequence..=fault.through.unwrap_or(fault.sequence)).contains(&place);
        assert!(found, "{round}: an edit of entry {place} is taken for {fault:?}");
    }
    let cut: Vec<u8> = lines[..lines.len() - 40].concat();
    assert!(!check(&cut, &pinned).unwrap().ended);
    assert!(matches!(check(b"{}\n", &pinned), Err(FileError::NoExport)));
    assert!(matches!(check(b"", &pinned), Err(FileError::NoExport)));
}

#[tokio::test]
async fn a_part_of_a_trail_is_checked_entry_by_entry() {
    let keys = keys();
    let filter = AuditFilter {
        resource: Some("d3".into()),
        ..AuditFilter::default()
    };
    let (_, text) = export(&keys, 70, filter, Format::JsonLines).await;
    let report = check(&text, &[]).unwrap();
    assert!(report.filtered && report.ended);
    assert_eq!((report.report.fault, report.report.entries), (None, 10));
    let edited = String::from_utf8(text).unwrap().replacen("ann10", "eve10", 1);
    let fault = check(edited.as_bytes(), &[]).unwrap().report.fault.unwrap();
    assert_eq!(fault.sequence, 10);
}

#[tokio::test]
async fn a_table_holds_no_formulas() {
    let (_, text) = export(&keys(), 3, AuditFilter::default(), Format::Csv).await;
    let text = String::from_utf8(text).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0].starts_with("sequence,id,at,"), "{}", lines[0]);
    assert!(lines[1].contains("\"'=\"\"EDR\"\", the feed\""), "{}", lines[1]);
}
