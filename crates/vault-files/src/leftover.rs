//! What a creation that was broken off has left at a path: earlier versions created a vault's file
//! in place, so that a kill or a power cut could leave it empty, filled with zeros, or with nothing
//! but a header.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Read as _},
    path::Path,
};

/// How many bytes of the start of a file tell whether it has a database's header.
pub const START: usize = 512;

/// How long a file of zeros may be. More than any database has after its creation, and little
/// enough to read.
const LONGEST: u64 = 16 << 20;

/// Says how many bytes at the start of a file are its database's header, which describes the file
/// and contains none of its data; `None` if the start is not that of such a database. Gets up to
/// [`START`] bytes.
pub type HeaderLen = fn(start: &[u8]) -> Option<usize>;

/// Returns whether a file contains nothing, or nothing but zeros after the header of a database.
///
/// Only an ordinary file of this user with a single name counts, and none behind a symbolic link. A
/// file that cannot be read is no leftover.
#[must_use]
pub fn is_leftover(path: &Path, header: HeaderLen) -> bool {
    holds_no_data(path, header).unwrap_or(false)
}

/// Returns whether a path names an ordinary file of this user with a single name, without a
/// symbolic link.
#[must_use]
pub fn is_ours_alone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && has_one_owner_and_name(&found))
}

fn holds_no_data(path: &Path, header: HeaderLen) -> io::Result<bool> {
    if !is_ours_alone(path) {
        return Ok(false);
    }
    // A file that replaced this one in the meantime could be a pipe, which must not block.
    let mut file = open(path)?;
    let opened = file.metadata()?;
    if !opened.is_file() || opened.len() > LONGEST {
        return Ok(false);
    }
    let mut start = Vec::with_capacity(START);
    file.by_ref().take(START as u64).read_to_end(&mut start)?;
    let header = header(&start).unwrap_or(0);
    if !is_zero(start.get(header..).unwrap_or_default()) {
        return Ok(false);
    }
    let mut to_skip = header.saturating_sub(start.len());
    let mut buffer = [0; 1 << 13];
    let mut rest = file.take(LONGEST);
    loop {
        let read = match rest.read(&mut buffer) {
            Ok(0) => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let skipped = to_skip.min(read);
        to_skip -= skipped;
        if !is_zero(&buffer[skipped..read]) {
            return Ok(false);
        }
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

#[cfg(unix)]
fn has_one_owner_and_name(found: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    found.uid() == rustix::process::geteuid().as_raw() && found.nlink() == 1
}

#[cfg(not(unix))]
fn has_one_owner_and_name(_: &Metadata) -> bool {
    true
}

#[cfg(unix)]
fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

#[cfg(not(unix))]
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four bytes of magic, and then the length.
    fn header(start: &[u8]) -> Option<usize> {
        start.strip_prefix(b"ours")?.first().map(|len| usize::from(*len) * 16)
    }

    fn file(bytes: &[&[u8]]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        fs::write(&path, bytes.concat()).unwrap();
        is_leftover(&path, header)
    }

    #[test]
    fn a_file_without_data_is_a_leftover_and_no_other_is() {
        let zeros = vec![0; 1 << 20];
        assert!(file(&[]));
        assert!(file(&[&[0]]));
        assert!(file(&[&zeros]));
        assert!(file(&[b"ours\x01 with name", &zeros[..]]) && file(&[b"ours\x01"]));
        assert!(file(&[b"ours\xff", &[1; 4075], &zeros]));
        assert!(!file(&[b"ours\xff", &[1; 4076], &zeros]));
        assert!(!file(&[b"ours\x01 with a long name", &zeros]));
        assert!(!file(&[b"theirs"]));
        assert!(!file(&[&zeros, b"x"]));
        assert!(!file(&[b"ours\x01", &zeros, b"x"]));
        assert!(!file(&[b"\n"]));
    }

    #[test]
    fn a_file_that_is_too_long_to_be_a_new_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v");
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(!is_leftover(&path, header));
        File::create(&path).unwrap().set_len(LONGEST).unwrap();
        assert!(is_leftover(&path, header));
    }

    #[cfg(unix)]
    #[test]
    fn only_an_ordinary_file_with_one_name_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("v"), "").unwrap();
        std::os::unix::fs::symlink(path("v"), path("link")).unwrap();
        assert!(is_leftover(&path("v"), header));
        assert!(!is_leftover(&path("link"), header));
        assert!(!is_leftover(folder.path(), header));
        fs::hard_link(path("v"), path("second")).unwrap();
        assert!(!is_leftover(&path("v"), header));
        assert!(!is_leftover(&path("nothing"), header));
    }
}
