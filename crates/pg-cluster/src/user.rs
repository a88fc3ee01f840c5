//! The user that the server runs as: it refuses root.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

/// A user other than root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct User {
    uid: u32,
    gid: u32,
}

impl User {
    /// The user to switch to if this process is root, determined from the owner of a new directory.
    pub(crate) fn to_drop_to(made: &Path) -> Result<Option<Self>, String> {
        let owner = fs::metadata(made).map_err(|error| format!("{}: {error}", made.display()))?;
        if owner.uid() != 0 {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let found = ["postgres", "nobody"].iter().find_map(|name| Self::in_passwd(&users, name));
        found.map(Some).ok_or_else(|| {
            "Postgres refuses to run as root, and there is neither a user postgres nor nobody: run this as another user"
                .to_owned()
        })
    }

    /// Changes the owner of a file or directory.
    pub(crate) fn own(self, path: &Path) -> Result<(), String> {
        chown(path, Some(self.uid), Some(self.gid))
            .map_err(|error| format!("{} cannot be handed over: {error}", path.display()))
    }

    /// Makes a program run as this user, without root's groups.
    pub(crate) fn run(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// The user of that name in the text of `/etc/passwd`.
    fn in_passwd(users: &str, name: &str) -> Option<Self> {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self { uid: fields.next()?.parse().ok()?, gid: fields.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users =
            "root:x:0:0::/root:/bin/sh\npostgres2:x:7:8:::\npostgres:x:101:104:,,,:/:/bin/sh\n";
        let User { uid, gid } = User::in_passwd(users, "postgres").unwrap();
        assert_eq!((uid, gid), (101, 104));
        assert!(User::in_passwd(users, "nobody").is_none());
    }
}
