//! The records of a vault to break, and what the ledger knows of each.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use vaultstore::envelope::{
    Envelope, OpenOutcome, OpenPolicy, Padding, SealParams, V2Params, check, seal,
};
use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::store::BoundTo;
use vaultstore::store::EnvelopeText;
use vaultstore::{KdfParams, Password, PasswordKey, Record, RecordId, Timestamp, Token};

/// The passwords by name; each has a file of that name.
pub(crate) const NAMES: [&str; 4] = ["old", "new", "rival", "other"];

/// The owner of a record that no password opens.
pub(crate) const DAMAGED: &str = "damaged";

/// The cost of the v2 records, which a rekey has to be told.
pub(crate) const WEAK: &str = "t=1,m=8,p=1";

/// The cost of v3 records with another salt than the vault's.
const MERGED: &str = "t=3,m=19456,p=1";

/// How many records the standard data set repeats itself after, in the order of their ids.
const CYCLE: usize = 20;

/// The length of the one long value.
const LONG: usize = 1 << 20;

/// A ledger's line: whose record it is, its value, and the record as its last writer left it.
#[derive(Clone)]
pub(crate) struct Due {
    pub(crate) name: &'static str,
    pub(crate) value: Vec<u8>,
    pub(crate) record: Record,
}

impl Due {
    /// What another program needs to check a record.
    pub(crate) fn to_json(&self) -> Value {
        let seconds = |time: Timestamp| time.as_micros() / 1_000_000;
        let record = &self.record;
        json!({
            "id": record.id.as_str(),
            "token": record.token.as_str(),
            "owner": self.name,
            "value": BASE64_STANDARD.encode(&self.value),
            "envelope": String::from_utf8_lossy(record.envelope.as_bytes().unwrap()),
            "created_at": seconds(record.created_at),
            "updated_at": seconds(record.updated_at),
            "expires_at": record.expires_at.map(seconds),
            "soft_deleted_at": record.soft_deleted_at.map(seconds),
        })
    }
}

/// What seals and opens records under each of the names.
#[derive(Clone)]
pub(crate) struct Sealer {
    spec: SealParams,
    weak: KdfParams,
    /// Another salt and cost, as of a vault that was merged into this one.
    merged: KdfSetting,
    keys: BTreeMap<&'static str, Arc<PasswordKey>>,
}

impl Sealer {
    pub(crate) fn new(spec: SealParams) -> Self {
        let key = |name: &'static str| {
            (name, Arc::new(PasswordKey::new(Password::new(format!("the password {name}")))))
        };
        let merged = KdfSetting::generate(MERGED.parse().unwrap()).unwrap();
        Self { spec, weak: WEAK.parse().unwrap(), merged, keys: NAMES.map(key).into() }
    }

    /// The record of this number in the standard data set: 40 % old, 20 % already new, 20 %
    /// foreign, 5 % each damaged, soft-deleted, expired and odd; the last three are under the old
    /// password. A quarter of the old and of the foreign are v2.
    pub(crate) fn standard(&self, number: usize) -> Due {
        let (id, value) = (format!("{number:07}"), format!("value {number}").into_bytes());
        let sound = |name| self.due(&id, name, &value);
        let past = Some(Timestamp::from_micros(1_600_000_000_000_000));
        match number % CYCLE {
            0 | 1 => self.sealed_as(&id, "old", &value, &SealParams::V2 { params: self.weak }),
            2..8 => sound("old"),
            8..12 => sound("new"),
            12 => self.sealed_as(&id, "other", &value, &SealParams::V2 { params: self.weak }),
            13 | 14 => sound("rival"),
            15 => sound("other"),
            16 => damaged(sound("old"), number / CYCLE),
            17 => {
                let due = sound("old");
                Due { record: Record { soft_deleted_at: past, ..due.record }, ..due }
            }
            18 => {
                let due = sound("old");
                Due { record: Record { expires_at: past, ..due.record }, ..due }
            }
            _ => self.odd(&id, number / CYCLE),
        }
    }

    fn odd(&self, id: &str, number: usize) -> Due {
        match number % 5 {
            0 => self.due(id, "old", b""),
            1 => self.due(id, "old", &[0]),
            // One is enough to be met, and more would be all the work.
            2 if number < 5 => self.due(id, "old", &vec![7; LONG]),
            2 => self.due(id, "old", &[0xff; 300]),
            3 => {
                let token = Token::new(format!("tk_ключ_🔑_{id}")).unwrap();
                self.sealed_for(id, token, "old", "größer 🔑".as_bytes(), &self.spec)
            }
            _ => {
                let spec = SealParams::V3 { kdf: self.merged, padding: Padding::None };
                self.sealed_as(id, "old", b"merged", &spec)
            }
        }
    }

    /// A record as the vault's writers make it.
    pub(crate) fn due(&self, id: &str, name: &'static str, value: &[u8]) -> Due {
        self.sealed_as(id, name, value, &self.spec)
    }

    fn sealed_as(&self, id: &str, name: &'static str, value: &[u8], spec: &SealParams) -> Due {
        self.sealed_for(id, Token::new(format!("tk_{id}")).unwrap(), name, value, spec)
    }

    fn sealed_for(
        &self,
        id: &str,
        token: Token,
        name: &'static str,
        value: &[u8],
        spec: &SealParams,
    ) -> Due {
        let id = RecordId::from_stored(id);
        let bound_to = BoundTo { id: &id, token: &token };
        let envelope = seal(value, &self.keys[name], bound_to, spec, &mut KdfMemory::new());
        let envelope = envelope.unwrap();
        let time = Timestamp::from_micros(1_700_000_000_000_000);
        let record = Record {
            id,
            token,
            envelope,
            created_at: time,
            updated_at: time,
            expires_at: None,
            soft_deleted_at: None,
        };
        Due { name, value: value.to_vec(), record }
    }

    /// The names that open a record, and what to.
    pub(crate) fn openers(&self, record: &Record) -> Vec<(&'static str, Vec<u8>)> {
        let envelope = Envelope::parse(&record.envelope).unwrap();
        let policy = OpenPolicy::trusting().v2_costs([V2Params::new(self.weak)]);
        let (checked, mut memory) = (check(&envelope, &policy).unwrap(), KdfMemory::new());
        let mut openers = Vec::new();
        for (name, key) in &self.keys {
            match checked.open(key, record.bound_to(), &mut memory).unwrap() {
                OpenOutcome::Opened(value) => openers.push((*name, value.as_bytes().to_vec())),
                OpenOutcome::WrongPassword => {}
                other => panic!("{} is {other:?}", record.id),
            }
        }
        openers
    }
}

/// No password opens it, each time for another reason.
fn damaged(due: Due, number: usize) -> Due {
    let mut text = due.record.envelope.as_bytes().unwrap().to_vec();
    let middle = text.len() / 2;
    // Behind the header, which says that it is of the old password.
    let behind = text.len() - 20;
    match number % 3 {
        0 => text[behind] = if text[behind] == b'A' { b'B' } else { b'A' },
        1 => text.truncate(middle),
        _ => text = b"no envelope".to_vec(),
    }
    let envelope = EnvelopeText::from_stored(text);
    Due { name: DAMAGED, value: Vec::new(), record: Record { envelope, ..due.record } }
}
