//! How many Argon2ids per minute the records of a vault may cost under salts that are not its own.

use std::sync::{Mutex, PoisonError};

use vault_store::Timestamp;

/// The derivations of the current minute. What a key has already derived costs none, so genuine
/// records with another salt take at most one per key and minute.
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
    pub(super) fn take(&self, most: u32, now: Timestamp) -> bool {
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
