//! How many Argon2ids the records of a vault may cost under salts that are not its own.

use std::sync::{Mutex, PoisonError};

use super::{Vault, config};
use crate::crypto::envelope::Envelope;
use crate::crypto::kdf::KdfSetting;
use crate::crypto::key::PasswordKey;
use crate::crypto::policy::NotTried;
use crate::crypto::seal::check;
use crate::vault::VaultError;
use vault_store::Timestamp;

/// The derivations of the present minute. What a key has derived already costs none, so honest records of
/// another salt take one per key and minute at most.
#[derive(Default)]
pub(super) struct SaltBudget(Mutex<Window>);

#[derive(Default)]
struct Window {
    began: Option<Timestamp>,
    used: u32,
}

const MINUTE_MICROS: i64 = 60_000_000;

impl SaltBudget {
    /// Takes one derivation, if any is left.
    fn take(&self, most: u32, now: Timestamp) -> bool {
        let mut window = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A clock that was set back does not stretch a minute.
        let is_over = window.began.is_none_or(|began| {
            !(0..MINUTE_MICROS).contains(&now.as_micros().saturating_sub(began.as_micros()))
        });
        if is_over {
            *window = Window { began: Some(now), used: 0 };
        }
        let is_left = window.used < most;
        window.used += u32::from(is_left);
        is_left
    }
}

impl Vault {
    /// Whether the key may be tried on this envelope, which it has to derive a master for.
    pub(super) async fn take_salt(
        &self,
        envelope: &Envelope,
        key: &PasswordKey,
    ) -> Result<(), VaultError> {
        let policy = &self.options.open;
        // What is rejected costs nothing, and is answered where it is opened.
        let kdf: Option<KdfSetting> = match check(envelope, policy) {
            Ok(checked) => checked.kdf().filter(|kdf| !key.is_prepared(kdf)),
            Err(_) => None,
        };
        let Some(kdf) = kdf else { return Ok(()) };
        if config::own_kdf(&*self.store).await? == Some(kdf) {
            return Ok(());
        }
        if self.salts.take(policy.max_salts, self.options.clock.now()) {
            return Ok(());
        }
        Err(VaultError::NotTried(NotTried::Salt))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_has_so_many_derivations_and_the_next_one_as_many() {
        let budget = SaltBudget::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let taken = |second| (0..5).filter(|_| budget.take(3, at(second))).count();
        assert_eq!([taken(0), taken(59), taken(60), taken(61)], [3, 0, 3, 0]);
        assert_eq!(taken(-1000), 3, "a clock that was set back");
        assert!(!SaltBudget::default().take(0, at(0)));
    }
}
