//! The output of `list`.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::Timestamp;
use vaultstore::records::RecordInfo;
use vaultstore::store;

use super::{figures, unreadable::UnreadableRow};
use crate::shown;

/// The records as a table; `next` is the id for `--after`.
pub(crate) fn table(records: &[RecordInfo]) -> String {
    let rows: Vec<[String; 7]> = records.iter().map(row).collect();
    let head = ["ID", "TOKEN", "FORMAT", "SIZE", "CREATED", "UPDATED", "STATE"].map(str::to_owned);
    let mut widths = [0; 7];
    for row in std::iter::once(&head).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut table = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing into a String cannot fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
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
