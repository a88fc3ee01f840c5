//! The token API on each backend: a read and a create with a kept key, a thousand reads at once,
//! and a read from scratch.
//!
//! The floor is the store alone: the same tokens looked up, a record of the same size inserted. The
//! floor of a read from scratch is one Argon2id. The files are below the target directory. Postgres
//! is measured if `VAULTSTORE_TEST_POSTGRES_URL` names a server, as under `cargo xtask pg -- cargo
//! xtask bench tokens`.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stderr, reason = "what is left out is said")]

use std::{env, sync::Arc, time::Duration};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, measurement::WallTime};
use tokio::runtime::Runtime;
use vault_core::store::{EnvelopeText, InsertOutcome};
use vault_core::time::SystemClock;
use vault_core::token::TokenLength;
use vault_core::{
    CreateOptions, InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId,
    Timestamp, Token, Vault, VaultOptions, VaultStore,
};

/// How many records there are, and how many are read at once.
const RECORDS: usize = 1000;

const VALUE: [u8; 300] = [7; 300];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let runtime = Runtime::new().expect("a runtime can be started");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target folder can be written");
    measure(&mut criterion, &runtime, "memory", Arc::new(MemoryStore::new()));
    for backend in ["redb", "sqlite"] {
        let path = folder.path().join(format!("vault.{backend}"));
        let url = format!("{backend}:{}", path.display());
        measure(&mut criterion, &runtime, backend, store_at(&runtime, &url));
    }
    match env::var("VAULTSTORE_TEST_POSTGRES_URL") {
        Ok(url) => {
            let mark = if url.contains('?') { '&' } else { '?' };
            let number = std::process::id();
            let url = format!("{url}{mark}table=bench_{number}&meta=bench_meta_{number}");
            measure(&mut criterion, &runtime, "postgres", store_at(&runtime, &url));
        }
        Err(_) => eprintln!("no Postgres server is named, so it is left out"),
    }
    from_scratch(&mut criterion, &runtime);
    criterion.final_summary();
}

fn store_at(runtime: &Runtime, url: &str) -> Arc<dyn VaultStore> {
    let url = url
        .parse::<vaultstore::StoreUrl>()
        .expect("every backend is compiled in: use --all-features");
    runtime.block_on(url.create()).expect("a new vault can be made")
}

/// A filled vault and how to use it.
struct Bench<'r> {
    runtime: &'r Runtime,
    vault: Vault,
    key: Arc<PasswordKey>,
    tokens: Vec<Token>,
}

fn measure(
    criterion: &mut Criterion,
    runtime: &Runtime,
    backend: &str,
    store: Arc<dyn VaultStore>,
) {
    let bench = Bench::of(runtime, store);
    let mut group = timed(criterion, &format!("read on {backend}"));
    bench.read(&mut group);
    group.finish();
    let mut group = timed(criterion, &format!("read_many on {backend}"));
    bench.read_many(&mut group);
    group.finish();
    let mut group = timed(criterion, &format!("create on {backend}"));
    bench.create(&mut group);
    group.finish();
    runtime.block_on(bench.vault.store().close());
}

fn timed<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(20);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    group
}

impl<'r> Bench<'r> {
    fn of(runtime: &'r Runtime, store: Arc<dyn VaultStore>) -> Self {
        let options = VaultOptions::default();
        let vault = Vault::init(store, InitOptions::default(), options);
        let vault = runtime.block_on(vault).expect("the store is empty");
        let key = runtime.block_on(vault.derive_key(Password::new("a password")));
        let key = key.expect("there is memory for one Argon2id");
        let create = async {
            let mut tokens = Vec::with_capacity(RECORDS);
            for _ in 0..RECORDS {
                let token = vault.create(&VALUE, &key, CreateOptions::default()).await;
                tokens.push(token.expect("the store takes records"));
            }
            tokens
        };
        let tokens = runtime.block_on(create);
        Self { runtime, vault, key, tokens }
    }

    fn read(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        let mut tokens = self.tokens.iter().cycle();
        group.bench_function(BenchmarkId::new("read", 1), |bencher| {
            bencher.iter(|| {
                let token = tokens.next().expect("a cycle has no end");
                self.runtime.block_on(self.vault.read(token, &self.key)).expect("it is there")
            });
        });
        group.bench_function(BenchmarkId::new("floor", 1), |bencher| {
            bencher.iter(|| {
                let token = tokens.next().expect("a cycle has no end");
                let find = self.vault.store().find(std::slice::from_ref(token));
                self.runtime.block_on(find).expect("it is there")
            });
        });
    }

    fn read_many(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        group.bench_function(BenchmarkId::new("read_many", RECORDS), |bencher| {
            bencher.iter(|| {
                let values = self.vault.read_many(&self.tokens, &self.key);
                self.runtime.block_on(values).expect("they are there")
            });
        });
        group.bench_function(BenchmarkId::new("floor", RECORDS), |bencher| {
            bencher.iter(|| {
                self.runtime.block_on(self.vault.store().find(&self.tokens)).expect("all are there")
            });
        });
    }

    fn create(&self, group: &mut BenchmarkGroup<'_, WallTime>) {
        group.bench_function(BenchmarkId::new("create", 1), |bencher| {
            bencher.iter(|| {
                let create = self.vault.create(&VALUE, &self.key, CreateOptions::default());
                self.runtime.block_on(create).expect("the store takes records")
            });
        });
        let found = self.runtime.block_on(self.vault.store().find(&self.tokens[..1]));
        let record = found.expect("it is there").pop().flatten().expect("it is there");
        let length = record.envelope.loaded_len();
        group.bench_function(BenchmarkId::new("floor", 1), |bencher| {
            bencher.iter(|| {
                let inserted = self.vault.store().insert(vec![another(length)]);
                let outcomes = self.runtime.block_on(inserted).expect("the store takes records");
                assert_eq!(outcomes, [InsertOutcome::Inserted]);
            });
        });
    }
}

/// A new record, as large as those of the vault.
fn another(length: usize) -> Record {
    let now: Timestamp = vault_core::time::Clock::now(&SystemClock);
    Record {
        id: RecordId::generate(now).expect("the system has randomness"),
        token: Token::generate(TokenLength::default()).expect("the system has randomness"),
        envelope: EnvelopeText::from_stored(vec![b'x'; length]),
        created_at: now,
        updated_at: now,
        expires_at: None,
        soft_deleted_at: None,
    }
}

/// A newly typed password and one value, in memory, at the default cost.
fn from_scratch(criterion: &mut Criterion, runtime: &Runtime) {
    let bench = Bench::of(runtime, Arc::new(MemoryStore::new()));
    let mut group = timed(criterion, "read from scratch");
    group.bench_function(BenchmarkId::new("read", "default"), |bencher| {
        bencher.iter(|| {
            let read = async {
                let key = bench.vault.derive_key(Password::new("a password")).await?;
                bench.vault.read(&bench.tokens[0], &key).await
            };
            runtime.block_on(read).expect("it is there")
        });
    });
    let cost = KdfParams::DEFAULT;
    let params =
        Params::new(cost.m_cost(), cost.t_cost(), cost.p_cost(), None).expect("a preset is valid");
    let mut blocks = vec![Block::new(); params.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    group.bench_function(BenchmarkId::new("floor", "default"), |bencher| {
        let mut key = [0; 32];
        bencher.iter(|| {
            let (password, salt) = (b"a password", [7; 16]);
            argon2
                .hash_password_into_with_memory(password, &salt, &mut key, blocks.as_mut_slice())
                .expect("the parameters are valid");
            key
        });
    });
    group.finish();
}
