//! An encrypted record vault with pluggable storage, and a bulk rekey that stores no password
//! metadata.
//!
//! Each record is sealed separately under its writer's password, and nothing stored reveals which
//! records share one. To change a password, [`Vault::rekey`] tries the old one on every record and
//! re-encrypts the records it opens.
//!
//! This crate re-exports the core library and one storage backend per feature (see [`backend`]).
//! [`StoreUrl`] is for programs that choose the backend at run time.
//!
//! | feature | storage | example of a [`StoreUrl`] |
//! | --- | --- | --- |
//! | `redb` (default) | one file, opened by one process at a time | `redb:vault.redb` |
//! | `sqlite` | one file, shared with other programs | `sqlite:vault.db` |
//! | `postgres`, with `tls` | a database on a server | `postgres://app:secret@localhost/app` |
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
//! let store = url.create().await?;
//! let vault = Vault::init(store, InitOptions::default(), VaultOptions::default()).await?;
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

#![cfg_attr(docsrs, feature(doc_cfg))]

mod backends;
mod url;

pub use vault_core::*;

pub use crate::url::StoreUrl;

/// The storage backends, one per feature, and the types of their addresses.
pub mod backend {
    #[cfg(feature = "postgres")]
    pub use vault_postgres::{PostgresOptions, PostgresStore, PostgresUrl};
    #[cfg(feature = "redb")]
    pub use vault_redb::{RedbOptions, RedbStore};
    #[cfg(feature = "sqlite")]
    pub use vault_sqlite::{SqliteOptions, SqliteStore};

    pub use crate::{
        backends::MigrationReport,
        url::{BackendKind, ParseStoreUrlError},
    };
}
