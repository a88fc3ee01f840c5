//! What passes over all records of a vault.

use std::sync::Arc;

use super::{Vault, VaultError, config};
use crate::engine::census::{CensusPlan, CensusSession};
use crate::engine::rekey::{RekeyError, RekeyPlan, RekeySession};
use crate::scan::error::ScanError;
use vault_store::{PasswordIdentities, PurgedIdentities, ScrubOptions, ScrubReport};

impl Vault {
    /// Prepares a rekey of the whole vault.
    ///
    /// # Errors
    /// [`RekeyError::Plan`] for an invalid plan, [`RekeyError::PasswordPolicyViolation`] for a new
    /// password that violates a rule, [`RekeyError::Settings`] if the settings do not say how
    /// records are re-encrypted, and any other error that ends a rekey before its first write.
    pub async fn rekey(&self, plan: RekeyPlan) -> Result<RekeySession, RekeyError> {
        // An empty password is refused by the plan, whatever the rules are.
        for password in plan.new_passwords().filter(|password| !password.is_empty()) {
            self.options.passwords.allow(password)?;
        }
        let spec = match plan.asked_spec() {
            Some(spec) => spec,
            None if plan.is_dry_run() => self.rehearsed_spec().await?,
            None => self.write_spec().await?,
        };
        config::check_cost(spec.params(), &self.options)?;
        let own = config::own_kdf(&*self.store).await?;
        let (store, policy) = (Arc::clone(&self.store), self.options.open.clone());
        let now = self.options.clock.now();
        RekeySession::start(store, plan, policy, spec, own, now).await
    }

    /// Prepares a census of the whole vault.
    ///
    /// # Errors
    /// [`ScanError::Store`], and [`ScanError::Worker`] where no thread can be started.
    pub async fn census(&self, plan: CensusPlan) -> Result<CensusSession, ScanError> {
        let own = config::own_kdf(&*self.store).await?;
        let (store, policy) = (Arc::clone(&self.store), self.options.open.clone());
        CensusSession::start(store, plan, policy, own).await
    }

    /// Writes the whole storage again, byte for byte, without any password: afterwards it no longer
    /// tells which records a rekey replaced.
    /// [`VaultStore::scrub`](vault_store::VaultStore::scrub) says what is guaranteed, and
    /// [`ScrubReport`] what a store could not reach.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn scrub(&self, options: ScrubOptions) -> Result<ScrubReport, VaultError> {
        Ok(self.store.scrub(options).await?)
    }

    /// Counts the rows that say which records share a password, which old versions of the Go
    /// package wrote. [`PasswordIdentities`] says what they reveal.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn password_identities(&self) -> Result<PasswordIdentities, VaultError> {
        Ok(self.store.password_identities().await?)
    }

    /// Removes these rows, and nothing else. It needs no password. Do it before or after a rekey,
    /// which leaves them as they are; copying the vault leaves them behind as well.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn purge_password_identities(&self) -> Result<PurgedIdentities, VaultError> {
        Ok(self.store.purge_password_identities().await?)
    }
}
