//! Changes to files in steps such that a power cut after any step leaves the old state or the new
//! one.

use std::{io, path::Path};

use crate::disk::Disk;

/// Renames a complete file to its path, which must be free unless it is to be replaced, and makes
/// both durable.
pub(crate) fn publish(
    disk: &impl Disk,
    made: &Path,
    place: &Path,
    replaces: bool,
) -> io::Result<()> {
    disk.sync_file(made)?;
    if replaces {
        disk.replace(made, place)?;
    } else {
        disk.publish(made, place)?;
    }
    sync_folder_of(disk, place).inspect_err(|_| {
        // This is the file renamed above. The original error is the one to report.
        let _ = disk.remove(place);
    })
}

/// Why a file was not replaced by another one.
#[derive(Debug)]
pub enum NotReplaced {
    /// The old file is at the path.
    Certainly(io::Error),
    /// The new file is at the path; after a power cut it may be the old one.
    Perhaps(io::Error),
}

/// Renames a complete file over another one, and makes both steps durable.
pub(crate) fn exchange(disk: &impl Disk, made: &Path, place: &Path) -> Result<(), NotReplaced> {
    disk.sync_file(made).map_err(NotReplaced::Certainly)?;
    disk.replace(made, place).map_err(NotReplaced::Certainly)?;
    sync_folder_of(disk, place).map_err(NotReplaced::Perhaps)
}

/// Replaces a file by one with these bytes, which is written under another name first: a reader,
/// even after a power cut, gets the old file or the new one.
///
/// # Errors
/// What the system says; the old file may be in place still.
pub fn replace(disk: &impl Disk, fresh: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    disk.create(fresh, bytes)?;
    disk.sync_file(fresh)?;
    disk.replace(fresh, path)?;
    sync_folder_of(disk, path)
}

/// Removes a file for good: a power cut does not bring it back.
///
/// # Errors
/// What the system says.
pub fn remove(disk: &impl Disk, path: &Path) -> io::Result<()> {
    disk.remove(path)?;
    sync_folder_of(disk, path)
}

/// Creates a folder that only its owner can access, and its missing parents, each of them durable.
///
/// # Errors
/// What the system says.
pub fn create_folder(disk: &impl Disk, folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| *above != Path::new("")) {
        create_folder(disk, above)?;
    }
    match disk.create_folder(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        created => created?,
    }
    sync_folder_of(disk, folder)
}

/// Flushes the name of a file or folder, which is in its parent folder.
fn sync_folder_of(disk: &impl Disk, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if folder != Path::new("") => disk.sync_folder(folder),
        _ => disk.sync_folder(Path::new(".")),
    }
}
