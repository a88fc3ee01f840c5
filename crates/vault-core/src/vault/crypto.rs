//! Opening and sealing, without blocking the caller's thread.

use std::sync::{Arc, PoisonError};

use super::Vault;
use crate::crypto::envelope::Envelope;
use crate::crypto::kdf::KdfMemory;
use crate::crypto::key::PasswordKey;
use crate::crypto::reseal::{Reseal, Target};
use crate::crypto::seal::{
    OpenOutcome, Present, SealParams, open, open_as_present, seal, seal_as_v2,
};
use crate::crypto::secret::Plaintext;
use crate::crypto::stack::wipe_below;
use crate::scan::workers::{OnStart, Workers};
use crate::vault::VaultError;
use vault_store::BoundTo;
use vault_store::{EnvelopeText, Record, RecordId, SealedRecord, Token};

/// How many records are opened in a row on the vault's thread: a few milliseconds, after which
/// other calls have their turn and a caller that went away is noticed.
const CHUNK: usize = 256;

/// A record to open: its envelope is parsed, or known not to be one.
struct ToOpen {
    id: RecordId,
    token: Token,
    envelope: Result<Envelope, VaultError>,
}

impl ToOpen {
    fn is_ready_for(&self, key: &PasswordKey) -> bool {
        self.envelope.as_ref().map_or(true, |envelope| key.is_ready_for(envelope))
    }
}

impl Vault {
    pub(super) async fn open_record(
        &self,
        record: &Record,
        key: &Arc<PasswordKey>,
    ) -> Result<Plaintext, VaultError> {
        Ok(self.open_as_present(record, key).await?.0)
    }

    /// As [`open_record`](Self::open_record), and returns how the record is sealed.
    pub(super) async fn open_as_present(
        &self,
        record: &Record,
        key: &Arc<PasswordKey>,
    ) -> Result<(Plaintext, Present), VaultError> {
        let envelope = Envelope::parse(&record.envelope).map_err(VaultError::Malformed)?;
        let opened = if key.is_ready_for(&envelope) {
            let (bound_to, policy) = (record.bound_to(), &self.options.open);
            let opened = open_as_present(&envelope, key, bound_to, policy, &mut KdfMemory::new());
            wipe_below();
            opened?
        } else {
            self.take_salt(&envelope, key).await?;
            let (key, policy) = (Arc::clone(key), self.options.open.clone());
            let (id, token) = (record.id.clone(), record.token.clone());
            self.on_thread(move |memory| {
                let bound_to = BoundTo { id: &id, token: &token };
                open_as_present(&envelope, &key, bound_to, &policy, memory)
            })
            .await??
        };
        let (outcome, present) = opened;
        Ok((value_of(outcome)?, present))
    }

    /// As [`open_record`](Self::open_record), for many: one Argon2id per salt, one result per
    /// record, in order.
    pub(super) async fn open_records(
        &self,
        records: impl IntoIterator<Item = SealedRecord>,
        key: &Arc<PasswordKey>,
    ) -> Result<Vec<Result<Plaintext, VaultError>>, VaultError> {
        let parse = |record: SealedRecord| ToOpen {
            id: record.id,
            token: record.token,
            envelope: Envelope::parse(&record.envelope).map_err(VaultError::Malformed),
        };
        let mut waiting: Vec<ToOpen> = records.into_iter().map(parse).collect();
        let mut opened = Vec::with_capacity(waiting.len());
        while !waiting.is_empty() {
            if let Err(refused) = self.take_salt_of_first(&waiting, key).await {
                waiting.remove(0);
                opened.push(Err(refused));
                continue;
            }
            // What costs an Argon2id runs alone; afterwards all others with its salt cost none.
            let ready = waiting.iter().take(CHUNK).take_while(|record| record.is_ready_for(key));
            let rest = waiting.split_off(ready.count().max(1));
            let chunk = std::mem::replace(&mut waiting, rest);
            let (key, policy) = (Arc::clone(key), self.options.open.clone());
            let values = self.on_thread(move |memory| {
                let open_one = |ToOpen { id, token, envelope }: ToOpen| {
                    let bound_to = BoundTo { id: &id, token: &token };
                    value_of(open(&envelope?, &key, bound_to, &policy, memory)?)
                };
                chunk.into_iter().map(open_one).collect::<Vec<_>>()
            });
            opened.extend(values.await?);
        }
        Ok(opened)
    }

    /// Checks whether the first of these records may cost a derivation.
    async fn take_salt_of_first(
        &self,
        waiting: &[ToOpen],
        key: &Arc<PasswordKey>,
    ) -> Result<(), VaultError> {
        match waiting.first().map(|record| &record.envelope) {
            Some(Ok(envelope)) if !key.is_ready_for(envelope) => {
                self.take_salt(envelope, key).await
            }
            _ => Ok(()),
        }
    }

    /// `present` is how the replaced record is sealed; its cost and salt are kept as a rekey keeps
    /// them.
    pub(super) async fn seal_value(
        &self,
        value: &[u8],
        id: RecordId,
        token: Token,
        key: &Arc<PasswordKey>,
        present: Option<Present>,
    ) -> Result<EnvelopeText, VaultError> {
        let spec = self.write_spec().await?;
        let target = match present {
            Some(present) => Reseal::by_settings(spec).target(&present, &self.options.open.limits),
            None => Target::Spec(spec),
        };
        if let Target::Spec(spec) = &target
            && matches!(spec, SealParams::V3 { kdf, .. } if key.is_prepared(kdf))
        {
            let bound_to = BoundTo { id: &id, token: &token };
            let sealed = seal(value, key, bound_to, spec, &mut KdfMemory::new());
            wipe_below();
            return Ok(sealed?);
        }
        let (key, value) = (Arc::clone(key), Plaintext::from(value.to_vec()));
        Ok(self
            .on_thread(move |memory| {
                let bound_to = BoundTo { id: &id, token: &token };
                match target {
                    Target::V2(cost) => seal_as_v2(value.as_bytes(), &key, &cost, memory),
                    Target::Spec(spec) => seal(value.as_bytes(), &key, bound_to, &spec, memory),
                }
            })
            .await??)
    }

    /// Runs what may cost an Argon2id on a thread that may block.
    pub(super) async fn on_thread<T: Send + 'static>(
        &self,
        task: impl FnOnce(&mut KdfMemory) -> T + Send + 'static,
    ) -> Result<T, VaultError> {
        let answer = self.workers()?.submit(task);
        answer.await.map_err(|lost| VaultError::Worker(lost.into()))
    }

    fn workers(&self) -> Result<Arc<Workers>, VaultError> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workers) = &*thread {
            return Ok(Arc::clone(workers));
        }
        let nothing: OnStart = Arc::new(|| ());
        let workers = Arc::new(Workers::start_one(self.options.kept_memory_kib, &nothing)?);
        *thread = Some(Arc::clone(&workers));
        Ok(workers)
    }
}

fn value_of(opened: OpenOutcome) -> Result<Plaintext, VaultError> {
    match opened {
        OpenOutcome::Opened(value) => Ok(value),
        OpenOutcome::WrongPassword => Err(VaultError::WrongPassword),
        OpenOutcome::Damaged => Err(VaultError::Damaged),
        OpenOutcome::Malformed(malformed) => Err(VaultError::Malformed(malformed)),
        OpenOutcome::NotTried(why) => Err(VaultError::NotTried(why)),
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::crypto::kdf::KdfParams;
    use crate::crypto::policy::OpenPolicy;
    use crate::crypto::secret::Password;
    use crate::vault::{CreateOptions, InitOptions, Vault, VaultOptions, WriteFormat};
    use vault_store::{MemoryStore, Token};

    fn cheap() -> KdfParams {
        KdfParams::new(8, 1, 1).unwrap()
    }

    /// A vault of this format with 1,000 records under one password.
    async fn filled(format: WriteFormat) -> (MemoryStore, Vec<Token>) {
        let store = MemoryStore::new();
        let vault = open_vault(&store);
        let new = InitOptions::default().cost(cheap()).format(format);
        super::super::config::write(&*vault.store, new, &vault.options).await.unwrap();
        let key = vault.derive_key(Password::new("password")).await.unwrap();
        let mut tokens = Vec::new();
        for number in 0..1000u32 {
            let value = number.to_string();
            let created = vault.create(value.as_bytes(), &key, CreateOptions::default()).await;
            tokens.push(created.unwrap());
        }
        (store, tokens)
    }

    fn open_vault(store: &MemoryStore) -> Vault {
        let mut options = VaultOptions { open: OpenPolicy::trusting(), ..VaultOptions::default() };
        options.open.v2_costs = vec![crate::crypto::envelope::V2Params::new(cheap())];
        Vault::new(store.clone(), options)
    }

    /// How many derivations the vault's thread has run.
    async fn derivations(vault: &Vault) -> u64 {
        vault.on_thread(|memory| memory.derivations()).await.unwrap()
    }

    async fn read_all(store: &MemoryStore, tokens: &[Token]) -> u64 {
        let vault = open_vault(store);
        let key = Arc::new(PasswordKey::new(Password::new("password")));
        let values = vault.read_many(tokens, &key).await.unwrap();
        for (number, value) in values.into_iter().enumerate() {
            assert_eq!(value.unwrap().as_bytes(), number.to_string().as_bytes());
        }
        derivations(&vault).await
    }

    #[test]
    fn a_thousand_v3_records_cost_one_derivation() {
        block_on(async {
            let (store, tokens) = filled(WriteFormat::V3).await;
            assert_eq!(read_all(&store, &tokens).await, 1);
        });
    }

    #[test]
    fn each_v2_record_costs_its_own_and_all_are_read() {
        block_on(async {
            let (store, tokens) = filled(WriteFormat::V2).await;
            assert_eq!(read_all(&store, &tokens).await, 1000);
        });
    }

    #[test]
    fn a_key_that_is_kept_costs_none() {
        block_on(async {
            let (store, tokens) = filled(WriteFormat::V3).await;
            let vault = open_vault(&store);
            let key = vault.derive_key(Password::new("password")).await.unwrap();
            assert_eq!(derivations(&vault).await, 1);
            vault.read(&tokens[0], &key).await.unwrap();
            vault.update(&tokens[0], b"new", &key).await.unwrap();
            vault.create(b"more", &key, CreateOptions::default()).await.unwrap();
            vault.read_many(&tokens, &key).await.unwrap();
            assert_eq!(derivations(&vault).await, 1);
        });
    }
}
