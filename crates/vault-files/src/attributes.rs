//! What belongs to a file besides its content: who it is, whose it is, and who may do what with it.

use std::{fs::File, io, path::Path};

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    links: u64,
}

/// What a new file could not be given.
#[derive(Debug)]
pub struct NotCopied {
    /// `owner`, `mode`, or the name of an extended attribute, such as an access control list.
    pub what: String,
    /// What the system said.
    pub error: io::Error,
}

#[cfg(unix)]
impl Identity {
    /// The identity of an open file.
    ///
    /// # Errors
    /// What the system says.
    pub fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|found| Self::of_metadata(&found))
    }

    /// The identity of what a path leads to, through symbolic links.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|found| Self::of_metadata(&found))
    }

    fn of_metadata(found: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        Self { device: found.dev(), inode: found.ino(), links: found.nlink() }
    }

    /// Whether both are the same file.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// The number of names that the file has.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.links
    }
}

#[cfg(not(unix))]
impl Identity {
    /// The identity of an open file, which is not known here.
    ///
    /// # Errors
    /// Never.
    pub fn of(_: &File) -> io::Result<Self> {
        Ok(Self { device: 0, inode: 0, links: 1 })
    }

    /// The identity of what a path leads to, which is not known here.
    ///
    /// # Errors
    /// What the system says.
    pub fn at(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|_| Self { device: 0, inode: 0, links: 1 })
    }

    /// Whether both are the same file: nobody replaces one that is open.
    #[must_use]
    pub fn is_same_file(&self, other: &Self) -> bool {
        self == other
    }

    /// The number of names that the file has.
    #[must_use]
    pub fn links(&self) -> u64 {
        self.links
    }
}

/// Gives a new file the owner, the mode and the extended attributes of another one, access control
/// lists included.
///
/// # Errors
/// [`NotCopied`] for the first that the system refuses.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub fn copy_attributes(from: &File, to: &File) -> Result<(), NotCopied> {
    use rustix::fs::{Gid, Uid, XattrFlags, fchown, fsetxattr};
    use std::os::unix::fs::MetadataExt as _;

    let refused = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| NotCopied { what, error }
    };
    let (old, new) =
        (from.metadata().map_err(refused("owner"))?, to.metadata().map_err(refused("owner"))?);
    if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
        let (uid, gid) = (Uid::from_raw(old.uid()), Gid::from_raw(old.gid()));
        fchown(to, Some(uid), Some(gid)).map_err(|error| refused("owner")(error.into()))?;
    }
    // After the owner, whose change takes some bits of the mode away.
    to.set_permissions(old.permissions()).map_err(refused("mode"))?;
    for name in attribute_names(from).map_err(refused("extended attributes"))? {
        let shown = String::from_utf8_lossy(&name).into_owned();
        let value = attribute(from, &name).map_err(refused(&shown))?;
        if attribute(to, &name).is_ok_and(|there| there == value) {
            continue;
        }
        fsetxattr(to, name.as_slice(), &value, XattrFlags::empty())
            .map_err(|error| refused(&shown)(error.into()))?;
    }
    Ok(())
}

/// Cannot be done here.
///
/// # Errors
/// Always.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub fn copy_attributes(_: &File, _: &File) -> Result<(), NotCopied> {
    Err(NotCopied { what: "owner".to_owned(), error: io::ErrorKind::Unsupported.into() })
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn attribute_names(file: &File) -> io::Result<Vec<Vec<u8>>> {
    use rustix::{fs::flistxattr, io::Errno};
    let list = read_growing(|buffer| flistxattr(file, buffer));
    let list = match list {
        // A file system without attributes.
        Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
        list => list?,
    };
    Ok(list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn attribute(file: &File, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(read_growing(|buffer| rustix::fs::fgetxattr(file, name, buffer))?)
}

/// Reads with a buffer that grows until it is large enough, up to the system's limit of 64 KiB.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn read_growing(
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    const MOST: usize = 1 << 20;
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(rustix::io::Errno::RANGE) if buffer.len() < MOST => {
                buffer.resize(buffer.len() * 2, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, OpenOptions, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn create(path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(path)
    }

    #[test]
    fn a_file_keeps_its_identity_under_another_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let file = create(&path("a")).unwrap();
        let identity = Identity::of(&file).unwrap();
        fs::rename(path("a"), path("b")).unwrap();
        assert!(Identity::at(&path("b")).unwrap().is_same_file(&identity));
        fs::hard_link(path("b"), path("c")).unwrap();
        assert_eq!(Identity::of(&file).unwrap().links(), 2);
        create(&path("d")).unwrap();
        assert!(!Identity::at(&path("d")).unwrap().is_same_file(&identity));
    }

    #[test]
    fn a_new_file_gets_mode_and_attributes() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (
            create(&folder.path().join("old")).unwrap(),
            create(&folder.path().join("new")).unwrap(),
        );
        old.set_permissions(Permissions::from_mode(0o640)).unwrap();
        // A value beyond the first buffer. A file system without such attributes proves nothing
        // here.
        let value = vec![7; 1000];
        let set =
            rustix::fs::fsetxattr(&old, "user.vaultstore", &value, rustix::fs::XattrFlags::empty());
        copy_attributes(&old, &new).unwrap();
        assert_eq!(new.metadata().unwrap().permissions().mode() & 0o7777, 0o640);
        if set.is_ok() {
            assert_eq!(attribute(&new, b"user.vaultstore").unwrap(), value);
            assert_eq!(attribute_names(&new).unwrap(), attribute_names(&old).unwrap());
        }
    }
}
