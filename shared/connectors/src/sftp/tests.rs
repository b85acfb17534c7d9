//! The connector against OpenSSH's server.

use std::{fs, ops::Range};

use async_trait::async_trait;
use halcyon_tests::sshd::{PASSPHRASE, Sshd};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Connector, Error, SecretValue, Secrets,
    compliance::{Peer, comply, context, failures, read_over_a_death, two_files},
    sftp::Sftp,
    validate_connection,
};

/// A server, and a folder for each test.
struct Server {
    sshd: Sshd,
    folders: TempDir,
    places: u32,
    files: u32,
    host_keys: Value,
    encrypted: bool,
}

impl Server {
    fn folder(&self) -> std::path::PathBuf {
        self.folders.path().join(self.places.to_string())
    }

    /// As writers do it: the name comes when the file is whole.
    fn put_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.folder().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let part = self.folder().join("part");
        fs::write(&part, content).unwrap();
        fs::rename(part, path).unwrap();
    }
}

#[async_trait]
impl Peer for Server {
    async fn fresh(&mut self) {
        self.places += 1;
        fs::create_dir_all(self.folder()).unwrap();
    }

    async fn put(&mut self, numbers: Range<u64>) {
        let all: Vec<u64> = numbers.collect();
        for part in all.chunks(3) {
            self.files += 1;
            let rows: String = part.iter().map(|n| format!("{{\"n\":{n}}}\n")).collect();
            self.put_file(&format!("in/{:06}.ndjson", self.files), rows);
        }
    }

    fn connection(&self) -> Value {
        let mut auth = json!({
            "type": "private_key",
            "user": self.sshd.user(),
            "private_key": {"$secret": "key"}
        });
        if self.encrypted {
            auth["passphrase"] = json!({"$secret": "passphrase"});
        }
        json!({
            "host": "127.0.0.1",
            "port": self.sshd.port(),
            "host_keys": self.host_keys,
            "auth": auth,
            "folder": self.folder(),
            "format": {"type": "ndjson"},
            "files": {"glob": "**/*.ndjson"}
        })
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::none();
        if self.encrypted {
            secrets.insert("passphrase", SecretValue::new(PASSPHRASE));
            secrets.insert("key", SecretValue::new(self.sshd.encrypted_key.clone()));
        } else {
            secrets.insert("key", SecretValue::new(self.sshd.key.clone()));
        }
        secrets
    }
}

#[tokio::test]
async fn nothing_is_lost_and_nothing_doubled() {
    let sshd = Sshd::start().await.unwrap();
    let mut server = Server {
        host_keys: json!([sshd.fingerprint("host_ed25519")]),
        sshd,
        folders: tempfile::tempdir().unwrap(),
        places: 0,
        files: 0,
        encrypted: false,
    };
    let mut kills = comply(&Sftp, &mut server).await;
    // The host key as known_hosts has it.
    server.host_keys = json!([server.sshd.host_key("host_ed25519")]);
    kills += comply(&Sftp, &mut server).await;
    println!("sftp: killed at {kills} points");
    what_is_refused_is_told(&mut server).await;
    a_server_that_dies_loses_nothing(&mut server).await;
    another_host_key_is_another_server(&mut server).await;
}

async fn what_is_refused_is_told(server: &mut Server) {
    server.fresh().await;
    server.put(0..3).await;
    let good = server.connection();
    assert_eq!(failures(&Sftp, server, &good).await, []);
    server.encrypted = true;
    assert_eq!(failures(&Sftp, server, &server.connection()).await, []);
    server.encrypted = false;
    let mut nobody = good.clone();
    nobody["auth"]["user"] = json!("nobody-of-this-name");
    let mut by_password = good.clone();
    by_password["auth"] = json!({"type": "password", "user": "root", "password": {"$secret": "key"}});
    let mut no_folder = good.clone();
    no_folder["folder"] = json!("/no/such/folder");
    for (connection, name) in [
        (nobody, "authenticate"),
        (by_password, "authenticate"),
        (no_folder, "permission"),
    ] {
        let told = failures(&Sftp, server, &connection).await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].0, name, "{told:?}");
        let mut given = context(server, None);
        given.connection = connection;
        let outcome = Sftp.source(given).unwrap().next_batch().await;
        assert!(matches!(outcome, Err(Error::Refused { .. })), "{outcome:?}");
    }
}

async fn a_server_that_dies_loses_nothing(server: &mut Server) {
    server.fresh().await;
    for (name, lines) in ["a", "b"].into_iter().zip(two_files()) {
        server.put_file(&format!("{name}.ndjson"), lines);
    }
    let restart = async |server: &mut Server| server.sshd.restart().await.unwrap();
    read_over_a_death(&Sftp, server, |server| server.sshd.kill().unwrap(), restart).await;
}

async fn another_host_key_is_another_server(server: &mut Server) {
    server.sshd.use_host_key("host_rsa").unwrap();
    server.sshd.restart().await.unwrap();
    server.fresh().await;
    server.put(0..3).await;
    let fingerprint = server.sshd.fingerprint("host_rsa");
    let told = failures(&Sftp, server, &server.connection()).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "host_key");
    assert!(told[0].1.contains(&fingerprint), "{told:?}");
    let outcome = Sftp.source(context(server, None)).unwrap().next_batch().await;
    let Err(Error::Refused { message }) = outcome else {
        panic!("{outcome:?}");
    };
    assert!(message.contains(&fingerprint), "{message}");
    // What the check told is what the user writes down.
    server.host_keys = json!([fingerprint]);
    assert_eq!(failures(&Sftp, server, &server.connection()).await, []);
}

#[test]
fn errors_are_at_their_fields() {
    let mut connection = Sftp.spec().example.clone();
    connection["host_keys"] = json!(["SHA256:tooshort"]);
    connection["auth"] = json!({"type": "private_key", "user": "x", "password": {"$secret": "p"}});
    let pointers = |connection: &Value| -> Vec<String> {
        let errors = validate_connection("sftp", connection);
        errors.into_iter().map(|error| error.pointer).collect()
    };
    assert_eq!(pointers(&connection), ["/host_keys/0"]);
    connection["host_keys"] = json!(["ssh-ed25519 AAAA"]);
    assert_eq!(
        pointers(&connection),
        ["/host_keys/0", "/auth/password", "/auth/private_key"]
    );
}
