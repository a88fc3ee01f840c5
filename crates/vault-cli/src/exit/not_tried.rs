//! What to do about records that no password was tried on.

use vaultstore::run::NotTriedCounts;

use super::say;
use crate::render::figures::records;

/// For each reason, a line that says how many and why, and one that says what to do.
pub(crate) fn tell_not_tried(counts: &NotTriedCounts) {
    for (count, why, hint) in [
        (
            counts.v1,
            "of v1 not tried: anyone with write access to the database can forge v1",
            "use --allow-v1 if the vault comes from the Go package and only people you trust can write to it",
        ),
        (
            counts.below_floor,
            "with an Argon2id cost below the floor not tried: an attacker may have planted them to test guesses at a password",
            "a census lists them by salt and cost; delete them unless a program of yours wrote them",
        ),
        (
            counts.other_salts,
            "not tried: their salts and costs are more than --max-salts allows besides the vault's own",
            "raise --max-salts if records of many vaults were merged into this one",
        ),
    ] {
        if count > 0 {
            say::warn(&format!("{} {why}", records(count)));
            say::hint(hint);
        }
    }
}
