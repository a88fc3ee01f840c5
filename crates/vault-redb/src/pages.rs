//! Checks the sizes of pages before redb follows their numbers.
//!
//! A page number states the size of its page, and redb takes and fills that much memory before it
//! reads the page: up to 4 GiB, whatever the length of the file. A row longer than a page of 4 KiB
//! has a page of its own, which redb reads whole even where only the length of the row is asked
//! for. So the numbers are checked when the page that contains them is read. A page larger than any
//! row of a vault needs is an error, and its memory is never taken.
//!
//! The layout of the file is redb's, as its `design.md` describes it: numbers of pages are in the
//! header, in the branches of all trees, and in the leaves of the two trees of tables, whose values
//! name the roots of the tables.

use std::{
    collections::BTreeSet,
    error, fmt, io,
    sync::{Mutex, PoisonError},
};

/// The largest page, as a power of two of 4 KiB: 64 MiB. The longest envelope has 32 MiB, and with
/// its header and token it needs the next power of two. Rows share no page larger than 4 KiB.
const MAX_ORDER: u32 = 14;
const PAGE: u64 = 4096;

const LEAF: u8 = 1;
const BRANCH: u8 = 2;

/// Where the two commit slots begin in the header, and where in them the roots of the trees are: of
/// the tables, and of redb's own tables. Each has a byte that says whether there is one.
const SLOTS: [usize; 2] = [64, 192];
const ROOTS: [(usize, usize); 2] = [(1, 8), (2, 40)];
const HEADER_LEN: usize = 320;
/// How many pages the header of a region takes, and how many a region has besides.
const REGION_HEADER_PAGES: usize = 16;
const REGION_PAGES: usize = 20;

/// A page that no row of a vault needs.
#[derive(Debug)]
pub(crate) struct Oversized {
    order: u32,
}

impl fmt::Display for Oversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = (PAGE << self.order) >> 20;
        write!(f, "a page of {mib} MiB, which no record and no setting of a vault needs")
    }
}

impl error::Error for Oversized {}

impl From<Oversized> for io::Error {
    fn from(oversized: Oversized) -> Self {
        Self::new(io::ErrorKind::InvalidData, oversized)
    }
}

/// What is known of a file from the pages read so far.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// The bytes of the header of a region, and of its pages.
    region_header: u64,
    region_pages: u64,
    /// Where pages of the trees of tables are, as somebody else wrote them.
    of_tables: BTreeSet<u64>,
}

impl Pages {
    /// Checks the numbers in what was read.
    pub(crate) fn check(&self, offset: u64, read: &[u8]) -> Result<(), Oversized> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (offset, read.first()) {
            (0, _) if read.len() >= HEADER_LEN => known.header(read),
            (1.., Some(&BRANCH)) => known.branch(offset, read),
            (1.., Some(&LEAF)) if known.of_tables.contains(&offset) => tables(read),
            _ => Ok(()),
        }
    }

    /// What redb has written is redb's, and was checked before.
    pub(crate) fn written(&self, offset: u64, len: usize) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.of_tables.is_empty() {
            known.of_tables.retain(|at| *at < offset || *at - offset >= len as u64);
        }
    }
}

impl Known {
    fn header(&mut self, header: &[u8]) -> Result<(), Oversized> {
        let pages = |at| u32_at(header, at).map_or(0, |pages| u64::from(pages) * PAGE);
        self.region_header = pages(REGION_HEADER_PAGES);
        self.region_pages = pages(REGION_PAGES);
        for slot in SLOTS {
            for (exists, root) in ROOTS {
                if header.get(slot + exists).is_some_and(|byte| *byte != 0)
                    && let Some(number) = u64_at(header, slot + root)
                {
                    checked(number)?;
                    self.of_tables.insert(self.place(number));
                }
            }
        }
        Ok(())
    }

    /// One more child than keys, whose checksums of 16 bytes come first.
    fn branch(&mut self, offset: u64, page: &[u8]) -> Result<(), Oversized> {
        let children = u16_at(page, 2).map_or(0, |keys| usize::from(keys) + 1);
        let is_of_tables = self.of_tables.contains(&offset);
        let numbers = (0..children).map_while(|child| u64_at(page, 8 + 16 * children + 8 * child));
        for number in numbers {
            checked(number)?;
            if is_of_tables {
                self.of_tables.insert(self.place(number));
            }
        }
        Ok(())
    }

    /// Where the page of a number is in the file.
    fn place(&self, number: u64) -> u64 {
        let order = order(number);
        let index = number & (0x000f_ffff >> order);
        let region = (number >> 20) & 0x000f_ffff;
        let regions = region.saturating_mul(self.region_header.saturating_add(self.region_pages));
        let within = self.region_header.saturating_add(index << order << 12);
        PAGE.saturating_add(regions).saturating_add(within)
    }
}

/// The ends of all keys, then those of all values, then the keys, then the values, each of which
/// begins with its kind, the number of rows, and whether it has a root.
fn tables(page: &[u8]) -> Result<(), Oversized> {
    let rows = usize::from(u16_at(page, 2).unwrap_or(0));
    // The first value begins where the last key ends; every other where the one before it ends.
    let starts = (0..rows).map(|row| 4 * (rows + row));
    for start in starts.filter_map(|at| u32_at(page, at)) {
        let has_root = start as usize + 9;
        if page.get(has_root).is_some_and(|byte| *byte != 0)
            && let Some(number) = u64_at(page, has_root + 1)
        {
            checked(number)?;
        }
    }
    Ok(())
}

/// The highest five bits of a number.
fn order(number: u64) -> u32 {
    (number >> 59) as u32
}

fn checked(number: u64) -> Result<(), Oversized> {
    match order(number) {
        order if order > MAX_ORDER => Err(Oversized { order }),
        _ => Ok(()),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
