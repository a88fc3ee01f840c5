//! An encrypted record vault with pluggable storage, and a bulk rekey that stores no password metadata.
//!
//! Each record is sealed on its own under the password of whoever wrote it. Nothing stored says which records share a
//! password, so a change of password is a scan: [`Vault::rekey`] tries the old one on every record and seals anew, under
//! the new one, those that open.
//!
//! This crate is the whole library under one name: the core, one backend per feature (see
//! [`backend`]), and [`StoreUrl`] for programs that choose the backend by an address.
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
//! use vaultstore::{CreateOptions, InitOptions, Password, RekeyPlan, StoreUrl, Vault, VaultOptions};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("vault.redb");
//! # futures::executor::block_on(async {
//! let url: StoreUrl = format!("redb:{}", path.display()).parse()?;
//! let vault = Vault::init(url.create().await?, InitOptions::default(), VaultOptions::default()).await?;
//!
//! let key = vault.derive_key(Password::new("correct horse")).await?;
//! let token = vault.create(b"battery staple", &key, CreateOptions::default()).await?;
//!
//! let plan = RekeyPlan::new().pair(Password::new("correct horse"), Password::new("a better one"));
//! let report = vault.rekey(plan).await?.run().await?;
//! assert_eq!(report.counts.rekeyed, 1);
//!
//! let key = vault.derive_key(Password::new("a better one")).await?;
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

pub use crate::url::StoreUrl;

/// Addresses of vaults, and the storage backends behind them, one per feature.
pub mod backend {
    #[cfg(feature = "postgres")]
    pub use vault_postgres::{PostgresOptions, PostgresStore, PostgresUrl};
    #[cfg(feature = "redb")]
    pub use vault_redb::{RedbOptions, RedbStore};
    #[cfg(feature = "sqlite")]
    pub use vault_sqlite::{SqliteOptions, SqliteStore};

    pub use crate::{backends::MigrationReport, url::ParseStoreUrlError};
}

/// The README's example, compiled and run with the documentation tests.
#[cfg(all(doctest, feature = "redb"))]
#[doc = include_str!("../README.md")]
struct Readme;
