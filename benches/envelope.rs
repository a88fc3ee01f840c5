//! Sealing and opening by format and size, compared with the primitives alone.
//!
//! v3 is measured with a derived key, because a vault derives once. v2 derives for every record, so
//! it is measured at the lowest Argon2id cost, which is included in its floor and also measured
//! alone under `parts`; the real cost of a v2 record is that of `kdf` on top. The floor of v3 is
//! AES-256-GCM, SHA-256 and base64 of the same bytes.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]

use std::{hint::black_box, sync::Arc, time::Duration};

use aes_gcm::{AeadInOut as _, Aes256Gcm, KeyInit as _, Nonce};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, measurement::WallTime};
use futures::executor::block_on;
use sha2::{Digest as _, Sha256};
use vault_core::envelope::{
    Envelope, OpenOutcome, OpenPolicy, Padding, SealParams, V2Params, check, open, seal,
};
use vault_core::kdf::{KdfMemory, KdfSetting};
use vault_core::rekey::RekeyMode;
use vault_core::run::RunOptions;
use vault_core::store::BoundTo;
use vault_core::store::EnvelopeText;
use vault_core::token::TokenLength;
use vault_core::{
    InitOptions, KdfParams, MemoryStore, Password, PasswordKey, Record, RecordId, RekeyPlan,
    Timestamp, Token, Vault, VaultOptions, WriteFormat,
};

const SIZES: [usize; 4] = [64, 1024, 64 * 1024, 1024 * 1024];

/// What a header, a checksum and a tag add to a value in v3.
const V3_OVERHEAD: usize = 90 + 6 + 16;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let bench = Bench::new();
    bench.parts(&mut criterion);
    bench.format(&mut criterion, "v3", &SealParams::V3 { kdf: bench.kdf, padding: Padding::None });
    bench.format(&mut criterion, "v2", &SealParams::V2 { params: bench.kdf.params });
    bench.other_password(&mut criterion);
    criterion.final_summary();
}

fn timed<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700));
    group
}

struct Bench {
    kdf: KdfSetting,
    key: PasswordKey,
    id: RecordId,
    token: Token,
    policy: OpenPolicy,
}

impl Bench {
    fn new() -> Self {
        let params = KdfParams::new(8, 1, 1).expect("the cheapest Argon2id");
        let kdf = KdfSetting::generate(params).expect("the system has randomness");
        let key = PasswordKey::new(Password::new("a password"));
        key.prepare(&kdf, &mut KdfMemory::new()).expect("there are 8 KiB");
        let policy = OpenPolicy::trusting().v2_costs([V2Params::new(params)]);
        let id = RecordId::from_stored("0192f0c1-0000-7000-8000-000000000000");
        let token = Token::from_stored("tk_0123456789abcdefghjkmnpqrstvw".to_owned());
        Self { kdf, key, id, token, policy }
    }

    fn bound_to(&self) -> BoundTo<'_> {
        BoundTo { id: &self.id, token: &self.token }
    }

    /// The components of the floors.
    fn parts(&self, criterion: &mut Criterion) {
        let mut group = timed(criterion, "parts");
        let mut memory = KdfMemory::new();
        group.bench_function(BenchmarkId::new("argon2id", self.kdf.params), |bencher| {
            bencher.iter(|| {
                PasswordKey::new(Password::new("a password")).prepare(&self.kdf, &mut memory)
            });
        });
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            let mut buffer = vec![7; size];
            let aes = Aes256Gcm::new(&[1; 32].into());
            group.bench_function(BenchmarkId::new("aes-256-gcm", size), |bencher| {
                bencher.iter(|| encrypt(&aes, &mut buffer));
            });
            group.bench_function(BenchmarkId::new("sha-256", size), |bencher| {
                bencher.iter(|| Sha256::digest(&buffer));
            });
            group.bench_function(BenchmarkId::new("base64", size), |bencher| {
                bencher.iter(|| URL_SAFE_NO_PAD.encode(&buffer));
            });
        }
        group.finish();
    }

    fn format(&self, criterion: &mut Criterion, name: &str, spec: &SealParams) {
        let mut memory = KdfMemory::new();
        let mut group = timed(criterion, &format!("{name} seal"));
        for size in SIZES {
            let value = vec![7; size];
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new("seal", size), |bencher| {
                bencher.iter(|| seal(&value, &self.key, self.bound_to(), spec, &mut memory));
            });
            group.bench_function(BenchmarkId::new("floor", size), |bencher| {
                bencher.iter(|| self.seal_floor(spec, &value, &mut memory));
            });
        }
        group.finish();
        let mut group = timed(criterion, &format!("{name} open"));
        for size in SIZES {
            let text = seal(&vec![7; size], &self.key, self.bound_to(), spec, &mut memory)
                .expect("a small value is sealed");
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new("open", size), |bencher| {
                bencher.iter(|| self.opened(&text, &mut memory));
            });
            let body = URL_SAFE_NO_PAD.encode(vec![7; size + V3_OVERHEAD]);
            group.bench_function(BenchmarkId::new("floor", size), |bencher| {
                bencher.iter(|| self.open_floor(spec, &body, &mut memory));
            });
        }
        group.finish();
    }

    fn opened(&self, text: &EnvelopeText, memory: &mut KdfMemory) -> OpenOutcome {
        let envelope = Envelope::parse(text).expect("what was sealed parses");
        let outcome = open(&envelope, &self.key, self.bound_to(), &self.policy, memory)
            .expect("there is memory");
        assert!(matches!(outcome, OpenOutcome::Opened(_)));
        outcome
    }

    fn seal_floor(&self, spec: &SealParams, value: &[u8], memory: &mut KdfMemory) -> String {
        let mut bytes = Vec::with_capacity(value.len() + V3_OVERHEAD);
        bytes.extend_from_slice(value);
        let tag = encrypt(&Aes256Gcm::new(&[1; 32].into()), &mut bytes);
        bytes.extend_from_slice(&tag);
        bytes.resize(value.len() + V3_OVERHEAD, 0);
        self.format_floor(spec, &bytes, memory);
        URL_SAFE_NO_PAD.encode(&bytes)
    }

    fn open_floor(&self, spec: &SealParams, body: &str, memory: &mut KdfMemory) -> Vec<u8> {
        let mut bytes = URL_SAFE_NO_PAD.decode(body).expect("it was encoded");
        self.format_floor(spec, &bytes, memory);
        let len = bytes.len() - V3_OVERHEAD;
        // counter mode and authentication cost the same in both directions
        encrypt(&Aes256Gcm::new(&[1; 32].into()), &mut bytes[..len]);
        bytes
    }

    /// What a format needs in addition to AES-GCM and base64.
    fn format_floor(&self, spec: &SealParams, bytes: &[u8], memory: &mut KdfMemory) {
        match spec {
            SealParams::V3 { .. } => {
                black_box(Sha256::digest(bytes));
            }
            SealParams::V2 { .. } => {
                let key = PasswordKey::new(Password::new("a password"));
                key.prepare(&self.kdf, memory).expect("there are 8 KiB");
            }
        }
    }

    /// What a rekey pays for each record that is under neither password: alone, and in the engine's
    /// groups, as the time per record without that of the store.
    fn other_password(&self, criterion: &mut Criterion) {
        let spec = SealParams::V3 { kdf: self.kdf, padding: Padding::None };
        let mut memory = KdfMemory::new();
        let text = seal(&[7; 300], &self.key, self.bound_to(), &spec, &mut memory)
            .expect("a small value is sealed");
        let other = PasswordKey::new(Password::new("another password"));
        other.prepare(&self.kdf, &mut memory).expect("there are 8 KiB");
        let mut group = timed(criterion, "v3 other password");
        group.bench_function(BenchmarkId::new("parse, check and try", 300), |bencher| {
            bencher.iter(|| {
                let envelope = Envelope::parse(&text).expect("what was sealed parses");
                let outcome = open(&envelope, &other, self.bound_to(), &self.policy, &mut memory);
                assert!(matches!(outcome, Ok(OpenOutcome::WrongPassword)));
            });
        });
        let envelope = Envelope::parse(&text).expect("what was sealed parses");
        let checked = check(&envelope, &self.policy).expect("its check holds");
        group.bench_function(BenchmarkId::new("try", 300), |bencher| {
            bencher.iter(|| checked.open(&other, self.bound_to(), &mut memory));
        });
        let body = URL_SAFE_NO_PAD.encode([7; 300 + V3_OVERHEAD]);
        group.bench_function(BenchmarkId::new("floor", 300), |bencher| {
            bencher.iter(|| Sha256::digest(URL_SAFE_NO_PAD.decode(&body).expect("it was encoded")));
        });
        let vault = self.vault_of(&text);
        group.bench_function(BenchmarkId::new("in a group", 300), |bencher| {
            bencher.iter_custom(|times| {
                let times = u32::try_from(times).expect("a few times");
                dry_run(&vault) * times / u32::try_from(IN_GROUPS).expect("a few thousand")
            });
        });
        group.finish();
    }

    /// An in-memory vault whose records all have one password. Their ids and tokens are not those
    /// of the envelope, which only the password can reveal.
    fn vault_of(&self, text: &EnvelopeText) -> Vault {
        let new = InitOptions::default().cost(self.kdf.params).format(WriteFormat::V3);
        let options = VaultOptions::default().open(OpenPolicy::trusting());
        let vault = block_on(Vault::init(Arc::new(MemoryStore::new()), new, options))
            .expect("the store is empty");
        let now = Timestamp::from_micros(0);
        let record = |_| Record {
            id: RecordId::generate(now).expect("the system has randomness"),
            token: Token::generate(TokenLength::default()).expect("the system has randomness"),
            envelope: text.clone(),
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        };
        block_on(vault.store().insert((0..IN_GROUPS).map(record).collect()))
            .expect("the store takes records");
        vault
    }
}

/// How many records are tried in groups, so that the two derivations of a run hardly matter.
const IN_GROUPS: usize = 20_000;

/// The CPU time of trying two wrong passwords on all records.
fn dry_run(vault: &Vault) -> Duration {
    let plan = RekeyPlan::new()
        .pair(Password::new("another password"), Password::new("a new password"))
        .dry_run(RekeyMode::DryRun)
        .options(RunOptions::default().without_threads());
    let session = block_on(vault.rekey(plan)).expect("the plan makes sense");
    let report = block_on(session.run()).expect("nothing fails");
    assert_eq!(report.counts.other_password, IN_GROUPS as u64);
    report.crypto_time
}

/// Bare AES-256-GCM in place.
fn encrypt(aes: &Aes256Gcm, buffer: &mut [u8]) -> [u8; 16] {
    let nonce = Nonce::from([2; 12]);
    aes.encrypt_inout_detached(&nonce, &[], buffer.into())
        .expect("the buffer is far below 64 GiB")
        .into()
}
