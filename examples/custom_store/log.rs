//! The file: groups of operations, each written and read as a whole.
//!
//! ```text
//! group = u64 length of the head || head (JSON: the operations) || envelopes, one after the other || SHA-256 of all before
//! ```
//!
//! A group is durable once it is flushed. Only the last one can be torn by a crash; it is then cut
//! off when the file is opened.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One change of the vault.
#[derive(Serialize, Deserialize)]
pub(crate) enum Operation {
    /// A record with its new state; its envelope follows the head.
    Put(Row),
    /// A record with its new state; its envelope stays where it is.
    Touch(Row),
    /// A deleted record.
    Delete { id: String },
    /// A setting with its new value.
    Setting { name: String, value: String },
}

/// A record without its envelope. Times are microseconds since 1970.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) token: String,
    pub(crate) created_at: i64,
    pub(crate) updated_at: i64,
    pub(crate) expires_at: Option<i64>,
    pub(crate) soft_deleted_at: Option<i64>,
    /// The length of its envelope in bytes.
    pub(crate) len: u64,
}

/// A log that only this process has open.
pub(crate) struct Log {
    file: File,
    /// The offset of the next group.
    end: u64,
}

/// Maximum size of the operations of one group: a larger length is damage, and no reason to
/// allocate.
const LONGEST_HEAD: u64 = 1 << 30;

/// The length of a SHA-256 digest, in bytes.
const HASH_LEN: u64 = 32;

impl Log {
    /// Opens or creates the file, and passes on every operation with the offset of its envelope.
    pub(crate) fn open(path: &Path, mut replay: impl FnMut(Operation, u64)) -> io::Result<Self> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::ResourceBusy.into(),
            TryLockError::Error(error) => error,
        })?;
        let mut log = Self { file, end: 0 };
        let len = log.file.metadata()?.len();
        while log.end < len {
            let Some((operations, envelopes, next)) = log.read_group(len)? else {
                log.file.set_len(log.end)?;
                log.file.sync_all()?;
                break;
            };
            let mut at = envelopes;
            for operation in operations {
                let behind = if let Operation::Put(row) = &operation { row.len } else { 0 };
                replay(operation, at);
                at += behind;
            }
            log.end = next;
        }
        Ok(log)
    }

    /// Appends a group, flushes it, and returns the offset of its first envelope. After an error
    /// the end of the file is unknown, and the log must be reopened.
    pub(crate) fn append(
        &mut self,
        operations: &[Operation],
        envelopes: &[&[u8]],
    ) -> io::Result<u64> {
        let head = serde_json::to_vec(operations)?;
        let mut group = (head.len() as u64).to_be_bytes().to_vec();
        group.extend_from_slice(&head);
        let first = self.end + group.len() as u64;
        for envelope in envelopes {
            group.extend_from_slice(envelope);
        }
        group.extend_from_slice(&Sha256::digest(&group));
        self.file.seek(SeekFrom::Start(self.end))?;
        self.file.write_all(&group)?;
        self.file.sync_data()?;
        self.end += group.len() as u64;
        Ok(first)
    }

    /// Reads the bytes of an envelope.
    pub(crate) fn read(&mut self, at: u64, len: u64) -> io::Result<Vec<u8>> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.seek(SeekFrom::Start(at))?;
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Reads the operations of the next group, the offset of its first envelope, and that of the
    /// next group; `None` if it is torn. A damaged group that is not the last one is an error: what
    /// follows it was acknowledged.
    fn read_group(&mut self, len: u64) -> io::Result<Option<(Vec<Operation>, u64, u64)>> {
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut length = [0; 8];
        if len - self.end < 8 {
            return Ok(None);
        }
        self.file.read_exact(&mut length)?;
        let head_len = u64::from_be_bytes(length);
        let envelopes = self.end + 8 + head_len.min(LONGEST_HEAD);
        if head_len > LONGEST_HEAD || envelopes > len {
            return Ok(None);
        }
        let mut head = vec![0; usize::try_from(head_len).map_err(io::Error::other)?];
        self.file.read_exact(&mut head)?;
        let Ok(operations) = serde_json::from_slice::<Vec<Operation>>(&head) else {
            return Ok(None);
        };
        let mut behind = 0_u64;
        for operation in &operations {
            if let Operation::Put(row) = operation {
                behind = behind.saturating_add(row.len);
            }
        }
        let next = envelopes.saturating_add(behind).saturating_add(HASH_LEN);
        if next > len {
            return Ok(None);
        }
        let mut hash = Hashing(Sha256::new());
        hash.write_all(&length)?;
        hash.write_all(&head)?;
        io::copy(&mut (&self.file).take(behind), &mut hash)?;
        let mut stored = [0; 32];
        self.file.read_exact(&mut stored)?;
        match (hash.0.finalize()[..] == stored, next == len) {
            (true, _) => Ok(Some((operations, envelopes, next))),
            (false, true) => Ok(None),
            (false, false) => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// A hash that bytes can be copied into.
struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
