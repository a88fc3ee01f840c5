//! The life of a vault before a thief takes its files.

use std::{collections::HashMap, sync::Arc};

use vaultstore::envelope::{OpenPolicy, Padding, SealParams, V2Params, seal};
use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::store::{BoundTo, PageLimit, ScrubOptions};
use vaultstore::token::TokenLength;
use vaultstore::{
    InitOptions, KdfParams, Password, PasswordKey, Record, RecordId, RekeyPlan, StoreUrl,
    Timestamp, Token, Vault, VaultOptions, VaultStore,
};

use crate::files;
use crate::thief::Sample;

const RECORDS: usize = 20_000;

/// So few that a rekey writes fewer pages than make SQLite take its log in by itself.
const RECORDS_WITH_LOG: usize = 6000;

/// How many records are stored in one step.
const STEP: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Redb,
    Sqlite,
}

/// What happened to the vault before its files were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// No rekey at all.
    Nothing,
    /// A rekey; then everybody closed the vault.
    Rekey,
    /// A rekey, while another process has the vault open.
    RekeyWithLog,
    /// A rekey and a scrub; then everybody closed the vault.
    Scrub,
    /// A rekey into a new file, which then took the place of the old one.
    Rebuild,
    /// A rekey and a scrub, while another process has the vault open.
    ScrubWithLog,
}

/// How the records of a vault are sealed. Who owns a record does not depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forms {
    V3,
    V2,
    /// Half v3, half v2.
    Both,
    /// v3 at the vault's cost, which was raised after half of the records were written.
    RaisedCost,
    /// v3 under two salts, as after a copy of one vault into another.
    TwoSalts,
}

/// The life of a vault. The password of one record in `one_in` is changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) kind: Kind,
    pub(crate) forms: Forms,
    pub(crate) one_in: usize,
    pub(crate) after: After,
}

impl Life {
    fn records(self) -> usize {
        match self.after {
            After::RekeyWithLog | After::ScrubWithLog => RECORDS_WITH_LOG,
            _ => RECORDS,
        }
    }
}

/// Plays the life of a vault, and looks at its files.
pub(crate) async fn live(life: Life) -> Sample {
    let Life { kind, after, .. } = life;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vault");
    let scheme = if kind == Kind::Redb { "redb" } else { "sqlite" };
    let url: StoreUrl = format!("{scheme}:{}", file.display()).parse().unwrap();
    let owners = fill(&url, life).await;
    // It reads once, so that it is there, and then holds nothing but the file.
    let other = match after {
        After::RekeyWithLog | After::ScrubWithLog => Some(url.open().await.unwrap()),
        _ => None,
    };
    if let Some(other) = &other {
        other.count().await.unwrap();
    }
    let vault = Vault::new(url.open().await.unwrap(), options());
    let moved = owners.values().filter(|owner| **owner == 0).count() as u64;
    match after {
        After::Nothing => {}
        After::Rebuild => {
            let staged = vault.store().stage().await.unwrap();
            assert_eq!(rekey(&Vault::new(Arc::clone(&staged), options())).await, moved);
            assert!(staged.publish(ScrubOptions::default()).await.unwrap().is_complete());
        }
        _ => assert_eq!(rekey(&vault).await, moved),
    }
    if matches!(after, After::Scrub | After::ScrubWithLog) {
        assert!(vault.scrub(ScrubOptions::default()).await.unwrap().is_complete());
    }
    let records = all(&**vault.store()).await;
    vault.store().close().await;
    drop(vault);
    let moved = records.iter().map(|record| owners[&record.token] == 0).collect();
    let sample = files::look(&file, &records, moved);
    if let Some(other) = other {
        other.close().await;
    }
    sample
}

/// How many records a rekey moved.
async fn rekey(vault: &Vault) -> u64 {
    let plan = RekeyPlan::new().pair(password(0), Password::new("another one"));
    vault.rekey(plan).await.unwrap().run().await.unwrap().counts.rekeyed
}

fn password(number: usize) -> Password {
    Password::new(format!("password {number}"))
}

/// No cost is too low here.
fn options() -> VaultOptions {
    let cheap = V2Params::new(KdfParams::insecure_for_tests());
    VaultOptions::default().open(OpenPolicy::trusting().v2_costs([cheap]))
}

/// Fills a new vault; who wrote a record is drawn, and is found by its token.
async fn fill(url: &StoreUrl, life: Life) -> HashMap<Token, usize> {
    let settings = InitOptions::insecure_for_tests().settings(&options()).unwrap();
    let kdf = settings.iter().find(|(name, _)| name == "kdf").unwrap().1.parse().unwrap();
    let specs = specs(life.forms, kdf);
    let keys: Vec<_> = (0..3).map(|number| PasswordKey::new(password(number))).collect();
    let mut memory = KdfMemory::new();
    let (now, length) = (Timestamp::from_micros(1_700_000_000_000_000), TokenLength::default());
    let mut owners = HashMap::new();
    let mut records = Vec::new();
    let numbers =
        drawn(life.records(), |place| if place % life.one_in == 0 { 0 } else { 1 + place % 2 });
    for (number, (owner, spec)) in
        numbers.into_iter().zip(drawn(life.records(), |place| place % 2)).enumerate()
    {
        let value = [u8::try_from(number % 251).unwrap(); 200];
        let (id, token) = (RecordId::generate(now).unwrap(), Token::generate(length).unwrap());
        let bound_to = BoundTo { id: &id, token: &token };
        let envelope = seal(&value, &keys[owner], bound_to, &specs[spec], &mut memory).unwrap();
        owners.insert(token.clone(), owner);
        records.push(Record {
            id,
            token,
            envelope,
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        });
    }
    let store = url.create_with(&settings).await.unwrap();
    for step in records.chunks(STEP) {
        store.insert(step.to_vec()).await.unwrap();
    }
    store.close().await;
    owners
}

/// The two ways in which records are sealed.
fn specs(forms: Forms, kdf: KdfSetting) -> [SealParams; 2] {
    let v3 = |kdf| SealParams::V3 { kdf, padding: Padding::None };
    let v2 = SealParams::V2 { params: kdf.params };
    match forms {
        Forms::V3 => [v3(kdf); 2],
        Forms::V2 => [v2; 2],
        Forms::Both => [v3(kdf), v2],
        Forms::RaisedCost => {
            [v3(kdf), v3(KdfSetting { params: KdfParams::new(8, 2, 1).unwrap(), ..kdf })]
        }
        Forms::TwoSalts => [v3(kdf), v3(KdfSetting::generate(kdf.params).unwrap())],
    }
}

/// The numbers of as many places, in a random order.
fn drawn(records: usize, number: impl Fn(usize) -> usize) -> Vec<usize> {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new();
    let mut places: Vec<usize> = (0..records).collect();
    places.sort_by_key(|place| random.hash_one(place));
    places.into_iter().map(number).collect()
}

async fn all(store: &dyn VaultStore) -> Vec<Record> {
    store.list(None, PageLimit::new(usize::MAX, usize::MAX)).await.unwrap().records
}
