//! How rows are shown that nobody can read.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::store;

use super::figures;

/// Rows shown to people; `--json` has all that are named.
const SHOWN_ROWS: usize = 10;

#[derive(Serialize)]
pub(crate) struct UnreadableRow<'a> {
    row: &'a str,
    reason: String,
    /// Further rows behind it that are not named.
    more: u64,
}

impl<'a> UnreadableRow<'a> {
    pub(crate) fn of(row: &'a store::UnreadableRow) -> Self {
        Self { row: row.name.as_str(), reason: row.reason.to_string(), more: row.more }
    }
}

/// One line for each of the first rows, and how many there are beside them.
pub(crate) fn rows(text: &mut String, rows: &[store::UnreadableRow], all: u64) {
    let shown = &rows[..rows.len().min(SHOWN_ROWS)];
    for row in shown {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "  {}: malformed ({})", row.name, row.reason);
    }
    let hidden = all.saturating_sub(shown.len() as u64);
    if !shown.is_empty() && hidden > 0 {
        let _ = writeln!(text, "  and {} more that cannot be read", figures::count(hidden));
    }
}
