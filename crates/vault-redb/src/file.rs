//! The file under redb: writes are held back until it is known to be a vault, and observed during a
//! commit.

use std::{
    io,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use redb::{BackendError, StorageBackend};

use crate::pages::Pages;

/// The offset of the byte in redb's header that names the current commit; its lowest bit selects
/// one of two slots.
const GOD_BYTE: usize = 9;
const PRIMARY_SLOT: u8 = 1;
/// No slot: nothing has been written through this handle yet.
const UNKNOWN_SLOT: u8 = u8::MAX;

/// What may be done with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadWrite,
    /// Every change stays in memory, and others may read the file at the same time.
    ReadOnly,
}

/// A storage backend that adds three things to another one. Clones share the file.
///
/// *Held back*: redb writes when it opens a file (a mark that it is in use; after a crash, a
/// complete repair), and only an open database can be examined for a vault. Until
/// [`VaultFile::release`], therefore, every change stays in memory, on top of the file's contents.
/// A file that turns out to be something else is never modified.
///
/// *Checked*: a page that names a larger page than a vault needs is not given to redb, which would
/// take the memory for it ([`Pages`]).
///
/// *Watched*: a two-phase commit takes effect by the one header write that switches the slot. If a
/// commit fails, [`VaultFile::commit_may_have_happened`] says whether that write was attempted.
#[derive(Clone, Debug)]
pub(crate) struct VaultFile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: Box<dyn StorageBackend>,
    access: Access,
    released: AtomicBool,
    retired: AtomicBool,
    held_back: Mutex<Vec<Change>>,
    slot: AtomicU8,
    switched: AtomicBool,
    pages: Pages,
}

#[derive(Debug)]
enum Change {
    Write { offset: u64, data: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl VaultFile {
    /// A file that must not be modified before [`VaultFile::release`].
    pub(crate) fn held_back(file: impl StorageBackend, access: Access) -> Self {
        Self(Arc::new(Inner {
            file: Box::new(file),
            access,
            released: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            held_back: Mutex::default(),
            slot: AtomicU8::new(UNKNOWN_SLOT),
            switched: AtomicBool::new(false),
            pages: Pages::default(),
        }))
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.0.access == Access::ReadOnly
    }

    /// Applies every change so far, in order and with its barriers, so that a crash in between
    /// leaves something that redb can recover. From then on, changes go straight through.
    pub(crate) fn release(&self) -> io::Result<()> {
        let mut changes = self.changes();
        for change in changes.drain(..) {
            match change {
                Change::Write { offset, data } => self.0.file.write(offset, &data)?,
                Change::SetLen(len) => self.0.file.set_len(len)?,
                Change::Sync => self.0.file.sync_data()?,
            }
        }
        self.0.released.store(true, Ordering::Release);
        Ok(())
    }

    /// From now on nothing reaches the file any more, and its lock is kept until every handle of it
    /// is gone: another file has taken its place, and what redb writes when it closes this one
    /// would only make it look like a vault again.
    pub(crate) fn retire(&self) {
        self.0.retired.store(true, Ordering::Release);
        self.0.released.store(false, Ordering::Release);
    }

    fn is_retired(&self) -> bool {
        self.0.retired.load(Ordering::Acquire)
    }

    /// Starts watching a commit. The caller holds the write transaction, so there is only one.
    pub(crate) fn watch_commit(&self) {
        self.0.switched.store(false, Ordering::Release);
    }

    /// Returns whether the watched commit got as far as writing the header that puts it into
    /// effect.
    pub(crate) fn commit_may_have_happened(&self) -> bool {
        self.0.switched.load(Ordering::Acquire)
    }

    fn watch(&self, offset: u64, data: &[u8]) {
        if offset != 0 {
            return;
        }
        let slot = data.get(GOD_BYTE).map_or(UNKNOWN_SLOT, |byte| byte & PRIMARY_SLOT);
        let previous = self.0.slot.swap(slot, Ordering::AcqRel);
        if previous != slot || slot == UNKNOWN_SLOT {
            self.0.switched.store(true, Ordering::Release);
        }
    }

    /// The changes held back; `None` once they are released.
    fn pending(&self) -> Option<MutexGuard<'_, Vec<Change>>> {
        if self.0.released.load(Ordering::Acquire) { None } else { Some(self.changes()) }
    }

    /// A change is pushed completely or not at all, so a poisoned lock still guards a consistent
    /// list.
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.0.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn len_with(&self, changes: &[Change]) -> io::Result<u64> {
        let stored = self.0.file.len()?;
        Ok(changes.iter().fold(stored, |len, change| match change {
            Change::Write { offset, data } => len.max(offset.saturating_add(data.len() as u64)),
            Change::SetLen(len) => *len,
            Change::Sync => len,
        }))
    }

    fn read_with(&self, changes: &[Change], offset: u64, out: &mut [u8]) -> io::Result<()> {
        if offset.saturating_add(out.len() as u64) > self.len_with(changes)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let stored = self.0.file.len()?.saturating_sub(offset);
        let stored = usize::try_from(stored).unwrap_or(usize::MAX).min(out.len());
        let (from_file, beyond) = out.split_at_mut(stored);
        if !from_file.is_empty() {
            self.0.file.read(offset, from_file)?;
        }
        beyond.fill(0);
        for change in changes {
            change.apply_to(offset, out);
        }
        Ok(())
    }
}

impl Change {
    /// Applies held-back changes to what was read at an offset.
    fn apply_to(&self, offset: u64, out: &mut [u8]) {
        let index_of = |position: u64| {
            usize::try_from(position.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len())
        };
        match self {
            Self::Sync => {}
            Self::SetLen(len) => {
                let end = index_of(*len);
                out[end..].fill(0);
            }
            Self::Write { offset: start, data } => {
                let (from, to) =
                    (index_of(*start), index_of(start.saturating_add(data.len() as u64)));
                if from < to {
                    // Cut off what lies before the part that was read.
                    let skipped = usize::try_from(offset.saturating_sub(*start)).unwrap_or(0);
                    out[from..to].copy_from_slice(&data[skipped..skipped + (to - from)]);
                }
            }
        }
    }
}

impl StorageBackend for VaultFile {
    fn len(&self) -> io::Result<u64> {
        match self.pending() {
            Some(changes) => self.len_with(&changes),
            None => self.0.file.len(),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self.pending() {
            Some(changes) => self.read_with(&changes, offset, out)?,
            None => self.0.file.read(offset, out)?,
        }
        Ok(self.0.pages.check(offset, out)?)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.pending() {
            Some(mut changes) => {
                changes.push(Change::SetLen(len));
                Ok(())
            }
            None => self.0.file.set_len(len),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.pending() {
            Some(mut changes) => {
                changes.push(Change::Sync);
                Ok(())
            }
            None => self.0.file.sync_data(),
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.watch(offset, data);
        self.0.pages.written(offset, data.len());
        match self.pending() {
            Some(mut changes) => {
                changes.push(Change::Write { offset, data: data.to_vec() });
                Ok(())
            }
            None => self.0.file.write(offset, data),
        }
    }

    fn close(&self) -> io::Result<()> {
        if self.is_retired() { Ok(()) } else { self.0.file.close() }
    }

    /// A file that is only read is shared with other readers, and the system gives no exclusive
    /// lock on it.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match self.0.access {
            Access::ReadWrite => self.0.file.try_lock_range(start, end),
            Access::ReadOnly => self.0.file.try_lock_shared_range(start, end),
        }
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        match self.0.access {
            Access::ReadWrite => self.0.file.lock_range(start, end),
            Access::ReadOnly => self.0.file.lock_shared_range(start, end),
        }
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        if self.is_retired() { Ok(()) } else { self.0.file.unlock_range(start, end) }
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    fn file_of(bytes: &[u8]) -> InMemoryBackend {
        let file = InMemoryBackend::new();
        file.set_len(bytes.len() as u64).unwrap();
        file.write(0, bytes).unwrap();
        file
    }

    fn contents(file: &dyn StorageBackend) -> Vec<u8> {
        let mut bytes = vec![0xee; usize::try_from(file.len().unwrap()).unwrap()];
        file.read(0, &mut bytes).unwrap();
        bytes
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
        Read(u64, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0u64..40, proptest::collection::vec(any::<u8>(), 0..20))
                .prop_map(|(at, data)| Step::Write(at, data)),
            (0u64..60).prop_map(Step::SetLen),
            (0u64..40, 0usize..30).prop_map(|(at, len)| Step::Read(at, len)),
        ]
    }

    proptest! {
        #[test]
        fn a_held_back_file_reads_as_if_it_were_written(
            initial in proptest::collection::vec(any::<u8>(), 0..50),
            steps in proptest::collection::vec(step(), 0..20),
        ) {
            let held_back = VaultFile::held_back(file_of(&initial), Access::ReadWrite);
            let plain = file_of(&initial);
            for step in steps {
                match step {
                    Step::Write(at, data) => {
                        // The plain backend in memory cannot write beyond its end, and redb never
                        // does.
                        if at + data.len() as u64 <= plain.len().unwrap() {
                            held_back.write(at, &data).unwrap();
                            plain.write(at, &data).unwrap();
                        }
                    }
                    Step::SetLen(len) => {
                        held_back.set_len(len).unwrap();
                        plain.set_len(len).unwrap();
                    }
                    Step::Read(at, len) => {
                        let (mut ours, mut theirs) = (vec![1; len], vec![2; len]);
                        let outcomes = (held_back.read(at, &mut ours), plain.read(at, &mut theirs));
                        prop_assert_eq!(outcomes.0.is_ok(), outcomes.1.is_ok());
                        prop_assert!(outcomes.0.is_err() || ours == theirs);
                    }
                }
                prop_assert_eq!(contents(&held_back), contents(&plain));
            }
            prop_assert_eq!(contents(held_back.0.file.as_ref()), initial);
            held_back.release().unwrap();
            prop_assert_eq!(contents(held_back.0.file.as_ref()), contents(&plain));
        }
    }

    #[test]
    fn nothing_reaches_a_file_that_is_retired() {
        let file = VaultFile::held_back(file_of(&[1; 8]), Access::ReadWrite);
        file.release().unwrap();
        file.write(0, &[2; 4]).unwrap();
        file.retire();
        file.write(2, &[3; 4]).unwrap();
        file.sync_data().unwrap();
        assert_eq!(contents(&file), [2, 2, 3, 3, 3, 3, 1, 1]);
        assert_eq!(contents(file.0.file.as_ref()), [2, 2, 2, 2, 1, 1, 1, 1]);
    }

    #[test]
    fn only_a_switch_of_the_slot_counts_as_the_commit() {
        let file = VaultFile::held_back(file_of(&[0; 64]), Access::ReadWrite);
        file.write(0, &[0; 64]).unwrap();
        file.watch_commit();
        file.write(0, &[0; 64]).unwrap();
        file.write(10, &[1; 10]).unwrap();
        assert!(!file.commit_may_have_happened());
        file.write(0, &[1; 64]).unwrap();
        assert!(file.commit_may_have_happened());
    }
}
