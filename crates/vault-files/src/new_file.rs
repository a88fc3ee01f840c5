//! A file that is created next to its path and renamed to it when it is complete: to a path that is
//! free, or over the file that is there.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::disk::{Disk, System};
use crate::steps::{self, NotReplaced};

/// The file itself, and the additional files of a database.
const FILES: [&str; 4] = ["vault", "vault-wal", "vault-shm", "vault-journal"];
const LOCK: &str = "lock";

/// The longest file name that becomes part of the folder's name, which stays below 255 bytes.
const LONGEST_NAME: usize = 200;

/// Says whether what exists at a path contains nothing and may be replaced.
pub type IsLeft<'a> = &'a dyn Fn(&Path) -> bool;

/// Why a file cannot be created.
#[derive(Debug)]
pub enum Trouble {
    /// Another process is creating the same file.
    Busy,
    /// Something that does not belong to this user has the name of the folder in which the file
    /// would be created.
    Foreign(PathBuf),
    /// An error of the system: `AlreadyExists` if anything exists at the path.
    Io(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file that is being created, in a private folder next to its path.
///
/// The folder has a fixed name, so that the next creation of the same file reuses what a killed
/// process has left, and a lock, so that a folder in use is not reused. Dropping this value removes
/// the folder.
#[derive(Debug)]
pub struct NewFile {
    place: PathBuf,
    folder: PathBuf,
    /// Held until the folder is gone.
    _lock: File,
}

impl NewFile {
    /// Prepares to create a file at this path, where nothing may exist except what `is_left` says
    /// that a creation was broken off in, which the new file replaces.
    ///
    /// # Errors
    /// [`Trouble`]; then nothing was changed.
    pub fn begin(place: &Path, is_left: IsLeft<'_>) -> Result<Self, Trouble> {
        let folder = private_folder(place)?;
        let is_taken = is_taken(place, is_left)?;
        if is_taken && !folder.exists() {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        let new = Self::begin_in(folder, place)?;
        // Another process may have finished in the meantime.
        if is_taken || self::is_taken(place, is_left)? {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        Ok(new)
    }

    /// Prepares to replace the file at this path by another one. Removes what an earlier process
    /// that was killed has left.
    ///
    /// # Errors
    /// [`Trouble`]; then nothing was changed.
    pub fn begin_replacement(place: &Path) -> Result<Self, Trouble> {
        Self::begin_in(private_folder(place)?, place)
    }

    fn begin_in(folder: PathBuf, place: &Path) -> Result<Self, Trouble> {
        match System.create_folder(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                if !is_our_folder(&folder)? {
                    return Err(Trouble::Foreign(folder));
                }
            }
            made => made?,
        }
        let lock = lock(&folder)?;
        let new = Self { place: place.to_owned(), folder, _lock: lock };
        new.clear()?;
        Ok(new)
    }

    /// The path at which to create the file. Nothing is there, and no one else can access its
    /// folder.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join(FILES[0])
    }

    /// Renames the complete file to its path and makes it durable.
    ///
    /// # Errors
    /// `AlreadyExists` if something has been created at the path in the meantime, or what the
    /// system says; then nothing of this file is at the path.
    pub fn publish(self, is_left: IsLeft<'_>) -> io::Result<()> {
        let replaces = fs::symlink_metadata(&self.place).is_ok() && is_left(&self.place);
        steps::publish(&System, &self.path(), &self.place, replaces)
    }

    /// Renames the complete file over the one at its path, in one step, and makes it durable.
    /// Anyone who opens the path, even after a power cut, gets the old file or the new one, each
    /// complete.
    ///
    /// # Errors
    /// [`NotReplaced`], which says whether the old file is certainly still there.
    pub fn replace(self) -> Result<(), NotReplaced> {
        steps::exchange(&System, &self.path(), &self.place)
    }

    /// Removes what an earlier process left.
    fn clear(&self) -> io::Result<()> {
        for name in FILES {
            match System.remove(&self.folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed when this file is next created. The lock goes last.
        let _ = self.clear();
        let _ = System.remove(&self.folder.join(LOCK));
        let _ = fs::remove_dir(&self.folder);
    }
}

fn is_taken(place: &Path, is_left: IsLeft<'_>) -> io::Result<bool> {
    match fs::symlink_metadata(place) {
        Ok(_) => Ok(!is_left(place)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn private_folder(place: &Path) -> io::Result<PathBuf> {
    let name = place.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut folder = OsString::from(".");
    if name.len() <= LONGEST_NAME {
        folder.push(name);
    }
    folder.push(".vaultstore-new");
    Ok(place.with_file_name(folder))
}

/// A folder of this user that no one else can write to: otherwise its contents could be replaced.
#[cfg(unix)]
fn is_our_folder(folder: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::symlink_metadata(folder)?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    let for_others = found.mode() & 0o077;
    Ok(found.is_dir() && ours && for_others == 0)
}

#[cfg(not(unix))]
fn is_our_folder(folder: &Path) -> io::Result<bool> {
    Ok(fs::symlink_metadata(folder)?.is_dir())
}

/// Locks the folder for this process. A lock file that was removed in the meantime does not count.
fn lock(folder: &Path) -> Result<File, Trouble> {
    let path = folder.join(LOCK);
    match System.create(&path, b"") {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(gone(error)),
        _ => {}
    }
    let file = OpenOptions::new().write(true).open(&path).map_err(gone)?;
    match file.try_lock() {
        Ok(()) if is_same(&file, &path)? => Ok(file),
        Ok(()) | Err(TryLockError::WouldBlock) => Err(Trouble::Busy),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Another process has just finished and removed the folder.
fn gone(error: io::Error) -> Trouble {
    if error.kind() == io::ErrorKind::NotFound { Trouble::Busy } else { Trouble::Io(error) }
}

#[cfg(unix)]
fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt as _;
    let (open, named) = (
        file.metadata()?,
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            found => found?,
        },
    );
    Ok((open.dev(), open.ino()) == (named.dev(), named.ino()))
}

#[cfg(not(unix))]
fn is_same(_: &File, path: &Path) -> io::Result<bool> {
    Ok(path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing(_: &Path) -> bool {
        false
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_published_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v.redb");
        let new = NewFile::begin(&place, &nothing).unwrap();
        fs::write(new.path(), "whole").unwrap();
        fs::write(new.path().with_file_name("vault-wal"), "").unwrap();
        assert!(!place.exists());
        new.publish(&nothing).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["v.redb"]);
        drop(NewFile::begin(&folder.path().join("other"), &nothing).unwrap());
        assert_eq!(names(folder.path()), ["v.redb"]);
    }

    #[test]
    fn a_file_is_replaced_in_one_step_or_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v.redb");
        fs::write(&place, "old").unwrap();
        let new = NewFile::begin_replacement(&place).unwrap();
        assert!(matches!(NewFile::begin_replacement(&place), Err(Trouble::Busy)));
        fs::write(new.path(), "half").unwrap();
        drop(new);
        assert_eq!(
            (fs::read(&place).unwrap(), names(folder.path())),
            (b"old".into(), vec!["v.redb".into()])
        );
        let new = NewFile::begin_replacement(&place).unwrap();
        assert!(matches!(new.replace(), Err(NotReplaced::Certainly(_))));
        let new = NewFile::begin_replacement(&place).unwrap();
        fs::write(new.path(), "new").unwrap();
        new.replace().unwrap();
        assert_eq!(
            (fs::read(&place).unwrap(), names(folder.path())),
            (b"new".into(), vec!["v.redb".into()])
        );
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v");
        let exists = |started: Result<NewFile, Trouble>| match started {
            Err(Trouble::Io(error)) => error.kind() == io::ErrorKind::AlreadyExists,
            _ => false,
        };
        let new = NewFile::begin(&place, &nothing).unwrap();
        fs::write(new.path(), "ours").unwrap();
        fs::write(&place, "theirs").unwrap();
        assert_eq!(new.publish(&nothing).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert!(exists(NewFile::begin(&place, &nothing)));
        assert_eq!(fs::read(&place).unwrap(), b"theirs");
        assert_eq!(names(folder.path()), ["v"]);
    }

    #[test]
    fn what_a_broken_creation_left_is_replaced_and_what_came_in_between_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v");
        let empty = |path: &Path| fs::metadata(path).unwrap().len() == 0;
        fs::write(&place, "").unwrap();
        let new = NewFile::begin(&place, &empty).unwrap();
        fs::write(new.path(), "whole").unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"");
        new.publish(&empty).unwrap();
        assert_eq!(fs::read(&place).unwrap(), b"whole");
        assert_eq!(names(folder.path()), ["v"]);
        assert!(NewFile::begin(&place, &empty).is_err());

        fs::write(&place, "").unwrap();
        let new = NewFile::begin(&place, &empty).unwrap();
        fs::write(new.path(), "whole").unwrap();
        fs::write(&place, "theirs").unwrap();
        assert_eq!(new.publish(&empty).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&place).unwrap(), b"theirs");
    }

    #[test]
    fn what_a_killed_process_left_is_taken_over_and_what_a_living_one_makes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v");
        let new = NewFile::begin(&place, &nothing).unwrap();
        fs::write(new.path(), "torn").unwrap();
        assert!(matches!(NewFile::begin(&place, &nothing), Err(Trouble::Busy)));
        assert_eq!(fs::read(new.path()).unwrap(), b"torn");
        // A process that is killed removes nothing, and its lock goes with it.
        let left = folder.path().join("left");
        fs::rename(&new.folder, &left).unwrap();
        drop(new);
        fs::rename(&left, private_folder(&place).unwrap()).unwrap();
        let new = NewFile::begin(&place, &nothing).unwrap();
        assert!(!new.path().exists());
        fs::write(new.path(), "whole").unwrap();
        new.publish(&nothing).unwrap();
        assert_eq!(names(folder.path()), ["v"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("v");
        let private = private_folder(&place).unwrap();
        fs::create_dir(&private).unwrap();
        fs::set_permissions(&private, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(
            matches!(NewFile::begin(&place, &nothing), Err(Trouble::Foreign(path)) if path == private)
        );
        fs::remove_dir(&private).unwrap();
        symlink(folder.path(), &private).unwrap();
        assert!(matches!(NewFile::begin(&place, &nothing), Err(Trouble::Foreign(_))));
        fs::remove_file(&private).unwrap();
        fs::write(&private, "theirs").unwrap();
        assert!(matches!(NewFile::begin(&place, &nothing), Err(Trouble::Foreign(_))));
        assert_eq!(fs::read(&private).unwrap(), b"theirs");
    }

    #[test]
    fn a_long_name_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("x".repeat(255));
        let new = NewFile::begin(&place, &nothing).unwrap();
        fs::write(new.path(), "").unwrap();
        new.publish(&nothing).unwrap();
        assert!(place.exists());
    }
}
