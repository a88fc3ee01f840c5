//! The disk blocks of a file that was replaced, and the room on a disk.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom, Write as _},
    path::Path,
};

/// What to do with the blocks of a file that has lost its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// [`Overwrite`](Self::Overwrite) on a rotating disk with a file system that writes in place,
    /// otherwise [`Punch`](Self::Punch).
    Auto,
    /// Write zeros over them, once.
    Overwrite,
    /// Return them to the file system, which may tell the disk.
    Punch,
    /// Nothing.
    Leave,
}

/// What was done with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlocksWere {
    /// They were written over by a file system that is known to write in place.
    OverwrittenInPlace,
    /// They were written over; whether in place is not known.
    Overwritten,
    /// They were returned to the file system.
    Punched,
    /// Nothing, which is also the answer where the file system cannot punch holes.
    Left,
}

/// How much is written at a time.
const CHUNK: usize = 1 << 20;

/// Gives up the content of an open file that has no name any more, and flushes that.
///
/// # Errors
/// What the system says; part of it may have been done.
pub fn give_up(file: &mut File, how: Blocks) -> io::Result<BlocksWere> {
    let in_place = writes_in_place(file);
    let how = match how {
        Blocks::Auto if in_place && is_rotating(file) => Blocks::Overwrite,
        Blocks::Auto => Blocks::Punch,
        how => how,
    };
    let len = file.metadata()?.len();
    let done = match how {
        Blocks::Overwrite => {
            overwrite(file, len)?;
            if in_place { BlocksWere::OverwrittenInPlace } else { BlocksWere::Overwritten }
        }
        Blocks::Auto | Blocks::Punch if len > 0 && punch(file, len)? => BlocksWere::Punched,
        Blocks::Auto | Blocks::Punch | Blocks::Leave => return Ok(BlocksWere::Left),
    };
    file.sync_all()?;
    Ok(done)
}

fn overwrite(file: &mut File, len: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK];
    file.seek(SeekFrom::Start(0))?;
    let mut left = len;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        file.write_all(&zeros[..now])?;
        left -= now as u64;
    }
    Ok(())
}

/// Returns whether it could be done.
#[cfg(target_os = "linux")]
fn punch(file: &File, len: u64) -> io::Result<bool> {
    use rustix::{
        fs::{FallocateFlags, fallocate},
        io::Errno,
    };
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, flags, 0, len) {
        Ok(()) => Ok(true),
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn punch(_: &File, _: u64) -> io::Result<bool> {
    Ok(false)
}

/// ext2 to ext4 and XFS; an XFS file that shares blocks with another one is an exception that
/// cannot be seen from here.
#[cfg(target_os = "linux")]
fn writes_in_place(file: &File) -> bool {
    const EXT: u32 = 0xEF53;
    const XFS: u32 = 0x5846_5342;
    // The type is an int of another size on each architecture; the numbers fit into 32 bits.
    rustix::fs::fstatfs(file).is_ok_and(|found| {
        let kind = u64::try_from(found.f_type).unwrap_or(0);
        kind == u64::from(EXT) || kind == u64::from(XFS)
    })
}

#[cfg(not(target_os = "linux"))]
fn writes_in_place(_: &File) -> bool {
    false
}

/// Whether the kernel says so of the disk; of a partition, its disk is asked.
#[cfg(target_os = "linux")]
fn is_rotating(file: &File) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(found) = file.metadata() else { return false };
    let (major, minor) = (rustix::fs::major(found.dev()), rustix::fs::minor(found.dev()));
    let device = format!("/sys/dev/block/{major}:{minor}");
    let flags = ["queue/rotational", "../queue/rotational"];
    let flag = flags.iter().find_map(|flag| std::fs::read(format!("{device}/{flag}")).ok());
    flag.is_some_and(|flag| flag.starts_with(b"1"))
}

#[cfg(not(target_os = "linux"))]
fn is_rotating(_: &File) -> bool {
    false
}

/// The bytes that this user can still write to the file system of a path; `None` if unknown.
#[must_use]
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

/// The bytes that can still be written, which is not known here.
#[must_use]
#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(folder: &Path, content: &[u8]) -> File {
        let path = folder.join("file");
        fs::write(&path, content).unwrap();
        let file = fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        file
    }

    fn content(file: &mut File) -> Vec<u8> {
        use io::Read as _;
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_is_given_up_reads_as_zeros() {
        let folder = tempfile::tempdir().unwrap();
        for how in [Blocks::Auto, Blocks::Overwrite, Blocks::Punch] {
            let mut file = file(folder.path(), &vec![1; CHUNK + 5000]);
            let done = give_up(&mut file, how).unwrap();
            if done == BlocksWere::Left {
                assert_ne!(how, Blocks::Overwrite, "writing is possible everywhere");
            } else {
                assert_eq!(content(&mut file), vec![0; CHUNK + 5000], "{how:?}");
            }
        }
        let mut left = file(folder.path(), b"left");
        assert_eq!(give_up(&mut left, Blocks::Leave).unwrap(), BlocksWere::Left);
        assert_eq!(content(&mut left), b"left");
        let mut empty = file(folder.path(), b"");
        give_up(&mut empty, Blocks::Auto).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_disk_has_some_room() {
        let folder = tempfile::tempdir().unwrap();
        assert!(free_bytes(folder.path()).is_some_and(|free| free > 0));
        assert_eq!(free_bytes(&folder.path().join("nothing")), None);
    }
}
