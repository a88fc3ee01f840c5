//! Whole files of vaults, damaged anywhere, under what the commands `list`, `census` and `rekey`
//! do.
//!
//! An input is a list of changes to a file that is made here, so that seeds are small. A panic of
//! this thread, a signal, and more memory than the limit fail the target.

use std::{
    fs,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use vault_core::census::CensusPlan;
use vault_core::envelope::OpenPolicy;
use vault_core::kdf::{KdfLimits, KdfMinimum, KdfSetting, Salt};
use vault_core::run::RunOptions;
use vault_core::store::{EnvelopeText, PageLimit};
use vault_core::{
    KdfParams, Password, PasswordKey, Record, RecordId, RekeyPlan, Timestamp, Token, Vault,
    VaultOptions, VaultStore, WriteFormat,
};
use vaultstore::backend::{RedbOptions, RedbStore, SqliteOptions, SqliteStore};

use super::sealer::{self, Damage};

/// How many records are in a file: enough for trees of several pages.
const RECORDS: usize = 40;

/// How many bytes of an input are one change, and how many changes are made at most.
const CHANGE_LEN: usize = 4;
const MAX_CHANGES: usize = 24;

/// Damages a redb vault.
pub fn redb_file(data: &[u8]) {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        Whole::made(|path| async move {
            RedbStore::create(path, RedbOptions::default()).await.expect("a new file")
        })
    });
    whole.damage_and_use(data, |path| async move {
        RedbStore::open(path, RedbOptions::default()).await.ok()
    });
}

/// Damages an SQLite vault.
pub fn sqlite_file(data: &[u8]) {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    let whole = WHOLE.get_or_init(|| {
        Whole::made(|path| async move {
            SqliteStore::create(path, SqliteOptions::default()).await.expect("a new file")
        })
    });
    whole.damage_and_use(data, |path| async move {
        SqliteStore::open(path, SqliteOptions::default()).await.ok()
    });
}

/// The bytes of an intact file, and where in it words of 8 bytes are that are not zero.
struct Whole {
    bytes: Vec<u8>,
    used: Vec<usize>,
}

impl Whole {
    fn made<S, F>(create: impl FnOnce(PathBuf) -> F) -> Self
    where
        S: VaultStore,
        F: Future<Output = S>,
    {
        let folder = tempfile::tempdir().expect("a folder for the file");
        let path = folder.path().join("vault");
        ready(async {
            let store = create(path.clone()).await;
            store.init_settings(&settings()).await.expect("it is new");
            insert(&store, RECORDS).await;
            // Pages that are free, and the trees that name them.
            for number in (0..RECORDS).step_by(5) {
                store.delete(&id(number)).await.expect("it is there");
            }
            store.close().await;
        });
        let bytes = fs::read(&path).expect("the file is there");
        let words = (0..bytes.len()).step_by(8);
        let used = words.filter(|at| bytes[*at..].iter().take(8).any(|byte| *byte != 0)).collect();
        Self { bytes, used }
    }

    /// Runs the three commands on a file with these changes.
    fn damage_and_use<S, F>(&self, data: &[u8], open: impl Fn(PathBuf) -> F)
    where
        S: VaultStore + Clone + 'static,
        F: Future<Output = Option<S>>,
    {
        let folder = tempfile::tempdir().expect("a folder for the file");
        let path = folder.path().join("vault");
        fs::write(&path, self.damaged(data)).expect("it can be written");
        ready(async {
            let Some(store) = open(path.clone()).await else { return };
            // A damaged vault may have an error for any of them; none is looked at here.
            list(&store).await;
            let vault = Vault::new(store.clone(), options());
            census(&vault).await;
            rekey(&vault).await;
            store.close().await;
        });
    }

    fn damaged(&self, data: &[u8]) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        for change in data.chunks_exact(CHANGE_LEN).take(MAX_CHANGES) {
            let [at_high, at_low, kind, value] = [change[0], change[1], change[2], change[3]];
            let number = usize::from(u16::from_be_bytes([at_high, at_low]));
            let word = self.used[number % self.used.len()];
            if kind >> 3 & 7 == 7 {
                bytes.truncate(word.max(1));
            }
            let mut of_word = bytes.iter_mut().skip(word).take(8);
            match kind >> 3 & 7 {
                4 => of_word.for_each(|byte| *byte = value),
                5 => of_word.for_each(|byte| *byte ^= value),
                how => {
                    if let Some(byte) = of_word.nth(usize::from(kind & 7)) {
                        *byte = match how {
                            0 | 1 => *byte ^ value,
                            2 => byte.wrapping_add(value),
                            _ => value,
                        };
                    }
                }
            }
        }
        bytes
    }
}

/// Every record in pages, and the settings.
async fn list(store: &impl VaultStore) {
    let mut after = None;
    while let Ok(page) = store.list(after.as_ref(), PageLimit::new(7, 1 << 20)).await {
        let Some(last) = page.last() else { break };
        // Even a damaged index gives no page twice.
        assert!(after.as_ref().is_none_or(|after| *after < last.id), "a page goes back");
        after = Some(last.id.clone());
    }
    let _ = store.settings().await;
    let _ = store.count().await;
}

async fn census(vault: &Vault) {
    let key = Arc::new(PasswordKey::new(Password::new(sealer::PASSWORD)));
    let plan = CensusPlan::new().key(key).options(RunOptions::default().without_threads());
    if let Ok(session) = vault.census(plan).await {
        let _ = session.run().await;
    }
}

async fn rekey(vault: &Vault) {
    let (old, new) = (Password::new(sealer::PASSWORD), Password::new("new"));
    let plan = RekeyPlan::new().pair(old, new).options(RunOptions::default().without_threads());
    if let Ok(session) = vault.rekey(plan).await {
        let _ = session.run().await;
    }
}

fn id(number: usize) -> RecordId {
    RecordId::from_stored(format!("0192f0c1-0000-7000-8000-{number:012}"))
}

/// Inserts records that the password opens.
pub(crate) async fn insert(store: &impl VaultStore, count: usize) {
    let now = Timestamp::from_micros(1_700_000_000_000_000);
    let record = |number: usize| {
        let (id, token) = (id(number), format!("tk_{number:029}"));
        let bound_to = (id.as_str(), token.as_str());
        let text = sealer::v3(0x01, &[b'v'; 150], Damage { at: 0, xor: 0 }, bound_to);
        Record {
            token: Token::from_stored(token),
            id,
            envelope: EnvelopeText::from_stored(text),
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        }
    };
    store.insert((0..count).map(record).collect()).await.expect("the store is new");
}

/// The settings of a vault in which the sealer seals.
pub(crate) fn settings() -> [(String, String); 2] {
    let params = KdfParams::new(sealer::M_KIB, 1, 1).expect("Argon2id is defined for it");
    let kdf = KdfSetting { params, salt: Salt::from_bytes(sealer::SALT) };
    [("kdf", kdf.to_string()), ("format", WriteFormat::V3.to_string())]
        .map(|(name, value)| (name.to_owned(), value))
}

/// What a stored header may ask for: little, so that inputs stay fast.
fn open_policy() -> OpenPolicy {
    let mut limits = KdfLimits::up_to(64).floor(KdfMinimum::NONE);
    (limits.max_t, limits.max_p, limits.max_work_kib) = (2, 4, 128);
    OpenPolicy::trusting().limits(limits)
}

pub(crate) fn options() -> VaultOptions {
    VaultOptions::default().open(open_policy())
}

/// Runs on a runtime of this thread, which SQLite's driver needs.
pub(crate) fn ready<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime starts");
    }
    RUNTIME.with(|runtime| runtime.block_on(future))
}
