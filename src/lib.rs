//! An encrypted record vault with pluggable storage, and a bulk rekey that stores no password metadata.
//!
//! Each record is sealed on its own under the password of whoever wrote it. Nothing stored says which records share a
//! password, so a change of password is a scan: [`Vault::rekey`] tries the old one on every record and seals anew, under
//! the new one, those that open.
//!
//! This crate is the whole library under one name: everything of the core, one backend per feature, and [`open`] and
//! [`create`] for programs that learn from a text which backend to use.
//!
//! | feature | backend | a [`StoreUrl`] of it |
//! | --- | --- | --- |
//! | `redb` (default) | one file, no server | `redb:vault.redb` |
//! | `sqlite` | one file that other programs look into as well | `sqlite:vault.db` |
//! | `postgres`, and `tls` | a server's database | `postgres://app:secret@localhost/app` |
//!
//! # Example
//!
//! ```
//! # #[cfg(feature = "redb")]
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use vaultstore::{CreateOptions, NewVault, Password, RekeyPlan, Vault, VaultOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vault.redb");
//! # futures::executor::block_on(async {
//! let url = format!("redb:{}", path.display()).parse()?;
//! let vault = Vault::init(vaultstore::create(&url).await?, NewVault::default(), VaultOptions::default()).await?;
//!
//! let key = vault.unlock(Password::new("correct horse")).await?;
//! let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
//!
//! let plan = RekeyPlan::new().pair(Password::new("correct horse"), Password::new("a better one"));
//! let report = vault.rekey(plan).await?.run().await?;
//! assert_eq!(report.counts.rekeyed, 1);
//!
//! let key = vault.unlock(Password::new("a better one")).await?;
//! assert_eq!(vault.read(&token, &key).await?.as_bytes(), b"battery staple");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! # #[cfg(not(feature = "redb"))]
//! # fn main() {}
//! ```

mod backends;
mod url;

pub use vault_core::*;
#[cfg(feature = "postgres")]
pub use vault_postgres::{self as postgres, PostgresOptions, PostgresStore, PostgresUrl};
#[cfg(feature = "redb")]
pub use vault_redb::{self as redb, RedbOptions, RedbStore};
#[cfg(feature = "sqlite")]
pub use vault_sqlite::{self as sqlite, SqliteOptions, SqliteStore};

pub use crate::{
    backends::{Migrated, create, migrate, open},
    url::{InvalidUrl, StoreUrl},
};

/// The README's example, compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "redb"))]
#[doc = include_str!("../README.md")]
struct Readme;
