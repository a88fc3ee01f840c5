//! The story of a bug: acknowledged writes that were gone.
//!
//! The future of sqlx 0.9.0's `begin` was dropped after the server had been told `BEGIN` and before sqlx had noted it. The
//! connection went back to the pool inside a transaction; what others then wrote on it was answered well, and undone when the
//! connection was closed. The same rounds are run on a bare pool, which must show the bug, on a pool with the net under
//! it, and on a store.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::time::Duration;

use sqlx::{Executor as _, PgPool, postgres::PgPoolOptions};
use tokio::time::timeout;
use vault_conformance::poll_at_most;
use vault_core::{InsertOutcome, RecordSink as _, VaultStore as _};
use vault_postgres::{PostgresOptions, PostgresStore};

use crate::support::{Place, all_ids, in_a_schema, record, replacement};

const ROUNDS: usize = 2_000;

/// What was answered well, and what is there when all connections are closed.
struct Tally {
    acknowledged: i64,
    stored: i64,
}

#[test]
fn a_bare_pool_loses_acknowledged_writes() {
    in_a_schema(async |place| {
        let pool = PgPoolOptions::new().max_connections(2).connect_lazy(&place.url()).unwrap();
        let tally = drop_begins(place, pool).await;
        assert!(tally.stored < tally.acknowledged, "the bug does not show: {}", tally.stored);
    });
}

#[test]
fn a_pool_that_rolls_back_what_is_released_loses_none() {
    in_a_schema(async |place| {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .after_release(|connection, _| {
                Box::pin(async move { connection.execute("BEGIN; ROLLBACK").await.map(|_| true) })
            })
            .connect_lazy(&place.url())
            .unwrap();
        let tally = drop_begins(place, pool).await;
        assert_eq!(tally.stored, tally.acknowledged);
    });
}

/// Drops a `begin` at some moment, and then writes on the same pool, again and again.
async fn drop_begins(place: &Place, pool: PgPool) -> Tally {
    place.run("CREATE TABLE written (round int)").await;
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let moment = Duration::from_micros(5 + (round * 7 % 400) as u64);
        let _dropped = timeout(moment, pool.begin()).await;
        // Without a pause between the polls of the runtime's timer most drops come before or after the moment.
        let _dropped = poll_at_most(pool.begin(), 1 + round % 8).await;
        for _ in 0..3 {
            let insert = sqlx::query("INSERT INTO written VALUES ($1)").bind(round as i32);
            if insert.execute(&pool).await.is_ok() {
                acknowledged += 1;
            }
        }
    }
    pool.close().await;
    Tally { acknowledged, stored: place.ask("SELECT count(*) FROM written").await }
}

#[test]
fn a_store_whose_futures_are_dropped_loses_none() {
    in_a_schema(async |place| {
        let mut options = PostgresOptions::default();
        options.max_connections = 2.try_into().unwrap();
        let store = PostgresStore::create(&place.url(), options).await.unwrap();
        let target = record("target");
        store.insert(vec![target.clone()]).await.unwrap();
        let (mut acknowledged, mut dropped) = (vec!["target".to_owned()], 0);
        for round in 0..ROUNDS {
            let batch = [replacement(&target, "v3:x")];
            let moment = Duration::from_micros(5 + (round * 7 % 400) as u64);
            let early = timeout(moment, store.write_batch(batch.clone().into())).await.is_err();
            let late = poll_at_most(store.write_batch(batch.into()), 1 + round % 8).await.is_none();
            dropped += usize::from(early) + usize::from(late);
            let written = record(&format!("{round:06}"));
            let outcomes = store.insert(vec![written.clone()]).await.unwrap();
            assert_eq!(outcomes, [InsertOutcome::Inserted]);
            acknowledged.push(written.id.to_string());
        }
        assert!(dropped > ROUNDS / 2, "only {dropped} calls were dropped");
        store.close().await;
        let store = PostgresStore::connect(&place.url(), PostgresOptions::default()).await.unwrap();
        acknowledged.sort_unstable();
        assert_eq!(all_ids(&store).await, acknowledged);
    });
}
