//! What one thread derives when it has the machine to itself.

use std::time::{Duration, Instant};

use vaultstore::kdf::{KdfMemory, KdfSetting};
use vaultstore::{KdfParams, Password, PasswordKey};

use crate::exit::Failure;
use crate::render::figures;

/// Long enough for some twenty derivations of the default cost.
const TIME: Duration = Duration::from_secs(4);

/// Argon2id per second of one thread that uses its memory again.
pub(super) fn derivations_per_second(params: KdfParams) -> Result<f64, Failure> {
    let key = PasswordKey::new(Password::new("a benchmark's password"));
    let mut memory = KdfMemory::new();
    // The first one also takes the memory from the system.
    derive(&key, params, &mut memory)?;
    let (begun, before) = (Instant::now(), memory.derivations());
    while begun.elapsed() < TIME {
        derive(&key, params, &mut memory)?;
    }
    Ok(figures::per_second(memory.derivations() - before, begun.elapsed()))
}

fn derive(key: &PasswordKey, params: KdfParams, memory: &mut KdfMemory) -> Result<(), Failure> {
    // A salt of its own each time, so that no master is there already.
    key.prepare(&KdfSetting::generate(params)?, memory)
        .map_err(|error| Failure::failed(error.to_string()))
}
