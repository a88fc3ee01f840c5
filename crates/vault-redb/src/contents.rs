//! Writing everything that a vault holds into an empty database, and comparing the two.
//!
//! Rows are copied as bytes, whatever they decode to. They come in the order of their keys, so the
//! layout of the new database follows from its keys and the lengths of its values, and from nothing
//! that happened before.

use std::{
    hash::{DefaultHasher, Hasher as _},
    ops::Bound,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

use redb::{MultimapTableHandle, ReadTransaction, Table, TableHandle, WriteTransaction};
use vault_store::{
    EnvelopeText, HasRoom, Page, PageBuilder, PageLimit, SealedRecord, StoreError, StoreErrorKind,
    Transform,
};

use crate::error::Fault;
use crate::reads::{damaged_record, readable, row_name, sealed};
use crate::record;
use crate::schema::{ALL, Bytes, RECORDS};

/// What a transform is given at once: enough for its workers, and three of them fit into memory.
const PAGE: PageLimit = PageLimit {
    records: std::num::NonZeroUsize::new(8192).unwrap(),
    bytes: std::num::NonZeroUsize::new(4 << 20).unwrap(),
};

/// What was written to each table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written(Vec<Tally>);

/// Rows, and a hash over their keys and values in order. It detects damage on the way to the disk
/// and back, not an attacker.
#[derive(Clone, Debug, Default)]
struct Tally {
    rows: u64,
    hash: DefaultHasher,
}

impl PartialEq for Tally {
    fn eq(&self, other: &Self) -> bool {
        (self.rows, self.hash.finish()) == (other.rows, other.hash.finish())
    }
}

impl Eq for Tally {}

impl Tally {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        for part in [key, value] {
            self.hash.write_usize(part.len());
            self.hash.write(part);
        }
    }
}

impl Written {
    /// The number of rows in the table of records.
    pub(crate) fn records(&self) -> u64 {
        self.0.first().map_or(0, |records| records.rows)
    }
}

/// Names what a database holds beside a vault, and a copy of the vault would lose.
pub(crate) fn foreign_table(old: &ReadTransaction) -> Result<Option<String>, Fault> {
    let is_ours = |name: &str| ALL.iter().any(|table| table.name() == name);
    let tables = old.list_tables()?.map(|table| table.name().to_owned());
    let foreign = tables.into_iter().find(|name| !is_ours(name));
    Ok(foreign.or(old.list_multimap_tables()?.map(|table| table.name().to_owned()).next()))
}

/// Writes all tables; the records as a transform says, if there is one.
pub(crate) fn write(
    old: &ReadTransaction,
    new: &WriteTransaction,
    transform: Option<Box<dyn Transform>>,
) -> Result<Written, Fault> {
    let records = match transform {
        None => copy(old, new, RECORDS)?,
        Some(transform) => transformed(old, new, transform)?,
    };
    let mut written = vec![records];
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

/// Some rows in order, and the records among them.
struct Chunk {
    rows: Vec<(Vec<u8>, Vec<u8>)>,
    /// For each record of the page, its row.
    places: Vec<usize>,
    page: Page<SealedRecord>,
}

/// The rows of a chunk, and what replaces the envelopes of some.
type Decided = (Vec<(Vec<u8>, Vec<u8>)>, Vec<(usize, EnvelopeText)>);

/// Reads, transforms and writes at the same time, each on a thread of its own.
fn transformed(
    old: &ReadTransaction,
    new: &WriteTransaction,
    mut transform: Box<dyn Transform>,
) -> Result<Tally, Fault> {
    let mut table = new.open_table(RECORDS)?;
    thread::scope(|scope| {
        let (read, chunks) = sync_channel::<Chunk>(1);
        let (decide, decided) = sync_channel::<Decided>(1);
        let named = || thread::Builder::new().name("vaultstore-redb".to_owned());
        let no_thread =
            |error| Fault::Phrased(vault_store::no_thread(&"the rebuild").with_source(error));
        let reader =
            named().spawn_scoped(scope, move || read_chunks(old, &read)).map_err(no_thread)?;
        let decider = named()
            .spawn_scoped(scope, move || decide_chunks(&mut *transform, &chunks, &decide))
            .map_err(no_thread)?;
        let written = write_chunks(&mut table, decided);
        // The first in the row says why the others ended early.
        reader.join().unwrap_or(Err(Fault::Panicked))?;
        decider.join().unwrap_or(Err(Fault::Panicked))?;
        written
    })
}

/// A receiver that is gone has an error of its own.
fn read_chunks(old: &ReadTransaction, chunks: &SyncSender<Chunk>) -> Result<(), Fault> {
    let records = old.open_table(RECORDS)?;
    let mut after: Option<Vec<u8>> = None;
    loop {
        let mut page = PageBuilder::new(PAGE);
        let (mut rows, mut places) = (Vec::new(), Vec::new());
        let lower = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        for row in records.range::<&[u8]>((lower, Bound::Unbounded))? {
            let (id, row) = row?;
            let (id, row) = (id.value(), row.value());
            if let Ok(weight) = record::weight(id, row)
                && page.has_no_room_for(weight)
            {
                break;
            }
            rows.push((id.to_vec(), row.to_vec()));
            match readable(id, row, sealed) {
                Ok(record) => {
                    places.push(rows.len() - 1);
                    if page.push(record) == HasRoom::No {
                        break;
                    }
                }
                Err(reason) => page.unreadable(|| row_name(id), reason),
            }
            // A row that is no record has no weight, and must not fill the memory either.
            if rows.len() >= 2 * PAGE.records.get() {
                break;
            }
        }
        let Some((last, _)) = rows.last() else { return Ok(()) };
        after = Some(last.clone());
        if chunks.send(Chunk { rows, places, page: page.finish() }).is_err() {
            return Ok(());
        }
    }
}

fn decide_chunks(
    transform: &mut dyn Transform,
    chunks: &Receiver<Chunk>,
    decided: &SyncSender<Decided>,
) -> Result<(), Fault> {
    for Chunk { rows, places, page } in chunks {
        let envelopes = transform.page(page)?;
        if envelopes.len() != places.len() {
            let what = "the transform of a rebuild returned another number of envelopes";
            return Err(StoreError::new(StoreErrorKind::Other, what).into());
        }
        let new = places.into_iter().zip(envelopes);
        let new = new.filter_map(|(place, envelope)| Some((place, envelope?))).collect();
        if decided.send((rows, new)).is_err() {
            break;
        }
    }
    Ok(())
}

fn write_chunks(
    table: &mut Table<'_, &'static [u8], &'static [u8]>,
    decided: Receiver<Decided>,
) -> Result<Tally, Fault> {
    let mut tally = Tally::default();
    let mut buffer = Vec::new();
    for (mut rows, envelopes) in decided {
        for (place, envelope) in envelopes {
            let Some((id, row)) = rows.get_mut(place) else { continue };
            record::with_envelope(row, record::loaded(&envelope)?, &mut buffer)
                .map_err(|malformed| damaged_record(id, malformed))?;
            row.clone_from(&buffer);
        }
        for (id, row) in &rows {
            tally.add(id, row);
            table.insert(id.as_slice(), row.as_slice())?;
        }
    }
    Ok(tally)
}
