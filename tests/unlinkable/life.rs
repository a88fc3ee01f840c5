//! The life of a vault before a thief takes its files.

use std::{collections::HashMap, sync::Arc};

use vaultstore::store::{PageLimit, ScrubOptions};
use vaultstore::{
    CreateOptions, InitOptions, KdfParams, MemoryStore, Password, Record, RekeyPlan, StoreUrl,
    Token, Vault, VaultOptions, VaultStore,
};

use crate::files;
use crate::thief::Sample;

const RECORDS: usize = 6000;

/// A third is under the password that is changed.
const PASSWORDS: usize = 3;

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
    /// A rekey and a scrub, while another process has the vault open.
    ScrubWithLog,
}

/// Plays the life of a vault, and looks at its files.
pub(crate) async fn live(kind: Kind, after: After) -> Sample {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("vault");
    let scheme = if kind == Kind::Redb { "redb" } else { "sqlite" };
    let url: StoreUrl = format!("{scheme}:{}", file.display()).parse().unwrap();
    let owners = fill(&url).await;
    // It reads once, so that it is there, and then holds nothing but the file.
    let other = match after {
        After::RekeyWithLog | After::ScrubWithLog => Some(url.open().await.unwrap()),
        _ => None,
    };
    if let Some(other) = &other {
        other.count().await.unwrap();
    }
    let vault = Vault::new(url.open().await.unwrap(), VaultOptions::default());
    if after != After::Nothing {
        let plan = RekeyPlan::new().pair(password(0), Password::new("another one"));
        let report = vault.rekey(plan).await.unwrap().run().await.unwrap();
        let moved = owners.values().filter(|owner| **owner == 0).count();
        assert_eq!(report.counts.rekeyed, moved as u64);
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

fn password(number: usize) -> Password {
    Password::new(format!("password {number}"))
}

/// Fills a new vault; who wrote a record is drawn, and is found by its token.
async fn fill(url: &StoreUrl) -> HashMap<Token, usize> {
    let cost = KdfParams::new(19_456, 2, 1).unwrap();
    let made = MemoryStore::new();
    let new = InitOptions::default().cost(cost);
    let vault = Vault::init(made.clone(), new, VaultOptions::default()).await.unwrap();
    let mut keys = Vec::new();
    for number in 0..PASSWORDS {
        keys.push(vault.derive_key(password(number)).await.unwrap());
    }
    let mut owners = HashMap::new();
    for (number, owner) in drawn().into_iter().enumerate() {
        // So short that a rekey writes fewer pages than make SQLite take its log in by itself.
        let value = [u8::try_from(number % 251).unwrap(); 200];
        let key = Arc::clone(&keys[owner]);
        let token = vault.create(&value, &key, CreateOptions::default()).await.unwrap();
        owners.insert(token, owner);
    }
    let settings = made.settings().await.unwrap();
    let store = url.create_with(&settings).await.unwrap();
    for step in all(&made).await.chunks(STEP) {
        store.insert(step.to_vec()).await.unwrap();
    }
    store.close().await;
    owners
}

/// A third of the numbers, at random places, is 0.
fn drawn() -> Vec<usize> {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new();
    let mut places: Vec<usize> = (0..RECORDS).collect();
    places.sort_by_key(|place| random.hash_one(place));
    places.into_iter().map(|place| place % PASSWORDS).collect()
}

async fn all(store: &dyn VaultStore) -> Vec<Record> {
    store.list(None, PageLimit::new(usize::MAX, usize::MAX)).await.unwrap().records
}
