//! A rekey takes the same memory whatever the number of records: the peak of a process that rekeys
//! 10,000 records and that of one that rekeys 200,000 (1,000,000 when `VAULTSTORE_TORTURE_SECONDS`
//! is set) differ by less than a bound.
//!
//! The records are v3 and made when they are read, so that the store itself takes no memory. What a
//! rekey of v2 records remembers, 8 bytes for each that it tried, is no part of this. A page is
//! 1,000 records, so that both vaults fill the pages that a run holds at a time.

#![cfg(target_os = "linux")]
#![expect(clippy::print_stdout, reason = "how one process tells another one its peak")]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{
    env, fs,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use futures::executor::block_on;
use vault_conformance::{Intercept, Intercepted};
use vault_core::envelope::{Envelope, OpenOutcome, OpenPolicy, SealParams, open, seal};
use vault_core::kdf::KdfMemory;
use vault_core::rekey::RunStatus;
use vault_core::run::RunOptions;
use vault_core::store::BoundTo;
use vault_core::store::{
    EnvelopeText, HasWeight as _, Page, PageLimit, Replacement, SealedRecord, WriteOutcome,
};
use vault_core::{
    InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Query, RecordId, RekeyPlan,
    StoreError, Timestamp, Token, Vault, VaultOptions,
};

/// How far the peaks may be apart: 22 bytes for each record that one vault has more, so less than
/// its id and no envelope.
const BOUND_KIB: u64 = 4 * 1024;

const PAGE: usize = 1_000;

/// Set in the process that rekeys: how many records.
const RECORDS: &str = "VAULTSTORE_FLAT_MEMORY_RECORDS";

#[test]
fn the_peak_of_memory_does_not_grow_with_the_number_of_records() {
    if let Ok(records) = env::var(RECORDS) {
        return rekey_and_tell_the_peak(records.parse().unwrap());
    }
    let torture = env::var_os("VAULTSTORE_TORTURE_SECONDS").is_some();
    let many = if torture { 1_000_000 } else { 200_000 };
    let (of_few, of_many) = (peak_kib(10_000), peak_kib(many));
    println!("peak of 10,000 records: {of_few} KiB; of {many}: {of_many} KiB");
    // Else nothing was measured: the pages that are held at a time take more.
    assert!(of_few > 4 * 1024, "{of_few} KiB");
    assert!(of_many < of_few + BOUND_KIB, "{of_few} KiB, then {of_many} KiB");
}

/// The peak of a process of its own.
fn peak_kib(records: u64) -> u64 {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["--exact", "the_peak_of_memory_does_not_grow_with_the_number_of_records"]);
    let output = child.arg("--nocapture").env(RECORDS, records.to_string()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    let peak = told.lines().find_map(|line| line.split_once("VmHWM:"));
    peak.unwrap().1.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}

fn rekey_and_tell_the_peak(records: u64) {
    let options = || VaultOptions::default().open(OpenPolicy::trusting());
    let new = InitOptions::default().cost(KdfParams::new(8, 1, 1).unwrap());
    let store = block_on(async {
        let inner = MemoryStore::new();
        let vault = Vault::init(inner.clone(), new, options()).await.unwrap();
        let spec = vault.seal_spec().await.unwrap();
        let [old, new] = ["old", "new"].map(|password| PasswordKey::new(Password::new(password)));
        Arc::new(Intercepted(Generated {
            inner,
            spec,
            old,
            new,
            records,
            moved: AtomicU64::new(0),
        }))
    });
    let run = RunOptions::default().page_limit(PageLimit::new(PAGE, 8 << 20));
    let pair = RekeyPlan::new().pair(Password::new("old"), Password::new("new"));
    let report = block_on(async {
        let vault = Vault::new(Arc::clone(&store), options());
        let mut session = vault.rekey(pair.options(run)).await.unwrap();
        while session.step().await.unwrap().is_some() {
            // As a caller that wants to resume keeps it.
            session.state().unwrap();
        }
        session.report().clone()
    });
    assert_eq!((report.end, report.counts.rekeyed), (RunStatus::Complete, records));
    // It was read a second time, to find nothing left.
    assert_eq!((report.counts.scanned, report.catch_up_passes), (records, 1));
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    println!("\n{peak}");
}

/// Records in the order of their numbers, of which the first ones were moved.
struct Generated {
    /// Has the settings and no record.
    inner: MemoryStore,
    spec: SealParams,
    old: PasswordKey,
    new: PasswordKey,
    records: u64,
    moved: AtomicU64,
}

impl Generated {
    fn record(&self, number: u64) -> SealedRecord {
        let id = RecordId::from_stored(format!("{number:012}"));
        let key = if number < self.moved.load(Relaxed) { &self.new } else { &self.old };
        let value = format!("the value of record {number}");
        let token = token_of(&id);
        let bound_to = BoundTo { id: &id, token: &token };
        let envelope = seal(value.as_bytes(), key, bound_to, &self.spec, &mut KdfMemory::new());
        SealedRecord { id, token, envelope: envelope.unwrap() }
    }

    /// A batch holds what the last one left off before.
    fn take(&self, replacement: &Replacement) -> WriteOutcome {
        let number = self.moved.fetch_add(1, Relaxed);
        assert_eq!(number_of(&replacement.id), number);
        if number.is_multiple_of(1_000) {
            let value = format!("the value of record {number}");
            let opened = self.opened(&replacement.id, &replacement.new);
            assert_eq!(opened.as_deref(), Some(value.as_bytes()));
        }
        WriteOutcome::Applied
    }

    fn opened(&self, id: &RecordId, text: &EnvelopeText) -> Option<Vec<u8>> {
        let (envelope, policy) = (Envelope::parse(text).unwrap(), OpenPolicy::trusting());
        let bound_to = BoundTo { id, token: &token_of(id) };
        match open(&envelope, &self.new, bound_to, &policy, &mut KdfMemory::new()).unwrap() {
            OpenOutcome::Opened(value) => Some(value.as_bytes().to_vec()),
            _ => None,
        }
    }
}

fn token_of(id: &RecordId) -> Token {
    Token::from_stored(format!("tk_{id}"))
}

fn number_of(id: &RecordId) -> u64 {
    std::str::from_utf8(id.as_bytes()).unwrap().parse().unwrap()
}

impl Intercept for Generated {
    type Inner = MemoryStore;

    fn inner(&self) -> &MemoryStore {
        &self.inner
    }

    async fn read_page(
        &self,
        after: Option<&RecordId>,
        limit: PageLimit,
    ) -> Result<Page<SealedRecord>, StoreError> {
        let first = after.map_or(0, |id| number_of(id) + 1);
        let numbers = (first..self.records).take(limit.records.get());
        let mut bytes = 0;
        let fits = |record: &SealedRecord| {
            bytes += record.weight();
            bytes <= limit.bytes.get()
        };
        Ok(numbers.map(|number| self.record(number)).take_while(fits).collect())
    }

    async fn read_records(
        &self,
        ids: &[RecordId],
    ) -> Result<Vec<Option<SealedRecord>>, StoreError> {
        Ok(ids.iter().map(|id| Some(self.record(number_of(id)))).collect())
    }

    async fn swap_batch(&self, batch: Arc<[Replacement]>) -> Result<Vec<WriteOutcome>, StoreError> {
        Ok(batch.iter().map(|replacement| self.take(replacement)).collect())
    }

    async fn count_matching(&self, _: &Query, _: Timestamp) -> Result<u64, StoreError> {
        Ok(self.records)
    }
}
