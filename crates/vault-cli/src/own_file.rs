//! Files that the command writes, replaces and removes: never any other than its own.
//!
//! Such a file is recognized by its first bytes. It is opened without following a symbolic link,
//! and must be a regular file. A new one is created exclusively, and is durable, together with its
//! directory entry, before it replaces another.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use tempfile::NamedTempFile;
use vault_files::System;
use vaultstore::StoreUrl;

pub(crate) use crate::platform::Identity;
use crate::platform::{is_no_file, private, without_links};

/// Why a file that should be ours is not.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// It is a link, a directory, a device or a pipe.
    NotAFile,
    /// Its first bytes are not those of ours.
    Foreign,
    /// The system returned an error.
    Io(io::Error),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Foreign => f.write_str("another program's file"),
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        if is_no_file(&error) {
            return Self::NotAFile;
        }
        Self::Io(error)
    }
}

/// Returns whether two addresses lead to the same vault, as far as files can tell: the same file
/// and, for SQLite, a common table.
pub(crate) fn same_vault(one: &StoreUrl, other: &StoreUrl) -> bool {
    if one == other {
        return true;
    }
    let (Some(file), Some(other_file)) = (one.file(), other.file()) else { return false };
    let identity = |path| Identity::of(path).ok().flatten();
    if identity(file).is_none_or(|id| Some(id) != identity(other_file)) {
        return false;
    }
    match (tables(one), tables(other)) {
        (Some(tables), Some(others)) => {
            tables.iter().any(|table| others.iter().any(|other| table.eq_ignore_ascii_case(other)))
        }
        _ => true,
    }
}

/// The tables of an SQLite vault.
fn tables(url: &StoreUrl) -> Option<[String; 2]> {
    match url {
        #[cfg(feature = "sqlite")]
        StoreUrl::Sqlite { tables, .. } => {
            Some([tables.vault().as_str().to_owned(), tables.meta().as_str().to_owned()])
        }
        _ => None,
    }
}

/// Opens an existing regular file for reading.
pub(crate) fn open(path: &Path) -> Result<File, Trouble> {
    checked(without_links(OpenOptions::new().read(true)).open(path)?)
}

/// Checks that a path leads to nothing, or to a regular file whose first bytes are ours.
pub(crate) fn check(path: &Path, magic: &[u8]) -> Result<(), Trouble> {
    match open(path) {
        Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(trouble) => Err(trouble),
        Ok(file) if begins_with(&file, magic)? => Ok(()),
        Ok(_) => Err(Trouble::Foreign),
    }
}

/// A new file next to the place that it will take, for every user of the machine to read as far as
/// the umask allows.
pub(crate) fn readable_by_all(prefix: &str, folder: Option<&Path>) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    builder.tempfile_in(folder.unwrap_or(Path::new(".")))
}

/// Opens a lock file, which is empty, and creates it if there is none.
pub(crate) fn open_lock(path: &Path) -> Result<File, Trouble> {
    let options = |create| {
        let mut options = OpenOptions::new();
        private(without_links(options.write(true).create_new(create)));
        options
    };
    let file = match options(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options(false).open(path),
        opened => opened,
    };
    let file = checked(file?)?;
    if file.metadata()?.len() == 0 { Ok(file) } else { Err(Trouble::Foreign) }
}

/// Removes a file whose first bytes are ours, and makes the removal durable. A missing file is
/// fine.
pub(crate) fn remove(path: &Path, magic: &[u8]) -> Result<(), Trouble> {
    match open(path) {
        Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(trouble) => return Err(trouble),
        Ok(file) if begins_with(&file, magic)? => {}
        Ok(_) => return Err(Trouble::Foreign),
    }
    vault_files::remove(&System, path)?;
    Ok(())
}

/// Replaces a file by one with these bytes, which start with `magic`. A reader, even after a power
/// failure, sees the old file or the new one.
pub(crate) fn replace(path: &Path, magic: &[u8], bytes: &[u8]) -> Result<(), Trouble> {
    let fresh = fresh_name(path);
    // Left by a process that was killed while writing: torn, so perhaps without all of its first
    // bytes.
    match open(&fresh) {
        Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(trouble) => return Err(trouble),
        Ok(file) if is_torn(&file, magic)? => fs::remove_file(&fresh)?,
        Ok(_) => return Err(Trouble::Foreign),
    }
    vault_files::replace(&System, &fresh, path, bytes)?;
    Ok(())
}

/// Creates a directory that only its owner can access, with its parents, each durable in its own
/// parent.
pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    vault_files::create_folder(&System, folder)
}

/// The path at which a file is written before it replaces another one.
fn fresh_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".vaultstore-new");
    path.with_file_name(name)
}

/// Passes on a regular file.
pub(crate) fn checked(file: File) -> Result<File, Trouble> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(Trouble::NotAFile) }
}

fn begins_with(file: &File, magic: &[u8]) -> io::Result<bool> {
    Ok(first_bytes(file, magic.len())? == magic)
}

fn is_torn(file: &File, magic: &[u8]) -> io::Result<bool> {
    let first = first_bytes(file, magic.len())?;
    let written = first.iter().zip(magic).take_while(|(byte, ours)| byte == ours).count();
    // A power cut also leaves a length without all of the bytes.
    Ok(first[written..].iter().all(|byte| *byte == 0))
}

fn first_bytes(file: &File, len: usize) -> io::Result<Vec<u8>> {
    let mut first = Vec::new();
    file.take(len as u64).read_to_end(&mut first)?;
    Ok(first)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const MAGIC: &[u8] = b"ours";

    #[test]
    fn only_our_own_file_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("foreign"), "theirs").unwrap();
        assert!(matches!(remove(&path("foreign"), MAGIC), Err(Trouble::Foreign)));
        fs::write(path("state"), "ours and more").unwrap();
        symlink(path("state"), path("link")).unwrap();
        assert!(matches!(remove(&path("link"), MAGIC), Err(Trouble::NotAFile)));
        assert!(matches!(remove(folder.path(), MAGIC), Err(Trouble::NotAFile)));
        assert!(path("foreign").exists() && path("state").exists());
        remove(&path("state"), MAGIC).unwrap();
        assert!(!path("state").exists());
        remove(&path("state"), MAGIC).unwrap();
    }

    #[test]
    fn a_file_is_replaced_also_after_a_torn_try_and_never_through_a_foreign_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        for torn in [&b""[..], b"ou", b"ou\0\0\0", b"\0\0\0\0\0", b"ours, but old"] {
            fs::write(fresh_name(&path), torn).unwrap();
            replace(&path, MAGIC, b"ours").unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"ours");
        }
        fs::write(fresh_name(&path), "theirs").unwrap();
        assert!(matches!(replace(&path, MAGIC, b"ours"), Err(Trouble::Foreign)));
        assert_eq!(fs::read(fresh_name(&path)).unwrap(), b"theirs");
        fs::write(path.with_extension("new"), "a password").unwrap();
        fs::remove_file(fresh_name(&path)).unwrap();
        replace(&path, MAGIC, b"ours").unwrap();
        assert_eq!(fs::read(path.with_extension("new")).unwrap(), b"a password");
    }

    #[test]
    fn a_lock_is_no_link_no_pipe_and_no_file_with_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        open_lock(&path("lock")).unwrap();
        open_lock(&path("lock")).unwrap();
        symlink(path("made"), path("link")).unwrap();
        assert!(matches!(open_lock(&path("link")), Err(Trouble::NotAFile)));
        assert!(!path("made").exists());
        fs::create_dir(path("folder")).unwrap();
        assert!(matches!(open_lock(&path("folder")), Err(Trouble::NotAFile)));
        let (pipe, kind) = (path("pipe"), rustix::fs::FileType::Fifo);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, kind, 0o600.into(), 0).unwrap();
        assert!(matches!(open_lock(&pipe), Err(Trouble::NotAFile)));
        assert!(matches!(open(&pipe), Err(Trouble::NotAFile)));
        fs::write(path("full"), "x").unwrap();
        assert!(matches!(open_lock(&path("full")), Err(Trouble::Foreign)));
    }
}
