//! Notes about the states of rekeys that were started with `--state FILE`: next to the other
//! states, each names such a file, so that `scrub` and `status` know of it. A note goes when its
//! rekey is finished.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::own_file::{self, Trouble};

/// The first bytes of a note; the rest is the path.
const MAGIC: &[u8] = b"vaultstore-rekey-elsewhere\n";
/// The end of the name of a note.
pub(crate) const ENDING: &str = "elsewhere";
/// More than any system's longest path.
const MAX_NOTE: u64 = 64 << 10;

/// Writes a note about a state in this file.
pub(crate) fn note(at: &Path, state: &Path) -> Result<(), Trouble> {
    let state = std::path::absolute(state)?;
    let bytes = [MAGIC, &bytes_of(state)?].concat();
    own_file::replace(at, MAGIC, &bytes)
}

/// Removes a note.
pub(crate) fn forget(at: &Path) -> Result<(), Trouble> {
    own_file::remove(at, MAGIC)
}

/// Returns the file that a note names.
pub(crate) fn read(at: &Path) -> Result<PathBuf, Trouble> {
    let file = own_file::open(at)?;
    let bytes = whole(file)?;
    let path = bytes.strip_prefix(MAGIC).ok_or(Trouble::Foreign)?;
    Ok(path_of(path)?)
}

fn whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_NOTE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "not every system's paths are bytes")]
fn bytes_of(path: PathBuf) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(path.into_os_string().into_vec())
}

#[cfg(unix)]
#[expect(clippy::unnecessary_wraps, reason = "not every system's paths are bytes")]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt as _;
    Ok(OsString::from_vec(bytes.to_vec()).into())
}

#[cfg(not(unix))]
fn bytes_of(path: PathBuf) -> io::Result<Vec<u8>> {
    let text = path.into_os_string().into_string();
    Ok(text.map_err(|_| io::ErrorKind::InvalidFilename)?.into_bytes())
}

#[cfg(not(unix))]
fn path_of(bytes: &[u8]) -> io::Result<PathBuf> {
    let text = String::from_utf8(bytes.to_vec()).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(OsString::from(text).into())
}
