//! The changes that are made to files and folders, one by one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Changes to files and folders. Nothing is durable before it is flushed: the content of a file by
/// [`sync_file`](Self::sync_file), a name by [`sync_folder`](Self::sync_folder) of its parent
/// folder.
pub trait Disk {
    /// Creates a file that only its owner can read and write, with this content. Fails if anything
    /// exists at the path, and follows no symbolic link.
    ///
    /// # Errors
    /// What the system says; part of the content may have been written.
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()>;

    /// Flushes the content of a file.
    ///
    /// # Errors
    /// What the system says.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Flushes the names in a folder.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    /// What the system says.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Renames a file to a name that must be free.
    ///
    /// # Errors
    /// `AlreadyExists` if it is not, or what the system says.
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder that only its owner can access.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
}

/// The file systems of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Disk for System {
    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut options = OpenOptions::new();
        // Exclusive: fails on anything at the path, and so follows no symbolic link.
        options.write(true).create_new(true);
        owner_only(&mut options);
        options.open(path)?.write_all(content)
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        // Windows flushes only what may be written to.
        OpenOptions::new().write(true).open(path)?.sync_all()
    }

    #[cfg(unix)]
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[cfg(unix)]
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        use rustix::{
            fs::{CWD, RenameFlags, renameat_with},
            io::Errno,
        };
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A file system that does not know the flag.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link(from, to),
            renamed => Ok(renamed?),
        }
    }

    #[cfg(not(unix))]
    fn publish(&self, from: &Path, to: &Path) -> io::Result<()> {
        link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        for_owner_only(&mut builder);
        builder.create(folder)
    }
}

/// Returns whether the file system of a file, or of its parent folder, has no space left. A
/// database that cannot create or extend one of its files does not always say why.
#[must_use]
#[cfg(unix)]
pub fn has_no_room(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let found = rustix::fs::statvfs(path)
        .or_else(|_| rustix::fs::statvfs(folder.unwrap_or(Path::new("."))));
    // Some file systems count no inodes: 0 of 0 are left.
    found.is_ok_and(|found| found.f_bavail == 0 || (found.f_files > 0 && found.f_favail == 0))
}

/// Whether the file system of a file has no room left, which is not known here.
#[must_use]
#[cfg(not(unix))]
pub fn has_no_room(_: &Path) -> bool {
    false
}

/// Creating a link fails if the name is taken. A kill between the two steps leaves two names; the
/// first is removed when [`NewFile`](crate::NewFile) is next used for this path.
fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

#[cfg(unix)]
fn owner_only(options: &mut OpenOptions) {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600);
}

#[cfg(not(unix))]
fn owner_only(_: &mut OpenOptions) {}

#[cfg(unix)]
fn for_owner_only(builder: &mut DirBuilder) {
    use std::os::unix::fs::DirBuilderExt as _;
    builder.mode(0o700);
}

#[cfg(not(unix))]
fn for_owner_only(_: &mut DirBuilder) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publishing_never_replaces_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for publish in [|from: &Path, to: &Path| System.publish(from, to), link] {
            fs::write(path("new"), "new").unwrap();
            fs::write(path("there"), "theirs").unwrap();
            let error = publish(&path("new"), &path("there")).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
            assert_eq!(fs::read(path("there")).unwrap(), b"theirs");
            publish(&path("new"), &path("free")).unwrap();
            assert_eq!(fs::read(path("free")).unwrap(), b"new");
            assert!(!path("new").exists());
            fs::remove_file(path("free")).unwrap();
        }
    }

    #[test]
    fn a_disk_with_room_is_not_called_full() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!has_no_room(folder.path()));
        assert!(!has_no_room(&folder.path().join("nothing")));
    }
}
