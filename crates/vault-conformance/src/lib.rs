//! The contract of a vaultstore backend as a test suite.
//!
//! Each sentence of the contract ([`RecordSource`](vault_store::RecordSource),
//! [`RecordSink`](vault_store::RecordSink), [`VaultStore`](vault_store::VaultStore)) is an async
//! function in [`cases`], named after it, and [`properties`] compares random histories with
//! [`MemoryStore`](vault_store::MemoryStore). The suite also runs the bulk rekey on the store, with
//! faults, interruptions and concurrent writers, and the token API: writers race for one record,
//! and random histories of its operations agree with a model. A backend author provides a way to
//! create a store and to close and reopen it, and gets one test per case:
//!
//! ```
//! use vault_conformance::StoreUnderTest;
//! use vault_store::{EnvelopeText, MemoryStore, Record, VaultStore as _};
//!
//! struct InMemory;
//!
//! impl StoreUnderTest for InMemory {
//!     type Store = MemoryStore;
//!     async fn fresh(&self) -> MemoryStore {
//!         MemoryStore::new()
//!     }
//!     async fn reopen(&self, store: MemoryStore) -> MemoryStore {
//!         store // nothing outlives the process; a durable backend closes the store and opens it again
//!     }
//!     async fn plant_too_long(&self, store: MemoryStore, record: Record, len: u64) -> MemoryStore {
//!         // keeps whatever it is given; a database is written to with its own driver
//!         store.insert(vec![Record { envelope: EnvelopeText::too_long(len), ..record }]).await.unwrap();
//!         store
//!     }
//! }
//!
//! vault_conformance::suite!(InMemory);
//! ```
//!
//! [`FaultyStore`] makes any store fail or drop its work on purpose, for tests of code that uses a
//! store. With [`Intercept`], a test intervenes in the calls.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a conformance case reports by panicking, like any test"
)]

mod harness;

pub mod cases;
pub mod properties;

mod faults;
mod intercept;
mod rekey;
mod samples;
mod vault;

pub use faults::{Fault, FaultPlan, Faults, FaultyStore};
pub use harness::{Planted, StoreUnderTest, case_fails, failing_cases, poll_at_most, run_all};
pub use intercept::{Intercept, Intercepted};
