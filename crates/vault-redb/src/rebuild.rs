//! Writing the vault into a new file that takes the place of the old one.
//!
//! | step | a crash after it leaves |
//! | --- | --- |
//! | refuse what could not be kept | the old file |
//! | create a file in a private folder next to the vault, with its owner, mode and attributes | the old file, and a folder that the next rebuild removes |
//! | write every row, commit, read it back and compare | the same |
//! | flush, rename over the vault, flush the folder | the old file or the new one, complete |
//! | write zeros over the head of the old file, give up its blocks, release its lock | the new file |
//!
//! Calls that change something are run one at a time ([`Threads`](crate::threads::Threads)), and
//! only by the process that has the file open. So no change can come between, and those that wait
//! work on the new file. Reads go on in the old file until it is renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use redb::{
    Durability, ReadTransaction, ReadableDatabase as _, WriteTransaction, backends::FileBackend,
};
use vault_files::{
    Blocks, BlocksWere, Identity, NewFile, NotCopied, NotReplaced, copy_attributes, free_bytes,
};
use vault_store::{
    OldBlocks, RecordId, Remains, RemainsKind, Replacement, ScrubOptions, ScrubReport, StoreError,
    StoreErrorKind as Kind, WriteOutcome,
};

use crate::RedbOptions;
use crate::contents::{self, Copied, Written};
use crate::error::{self, Fault};
use crate::leak::LeakedByPanic;
use crate::open::{empty_in, owner_only};
use crate::shared::{Open, Shared, no_panic};

/// How long to wait for reads that still use the old file.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for what a new file may need beyond the old one.
const SPARE_ROOM: u64 = 64 << 20;

/// As much of a file as is needed to recognize it.
const HEAD: usize = 4096;

/// A new file in the making. Dropping it removes the file.
#[derive(Debug)]
pub(crate) struct Rebuild {
    // In this order they are dropped: the transaction before its database, the file before its
    // folder.
    write: LeakedByPanic<WriteTransaction>,
    new: Open,
    place: NewFile,
    copied: Copied,
    old: Arc<LeakedByPanic<ReadTransaction>>,
    bytes_before: u64,
}

/// Writes the vault again. Runs where changes run.
pub(crate) fn scrub(shared: &Shared, options: ScrubOptions) -> Result<ScrubReport, Fault> {
    let _under_way = shared.writes().begin();
    Rebuild::begin(shared)?.publish(shared, options)
}

impl Rebuild {
    /// Refuses what could not be kept, and creates the new file. Until it is published or dropped,
    /// the caller keeps every change of the vault out.
    pub(crate) fn begin(shared: &Shared) -> Result<Self, Fault> {
        let path = shared.path();
        let open = shared.opened()?;
        if open.file.is_read_only() {
            return Err(Fault::ReadOnly);
        }
        let disk = open.disk.as_ref().ok_or_else(|| unsupported(path))?;
        check(path, disk)?;
        let bytes_before = disk.metadata()?.len();
        let old = LeakedByPanic::new(open.database.get()?.begin_read()?);
        if let Some(table) = contents::foreign_table(old.get()?)? {
            let what = format!("its file also holds the table {table:?}, which is not of a vault");
            return Err(refused(path, &what, "move that table to a file of its own"));
        }
        let place = NewFile::begin_replacement(path)
            .map_err(|trouble| error::not_rebuilt(trouble, path))?;
        let (new, write) =
            create(&place, disk, shared.options()).map_err(|fault| not_filled(fault, path))?;
        let (old, copied) = (Arc::new(old), Copied::default());
        Ok(Self { write, new, place, copied, old, bytes_before })
    }

    /// The vault as it was at the beginning.
    pub(crate) fn old(&self) -> &Arc<LeakedByPanic<ReadTransaction>> {
        &self.old
    }

    /// Whether this record, if it exists, was copied.
    pub(crate) fn holds(&self, id: &RecordId) -> bool {
        self.copied.holds(id.as_bytes())
    }

    /// Whether a record after this one was copied.
    pub(crate) fn holds_after(&self, after: Option<&RecordId>) -> bool {
        self.copied.holds_after(after.map(RecordId::as_bytes))
    }

    /// What was copied so far, and is not committed yet.
    pub(crate) fn written_so_far(&self) -> Result<&WriteTransaction, Fault> {
        self.write.get()
    }

    /// Copies the records up to each one of a batch, and replaces its envelope on the way.
    pub(crate) fn swap(
        &mut self,
        batch: &[Replacement],
        path: &Path,
    ) -> Result<Vec<WriteOutcome>, Fault> {
        contents::swap(self.old.get()?, self.write.get()?, &mut self.copied, batch)
            .map_err(|fault| not_filled(fault, path))
    }

    /// Copies the rest, and puts the new file in the place of the old one. Runs where changes run.
    pub(crate) fn publish(
        self,
        shared: &Shared,
        options: ScrubOptions,
    ) -> Result<ScrubReport, Fault> {
        let path = shared.path();
        let Self { write, new, place, copied, old, bytes_before } = self;
        let written =
            complete(&old, write, &new, copied).map_err(|fault| not_filled(fault, path))?;
        drop(old);
        let bytes_after =
            new.disk.as_ref().map(File::metadata).transpose()?.map(|found| found.len());
        place.replace().map_err(|error| match error {
            NotReplaced::Certainly(error) => Fault::Phrased(
                StoreError::new(
                    Kind::Other,
                    format!("{}: could not be replaced by the new file", path.display()),
                )
                .with_hint("check the permissions of the folder, and whether the file was moved")
                .with_source(error),
            ),
            // The path leads to the new file, and may lead to the old one after a power cut:
            // nothing more may be written to either.
            NotReplaced::Perhaps(error) => Fault::CommitInDoubt(redb::Error::Io(error)),
        })?;
        let retired = shared.go_on_with(new);
        let mut report = ScrubReport::of(written.records());
        (report.bytes_before, report.bytes_after) = (Some(bytes_before), bytes_after);
        match retired.and_then(sole_owner) {
            Some(old) => give_up(old, options.old_blocks, &mut report),
            None => report.remains.push(
                Remains::new(
                    RemainsKind::InUse,
                    "a read of this process still uses the old file, which was removed but not overwritten",
                )
                .remedy("scrub again once it has ended"),
            ),
        }
        Ok(report)
    }
}

/// Refuses what the new file could not take over, and a disk without room for it.
fn check(path: &Path, disk: &File) -> Result<(), Fault> {
    if cfg!(not(any(target_os = "linux", target_os = "android", target_vendor = "apple"))) {
        return Err(unsupported(path));
    }
    if let Ok(target) = fs::read_link(path) {
        let what = format!("it is a symbolic link to {}", target.display());
        return Err(refused(path, &what, "name the file itself"));
    }
    let identity = Identity::of(disk)?;
    if !Identity::at(path).is_ok_and(|there| there.is_same_file(&identity)) {
        let what = "the path does not lead to the open file any more";
        return Err(refused(path, what, "find out which file is the vault, and open that one"));
    }
    if identity.links() > 1 {
        let what = "the file has another name (a hard link), which would keep the old content";
        return Err(refused(path, what, "remove the other name"));
    }
    let len = disk.metadata()?.len();
    let needed = len.saturating_add(len / 20).saturating_add(SPARE_ROOM);
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    match free_bytes(folder.unwrap_or(Path::new("."))) {
        Some(free) if free < needed => Err(no_room(path, free, needed)),
        _ => Ok(()),
    }
}

/// Creates the new file, with what belongs to the old one, and begins its only transaction.
fn create(
    place: &NewFile,
    disk: &File,
    options: &RedbOptions,
) -> Result<(Open, LeakedByPanic<WriteTransaction>), Fault> {
    let mut flags = OpenOptions::new();
    flags.read(true).write(true).create_new(true);
    owner_only(&mut flags);
    let file = flags.open(place.path())?;
    copy_attributes(disk, &file).map_err(not_kept)?;
    let own = file.try_clone()?;
    let new = empty_in(FileBackend::new(file)?, Some(own), options)?;
    let write = begin_write(&new)?;
    Ok((new, write))
}

/// The transaction that everything is written in.
pub(crate) fn begin_write(new: &Open) -> Result<LeakedByPanic<WriteTransaction>, Fault> {
    let mut transaction = new.database.get()?.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_two_phase_commit(true);
    Ok(LeakedByPanic::new(transaction))
}

/// Copies what is left, commits, and compares what can be read then. All of it is durable when this
/// returns.
pub(crate) fn complete(
    old: &LeakedByPanic<ReadTransaction>,
    write: LeakedByPanic<WriteTransaction>,
    new: &Open,
    copied: Copied,
) -> Result<Written, Fault> {
    let written = contents::complete(old.get()?, write.get()?, copied)?;
    write.take()?.commit().map_err(|error| Fault::Redb(error.into()))?;
    let read = LeakedByPanic::new(new.database.get()?.begin_read()?);
    if contents::read_back(read.get()?)? != written {
        let what = "the new file does not hold what was written to it, and was removed";
        return Err(StoreError::new(Kind::Other, what)
            .with_hint("check the disk and the memory of this machine")
            .into());
    }
    Ok(written)
}

/// Waits until no call uses the old file any more.
fn sole_owner(mut old: Arc<Open>) -> Option<Open> {
    // Nothing that redb still does may reach it; that includes what follows a wait in vain.
    old.file.retire();
    let end = Instant::now() + PATIENCE;
    loop {
        old = match Arc::try_unwrap(old) {
            Ok(open) => return Some(open),
            Err(shared) => shared,
        };
        if Instant::now() > end {
            return None;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes the old file useless to a process that has opened it before it lost its name, and gives up
/// its blocks. The vault is rebuilt by now: what cannot be done is said in the report.
fn give_up(old: Open, how: OldBlocks, report: &mut ScrubReport) {
    let Open { database, file: _file, disk } = old;
    // The lock stays until the handles are gone.
    let _ = no_panic(|| {
        drop(database);
        Ok(())
    });
    let Some(mut disk) = disk else { return };
    let how = match how {
        OldBlocks::Overwrite => Blocks::Overwrite,
        OldBlocks::Punch => Blocks::Punch,
        OldBlocks::Leave => Blocks::Leave,
        _ => Blocks::Auto,
    };
    let done = zero_head(&mut disk).and_then(|()| vault_files::give_up(&mut disk, how));
    let (done, what) = match done {
        Ok(BlocksWere::OverwrittenInPlace) => (OldBlocks::Overwrite, None),
        Ok(BlocksWere::Overwritten) => (
            OldBlocks::Overwrite,
            Some(
                "the old file was written over, on a file system that may have put that elsewhere",
            ),
        ),
        Ok(BlocksWere::Punched) => (
            OldBlocks::Punch,
            Some(
                "the blocks of the old file were returned to the file system, and may keep their content until they are reused",
            ),
        ),
        Ok(BlocksWere::Left) => (
            OldBlocks::Leave,
            Some(
                "the blocks of the old file are free and keep their content until they are reused",
            ),
        ),
        Err(_) => (
            OldBlocks::Leave,
            Some(
                "the old file could not be written over: its blocks keep their content until they are reused",
            ),
        ),
    };
    report.old_blocks = Some(done);
    if let Some(what) = what {
        let remains = Remains::new(RemainsKind::OldBlocks, what);
        report.remains.push(remains.remedy("`fstrim` tells a solid-state disk which blocks are free; only encryption of the disk covers the rest"));
    }
}

fn zero_head(disk: &mut File) -> std::io::Result<()> {
    let len = usize::try_from(disk.metadata()?.len()).unwrap_or(HEAD).min(HEAD);
    disk.seek(SeekFrom::Start(0))?;
    disk.write_all(&vec![0; len])?;
    disk.sync_all()
}

fn refused(path: &Path, what: &str, hint: &'static str) -> Fault {
    let message = format!("{}: cannot be rebuilt, because {what}", path.display());
    StoreError::new(Kind::Unsupported, message).with_hint(hint).into()
}

fn unsupported(path: &Path) -> Fault {
    let message =
        format!("{}: files cannot be replaced in this way on this system", path.display());
    StoreError::new(Kind::Unsupported, message)
        .with_hint("copy the vault to another place, and destroy this one")
        .into()
}

fn no_room(path: &Path, free: u64, needed: u64) -> Fault {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "{}: the new file may need {} MiB, and the disk has {} MiB left",
        path.display(),
        mib(needed),
        mib(free)
    );
    StoreError::new(Kind::Full, message).into()
}

fn not_kept(not_copied: NotCopied) -> Fault {
    let NotCopied { what, error } = not_copied;
    let message = format!("the new file cannot be given the {what} of the old one");
    StoreError::new(Kind::Denied, message)
        .with_hint("work as the owner of the vault, or as root")
        .with_source(error)
        .into()
}

/// Nothing was changed, whatever failed: nobody has the new file yet. Errors that name no file get
/// the vault's.
fn not_filled(fault: Fault, path: &Path) -> Fault {
    match fault {
        Fault::Redb(redb::Error::Io(error)) | Fault::CommitInDoubt(redb::Error::Io(error))
            if error::is_full(error.kind()) =>
        {
            let message = format!("{}: no space left on the disk for the new file", path.display());
            StoreError::new(Kind::Full, message).with_source(error).into()
        }
        Fault::Redb(redb::Error::Io(error)) | Fault::CommitInDoubt(redb::Error::Io(error)) => {
            let message = format!("{}: the new file could not be written", path.display());
            StoreError::new(Kind::Other, message).with_source(error).into()
        }
        other => other,
    }
}
