//! Power cuts under SQLite: a library in front of the C library (`power.c`) writes down what the
//! command changes in the vault's folder, and disks as a cut may have left them are opened.
//!
//! What was flushed is on the disk for certain; of the rest any part may be there and any may be
//! missing: writes in sectors of 512 bytes, in any order, lengths, and names. When a command has
//! answered, all that it did is there; before, each record is as it was before the command or after
//! it. The controls leave out the flushes of one kind of file, and the test has to notice each.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use tempfile::TempDir;
use vaultstore::store::PageLimit;
use vaultstore::{Record, StoreUrl};

use crate::rounds::{Chances, run, seconds};

const SECTOR: usize = 512;

/// How many disks are looked at; under torture, ten times as many for each second.
const DISKS: u64 = 300;

/// How many disks a control may need. Most show a missing flush within ten.
const CONTROL: u64 = 3000;

/// One change, as `power.c` writes it down. A file is known by its inode and by how often that was
/// created.
#[derive(Clone, Debug)]
enum Change {
    Create { path: String, file: File },
    Write { file: File, offset: usize, data: Vec<u8> },
    Truncate { file: File, len: usize },
    Sync { file: File },
    Remove { path: String },
}

type File = (u64, u32);

/// What a disk holds.
#[derive(Clone, Default)]
struct Disk {
    names: BTreeMap<String, File>,
    contents: BTreeMap<File, Vec<u8>>,
}

impl Disk {
    fn apply(&mut self, change: &Change, keep: impl Fn(usize) -> bool) {
        match change {
            Change::Create { path, file } => drop(self.names.insert(path.clone(), *file)),
            Change::Remove { path } => drop(self.names.remove(path)),
            Change::Sync { .. } => {}
            Change::Truncate { file, len } => {
                self.contents.entry(*file).or_default().resize(*len, 0);
            }
            Change::Write { file, offset, data } => {
                let bytes = self.contents.entry(*file).or_default();
                for (number, sector) in data.chunks(SECTOR).enumerate() {
                    let at = offset + number * SECTOR;
                    if keep(number) {
                        bytes.resize(bytes.len().max(at + sector.len()), 0);
                        bytes[at..at + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }
}

/// What happened: a disk, the changes made to it, and what the vault held when each command had
/// answered, by the number of changes made by then.
struct Story {
    before: Disk,
    log: Vec<Change>,
    folder_inode: u64,
    states: Vec<(usize, Vec<Record>)>,
}

fn records(vault: &Path) -> Option<Vec<Record>> {
    run(async {
        let url: StoreUrl = format!("sqlite:{}", vault.display()).parse().unwrap();
        let store = url.open().await.ok()?;
        let page = store.list(None, PageLimit::new(usize::MAX, usize::MAX)).await.ok()?;
        // The tokens are in an index of their own.
        let tokens: Vec<_> = page.records.iter().map(|record| record.token.clone()).collect();
        let found = store.find(&tokens).await.ok()?;
        store.close().await;
        found.iter().flatten().eq(&page.records).then_some(page.records)
    })
}

/// The commands of the story, each of them recorded.
struct Recorder {
    folder: TempDir,
    aside: TempDir,
}

impl Recorder {
    fn new() -> Self {
        let (folder, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let source = aside.path().join("power.c");
        fs::write(&source, include_str!("power.c")).unwrap();
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(aside.path().join("power.so"));
        let status = compiler.arg(source).args(["-ldl", "-lpthread"]).status().unwrap();
        assert!(status.success(), "power.c was not compiled");
        for name in ["old", "new"] {
            fs::write(aside.path().join(name), format!("the {name} password")).unwrap();
        }
        Self { folder, aside }
    }

    fn vault(&self) -> PathBuf {
        // The path as the system names it, which the library compares.
        self.folder.path().canonicalize().unwrap().join("v.db")
    }

    fn command(&self, args: &[&str], value: &str) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultstore"));
        command.args(args).arg("--vault").arg(format!("sqlite:{}", self.vault().display()));
        command.current_dir(self.aside.path()).stdin(Stdio::piped()).stdout(Stdio::null());
        command.env("LD_PRELOAD", self.aside.path().join("power.so"));
        command.env("VAULTSTORE_POWER_FOLDER", self.vault().parent().unwrap());
        command.env("VAULTSTORE_POWER_LOG", self.aside.path().join("log"));
        let mut child = command.spawn().unwrap();
        // A command that reads no value has closed the pipe.
        let _ = child.stdin.take().unwrap().write_all(value.as_bytes());
        assert!(child.wait().unwrap().success(), "{args:?}");
    }

    fn log(&self) -> Vec<(u64, u64, usize, Vec<u8>)> {
        let bytes = fs::read(self.aside.path().join("log")).unwrap_or_default();
        let mut rest = bytes.as_slice();
        let mut log = Vec::new();
        while !rest.is_empty() {
            let number = |at: usize| u64::from_ne_bytes(rest[at..at + 8].try_into().unwrap());
            let [kind, inode, offset, len] = [0, 8, 16, 24].map(number);
            let end = 32 + usize::try_from(len).unwrap();
            log.push((kind, inode, usize::try_from(offset).unwrap(), rest[32..end].to_vec()));
            rest = &rest[end..];
        }
        log
    }

    /// A vault's life: records are created, changed, rekeyed page by page, deleted and purged.
    fn live(&self) -> Story {
        use std::os::unix::fs::MetadataExt as _;
        self.command(&["init", "--kdf", "t=2,m=19456,p=1"], "");
        let vault = self.vault();
        let inode = fs::metadata(&vault).unwrap().ino();
        let path = vault.display().to_string();
        let before = Disk {
            names: BTreeMap::from([(path, (inode, 0))]),
            contents: BTreeMap::from([((inode, 0), fs::read(&vault).unwrap())]),
        };
        let start = self.log().len();
        let mut states = vec![(0, records(&vault).unwrap())];
        let mut answered = |args: &[&str], value: &str| {
            self.command(args, value);
            states.push((self.log().len() - start, records(&vault).unwrap()));
        };
        for token in ["a", "b", "c", "d", "e", "f"] {
            let value = token.repeat(2000);
            answered(&["create", "--token", token, "--password-file", "old"], &value);
        }
        answered(&["update", "b", "--password-file", "old"], &"updated".repeat(3000));
        answered(
            &[
                "rekey",
                "--old-password-file=old",
                "--new-password-file=new",
                "--state=state",
                "--page-size=2",
                "--progress=none",
            ],
            "",
        );
        answered(&["delete", "a"], "");
        answered(&["renew", "c", "--expires-in", "1s"], "");
        std::thread::sleep(std::time::Duration::from_millis(1100));
        answered(&["purge-expired", "--hard"], "");
        let folder_inode = fs::metadata(vault.parent().unwrap()).unwrap().ino();
        Story { before, log: changes(&self.log()[start..]), folder_inode, states }
    }
}

/// Names each file. The index of the write-ahead log is no part of the vault: it keeps its place in
/// the log, and is left out of the disks.
fn changes(log: &[(u64, u64, usize, Vec<u8>)]) -> Vec<Change> {
    let mut created: BTreeMap<u64, u32> = BTreeMap::new();
    let change = |(kind, inode, offset, data): &(u64, u64, usize, Vec<u8>)| {
        let path = || String::from_utf8(data.clone()).unwrap();
        if *kind == 1 {
            *created.entry(*inode).or_default() += 1;
        }
        let file = (*inode, created.get(inode).copied().unwrap_or(0));
        match kind {
            1 => Change::Create { path: path(), file },
            2 => Change::Write { file, offset: *offset, data: data.clone() },
            3 => Change::Truncate { file, len: *offset },
            4 => Change::Sync { file },
            5 => Change::Remove { path: path() },
            _ => unreachable!("SQLite renames no file: {}", path()),
        }
    };
    log.iter().map(change).collect()
}

/// Whether this change is on the disk for certain after that flush.
fn is_flushed_by(change: &Change, flushed: File, folder_inode: u64) -> bool {
    match change {
        Change::Write { file, .. } | Change::Truncate { file, .. } => *file == flushed,
        Change::Create { .. } | Change::Remove { .. } => flushed.0 == folder_inode,
        Change::Sync { .. } => false,
    }
}

/// A disk after these changes: what was flushed, and of the rest what chance keeps.
fn disk_after(story: &Story, log: &[Change], chances: &mut Chances) -> Disk {
    let kind = chances.below(5);
    let mut disk = story.before.clone();
    for (number, change) in log.iter().enumerate() {
        let is_flushed = log[number..].iter().any(|later| {
            matches!(later, Change::Sync { file } if is_flushed_by(change, *file, story.folder_inode))
        });
        let seed = chances.below(u64::MAX);
        let coin = |sector: usize| (seed >> (sector % 60)) & 1 == 1;
        match kind {
            _ if is_flushed => disk.apply(change, |_| true),
            // Kept, lost, lost by chance, torn.
            0 => disk.apply(change, |_| true),
            1 => {}
            2 if !coin(7) => {}
            2 => disk.apply(change, |_| true),
            _ if matches!(change, Change::Write { .. }) => disk.apply(change, coin),
            _ if coin(7) => disk.apply(change, |_| true),
            _ => {}
        }
    }
    disk
}

/// Opens the vault on a disk.
fn open(disk: &Disk) -> Option<Vec<Record>> {
    let folder = tempfile::tempdir().unwrap();
    for (path, file) in &disk.names {
        let name = Path::new(path).file_name().unwrap().to_str().unwrap();
        if !name.ends_with("-shm") {
            let empty = Vec::new();
            fs::write(folder.path().join(name), disk.contents.get(file).unwrap_or(&empty)).unwrap();
        }
    }
    records(&folder.path().join("v.db"))
}

/// Whether each record is as it was before the command that was cut, or after it.
fn is_allowed(held: &[Record], before: &[Record], after: &[Record]) -> bool {
    let of = |records: &[Record], record: &Record| {
        records.iter().find(|other| other.id == record.id).cloned()
    };
    let is_there = |record: &Record| held.iter().any(|other| other.id == record.id);
    let lost = |records: &[Record], others: &[Record]| {
        records.iter().any(|record| of(others, record).is_some() && !is_there(record))
    };
    let is_one = |record: &Record| {
        let found = Some(record.clone());
        of(before, record) == found || of(after, record) == found
    };
    held.iter().all(is_one) && !lost(before, after)
}

/// Looks at that many disks, and tells the first that is wrong.
fn look(story: &Story, log: &[Change], places: &[usize], disks: u64) -> Result<(), String> {
    for number in 0..disks {
        let mut chances = Chances::of(number);
        let bound = u64::try_from(places.len()).unwrap();
        let cut = places[usize::try_from(chances.below(bound)).unwrap()];
        let last = story.states.iter().rposition(|(at, _)| *at <= cut).unwrap();
        let before = &story.states[last];
        let after = story.states.get(last + 1).filter(|_| before.0 < cut).unwrap_or(before);
        let held = open(&disk_after(story, &log[..cut], &mut chances));
        if !held.is_some_and(|held| is_allowed(&held, &before.1, &after.1)) {
            return Err(format!("disk {number}: a cut after {cut} of {} changes", story.log.len()));
        }
    }
    Ok(())
}

#[test]
fn a_power_cut_at_any_change_of_an_sqlite_vault_loses_nothing() {
    let recorder = Recorder::new();
    let story = recorder.live();
    assert_eq!(story.states.last().unwrap().1.len(), 5);
    let everywhere: Vec<usize> = (0..=story.log.len()).collect();
    let disks = DISKS + seconds().unwrap_or(0) * 10;
    look(&story, &story.log, &everywhere, disks).unwrap();
    // All that was answered is there when the command ends.
    let answered: Vec<usize> = story.states.iter().map(|(at, _)| *at).collect();
    look(&story, &story.log, &answered, disks).unwrap();
    for (of, is_left_out, places) in controls(&story, answered) {
        // In place of the flush of a file, one of nothing: the places of the cuts stay.
        let nothing = Change::Sync { file: (0, 0) };
        let sabotaged = story.log.iter().zip(is_left_out);
        let sabotaged: Vec<Change> = sabotaged
            .map(|(change, left_out)| if left_out { nothing.clone() } else { change.clone() })
            .collect();
        let missed = look(&story, &sabotaged, &places, CONTROL);
        assert!(missed.is_err(), "nobody misses the flushes of {of}");
    }
    println!(
        "torture: power cuts, SQLite: {} disks at {} changes of {} commands, lost: 0",
        2 * disks,
        story.log.len(),
        story.states.len() - 1
    );
}

/// The flushes of the write-ahead log, whose pages are lost while they are copied into the
/// database, and those of the database, whose pages are lost when the log is gone: which changes
/// they are, and where a cut shows that they are missing.
fn controls(story: &Story, answered: Vec<usize>) -> [(&'static str, Vec<bool>, Vec<usize>); 2] {
    let database: Vec<File> = story.before.names.values().copied().collect();
    let is_flush = |change: &Change, of_database: bool| match change {
        Change::Sync { file } => {
            file.0 != story.folder_inode && database.contains(file) == of_database
        }
        _ => false,
    };
    let flushes = |of_database| -> Vec<bool> {
        story.log.iter().map(|change| is_flush(change, of_database)).collect()
    };
    let of_database = flushes(true);
    let copied = (0..story.log.len()).filter(|number| of_database[*number]).collect();
    [("the write-ahead log", flushes(false), copied), ("the database", of_database, answered)]
}
