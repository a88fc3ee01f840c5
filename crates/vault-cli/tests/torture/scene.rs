//! A vault, the command on it, and the ledger of what every record must be.

use std::{
    collections::BTreeMap,
    env, fs,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use vaultstore::{
    Envelope, EnvelopeText, KdfMemory, NewVault, OpenOutcome, OpenPolicy, PageLimit, Password,
    Record, RecordChange, RecordId, SealSpec, Timestamp, Token, Vault, VaultKey, VaultOptions,
    VaultStore, WriteOutcome, check, seal,
};

/// The passwords by name; each has a file of that name.
pub(crate) const NAMES: [&str; 4] = ["old", "new", "rival", "other"];

/// A ledger's line: whose record it is, and its value.
#[derive(Clone)]
pub(crate) struct Due {
    pub(crate) name: &'static str,
    pub(crate) value: Vec<u8>,
}

pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) url: String,
    spec: SealSpec,
    keys: BTreeMap<&'static str, VaultKey>,
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
        let store = vaultstore::create(&url.parse().unwrap()).await.unwrap();
        let new = NewVault { cost, ..NewVault::default() };
        let vault = Vault::init(Arc::clone(&store), new, VaultOptions::default()).await.unwrap();
        let spec = vault.seal_spec().await.unwrap();
        store.close().await;
        let key = |name: &'static str| {
            (name, VaultKey::new(Password::new(format!("the password {name}"))))
        };
        let keys = NAMES.map(key).into();
        Self { folder, url, spec, keys, ledger: BTreeMap::new(), checked: 0 }
    }

    /// Adds records under these passwords in turn.
    pub(crate) async fn fill(&mut self, count: usize, names: &[&'static str]) {
        let store = self.open().await;
        let numbers: Vec<_> = (0..count).collect();
        for chunk in numbers.chunks(1000) {
            let records = chunk.iter().map(|number| {
                let name = names[number % names.len()];
                self.new_record(&format!("{number:07}"), name, format!("value {number}").as_bytes())
            });
            store.insert(records.collect()).await.unwrap();
        }
        store.close().await;
    }

    /// A record that is in the ledger from now on.
    pub(crate) fn new_record(&mut self, id: &str, name: &'static str, value: &[u8]) -> Record {
        let id = RecordId::from_stored(id);
        let envelope = self.sealed(&id, name, value);
        self.ledger.insert(id.clone(), Due { name, value: value.to_vec() });
        let time = Timestamp::from_micros(1_700_000_000_000_000);
        let token = Token::new(format!("tk_{id}")).unwrap();
        let (created_at, updated_at) = (time, time);
        Record {
            id,
            token,
            envelope,
            created_at,
            updated_at,
            expires_at: None,
            soft_deleted_at: None,
        }
    }

    /// Updates a record whatever it holds, and the ledger once that is acknowledged.
    pub(crate) async fn rewrite(
        &mut self,
        store: &dyn VaultStore,
        id: &RecordId,
        name: &'static str,
        value: &[u8],
    ) {
        let envelope = Some(self.sealed(id, name, value));
        let change = RecordChange { envelope, ..RecordChange::of(id.clone()) };
        if store.update(change).await.unwrap() == WriteOutcome::Applied {
            self.ledger.insert(id.clone(), Due { name, value: value.to_vec() });
        }
    }

    fn sealed(&self, id: &RecordId, name: &str, value: &[u8]) -> EnvelopeText {
        seal(value, &self.keys[name], id, &self.spec, &mut KdfMemory::new()).unwrap()
    }

    pub(crate) async fn open(&self) -> Arc<dyn VaultStore> {
        vaultstore::open(&self.url.parse().unwrap()).await.unwrap()
    }

    /// Every record is there, with its value, under exactly one password: its owner's, or one of those that a rekey moves
    /// it to. How many are under each is told.
    pub(crate) async fn check(&mut self, allowed: &[(&str, &str)]) -> BTreeMap<&'static str, u64> {
        let store = self.open().await;
        let mut under = BTreeMap::from(NAMES.map(|name| (name, 0)));
        let (mut last, mut seen) = (None, 0);
        loop {
            let page = store.list(last.as_ref(), PageLimit::new(5000, 8 << 20)).await.unwrap();
            let Some(end) = page.last() else { break };
            last = Some(end.id.clone());
            for record in &page {
                seen += 1;
                let due = &self.ledger[&record.id];
                let openers = self.openers(record);
                let [(name, value)] = openers.as_slice() else {
                    panic!("{} opens under {} passwords", record.id, openers.len());
                };
                assert_eq!(*value, due.value, "the value of {}", record.id);
                let moved = allowed.iter().any(|(from, to)| due.name == *from && name == to);
                assert!(
                    *name == due.name || moved,
                    "{} of {} is under {name}",
                    record.id,
                    due.name
                );
                *under.entry(name).or_default() += 1;
            }
        }
        store.close().await;
        assert_eq!(seen, self.ledger.len(), "the records that there are");
        self.checked += seen as u64;
        under
    }

    fn openers(&self, record: &Record) -> Vec<(&'static str, Vec<u8>)> {
        let envelope = Envelope::parse(&record.envelope).unwrap();
        let (policy, mut memory) = (OpenPolicy::default(), KdfMemory::new());
        let checked = check(&envelope, &policy).unwrap();
        let mut openers = Vec::new();
        for (name, key) in &self.keys {
            match checked.open(key, &record.id, &mut memory).unwrap() {
                OpenOutcome::Opened(value) => openers.push((*name, value.as_bytes().to_vec())),
                OpenOutcome::WrongPassword => {}
                other => panic!("{} is {other:?}", record.id),
            }
        }
        openers
    }

    /// The ledger after a complete rekey.
    pub(crate) fn hand_over(&mut self, from: &str, to: &'static str) {
        for due in self.ledger.values_mut().filter(|due| due.name == from) {
            due.name = to;
        }
    }

    pub(crate) fn rekey(&self, from: &str, to: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultstore"));
        command.args(["rekey", "--json", "--vault", &self.url]);
        command.args(["--old-password-file", from, "--new-password-file", to]).args(more);
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
        let folder = fs::read_dir(self.path("state/vaultstore")).unwrap();
        let paths = folder.map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|end| end == "state")).collect()
    }
}

/// The report of a rekey that ended with this code.
pub(crate) fn report(output: &Output, code: i32) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Begins, and leaves nothing running when the test fails.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        Self(command.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How long a scenario goes on: so many rounds as a test, and a time under torture.
pub(crate) struct Rounds {
    done: u32,
    least: u32,
    until: Instant,
    chance: u64,
}

impl Rounds {
    pub(crate) fn at_least(least: u32) -> Self {
        let number = |name| env::var(name).map_or(0, |text| text.parse::<u64>().unwrap());
        let seconds = Duration::from_secs(number("VAULTSTORE_TORTURE_SECONDS"));
        let chance = number("VAULTSTORE_TORTURE_SEED");
        Self { done: 0, least, until: Instant::now() + seconds, chance }
    }

    pub(crate) fn again(&mut self) -> bool {
        let again = self.done < self.least || Instant::now() < self.until;
        self.done += u32::from(again);
        again
    }

    /// A number below the bound, by `SplitMix64`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.chance;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// A line that `cargo xtask torture` collects.
pub(crate) fn figures(scenario: &str, figures: &str) {
    println!("torture: {scenario}: {figures}, lost: 0");
}

pub(crate) fn run<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(task)
}
