//! The engine and its cryptography through the public API, over a store in memory.

mod catch_up;
mod chains;
mod commitment;
mod damage;
mod forms;
mod golden;
mod interrupted;
mod rekey;
mod resume;
mod seal;
mod trust;
mod unreadable;
mod v1;
mod v1_opened;
mod world;
