//! Power cuts: at every change of the file, disks as the cut may have left them are opened, and
//! every record is compared.
//!
//! What was flushed is on the disk for certain; of what was written since, any part may be there
//! and any may be missing, in sectors of 512 bytes. Whatever was answered is there, and whatever
//! was not is there wholly or not at all. A second cut comes while the first is recovered from. The
//! controls leave flushes out, and the test has to notice them.
//!
//! `VAULTSTORE_POWER_IMAGES` says how many disks are looked at.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroUsize,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex},
};

use futures::executor::block_on;
use redb::{BackendError, ReadableDatabase as _, StorageBackend};
use vault_store::{
    EnvelopeText, PageLimit, Purge, PutSetting, Record, RecordId, RecordSink, RecordSource,
    RecordUpdate, Replacement, Timestamp, Token, VaultStore,
};

use crate::contents::Copied;
use crate::file::Access;
use crate::leak::LeakedByPanic;
use crate::open::{self, Opened};
use crate::rebuild;
use crate::threads::Threads;
use crate::{RedbOptions, RedbStore};

const SECTOR: usize = 512;

/// How many disks are looked at, unless the environment says otherwise.
const IMAGES: usize = 400;

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
    Flush,
}

impl Change {
    fn apply_to(&self, bytes: &mut Vec<u8>, keep: impl Fn(usize) -> bool) {
        match self {
            Self::Flush => {}
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, data } => {
                if bytes.len() < offset + data.len() {
                    bytes.resize(offset + data.len(), 0);
                }
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    if keep(number) {
                        let at = offset + number * SECTOR;
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

/// A file in memory that writes its changes down.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Recorded>>);

#[derive(Debug, Default)]
struct Recorded {
    bytes: Vec<u8>,
    log: Vec<Change>,
}

impl Recorder {
    fn holding(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(Recorded { bytes, log: Vec::new() })))
    }

    fn change(&self, change: Change) {
        let mut recorded = self.0.lock().unwrap();
        change.apply_to(&mut recorded.bytes, |_| true);
        recorded.log.push(change);
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    fn log(&self) -> Vec<Change> {
        self.0.lock().unwrap().log.clone()
    }

    fn changes(&self) -> usize {
        self.0.lock().unwrap().log.len()
    }
}

fn place(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

impl StorageBackend for Recorder {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let recorded = self.0.lock().unwrap();
        let part = recorded.bytes.get(place(offset)..place(offset) + out.len());
        out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Change::SetLen(place(len)));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(Change::Flush);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Change::Write { offset: place(offset), data: data.to_vec() });
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Chances that a seed repeats (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        place((mixed ^ (mixed >> 31)) % bound as u64)
    }
}

/// All that a vault holds.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    records: Vec<Record>,
    settings: Vec<(String, String)>,
}

fn contents(store: &RedbStore) -> Option<Contents> {
    let records = block_on(store.list(None, PageLimit::new(usize::MAX, usize::MAX))).ok()?.records;
    let tokens: Vec<Token> = records.iter().map(|record| record.token.clone()).collect();
    let found = block_on(store.find(&tokens)).ok()?;
    assert!(found.into_iter().map(Option::unwrap).eq(records.iter().cloned()));
    Some(Contents { records, settings: block_on(store.settings()).ok()? })
}

fn open(disk: &Recorder) -> Option<RedbStore> {
    let (options, threads) = (RedbOptions::default(), Threads::start().unwrap());
    match open::open_in(
        disk.clone(),
        None,
        Access::ReadWrite,
        &|| true,
        Path::new("disk"),
        &options,
        threads,
    ) {
        Ok(Opened::Vault(shared)) => Some(RedbStore { shared: Arc::new(shared) }),
        _ => None,
    }
}

/// What happened: a disk, the changes made to it, and what the vault held after each number of
/// them.
struct Story {
    before: Vec<u8>,
    log: Vec<Change>,
    /// By the number of changes that were made when the answer came.
    states: BTreeMap<usize, Contents>,
}

fn record(number: usize) -> Record {
    Record {
        id: RecordId::from_stored(format!("{number:05}")),
        token: Token::from_stored(format!("tk_{number}")),
        envelope: EnvelopeText::from_stored(vec![b'a'; 100 + number % 7 * 900]),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(2),
        expires_at: number.is_multiple_of(11).then(|| Timestamp::from_micros(3)),
        soft_deleted_at: None,
    }
}

/// A vault's life: records are created until the file grows, rekeyed page by page, changed, deleted
/// and purged.
fn live() -> Story {
    let disk = Recorder::default();
    let (options, threads) = (RedbOptions::default(), Threads::start().unwrap());
    let shared =
        open::create_in(disk.clone(), None, Path::new("disk"), &options, threads, &[]).unwrap();
    let store = RedbStore { shared: Arc::new(shared) };
    let (before, start) = (disk.bytes(), disk.changes());
    let mut states = BTreeMap::new();
    let mut answered = || {
        states.insert(disk.changes() - start, contents(&store).unwrap());
    };
    answered();
    for batch in 0..4 {
        let new = (batch * 150..(batch + 1) * 150).map(record).collect();
        block_on(store.insert(new)).unwrap();
        answered();
    }
    block_on(store.put_setting("format", "v3", PutSetting::Always)).unwrap();
    answered();
    let mut after = None;
    loop {
        let page = block_on(store.read_page(after.as_ref(), PageLimit::new(200, usize::MAX)));
        let page = page.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        let sealed = |len: u64| EnvelopeText::from_stored(vec![b'b'; place(len) + 5]);
        let batch: Vec<_> = page
            .into_iter()
            .map(|record| Replacement {
                id: record.id,
                new: sealed(record.envelope.len()),
                expected: record.envelope,
            })
            .collect();
        block_on(store.swap_batch(batch.into())).unwrap();
        answered();
    }
    let change = RecordUpdate::of(record(1).id)
        .envelope(EnvelopeText::from_stored(*b"v3:changed"))
        .updated_at(Timestamp::from_micros(9));
    block_on(store.update(change)).unwrap();
    answered();
    block_on(store.delete(&record(2).id)).unwrap();
    answered();
    for purge in [Purge::SoftDelete, Purge::Delete] {
        let now = Timestamp::from_micros(5);
        block_on(store.purge_expired(purge, now, None, NonZeroUsize::new(40).unwrap())).unwrap();
        answered();
    }
    let log = disk.log()[start..].to_vec();
    assert!(log.iter().any(|change| matches!(change, Change::SetLen(_))), "the file did not grow");
    Story { before, log, states }
}

/// A disk after that many changes: what was flushed, and of the rest what chance keeps.
fn disk_after(before: &[u8], log: &[Change], chance: &mut Chance) -> Vec<u8> {
    let flushed = log.iter().rposition(|change| matches!(change, Change::Flush)).unwrap_or(0);
    let mut bytes = before.to_vec();
    log[..flushed].iter().for_each(|change| change.apply_to(&mut bytes, |_| true));
    let pending = &log[flushed..];
    let kind = chance.below(7);
    let (one, seed) = (chance.below(pending.len().max(1)), chance.below(usize::MAX));
    for (number, change) in pending.iter().enumerate() {
        let is_header = matches!(change, Change::Write { offset: 0, .. });
        let coin = |salt: usize| Chance((seed ^ number ^ (salt << 20)) as u64).below(2) == 0;
        match kind {
            1 => change.apply_to(&mut bytes, |_| true),
            2 if number == one => change.apply_to(&mut bytes, |_| true),
            3 if number != one => change.apply_to(&mut bytes, |_| true),
            4 if is_header => change.apply_to(&mut bytes, |_| true),
            5 if coin(0) => change.apply_to(&mut bytes, |_| true),
            6 => change.apply_to(&mut bytes, |sector| coin(sector + 1)),
            // 0, and what the others leave out, is lost
            _ => {}
        }
    }
    bytes
}

/// What a cut after that many changes may leave: what was answered last, or what was on its way.
fn allowed(states: &BTreeMap<usize, Contents>, cut: usize) -> Vec<&Contents> {
    let answered = states.range(..=cut).next_back();
    let under_way = states.range(cut + 1..).next();
    answered.into_iter().chain(under_way).map(|(_, contents)| contents).collect()
}

/// Looks at that many disks; gives the number of recoveries that were cut as well, or what was
/// wrong.
fn look(story: &Story, log: &[Change], cuts: &[usize], images: usize) -> Result<usize, String> {
    let mut second_cuts = 0;
    for seed in 0..images {
        let mut chance = Chance(seed as u64);
        let cut = cuts[chance.below(cuts.len())];
        let bytes = disk_after(&story.before, &log[..cut], &mut chance);
        let allowed = allowed(&story.states, cut);
        let is_allowed = |disk: &Recorder| {
            let held = open(disk).and_then(|store| contents(&store));
            held.is_some_and(|held| allowed.contains(&&held))
        };
        let disk = Recorder::holding(bytes.clone());
        if !is_allowed(&disk) {
            return Err(format!("seed {seed}: a cut after {cut} changes"));
        }
        // Once more, with a cut while the first is recovered from.
        let recovery = disk.log();
        if recovery.is_empty() {
            continue;
        }
        second_cuts += 1;
        let second = chance.below(recovery.len() + 1);
        let bytes = disk_after(&bytes, &recovery[..second], &mut chance);
        if !is_allowed(&Recorder::holding(bytes)) {
            return Err(format!("seed {seed}: cuts after {cut} and {second} changes"));
        }
    }
    Ok(second_cuts)
}

#[test]
fn a_power_cut_at_any_change_loses_nothing_that_was_answered() {
    let images = std::env::var("VAULTSTORE_POWER_IMAGES").ok();
    let images = images.map_or(IMAGES, |number| number.parse().unwrap());
    let story = live();
    let cuts: Vec<usize> = (0..=story.log.len()).collect();
    let second_cuts = look(&story, &story.log, &cuts, images).unwrap();
    assert!(second_cuts > images / 4, "only {second_cuts} recoveries wrote anything");
    println!(
        "torture: power cuts, redb: {images} disks at {} changes, {second_cuts} cut again while they were recovered",
        story.log.len()
    );
}

/// What a rebuild writes is durable before the new file takes the place of the old one, which it
/// does not touch: the rename itself is tested where files are renamed.
#[test]
fn a_file_that_is_about_to_replace_a_vault_survives_any_power_cut() {
    let lived = live();
    let mut bytes = lived.before;
    lived.log.iter().for_each(|change| change.apply_to(&mut bytes, |_| true));
    let disk = Recorder::holding(bytes);
    let store = open(&disk).unwrap();
    let expected = contents(&store).unwrap();
    assert!(expected.records.len() > 100);
    let shared = store.shared.opened().unwrap();
    let old = LeakedByPanic::new(shared.database.get().unwrap().begin_read().unwrap());
    let touched = disk.changes();

    let new = Recorder::default();
    let made = open::empty_in(new.clone(), None, &RedbOptions::default()).unwrap();
    let write = rebuild::begin_write(&made).unwrap();
    rebuild::complete(&old, write, &made, Copied::default()).unwrap();
    assert_eq!(disk.changes(), touched, "the old file was written to");
    let log = new.log();
    for seed in 0..IMAGES as u64 / 4 {
        // Also what is written to the new file afterwards, before anybody changes a record.
        let bytes = disk_after(&[], &log, &mut Chance(seed));
        let held = open(&Recorder::holding(bytes)).and_then(|store| contents(&store));
        assert!(held.as_ref() == Some(&expected), "seed {seed}");
    }
    // The control: without its flushes, something is missing.
    let unflushed: Vec<Change> =
        log.iter().filter(|change| !matches!(change, Change::Flush)).cloned().collect();
    let lost = (0..100).any(|seed| {
        let bytes = disk_after(&[], &unflushed, &mut Chance(seed));
        open(&Recorder::holding(bytes)).and_then(|store| contents(&store)) != Some(expected.clone())
    });
    assert!(lost, "flushes that are left out are not noticed");
}

/// The controls. A commit flushes twice: its pages, and then the header that puts them in force.
#[test]
fn a_flush_that_is_left_out_is_noticed() {
    let story = live();
    let flushes: Vec<usize> =
        (0..story.log.len()).filter(|number| matches!(story.log[*number], Change::Flush)).collect();
    let without = |left_out: &dyn Fn(usize) -> bool| {
        let mut log = story.log.clone();
        let left_out = flushes.iter().enumerate().filter(|(number, _)| left_out(*number));
        for (_, at) in left_out {
            // It stays a change, so that the numbers of the others are the same.
            log[*at] = Change::Write { offset: 0, data: Vec::new() };
        }
        log
    };
    let cuts: Vec<usize> = (0..=story.log.len()).collect();
    for (name, log) in [
        ("all", without(&|_| true)),
        ("every first", without(&|number| number % 2 == 0)),
        ("every second", without(&|number| number % 2 == 1)),
    ] {
        assert!(look(&story, &log, &cuts, 5000).is_err(), "{name} flush was left out unnoticed");
    }
}
