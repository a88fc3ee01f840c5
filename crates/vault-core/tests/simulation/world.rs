//! A small vault, the writers concurrent with its rekeyers, and the ledger of what every record
//! must be.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use vault_core::envelope::{
    Envelope, OpenOutcome, OpenPolicy, Padding, SealParams, V2Params, open, seal,
};
use vault_core::kdf::{KdfMemory, KdfSetting};
use vault_core::rekey::Shard;
use vault_core::store::BoundTo;
use vault_core::store::{
    DeleteOutcome, EnvelopeText, InsertOutcome, PageLimit, Precondition, RecordSource,
    RecordUpdate, WriteOutcome,
};
use vault_core::{
    KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, Timestamp, Token, VaultStore,
};

use crate::backend::now;
use crate::chance::Chance;
use crate::chaos::Chaos;
use crate::counters::{Counters, add};
use crate::v1::V1Pad;

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
        Password::new(self.name())
    }

    fn name(self) -> String {
        format!("the password of {self:?}")
    }
}

/// What must not happen.
pub(crate) type Violation = String;

/// From whose password to whose; later checks of a world need all pairs of all its plans.
pub(crate) type Move = (Owner, Owner);

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
static KEYS: LazyLock<[PasswordKey; 4]> =
    LazyLock::new(|| WITH_PASSWORD.map(|owner| PasswordKey::new(owner.password())));
static PADS: LazyLock<[V1Pad; 4]> =
    LazyLock::new(|| WITH_PASSWORD.map(|owner| V1Pad::of(owner.name().as_bytes())));
static SPEC: LazyLock<SealParams> = LazyLock::new(|| {
    let kdf = KdfSetting::generate(KdfParams::new(8, 1, 1).unwrap()).unwrap();
    SealParams::V3 { kdf, padding: Padding::None }
});
/// Other suites, costs and salts, as in a vault with a past: the settings are those of [`SPEC`].
static OTHERS: LazyLock<[SealParams; 3]> = LazyLock::new(|| {
    let SealParams::V3 { kdf, .. } = *SPEC else { unreachable!() };
    let v3 = |kdf, padding| SealParams::V3 { kdf, padding };
    let lower = KdfSetting { params: KdfParams::new(9, 1, 1).unwrap(), ..kdf };
    let merged = KdfSetting::generate(kdf.params).unwrap();
    [v3(kdf, Padding::Padme), v3(lower, Padding::None), v3(merged, Padding::None)]
});
static POLICY: LazyLock<OpenPolicy> =
    LazyLock::new(|| OpenPolicy::trusting().v2_costs([V2Params::new(SPEC.params())]));

pub(crate) fn policy() -> OpenPolicy {
    POLICY.clone()
}

/// What a rekey writes, and most writers.
pub(crate) fn v3() -> SealParams {
    *SPEC
}

pub(crate) fn v2() -> SealParams {
    SealParams::V2 { params: SPEC.params() }
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
    /// One record in that many is not sealed as v3; 0 is none.
    odd_format_rarity: usize,
    last_seen: Vec<Record>,
}

impl World {
    /// Up to twelve records of these owners.
    pub(crate) fn new(chance: &mut Chance, chaos: &Chaos, owners: &[Owner]) -> Self {
        let mut world = Self {
            store: vault(),
            counters: Arc::clone(&chaos.counters),
            ledger: BTreeMap::new(),
            intent: None,
            time: 1,
            born: 0,
            rewritten: 0,
            odd_format_rarity: chance.pick(&[0, 0, 8, 3]),
            last_seen: Vec::new(),
        };
        for _ in 0..chance.below(13) {
            let owner = chance.pick(owners);
            world.insert(chance, chaos, owner);
        }
        world
    }

    /// One act of a writer.
    pub(crate) fn write(&mut self, chance: &mut Chance, chaos: &Chaos) {
        self.time += 1;
        if let Some(intent) = self.intent.take() {
            return self.update(chance, intent);
        }
        let Some(id) = self.any_id(chance) else { return self.insert(chance, chaos, Owner::Old) };
        match chance.below(11) {
            0..6 => {
                let stored = now(self.store.read_records(std::slice::from_ref(&id))).remove(0);
                // Some writers take what is there for granted.
                let expected = if chance.one_in(3) { None } else { stored.map(|r| r.envelope) };
                self.intent = Some(Intent { id, expected });
            }
            6 => self.delete(&id),
            7 => self.hide(&id),
            8 => self.renew(chance, &id),
            _ => {
                let owner = chance.pick(&[Owner::Old, Owner::Old, Owner::New, Owner::Foreign]);
                self.insert(chance, chaos, owner);
            }
        }
    }

    fn any_id(&self, chance: &mut Chance) -> Option<RecordId> {
        let nth = chance.below(self.ledger.len().max(1));
        self.ledger.keys().nth(nth).cloned()
    }

    /// Anywhere in the order of ids, and so before or behind a rekeyer's cursor.
    fn insert(&mut self, chance: &mut Chance, chaos: &Chaos, owner: Owner) {
        let id = RecordId::from_stored(format!("{:03}-{:04}", chance.below(1000), self.born));
        let value = self.value(chance);
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
            token: token_of(&id),
            id,
            envelope,
            created_at: time,
            updated_at: time,
            expires_at,
            soft_deleted_at: None,
        };
        assert_eq!(now(self.store.insert(vec![record.clone()])), [InsertOutcome::Inserted]);
        self.born += 1;
        add(&self.counters.inserts, 1);
        if let Some(cursor) = &*chaos.cursor.lock().unwrap() {
            let ahead = record.id > *cursor;
            let counters = &self.counters;
            let side = if ahead {
                &counters.inserts_ahead_of_a_cursor
            } else {
                &counters.inserts_behind_a_cursor
            };
            add(side, 1);
        }
        let due = Due { owner, value, record, born_at: self.time, sealed_at: self.time };
        self.ledger.insert(due.record.id.clone(), due);
    }

    fn update(&mut self, chance: &mut Chance, intent: Intent) {
        let Intent { id, expected } = intent;
        let owner = chance.pick(&[Owner::Old, Owner::Old, Owner::New, Owner::Foreign]);
        let value = self.value(chance);
        let envelope = self.sealed(chance, &id, owner, &value);
        let updated_at = Timestamp::from_micros(1_800_000_000_000_000);
        let update = RecordUpdate {
            if_matches: Precondition { envelope: expected, ..Precondition::default() },
            envelope: Some(envelope.clone()),
            updated_at: Some(updated_at),
            ..RecordUpdate::of(id.clone())
        };
        match now(self.store.update(update)) {
            WriteOutcome::Applied => {
                add(
                    match owner {
                        Owner::Old => &self.counters.updates_under_an_old_password,
                        Owner::New => &self.counters.updates_under_a_new_password,
                        _ => &self.counters.updates_under_a_foreign_password,
                    },
                    1,
                );
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
        add(&self.counters.deletes, 1);
        self.ledger.remove(id);
    }

    fn hide(&mut self, id: &RecordId) {
        let soft_deleted_at = Some(Timestamp::from_micros(1_750_000_000_000_000));
        let change = RecordUpdate::of(id.clone()).soft_deleted_at(soft_deleted_at);
        assert_eq!(now(self.store.update(change)), WriteOutcome::Applied);
        add(&self.counters.soft_deletes, 1);
        if let Some(due) = self.ledger.get_mut(id) {
            due.record.soft_deleted_at = soft_deleted_at;
        }
    }

    fn renew(&mut self, chance: &mut Chance, id: &RecordId) {
        let expires_at = chance.pick(&[None, Some(Timestamp::from_micros(1_900_000_000_000_000))]);
        let updated_at = Timestamp::from_micros(1_850_000_000_000_000);
        let renewal = RecordUpdate::of(id.clone()).expires_at(expires_at).updated_at(updated_at);
        assert_eq!(now(self.store.update(renewal)), WriteOutcome::Applied);
        add(&self.counters.renewals, 1);
        if let Some(due) = self.ledger.get_mut(id) {
            (due.record.expires_at, due.record.updated_at) = (expires_at, updated_at);
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
        let odd = owner != Owner::Nobody && chance.one_in(self.odd_format_rarity);
        let owner = if owner == Owner::Nobody { 0 } else { owner as usize };
        let spec = match odd.then(|| chance.below(3)) {
            Some(0) => return PADS[owner].seal(value),
            Some(1) => v2(),
            Some(_) => chance.pick(&*OTHERS),
            None => v3(),
        };
        let bound_to = BoundTo { id, token: &token_of(id) };
        seal(value, &KEYS[owner], bound_to, &spec, &mut KdfMemory::new()).unwrap()
    }

    /// A value that no other write has; seldom one that is empty, or binary and larger than a page.
    fn value(&self, chance: &mut Chance) -> Vec<u8> {
        let value = format!("value {} at {}", self.born, self.time).into_bytes();
        match chance.below(40) {
            0 => Vec::new(),
            1 => [value, vec![0; 2000]].concat(),
            _ => value,
        }
    }

    /// How many records a writer sealed last under this password.
    pub(crate) fn owned_by(&self, owner: Owner) -> u64 {
        self.ledger.values().filter(|due| due.owner == owner).count() as u64
    }

    /// How many records of a shard were there at this time and still are.
    pub(crate) fn present_since(&self, time: u64, shard: Shard) -> u64 {
        let dues = self.ledger.iter().filter(|(id, due)| due.born_at < time && shard.holds(id));
        dues.count() as u64
    }

    /// No record of a shard that a writer last sealed before this time still opens under an old
    /// password.
    pub(crate) fn check_nothing_missed(
        &self,
        moves: &[Move],
        shard: Shard,
        since: u64,
    ) -> Result<(), Violation> {
        for record in self.records().iter().filter(|record| shard.holds(&record.id)) {
            let Some(due) = self.ledger.get(&record.id) else { continue };
            if due.sealed_at < since && moves.iter().any(|(old, _)| *old == due.owner) {
                let missed = opened_by(record, due.owner).is_some();
                ensure!(!missed, "a complete rekey missed {}", record.id);
            }
        }
        Ok(())
    }

    /// Whether a record did since this was last asked.
    pub(crate) fn has_changed(&mut self) -> bool {
        let records = self.records();
        let changed = records != self.last_seen;
        self.last_seen = records;
        changed
    }

    /// Every record is under its own password or the one that a plan of pairs moves it to, never
    /// further; how many are under the latter.
    pub(crate) fn check_moved_once(&self, pairs: &[Move]) -> Result<u64, Violation> {
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

    /// Every record is there with its last acknowledged value, under exactly one password: one that
    /// a plan moves it to, where there is one, else its own; nothing else changed, and none is
    /// there as well.
    pub(crate) fn check(&self, moves: &[Move]) -> Result<(), Violation> {
        let records = self.records();
        let stored: Vec<_> = records.iter().map(|record| &record.id).collect();
        ensure!(stored.iter().copied().eq(self.ledger.keys()), "records came or went: {stored:?}");
        for (record, due) in records.iter().zip(self.ledger.values()) {
            let id = &record.id;
            let columns = Record { envelope: due.record.envelope.clone(), ..record.clone() };
            ensure!(columns == due.record, "a column of {id} changed");
            if !moves.iter().any(|(old, _)| *old == due.owner) {
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
            ensure!(
                moves.contains(&(due.owner, *opener)),
                "{id} of {:?} under {opener:?}",
                due.owner
            );
            let counters = &self.counters;
            let from = match &due.record.envelope.as_bytes().unwrap()[..3] {
                b"v2:" => &counters.moved_from_v2,
                b"v3:" => &counters.moved_from_v3,
                _ => &counters.moved_from_v1,
            };
            add(from, 1);
        }
        Ok(())
    }

    /// Every record has the form in which a writer left it; v1 is never written, and became what
    /// the vault's settings say.
    pub(crate) fn check_forms(&self) -> Result<(), Violation> {
        let vaults = form(&seal_any(&v3()));
        for (record, due) in self.records().iter().zip(self.ledger.values()) {
            let (was, is) = (form(&due.record.envelope), form(&record.envelope));
            let moved_from_v1 = was == b"v1" && record.envelope != due.record.envelope;
            let due = if moved_from_v1 { &vaults } else { &was };
            ensure!(is == *due, "{} has another form than it had", record.id);
            add(&self.counters.moved_in_another_form, u64::from(is != vaults));
        }
        Ok(())
    }

    fn records(&self) -> Vec<Record> {
        now(self.store.list(None, PageLimit::new(usize::MAX, usize::MAX))).records
    }
}

/// A new vault with the settings of [`SPEC`].
fn vault() -> MemoryStore {
    let store = MemoryStore::new();
    let SealParams::V3 { kdf, .. } = *SPEC else { unreachable!() };
    let settings = [("kdf".to_owned(), kdf.to_string()), ("format".to_owned(), "v3".to_owned())];
    assert!(now(store.init_settings(&settings)));
    store
}

fn seal_any(spec: &SealParams) -> EnvelopeText {
    let id = RecordId::from_stored("any");
    let bound_to = BoundTo { id: &id, token: &token_of(&id) };
    seal(b"", &KEYS[0], bound_to, spec, &mut KdfMemory::new()).unwrap()
}

/// What anybody can read off a text: for v3 the suite, the cost and the salt, which are the first
/// 26 bytes of its header (`docs/format.md` §3.2).
fn form(text: &EnvelopeText) -> Vec<u8> {
    let text = text.as_bytes().unwrap();
    match text.strip_prefix(b"v3:") {
        Some(body) => {
            let front = body.get(..36).unwrap_or(body);
            let bytes = URL_SAFE_NO_PAD.decode(front).unwrap_or_else(|_| front.to_vec());
            bytes.get(..26).unwrap_or(&bytes).to_vec()
        }
        None if text.starts_with(b"v2:") => b"v2".to_vec(),
        None => b"v1".to_vec(),
    }
}

fn token_of(id: &RecordId) -> Token {
    Token::new(format!("tk_{id}")).unwrap()
}

fn opened_by(record: &Record, owner: Owner) -> Option<Vec<u8>> {
    let envelope = Envelope::parse(&record.envelope).ok()?;
    let key = &KEYS[owner as usize];
    match open(&envelope, key, record.bound_to(), &POLICY, &mut KdfMemory::new()).unwrap() {
        OpenOutcome::Opened(value) => Some(value.as_bytes().to_vec()),
        _ => None,
    }
}
