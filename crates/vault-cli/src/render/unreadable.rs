//! The output for unreadable rows.

use std::fmt::Write;

use serde::Serialize;
use vaultstore::store;

use super::figures;
use crate::shown;

/// Maximum number of rows in the text; `--json` has all that are named.
const SHOWN_ROWS: usize = 10;

#[derive(Serialize)]
pub(crate) struct UnreadableRow<'a> {
    row: &'a str,
    reason: String,
    /// More unreadable rows directly after it, which are not named.
    more: u64,
}

impl<'a> UnreadableRow<'a> {
    pub(crate) fn of(row: &'a store::UnreadableRow) -> Self {
        Self { row: row.name.as_str(), reason: row.reason.to_string(), more: row.more }
    }
}

/// One line for each of the first rows, and the number of the others.
pub(crate) fn rows(text: &mut impl Write, rows: &[store::UnreadableRow], all: u64) {
    let named = &rows[..rows.len().min(SHOWN_ROWS)];
    for row in named {
        // Writing into a text cannot fail.
        let _ = writeln!(text, "  {}: malformed ({})", shown::line(row.name.as_str()), row.reason);
    }
    let hidden = all.saturating_sub(named.len() as u64);
    if !named.is_empty() && hidden > 0 {
        let _ = writeln!(text, "  and {} more that cannot be read", figures::count(hidden));
    }
}
