//! The contract of a store, in a database of byte order and in one of another collation.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{
    future::Future,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use sqlx::AssertSqlSafe;
use vault_conformance::{Planted, StoreUnderTest};
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{MAX_KEY_LEN, Record, VaultStore as _};

use crate::support::{Place, named, runtime};

/// A schema per test, and tables of their own for each store in it.
struct Postgres {
    place: Place,
    stores: AtomicUsize,
}

impl Postgres {
    fn in_place(place: Place) -> Self {
        Self { place, stores: AtomicUsize::new(0) }
    }

    /// The tables of the newest store: the cases make one after the other.
    fn options(&self) -> PostgresOptions {
        let number = self.stores.load(SeqCst);
        named(&format!("Vault_{number}"), &format!("meta_{number}"))
    }
}

impl StoreUnderTest for Postgres {
    type Store = PostgresStore;

    async fn fresh(&self) -> PostgresStore {
        self.stores.fetch_add(1, SeqCst);
        PostgresStore::create(&self.place.url(), self.options()).await.unwrap()
    }

    async fn reopen(&self, store: PostgresStore) -> PostgresStore {
        store.close().await;
        PostgresStore::open(&self.place.url(), self.options()).await.unwrap()
    }

    async fn plant_too_long(
        &self,
        store: PostgresStore,
        record: Record,
        len: u64,
    ) -> PostgresStore {
        let options = self.options();
        let table = options.tables.vault();
        let plant = format!(
            "INSERT INTO {table} VALUES ($1, $2, repeat('x', {len}), \
             to_timestamp($3::float8 / 1e6), to_timestamp($4::float8 / 1e6), NULL, NULL)"
        );
        sqlx::query(AssertSqlSafe(plant))
            .bind(record.id.as_str())
            .bind(record.token.as_str())
            .bind(micros(record.created_at))
            .bind(micros(record.updated_at))
            .execute(&mut self.place.connection().await)
            .await
            .unwrap();
        store
    }

    /// A row whose id is longer than any that is read; repeated, it has room in the index all the
    /// same.
    async fn plant_unreadable(
        &self,
        store: PostgresStore,
        row: Record,
    ) -> (PostgresStore, Planted) {
        let options = self.options();
        let table = options.tables.vault();
        let plant = format!(
            "INSERT INTO {table} VALUES ($1 || repeat('x', {MAX_KEY_LEN}), $2, '', now(), now(), NULL, NULL)"
        );
        sqlx::query(AssertSqlSafe(plant))
            .bind(row.id.as_str())
            .bind(row.token.as_str())
            .execute(&mut self.place.connection().await)
            .await
            .unwrap();
        (store, Planted::Yes)
    }

    fn histories(&self) -> u32 {
        24
    }

    fn block_on<F: Future>(&self, future: F) -> F::Output {
        runtime().block_on(future)
    }
}

/// Whole seconds of this century are exact in a float.
#[expect(clippy::cast_precision_loss, reason = "the samples are whole seconds of this century")]
fn micros(time: vault_store::Timestamp) -> f64 {
    time.as_micros() as f64
}

mod by_bytes {
    use super::{Place, Postgres};

    vault_conformance::suite!(Postgres::in_place(Place::new()));
}

mod in_a_database_of_another_collation {
    use super::{Place, Postgres, runtime};

    /// Else the suite would prove nothing more here.
    #[test]
    fn the_collation_is_not_the_order_of_bytes() {
        let place = Place::in_icu_database();
        let ordered =
            place.ask("SELECT count(*) FROM (VALUES (1)) AS one WHERE 'a' < 'B' AND 'é' < 'f'");
        assert_eq!(runtime().block_on(ordered), 1);
    }

    vault_conformance::suite!(Postgres::in_place(Place::in_icu_database()));
}
