//! The Argon2id rate of one thread on an otherwise idle machine.

use std::time::{Duration, Instant};

use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::{KdfParams, Password, PasswordKey};

use crate::exit::Failure;
use crate::render::figures;

/// Long enough for about twenty derivations at the default cost.
const TIME: Duration = Duration::from_secs(4);

/// Argon2id per second of one thread that reuses its memory.
pub(super) fn derivations_per_second(params: KdfParams) -> Result<f64, Failure> {
    let key = PasswordKey::new(Password::new("a benchmark's password"));
    let mut memory = KdfMemory::new();
    // The first one also allocates the memory.
    derive(&key, params, &mut memory)?;
    let (started, before) = (Instant::now(), memory.derivations());
    while started.elapsed() < TIME {
        derive(&key, params, &mut memory)?;
    }
    Ok(figures::per_second(memory.derivations() - before, started.elapsed()))
}

fn derive(key: &PasswordKey, params: KdfParams, memory: &mut KdfMemory) -> Result<(), Failure> {
    // A new salt each time, so that no master key exists yet.
    key.prepare(&KdfSetting::generate(params)?, memory)
        .map_err(|error| Failure::failed(error.to_string()))
}
