//! The facade.
pub use vault_core::*;
