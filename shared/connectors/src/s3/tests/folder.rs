//! Files in a folder of this machine.

use std::{fs, os::unix::fs::symlink, sync::Arc};

use halcyon_domain::{clock::SystemClock, test_run::CheckStatus};
use serde_json::{Value, json};

use crate::{
    BatchLimits, CheckContext, Checkpoint, Connector, Error, Secrets, Share, SourceContext,
    compliance::nowhere, s3::S3,
};

fn connection(folder: &std::path::Path) -> Value {
    json!({"provider": "local", "folder": folder, "format": {"type": "ndjson"}, "files": {"glob": "**/*.json"}})
}

fn context(connection: &Value, allowed: &std::path::Path, checkpoint: Option<Checkpoint>) -> SourceContext {
    SourceContext {
        connection: connection.clone(),
        secrets: Secrets::none(),
        checkpoint,
        limits: BatchLimits::default(),
        share: Share::WHOLE,
        range: None,
        sample: false,
        clock: Arc::new(SystemClock),
        guard: nowhere().with_folders(vec![allowed.to_owned()]),
    }
}

async fn read(context: SourceContext) -> (Vec<String>, Option<Checkpoint>) {
    let mut source = S3.source(context).unwrap();
    let (mut found, mut checkpoint) = (Vec::new(), None);
    while let Some(batch) = source.next_batch().await.unwrap() {
        let texts = batch
            .records
            .iter()
            .map(|record| String::from_utf8_lossy(&record.bytes).into_owned());
        found.extend(texts);
        checkpoint = Some(batch.checkpoint);
    }
    (found, checkpoint)
}

#[tokio::test]
async fn only_allowed_folders_are_read_and_links_lead_nowhere() {
    let temporary = tempfile::tempdir().unwrap();
    let (inside, outside) = (temporary.path().join("in"), temporary.path().join("out"));
    fs::create_dir_all(inside.join("a/b")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(inside.join("a/b/1.json"), "{\"n\":1}\n").unwrap();
    fs::write(inside.join("2.json"), "{\"n\":2}\n").unwrap();
    fs::write(inside.join("3.txt"), "{\"n\":3}\n").unwrap();
    fs::write(outside.join("secret.json"), "{\"n\":\"canary\"}\n").unwrap();
    symlink(&outside, inside.join("link")).unwrap();
    symlink(outside.join("secret.json"), inside.join("file.json")).unwrap();

    let good = connection(&inside);
    let (found, checkpoint) = read(context(&good, &inside, None)).await;
    assert_eq!(found, ["{\"n\":2}", "{\"n\":1}"]);
    fs::write(inside.join("a/4.json"), "{\"n\":4}\n").unwrap();
    let (found, _) = read(context(&good, &inside, checkpoint)).await;
    assert_eq!(found, ["{\"n\":4}"]);

    for folder in [
        &outside,
        &inside.join("link"),
        &inside.join("../out"),
        &inside.join("none"),
    ] {
        let refused = S3.source(context(&connection(folder), &inside, None));
        assert!(matches!(refused, Err(Error::Refused { .. })), "{folder:?}");
        let guard = nowhere().with_folders(vec![inside.clone()]);
        let results = S3
            .check(&CheckContext {
                connection: &connection(folder),
                secrets: &Secrets::none(),
                clock: &SystemClock,
                guard: &guard,
            })
            .await;
        let last = results.last().unwrap();
        assert_eq!(
            (last.name.as_str(), last.status),
            ("permission", CheckStatus::Failed)
        );
    }
    let results = S3
        .check(&CheckContext {
            connection: &good,
            secrets: &Secrets::none(),
            clock: &SystemClock,
            guard: &nowhere().with_folders(vec![inside.clone()]),
        })
        .await;
    assert!(
        results.iter().all(|result| result.status != CheckStatus::Failed),
        "{results:?}"
    );
}
