//! Connections that are cut, servers that restart, rows that others hold: one clear error each, and
//! nothing lost.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::join_all;
use pg_cluster::Cluster;
use sqlx::{Connection as _, Executor as _, error::DatabaseError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{
    EnvelopeText, InsertOutcome, Record, RecordId, RecordSink as _, RecordSource as _,
    StoreErrorKind, VaultStore as _, WriteOutcome,
};

use crate::support::{Place, all_ids, in_a_schema, record, records, replacement, runtime};

fn one_connection() -> PostgresOptions {
    let mut options = PostgresOptions::default();
    options.max_connections = NonZeroU32::MIN;
    options
}

#[test]
fn a_connection_cut_while_idle_is_replaced() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(2)).await.unwrap();
        assert!(cut_connections_of(place).await > 0);
        assert_eq!(all_ids(&store).await.len(), 2);
        assert!(cut_connections_of(place).await > 0);
        assert_eq!(store.insert(vec![record("x")]).await.unwrap(), [InsertOutcome::Inserted]);
    });
}

#[test]
fn a_connection_cut_during_a_change_may_be_tried_again() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        let records = records(2);
        store.insert(records.clone()).await.unwrap();
        let mut holder = place.connection().await;
        let mut held = holder.begin().await.unwrap();
        held.execute("SELECT * FROM vault WHERE id = '000001' FOR UPDATE").await.unwrap();

        let batch: Arc<[_]> = records.iter().map(|record| replacement(record, "v3:new")).collect();
        let writing = runtime().spawn({
            let (store, batch) = (store.clone(), batch.clone());
            async move { store.swap_batch(batch).await }
        });
        wait_until_somebody_waits(place).await;
        assert!(cut_connections_of(place).await > 0);
        assert_eq!(writing.await.unwrap().unwrap_err().kind(), StoreErrorKind::Retryable);
        held.rollback().await.unwrap();
        assert_eq!(store.swap_batch(batch).await.unwrap(), [WriteOutcome::Applied; 2]);
    });
}

#[test]
fn time_limits_may_be_tried_again() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        store.insert(records(1)).await.unwrap();
        let mut holder = place.connection().await;
        let mut held = holder.begin().await.unwrap();
        held.execute("SELECT * FROM vault FOR UPDATE").await.unwrap();
        for limit in ["statement_timeout", "lock_timeout"] {
            let url = format!("{}%20-c{limit}%3D100", place.url());
            let hasty = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
            let error = hasty.delete(&records(1)[0].id).await.unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Retryable, "{limit}");
        }
        held.rollback().await.unwrap();
        assert_eq!(all_ids(&store).await.len(), 1);
    });
}

#[test]
fn a_pool_that_is_used_up_may_be_tried_again_and_a_closed_one_not() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let mut options = one_connection();
        options.connect_timeout = Duration::from_millis(200);
        let store = PostgresStore::open(&place.url(), options).await.unwrap();
        store.insert(records(1)).await.unwrap();
        let mut holder = place.connection().await;
        let mut held = holder.begin().await.unwrap();
        held.execute("LOCK TABLE vault").await.unwrap();
        let (waiting, refused) = futures::join!(
            async {
                let counted = store.count().await;
                counted.unwrap()
            },
            async {
                wait_until_somebody_waits(place).await;
                let refused = store.count().await.unwrap_err().kind();
                held.rollback().await.unwrap();
                refused
            }
        );
        assert_eq!((waiting, refused), (1, StoreErrorKind::Retryable));
        store.clone().close().await;
        assert_eq!(store.count().await.unwrap_err().kind(), StoreErrorKind::Stopped);
    });
}

/// A server that crashes in the middle loses nothing that was answered, and the same store
/// continues when it is back.
#[test]
fn a_server_that_crashes_and_restarts_loses_nothing() {
    let cluster = Cluster::start().unwrap();
    let place = Place::on(cluster.url());
    runtime().block_on(async {
        let store = place.vault().await;
        let mut acknowledged: Vec<Record> = Vec::new();
        for round in 0..3 {
            let writing = runtime().spawn({
                let store = store.clone();
                async move {
                    let mut answered = Vec::new();
                    for number in 0.. {
                        let record = record(&format!("{round}-{number:06}"));
                        match store.insert(vec![record.clone()]).await {
                            Ok(_) => answered.push(record),
                            Err(error) => return (answered, error.kind()),
                        }
                    }
                    unreachable!("the server does not crash")
                }
            });
            tokio::time::sleep(Duration::from_millis(500)).await;
            cluster.crash().unwrap();
            // Either the crash met a call, or the next one waits for the server in vain.
            let (answered, kind) = writing.await.unwrap();
            cluster.start_again().unwrap();
            assert!(
                matches!(kind, StoreErrorKind::Retryable | StoreErrorKind::UnknownOutcome),
                "{kind:?}"
            );
            assert!(!answered.is_empty(), "nothing was written before the crash");
            acknowledged.extend(answered);
            let ids: Vec<RecordId> = acknowledged.iter().map(|record| record.id.clone()).collect();
            let stored = store.read_records(&ids).await.unwrap();
            assert!(stored.iter().all(Option::is_some), "an answered write is gone");
        }
    });
}

/// The answer to a commit is lost on the way: no one may say that nothing was changed, because it
/// was.
#[test]
fn a_commit_whose_answer_is_lost_is_an_unknown_outcome() {
    in_a_schema(async |place| {
        place.vault().await.close().await;
        let proxy = Proxy::before(place).await;
        let store = PostgresStore::open(&proxy.url, one_connection()).await.unwrap();
        let target = record("target");
        store.insert(vec![target.clone()]).await.unwrap();

        proxy.lose_answer_to_commit.store(true, SeqCst);
        let batch = [replacement(&target, "v3:new")];
        let error = store.swap_batch(batch.clone().into()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::UnknownOutcome);
        assert!(!proxy.lose_answer_to_commit.load(SeqCst), "no commit went through the proxy");

        let stored = store.read_records(std::slice::from_ref(&target.id)).await.unwrap();
        let envelope = stored[0].as_ref().map(|record| record.envelope.clone());
        assert_eq!(envelope, Some(EnvelopeText::from_stored(*b"v3:new")));
        assert_eq!(store.swap_batch(batch.into()).await.unwrap(), [WriteOutcome::Conflict]);
    });
}

/// Two transactions that lock the same rows in opposite orders do run into a deadlock here, and
/// ours do not.
#[test]
fn batches_over_the_same_rows_run_into_no_deadlock() {
    in_a_schema(async |place| {
        let store = place.vault().await;
        let records = records(200);
        store.insert(records.clone()).await.unwrap();
        assert!(opposite_orders_deadlock(place).await, "no deadlock where one must be");

        let writes = (0..8).map(|writer| {
            let (store, mut records) = (store.clone(), records.clone());
            runtime().spawn(async move {
                for round in 0..20 {
                    if (writer + round) % 2 == 0 {
                        records.reverse();
                    }
                    let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
                    let stored = store.read_records(&ids).await.unwrap();
                    let batch: Vec<_> = records
                        .iter()
                        .zip(stored)
                        .map(|(record, stored)| vault_store::Replacement {
                            expected: stored.unwrap().envelope,
                            ..replacement(record, &format!("v3:{writer} {round}"))
                        })
                        .collect();
                    store.swap_batch(batch.into()).await.unwrap();
                }
            })
        });
        for ended in join_all(writes).await {
            ended.unwrap();
        }
    });
}

async fn opposite_orders_deadlock(place: &Place) -> bool {
    let lock = async |ids: [&str; 2], pause: Duration| {
        let mut connection = place.connection().await;
        let mut transaction = connection.begin().await?;
        for id in ids {
            sqlx::query("SELECT id FROM vault WHERE id = $1 FOR UPDATE")
                .bind(id)
                .fetch_all(&mut *transaction)
                .await?;
            tokio::time::sleep(pause).await;
        }
        transaction.rollback().await
    };
    let pause = Duration::from_millis(300);
    let (one, other) =
        futures::join!(lock(["000000", "000001"], pause), lock(["000001", "000000"], pause));
    [one, other].into_iter().filter_map(Result::err).any(|error| {
        error.as_database_error().and_then(DatabaseError::code).as_deref() == Some("40P01")
    })
}

/// Ends the connections of this test's stores; how many there were.
async fn cut_connections_of(place: &Place) -> i64 {
    place
        .ask(&format!(
            "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name = '{}'",
            place.schema()
        ))
        .await
}

async fn wait_until_somebody_waits(place: &Place) {
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND wait_event_type = 'Lock'",
        place.schema()
    );
    while place.ask(&waiting).await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Stands between a store and the server, and can cut a connection just when a commit is answered.
struct Proxy {
    url: String,
    lose_answer_to_commit: Arc<AtomicBool>,
}

/// The message that ends sqlx's transactions: `Q`, its length, the text and a NUL.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";

impl Proxy {
    async fn before(place: &Place) -> Self {
        let (_, address) = place.server().split_once('@').unwrap();
        let address = address.split('/').next().unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().to_string();
        let lose_answer_to_commit = Arc::new(AtomicBool::new(false));
        let url = place.url().replace(&address, &own);
        runtime().spawn({
            let lose = Arc::clone(&lose_answer_to_commit);
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = TcpStream::connect(&address).await.unwrap();
                    runtime().spawn(forward(client, server, Arc::clone(&lose)));
                }
            }
        });
        Self { url, lose_answer_to_commit }
    }
}

/// Passes on what both say, until one of them ends or the answer to a commit is to be lost.
async fn forward(client: TcpStream, server: TcpStream, lose: Arc<AtomicBool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = ([0u8; 4096], [0u8; 4096]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Some(bytes) = asked.get(..read.unwrap_or(0)).filter(|bytes| !bytes.is_empty()) else { return };
                let is_commit = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                to_server.write_all(bytes).await.unwrap();
                if is_commit && lose.swap(false, SeqCst) {
                    // The server has answered, so the commit is made; the answer ends here.
                    let _ = from_server.read(&mut answered).await;
                    return;
                }
            }
            read = from_server.read(&mut answered) => {
                let Some(bytes) = answered.get(..read.unwrap_or(0)).filter(|bytes| !bytes.is_empty()) else { return };
                if to_client.write_all(bytes).await.is_err() {
                    return;
                }
            }
        }
    }
}
