//! A bulk rekey of v3 records of 300 bytes, half of which match, in memory and on redb.
//!
//! The floor is the store alone: the same records read in pages of the same size, and half of them
//! written back changed, without any cryptography; the next page is read while one is written. The
//! redb files are below the target directory.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::{
    env,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, measurement::WallTime};
use futures::executor::block_on;
use vault_core::envelope::{OpenPolicy, SealParams, seal};
use vault_core::kdf::KdfMemory;
use vault_core::run::RunOptions;
use vault_core::store::BoundTo;
use vault_core::store::{EnvelopeText, InsertOutcome, PageLimit, Replacement, WriteOutcome};
use vault_core::token::TokenLength;
use vault_core::{
    InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, RekeyPlan,
    Timestamp, Token, Vault, VaultOptions, VaultStore, WriteFormat,
};
use vault_redb::{RedbOptions, RedbStore};

/// The number of records.
const SIZES: [usize; 2] = [10_000, 100_000];

/// The same, if every bench only has to run once.
const TEST_SIZES: [usize; 1] = [1_000];

const VALUE_LEN: usize = 300;

/// How many records are inserted at once.
const FILL: usize = 10_000;

/// The password of the records that do not match.
const BYSTANDER: &str = "of another user";

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let is_test = env::args().any(|argument| argument == "--test");
    let sizes: &[usize] = if is_test { &TEST_SIZES } else { &SIZES };
    let mut group = timed(&mut criterion, "rekey on memory");
    for size in sizes {
        measure(&mut group, *size, || Arc::new(MemoryStore::new()));
    }
    group.finish();
    let mut group = timed(&mut criterion, "rekey on redb");
    for size in sizes {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))
            .expect("the target folder can be written");
        let mut files = 0;
        measure(&mut group, *size, || {
            files += 1;
            redb(&folder.path().join(format!("{files}.redb")))
        });
    }
    group.finish();
    criterion.final_summary();
}

fn timed<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(4));
    group
}

fn redb(path: &Path) -> Arc<dyn VaultStore> {
    Arc::new(
        block_on(RedbStore::create(path, RedbOptions::default())).expect("a new file can be made"),
    )
}

/// The rekey and its floor, each on a separate store with the same records.
fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    records: usize,
    mut new_store: impl FnMut() -> Arc<dyn VaultStore>,
) {
    let mut passwords = ["the old one", "the new one"];
    let vault = filled(new_store(), records, passwords[0]);
    group.bench_function(BenchmarkId::new("rekey", records), |bencher| {
        bencher.iter_custom(|times| {
            // back and forth, so that every run has the same work
            (0..times).map(|_| rekey(&vault, records, &mut passwords)).sum()
        });
    });
    drop(vault);
    let vault = filled(new_store(), records, passwords[0]);
    group.bench_function(BenchmarkId::new("floor", records), |bencher| {
        bencher.iter_custom(|times| (0..times).map(|_| floor(&**vault.store(), records)).sum());
    });
}

fn filled(store: Arc<dyn VaultStore>, records: usize, password: &str) -> Vault {
    let cost = KdfParams::new(8, 1, 1).expect("the cheapest Argon2id");
    let options = VaultOptions::default().open(OpenPolicy::trusting());
    let new = InitOptions::default().cost(cost).format(WriteFormat::V3);
    let vault = block_on(Vault::init(store, new, options)).expect("the store is empty");
    let spec = block_on(vault.seal_spec()).expect("the vault is new");
    let keys = [password, BYSTANDER].map(|password| PasswordKey::new(Password::new(password)));
    let mut memory = KdfMemory::new();
    for begin in (0..records).step_by(FILL) {
        let numbers = begin..records.min(begin + FILL);
        let page =
            numbers.map(|number| record(number, &keys[number % 2], &spec, &mut memory)).collect();
        let outcomes = block_on(vault.store().insert(page)).expect("the store takes records");
        assert!(outcomes.iter().all(|outcome| *outcome == InsertOutcome::Inserted));
    }
    vault
}

fn record(number: usize, key: &PasswordKey, spec: &SealParams, memory: &mut KdfMemory) -> Record {
    let millis = i64::try_from(number).expect("a number of records");
    let now = Timestamp::from_micros(millis * 1000);
    let id = RecordId::generate(now).expect("the system has randomness");
    let token = Token::generate(TokenLength::default()).expect("the system has randomness");
    let bound_to = BoundTo { id: &id, token: &token };
    let envelope =
        seal(&[7; VALUE_LEN], key, bound_to, spec, memory).expect("a small value is sealed");
    Record {
        id,
        token,
        envelope,
        created_at: now,
        updated_at: now,
        expires_at: None,
        soft_deleted_at: None,
    }
}

/// One whole run; the passwords are swapped.
fn rekey(vault: &Vault, records: usize, passwords: &mut [&str; 2]) -> Duration {
    let [old, new] = *passwords;
    let plan = RekeyPlan::new().pair(Password::new(old), Password::new(new));
    let started = Instant::now();
    let session = block_on(vault.rekey(plan)).expect("the plan makes sense");
    let report = block_on(session.run()).expect("nothing fails");
    let took = started.elapsed();
    assert_eq!(report.counts.rekeyed, records.div_ceil(2) as u64);
    passwords.swap(0, 1);
    took
}

/// Reads the same pages and rewrites the same rows, without any cryptography.
fn floor(store: &dyn VaultStore, records: usize) -> Duration {
    let limit = PageLimit::new(RunOptions::DEFAULT_PAGE_RECORDS, RunOptions::DEFAULT_PAGE_BYTES);
    let mut written = 0;
    let started = Instant::now();
    let mut page = block_on(store.read_page(None, limit)).expect("the store can be read");
    while let Some(end) = page.last() {
        let after = end.id.clone();
        let batch: Arc<[Replacement]> = page
            .into_iter()
            .step_by(2)
            .map(|record| Replacement {
                new: changed(&record.envelope),
                id: record.id,
                expected: record.envelope,
            })
            .collect();
        let (next, outcomes) = block_on(async {
            futures::join!(store.read_page(Some(&after), limit), store.swap_batch(batch))
        });
        let outcomes = outcomes.expect("the store can be written");
        assert!(outcomes.iter().all(|outcome| *outcome == WriteOutcome::Applied));
        written += outcomes.len();
        page = next.expect("the store can be read");
    }
    let took = started.elapsed();
    assert!(written * 2 >= records);
    took
}

/// Another envelope of the same length, as a rekey writes.
fn changed(envelope: &EnvelopeText) -> EnvelopeText {
    let mut bytes = envelope.as_bytes().expect("it was loaded").to_vec();
    if let Some(last) = bytes.last_mut() {
        *last ^= 1;
    }
    EnvelopeText::from_stored(bytes)
}
