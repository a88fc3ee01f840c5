//! The contract of a vaultstore backend as a test suite.
//!
//! Each sentence of the contract ([`RecordSource`](vault_store::RecordSource), [`RecordSink`](vault_store::RecordSink),
//! [`VaultStore`](vault_store::VaultStore)) is an async function in [`cases`] that bears its name, and [`properties`]
//! replays random histories beside [`MemoryStore`](vault_store::MemoryStore). The bulk rekey, which stands on the
//! contract, is run on the store as well: with faults, interruptions and writers beside it. So is the token API: writers
//! race for one record, and random histories of its operations agree with a model. A storage author says how to make a
//! store and how to close and open it again, and gets one test per case:
//!
//! ```
//! use vault_conformance::StoreUnderTest;
//! use vault_store::MemoryStore;
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
//! }
//!
//! vault_conformance::suite!(InMemory);
//! ```
//!
//! [`FaultyStore`] makes any store fail or drop its work on purpose, for tests of what stands on a store; with
//! [`Intercept`] a test has its own word in the calls.

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
pub use harness::{StoreUnderTest, case_fails, failing_cases, poll_at_most, run_all};
pub use intercept::{Intercept, Intercepted};
