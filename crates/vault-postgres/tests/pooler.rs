//! Behind a pooler that pools by transaction: every call works, each commit is durable, and nothing
//! is left behind for the pool's other clients.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::str::FromStr as _;

use futures::future::join_all;
use pg_cluster::Bouncer;
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _, postgres::PgConnectOptions};
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    DeleteOutcome, PageLimit, Purge, PutSetting, Query, RecordSink as _, RecordSource as _,
    StoreErrorKind, Timestamp, VaultStore as _, WriteOutcome,
};

use crate::support::{Place, in_a_schema, record, records, replacement, runtime};

/// How many connections the pooler has to the server.
const POOL: u32 = 2;

/// A role that finds its tables in the test's schema, and whose commits are not durable by default.
struct Role(String);

impl Role {
    async fn of(place: &Place) -> Self {
        let role = format!("role_of_{}", place.schema());
        place
            .run_owned(format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'pooled'; \
                 ALTER ROLE {role} SET search_path = {schema}; ALTER ROLE {role} SET synchronous_commit = off; \
                 GRANT ALL ON SCHEMA {schema} TO {role}",
                schema = place.schema()
            ))
            .await;
        Self(role)
    }

    fn pooler(&self, place: &Place, settings: &str) -> Bouncer {
        let (_, server) = place.server().split_once('@').unwrap();
        let (host, port) = server.split(['/', '?']).next().unwrap().split_once(':').unwrap();
        let server = (host, port.parse().unwrap());
        Bouncer::before(server, (&self.0, "pooled"), POOL, settings).unwrap()
    }

    async fn remove(self, place: &Place) {
        let role = self.0;
        place.run_owned(format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
    }
}

fn url(place: &Place, pooler: &Bouncer) -> String {
    let (_, database) = place.server().rsplit_once('/').unwrap();
    let database = database.split('?').next().unwrap();
    format!("postgres://anybody@127.0.0.1:{}/{database}?sslmode=disable", pooler.port())
}

/// A pooler that refuses `options`, and one that drops them without a word.
const SETTINGS: [&str; 2] = ["", "ignore_startup_parameters = options,extra_float_digits"];

#[test]
fn every_call_works_and_each_commit_is_durable() {
    in_a_schema(async |place| {
        let role = Role::of(place).await;
        for settings in SETTINGS {
            let pooler = role.pooler(place, settings);
            let url = url(place, &pooler);
            let store = PostgresStore::create(&url, PostgresOptions::default()).await.unwrap();
            // What each change of the table was made with.
            place
                .run_owned(format!(
                    "CREATE TABLE log (setting text); GRANT ALL ON log TO {role}; \
                     CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                     INSERT INTO log VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
                     CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON vault EXECUTE FUNCTION note()",
                    role = role.0
                ))
                .await;
            let writers = (0..8).map(|writer| {
                let (store, url) = (store.clone(), url.clone());
                runtime().spawn(async move {
                    let other =
                        PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
                    for round in 0..13 {
                        let store = if round % 2 == 0 { &store } else { &other };
                        each_call(store, &format!("{writer}-{round:02}")).await;
                        other_client(&url).await;
                    }
                })
            });
            for writer in join_all(writers).await {
                writer.unwrap();
            }
            assert_eq!(store.count().await.unwrap(), 8 * 13);
            let page = store.read_page(None, PageLimit::new(1000, 1 << 20)).await.unwrap();
            assert_eq!(page.len(), 8 * 13);
            let changes = place.ask("SELECT count(*) FROM log").await;
            assert!(changes >= 8 * 13 * 3, "{changes} changes");
            assert_eq!(place.ask("SELECT count(*) FROM log WHERE setting <> 'on'").await, 0);
            store.close().await;
            nothing_is_left(&url).await;
            drop(pooler);
            place.run("DROP TABLE vault, vault_meta, log CASCADE; DROP FUNCTION note").await;
        }
        role.remove(place).await;
    });
}

async fn each_call(store: &PostgresStore, id: &str) {
    let (kept, gone) = (record(&format!("{id} kept")), record(&format!("{id} gone")));
    store.insert(vec![kept.clone(), gone.clone()]).await.unwrap();
    let found = store.find(std::slice::from_ref(&kept.token)).await.unwrap();
    assert_eq!(found[0].as_ref().map(|found| &found.id), Some(&kept.id));
    let swapped = store.swap_batch([replacement(&kept, "v3:new")].into()).await.unwrap();
    assert_eq!(swapped, [WriteOutcome::Applied]);
    assert!(store.read_records(std::slice::from_ref(&kept.id)).await.unwrap()[0].is_some());
    let query = Query::all().id_in([kept.id.clone()]);
    assert_eq!(store.query(&query, Timestamp::MAX).await.unwrap().len(), 1);
    assert_eq!(store.count_matching(&query, Timestamp::MAX).await.unwrap(), 1);
    assert_eq!(store.list(None, PageLimit::new(1, 1)).await.unwrap().len(), 1);
    assert_eq!(store.delete(&gone.id).await.unwrap(), DeleteOutcome::Deleted);
    store.put_setting("name", id, PutSetting::Always).await.unwrap();
    assert!(store.setting("name").await.unwrap().is_some());
    let all = std::num::NonZeroUsize::new(10).unwrap();
    let purged = store.purge_expired(Purge::Delete, Timestamp::MAX, None, all).await.unwrap();
    assert!(purged.is_empty());
    assert!(store.place_id().await.unwrap().is_some());
}

async fn bare(url: &str) -> PgConnection {
    // The pooler refuses this parameter.
    let options = PgConnectOptions::from_str(url).unwrap().extra_float_digits(None);
    PgConnection::connect_with(&options).await.unwrap()
}

/// Another program, which uses the same connections to the server.
async fn other_client(url: &str) {
    let mut connection = bare(url).await;
    for (setting, expected) in [("synchronous_commit", "off"), ("row_security", "on")] {
        let ask = format!("SHOW {setting}");
        let row = connection.fetch_one(sqlx::AssertSqlSafe(ask)).await.unwrap();
        assert_eq!(row.get::<String, _>(0), expected, "{setting}");
    }
    connection.close().await.unwrap();
}

/// Both connections of the pool are looked at, each in a transaction that holds it.
async fn nothing_is_left(url: &str) {
    let mut held = Vec::new();
    for _ in 0..POOL {
        let mut connection = bare(url).await;
        connection.execute("BEGIN").await.unwrap();
        let left = "SELECT count(*) FROM pg_prepared_statements WHERE name <> ''";
        let left: i64 = connection.fetch_one(left).await.unwrap().get(0);
        assert_eq!(left, 0, "prepared statements are left behind");
        held.push(connection);
    }
}

#[test]
fn options_that_a_pooler_drops_are_not_passed_over() {
    in_a_schema(async |place| {
        let role = Role::of(place).await;
        for settings in SETTINGS {
            let pooler = role.pooler(place, settings);
            let url = format!("{}&options=-csearch_path%3Dpublic", url(place, &pooler));
            let refused =
                PostgresStore::create(&url, PostgresOptions::default()).await.unwrap_err();
            assert_eq!(refused.kind(), StoreErrorKind::Unsupported, "{refused}");
            assert!(refused.to_string().contains("pooler"), "{refused}");
            assert!(refused.hint().is_some());
        }
        role.remove(place).await;
    });
}

#[test]
fn records_of_one_batch_are_moved_beside_others() {
    in_a_schema(async |place| {
        let role = Role::of(place).await;
        let pooler = role.pooler(place, "");
        let url = url(place, &pooler);
        let store = PostgresStore::create(&url, PostgresOptions::default()).await.unwrap();
        let records = records(1000);
        store.insert(records.clone()).await.unwrap();
        let moved = records.chunks(100).map(|chunk| {
            let batch: Vec<_> = chunk.iter().map(|one| replacement(one, "v3:moved")).collect();
            let store = store.clone();
            runtime().spawn(async move { store.swap_batch(batch.into()).await.unwrap() })
        });
        for outcomes in join_all(moved).await {
            assert_eq!(outcomes.unwrap(), [WriteOutcome::Applied; 100]);
        }
        store.close().await;
        drop(pooler);
        role.remove(place).await;
    });
}
