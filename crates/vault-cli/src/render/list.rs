//! The output of `list`.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::Timestamp;
use vaultstore::records::RecordInfo;
use vaultstore::store;

use super::{figures, unreadable::UnreadableRow};
use crate::shown;

const HEAD: [&str; 7] = ["ID", "TOKEN", "FORMAT", "SIZE", "CREATED", "UPDATED", "STATE"];

/// Which columns a narrow terminal goes without, the first one first.
const LEAST: [usize; 4] = [5, 3, 4, 2];

/// The records as a table. On a terminal with fewer columns it is without some of its own, or each
/// record becomes a block of lines.
pub(crate) fn table(records: &[RecordInfo], columns: Option<usize>) -> String {
    let rows: Vec<[String; 7]> = records.iter().map(row).collect();
    let mut widths = HEAD.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let Some(shown) = fitting(widths, rows.iter().any(|row| !row[6].is_empty()), columns) else {
        return blocks(&rows);
    };
    let mut table = String::new();
    for row in std::iter::once(&HEAD.map(str::to_owned)).chain(&rows) {
        let mut line = String::new();
        for &at in &shown {
            // Writing into a String cannot fail.
            let _ = write!(line, "{:<width$}  ", row[at], width = widths[at]);
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// The columns that fit; `None` if not even the most important ones do.
fn fitting(widths: [usize; 7], any_state: bool, columns: Option<usize>) -> Option<Vec<usize>> {
    let mut shown: Vec<usize> = (0..7).collect();
    let Some(columns) = columns else { return Some(shown) };
    if !any_state {
        shown.pop();
    }
    let width = |shown: &[usize]| shown.iter().map(|at| widths[*at] + 2).sum::<usize>() - 2;
    for least in LEAST {
        if width(&shown) <= columns {
            break;
        }
        shown.retain(|at| *at != least);
    }
    (width(&shown) <= columns).then_some(shown)
}

fn blocks(rows: &[[String; 7]]) -> String {
    let mut text = String::new();
    for row in rows {
        // Writing into a String cannot fail.
        let _ = writeln!(text, "{}", row[1]);
        for (at, label) in [(0, ""), (2, ""), (3, ""), (4, "created "), (5, "updated "), (6, "")] {
            if !row[at].is_empty() {
                let _ = writeln!(text, "  {label}{}", row[at]);
            }
        }
    }
    text
}

fn row(record: &RecordInfo) -> [String; 7] {
    let state = match (record.soft_deleted_at, record.expires_at) {
        (Some(at), _) => format!("deleted {}", to_the_second(at)),
        (None, Some(at)) => format!("expires {}", to_the_second(at)),
        (None, None) => String::new(),
    };
    [
        shown::id(record.id.as_str()),
        shown::id(record.token.as_str()),
        record.format.map_or_else(|| "malformed".to_owned(), |format| format.to_string()),
        figures::bytes(record.envelope_bytes),
        to_the_second(record.created_at),
        to_the_second(record.updated_at),
        state,
    ]
}

fn to_the_second(time: Timestamp) -> String {
    Timestamp::from_micros(time.as_micros().div_euclid(1_000_000) * 1_000_000).to_string()
}

#[derive(Serialize)]
pub(crate) struct List<'a> {
    records: Vec<Entry<'a>>,
    /// The id to continue from; none if the list is empty.
    last: Option<&'a str>,
    /// Rows on the way that cannot be read.
    unreadable: u64,
    unreadable_rows: Vec<UnreadableRow<'a>>,
}

#[derive(Serialize)]
struct Entry<'a> {
    id: &'a str,
    token: &'a str,
    format: Option<String>,
    envelope_bytes: u64,
    created_at: String,
    updated_at: String,
    expires_at: Option<String>,
    soft_deleted_at: Option<String>,
}

pub(crate) fn json<'a>(records: &'a [RecordInfo], rows: &'a [store::UnreadableRow]) -> List<'a> {
    List {
        unreadable: rows.iter().map(store::UnreadableRow::rows).sum(),
        unreadable_rows: rows.iter().map(UnreadableRow::of).collect(),
        last: records.last().map(|record| record.id.as_str()),
        records: records.iter().map(entry).collect(),
    }
}

fn entry(record: &RecordInfo) -> Entry<'_> {
    Entry {
        id: record.id.as_str(),
        token: record.token.as_str(),
        format: record.format.map(|format| format.to_string()),
        envelope_bytes: record.envelope_bytes,
        created_at: record.created_at.to_string(),
        updated_at: record.updated_at.to_string(),
        expires_at: record.expires_at.map(|time| time.to_string()),
        soft_deleted_at: record.soft_deleted_at.map(|time| time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_fits_its_terminal() {
        let widths = [36, 24, 6, 8, 20, 20, 28];
        let fits = |columns| fitting(widths, true, columns);
        assert_eq!(fits(None).unwrap().len(), 7);
        assert_eq!(fits(Some(200)).unwrap().len(), 7);
        assert_eq!(fits(Some(130)), Some(vec![0, 1, 2, 4, 6]));
        assert_eq!(fits(Some(100)), Some(vec![0, 1, 2, 6]));
        assert_eq!(fits(Some(80)), None);
        assert_eq!(fitting(widths, false, Some(80)), Some(vec![0, 1, 2]));
        assert_eq!(fits(Some(1)), None);
    }
}
