//! Writing a whole vault again, so that its storage no longer tells what was replaced.

/// How [`VaultStore::scrub`](crate::store::VaultStore::scrub) and
/// [`StagedStore::publish`](crate::store::StagedStore::publish) work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubOptions {
    /// What happens to the disk blocks of a file that is replaced. Default:
    /// [`Auto`](OldBlocks::Auto).
    pub old_blocks: OldBlocks,
}

impl ScrubOptions {
    /// Sets what happens to the disk blocks of a file that is replaced.
    #[must_use]
    pub fn old_blocks(mut self, old_blocks: OldBlocks) -> Self {
        self.old_blocks = old_blocks;
        self
    }
}

/// What to do with the disk blocks of a file that was replaced by another one.
///
/// None of it reaches snapshots, backups, or blocks that the disk itself has moved elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OldBlocks {
    /// The store chooses: [`Overwrite`](Self::Overwrite) where the file system writes in place, on
    /// a rotating disk; [`Punch`](Self::Punch) elsewhere. A store without such a file ignores it.
    #[default]
    Auto,
    /// Write zeros over the file once. On a file system that copies on write, and on a solid-state
    /// disk, the zeros are stored elsewhere.
    Overwrite,
    /// Return the blocks to the file system, which may tell the disk (`discard`).
    Punch,
    /// Only remove the file.
    Leave,
}

/// What a scrub has done, and what it could not reach.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScrubReport {
    /// The number of rows that were written again, unreadable ones included.
    pub rows: u64,
    /// The size of the database before, with its log, in bytes; `None` if the store cannot tell.
    pub bytes_before: Option<u64>,
    /// The size of the database afterwards, with its log, in bytes.
    pub bytes_after: Option<u64>,
    /// What was done with the blocks of the file that was replaced; never
    /// [`Auto`](OldBlocks::Auto). `None` if the store replaced no file.
    pub old_blocks: Option<OldBlocks>,
    /// Where earlier envelopes, or traces of what was replaced, may remain within reach of someone
    /// who takes the database. Backups and snapshots are not listed: no store can know of them.
    pub remains: Vec<Remains>,
}

impl ScrubReport {
    /// Creates a report with this number of rows, and nothing that remains.
    #[must_use]
    pub fn of(rows: u64) -> Self {
        Self { rows, ..Self::default() }
    }

    /// Returns whether nothing remains that another scrub could remove.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.remains.iter().any(|remains| remains.kind.needs_another_scrub())
    }
}

/// One place that a scrub could not reach.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Remains {
    /// The kind of place.
    pub kind: RemainsKind,
    /// One line that says what remains, and where.
    pub what: String,
    /// One line that says what ends it, if anything does.
    pub remedy: Option<String>,
}

impl Remains {
    /// Creates an entry without a remedy.
    #[must_use]
    pub fn new(kind: RemainsKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), remedy: None }
    }

    /// Says what ends it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The kinds of [`Remains`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RemainsKind {
    /// Another process, or a reader, kept the database from emptying its log, or from giving up
    /// the old file. Scrubbing again when it has ended removes it.
    InUse,
    /// The disk blocks of the old file, which were returned to the file system as they were.
    OldBlocks,
    /// The write-ahead log of a server, until it has been written over.
    ServerLog,
    /// A replication slot, which keeps the log of a server.
    ReplicationSlot,
    /// An archive of the log of a server.
    Archive,
    /// A replica, which has disks of its own.
    Replica,
}

impl RemainsKind {
    /// Returns whether another scrub, at a better moment, removes it.
    #[must_use]
    pub fn needs_another_scrub(self) -> bool {
        self == Self::InUse
    }

    /// The name for programs: `in_use`, `old_blocks`, `server_log`, `replication_slot`, `archive`
    /// or `replica`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::OldBlocks => "old_blocks",
            Self::ServerLog => "server_log",
            Self::ReplicationSlot => "replication_slot",
            Self::Archive => "archive",
            Self::Replica => "replica",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_another_scrub_removes_makes_one_incomplete() {
        let mut report = ScrubReport::of(3);
        for kind in [RemainsKind::OldBlocks, RemainsKind::ServerLog, RemainsKind::Replica] {
            report.remains.push(Remains::new(kind, "something"));
        }
        assert!(report.is_complete());
        report.remains.push(Remains::new(RemainsKind::InUse, "the log").remedy("close it"));
        assert!(!report.is_complete());
    }
}
