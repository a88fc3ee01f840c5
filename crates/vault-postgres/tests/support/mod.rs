//! A schema of its own for every test, on the server that the environment names.
//!
//! Without a server the tests fail with a sentence that says how to have one; none is skipped.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails panics, in its helpers too"
)]

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _};
use tokio::runtime::Runtime;
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    EnvelopeText, PageLimit, Record, RecordId, RecordSource as _, Replacement, StoreErrorKind,
    TableName, TableNames, Timestamp, Token,
};

/// The runtime of all tests of a binary; it keeps running while a test's thread waits.
pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap())
}

/// A schema that is removed with its tables in the end.
#[derive(Debug)]
pub struct Place {
    server: String,
    schema: String,
}

impl Place {
    /// In the database that the environment names.
    pub fn new() -> Self {
        Self::on(&pg_cluster::url_from_environment().unwrap())
    }

    /// In a database whose collation is not byte order: ICU's English.
    pub fn in_icu_database() -> Self {
        static URL: OnceLock<String> = OnceLock::new();
        let url = URL.get_or_init(|| {
            let server = pg_cluster::url_from_environment().unwrap();
            let create = "CREATE DATABASE vaultstore_test_icu TEMPLATE template0 ENCODING 'UTF8' \
                          LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LC_COLLATE 'C' LC_CTYPE 'C'";
            match runtime().block_on(run(&server, create)) {
                Ok(()) => {}
                // Made by an earlier run, or by another test binary just now.
                Err(sqlx::Error::Database(error))
                    if matches!(error.code().as_deref(), Some("42P04" | "23505")) => {}
                Err(error) => panic!("{error}"),
            }
            in_database(&server, "vaultstore_test_icu")
        });
        Self::on(url)
    }

    /// On a server of the test's own.
    pub fn on(server: &str) -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let number = COUNTER.fetch_add(1, SeqCst);
        let schema = format!("vaultstore_test_{}_{number}", std::process::id());
        let place = Self { server: server.to_owned(), schema };
        let make = format!("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}", place.schema);
        runtime().block_on(run(server, &make)).unwrap();
        place
    }

    /// The server's URL, which finds and makes tables in this schema.
    pub fn url(&self) -> String {
        self.url_of(&self.server)
    }

    /// The same for a server reached in another way, or as another user.
    pub fn url_of(&self, server: &str) -> String {
        let joint = if server.contains('?') { '&' } else { '?' };
        // The name tells the connections of this test's stores from those of others.
        format!("{server}{joint}application_name={0}&options=-csearch_path%3D{0}", self.schema)
    }

    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn schema(&self) -> &str {
        &self.schema
    }

    pub async fn connection(&self) -> PgConnection {
        let url = self.url().replace("application_name=", "application_name=test_of_");
        PgConnection::connect(&url).await.unwrap()
    }

    pub async fn run(&self, sql: &str) {
        run(&self.url(), sql).await.unwrap();
    }

    pub async fn run_owned(&self, sql: String) {
        self.run(&sql).await;
    }

    pub async fn ask(&self, sql: &str) -> i64 {
        let mut connection = self.connection().await;
        let row = connection.fetch_one(AssertSqlSafe(sql.to_owned())).await.unwrap();
        row.get(0)
    }

    /// An empty vault under the usual names.
    pub async fn vault(&self) -> PostgresStore {
        PostgresStore::create(&self.url(), PostgresOptions::default()).await.unwrap()
    }

    pub async fn open_error(&self) -> StoreErrorKind {
        open_error(&self.url()).await
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let remove = format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema);
        // A server that a test has stopped has nothing to be removed any more.
        let _ = runtime().block_on(run(&self.server, &remove));
    }
}

/// Runs a test in a schema of its own.
pub fn in_a_schema(test: impl AsyncFnOnce(&Place)) {
    let place = Place::new();
    runtime().block_on(test(&place));
}

pub async fn run(url: &str, sql: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await
}

pub async fn open_error(url: &str) -> StoreErrorKind {
    let opened = PostgresStore::open(url, PostgresOptions::default()).await;
    opened.map(|_| "it opened").unwrap_err().kind()
}

/// The same server, another database.
pub fn in_database(server: &str, database: &str) -> String {
    let (address, query) = server.split_once('?').unwrap_or((server, ""));
    let (address, _) = address.rsplit_once('/').unwrap();
    if query.is_empty() {
        format!("{address}/{database}")
    } else {
        format!("{address}/{database}?{query}")
    }
}

/// The same server, another user.
pub fn as_user(server: &str, user: &str, password: &str) -> String {
    let (_, place) = server.split_once('@').unwrap();
    format!("postgres://{user}:{password}@{place}")
}

pub fn named(table: &str, meta_table: &str) -> PostgresOptions {
    let mut options = PostgresOptions::default();
    let name = |text| TableName::new(text).unwrap();
    options.tables = TableNames::new(name(table), name(meta_table)).unwrap();
    options
}

pub fn record(id: &str) -> Record {
    Record {
        id: RecordId::from_stored(id),
        token: Token::new(format!("tk_{id}")).unwrap(),
        envelope: EnvelopeText::from_stored(format!("v3:{id}").into_bytes()),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: None,
        soft_deleted_at: None,
    }
}

pub fn records(count: usize) -> Vec<Record> {
    (0..count).map(|number| record(&format!("{number:06}"))).collect()
}

pub fn replacement(record: &Record, new: &str) -> Replacement {
    Replacement {
        id: record.id.clone(),
        expected: record.envelope.clone(),
        new: EnvelopeText::from_stored(new.as_bytes()),
    }
}

pub async fn all_ids(store: &PostgresStore) -> Vec<String> {
    let page = store.read_page(None, PageLimit::new(1 << 20, 1 << 30)).await.unwrap();
    page.into_iter().map(|record| record.id.to_string()).collect()
}
