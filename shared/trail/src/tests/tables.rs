//! Edits of the tables, as somebody with all rights to the database would make them.

use halcyon_domain::{
    audit::{CheckpointKind, FaultKind},
    clock::Timestamp,
};
use halcyon_store::{Store, StoreSettings, Tenant};
use halcyon_tests::postgres::Postgres;
use std::time::Duration;

use super::{Trail, keys};
use crate::{Options, SigningKeys, checkpoint::Statement, verify};

/// A database, and a way into it past the store.
enum Attacker {
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

impl Attacker {
    async fn run(&self, sql: &str) {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match self {
            Self::Sqlite(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
            Self::Postgres(pool) => drop(sqlx::raw_sql(sql).execute(pool).await.unwrap()),
        }
    }

    async fn disarm(&self) {
        match self {
            Self::Sqlite(_) => {
                for trigger in ["entries_no_update", "entries_no_delete", "checkpoints_no_update", "checkpoints_no_delete"] {
                    self.run(&format!("DROP TRIGGER audit_{trigger}")).await;
                }
            }
            Self::Postgres(_) => {
                for table in ["audit_entries", "audit_checkpoints"] {
                    self.run(&format!("ALTER TABLE {table} DISABLE TRIGGER ALL")).await;
                }
            }
        }
    }

    /// An identifier as the database writes it.
    fn id(&self, trail: &Trail) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{}'", trail.organization.0.simple()),
            Self::Postgres(_) => format!("'{}'", trail.organization),
        }
    }

    fn bytes(&self, hex: &str) -> String {
        match self {
            Self::Sqlite(_) => format!("x'{hex}'"),
            Self::Postgres(_) => format!("'\\x{hex}'"),
        }
    }
}

async fn open(url: &str) -> Store {
    let settings = StoreSettings {
        url: url.to_owned(),
        ..StoreSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    store.migrate().await.unwrap();
    store
}

async fn stored(store: &Store, keys: &SigningKeys, length: i64) -> Trail {
    let trail = Trail::new(length, keys);
    let tx = store.begin().await.unwrap();
    let rows: Vec<_> = trail.links.iter().cloned().zip(trail.entries.iter().cloned()).collect();
    tx.audit().append(&rows).await.unwrap();
    for checkpoint in &trail.checkpoints {
        tx.audit_checkpoints().insert(checkpoint).await.unwrap();
    }
    tx.commit().await.unwrap();
    trail
}

/// The statements of an attack (`{org}` and `{bytes}` are filled in), and what is to be found.
const ATTACKS: &[(&[&str], FaultKind, i64)] = &[
    (&["UPDATE audit_entries SET actor = 'eve' WHERE organization_id = {org} AND sequence = 30"], FaultKind::Changed, 30),
    (&["UPDATE audit_entries SET outcome = 'failed' WHERE organization_id = {org} AND sequence = 1"], FaultKind::Changed, 1),
    (&["UPDATE audit_entries SET request_id = NULL WHERE organization_id = {org} AND sequence = 60"], FaultKind::Changed, 60),
    (&["UPDATE audit_entries SET body = replace(body, 'ann', 'eve') WHERE organization_id = {org} AND sequence = 31"],
        FaultKind::Changed, 31),
    (&["UPDATE audit_entries SET body = replace(body, 'change', 'nothing') WHERE organization_id = {org} AND sequence = 44"],
        FaultKind::Changed, 44),
    (&["UPDATE audit_entries SET hash = {bytes} WHERE organization_id = {org} AND sequence = 33"], FaultKind::Changed, 33),
    (&["DELETE FROM audit_entries WHERE organization_id = {org} AND sequence = 32"], FaultKind::Deleted, 32),
    (&["DELETE FROM audit_entries WHERE organization_id = {org} AND sequence < 20"], FaultKind::Deleted, 1),
    (&["DELETE FROM audit_entries WHERE organization_id = {org} AND sequence > 55"], FaultKind::CutTail, 56),
    (&["DELETE FROM audit_entries WHERE organization_id = {org}"], FaultKind::CutTail, 1),
    (&["UPDATE audit_entries SET sequence = -1 WHERE organization_id = {org} AND sequence = 10",
        "UPDATE audit_entries SET sequence = 10 WHERE organization_id = {org} AND sequence = 20",
        "UPDATE audit_entries SET sequence = 20 WHERE organization_id = {org} AND sequence = -1"],
        FaultKind::Reordered, 10),
    (&["DELETE FROM audit_checkpoints WHERE organization_id = {org} AND number = 2"], FaultKind::DeletedCheckpoint, 51),
    (&["UPDATE audit_checkpoints SET hash = {bytes} WHERE organization_id = {org} AND number = 2"],
        FaultKind::ForgedCheckpoint, 34),
    (&["INSERT INTO audit_checkpoints (organization_id, kind, sequence, number, hash, at, key_id, signature)
        SELECT organization_id, 'cut', sequence, number, hash, at, key_id, signature FROM audit_checkpoints
        WHERE organization_id = {org} AND number = 1",
        "DELETE FROM audit_entries WHERE organization_id = {org} AND sequence <= 17"],
        FaultKind::ForgedCheckpoint, 17),
];

async fn every_attack(store: &Store, attacker: &Attacker) {
    let keys = keys();
    attacker.disarm().await;
    for (statements, kind, place) in ATTACKS {
        let trail = stored(store, &keys, 64).await;
        let tenant = Tenant(trail.organization);
        let check = async || {
            let progress = verify(store, tenant, keys.trusted(), Options::default()).await.unwrap();
            progress.report
        };
        let good = check().await;
        assert_eq!((good.fault, good.entries, good.confirmed), (None, 64, 64));
        for statement in *statements {
            let sql = statement
                .replace("{org}", &attacker.id(&trail))
                .replace("{bytes}", &attacker.bytes(&"ab".repeat(32)));
            attacker.run(&sql).await;
        }
        let fault = check().await.fault.unwrap_or_else(|| panic!("{statements:?} is not seen"));
        assert_eq!((fault.kind, fault.sequence), (*kind, *place), "{statements:?}: {fault:?}");
    }
}

#[tokio::test]
async fn edits_of_the_tables_are_located_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/audit.db?mode=rwc", folder.path().display());
    let store = open(&url).await;
    let attacker = Attacker::Sqlite(sqlx::SqlitePool::connect(&url).await.unwrap());
    every_attack(&store, &attacker).await;
}

#[tokio::test]
async fn edits_of_the_tables_are_located_on_postgres() {
    let server = Postgres::start().await.unwrap();
    let url = server.database().await.unwrap();
    let store = open(&url).await;
    let attacker = Attacker::Postgres(sqlx::PgPool::connect(&url).await.unwrap());
    every_attack(&store, &attacker).await;
}

#[tokio::test]
async fn a_long_trail_is_verified_in_parts_and_behind_a_cut() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&format!("sqlite://{}/audit.db?mode=rwc", folder.path().display())).await;
    let keys = keys();
    let trail = stored(&store, &keys, 1_300).await;
    let tenant = Tenant(trail.organization);
    let (mut after, mut entries, mut checkpoints, mut parts) = (0, 0, 0, 0);
    loop {
        let options = Options {
            after,
            within: Some(Duration::ZERO),
            ..Options::default()
        };
        let progress = verify(&store, tenant, keys.trusted(), options).await.unwrap();
        assert_eq!(progress.report.fault, None);
        entries += progress.report.entries;
        checkpoints += progress.report.checkpoints;
        parts += 1;
        match progress.next_after {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!((entries, parts, checkpoints), (1_300, 3, trail.checkpoints.len() as i64));

    // Half of what a cut covers is gone, then all of it.
    let cut = trail.checkpoints.iter().find(|checkpoint| checkpoint.sequence == 340).unwrap();
    let statement = Statement {
        organization: trail.organization,
        kind: CheckpointKind::Cut,
        number: cut.number,
        sequence: cut.sequence,
        hash: cut.hash.0.clone(),
        at: Timestamp::default(),
    };
    let tx = store.begin().await.unwrap();
    tx.audit_checkpoints().insert(&statement.sign(&keys)).await.unwrap();
    tx.commit().await.unwrap();
    for (through, left) in [(0, 1_300), (100, 1_200), (340, 960)] {
        let tx = store.begin().await.unwrap();
        tx.audit_checkpoints().remove_through(tenant, through).await.unwrap();
        tx.commit().await.unwrap();
        let progress = verify(&store, tenant, keys.trusted(), Options::default()).await.unwrap();
        assert_eq!((progress.report.fault, progress.report.entries), (None, left));
    }
}
