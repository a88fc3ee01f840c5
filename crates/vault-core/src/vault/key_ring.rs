//! Reading with several keys: while a rekey runs, a caller holds the new password and the old one.

use std::sync::Arc;

use super::{Vault, config};
use crate::crypto::key::PasswordKey;
use crate::crypto::secret::Plaintext;
use crate::vault::VaultError;
use vault_store::{Record, SealedRecord, Token};

/// Keys to try on a record, in this order. Put the key that most records have first: the new one.
#[derive(Clone, Debug)]
pub struct KeyRing {
    keys: Vec<Arc<PasswordKey>>,
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(first: Arc<PasswordKey>) -> Self {
        Self { keys: vec![first] }
    }

    /// Adds a key that is tried after the others.
    #[must_use]
    pub fn then(mut self, key: Arc<PasswordKey>) -> Self {
        self.keys.push(key);
        self
    }

    /// Returns the keys, in their order.
    #[must_use]
    pub fn keys(&self) -> &[Arc<PasswordKey>] {
        &self.keys
    }
}

/// A value that one key of a [`KeyRing`] opened.
#[derive(Debug)]
#[non_exhaustive]
pub struct RingValue {
    /// The value.
    pub value: Plaintext,
    /// Which key opened it: its position in [`KeyRing::keys`].
    pub key: usize,
}

impl Vault {
    /// Returns the value of a record that is under any key of a ring, and which key opened it.
    ///
    /// The record is read once, so that a rekey to another key of the ring is never in between. A
    /// v3 record under another password costs no Argon2id for a key from
    /// [`derive_key`](Self::derive_key); a v2 record costs one per key until one opens it.
    ///
    /// ```
    /// # use vault_core::*;
    /// # use vault_core::records::KeyRing;
    /// # futures::executor::block_on(async {
    /// # let (init, options) = (InitOptions::default(), VaultOptions::default());
    /// # let vault = Vault::init(MemoryStore::new(), init, options).await?;
    /// let old = vault.derive_key(Password::new("leaked")).await?;
    /// let new = vault.derive_key(Password::new("correct horse")).await?;
    /// let token = vault.create(b"battery staple", &old, CreateOptions::default()).await?;
    ///
    /// let ring = KeyRing::new(new).then(old);
    /// let found = vault.read_with(&token, &ring).await?;
    /// assert_eq!((found.value.as_bytes(), found.key), (&b"battery staple"[..], 1));
    /// # Ok::<(), VaultError>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read); [`VaultError::WrongPassword`] if no key opens the record.
    pub async fn read_with(&self, token: &Token, ring: &KeyRing) -> Result<RingValue, VaultError> {
        let mut answers = self.read_many_with(std::slice::from_ref(token), ring).await?;
        answers.pop().unwrap_or(Err(VaultError::UnknownToken))
    }

    /// Returns the values of many records, as [`read_many`](Self::read_many) does, each opened by
    /// any key of a ring: one result per token, in order.
    ///
    /// # Errors
    /// Any error of the store; there are no results then.
    ///
    /// # Cancel safety
    /// As [`read_many`](Self::read_many).
    pub async fn read_many_with(
        &self,
        tokens: &[Token],
        ring: &KeyRing,
    ) -> Result<Vec<Result<RingValue, VaultError>>, VaultError> {
        let found = self.store.find(tokens).await?;
        if found.len() != tokens.len() {
            return Err(VaultError::Store(config::broken_contract()));
        }
        let (mut answers, mut places, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
        for record in found {
            let live = record.ok_or(VaultError::UnknownToken).and_then(|record| self.live(record));
            answers.push(match live {
                Ok(Record { id, token, envelope, .. }) => {
                    places.push(answers.len());
                    waiting.push(SealedRecord { id, token, envelope });
                    // Unless a key opens it.
                    Err(VaultError::WrongPassword)
                }
                Err(error) => Err(error),
            });
        }
        for (key, of_ring) in ring.keys.iter().enumerate() {
            let opened = self.open_records(waiting.clone(), of_ring).await?;
            let mut other = (Vec::new(), Vec::new());
            for ((place, record), opened) in places.into_iter().zip(waiting).zip(opened) {
                match opened {
                    Err(VaultError::WrongPassword) => {
                        other.0.push(place);
                        other.1.push(record);
                    }
                    opened => answers[place] = opened.map(|value| RingValue { value, key }),
                }
            }
            (places, waiting) = other;
            if waiting.is_empty() {
                break;
            }
        }
        Ok(answers)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::crypto::secret::Password;
    use crate::engine::rekey::RekeyPlan;
    use crate::vault::{CreateOptions, InitOptions, VaultOptions};
    use vault_store::MemoryStore;

    async fn vault() -> Vault {
        let (new, options) =
            (InitOptions::insecure_for_tests(), VaultOptions::insecure_for_tests());
        Vault::init(MemoryStore::new(), new, options).await.unwrap()
    }

    async fn key(vault: &Vault, password: &str) -> Arc<PasswordKey> {
        vault.derive_key(Password::new(password)).await.unwrap()
    }

    async fn create(vault: &Vault, value: &str, key: &Arc<PasswordKey>) -> Token {
        vault.create(value.as_bytes(), key, CreateOptions::default()).await.unwrap()
    }

    #[test]
    fn the_answer_says_which_key_fits_and_a_miss_costs_no_derivation() {
        block_on(async {
            let vault = vault().await;
            let [new, old, other] =
                [key(&vault, "new").await, key(&vault, "old").await, key(&vault, "other").await];
            let tokens = [
                create(&vault, "1", &old).await,
                create(&vault, "2", &new).await,
                create(&vault, "3", &other).await,
                Token::new("unknown").unwrap(),
            ];
            let derivations = || vault.on_thread(|memory| memory.derivations());
            let before = derivations().await.unwrap();
            let ring = KeyRing::new(new).then(old);
            let answers = vault.read_many_with(&tokens, &ring).await.unwrap();
            let opened = |at: usize| {
                let found = answers[at].as_ref().unwrap();
                (found.value.as_bytes().to_vec(), found.key)
            };
            assert_eq!((opened(0), opened(1)), ((b"1".to_vec(), 1), (b"2".to_vec(), 0)));
            assert!(matches!(answers[2], Err(VaultError::WrongPassword)));
            assert!(matches!(answers[3], Err(VaultError::UnknownToken)));
            assert_eq!(derivations().await.unwrap(), before);
            assert!(vault.read_many_with(&[], &ring).await.unwrap().is_empty());
        });
    }

    #[test]
    fn a_rekey_changes_only_which_key_fits() {
        block_on(async {
            let vault = vault().await;
            let (new, old) = (key(&vault, "new").await, key(&vault, "old").await);
            let token = create(&vault, "value", &old).await;
            let ring = KeyRing::new(new).then(old);
            assert_eq!(vault.read_with(&token, &ring).await.unwrap().key, 1);
            let plan = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
            vault.rekey(plan).await.unwrap().run().await.unwrap();
            let found = vault.read_with(&token, &ring).await.unwrap();
            assert_eq!((found.value.as_bytes(), found.key), (&b"value"[..], 0));
            vault.soft_delete(&token).await.unwrap();
            let hidden = vault.read_with(&token, &ring).await;
            assert!(matches!(hidden, Err(VaultError::SoftDeleted)));
        });
    }
}
