//! A store whose calls are pending for a while keeps the contract too: futures are dropped before,
//! during and after.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use vault_conformance::{Fault, FaultPlan, FaultyStore, StoreUnderTest, run_all};
use vault_store::{EnvelopeText, InsertOutcome, MemoryStore, Record, VaultStore as _};

struct Slow;

impl StoreUnderTest for Slow {
    type Store = FaultyStore<MemoryStore>;

    async fn fresh(&self) -> Self::Store {
        FaultyStore::new(MemoryStore::new(), FaultPlan::Every(1), Fault::Delay(3))
    }

    async fn reopen(&self, store: Self::Store) -> Self::Store {
        assert!(store.fired() >= 1 || store.calls() == 0);
        store
    }

    async fn plant_too_long(&self, store: Self::Store, record: Record, len: u64) -> Self::Store {
        let record = Record { envelope: EnvelopeText::too_long(len), ..record };
        assert_eq!(store.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
        store
    }
}

#[test]
fn a_slow_store_keeps_the_contract() {
    run_all(&Slow);
}
