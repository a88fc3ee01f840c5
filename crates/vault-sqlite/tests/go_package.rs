//! The Go package's own databases, and the older generations of its schema.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod files;

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use files::{bytes_of, connect, execute, folder, is_unchanged, open, options, wide};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, Executor, Row, sqlite::SqliteRow};
use vault_core::envelope::{Envelope, OpenOutcome, OpenPolicy, V2Params};
use vault_core::kdf::KdfMemory;
use vault_core::{Password, PasswordKey};
use vault_sqlite::{SchemaChange, SqliteStore};
use vault_store::{
    EnvelopeText, Precondition, PutSetting, Record, RecordId, RecordSink, RecordSource,
    RecordUpdate, Replacement, StoreErrorKind, TableName, TableNames, Timestamp, Token, VaultStore,
    WriteOutcome,
};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/go");

/// What the Go package's test program knows of a record.
#[derive(Deserialize)]
struct Known {
    db: String,
    id: String,
    token: String,
    password: String,
    cost: Option<String>,
    soft_deleted: bool,
    plaintext_len: usize,
    plaintext_sha256: String,
    stored_sha256: String,
}

fn manifest() -> Vec<Known> {
    let text = fs::read_to_string(Path::new(GOLDEN).join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(bytes) {
        write!(hex, "{byte:02x}").unwrap();
    }
    hex
}

async fn number(path: &Path, sql: &str) -> i64 {
    row(path, sql).await.get(0)
}

async fn text(path: &Path, sql: &str) -> String {
    row(path, sql).await.get(0)
}

async fn row(path: &Path, sql: &str) -> SqliteRow {
    let mut connection = connect(path).await;
    let row = connection.fetch_one(AssertSqlSafe(sql)).await.unwrap();
    connection.close().await.unwrap();
    row
}

async fn all(store: &SqliteStore) -> Vec<Record> {
    store.list(None, wide()).await.unwrap().records
}

#[tokio::test]
async fn every_record_of_the_ancestor_opens_with_its_password() {
    let now = Timestamp::from_micros(1_800_000_000_000_000);
    let mut memory = KdfMemory::new();
    let mut keys: BTreeMap<String, PasswordKey> = BTreeMap::new();
    let mut opened = 0;
    for db in ["go-vault-light.sqlite", "go-vault-v1.sqlite"] {
        let folder = folder();
        let path = folder.path().join(db);
        fs::copy(Path::new(GOLDEN).join(db), &path).unwrap();
        let before = bytes_of(&path);
        let store = open(&path).await.unwrap();

        let known: Vec<_> = manifest().into_iter().filter(|known| known.db == db).collect();
        assert_eq!(store.count().await.unwrap(), known.len() as u64);
        assert_eq!(store.settings().await.unwrap(), []);
        let records: BTreeMap<_, _> =
            all(&store).await.into_iter().map(|record| (record.id.to_string(), record)).collect();
        for known in &known {
            let record = &records[&known.id];
            let stored = record.envelope.as_bytes().unwrap();
            assert_eq!(sha256(stored), known.stored_sha256);
            assert_eq!(record.token.as_str(), known.token);
            assert_eq!(record.is_soft_deleted(now), known.soft_deleted);
            assert_eq!(record.expires_at, None);

            let v2_costs = known.cost.iter().map(|cost| cost.parse::<V2Params>().unwrap());
            let policy = OpenPolicy::trusting().v2_costs(v2_costs);
            let key = keys
                .entry(known.password.clone())
                .or_insert_with(|| PasswordKey::new(Password::new(known.password.as_bytes())));
            let envelope = Envelope::parse(&record.envelope).unwrap();
            let answer =
                vault_core::envelope::open(&envelope, key, record.bound_to(), &policy, &mut memory)
                    .unwrap();
            let OpenOutcome::Opened(plaintext) = answer else { panic!("{}: {answer:?}", known.id) };
            assert_eq!(plaintext.len(), known.plaintext_len);
            assert_eq!(sha256(plaintext.as_bytes()), known.plaintext_sha256);
            opened += 1;
        }
        store.close().await;
        is_unchanged(&path, &before);
    }
    assert_eq!(opened, 29);
}

#[tokio::test]
async fn a_batch_changes_only_envelopes_of_the_ancestors_file() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    fs::copy(Path::new(GOLDEN).join("go-vault-v1.sqlite"), &path).unwrap();
    let store = open(&path).await.unwrap();
    let mut records = all(&store).await;
    let sealed = |n: usize| EnvelopeText::from_stored(format!("v3:{n}").into_bytes());
    let batch: Vec<_> = records
        .iter()
        .enumerate()
        .step_by(2)
        .map(|(n, record)| Replacement {
            id: record.id.clone(),
            expected: record.envelope.clone(),
            new: sealed(n),
        })
        .collect();
    let outcomes = store.swap_batch(batch.into()).await.unwrap();
    assert_eq!(outcomes, [WriteOutcome::Applied; 10]);
    for (n, record) in records.iter_mut().enumerate().step_by(2) {
        record.envelope = sealed(n);
    }
    assert_eq!(all(&store).await, records);
    store.close().await;

    let types = "SELECT count(*) FROM vault WHERE typeof(vault_value) = 'text' AND typeof(id) = 'text' \
                 AND typeof(created_at) = 'text'";
    assert_eq!(number(&path, types).await, 19);
}

#[tokio::test]
async fn a_new_vault_has_the_ancestors_schema() {
    let folder = folder();
    let ours = folder.path().join("ours.sqlite");
    SqliteStore::create(&ours, options()).await.unwrap().close().await;
    let theirs = folder.path().join("theirs.sqlite");
    fs::copy(Path::new(GOLDEN).join("go-vault-light.sqlite"), &theirs).unwrap();

    let schema = "SELECT group_concat(replace(replace(sql, '\"', ''), '`', ''), char(10)) \
                  FROM (SELECT sql FROM sqlite_schema ORDER BY type, name)";
    let (ours, theirs) = (text(&ours, schema).await, text(&theirs, schema).await);
    assert_eq!(ours, theirs);
    assert!(ours.contains("CREATE UNIQUE INDEX idx_vault_token"));
}

/// 0.27 and older: `TEXT(40)`, the unique constraint in the column, no table of settings.
const GENERATION_1: &str = "CREATE TABLE vault (id TEXT(40) PRIMARY KEY, vault_token TEXT(40) UNIQUE, \
    vault_value TEXT, created_at DATETIME, updated_at DATETIME, expires_at DATETIME, soft_deleted_at DATETIME)";
/// 0.30: all text and nullable.
const GENERATION_2: &str = "CREATE TABLE vault (id text, vault_token text, vault_value text, created_at text, \
    updated_at text, expires_at text, soft_deleted_at text, PRIMARY KEY (id)); \
    CREATE UNIQUE INDEX idx_vault_token ON vault(vault_token); \
    CREATE TABLE vault_meta (id integer PRIMARY KEY AUTOINCREMENT, object_type text, object_id text, \
    meta_key text, meta_value text)";
const ROWS: &str = "INSERT INTO vault VALUES \
    ('20230101000000000000000000000001', 'tk_1', 'v2:one', '2023-01-01 00:00:00', '2023-01-02 00:00:00', \
     '9999-12-31 23:59:59', '9999-12-31 23:59:59'), \
    ('20230101000000000000000000000002', 'tk_2', 'v2:two', '2023-01-01 00:00:00', '2023-01-02 00:00:00', \
     '2024-01-01 00:00:00', '2023-06-01 12:30:45')";

fn rows() -> [Record; 2] {
    let record = |n: u8, envelope: &str| Record {
        id: RecordId::from_stored(format!("2023010100000000000000000000000{n}")),
        token: Token::new(format!("tk_{n}")).unwrap(),
        envelope: EnvelopeText::from_stored(envelope.as_bytes()),
        created_at: Timestamp::from_micros(1_672_531_200_000_000),
        updated_at: Timestamp::from_micros(1_672_617_600_000_000),
        expires_at: None,
        soft_deleted_at: None,
    };
    let ended = Record {
        expires_at: Some(Timestamp::from_micros(1_704_067_200_000_000)),
        soft_deleted_at: Some(Timestamp::from_micros(1_685_622_645_000_000)),
        ..record(2, "v2:two")
    };
    [record(1, "v2:one"), ended]
}

#[tokio::test]
async fn older_generations_open_unchanged_and_can_be_written() {
    for generation in [GENERATION_1, GENERATION_2] {
        let folder = folder();
        let path = folder.path().join("vault.sqlite");
        execute(&path, generation).await;
        execute(&path, ROWS).await;
        let before = bytes_of(&path);
        let store = open(&path).await.unwrap();
        let mut records = rows();
        assert_eq!(all(&store).await, records);
        assert_eq!(store.setting("kdf").await.unwrap(), None);
        assert_eq!(store.settings().await.unwrap(), []);
        store.close().await;
        is_unchanged(&path, &before);

        let store = open(&path).await.unwrap();
        let sealed = EnvelopeText::from_stored(*b"v3:one");
        let batch = [Replacement {
            id: records[0].id.clone(),
            expected: records[0].envelope.clone(),
            new: sealed.clone(),
        }];
        assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Applied]);
        records[0].envelope = sealed;
        assert_eq!(all(&store).await, records);
        let new = Record {
            id: RecordId::from_stored("3"),
            token: Token::new("tk_3").unwrap(),
            ..records[1].clone()
        };
        store.insert(vec![new.clone()]).await.unwrap();
        assert_eq!(store.find(std::slice::from_ref(&new.token)).await.unwrap(), [Some(new)]);
        store.close().await;
    }
}

#[tokio::test]
async fn the_oldest_generation_has_settings_once_it_is_migrated() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    execute(&path, GENERATION_1).await;
    execute(&path, ROWS).await;
    let store = open(&path).await.unwrap();
    let error = store.put_setting("kdf", "x", PutSetting::IfAbsent).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OlderSchema);
    store.close().await;

    let report = SqliteStore::migrate(&path, options()).await.unwrap();
    assert_eq!(report.changes, [SchemaChange::MetaTableCreated]);
    let store = open(&path).await.unwrap();
    assert_eq!(store.put_setting("kdf", "x", PutSetting::IfAbsent).await.unwrap(), "x");
    assert_eq!(all(&store).await, rows());
    store.close().await;
    let report = SqliteStore::migrate(&path, options()).await.unwrap();
    assert_eq!(report.changes, []);
}

#[tokio::test]
async fn a_vault_without_a_time_of_expiry_must_be_migrated_first() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let old = "CREATE TABLE vault (id TEXT(40) PRIMARY KEY, vault_token TEXT(40), vault_value TEXT, \
               created_at DATETIME, updated_at DATETIME, soft_deleted_at DATETIME); \
               INSERT INTO vault VALUES ('a', 'tk_1', 'v1', '2023-01-01 00:00:00', NULL, NULL)";
    execute(&path, old).await;
    let error = open(&path).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::OlderSchema);

    let report = SqliteStore::migrate(&path, options()).await.unwrap();
    assert_eq!(
        report.changes,
        [
            SchemaChange::ColumnAdded("expires_at"),
            SchemaChange::MetaTableCreated,
            SchemaChange::TokenIndexCreated
        ]
    );
    let records = all(&open(&path).await.unwrap()).await;
    assert_eq!((records.len(), records[0].expires_at), (1, None));
}

#[tokio::test]
async fn a_migration_keeps_every_record_and_reports_what_the_ancestor_left() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    execute(&path, &GENERATION_2.replace("CREATE UNIQUE INDEX", "CREATE INDEX")).await;
    // The Go package's own migration deletes the first two of these, and resets the times of the
    // third.
    execute(
        &path,
        "INSERT INTO vault VALUES ('a', '', 'v2:a', '', '', '', ''), ('b', '', 'v2:b', '', '', '', ''), \
         ('c', NULL, NULL, NULL, NULL, NULL, NULL); \
         INSERT INTO vault_meta (object_type, object_id, meta_key, meta_value) VALUES \
         ('password_identity', 'p_1', 'hash', '$argon2id$'), ('record', 'r_a', 'password_id', 'p_1'), \
         ('record', 'r_b', 'password_id', 'p_1'), ('vault', 'settings', 'version', '0.30')",
    )
    .await;
    let dump = "SELECT group_concat(id || quote(vault_token) || quote(vault_value) || quote(created_at) \
                || quote(updated_at) || quote(expires_at) || quote(soft_deleted_at)) FROM vault";
    let before = text(&path, dump).await;

    let report = SqliteStore::migrate(&path, options()).await.unwrap();
    assert_eq!(report.changes, []);
    assert_eq!(
        (report.shared_tokens, report.password_identities, report.password_links),
        (1, 1, 2)
    );
    assert_eq!(text(&path, dump).await, before);

    // What the Go package set is a setting here, too.
    let store = open(&path).await.unwrap();
    assert_eq!(store.setting("version").await.unwrap().as_deref(), Some("0.30"));
    assert_eq!(store.count().await.unwrap(), 3);
}

#[tokio::test]
async fn a_migration_makes_a_vault_within_another_programs_database() {
    let folder = folder();
    let path = folder.path().join("app.sqlite");
    execute(&path, "CREATE TABLE customers (id); INSERT INTO customers VALUES (1)").await;
    assert_eq!(open(&path).await.unwrap_err().kind(), StoreErrorKind::NotAVault);
    // Unless it is asked for, the name may be a mistyped one.
    let refused = SqliteStore::migrate(&path, options()).await.unwrap_err();
    assert_eq!(refused.kind(), StoreErrorKind::NotAVault);
    let report = SqliteStore::migrate_or_create(&path, options()).await.unwrap();
    assert_eq!(
        report.changes,
        [
            SchemaChange::VaultTableCreated,
            SchemaChange::MetaTableCreated,
            SchemaChange::TokenIndexCreated
        ]
    );
    assert_eq!(open(&path).await.unwrap().count().await.unwrap(), 0);
    assert_eq!(number(&path, "SELECT count(*) FROM customers").await, 1);
}

#[tokio::test]
async fn two_vaults_of_other_names_share_a_database() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let mut stores = Vec::new();
    for (vault, meta) in [("select", "order"), ("x2", "vault"), ("_", "__")] {
        let mut options = options();
        let name = |text| TableName::new(text).unwrap();
        options.tables = TableNames::new(name(vault), name(meta)).unwrap();
        if stores.is_empty() {
            stores.push(SqliteStore::create(&path, options).await.unwrap());
        } else {
            SqliteStore::migrate_or_create(&path, options.clone()).await.unwrap();
            stores.push(SqliteStore::open(&path, options).await.unwrap());
        }
    }
    for (n, store) in stores.iter().enumerate() {
        let mut record = rows()[0].clone();
        record.envelope = EnvelopeText::from_stored(vec![b'a'; n]);
        store.insert(vec![record.clone()]).await.unwrap();
        store.put_setting("n", &n.to_string(), PutSetting::Always).await.unwrap();
    }
    for (n, store) in stores.iter().enumerate() {
        assert_eq!(all(store).await[0].envelope.len(), n as u64);
        assert_eq!(store.setting("n").await.unwrap(), Some(n.to_string()));
    }
}

/// Rows that no version of ours would write.
const ODD_ROWS: &str = "INSERT INTO vault VALUES \
    ('', NULL, NULL, NULL, NULL, NULL, NULL), \
    ('a', '', '', '', '', '', ''), \
    ('b', 'tk_b', 'v1', 'soon', 'yesterday', 'in a week', 'perhaps'), \
    ('c', CAST(x'74ff' AS TEXT), CAST(x'7632ff00fe' AS TEXT), 1672531200, '2023-01-01T00:00:00Z', '', NULL), \
    ('d', x'746b5f64', x'76323a64', '2023-01-01 00:00:00', '2023-01-01 00:00:00', '9999-12-31 23:59:59', \
     '9999-12-31 23:59:59'), \
    ('é ''\"', 'tk_e', 'v2:e' || char(0) || 'e', '2023-01-01 00:00:00', '2023-01-01 00:00:00', \
     '9999-12-31 23:59:59', '9999-12-31 23:59:59'), \
    ('f' || char(0), 'tk_f', 'v2:f', '2023-01-01 00:00:00', '2023-01-01 00:00:00', '9999-12-31 23:59:59', \
     '9999-12-31 23:59:59')";

async fn odd_vault(path: &Path) -> SqliteStore {
    execute(path, GENERATION_2).await;
    execute(path, ODD_ROWS).await;
    open(path).await.unwrap()
}

#[tokio::test]
async fn odd_rows_are_scanned_and_shown() {
    let folder = folder();
    let store = odd_vault(&folder.path().join("vault.sqlite")).await;
    let records = all(&store).await;
    let seen: Vec<_> = records
        .iter()
        .map(|record| {
            (record.id.as_str(), record.token.as_str(), record.envelope.as_bytes().unwrap())
        })
        .collect();
    let expected: [(&str, &str, &[u8]); 7] = [
        ("", "", b""),
        ("a", "", b""),
        ("b", "tk_b", b"v1"),
        ("c", "t\u{fffd}", b"v2\xff\0\xfe"),
        ("d", "tk_d", b"v2:d"),
        ("f\0", "tk_f", b"v2:f"),
        ("é '\"", "tk_e", b"v2:e\0e"),
    ];
    assert_eq!(seen, expected);
    let epoch = Timestamp::from_micros(0);
    for record in &records[..3] {
        assert_eq!((record.created_at, record.updated_at), (epoch, epoch));
        assert_eq!((record.expires_at, record.soft_deleted_at), (None, None));
    }
    assert_eq!(records[3].updated_at, Timestamp::from_micros(1_672_531_200_000_000));

    let sealed = store.read_page(None, wide()).await.unwrap();
    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
    assert_eq!(sealed.iter().map(|record| record.id.clone()).collect::<Vec<_>>(), ids);
    let read = store.read_records(&ids).await.unwrap();
    assert_eq!(read, sealed.iter().cloned().map(Some).collect::<Vec<_>>());
    for (id, sealed) in ids.iter().zip(sealed) {
        assert_eq!(store.read_records(std::slice::from_ref(id)).await.unwrap(), [Some(sealed)]);
    }
    let empty = store.find(&[Token::from_stored(String::new())]).await.unwrap();
    assert_eq!(empty, [Some(records[1].clone())]);
    assert_eq!(store.count().await.unwrap(), 7);
}

#[tokio::test]
async fn odd_rows_can_be_replaced_and_keep_the_rest_of_the_row() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let store = odd_vault(&path).await;
    let column = |name: &str| format!("typeof({name}) || ' ' || hex({name})");
    let columns =
        ["id", "vault_token", "created_at", "updated_at", "expires_at", "soft_deleted_at"];
    let columns = columns.map(column).join(" || ");
    let rest = format!("SELECT group_concat({columns}) FROM vault");
    let before = text(&path, &rest).await;
    let batch: Vec<_> = store
        .read_page(None, wide())
        .await
        .unwrap()
        .into_iter()
        .map(|record| Replacement {
            id: record.id,
            expected: record.envelope,
            new: EnvelopeText::from_stored(*b"v3:new"),
        })
        .collect();
    let outcomes = store.swap_batch(batch.into()).await.unwrap();
    // The first one is NULL, which is equal to nothing.
    assert_eq!(outcomes[0], WriteOutcome::Conflict);
    assert_eq!(outcomes[1..], [WriteOutcome::Applied; 6]);
    assert_eq!(text(&path, &rest).await, before);

    let mend = RecordUpdate {
        envelope: Some(EnvelopeText::from_stored(*b"v3:new")),
        ..RecordUpdate::of(RecordId::from_stored(""))
    };
    assert_eq!(store.update(mend).await.unwrap(), WriteOutcome::Applied);
    let new =
        "SELECT count(*) FROM vault WHERE vault_value = 'v3:new' AND typeof(vault_value) = 'text'";
    assert_eq!(number(&path, new).await, 7);
    assert_eq!(text(&path, &rest).await, before);
}

#[tokio::test]
async fn long_envelopes_come_whole_and_the_longest_not_at_all() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    execute(&path, GENERATION_2).await;
    let max = vault_store::MAX_ENVELOPE_LEN;
    for (id, len) in [("a", 65_536), ("b", 65_537), ("c", max), ("d", 100_000_000)] {
        let insert = format!(
            "INSERT INTO vault (id, vault_token, vault_value) \
             VALUES ('{id}', '{id}', CAST(zeroblob({len}) AS TEXT))"
        );
        execute(&path, &insert).await;
    }
    let store = open(&path).await.unwrap();
    let page = store.read_page(None, wide()).await.unwrap();
    let lengths: Vec<_> =
        page.iter().map(|r| (r.envelope.len(), r.envelope.loaded_len())).collect();
    let expected = [(65_536, 65_536), (65_537, 65_537), (max, max), (100_000_000, 0)];
    assert_eq!(lengths, expected.map(|(len, loaded)| (len as u64, loaded)));

    // The longest one can be put right, and only while it is as long as it was.
    let change = |len| RecordUpdate {
        if_matches: Precondition::default().envelope(EnvelopeText::too_long(len)),
        envelope: Some(EnvelopeText::from_stored(*b"v3:short")),
        ..RecordUpdate::of(RecordId::from_stored("d"))
    };
    assert_eq!(store.update(change(100_000_001)).await.unwrap(), WriteOutcome::Conflict);
    assert_eq!(store.update(change(100_000_000)).await.unwrap(), WriteOutcome::Applied);
}

#[tokio::test]
async fn settings_that_go_programs_wrote_twice_read_as_the_oldest() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    let store = SqliteStore::create(&path, options()).await.unwrap();
    execute(
        &path,
        "INSERT INTO vault_meta (object_type, object_id, meta_key, meta_value) VALUES \
         ('vault', 'settings', 'a', 'first'), ('vault', 'settings', 'a', 'second'), \
         ('vault', 'settings', NULL, 'x'), ('vault', 'settings', 'b', NULL), ('record', 'settings', 'c', 'x')",
    )
    .await;
    assert_eq!(store.setting("a").await.unwrap().as_deref(), Some("first"));
    let pairs = [("a", "first"), ("b", "")].map(|(name, value)| (name.into(), value.into()));
    assert_eq!(store.settings().await.unwrap(), pairs);
    store.put_setting("a", "third", PutSetting::Always).await.unwrap();
    assert_eq!(store.setting("a").await.unwrap().as_deref(), Some("third"));
    let thirds = "SELECT count(*) FROM vault_meta WHERE meta_value = 'third'";
    assert_eq!(number(&path, thirds).await, 2);
}

#[tokio::test]
async fn a_reader_keeps_purged_identities_in_the_log_and_the_report_says_so() {
    let folder = folder();
    let path = folder.path().join("vault.sqlite");
    fs::copy(Path::new(GOLDEN).join("go-vault-identity.sqlite"), &path).unwrap();
    let mut reader = connect(&path).await;
    reader.execute("PRAGMA journal_mode = WAL").await.unwrap();
    let store = open(&path).await.unwrap();
    let found = store.password_identities().await.unwrap();
    assert_eq!((found.identities, found.links), (3, 12));
    let before = store.list(None, wide()).await.unwrap();
    let settings = store.settings().await.unwrap();

    reader.execute("BEGIN").await.unwrap();
    reader.fetch_all("SELECT * FROM vault_meta").await.unwrap();
    let purged = store.purge_password_identities().await.unwrap();
    assert_eq!(purged.removed, found);
    assert!(!purged.remains.is_empty(), "the reader still sees them");
    reader.execute("COMMIT").await.unwrap();
    let again = store.purge_password_identities().await.unwrap();
    assert!(again.removed.is_empty() && again.remains.is_empty(), "{again:?}");
    assert!(store.password_identities().await.unwrap().is_empty());
    assert!(store.list(None, wide()).await.unwrap() == before);
    assert_eq!(store.settings().await.unwrap(), settings);
}
