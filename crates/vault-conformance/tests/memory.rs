//! The reference store keeps its own contract.

#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use vault_conformance::{Planted, StoreUnderTest};
use vault_store::{
    EnvelopeText, InsertOutcome, MemoryStore, Record, UnreadableReason, VaultStore as _,
};

struct InMemory;

impl StoreUnderTest for InMemory {
    type Store = MemoryStore;

    async fn fresh(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn reopen(&self, store: MemoryStore) -> MemoryStore {
        store
    }

    /// The store keeps whatever it is given.
    async fn plant_too_long(&self, store: MemoryStore, record: Record, len: u64) -> MemoryStore {
        let record = Record { envelope: EnvelopeText::too_long(len), ..record };
        assert_eq!(store.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
        store
    }

    async fn plant_unreadable(&self, store: MemoryStore, row: Record) -> (MemoryStore, Planted) {
        store.plant_unreadable(row.id, UnreadableReason::IdNotText);
        (store, Planted::Yes)
    }

    fn histories(&self) -> u32 {
        256
    }
}

vault_conformance::suite!(InMemory);

/// A boxed store forwards every call, also those that have a default.
mod boxed {
    use vault_conformance::StoreUnderTest;
    use vault_store::{EnvelopeText, InsertOutcome, MemoryStore, Record, VaultStore};

    struct Boxed;

    impl StoreUnderTest for Boxed {
        type Store = Box<dyn VaultStore>;

        async fn fresh(&self) -> Box<dyn VaultStore> {
            Box::new(MemoryStore::new())
        }

        async fn reopen(&self, store: Box<dyn VaultStore>) -> Box<dyn VaultStore> {
            store
        }

        async fn plant_too_long(
            &self,
            store: Box<dyn VaultStore>,
            record: Record,
            len: u64,
        ) -> Box<dyn VaultStore> {
            let record = Record { envelope: EnvelopeText::too_long(len), ..record };
            assert_eq!(store.insert(vec![record]).await.unwrap(), [InsertOutcome::Inserted]);
            store
        }
    }

    vault_conformance::suite!(Boxed);
}
