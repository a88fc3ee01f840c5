//! What the reports of `census`, `verify` and `rekey` share: how many ids they list, and the
//! records that were not checked.

use std::fmt::Write as _;

use super::{figures, table::Table};

/// How many ids of each kind the text lists by default.
pub(crate) const SHOWN: usize = 10;

/// v1 and v2 records do not reveal whether they are intact; only their password can tell.
pub(super) fn not_checkable(text: &mut Table, records: u64, with_passwords: bool) {
    if records > 0 {
        let a = if with_passwords { "their" } else { "a" };
        // Writing into a table cannot fail.
        let _ = writeln!(text, "  not checkable without {a} password: {}", figures::count(records));
    }
}

/// Records of which a rekey read no more than the headers.
pub(super) fn bodies(text: &mut Table, records: u64) {
    if records > 0 {
        let (records, them) = (figures::records(records), if records == 1 { "it" } else { "them" });
        // Writing into a table cannot fail.
        let _ = writeln!(
            text,
            "  not checked for damage: {records} that did not match (`census` and `verify` check {them})"
        );
    }
}
