//! What a scrub ends, what it keeps, and what it refuses.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Duration};

use sqlx::{Connection as _, Executor as _, PgConnection};
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    EnvelopeText, Record, RecordSink as _, RemainsKind, Replacement, ScrubOptions, ScrubReport,
    StoreError, StoreErrorKind, VaultStore as _, WriteOutcome,
};

use crate::support::{Place, all_ids, as_user, in_a_schema, named, record, records};

/// How many records a vault has whose pages are looked at, and how many of them are moved.
const RECORDS: usize = 1200;
const MOVED: usize = RECORDS / 3;

/// A text that is stored outside of its row, and does not compress.
fn text(number: usize, of: &str) -> EnvelopeText {
    let mut text = String::from("v3:");
    let mut state = number as u64 * 2 + u64::from(of == "new") + 1;
    while text.len() < 2600 {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        write!(text, "{state:016x}").unwrap();
    }
    EnvelopeText::from_stored(text.into_bytes())
}

/// Fills a vault in another order than that of the ids, and replaces every third record as a rekey
/// does, a page after the other.
async fn rekeyed_vault(place: &Place) -> PostgresStore {
    let store = place.vault().await;
    // As it comes, so that a value is found by its chunks.
    place.run("ALTER TABLE vault ALTER COLUMN envelope SET STORAGE EXTERNAL").await;
    let mut all: Vec<Record> = (0..RECORDS)
        .map(|number| Record { envelope: text(number, "old"), ..record(&format!("{number:06}")) })
        .collect();
    all.sort_by_key(|record| record.id.as_str().bytes().rev().collect::<Vec<_>>());
    for chunk in all.chunks(500) {
        store.insert(chunk.to_vec()).await.unwrap();
    }
    let moved: Vec<Replacement> = (0..RECORDS)
        .step_by(3)
        .map(|number| Replacement {
            id: record(&format!("{number:06}")).id,
            expected: text(number, "old"),
            new: text(number, "new"),
        })
        .collect();
    for batch in moved.chunks(100) {
        let outcomes = store.swap_batch(batch.into()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
    }
    store
}

/// What a session, the pages and the TOAST table tell of the records, in id order, as numbers.
async fn traces(place: &Place) -> Vec<(&'static str, Vec<i64>)> {
    const TRACES: [(&str, &str); 6] = [
        ("xmin", "vault.xmin::text::int8"),
        ("cmin", "vault.cmin::text::int8"),
        ("xmax", "vault.xmax::text::int8"),
        ("infomask", "(item).t_infomask::int8"),
        // How far a row lies from where the order of the ids would put it.
        ("place", "rank() OVER (ORDER BY vault.ctid) - rank() OVER (ORDER BY id)"),
        ("TOAST", "rank() OVER (ORDER BY chunk_id) - rank() OVER (ORDER BY id)"),
    ];
    let mut connection = place.connection().await;
    let toast: String = sqlx::query_scalar(
        "SELECT reltoastrelid::regclass::text FROM pg_class WHERE oid = 'vault'::regclass",
    )
    .fetch_one(&mut connection)
    .await
    .unwrap();
    let mut traces = Vec::new();
    for (name, trace) in TRACES {
        // The pointer to a TOAST value is the last but one field of four bytes of its column.
        let sql = format!(
            "SELECT {trace} FROM vault JOIN LATERAL ( \
               SELECT item FROM public.heap_page_items(public.get_raw_page('vault', ((vault.ctid::text::point)[0])::int4)) AS item \
               WHERE (item).lp = (vault.ctid::text::point)[1]::int4) AS page ON true \
             LEFT JOIN (SELECT DISTINCT chunk_id, md5(string_agg(chunk_data, '' ORDER BY chunk_seq)) AS digest \
                FROM {toast} GROUP BY chunk_id) AS value ON value.digest = md5(convert_to(envelope, 'UTF8')) \
             ORDER BY id"
        );
        let numbers = sqlx::query_scalar(sqlx::AssertSqlSafe(sql));
        let numbers: Vec<Option<i64>> = numbers.fetch_all(&mut connection).await.unwrap();
        assert_eq!(numbers.len(), RECORDS, "{name}");
        traces.push((name, numbers.into_iter().map(|number| number.unwrap()).collect()));
    }
    traces
}

/// The advantage at "was this record moved?" of someone who knows which value of a trace belongs to
/// what: for each value, the guess is what most of its records are.
fn advantage(trace: &[i64]) -> f64 {
    let mut values = BTreeMap::<i64, [u32; 2]>::new();
    for (number, value) in trace.iter().enumerate() {
        let is_moved = number % 3 == 0;
        // As many moved as others.
        values.entry(*value).or_default()[usize::from(is_moved)] += if is_moved { 2 } else { 1 };
    }
    let right: u32 = values.values().map(|[other, moved]| other.max(moved)).sum();
    let all = u32::try_from(2 * 2 * MOVED).unwrap();
    2.0 * f64::from(right) / f64::from(all) - 1.0
}

async fn scrub(store: &PostgresStore) -> Result<ScrubReport, StoreError> {
    store.scrub(ScrubOptions::default()).await
}

#[test]
fn after_a_scrub_neither_sessions_nor_pages_nor_toast_tell_what_was_moved() {
    in_a_schema(async |place| {
        place.run("CREATE EXTENSION IF NOT EXISTS pageinspect SCHEMA public").await;
        let store = rekeyed_vault(place).await;
        let before: Vec<_> = traces(place).await;
        let tells = |name: &str, traces: &[(&str, Vec<i64>)]| {
            advantage(&traces.iter().find(|(trace, _)| *trace == name).unwrap().1)
        };
        for trace in ["xmin", "infomask", "place", "TOAST"] {
            let tells = tells(trace, &before);
            assert!(tells > 0.8, "without a scrub, {trace} tells: {tells}");
        }

        let report = scrub(&store).await.unwrap();

        assert_eq!(report.rows, RECORDS as u64);
        assert!(report.is_complete(), "{report:?}");
        for (name, trace) in traces(place).await {
            assert!(advantage(&trace).abs() < 1e-9, "{name} tells {}", advantage(&trace));
        }
        let stats = "SELECT count(*) FROM pg_stats WHERE tablename = 'vault' AND schemaname = current_schema() \
                     AND attname = 'envelope' AND histogram_bounds IS NOT NULL AND EXISTS ( \
                       SELECT 1 FROM unnest(histogram_bounds::text::text[]) AS bound \
                       WHERE bound NOT IN (SELECT envelope FROM vault))";
        assert_eq!(place.ask(stats).await, 0, "an old envelope is in the statistics");
        let dead = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'vault'::regclass";
        assert_eq!(place.ask(dead).await, 0);
    });
}

/// What others have made of the table.
const THEIRS: &str = "
    CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
    CREATE TRIGGER t BEFORE UPDATE ON vault FOR EACH ROW EXECUTE FUNCTION f();
    ALTER TABLE vault ADD COLUMN note varchar(20) DEFAULT 'x' CHECK (note <> 'y');
    COMMENT ON TABLE vault IS 'a comment'; COMMENT ON COLUMN vault.updated_at IS 'another';
    CREATE INDEX by_time ON vault (updated_at) WHERE note = 'x';
    CREATE INDEX by_note ON vault (note); ALTER TABLE vault CLUSTER ON by_note;
    CREATE INDEX by_lower ON vault (lower(note)); CREATE STATISTICS s ON token, note FROM vault;
    GRANT SELECT (id) ON vault TO public; ALTER TABLE vault SET (fillfactor = 70, autovacuum_enabled = off);
    ALTER TABLE vault REPLICA IDENTITY FULL; CREATE PUBLICATION p_of_SCHEMA FOR TABLE vault;
    CREATE TABLE theirs (id text COLLATE \"C\" REFERENCES vault (id)); INSERT INTO theirs VALUES ('000001');
    CREATE VIEW v AS SELECT id, updated_at FROM vault; CREATE RULE r AS ON DELETE TO vault WHERE false DO NOTHING;
    ALTER TABLE vault DROP COLUMN IF EXISTS nothing;";

#[test]
fn what_others_have_made_of_the_table_is_kept() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(50)).await.unwrap();
        place.run_owned(THEIRS.replace("SCHEMA", place.schema())).await;
        let dump = "SELECT string_agg(item, ' ' ORDER BY item) FROM ( \
            SELECT 'class' || oid::text || relname::text || coalesce(relacl::text, '') || coalesce(reloptions::text, '') \
              || relreplident::text AS item FROM pg_class WHERE relnamespace = current_schema()::regnamespace \
              AND relname <> 'by_time' AND relkind <> 't' \
            UNION ALL SELECT pg_get_indexdef(indexrelid) || indisclustered::text FROM pg_index WHERE indrelid = 'vault'::regclass \
            UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = current_schema()::regnamespace \
            UNION ALL SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE tgrelid = 'vault'::regclass \
            UNION ALL SELECT pg_get_viewdef('v') UNION ALL SELECT obj_description('vault'::regclass) \
            UNION ALL SELECT col_description('vault'::regclass, 5) \
            UNION ALL SELECT 'pub' || count(*) FROM pg_publication_tables WHERE schemaname = current_schema()) AS items";
        let mut connection = place.connection().await;
        let inventory = async |connection: &mut PgConnection| -> String {
            sqlx::query_scalar(dump).fetch_one(connection).await.unwrap()
        };
        let before = inventory(&mut connection).await;
        let ids = all_ids(&store).await;
        scrub(&store).await.unwrap();
        assert_eq!(inventory(&mut connection).await, before);
        assert_eq!(all_ids(&store).await, ids);
        let insert = "INSERT INTO theirs VALUES ('unknown')";
        assert!(connection.execute(insert).await.is_err(), "the foreign key holds");
        place.run_owned(format!("DROP PUBLICATION p_of_{}", place.schema())).await;
    });
}

#[test]
fn what_cannot_be_kept_is_refused_by_name_and_nothing_is_changed() {
    for (change, name, undo) in [
        ("CREATE VIEW all_of_it AS SELECT * FROM vault", "all_of_it", "DROP VIEW all_of_it"),
        (
            "CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; \
             CREATE EVENT TRIGGER on_rewrite_SCHEMA ON table_rewrite EXECUTE FUNCTION e()",
            "on_rewrite_",
            "DROP EVENT TRIGGER on_rewrite_SCHEMA",
        ),
    ] {
        in_a_schema(async |place| {
            let store = place.vault().await;
            store.insert(records(3)).await.unwrap();
            place.run_owned(change.replace("SCHEMA", place.schema())).await;
            let node = "SELECT relfilenode::int8 FROM pg_class WHERE oid = 'vault'::regclass";
            let before = place.ask(node).await;
            let error = scrub(&store).await.unwrap_err();
            assert_eq!(place.ask(node).await, before);
            place.run_owned(undo.replace("SCHEMA", place.schema())).await;
            assert_eq!(error.kind(), StoreErrorKind::Unsupported);
            assert!(error.to_string().contains(name), "{error}");
            assert_eq!(scrub(&store).await.unwrap().rows, 3);
        });
    }
}

#[test]
fn only_the_owner_scrubs() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(3)).await.unwrap();
        let role = format!("scrubber_of_{}", place.schema());
        let grant = format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {0} TO {role}; \
             GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {role}",
            place.schema()
        );
        place.run_owned(grant).await;
        let url = place.url_of(&as_user(place.server(), &role, "secret"));
        let theirs = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        let error = scrub(&theirs).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Denied, "{error}");
        theirs.close().await;
        place.run_owned(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    });
}

#[test]
fn a_snapshot_that_would_find_the_vault_empty_is_not_passed_over() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(3)).await.unwrap();
        let mut reader = place.connection().await;
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        reader.execute("SELECT 1 FROM pg_class LIMIT 1").await.unwrap();
        let store = Arc::new(store);
        let scrubbed = tokio::spawn({
            let store = Arc::clone(&store);
            async move { scrub(&store).await }
        });
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!scrubbed.is_finished(), "it waits");
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM vault").fetch_one(&mut reader).await.unwrap();
        assert_eq!(count, 3);
        reader.execute("COMMIT").await.unwrap();
        assert_eq!(scrubbed.await.unwrap().unwrap().rows, 3);
        reader.close().await.unwrap();
    });
}

#[test]
fn tables_of_other_names_are_scrubbed_and_what_remains_is_said() {
    in_a_schema(async |place| {
        let options = named("Vault", "meta");
        let store = PostgresStore::create(&place.url(), options).await.unwrap();
        store.insert(records(3)).await.unwrap();
        let report = scrub(&store).await.unwrap();
        assert_eq!(report.rows, 3);
        let kinds: Vec<_> = report.remains.iter().map(|remains| remains.kind).collect();
        assert!(kinds.contains(&RemainsKind::ServerLog), "{report:?}");
        assert!(report.bytes_before.is_some() && report.bytes_after.is_some());
    });
}
