//! The engine and its cryptography through the public API, over a store in memory.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that fails panics, in its helpers too"
)]

mod catch_up;
mod chains;
mod commitment;
mod damage;
mod forms;
mod golden;
mod heads;
mod interrupted;
mod rekey;
mod resume;
mod seal;
mod trust;
mod unreadable;
mod v1;
mod v1_opened;
mod world;
