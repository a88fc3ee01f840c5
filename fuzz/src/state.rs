//! The file with the state of a rekey: an attacker who can write to it makes no rekey skip a
//! record.

use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};
use vault_core::rekey::{RekeyError, RekeyState, RunStatus};
use vault_core::run::RunOptions;
use vault_core::store::PutSetting;
use vault_core::{MemoryStore, Password, RekeyPlan, RekeyReport, Vault, VaultStore as _};

use super::files::{insert, options, ready, settings};
use super::sealer;

/// The layout of a state, as `docs/rekey.md` has it: where its length is, and how long its
/// checksum.
const LEN_AT: usize = 17;
const CHECK_LEN: usize = 32;

/// The first byte chooses what is done with the rest: as it is, or with the length and the checksum
/// that it must have, or both of these with what is left of a real state in front of it.
pub fn state(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    let mut bytes = rest.to_vec();
    if kind & 2 != 0 {
        for (byte, real) in bytes.iter_mut().zip(real()) {
            *byte ^= real;
        }
        bytes.extend(real().iter().skip(rest.len()));
    }
    if kind & 1 != 0 {
        complete(&mut bytes);
    }
    let is_real = bytes == real();
    let Ok(state) = RekeyState::from_bytes(bytes) else { return };
    let _ = state.info();
    match rekey(&vault(), state) {
        Ok(report) => {
            // A finished state of another job is as good as none: everything is rekeyed.
            assert!(is_real || report.counts.rekeyed == RECORDS as u64, "{report:?}");
            assert_eq!(report.end, RunStatus::Complete);
        }
        Err(error) => assert!(!is_real, "the real state was refused: {error}"),
    }
}

const RECORDS: usize = 5;

/// Writes the length and the checksum that anyone who edits a state can compute.
fn complete(bytes: &mut [u8]) {
    let len = (bytes.len() as u64).to_be_bytes();
    if let Some(place) = bytes.get_mut(LEN_AT..LEN_AT + len.len()) {
        place.copy_from_slice(&len);
    }
    if let Some(end) = bytes.len().checked_sub(CHECK_LEN) {
        let (sealed, check) = bytes.split_at_mut(end);
        check.copy_from_slice(&Sha256::digest(sealed));
    }
}

/// The state of a finished rekey of this vault with these passwords.
fn real() -> &'static [u8] {
    static REAL: OnceLock<Vec<u8>> = OnceLock::new();
    REAL.get_or_init(|| {
        let vault = vault();
        let mut session = ready(vault.rekey(plan())).expect("nothing is in the way");
        while ready(session.step()).expect("memory does not fail").is_some() {}
        session.state().expect("there is randomness").as_bytes().to_vec()
    })
}

fn vault() -> Vault {
    let store = MemoryStore::new();
    ready(insert(&store, RECORDS));
    for (name, value) in settings() {
        ready(store.put_setting(&name, &value, PutSetting::Always)).expect("memory does not fail");
    }
    Vault::new(store, options())
}

fn plan() -> RekeyPlan {
    let options = RunOptions::default().without_threads();
    RekeyPlan::new().pair(Password::new(sealer::PASSWORD), Password::new("new")).options(options)
}

fn rekey(vault: &Vault, state: RekeyState) -> Result<RekeyReport, RekeyError> {
    ready(async { vault.rekey(plan().resume(state)).await?.run().await })
}
