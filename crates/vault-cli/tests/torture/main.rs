//! Breaks the built command and what it stands on, and looks after every fault whether each record
//! is what a ledger outside the vault says.
//!
//! As a test each scenario is short. `cargo xtask torture` runs the same ones for longer:
//! `VAULTSTORE_TORTURE_SECONDS` says how long each takes at least, `VAULTSTORE_TORTURE_SEED` where
//! its chances begin.
//!
//! No scenario hopes for the moment at which something happens: a rekey waits between two pages
//! while its output is not read (`process.rs`), and what has to be seen is tried until it is
//! (`rounds.rs`).

#[cfg(test)]
mod concurrent_rekeys;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod failover;
#[cfg(test)]
mod kill;
#[cfg(test)]
mod postgres;
#[cfg(test)]
#[cfg(target_os = "linux")]
mod power;
#[cfg(test)]
mod process;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod records;
#[cfg(test)]
mod rounds;
#[cfg(test)]
mod scene;
#[cfg(test)]
mod scrub;
#[cfg(test)]
mod server;
#[cfg(test)]
mod signals;
#[cfg(test)]
mod writers;
