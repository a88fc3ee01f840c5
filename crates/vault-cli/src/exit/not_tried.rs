//! What to do about records that no password was tried on.

use vaultstore::run::NotTriedCounts;

use super::say;
use crate::render::figures;

/// One line for each reason, and one for what to do.
pub(crate) fn tell_not_tried(counts: &NotTriedCounts) {
    if counts.v1 > 0 {
        say::warn(&format!(
            "{} of v1 not tried: anyone with write access to the database can forge v1",
            records(counts.v1)
        ));
        say::hint(
            "use --allow-v1 if the vault comes from the Go package and only people you trust can write to it",
        );
    }
    if counts.below_floor > 0 {
        say::warn(&format!(
            "{} with an Argon2id cost below the floor not tried: somebody may have planted them to test guesses at a password",
            records(counts.below_floor)
        ));
        say::hint(
            "find them by their salt and cost in a census, and delete them if nobody of yours wrote them",
        );
    }
    if counts.other_salts > 0 {
        say::warn(&format!(
            "{} not tried: there are more salts and costs than are tried besides the vault's own",
            records(counts.other_salts)
        ));
        say::hint("raise --max-salts if records of many vaults were merged into this one");
    }
}

fn records(count: u64) -> String {
    format!("{} record{}", figures::count(count), if count == 1 { "" } else { "s" })
}
