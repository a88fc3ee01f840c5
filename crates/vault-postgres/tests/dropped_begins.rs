//! The story of a bug: acknowledged writes that were gone.
//!
//! The future of sqlx 0.9.0's `begin` was dropped after the server had been told `BEGIN` and before
//! sqlx had noted it. The connection went back to the pool inside a transaction; what others then
//! wrote on it was answered well, and undone when the connection was closed. The same rounds are
//! run on a bare pool, which must show the bug, on a pool with the net under it, and on a store.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, PgPool, postgres::PgPoolOptions};
use vault_conformance::poll_at_most;
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{RecordSink as _, VaultStore as _};

use crate::support::{Place, all_ids, in_a_schema, record, replacement};

const ROUNDS: usize = 120;

/// A begin is ready after two or three polls, a call of a store after about as many; each is
/// dropped after fewer, too.
const MOST_POLLS: usize = 4;

/// After so long no call of this test runs any more.
const SETTLED: Duration = Duration::from_secs(5);

#[test]
fn a_bare_pool_loses_acknowledged_writes() {
    in_a_schema(async |place| {
        let (acknowledged, stored) = drop_begins(place, one_connection()).await;
        assert!(stored < acknowledged, "the bug does not show: all {stored} writes are there");
    });
}

#[test]
fn a_pool_that_rolls_back_what_is_released_loses_none() {
    in_a_schema(async |place| {
        let pool = one_connection().after_release(|connection, _| {
            Box::pin(async move { connection.execute("BEGIN; ROLLBACK").await.map(|_| true) })
        });
        let (acknowledged, stored) = drop_begins(place, pool).await;
        assert_eq!(stored, acknowledged);
    });
}

/// One connection, so that who comes next has the one that was given back.
fn one_connection() -> PgPoolOptions {
    PgPoolOptions::new().max_connections(1)
}

/// Drops a begin at some moment and then writes on the same pool, again and again; how many writes
/// were answered well, and how many are there when the connection is closed.
async fn drop_begins(place: &Place, pool: PgPoolOptions) -> (i64, i64) {
    place.run("CREATE TABLE written (round text)").await;
    let pool: PgPool = pool.connect_lazy(&place.url()).unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        let mut connection = pool.acquire().await.unwrap();
        drop(poll_at_most(connection.begin(), round % MOST_POLLS).await);
        drop(connection);
        let insert = sqlx::query("INSERT INTO written VALUES ($1)").bind(round.to_string());
        insert.execute(&pool).await.unwrap();
        acknowledged += 1;
    }
    pool.close().await;
    (acknowledged, place.ask("SELECT count(*) FROM written").await)
}

/// A store begins and commits a transaction for each of its writes, so that a connection inside
/// another one would keep its writes; but it would hold up every vacuum, and be one abort away from
/// the loss. So both are asserted.
#[test]
fn a_store_whose_futures_are_dropped_loses_none_and_leaves_no_transaction_open() {
    in_a_schema(async |place| {
        let mut options = PostgresOptions::default();
        options.max_connections = 1.try_into().unwrap();
        let store = PostgresStore::create(&place.url(), options).await.unwrap();
        let target = record("target");
        store.insert(vec![target.clone()]).await.unwrap();
        let open = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%' AND application_name = '{}'",
            place.schema()
        );
        let (mut acknowledged, mut dropped) = (Vec::new(), 0);
        for round in 0..ROUNDS {
            let batch = [replacement(&target, "v3:target")];
            let write = store.swap_batch(batch.into());
            dropped += usize::from(poll_at_most(write, round % MOST_POLLS).await.is_none());
            // The dropped call runs to its end by itself; a transaction that is never ended would
            // stay.
            let begin = Instant::now();
            while place.ask(&open).await > 0 {
                assert!(begin.elapsed() < SETTLED, "a transaction stays open in round {round}");
            }
            let written = record(&format!("{round:06}"));
            store.insert(vec![written.clone()]).await.unwrap();
            acknowledged.push(written.id.to_string());
        }
        assert!(dropped > ROUNDS / MOST_POLLS, "only {dropped} calls were dropped");
        store.close().await;
        let store = PostgresStore::open(&place.url(), PostgresOptions::default()).await.unwrap();
        acknowledged.push("target".to_owned());
        assert_eq!(all_ids(&store).await, acknowledged);
    });
}
