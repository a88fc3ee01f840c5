//! A vault in a temporary folder.

use tempfile::TempDir;
use vaultstore::StoreUrl;
use vaultstore::backend::ParseStoreUrlError;

use crate::exit::Failure;

/// The location of a redb vault that does not exist yet. The folder is removed when this is
/// dropped, also after an interrupt.
pub(super) struct Temporary {
    pub(super) url: StoreUrl,
    _folder: TempDir,
}

impl Temporary {
    /// `prefix` starts the name of the folder.
    pub(super) fn new(prefix: &str) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix(prefix).tempdir().map_err(|error| {
            Failure::failed("no temporary folder could be created")
                .hint("name a folder that you may write to in the variable TMPDIR")
                .because(error)
        })?;
        let url = format!("redb:{}", folder.path().join("vault.redb").display());
        let url =
            url.parse().map_err(|error: ParseStoreUrlError| Failure::failed(error.to_string()))?;
        Ok(Self { url, _folder: folder })
    }
}
