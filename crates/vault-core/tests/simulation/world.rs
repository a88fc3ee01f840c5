//! A small vault, the writers beside its rekeyers, and the ledger of what every record must be.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use vault_core::{
    DeleteOutcome, Envelope, EnvelopeText, InsertOutcome, KdfMemory, KdfParams, MemoryStore,
    OpenOutcome, OpenPolicy, Padding, PageLimit, Password, Record, RecordChange, RecordId,
    RecordSource, SealSpec, Timestamp, Token, V2Cost, VaultKdf, VaultKey, VaultStore, WriteOutcome,
    open, seal,
};

use crate::{
    chance::Chance,
    counters::{Counters, add},
    store::now,
};

/// Whose record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Old,
    New,
    /// The new password of another rekeyer from the same old one.
    Rival,
    Foreign,
    Nobody,
}

const WITH_PASSWORD: [Owner; 4] = [Owner::Old, Owner::New, Owner::Rival, Owner::Foreign];

impl Owner {
    pub(crate) fn password(self) -> Password {
        Password::new(format!("the password of {self:?}"))
    }
}

/// What must not happen.
pub(crate) type Violation = String;

/// Ends a check with a violation unless a condition holds.
#[macro_export]
macro_rules! ensure {
    ($condition:expr, $($why:tt)*) => {
        if !$condition {
            return Err(format!($($why)*));
        }
    };
}

/// One salt and four keys for all histories: masters are derived once.
static KEYS: LazyLock<[VaultKey; 4]> =
    LazyLock::new(|| WITH_PASSWORD.map(|owner| VaultKey::new(owner.password())));
static SPEC: LazyLock<SealSpec> = LazyLock::new(|| {
    let kdf = VaultKdf::generate(KdfParams::new(8, 1, 1).unwrap()).unwrap();
    SealSpec::V3 { kdf, padding: Padding::None }
});
static POLICY: LazyLock<OpenPolicy> = LazyLock::new(|| OpenPolicy {
    v2_costs: vec![V2Cost::new(SPEC.params())],
    ..OpenPolicy::default()
});

pub(crate) fn policy() -> OpenPolicy {
    POLICY.clone()
}

pub(crate) fn spec() -> SealSpec {
    *SPEC
}

struct Due {
    owner: Owner,
    value: Vec<u8>,
    /// As a writer left it.
    record: Record,
    born_at: u64,
    /// When a writer sealed it last.
    sealed_at: u64,
}

/// A writer that has read a record and not yet written it.
struct Intent {
    id: RecordId,
    expected: Option<EnvelopeText>,
}

pub(crate) struct World {
    pub(crate) store: MemoryStore,
    counters: Arc<Counters>,
    ledger: BTreeMap<RecordId, Due>,
    intent: Option<Intent>,
    /// Counts what was done: the only time there is.
    pub(crate) time: u64,
    /// How many records there ever were.
    pub(crate) born: u64,
    /// How often one was written again.
    pub(crate) rewritten: u64,
    /// One record in so many is sealed as v2; 0 is none.
    v2_rarity: usize,
}

impl World {
    pub(crate) fn new(chance: &mut Chance, counters: Arc<Counters>) -> Self {
        let owners =
            [Owner::Old, Owner::Old, Owner::Old, Owner::New, Owner::Foreign, Owner::Nobody];
        Self::of(chance, counters, &owners)
    }

    /// Up to twelve records of these owners.
    pub(crate) fn of(chance: &mut Chance, counters: Arc<Counters>, owners: &[Owner]) -> Self {
        let mut world = Self {
            store: MemoryStore::new(),
            counters,
            ledger: BTreeMap::new(),
            intent: None,
            time: 1,
            born: 0,
            rewritten: 0,
            v2_rarity: chance.pick(&[0, 0, 0, 2]),
        };
        for _ in 0..chance.below(13) {
            let owner = chance.pick(owners);
            world.insert(chance, owner);
        }
        world
    }

    /// One act of a writer.
    pub(crate) fn write(&mut self, chance: &mut Chance) {
        self.time += 1;
        if let Some(intent) = self.intent.take() {
            return self.update(chance, intent);
        }
        let Some(id) = self.any_id(chance) else { return self.insert(chance, Owner::Old) };
        match chance.below(10) {
            0..6 => {
                let stored = now(self.store.read_records(std::slice::from_ref(&id))).remove(0);
                // Some writers take what is there for granted.
                let expected = if chance.one_in(3) { None } else { stored.map(|r| r.envelope) };
                self.intent = Some(Intent { id, expected });
            }
            6 => self.delete(&id),
            7 => self.hide(&id),
            _ => {
                let owner = chance.pick(&[Owner::Old, Owner::Old, Owner::New, Owner::Foreign]);
                self.insert(chance, owner);
            }
        }
    }

    fn any_id(&self, chance: &mut Chance) -> Option<RecordId> {
        let nth = chance.below(self.ledger.len().max(1));
        self.ledger.keys().nth(nth).cloned()
    }

    /// Anywhere in the order of ids, and so before or behind a rekeyer's cursor.
    fn insert(&mut self, chance: &mut Chance, owner: Owner) {
        let id = RecordId::from_stored(format!("{:03}-{:04}", chance.below(1000), self.born));
        let value = self.value();
        let time = Timestamp::from_micros(1_700_000_000_000_000);
        let expires_at = chance.one_in(10).then_some(time);
        let mut envelope = self.sealed(chance, &id, owner, &value);
        if owner == Owner::Nobody {
            let mut text = envelope.as_bytes().unwrap().to_vec();
            match chance.below(3) {
                0 => text[140] = if text[140] == b'A' { b'B' } else { b'A' },
                1 => text.truncate(chance.below(text.len())),
                _ => text[1] = b'9',
            }
            envelope = EnvelopeText::from_stored(text);
        }
        let record = Record {
            token: Token::new(format!("tk_{id}")).unwrap(),
            id,
            envelope,
            created_at: time,
            updated_at: time,
            expires_at,
            soft_deleted_at: None,
        };
        assert_eq!(now(self.store.insert(vec![record.clone()])), [InsertOutcome::Inserted]);
        self.born += 1;
        add(&self.counters.writes_acknowledged, 1);
        let due = Due { owner, value, record, born_at: self.time, sealed_at: self.time };
        self.ledger.insert(due.record.id.clone(), due);
    }

    fn update(&mut self, chance: &mut Chance, intent: Intent) {
        let Intent { id, expected } = intent;
        let owner = chance.pick(&[Owner::Old, Owner::Old, Owner::New, Owner::Foreign]);
        let value = self.value();
        let envelope = self.sealed(chance, &id, owner, &value);
        let updated_at = Timestamp::from_micros(1_800_000_000_000_000);
        let update = RecordChange {
            expected,
            envelope: Some(envelope.clone()),
            updated_at: Some(updated_at),
            ..RecordChange::of(id.clone())
        };
        match now(self.store.update(update)) {
            WriteOutcome::Applied => {
                add(&self.counters.writes_acknowledged, 1);
                self.rewritten += 1;
                if let Some(due) = self.ledger.get_mut(&id) {
                    (due.owner, due.value, due.sealed_at) = (owner, value, self.time);
                    (due.record.envelope, due.record.updated_at) = (envelope, updated_at);
                }
            }
            WriteOutcome::Conflict => add(&self.counters.writers_conflicts, 1),
            WriteOutcome::Missing => {}
        }
    }

    fn delete(&mut self, id: &RecordId) {
        assert_eq!(now(self.store.delete(id)), DeleteOutcome::Deleted);
        add(&self.counters.writes_acknowledged, 1);
        self.ledger.remove(id);
    }

    fn hide(&mut self, id: &RecordId) {
        let soft_deleted_at = Some(Some(Timestamp::from_micros(1_750_000_000_000_000)));
        let change = RecordChange { soft_deleted_at, ..RecordChange::of(id.clone()) };
        assert_eq!(now(self.store.update(change)), WriteOutcome::Applied);
        if let Some(due) = self.ledger.get_mut(id) {
            due.record.soft_deleted_at = soft_deleted_at.flatten();
        }
    }

    fn sealed(
        &self,
        chance: &mut Chance,
        id: &RecordId,
        owner: Owner,
        value: &[u8],
    ) -> EnvelopeText {
        // Nobody's record is spoiled afterwards, which only v3 tells.
        let v2 = owner != Owner::Nobody && chance.one_in(self.v2_rarity);
        let spec = if v2 { SealSpec::V2 { params: SPEC.params() } } else { *SPEC };
        let key = &KEYS[if owner == Owner::Nobody { 0 } else { owner as usize }];
        seal(value, key, id, &spec, &mut KdfMemory::new()).unwrap()
    }

    /// A value that no other write has.
    fn value(&self) -> Vec<u8> {
        format!("value {} at {}", self.born, self.time).into_bytes()
    }

    /// How many records a writer sealed last under this password.
    pub(crate) fn owned_by(&self, owner: Owner) -> u64 {
        self.ledger.values().filter(|due| due.owner == owner).count() as u64
    }

    /// How many records were there at this time and still are.
    pub(crate) fn present_since(&self, time: u64) -> u64 {
        self.ledger.values().filter(|due| due.born_at < time).count() as u64
    }

    /// No record that a writer last sealed before this time still opens under the old password.
    pub(crate) fn check_nothing_missed(&self, since: u64) -> Result<(), Violation> {
        for record in self.records() {
            let Some(due) = self.ledger.get(&record.id) else { continue };
            if due.owner == Owner::Old && due.sealed_at < since {
                ensure!(
                    opened_by(&record, Owner::Old).is_none(),
                    "a complete rekey missed {}",
                    record.id
                );
            }
        }
        Ok(())
    }

    /// Every record is under its own password or the one that a plan of pairs moves it to, never further; how many are
    /// under the latter.
    pub(crate) fn check_moved_once(&self, pairs: &[(Owner, Owner)]) -> Result<u64, Violation> {
        let mut moved = 0;
        for record in self.records() {
            let Some(due) = self.ledger.get(&record.id) else { continue };
            let target = pairs.iter().find(|(old, _)| *old == due.owner).map(|(_, new)| *new);
            let opener = WITH_PASSWORD.into_iter().find(|o| opened_by(&record, *o).is_some());
            ensure!(
                opener == Some(due.owner) || opener.is_some() && opener == target,
                "{} of {:?} is under {opener:?}",
                record.id,
                due.owner
            );
            ensure!(
                opener.and_then(|opener| opened_by(&record, opener)).as_ref() == Some(&due.value),
                "the value of {} is lost",
                record.id
            );
            moved += u64::from(opener == target);
        }
        Ok(moved)
    }

    /// Every record is there with its last acknowledged value, under exactly one password, which may have changed
    /// from the old to a new one only; nothing else changed, and none is there beside them.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        let records = self.records();
        let stored: Vec<_> = records.iter().map(|record| &record.id).collect();
        ensure!(stored.iter().copied().eq(self.ledger.keys()), "records came or went: {stored:?}");
        for (record, due) in records.iter().zip(self.ledger.values()) {
            let id = &record.id;
            let columns = Record { envelope: due.record.envelope.clone(), ..record.clone() };
            ensure!(columns == due.record, "a column of {id} changed");
            if due.owner != Owner::Old {
                ensure!(record.envelope == due.record.envelope, "{id} of {:?} changed", due.owner);
                continue;
            }
            let openers: Vec<_> = WITH_PASSWORD
                .into_iter()
                .filter_map(|owner| Some((owner, opened_by(record, owner)?)))
                .collect();
            let [(opener, value)] = openers.as_slice() else {
                return Err(format!("{id} opens under {} passwords", openers.len()));
            };
            ensure!(*value == due.value, "the last update of {id} is lost");
            ensure!(*opener == Owner::New || *opener == Owner::Rival, "{id} under {opener:?}");
        }
        Ok(())
    }

    fn records(&self) -> Vec<Record> {
        now(self.store.list(None, PageLimit::new(usize::MAX, usize::MAX)))
    }
}

fn opened_by(record: &Record, owner: Owner) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(&record.envelope).ok()?;
    let key = &KEYS[owner as usize];
    match open(&envelope, key, &record.id, &POLICY, &mut KdfMemory::new()).unwrap() {
        OpenOutcome::Opened(value) => Some(value.as_bytes().to_vec()),
        _ => None,
    }
}
