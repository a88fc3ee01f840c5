//! A third-party backend: a vault in one append-only log file, with its index in memory.
//!
//! It implements the whole storage contract and passes the conformance suite (`cargo test --example
//! custom_store`): `log` is the file, `store` implements the contract on it, and the tests at the
//! end are all that the suite needs. For real use it lacks a way to reclaim the space of what was
//! replaced.
//!
//! ```sh
//! cargo run --example custom_store
//! ```

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod log;
mod store;

use std::error::Error;

use futures::executor::block_on;
use vaultstore::{
    CreateOptions, InitOptions, Password, Query, RekeyPlan, Vault, VaultOptions, VaultStore as _,
};

use crate::store::LogStore;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("vault.log");
    block_on(async {
        let store = LogStore::open(&path)?;
        let vault =
            Vault::init(store.clone(), InitOptions::default(), VaultOptions::default()).await?;
        let key = vault.derive_key(Password::new("old")).await?;
        for value in 0..100_u32 {
            vault.create(&value.to_be_bytes(), &key, CreateOptions::default()).await?;
        }
        let plan = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
        let report = vault.rekey(plan).await?.run().await?;
        let newest = store.query(&Query::new().limit(1), vaultstore::Timestamp::MAX).await?;
        println!("{} records rekeyed; the first is {}", report.counts.rekeyed, newest[0].id);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::{
        path::PathBuf,
        sync::atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use tempfile::TempDir;
    use vault_conformance::StoreUnderTest;
    use vaultstore::{Record, StoreErrorKind};

    use crate::store::LogStore;

    /// Creates each store in a file of its own in one directory.
    struct Logs {
        folder: TempDir,
        files: AtomicUsize,
    }

    impl Logs {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), files: AtomicUsize::new(0) }
        }

        fn next(&self) -> PathBuf {
            self.folder.path().join(self.files.fetch_add(1, Relaxed).to_string())
        }
    }

    impl StoreUnderTest for Logs {
        type Store = LogStore;

        async fn fresh(&self) -> LogStore {
            LogStore::open(&self.next()).unwrap()
        }

        async fn reopen(&self, store: LogStore) -> LogStore {
            let path = store.path();
            drop(store);
            loop {
                match LogStore::open(&path) {
                    // A call whose future was dropped may still run and keep the file open.
                    Err(error) if error.kind() == StoreErrorKind::Locked => {
                        std::thread::yield_now();
                    }
                    opened => return opened.unwrap(),
                }
            }
        }

        /// The store refuses to write it, so it is written past the store's own check.
        async fn plant_too_long(&self, store: LogStore, record: Record, len: u64) -> LogStore {
            store.plant(&record, &vec![b'A'; usize::try_from(len).unwrap()]);
            store
        }
    }

    vault_conformance::suite!(Logs::new());
}
