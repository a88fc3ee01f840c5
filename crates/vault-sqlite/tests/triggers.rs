//! Triggers that another program made: they are named, and what they make of an envelope is not
//! taken for what was written.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{path::Path, sync::Arc};

use sqlx::{AssertSqlSafe, ConnectOptions as _, sqlite::SqliteConnectOptions};
use tokio::runtime::Runtime;
use vault_sqlite::{SqliteOptions, SqliteStore};
use vault_store::{
    EnvelopeText, PageLimit, Record, RecordId, RecordSink as _, RecordSource as _, RecordUpdate,
    Replacement, StoreErrorKind, Timestamp, Token, VaultStore as _, WriteOutcome,
};

async fn run(path: &Path, sql: &str) {
    let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

fn text(text: &str) -> EnvelopeText {
    EnvelopeText::from_stored(text.as_bytes())
}

fn record(id: &str) -> Record {
    Record {
        id: RecordId::from_stored(id),
        token: Token::new(format!("tk_{id}")).unwrap(),
        envelope: text("v3:old"),
        created_at: Timestamp::from_micros(0),
        updated_at: Timestamp::from_micros(0),
        expires_at: None,
        soft_deleted_at: None,
    }
}

fn with_trigger(sql: &str, test: impl AsyncFnOnce(SqliteStore)) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.sqlite");
    Runtime::new().unwrap().block_on(async {
        let store = SqliteStore::create(&path, SqliteOptions::default()).await.unwrap();
        store.insert(vec![record("a"), record("b")]).await.unwrap();
        run(&path, sql).await;
        test(store).await;
    });
}

async fn envelopes(store: &SqliteStore) -> Vec<EnvelopeText> {
    let page = store.read_page(None, PageLimit::new(10, 1 << 20)).await.unwrap();
    page.into_iter().map(|record| record.envelope).collect()
}

fn batch(ids: &[&str]) -> Arc<[Replacement]> {
    let replace = |id: &&str| Replacement {
        id: RecordId::from_stored(*id),
        expected: text("v3:old"),
        new: text("v3:new"),
    };
    ids.iter().map(replace).collect()
}

#[test]
fn a_trigger_is_named_if_a_replaced_envelope_sets_it_off() {
    for (sql, names) in [
        ("SELECT 1", vec![]),
        ("CREATE TRIGGER stamp AFTER UPDATE ON vault BEGIN SELECT 1; END", vec!["stamp"]),
        (
            "CREATE TRIGGER `a b` BEFORE UPDATE OF vault_value ON vault BEGIN SELECT 1; END",
            vec!["a b"],
        ),
        ("CREATE TRIGGER other AFTER UPDATE OF expires_at ON vault BEGIN SELECT 1; END", vec![]),
        ("CREATE TRIGGER ins AFTER INSERT ON vault BEGIN SELECT 1; END", vec![]),
    ] {
        with_trigger(sql, async |store| {
            let found = store.write_hooks().await.unwrap();
            let found: Vec<_> = found.into_iter().map(|hook| hook.name).collect();
            assert_eq!(found, names, "{sql}");
        });
    }
}

#[test]
fn a_trigger_that_writes_is_told_from_one_that_can_only_refuse() {
    for (body, may_write) in [
        ("SELECT raise(ABORT, 'update vault')", false),
        ("SELECT count(*) FROM vault", false),
        ("UPDATE vault SET vault_token = vault_token WHERE id = old.id", true),
        ("SELECT 1; DELETE FROM vault WHERE id = 'x'", true),
        ("INSERT INTO vault (id) VALUES (old.id)", true),
    ] {
        let sql = format!("CREATE TRIGGER t BEFORE UPDATE ON vault BEGIN {body}; END");
        with_trigger(&sql, async |store| {
            let found = store.write_hooks().await.unwrap();
            assert_eq!(found.len(), 1, "{body}");
            assert_eq!(found[0].may_write(), may_write, "{body}");
        });
    }
}

#[test]
fn an_envelope_that_a_trigger_changes_is_refused_and_nothing_of_its_batch_is_stored() {
    for change in ["old.vault_value", "substr(new.vault_value, 1, 4)"] {
        let sql = format!(
            "CREATE TRIGGER t AFTER UPDATE OF vault_value ON vault WHEN new.id = 'b' BEGIN \
             UPDATE vault SET vault_value = {change} WHERE id = old.id; END"
        );
        with_trigger(&sql, async |store| {
            let error = store.swap_batch(batch(&["a", "b"])).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported);
            assert_eq!(envelopes(&store).await, [text("v3:old"), text("v3:old")]);
            assert_eq!(store.swap_batch(batch(&["a"])).await.unwrap(), [WriteOutcome::Applied]);
            let mut update = RecordUpdate::of(RecordId::from_stored("b"));
            update.envelope = Some(text("v3:new"));
            let error = store.update(update).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported);
            assert_eq!(envelopes(&store).await, [text("v3:new"), text("v3:old")]);
        });
    }
}

#[test]
fn a_record_that_a_trigger_changes_as_it_is_added_is_refused() {
    let sql = "CREATE TRIGGER t AFTER INSERT ON vault BEGIN \
               UPDATE vault SET vault_value = 'cut' WHERE id = new.id; END";
    with_trigger(sql, async |store| {
        let error = store.insert(vec![record("c")]).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unsupported);
        assert_eq!(store.count().await.unwrap(), 2);
    });
}

#[test]
fn what_a_trigger_refuses_is_a_failed_record_with_the_reason() {
    use vault_core::{
        CreateOptions, InitOptions, Password, RekeyPlan, Vault, VaultOptions, WriteFormat,
        envelope::OpenPolicy,
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("v.sqlite");
    Runtime::new().unwrap().block_on(async {
        let store = SqliteStore::create(&path, SqliteOptions::default()).await.unwrap();
        let cost = "t=1,m=8,p=1".parse().unwrap();
        let new = InitOptions::default().cost(cost).format(WriteFormat::V3);
        let options = VaultOptions::default().open(OpenPolicy::trusting());
        let vault = Vault::init(store, new, options).await.unwrap();
        let key = vault.derive_key(Password::new("old")).await.unwrap();
        for _ in 0..3 {
            vault.create(b"value", &key, CreateOptions::default()).await.unwrap();
        }
        let trigger = "CREATE TRIGGER full BEFORE UPDATE ON vault \
                       BEGIN SELECT raise(ABORT, 'the audit table is full'); END";
        run(&path, trigger).await;
        let plan = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
        let report = vault.rekey(plan).await.unwrap().run().await.unwrap();
        assert_eq!((report.counts.failed, report.counts.rekeyed), (3, 0));
        assert!(report.needs_attention() && !report.moved_nothing());
        let [failure] = &report.failures[..] else { panic!("{:?}", report.failures) };
        assert!(failure.reason.contains("the audit table is full"), "{}", failure.reason);
        assert_eq!(report.write_hooks.len(), 1);
    });
}
