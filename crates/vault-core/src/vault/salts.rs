//! Whether a key may be tried on a record whose salt is not the vault's own.

use super::{Vault, config};
use crate::crypto::envelope::Envelope;
use crate::crypto::kdf::KdfSetting;
use crate::crypto::key::PasswordKey;
use crate::crypto::policy::NotTried;
use crate::crypto::seal::check;
use crate::vault::VaultError;

impl Vault {
    /// Checks whether the key may be tried on this envelope, if it has to derive a master key for
    /// it.
    pub(super) async fn take_salt(
        &self,
        envelope: &Envelope,
        key: &PasswordKey,
    ) -> Result<(), VaultError> {
        let policy = &self.options.open;
        // A rejected envelope costs nothing, and is reported when it is opened.
        let kdf: Option<KdfSetting> = match check(envelope, policy) {
            Ok(checked) => checked.kdf().filter(|kdf| !key.is_prepared(kdf)),
            Err(_) => None,
        };
        let Some(kdf) = kdf else { return Ok(()) };
        if config::own_kdf(&*self.store).await? == Some(kdf) {
            return Ok(());
        }
        if self.salts.take(policy.max_salts, self.options.clock.now()) {
            return Ok(());
        }
        Err(VaultError::NotTried(NotTried::Salt))
    }
}
