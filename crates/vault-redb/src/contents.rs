//! Writing everything that a vault holds into an empty database, in the order of the keys, and
//! reading it back.
//!
//! Rows are copied as bytes, whatever they decode to. So the layout of the new database follows
//! from its keys and the lengths of its values, and from nothing that happened before.

use std::{
    hash::{DefaultHasher, Hasher as _},
    ops::Bound,
};

use redb::{
    MultimapTableHandle as _, ReadTransaction, ReadableTable, Table, TableHandle as _,
    WriteTransaction,
};
use vault_store::{Replacement, WriteOutcome};

use crate::error::Fault;
use crate::reads::damaged_record;
use crate::record;
use crate::schema::{ALL, Bytes, RECORDS};

/// What was written to each table, that of the records first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written(Vec<Tally>);

/// Rows, and the sum of the hashes of their keys and values. It detects damage on the way to the
/// disk and back, not an attacker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    rows: u64,
    sum: u64,
}

impl Tally {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash(key, value));
    }

    fn replace(&mut self, key: &[u8], old: &[u8], new: &[u8]) {
        self.sum = self.sum.wrapping_sub(hash(key, old)).wrapping_add(hash(key, new));
    }
}

fn hash(key: &[u8], value: &[u8]) -> u64 {
    let mut hash = DefaultHasher::new();
    for part in [key, value] {
        hash.write_usize(part.len());
        hash.write(part);
    }
    hash.finish()
}

impl Written {
    /// The number of rows in the table of records.
    pub(crate) fn records(&self) -> u64 {
        self.0.first().map_or(0, |records| records.rows)
    }
}

/// The records that were copied so far.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    /// The last key; all before it were copied as well.
    last: Option<Vec<u8>>,
    tally: Tally,
    buffer: Vec<u8>,
}

type Records<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// Names what a database holds next to a vault, and a copy of the vault would lose.
pub(crate) fn foreign_table(old: &ReadTransaction) -> Result<Option<String>, Fault> {
    let is_ours = |name: &str| ALL.iter().any(|table| table.name() == name);
    let mut tables = old.list_tables()?.map(|table| table.name().to_owned());
    let foreign = tables.find(|name| !is_ours(name));
    let mut multimaps = old.list_multimap_tables()?.map(|table| table.name().to_owned());
    Ok(foreign.or_else(|| multimaps.next()))
}

/// Copies the records up to each one of a batch, and replaces its envelope on the way. A record
/// that was copied before is replaced where it is.
pub(crate) fn swap(
    old: &ReadTransaction,
    new: &WriteTransaction,
    copied: &mut Copied,
    batch: &[Replacement],
) -> Result<Vec<WriteOutcome>, Fault> {
    let old = old.open_table(RECORDS)?;
    let mut new = new.open_table(RECORDS)?;
    let mut order: Vec<usize> = (0..batch.len()).collect();
    order.sort_by_key(|number| &batch[*number].id);
    let mut outcomes = vec![WriteOutcome::Missing; batch.len()];
    let first = copied.last.clone();
    let first = first.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    let mut rows = old.range::<&[u8]>((first, Bound::Unbounded))?.peekable();
    for number in order {
        let replacement = &batch[number];
        let id = replacement.id.as_bytes();
        if copied.holds(id) {
            outcomes[number] = copied.replace(&mut new, replacement)?;
            continue;
        }
        // An error counts as before: it is returned when it is taken.
        while let Some(row) =
            rows.next_if(|row| row.as_ref().map_or(true, |row| row.0.value() < id))
        {
            let (key, value) = row?;
            copied.insert(&mut new, key.value(), value.value())?;
        }
        let at = rows.next_if(|row| row.as_ref().is_ok_and(|row| row.0.value() == id));
        let Some(row) = at else { continue };
        let (key, value) = row?;
        if let Some(row) = copied.replaced(key.value(), value.value(), replacement)? {
            copied.insert(&mut new, key.value(), &row)?;
            copied.buffer = row;
            outcomes[number] = WriteOutcome::Applied;
        } else {
            copied.insert(&mut new, key.value(), value.value())?;
            outcomes[number] = WriteOutcome::Conflict;
        }
    }
    Ok(outcomes)
}

/// Copies the records that are left, and all other tables.
pub(crate) fn complete(
    old: &ReadTransaction,
    new: &WriteTransaction,
    mut copied: Copied,
) -> Result<Written, Fault> {
    let records = old.open_table(RECORDS)?;
    let mut table = new.open_table(RECORDS)?;
    let first = copied.last.clone();
    let first = first.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
    for row in records.range::<&[u8]>((first, Bound::Unbounded))? {
        let (key, value) = row?;
        copied.tally.add(key.value(), value.value());
        table.insert(key.value(), value.value())?;
    }
    drop(table);
    let mut written = vec![copied.tally];
    for table in ALL.iter().skip(1) {
        written.push(copy(old, new, *table)?);
    }
    Ok(Written(written))
}

/// Reads back what was written.
pub(crate) fn read_back(new: &ReadTransaction) -> Result<Written, Fault> {
    let tally = |table: &Bytes| {
        let mut tally = Tally::default();
        for row in new.open_table(*table)?.range::<&[u8]>(..)? {
            let (key, value) = row?;
            tally.add(key.value(), value.value());
        }
        Ok(tally)
    };
    ALL.iter().map(tally).collect::<Result<_, Fault>>().map(Written)
}

fn copy(old: &ReadTransaction, new: &WriteTransaction, table: Bytes) -> Result<Tally, Fault> {
    let (old, mut new) = (old.open_table(table)?, new.open_table(table)?);
    let mut tally = Tally::default();
    for row in old.range::<&[u8]>(..)? {
        let (key, value) = row?;
        tally.add(key.value(), value.value());
        new.insert(key.value(), value.value())?;
    }
    Ok(tally)
}

impl Copied {
    /// Whether a record with this id, if there is one, was copied.
    pub(crate) fn holds(&self, id: &[u8]) -> bool {
        self.last.as_deref().is_some_and(|last| id <= last)
    }

    /// Whether a record after this one was copied.
    pub(crate) fn holds_after(&self, after: Option<&[u8]>) -> bool {
        self.last.as_deref().is_some_and(|last| after.is_none_or(|after| after < last))
    }

    fn insert(&mut self, new: &mut Records<'_>, id: &[u8], row: &[u8]) -> Result<(), Fault> {
        new.insert(id, row)?;
        self.tally.add(id, row);
        let last = self.last.get_or_insert_default();
        last.clear();
        last.extend_from_slice(id);
        Ok(())
    }

    /// The row with its new envelope, if it holds the expected one.
    fn replaced(
        &mut self,
        id: &[u8],
        row: &[u8],
        replacement: &Replacement,
    ) -> Result<Option<Vec<u8>>, Fault> {
        let damaged = |malformed| damaged_record(id, malformed);
        let sealed = record::loaded(&replacement.new)?;
        let stored = record::envelope(row).map_err(damaged)?;
        if !record::holds(stored, &replacement.expected) {
            return Ok(None);
        }
        let mut new = std::mem::take(&mut self.buffer);
        record::with_envelope(row, sealed, &mut new).map_err(damaged)?;
        Ok(Some(new))
    }

    fn replace(
        &mut self,
        new: &mut Records<'_>,
        replacement: &Replacement,
    ) -> Result<WriteOutcome, Fault> {
        let id = replacement.id.as_bytes();
        let Some(row) = new.get(id)? else { return Ok(WriteOutcome::Missing) };
        let Some(replaced) = self.replaced(id, row.value(), replacement)? else {
            return Ok(WriteOutcome::Conflict);
        };
        self.tally.replace(id, row.value(), &replaced);
        drop(row);
        new.insert(id, replaced.as_slice())?;
        self.buffer = replaced;
        Ok(WriteOutcome::Applied)
    }
}
