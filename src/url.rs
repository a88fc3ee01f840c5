//! The address of a vault as a text, and what opens it.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
};

use vault_core::{StoreError, VaultStore};

/// Where a vault is: `redb:PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreUrl {
    /// A redb file.
    Redb {
        /// The file's path.
        path: PathBuf,
    },
}

impl StoreUrl {
    /// The file that the vault is, for backends where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Redb { path } => Some(path),
        }
    }
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redb { path } => write!(f, "redb:{}", path.display()),
        }
    }
}

impl FromStr for StoreUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once(':').ok_or(InvalidUrl::NoScheme)?;
        match scheme {
            "redb" if rest.is_empty() => Err(InvalidUrl::NoPath),
            "redb" => Ok(Self::Redb { path: rest.into() }),
            "sqlite" => Err(InvalidUrl::NotCompiledIn { feature: "sqlite" }),
            "postgres" | "postgresql" => Err(InvalidUrl::NotCompiledIn { feature: "postgres" }),
            _ => Err(InvalidUrl::UnknownScheme),
        }
    }
}

/// Why a text is not the address of a vault. The text itself is never part of it: an address may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidUrl {
    /// There is no `scheme:` at the start.
    #[error("a vault's address begins with its backend; write redb:PATH for a file")]
    NoScheme,
    /// The scheme is not one of a vault.
    #[error("the address names no backend of a vault; write redb:PATH for a file")]
    UnknownScheme,
    /// The path is missing.
    #[error("the address has no path; write redb:PATH")]
    NoPath,
    /// The backend exists by name, and not in this build.
    #[error(
        "this build has no feature \"{feature}\", which this address needs; use redb:PATH or another build"
    )]
    NotCompiledIn {
        /// The cargo feature that holds the backend.
        feature: &'static str,
    },
}

/// Opens the store of a vault that exists.
///
/// # Errors
/// [`StoreError`] with the kind `NotFound`, `NotAVault`, `NewerSchema`, `Denied`, `Locked` or `Corrupt`; what is there is
/// unchanged. `Unsupported` when the backend is not compiled in.
pub async fn open(url: &StoreUrl) -> Result<Arc<dyn VaultStore>, StoreError> {
    match url {
        StoreUrl::Redb { path } => redb::open(path).await,
    }
}

/// Makes an empty store for a new vault, which [`Vault::init`](vault_core::Vault::init) then makes a vault.
///
/// # Errors
/// [`StoreError`] with the kind `AlreadyExists` when anything is there; it is left alone. `Unsupported` when the backend is
/// not compiled in.
pub async fn create(url: &StoreUrl) -> Result<Arc<dyn VaultStore>, StoreError> {
    match url {
        StoreUrl::Redb { path } => redb::create(path).await,
    }
}

#[cfg(feature = "redb")]
mod redb {
    use std::{path::Path, sync::Arc};

    use vault_core::{StoreError, VaultStore};
    use vault_redb::{RedbOptions, RedbStore};

    pub(super) async fn open(path: &Path) -> Result<Arc<dyn VaultStore>, StoreError> {
        Ok(Arc::new(RedbStore::open(path, RedbOptions::default()).await?))
    }

    pub(super) async fn create(path: &Path) -> Result<Arc<dyn VaultStore>, StoreError> {
        Ok(Arc::new(RedbStore::create(path, RedbOptions::default()).await?))
    }
}

#[cfg(not(feature = "redb"))]
mod redb {
    use std::{future, path::Path, sync::Arc};

    use vault_core::{StoreError, StoreErrorKind, VaultStore};

    pub(super) fn open(path: &Path) -> future::Ready<Result<Arc<dyn VaultStore>, StoreError>> {
        future::ready(Err(missing(path)))
    }

    pub(super) fn create(path: &Path) -> future::Ready<Result<Arc<dyn VaultStore>, StoreError>> {
        future::ready(Err(missing(path)))
    }

    fn missing(path: &Path) -> StoreError {
        StoreError::new(
            StoreErrorKind::Unsupported,
            format!("{} cannot be opened: this build has no feature \"redb\"", path.display()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<StoreUrl, InvalidUrl> {
        text.parse()
    }

    #[test]
    fn a_path_may_hold_colons() {
        let url = parse("redb:a:b.redb").unwrap();
        assert_eq!(url.file(), Some(Path::new("a:b.redb")));
        assert_eq!(url.to_string(), "redb:a:b.redb");
    }

    #[test]
    fn what_is_no_address_says_why() {
        assert_eq!(parse("vault.redb"), Err(InvalidUrl::NoScheme));
        assert_eq!(parse("redb:"), Err(InvalidUrl::NoPath));
        assert_eq!(parse("ftp://host/vault"), Err(InvalidUrl::UnknownScheme));
        assert_eq!(parse("sqlite:v.db"), Err(InvalidUrl::NotCompiledIn { feature: "sqlite" }));
        let postgres = Err(InvalidUrl::NotCompiledIn { feature: "postgres" });
        assert_eq!(parse("postgres://user:secret@host/db"), postgres);
    }
}
