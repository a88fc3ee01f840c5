//! One Argon2id per preset: in memory allocated for each, and in memory kept between them.
//!
//! The floor is the `argon2` crate alone, in memory that is kept. `default` and `rfc9106_second`
//! are the same cost. The 2 GiB of `rfc9106_first` are allocated only if `VAULTSTORE_BENCH_2GIB` is
//! set.

#![expect(clippy::expect_used, reason = "a bench that cannot be set up has nothing to measure")]
#![expect(clippy::print_stderr, reason = "what is left out is said")]

use std::{env, time::Duration};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use criterion::{BenchmarkGroup, Criterion, SamplingMode, measurement::WallTime};
use vault_core::kdf::{KdfMemory, KdfSetting, Salt};
use vault_core::{KdfParams, Password, PasswordKey};

const PASSWORD: &str = "a password";
const SALT: [u8; Salt::LEN] = [7; Salt::LEN];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut presets = vec![
        ("lightweight", KdfParams::LIGHTWEIGHT),
        ("default", KdfParams::DEFAULT),
        ("high_security", KdfParams::HIGH_SECURITY),
    ];
    if env::var_os("VAULTSTORE_BENCH_2GIB").is_some() {
        presets.push(("rfc9106_first", KdfParams::RFC9106_FIRST));
    } else {
        eprintln!(
            "rfc9106_first takes 2 GiB and is left out; set VAULTSTORE_BENCH_2GIB=1 to measure it"
        );
    }
    let mut group = criterion.benchmark_group("argon2id");
    group.sampling_mode(SamplingMode::Flat).sample_size(10);
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (name, params) in presets {
        measure(&mut group, name, params);
    }
    group.finish();
    criterion.final_summary();
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, params: KdfParams) {
    let kdf = KdfSetting { params, salt: Salt::from_bytes(SALT) };
    let derive = |memory: &mut KdfMemory| {
        PasswordKey::new(Password::new(PASSWORD)).prepare(&kdf, memory).expect("there is memory");
    };
    group.bench_function(criterion::BenchmarkId::new("fresh memory", name), |bencher| {
        bencher.iter(|| derive(&mut KdfMemory::new()));
    });
    let mut memory = KdfMemory::new();
    group.bench_function(criterion::BenchmarkId::new("memory kept", name), |bencher| {
        bencher.iter(|| derive(&mut memory));
    });
    drop(memory);
    let bare = Params::new(params.m_cost(), params.t_cost(), params.p_cost(), None)
        .expect("a preset is valid");
    let mut blocks = vec![Block::new(); bare.block_count()];
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, bare);
    group.bench_function(criterion::BenchmarkId::new("floor", name), |bencher| {
        let mut key = [0; 32];
        bencher.iter(|| {
            argon2
                .hash_password_into_with_memory(
                    PASSWORD.as_bytes(),
                    &SALT,
                    &mut key,
                    blocks.as_mut_slice(),
                )
                .expect("the parameters are valid");
            key
        });
    });
}
