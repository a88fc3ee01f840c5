//! A vault, the command on it, and the ledger of what every record must be.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tempfile::TempDir;
use vaultstore::store::{PageLimit, Replacement, WriteOutcome};
use vaultstore::{InitOptions, Record, RecordId, Vault, VaultOptions, VaultStore};

use crate::records::{DAMAGED, Due, NAMES, Sealer, WEAK};

/// How many records are read or written at a time.
const CHUNK: usize = 1000;

pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) url: String,
    pub(crate) sealer: Sealer,
    pub(crate) ledger: BTreeMap<RecordId, Due>,
    /// Records compared with the ledger so far.
    pub(crate) checked: u64,
}

pub(crate) fn redb(folder: &TempDir) -> String {
    format!("redb:{}", folder.path().join("vault.redb").display())
}

pub(crate) fn sqlite(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("vault.sqlite").display())
}

/// Tables of their own in the database that the environment names.
pub(crate) fn postgres(_: &TempDir) -> String {
    tables_at(&pg_cluster::url_from_environment().unwrap())
}

pub(crate) fn tables_at(server: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let unique = format!("{}_{}", uuid::Uuid::now_v7().simple(), COUNT.fetch_add(1, Relaxed));
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}table=vault_{unique}&meta=meta_{unique}")
}

impl Scene {
    /// An empty vault.
    pub(crate) async fn at(url: impl FnOnce(&TempDir) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            fs::write(folder.path().join(name), format!("the password {name}\n")).unwrap();
        }
        let url = url(&folder);
        let cost = "t=2,m=19456,p=1".parse().unwrap();
        let store = url.parse::<vaultstore::StoreUrl>().unwrap().create().await.unwrap();
        let new = InitOptions::default().cost(cost);
        let vault = Vault::init(Arc::clone(&store), new, VaultOptions::default()).await.unwrap();
        let sealer = Sealer::new(vault.seal_spec().await.unwrap());
        store.close().await;
        Self { folder, url, sealer, ledger: BTreeMap::new(), checked: 0 }
    }

    /// A vault with that many records of the standard data set.
    pub(crate) async fn standard(url: impl FnOnce(&TempDir) -> String, count: usize) -> Self {
        let mut scene = Self::at(url).await;
        let sealer = scene.sealer.clone();
        scene.add((0..count).map(|number| sealer.standard(number))).await;
        scene
    }

    /// Adds sound records under these passwords in turn.
    pub(crate) async fn fill(&mut self, count: usize, names: &[&'static str]) {
        let sealer = self.sealer.clone();
        let due = |number: usize| {
            let value = format!("value {number}");
            sealer.due(&format!("{number:07}"), names[number % names.len()], value.as_bytes())
        };
        self.add((0..count).map(due)).await;
    }

    async fn add(&mut self, all: impl Iterator<Item = Due>) {
        let all: Vec<Due> = all.collect();
        let store = self.open().await;
        for chunk in all.chunks(CHUNK) {
            store.insert(chunk.iter().map(|due| due.record.clone()).collect()).await.unwrap();
        }
        store.close().await;
        self.ledger.extend(all.into_iter().map(|due| (due.record.id.clone(), due)));
    }

    /// The vault's store. On a machine that is busy enough a server does not answer at once.
    pub(crate) async fn open(&self) -> Arc<dyn VaultStore> {
        let (url, started) = (self.url.parse::<vaultstore::StoreUrl>().unwrap(), Instant::now());
        loop {
            match url.open().await {
                Ok(store) => return store,
                Err(error) => assert!(
                    error.kind().is_retryable() && started.elapsed() < Duration::from_mins(2),
                    "{error:?}"
                ),
            }
        }
    }

    /// How many records are a name's by the ledger.
    pub(crate) fn due(&self, name: &str) -> u64 {
        self.ledger.values().filter(|due| due.name == name).count() as u64
    }

    /// Every record of the ledger is there and no other, each column as it was. Its envelope is the
    /// one that its last writer left, byte for byte; or it is one of those that a rekey moves, and
    /// its value opens under exactly one password, which is a new one. How many are under each is
    /// told.
    pub(crate) async fn check(&mut self, moves: &[(&str, &str)]) -> BTreeMap<&'static str, u64> {
        let mut under: BTreeMap<_, _> =
            NAMES.into_iter().chain([DAMAGED]).map(|it| (it, 0)).collect();
        let all = self.all().await;
        for record in &all {
            let due = &self.ledger[&record.id];
            let name = if record.envelope == due.record.envelope {
                due.name
            } else {
                self.moved(record, due, moves)
            };
            let envelope = due.record.envelope.clone();
            assert_eq!(Record { envelope, ..record.clone() }, due.record, "the columns");
            *under.entry(name).or_default() += 1;
        }
        assert_eq!(all.len(), self.ledger.len(), "the records that there are");
        self.checked += all.len() as u64;
        under
    }

    fn moved(&self, record: &Record, due: &Due, moves: &[(&str, &str)]) -> &'static str {
        let (id, from) = (&record.id, due.name);
        assert!(moves.iter().any(|moved| moved.0 == from), "{id} of {from} was changed");
        let openers = self.sealer.openers(record);
        let [(to, value)] = openers.as_slice() else {
            panic!("{id} opens under {} passwords", openers.len());
        };
        assert_eq!(*value, due.value, "the value of {id}");
        assert!(moves.contains(&(from, to)), "{id} of {from} is under {to}");
        to
    }

    /// Puts the envelopes back that a rekey has changed, and forgets the states: who restores a
    /// vault starts over.
    pub(crate) async fn restore(&self) {
        let store = self.open().await;
        let back = self.all_in(&*store).await.into_iter().filter_map(|record| {
            let original = self.ledger[&record.id].record.envelope.clone();
            let changed = original != record.envelope;
            changed.then_some(Replacement {
                id: record.id,
                expected: record.envelope,
                new: original,
            })
        });
        let back: Vec<_> = back.collect();
        for chunk in back.chunks(CHUNK) {
            let outcomes = store.swap_batch(chunk.into()).await.unwrap();
            assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
        }
        store.close().await;
        for state in self.states() {
            fs::remove_file(state).unwrap();
        }
    }

    async fn all(&self) -> Vec<Record> {
        let store = self.open().await;
        let all = self.all_in(&*store).await;
        store.close().await;
        all
    }

    async fn all_in(&self, store: &dyn VaultStore) -> Vec<Record> {
        let mut all: Vec<Record> = Vec::new();
        loop {
            let last = all.last().map(|record| &record.id);
            let page = store.list(last, PageLimit::new(CHUNK, 8 << 20)).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// Leaves the vault as an SQLite file, and the ledger next to it, for a reader that shares
    /// nothing with ours, if `cargo xtask` has named a folder for them.
    pub(crate) fn leave(&self, name: &str) {
        let Some(folder) = env::var_os("VAULTSTORE_TORTURE_LEAVE").map(PathBuf::from) else {
            return;
        };
        let file = folder.join(format!("{name}.sqlite"));
        if self.url.starts_with("sqlite:") {
            fs::copy(self.path("vault.sqlite"), &file).unwrap();
        } else {
            let to = format!("sqlite:{}", file.display());
            let copied = self.command(&["copy", "--to", &to]).output().unwrap();
            assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
        }
        let ledger: Vec<_> = self.ledger.values().map(Due::to_json).collect();
        fs::write(file.with_extension("json"), serde_json::to_vec(&ledger).unwrap()).unwrap();
    }

    pub(crate) fn rekey(&self, from: &str, to: &str, more: &[&str]) -> Command {
        // The data set has v2 records below the floor, whose form is not written any more.
        let mut command = self.command(&["rekey", "--json", "--allow-marks", "--v2-preset", WEAK]);
        command.args(["--old-password-file", from, "--new-password-file", to]).args(more);
        command
    }

    /// A rekey where some records are under the new password already, which is meant.
    pub(crate) fn merge(&self, from: &str, to: &str, more: &[&str]) -> Command {
        let mut command = self.rekey(from, to, more);
        command.arg("--merge-check=off");
        command
    }

    /// The command on this vault.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultstore"));
        command.args(arguments).args(["--vault", &self.url]);
        self.at_home(command)
    }

    pub(crate) fn at_home(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).env("XDG_STATE_HOME", self.path("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The state files that are left.
    pub(crate) fn states(&self) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(self.path("state/vaultstore")) else { return Vec::new() };
        let paths = folder.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "state")).collect()
    }
}
