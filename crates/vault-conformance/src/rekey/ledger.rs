//! What every record of a vault must be, kept outside the store and changed only by acknowledged
//! writes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use vault_core::envelope::{
    Envelope, OpenOutcome, OpenPolicy, Padding, SealParams, V2Params, open, seal,
};
use vault_core::kdf::{KdfMemory, KdfSetting, Salt};
use vault_core::store::BoundTo;
use vault_core::{InitOptions, KdfParams, Password, PasswordKey, Vault, VaultOptions, WriteFormat};
use vault_store::{
    DeleteOutcome, EnvelopeText, InsertOutcome, Precondition, Record, RecordId, RecordUpdate,
    Token, VaultStore, WriteOutcome,
};

use crate::samples::{WIDE, list_all, seconds, token};

/// Whose record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Written under the old password; a rekey may move it to the new one.
    Old,
    /// Written under the new password.
    New,
    /// Written under another password; only some plans have a pair for it.
    Foreign,
    /// Not used yet: some plans move to it.
    Rival,
    /// A v1 record of the Go package.
    Legacy,
    /// No password opens it.
    Nobody,
}

impl Owner {
    pub(super) const WITH_PASSWORD: [Self; 5] =
        [Self::Old, Self::New, Self::Foreign, Self::Rival, Self::Legacy];

    pub(super) fn password(self) -> Password {
        Password::new(match self {
            Self::Old => "the old password",
            Self::New => "the new password",
            Self::Foreign => "foreign",
            Self::Rival => "a rival's",
            Self::Legacy => "bravo-p\u{e4}ssw\u{f6}rd-\u{fc}n\u{ef}c\u{f8}d\u{e9}-\u{1f511}",
            Self::Nobody => "",
        })
    }
}

/// From which password to which.
pub(super) type Move = (Owner, Owner);

/// The value of [`LEGACY_TEXT`].
pub(super) const LEGACY_VALUE: &[u8] = b"a";

/// A v1 record that the Go package wrote, `tk_v10014a140dda3cbdd96c4a` of the test vectors.
const LEGACY_TEXT: &[u8] = b"LH4IODdgBwt7UGVTNDBkLQNweVBjIg0HaFlcDFxqB2pSCFFMaD0jV3kgb1ZaHnhUZVp2NDhyWwFhW1QTYnQkSjRddkxsQlQnPnBjDFBsYldSVgtQL0JgUzQITwNkTQ9XNDJIF1pla3gAVDMCUCwvXWI0BAdRVQB5NFV-WTZxeTV8cW0NYiIRQmJVfjVuMi9FBhgBX3lYCwBiVkRCMwRgEWVhX3QoDzhJBQZaDw==";

/// How far the rekeys before a check got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// Every record of the old password is under the new one.
    All,
    /// Some are, the others are unchanged.
    Some,
}

struct Due {
    owner: Owner,
    value: Vec<u8>,
    /// As last written.
    record: Record,
}

/// The ledger of one vault.
pub(super) struct Ledger {
    spec: SealParams,
    keys: [PasswordKey; 5],
    dues: Mutex<BTreeMap<RecordId, Due>>,
}

/// The lowest Argon2id cost: it is not what is tested here.
fn cheap() -> KdfParams {
    KdfParams::new(8, 1, 1).unwrap()
}

/// Options that permit the low cost.
pub(super) fn options() -> VaultOptions {
    VaultOptions::default().open(policy())
}

fn policy() -> OpenPolicy {
    OpenPolicy::trusting().v2_costs([V2Params::new(cheap())])
}

/// The token of each record is derived from its id.
fn token_of(id: &RecordId) -> Token {
    token(&format!("tk_{id}"))
}

impl Ledger {
    /// Creates a vault in an empty store.
    pub(super) async fn of_new_vault(store: &Arc<impl VaultStore + 'static>) -> Arc<Self> {
        let new = InitOptions::default().cost(cheap()).format(WriteFormat::V3);
        let vault = Vault::init(Arc::clone(store), new, options()).await.unwrap();
        Arc::new(Self {
            spec: vault.seal_spec().await.unwrap(),
            keys: Owner::WITH_PASSWORD.map(|owner| PasswordKey::new(owner.password())),
            dues: Mutex::default(),
        })
    }

    /// Creates a record of this owner, with a value of its own.
    pub(super) fn record(&self, id: &str, owner: Owner, value: &[u8]) -> Record {
        self.record_with_token(id, token_of(&RecordId::from_stored(id)), owner, value)
    }

    /// The same, with another token.
    pub(super) fn record_with_token(
        &self,
        id: &str,
        token: Token,
        owner: Owner,
        value: &[u8],
    ) -> Record {
        let id = RecordId::from_stored(id);
        let bound_to = BoundTo { id: &id, token: &token };
        Record {
            envelope: self.seal(bound_to, owner, value, &self.spec),
            token,
            created_at: seconds(1_700_000_000),
            updated_at: seconds(1_700_000_100),
            expires_at: None,
            soft_deleted_at: None,
            id,
        }
    }

    /// The Go package's record, with this id.
    pub(super) fn legacy_record(&self, id: &str) -> Record {
        let envelope = EnvelopeText::from_stored(LEGACY_TEXT);
        Record { envelope, ..self.record(id, Owner::Old, b"") }
    }

    /// A record in format v2.
    pub(super) fn v2_record(&self, id: &str, owner: Owner, value: &[u8]) -> Record {
        let record = self.record(id, owner, b"");
        let spec = SealParams::V2 { params: cheap() };
        Record { envelope: self.seal(record.bound_to(), owner, value, &spec), ..record }
    }

    /// A record of the old password, sealed long ago at another cost and salt.
    pub(super) fn record_of_another_cost(&self, id: &str, value: &[u8]) -> Record {
        let params = KdfParams::new(16, 2, 1).unwrap();
        let kdf = KdfSetting { salt: Salt::generate().unwrap(), params };
        let mut record = self.record(id, Owner::Old, value);
        let spec = SealParams::V3 { kdf, padding: Padding::Padme };
        record.envelope = self.seal(record.bound_to(), Owner::Old, value, &spec);
        record
    }

    /// A writer's insert.
    pub(super) async fn insert(
        &self,
        store: &impl VaultStore,
        owner: Owner,
        value: &[u8],
        record: Record,
    ) {
        let outcomes = store.insert(vec![record.clone()]).await.unwrap();
        assert_eq!(outcomes, [InsertOutcome::Inserted]);
        let due = Due { owner, value: value.to_vec(), record };
        self.dues.lock().unwrap().insert(due.record.id.clone(), due);
    }

    /// Inserts this many records of an owner; the records of different owners are interleaved in id
    /// order.
    pub(super) async fn fill(&self, store: &impl VaultStore, owner: Owner, count: usize) {
        for number in 0..count {
            let (id, value) = (format!("{number:04}-{owner:?}"), format!("value {number}"));
            let record = self.record(&id, owner, value.as_bytes());
            self.insert(store, owner, value.as_bytes(), record).await;
        }
    }

    /// A writer's update: compares and swaps, and records what was acknowledged.
    pub(super) async fn rewrite(
        &self,
        store: &impl VaultStore,
        id: &RecordId,
        owner: Owner,
        value: &[u8],
    ) -> WriteOutcome {
        let Some(stored) = store.read_records(std::slice::from_ref(id)).await.unwrap().remove(0)
        else {
            return WriteOutcome::Missing;
        };
        let bound_to = BoundTo { id, token: &stored.token };
        let sealed = self.seal(bound_to, owner, value, &self.spec);
        let updated_at = seconds(1_800_000_000);
        let change = RecordUpdate::of(id.clone())
            .if_matches(Precondition::default().envelope(stored.envelope))
            .envelope(sealed.clone())
            .updated_at(updated_at);
        let outcome = store.update(change).await.unwrap();
        if outcome == WriteOutcome::Applied {
            let mut dues = self.dues.lock().unwrap();
            let due = dues.get_mut(id).unwrap();
            (due.owner, due.value) = (owner, value.to_vec());
            (due.record.envelope, due.record.updated_at) = (sealed, updated_at);
        }
        outcome
    }

    /// A writer's delete.
    pub(super) async fn delete(&self, store: &impl VaultStore, id: &RecordId) {
        assert_eq!(store.delete(id).await.unwrap(), DeleteOutcome::Deleted);
        self.dues.lock().unwrap().remove(id);
    }

    pub(super) fn ids(&self, owner: Owner) -> Vec<RecordId> {
        let dues = self.dues.lock().unwrap();
        dues.values().filter(|due| due.owner == owner).map(|due| due.record.id.clone()).collect()
    }

    pub(super) fn count(&self, owner: Owner) -> u64 {
        self.ids(owner).len() as u64
    }

    /// Checks every record as [`check_moves`](Self::check_moves) does, after rekeys from the old
    /// password to the new.
    pub(super) async fn check(&self, store: &impl VaultStore, moved: Moved) -> u64 {
        self.check_moves(store, &[(Owner::Old, Owner::New)], moved).await
    }

    /// Checks every record: each is there with its value, under exactly one of the passwords that
    /// it may have; no other column has changed, and no envelope that was not to be moved.
    ///
    /// Returns how many are under the new password.
    pub(super) async fn check_moves(
        &self,
        store: &impl VaultStore,
        pairs: &[Move],
        moved: Moved,
    ) -> u64 {
        let records = list_all(store, WIDE).await;
        let dues = self.dues.lock().unwrap();
        let stored: Vec<_> = records.iter().map(|record| &record.id).collect();
        assert_eq!(stored, dues.keys().collect::<Vec<_>>(), "the records that there are");
        let mut under_new = 0;
        for (record, due) in records.iter().zip(dues.values()) {
            let columns = Record { envelope: due.record.envelope.clone(), ..record.clone() };
            assert_eq!(columns, due.record);
            let opened_by = self.opened_by(record, &due.value);
            let target = pairs.iter().find(|(old, _)| *old == due.owner).map(|(_, new)| *new);
            if target.is_some_and(|new| opened_by == [new]) {
                under_new += u64::from(target == Some(Owner::New));
                continue;
            }
            let is_due = target.is_some() && moved == Moved::All;
            assert!(!is_due, "{} of {:?} is under {opened_by:?}", record.id, due.owner);
            match due.owner {
                Owner::Nobody => assert_eq!(opened_by, []),
                owner => assert_eq!(opened_by, [owner]),
            }
            assert_eq!(record.envelope, due.record.envelope, "{} was not moved", record.id);
            under_new += u64::from(due.owner == Owner::New);
        }
        under_new
    }

    fn opened_by(&self, record: &Record, value: &[u8]) -> Vec<Owner> {
        let opens = |owner: &Owner| {
            let Ok(envelope) = Envelope::parse(&record.envelope) else { return false };
            let (key, policy) = (&self.keys[*owner as usize], policy());
            match open(&envelope, key, record.bound_to(), &policy, &mut KdfMemory::new()).unwrap() {
                OpenOutcome::Opened(opened) => {
                    assert_eq!(opened.as_bytes(), value, "the value of {}", record.id);
                    true
                }
                _ => false,
            }
        };
        Owner::WITH_PASSWORD.into_iter().filter(opens).collect()
    }

    fn seal(
        &self,
        bound_to: BoundTo<'_>,
        owner: Owner,
        value: &[u8],
        spec: &SealParams,
    ) -> EnvelopeText {
        seal(value, &self.keys[owner as usize], bound_to, spec, &mut KdfMemory::new()).unwrap()
    }
}
