//! Many records created in one batch: all of them or none.

use std::sync::Arc;

use vault_core::{CreateOptions, Vault, VaultError};
use vault_store::VaultStore as _;

use super::{SetClock, key, new_vault, options};
use crate::StoreUnderTest;
use crate::harness::poll_at_most;

const NOW: i64 = 1_800_000_000;

/// After this many polls, an operation that is still not ready hangs.
const MOST_POLLS: usize = 10_000;

/// Every value is under a token of its own, in order, and the limits are checked before any work.
pub async fn create_many_returns_one_token_per_value_in_order<S: StoreUnderTest>(subject: &S) {
    let store = Arc::new(subject.fresh().await);
    let vault = new_vault(Arc::clone(&store), &Arc::new(SetClock::at(NOW))).await;
    let key = key(&vault, "password").await;
    let values: Vec<String> = (0..100).map(|number| format!("value {number}")).collect();
    let tokens = vault.create_many(&values, &key, CreateOptions::default()).await.unwrap();
    assert_eq!((tokens.len(), store.count().await.unwrap()), (100, 100));
    let read = vault.read_many(&tokens, &key).await.unwrap();
    for (read, value) in read.into_iter().zip(&values) {
        assert_eq!(read.unwrap().as_bytes(), value.as_bytes());
    }
    let none: [&str; 0] = [];
    assert_eq!(vault.create_many(&none, &key, CreateOptions::default()).await.unwrap(), []);

    let many = vec![""; Vault::MAX_BATCH_RECORDS + 1];
    let refused = vault.create_many(&many, &key, CreateOptions::default()).await;
    assert!(matches!(refused, Err(VaultError::BatchTooLarge { records: 10_001, bytes: 0 })));
    let large = vec![0; Vault::MAX_BATCH_BYTES + 1];
    let refused = vault.create_many(&[large], &key, CreateOptions::default()).await;
    assert!(matches!(refused, Err(VaultError::BatchTooLarge { records: 1, .. })));
    assert_eq!(store.count().await.unwrap(), 100);
}

/// Dropping the future leaves all records of the batch or none, and what is answered is durable.
pub async fn dropping_create_many_leaves_all_records_or_none<S: StoreUnderTest>(subject: &S) {
    let clock = Arc::new(SetClock::at(NOW));
    let mut store = Arc::new(subject.fresh().await);
    drop(new_vault(Arc::clone(&store), &clock).await);
    let mut before = 0;
    for polls in 0.. {
        assert!(polls < MOST_POLLS, "the batch is never ready");
        let vault = Vault::new(Arc::clone(&store), options(&clock));
        let key = key(&vault, "password").await;
        let create = vault.create_many(&[b"a"; 8], &key, CreateOptions::default());
        let done = poll_at_most(create, polls).await;
        drop(vault);
        store = Arc::new(subject.reopen(Arc::into_inner(store).unwrap()).await);
        let now = store.count().await.unwrap();
        assert!(now == before || now == before + 8, "{before} and {now} after {polls} polls");
        if let Some(tokens) = done {
            let found = store.find(&tokens.unwrap()).await.unwrap();
            assert_eq!(found.iter().flatten().count(), 8);
            return;
        }
        before = now;
    }
}
