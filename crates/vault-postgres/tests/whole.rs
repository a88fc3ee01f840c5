//! Whether a store sees all records, and whether the database does what it was told.

mod support;

use std::num::NonZeroUsize;

use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    PageLimit, Purge, PutSetting, Query, RecordSink as _, RecordSource as _, SortKey, SortOrder,
    StoreErrorKind, Timestamp, VaultStore as _, WriteOutcome,
};

use crate::support::{
    Place, all_ids, as_user, in_a_schema, open_error, record, records, replacement,
};

/// A role that may use the tables, and its URL.
async fn tenant(place: &Place) -> String {
    let role = format!("tenant_of_{}", place.schema());
    place
        .run_owned(format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {0} TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {role}",
            place.schema()
        ))
        .await;
    place.url_of(&as_user(place.server(), &role, "secret"))
}

async fn drop_tenant(place: &Place) {
    let role = format!("tenant_of_{}", place.schema());
    place.run_owned(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

const POLICY: &str = "ALTER TABLE vault ENABLE ROW LEVEL SECURITY; \
                      CREATE POLICY few ON vault USING (token <= 'tk_000002') WITH CHECK (true)";

#[test]
fn row_security_is_refused_when_a_vault_is_opened_and_afterwards() {
    in_a_schema(async |place| {
        let owner = place.vault().await;
        owner.insert(records(6)).await.unwrap();
        let url = tenant(place).await;
        // A URL cannot switch it on again.
        let stubborn = url.replace("options=", "options=-crow_security%3Don%20");
        let before = PostgresStore::open(&stubborn, PostgresOptions::default()).await.unwrap();
        assert_eq!(all_ids(&before).await.len(), 6);

        place.run(POLICY).await;
        assert_eq!(open_error(&url).await, StoreErrorKind::Denied);
        let error = before.count().await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied);
        assert!(error.to_string().contains("row security"), "{error}");
        let batch = [replacement(&record("000000"), "v3:new")];
        let error = before.swap_batch(batch.into()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied);
        assert_eq!(all_ids(&owner).await.len(), 6);
        before.close().await;
        drop_tenant(place).await;
    });
}

#[test]
fn columns_that_do_not_keep_what_is_written_are_refused_by_name() {
    const FOLDED: &str = "CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level2', \
                          deterministic = false); ALTER TABLE vault ALTER token TYPE text COLLATE folded";
    for (column, change) in [
        ("id", "ALTER TABLE vault ALTER id TYPE char(64)"),
        ("token", "ALTER TABLE vault ALTER token TYPE name"),
        ("token", FOLDED),
        (
            "envelope",
            "ALTER TABLE vault ALTER envelope TYPE bytea USING convert_to(envelope, 'UTF8')",
        ),
        ("expires_at", "ALTER TABLE vault ALTER expires_at TYPE timestamp"),
        ("created_at", "ALTER TABLE vault ALTER created_at TYPE text"),
    ] {
        in_a_schema(async |place| {
            place.vault().await.close().await;
            place.run(change).await;
            for answer in [
                PostgresStore::open(&place.url(), PostgresOptions::default()).await.map(drop),
                PostgresStore::migrate(&place.url(), PostgresOptions::default()).await.map(drop),
            ] {
                let error = answer.unwrap_err();
                assert_eq!(error.kind(), StoreErrorKind::NotAVault, "{change}");
                assert!(error.to_string().contains(&format!("the column {column} ")), "{error}");
            }
        });
    }
    in_a_schema(async |place| {
        place.vault().await.close().await;
        place
            .run("ALTER TABLE vault ALTER id TYPE varchar(255), ALTER envelope TYPE varchar")
            .await;
        PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
    });
}

#[test]
fn rows_that_no_table_of_a_vault_permits_stop_nothing() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(3)).await.unwrap();
        place
            .run(
                "ALTER TABLE vault DROP CONSTRAINT vault_pkey; ALTER TABLE vault ADD UNIQUE (id); \
                 ALTER TABLE vault ALTER id DROP NOT NULL, ALTER token DROP NOT NULL, ALTER envelope DROP NOT NULL, \
                 ALTER created_at DROP NOT NULL, ALTER updated_at DROP NOT NULL; \
                 UPDATE vault SET created_at = NULL, updated_at = NULL WHERE id = '000001'; \
                 UPDATE vault SET token = NULL, envelope = NULL WHERE id = '000002'; \
                 INSERT INTO vault (token, envelope) VALUES ('without an id', 'v3:x'); \
                 UPDATE vault SET expires_at = '2001-01-01 00:00:00+00'",
            )
            .await;
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        let limit = PageLimit::new(10, 1 << 20);
        let listed = store.list(None, limit).await.unwrap();
        let times: Vec<_> = listed.iter().map(|record| record.created_at.as_micros()).collect();
        assert_eq!(times, [1, 0, 1]);
        for key in [SortKey::CreatedAt, SortKey::UpdatedAt] {
            let mut query = Query::all().order_by(key, SortOrder::Ascending).limit(1);
            let mut ids = Vec::new();
            for _ in 0..3 {
                let page = store.query(&query, Timestamp::MAX).await.unwrap();
                let last = page.records.last().unwrap();
                ids.push(last.id.to_string());
                query = query.after(last);
            }
            assert_eq!(ids, ["000001", "000000", "000002"]);
        }
        let now = Timestamp::from_micros(2_000_000_000_000_000);
        for purge in [Purge::SoftDelete, Purge::Delete] {
            let all = NonZeroUsize::new(10).unwrap();
            let purged = store.purge_expired(purge, now, None, all).await.unwrap();
            assert_eq!(purged.len(), 3);
        }
        assert_eq!(place.ask("SELECT count(*) FROM vault").await, 1);
    });
}

#[test]
fn what_is_not_a_table_with_all_its_rows_is_refused() {
    for change in [
        "ALTER TABLE vault RENAME TO kept; CREATE VIEW vault AS SELECT * FROM kept LIMIT 1",
        "ALTER TABLE vault RENAME TO kept; CREATE MATERIALIZED VIEW vault AS SELECT * FROM kept",
        "CREATE TABLE child () INHERITS (vault)",
        "ALTER TABLE vault_meta RENAME TO kept; CREATE VIEW vault_meta AS SELECT * FROM kept",
    ] {
        in_a_schema(async |place| {
            place.vault().await.close().await;
            place.run(change).await;
            assert_eq!(place.open_error().await, StoreErrorKind::NotAVault, "{change}");
            let migrated = PostgresStore::migrate(&place.url(), PostgresOptions::default()).await;
            assert_eq!(migrated.unwrap_err().kind(), StoreErrorKind::NotAVault, "{change}");
        });
    }
}

const FUNCTION: &str =
    "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$";

#[test]
fn a_trigger_or_rule_is_named_if_a_replaced_envelope_sets_it_off() {
    for (hook, names) in [
        ("SELECT 1", vec![]),
        (
            "CREATE TRIGGER stamp BEFORE UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION f()",
            vec!["stamp"],
        ),
        ("CREATE TRIGGER one AFTER UPDATE OF envelope ON vault EXECUTE FUNCTION f()", vec!["one"]),
        ("CREATE TRIGGER other AFTER UPDATE OF expires_at ON vault EXECUTE FUNCTION f()", vec![]),
        ("CREATE TRIGGER ins AFTER INSERT ON vault EXECUTE FUNCTION f()", vec![]),
        (
            "CREATE TRIGGER off AFTER UPDATE ON vault EXECUTE FUNCTION f(); ALTER TABLE vault DISABLE TRIGGER off",
            vec![],
        ),
        ("CREATE RULE r AS ON UPDATE TO vault DO ALSO NOTIFY x", vec!["r"]),
        ("CREATE RULE d AS ON DELETE TO vault DO ALSO NOTIFY x", vec![]),
    ] {
        in_a_schema(async |place| {
            let store = place.vault().await;
            place.run(FUNCTION).await;
            place.run(hook).await;
            let found = store.write_hooks().await.unwrap();
            let found: Vec<_> = found.into_iter().map(|hook| hook.name).collect();
            assert_eq!(found, names, "{hook}");
        });
    }
}

#[test]
fn an_envelope_that_a_trigger_changes_is_refused_with_its_batch() {
    let change = |when: &str, body: &str| {
        format!(
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN new; END $$; \
             CREATE {when} ON vault {} FOR EACH ROW WHEN (new.id = '000001' AND pg_trigger_depth() = 0) EXECUTE FUNCTION f()",
            if when.contains("CONSTRAINT") { "DEFERRABLE INITIALLY DEFERRED" } else { "" }
        )
    };
    let revert = "UPDATE vault SET envelope = old.envelope WHERE id = new.id;";
    for sql in [
        change("TRIGGER t BEFORE UPDATE", "new.envelope := left(new.envelope, 4);"),
        change("TRIGGER t AFTER UPDATE", revert),
        change("CONSTRAINT TRIGGER t AFTER UPDATE", revert),
    ] {
        in_a_schema(async |place| {
            let store = place.vault().await;
            store.insert(records(2)).await.unwrap();
            place.run_owned(sql).await;
            let [one, two] = [record("000000"), record("000001")];
            let both = [replacement(&one, "v3:new!"), replacement(&two, "v3:new!")];
            let error = store.swap_batch(both.into()).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unsupported);
            let now = store.read_records(&[one.id.clone(), two.id.clone()]).await.unwrap();
            let now: Vec<_> = now.into_iter().map(|record| record.unwrap().envelope).collect();
            assert_eq!(now, [one.envelope.clone(), two.envelope]);
            let sound = [replacement(&one, "v3:new!")];
            assert_eq!(store.swap_batch(sound.into()).await.unwrap(), [WriteOutcome::Applied]);
        });
    }
}

#[test]
fn a_store_works_on_after_its_tables_were_altered() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(3)).await.unwrap();
        store.put_setting("colour", "blue", PutSetting::Always).await.unwrap();
        let mut stored = record("000000");
        // Each statement is prepared, and then the types of its results change.
        for round in 0..3 {
            let new = replacement(&stored, &format!("v3:new {round}"));
            assert_eq!(
                store.swap_batch([new.clone()].into()).await.unwrap(),
                [WriteOutcome::Applied]
            );
            stored.envelope = new.new;
            assert_eq!(all_ids(&store).await.len(), 3);
            assert_eq!(store.count().await.unwrap(), 3);
            let token = std::slice::from_ref(&stored.token);
            assert_eq!(store.find(token).await.unwrap(), [Some(stored.clone())]);
            assert_eq!(store.setting("colour").await.unwrap().as_deref(), Some("blue"));
            place
                .run_owned(format!(
                    "ALTER TABLE vault ALTER envelope TYPE varchar({0}), ALTER id TYPE varchar({0}), \
                     ALTER token TYPE varchar({0}); ALTER TABLE vault_meta ALTER value TYPE varchar({0})",
                    1000 + round
                ))
                .await;
        }
    });
}
