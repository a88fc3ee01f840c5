//! The reference store keeps its own contract.

use vault_conformance::StoreUnderTest;
use vault_store::MemoryStore;

struct InMemory;

impl StoreUnderTest for InMemory {
    type Store = MemoryStore;

    async fn fresh(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn reopen(&self, store: MemoryStore) -> MemoryStore {
        store
    }

    fn histories(&self) -> u32 {
        256
    }
}

vault_conformance::suite!(InMemory);
