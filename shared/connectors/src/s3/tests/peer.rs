//! SeaweedFS.

use std::{io::Write, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use flate2::{Compression, write::GzEncoder};
use halcyon_tests::weed::{PUBLIC, READER, STRANGER, WRITER, Weed};
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, path::Path};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    Connector, Error, SecretValue, Secrets,
    compliance::{Peer, comply, context, failures, loopback, read_over_a_death, two_files},
    s3::{S3, http::Way},
    tls::Tls,
};

const BUCKET: &str = "alerts";

/// A bucket, with a prefix for each test. Each bucket would have many volumes of the server.
struct Bucket {
    weed: Weed,
    encrypted: bool,
    places: u32,
    files: u32,
    user: (&'static str, &'static str),
    format: Value,
}

impl Bucket {
    fn prefix(&self) -> String {
        format!("logs/{}/20", self.places)
    }

    fn writer(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        let tls = Tls::default().client_config(&Secrets::none()).unwrap();
        let store = object_store::aws::AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_endpoint(self.weed.endpoint())
            .with_region("us-east-1")
            .with_allow_http(true)
            .with_access_key_id(WRITER.0)
            .with_secret_access_key(WRITER.1)
            .with_http_connector(Way::new(loopback(), tls))
            .build();
        Arc::new(store.unwrap())
    }

    async fn put_file(&self, key: &str, content: Vec<u8>) {
        self.put_file_into(BUCKET, key, content).await;
    }

    async fn put_file_into(&self, bucket: &str, key: &str, content: Vec<u8>) {
        // A server that has just started makes its first volumes for a while.
        let store = self.writer(bucket);
        for _ in 0..200 {
            let put = store
                .put(&Path::parse(key).unwrap(), PutPayload::from(content.clone()))
                .await;
            if put.is_ok() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("{}", self.weed.log_text());
    }
}

#[async_trait]
impl Peer for Bucket {
    async fn fresh(&mut self) {
        self.places += 1;
        let elsewhere = format!("logs/{}/19/file.gz", self.places);
        self.put_file(&elsewhere, b"not ours".to_vec()).await;
    }

    async fn put(&mut self, numbers: Range<u64>) {
        // Files of three records.
        let all: Vec<u64> = numbers.collect();
        for part in all.chunks(3) {
            self.files += 1;
            let records: Vec<Value> = part.iter().map(|n| json!({"n": n})).collect();
            let document = json!({"Records": records}).to_string();
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(document.as_bytes()).unwrap();
            let key = format!("{}26/{:06}.json.gz", self.prefix(), self.files);
            self.put_file(&key, gzip.finish().unwrap()).await;
        }
    }

    fn connection(&self) -> Value {
        let mut connection = json!({
            "bucket": BUCKET,
            "prefix": self.prefix(),
            "endpoint": self.weed.endpoint(),
            "auth": {
                "type": "access_key",
                "access_key_id": self.user.0,
                "secret_access_key": {"$secret": "aws"}
            },
            "format": self.format,
            "files": {"glob": "*/*.gz"}
        });
        if self.encrypted {
            connection["endpoint"] = json!(self.weed.tls_endpoint());
            connection["ca"] = json!(self.weed.authority.certificate);
        }
        connection
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        secrets.insert("aws", SecretValue::new(self.user.1));
        secrets
    }
}

async fn start() -> Bucket {
    Bucket {
        weed: Weed::start().await.unwrap(),
        encrypted: false,
        places: 0,
        files: 0,
        user: READER,
        format: json!({"type": "json", "records": "Records[]"}),
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_doubled() {
    let mut bucket = start().await;
    let mut kills = comply(&S3, &mut bucket).await;
    bucket.encrypted = true;
    kills += comply(&S3, &mut bucket).await;
    println!("s3: killed at {kills} points");
    what_is_refused_is_told(&mut bucket).await;
    bucket.encrypted = false;
    what_is_public_needs_no_key(&mut bucket).await;
    large_files_come_whole(&mut bucket).await;
    a_server_that_dies_loses_nothing(&mut bucket).await;
}

async fn what_is_refused_is_told(bucket: &mut Bucket) {
    bucket.fresh().await;
    bucket.put(0..3).await;
    let good = bucket.connection();
    assert_eq!(failures(&S3, bucket, &good).await, []);

    let mut untrusted = good.clone();
    untrusted.as_object_mut().unwrap().remove("ca");
    let told = failures(&S3, bucket, &untrusted).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "tls");

    let mut no_bucket = good.clone();
    no_bucket["bucket"] = json!("no-such-bucket");
    let told = failures(&S3, bucket, &no_bucket).await;
    assert_eq!(told.len(), 1, "{told:?}");
    let mut other_format = good.clone();
    other_format["format"] = json!({"type": "ndjson", "compression": "none"});
    let told = failures(&S3, bucket, &other_format).await;
    assert_eq!(told[0].0, "sample", "{told:?}");

    for user in [STRANGER, (READER.0, "wrong"), ("AKIDNOBODY", "wrong")] {
        bucket.user = user;
        let told = failures(&S3, bucket, &bucket.connection()).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, "authenticate", "{told:?}");
        let mut source = S3.source(context(bucket, None)).unwrap();
        let outcome = source.next_batch().await;
        assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    }
    bucket.user = READER;
}

async fn what_is_public_needs_no_key(bucket: &mut Bucket) {
    bucket
        .put_file_into(PUBLIC, "a/1.json", b"{\"n\":1}".to_vec())
        .await;
    let mut connection = bucket.connection();
    connection["bucket"] = json!(PUBLIC);
    connection["auth"] = json!({"type": "anonymous"});
    connection["format"] = json!({"type": "json"});
    connection["files"] = json!({});
    connection.as_object_mut().unwrap().remove("prefix");
    assert_eq!(failures(&S3, bucket, &connection).await, []);
    let mut given = context(bucket, None);
    given.connection = connection.clone();
    let batch = S3.source(given).unwrap().next_batch().await.unwrap().unwrap();
    assert_eq!(batch.records.len(), 1);
    assert_eq!(batch.records[0].headers["file-key"], "a/1.json");

    connection["bucket"] = json!(BUCKET);
    let told = failures(&S3, bucket, &connection).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "authenticate", "{told:?}");
}

async fn large_files_come_whole(bucket: &mut Bucket) {
    bucket.fresh().await;
    // Not compressible, and many pieces long.
    let line =
        |n: u64| json!({"n": n, "noise": format!("{:x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).repeat(20)});
    let content: String = (0..30_000).map(|n| format!("{}\n", line(n))).collect();
    assert!(content.len() > 8 * 1024 * 1024);
    bucket
        .put_file(&format!("{}26/large.gz", bucket.prefix()), content.into_bytes())
        .await;
    bucket.format = json!({"type": "ndjson"});
    let mut source = S3.source(context(bucket, None)).unwrap();
    let mut next = 0;
    while let Some(batch) = source.next_batch().await.unwrap() {
        for record in &batch.records {
            assert_eq!(bucket.number(&record.bytes), next);
            next += 1;
        }
    }
    assert_eq!(next, 30_000);
}

async fn a_server_that_dies_loses_nothing(bucket: &mut Bucket) {
    bucket.fresh().await;
    for (name, lines) in ["a", "b"].into_iter().zip(two_files()) {
        let key = format!("{}26/{name}.gz", bucket.prefix());
        bucket.put_file(&key, lines.into_bytes()).await;
    }
    let restart = async |bucket: &mut Bucket| bucket.weed.restart().await.unwrap();
    read_over_a_death(&S3, bucket, |bucket| bucket.weed.kill().unwrap(), restart).await;
}
