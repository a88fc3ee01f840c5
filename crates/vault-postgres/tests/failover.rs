//! Several servers in one address: the one that is asked for is used, and a failover is survived.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

mod support;

use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

use pg_cluster::Cluster;
use vault_postgres::{PostgresOptions, PostgresStore};
use vault_store::{InsertOutcome, StoreErrorKind, VaultStore as _};

use crate::support::{all_ids, record, records, runtime};

/// A primary and a standby, which has what was acknowledged.
fn pair() -> (Cluster, Cluster) {
    let primary = Cluster::start().unwrap();
    let standby = primary.standby().unwrap();
    (primary, standby)
}

/// An address with these servers, in this order.
fn address(servers: &[&Cluster], wanted: &str) -> String {
    let url = Cluster::url_of(servers);
    format!("{url}?target_session_attrs={wanted}&connect_timeout=5")
}

fn patient() -> PostgresOptions {
    let mut options = PostgresOptions::default();
    options.patience = Duration::from_mins(1);
    options
}

#[test]
fn the_server_that_is_asked_for_is_used_whatever_its_place_in_the_list() {
    let (primary, standby) = pair();
    runtime().block_on(async {
        for (number, servers) in [[&primary, &standby], [&standby, &primary]].iter().enumerate() {
            let url = address(servers, "read-write");
            PostgresStore::migrate(&url, PostgresOptions::default()).await.unwrap();
            let store = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
            let id = format!("{number:06}");
            let inserted = store.insert(vec![record(&id)]).await.unwrap();
            assert_eq!(inserted, [InsertOutcome::Inserted]);

            for wanted in ["standby", "read-only", "prefer-standby"] {
                let url = address(servers, wanted);
                let store = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
                // Synchronous replication does not wait until the standby shows it.
                while all_ids(&store).await.iter().all(|known| known.as_str() != id) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                let refused = store.insert(vec![record("x")]).await.unwrap_err();
                assert_eq!(refused.kind(), StoreErrorKind::Retryable);
            }
        }
        standby.crash().unwrap();
        let url = address(&[&standby, &primary], "prefer-standby");
        PostgresStore::open(&url, PostgresOptions::default()).await.unwrap();
        let url = address(&[&standby, &primary], "standby");
        let error = PostgresStore::open(&url, PostgresOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Retryable);
        let said = error.to_string();
        for part in ["none of the servers", "cannot be reached", "target_session_attrs=standby"] {
            assert!(said.contains(part), "{said}");
        }
        assert!(!said.contains(primary.url().split([':', '@']).nth(2).unwrap()), "{said}");
    });
}

#[test]
fn what_was_acknowledged_outlives_the_primary_and_the_same_store_goes_on() {
    let (primary, standby) = pair();
    let url = address(&[&primary, &standby], "read-write");
    runtime().block_on(async { PostgresStore::migrate(&url, patient()).await }).unwrap();
    let has_failed_over = AtomicBool::new(false);
    let acknowledged = thread::scope(|scope| {
        let writer = scope.spawn(|| runtime().block_on(write_until(&url, &has_failed_over)));
        thread::sleep(Duration::from_millis(300));
        primary.crash().unwrap();
        thread::sleep(Duration::from_millis(300));
        standby.promote().unwrap();
        has_failed_over.store(true, SeqCst);
        writer.join().unwrap()
    });
    let store = runtime().block_on(PostgresStore::open(standby.url(), patient())).unwrap();
    let ids = runtime().block_on(all_ids(&store));
    assert!(acknowledged.iter().all(|id| ids.iter().any(|known| known.as_str() == id)));
}

/// Inserts records through one store until some were inserted after the failover.
async fn write_until(url: &str, has_failed_over: &AtomicBool) -> Vec<String> {
    let store = PostgresStore::open(url, patient()).await.unwrap();
    store.insert(records(3)).await.unwrap();
    let (mut acknowledged, mut after) = (Vec::new(), 0);
    for number in 0.. {
        let id = format!("written-{number:06}");
        let was_over = has_failed_over.load(SeqCst);
        match store.insert(vec![record(&id)]).await {
            Ok(outcomes) => {
                // What was tried again may have been there already.
                assert_eq!(outcomes.len(), 1);
                acknowledged.push(id);
            }
            Err(error) => assert_eq!(error.kind(), StoreErrorKind::UnknownOutcome, "{error}"),
        }
        after += u32::from(was_over);
        if after == 20 {
            break;
        }
    }
    acknowledged
}
