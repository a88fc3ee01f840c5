//! A vault in memory with a ledger: for every record the password and the value that it
//! must have.

mod interposer;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{FutureExt, executor::block_on, future::BoxFuture};
pub(crate) use interposer::Interposer;
use vault_core::envelope::{Envelope, OpenOutcome, OpenPolicy, SealParams, open, seal};
use vault_core::kdf::KdfMemory;
use vault_core::rekey::{MergeCheck, RekeyError};
use vault_core::run::{RunOptions, Timer};
use vault_core::store::BoundTo;
use vault_core::store::{
    DeleteOutcome, EnvelopeText, InsertOutcome, PageLimit, RecordUpdate, WriteOutcome,
};
use vault_core::{
    InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, RekeyPlan,
    RekeyReport, Timestamp, Token, Vault, VaultOptions, VaultStore, WriteFormat,
};

/// The cheapest Argon2id there is, for tests only.
pub(crate) fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

/// Options of a run that never waits.
pub(crate) fn options() -> RunOptions {
    RunOptions::default().timer(Arc::new(NoWait))
}

/// `old` to `new`, without the merge check.
pub(crate) fn plan() -> RekeyPlan {
    let plan = RekeyPlan::new().pair(password("old"), password("new"));
    plan.merge_check(MergeCheck::Off).options(options())
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(text)
}

/// The answer of the store in memory, which never waits, also from within an executor.
fn now<T>(answer: impl Future<Output = T>) -> T {
    answer.now_or_never().unwrap()
}

/// A timer that does not wait.
pub(crate) struct NoWait;

impl Timer for NoWait {
    fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
        Box::pin(async {})
    }
}

#[derive(Clone)]
struct Due {
    password: String,
    value: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) store: MemoryStore,
    policy: OpenPolicy,
    spec: SealParams,
    keys: Arc<Mutex<HashMap<String, Arc<PasswordKey>>>>,
    ledger: Arc<Mutex<BTreeMap<RecordId, Due>>>,
    /// Records that are bad on purpose.
    bad: Arc<Mutex<Vec<RecordId>>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_policy(OpenPolicy::trusting())
    }

    pub(crate) fn with_policy(policy: OpenPolicy) -> Self {
        let store = MemoryStore::new();
        let options = VaultOptions::default().open(OpenPolicy::trusting());
        let new = InitOptions::default().cost(cheap()).format(WriteFormat::V3);
        let spec = block_on(async {
            Vault::init(store.clone(), new, options).await.unwrap().seal_spec().await.unwrap()
        });
        Self {
            store,
            policy,
            spec,
            keys: Arc::default(),
            ledger: Arc::default(),
            bad: Arc::default(),
        }
    }

    pub(crate) fn vault(&self) -> Vault {
        Vault::new(self.store.clone(), self.options())
    }

    pub(crate) fn vault_through(&self, interposer: &Interposer) -> Vault {
        Vault::new(interposer.over(self.store.clone()), self.options())
    }

    pub(crate) fn rekey(&self, plan: RekeyPlan) -> Result<RekeyReport, RekeyError> {
        block_on(async { self.vault().rekey(plan).await?.run().await })
    }

    pub(crate) fn rekey_through(
        &self,
        interposer: &Interposer,
        plan: RekeyPlan,
    ) -> Result<RekeyReport, RekeyError> {
        block_on(async { self.vault_through(interposer).rekey(plan).await?.run().await })
    }

    fn options(&self) -> VaultOptions {
        VaultOptions::default().open(self.policy.clone())
    }

    pub(crate) fn key(&self, password: &str) -> Arc<PasswordKey> {
        let mut keys = self.keys.lock().unwrap();
        Arc::clone(
            keys.entry(password.to_owned())
                .or_insert_with(|| Arc::new(PasswordKey::new(Password::new(password)))),
        )
    }

    fn sealed(&self, id: &RecordId, password: &str, value: &[u8]) -> EnvelopeText {
        let bound_to = BoundTo { id, token: &token_of(id) };
        seal(value, &self.key(password), bound_to, &self.spec, &mut KdfMemory::new()).unwrap()
    }

    /// Adds records under a password; passwords lie mixed in id order.
    pub(crate) fn fill(&self, password: &str, count: usize) {
        let records = (0..count).map(|number| {
            let id = RecordId::from_stored(format!("{number:05}-{password}"));
            let value = format!("value {number} of {password}").into_bytes();
            let envelope = self.sealed(&id, password, &value);
            self.ledger
                .lock()
                .unwrap()
                .insert(id.clone(), Due { password: password.to_owned(), value });
            record(id, envelope)
        });
        let outcomes = now(self.store.insert(records.collect())).unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Inserted));
    }

    /// A writer's new record.
    pub(crate) fn insert(&self, id: &str, password: &str, value: &[u8]) {
        let id = RecordId::from_stored(id);
        let envelope = self.sealed(&id, password, value);
        let due = Due { password: password.to_owned(), value: value.to_vec() };
        self.ledger.lock().unwrap().insert(id.clone(), due);
        let outcomes = now(self.store.insert(vec![record(id, envelope)])).unwrap();
        assert_eq!(outcomes, [InsertOutcome::Inserted]);
    }

    pub(crate) fn plant_new(&self, id: &str, text: &[u8]) {
        let record = record(RecordId::from_stored(id), EnvelopeText::from_stored(text));
        self.bad.lock().unwrap().push(record.id.clone());
        now(self.store.insert(vec![record])).unwrap();
    }

    pub(crate) fn records(&self) -> Vec<Record> {
        now(self.store.list(None, PageLimit::new(usize::MAX, usize::MAX))).unwrap().records
    }

    /// Puts back what the records held before, as a restored backup does.
    pub(crate) fn restore(&self, before: &[Record]) {
        for record in before {
            let envelope = record.envelope.clone();
            self.change(RecordUpdate {
                envelope: Some(envelope),
                ..RecordUpdate::of(record.id.clone())
            });
        }
    }

    fn record(&self, id: &RecordId) -> Record {
        self.records().into_iter().find(|record| record.id == *id).unwrap()
    }

    fn change(&self, change: RecordUpdate) {
        assert_eq!(now(self.store.update(change)).unwrap(), WriteOutcome::Applied);
    }

    /// A writer's update.
    pub(crate) fn rewrite(&self, id: &RecordId, password: &str, value: &[u8]) {
        let envelope = Some(self.sealed(id, password, value));
        self.change(RecordUpdate { envelope, ..RecordUpdate::of(id.clone()) });
        self.ledger
            .lock()
            .unwrap()
            .insert(id.clone(), Due { password: password.to_owned(), value: value.to_vec() });
    }

    pub(crate) fn remove(&self, id: &RecordId) {
        assert_eq!(now(self.store.delete(id)).unwrap(), DeleteOutcome::Deleted);
        self.ledger.lock().unwrap().remove(id);
    }

    pub(crate) fn soft_delete(&self, id: &RecordId) {
        let first = Some(Timestamp::from_micros(1));
        self.change(RecordUpdate::of(id.clone()).soft_deleted_at(first));
    }

    pub(crate) fn expire(&self, id: &RecordId) {
        let first = Some(Timestamp::from_micros(1));
        self.change(RecordUpdate::of(id.clone()).expires_at(first));
    }

    pub(crate) fn plant(&self, id: &RecordId, text: &[u8]) {
        let envelope = Some(EnvelopeText::from_stored(text));
        self.change(RecordUpdate { envelope, ..RecordUpdate::of(id.clone()) });
        self.ledger.lock().unwrap().remove(id);
        self.bad.lock().unwrap().push(id.clone());
    }

    /// Flips one bit of the ciphertext.
    pub(crate) fn damage(&self, id: &RecordId) {
        let mut text = self.record(id).envelope.as_bytes().unwrap().to_vec();
        text[140] = if text[140] == b'A' { b'B' } else { b'A' };
        self.plant(id, &text);
    }

    /// Swaps two records' envelopes.
    pub(crate) fn swap(&self, one: &RecordId, other: &RecordId) {
        let (first, second) = (self.record(one).envelope, self.record(other).envelope);
        self.plant(one, second.as_bytes().unwrap());
        self.plant(other, first.as_bytes().unwrap());
    }

    pub(crate) fn owner(&self, id: &RecordId) -> String {
        self.ledger.lock().unwrap()[id].password.clone()
    }

    /// What a complete rekey makes of the ledger.
    pub(crate) fn hand_over(&self, old: &str, new: &str) {
        for due in self.ledger.lock().unwrap().values_mut().filter(|due| due.password == old) {
            new.clone_into(&mut due.password);
        }
    }

    /// Moves all records of a password to another one as v2.
    pub(crate) fn rename(&self, from: &str, to: &str) {
        let plan = RekeyPlan::new().pair(password(from), password(to));
        let count = self.count_under(from);
        let moved = self.rekey(plan.write_as(SealParams::V2 { params: cheap() })).unwrap();
        assert_eq!(moved.counts.rekeyed, count);
        self.hand_over(from, to);
    }

    /// Records are where the ledger says, except that those of the old password may be under the
    /// new one.
    pub(crate) fn check_nothing_but(&self, old: &str, new: &str) {
        for record in self.records() {
            let owner = self.owner(&record.id);
            let under_owner = self.opens(&record, &owner).is_some();
            assert!(under_owner || owner == old && self.opens(&record, new).is_some());
        }
    }

    pub(crate) fn hand_over_but(&self, old: &str, new: &str, but: &RecordId) {
        self.hand_over(old, new);
        old.clone_into(&mut self.ledger.lock().unwrap().get_mut(but).unwrap().password);
    }

    pub(crate) fn swap_owners(&self, one: &str, other: &str) {
        self.hand_over(one, "\0");
        self.hand_over(other, one);
        self.hand_over("\0", other);
    }

    fn opens(&self, record: &Record, password: &str) -> Option<Vec<u8>> {
        let envelope = Envelope::parse(&record.envelope).ok()?;
        let (key, bound_to) = (self.key(password), record.bound_to());
        match open(&envelope, &key, bound_to, &self.policy, &mut KdfMemory::new()).unwrap() {
            OpenOutcome::Opened(value) => Some(value.as_bytes().to_vec()),
            _ => None,
        }
    }

    pub(crate) fn count_under(&self, password: &str) -> u64 {
        self.records().iter().filter(|record| self.opens(record, password).is_some()).count() as u64
    }

    /// Every record is there, under exactly the password of the ledger, with its value; none is
    /// there as well.
    pub(crate) fn check(&self) {
        let (records, ledger, bad) =
            (self.records(), self.ledger.lock().unwrap().clone(), self.bad.lock().unwrap().clone());
        assert_eq!(records.len(), ledger.len() + bad.len());
        let passwords: Vec<String> = self.keys.lock().unwrap().keys().cloned().collect();
        for record in records.iter().filter(|record| !bad.contains(&record.id)) {
            let due = &ledger[&record.id];
            assert_eq!(
                self.opens(record, &due.password).as_ref(),
                Some(&due.value),
                "{} under {}",
                record.id,
                due.password
            );
            for other in passwords.iter().filter(|other| **other != due.password) {
                assert_eq!(self.opens(record, other), None, "{} under {other} as well", record.id);
            }
        }
    }
}

/// The token of each record follows from its id.
fn token_of(id: &RecordId) -> Token {
    Token::new(format!("tk_{id}")).unwrap()
}

fn record(id: RecordId, envelope: EnvelopeText) -> Record {
    let token = token_of(&id);
    let time = Timestamp::from_micros(1_700_000_000_000_000);
    Record {
        id,
        token,
        envelope,
        created_at: time,
        updated_at: time,
        expires_at: None,
        soft_deleted_at: None,
    }
}
