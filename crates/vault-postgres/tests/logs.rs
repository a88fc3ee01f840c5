//! What a server's log of statements says of records.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{fs, num::NonZeroUsize};

use pg_cluster::Cluster;
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    PageLimit, Purge, PutSetting, Query, Record, RecordSink as _, RecordSource as _, RecordUpdate,
    ScrubOptions, Timestamp, VaultStore as _,
};

use crate::support::{Place, as_user, record, replacement, runtime};

const ID: &str = "id-that-is-looked-for";
const VALUE: &str = "value-that-is-looked-for";

/// Everything that a store can do with a record, and everything that it can ask.
async fn all_of_it(store: &PostgresStore) {
    let limit = PageLimit::new(10, 1 << 20);
    let far = Timestamp::from_micros(1 << 50);
    let one = Record { expires_at: Some(Timestamp::from_micros(5)), ..record(ID) };
    let ids = std::slice::from_ref(&one.id);
    store.insert(vec![one.clone(), record("another")]).await.unwrap();
    store.swap_batch([replacement(&one, &format!("v3:{VALUE}"))].into()).await.unwrap();
    store.update(RecordUpdate::of(one.id.clone()).expires_at(None)).await.unwrap();
    store.find(std::slice::from_ref(&one.token)).await.unwrap();
    store.read_records(ids).await.unwrap();
    store.read_page(Some(&one.id), limit).await.unwrap();
    store.list(Some(&one.id), limit).await.unwrap();
    let query = Query::all().id_in([one.id.clone()]).token_in([one.token.clone()]);
    store.query(&query, far).await.unwrap();
    store.count_matching(&query, far).await.unwrap();
    store.put_setting("a", ID, PutSetting::Always).await.unwrap();
    let some = NonZeroUsize::new(10).unwrap();
    store.purge_expired(Purge::SoftDelete, far, Some(&one.id), some).await.unwrap();
    store.delete(&one.id).await.unwrap();
}

#[test]
fn no_statement_names_a_record_and_parameters_are_kept_out_of_the_log() {
    let cluster = Cluster::start().unwrap();
    let log = || fs::read_to_string(cluster.folder().join("log")).unwrap();
    let place = Place::on(cluster.url());
    runtime().block_on(async {
        place.run("ALTER SYSTEM SET log_statement = 'all'").await;
        place.run("SELECT pg_reload_conf()").await;
        let store = place.vault().await;
        all_of_it(&store).await;
        store.scrub(ScrubOptions::default()).await.unwrap();
        assert_eq!(store.statement_logs().await.unwrap(), Vec::<String>::new());
        store.close().await;
        let logged = log();
        assert!(logged.contains("UPDATE"), "the log holds statements");
        for told in [ID, VALUE] {
            assert!(!logged.contains(told), "{told} is in the log");
        }

        // A role that may not say so: its parameters are logged, and that is known before.
        let grant = format!(
            "CREATE ROLE ordinary LOGIN PASSWORD 'secret'; GRANT USAGE ON SCHEMA {0} TO ordinary; \
             GRANT ALL ON ALL TABLES IN SCHEMA {0} TO ordinary",
            place.schema()
        );
        place.run_owned(grant).await;
        let url = place.url_of(&as_user(place.server(), "ordinary", "secret"));
        let store = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        assert_eq!(store.statement_logs().await.unwrap(), ["log_statement = all"]);
        all_of_it(&store).await;
        store.close().await;
        let logged = log();
        let mut names_one = logged.lines().filter(|line| line.contains(ID)).peekable();
        assert!(names_one.peek().is_some(), "the log holds parameters");
        for line in names_one {
            assert!(line.contains("parameters:"), "{line}");
        }

        place.run("ALTER ROLE ordinary SET log_parameter_max_length = 0").await;
        let store = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        assert_eq!(store.statement_logs().await.unwrap(), Vec::<String>::new());
        store.close().await;
    });
}
