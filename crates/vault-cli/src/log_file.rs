//! The file of `--log-file`: every message of the command, with its time and the process.
//!
//! It contains neither secrets nor tokens, nor anything that says which records matched.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    path::Path,
    sync::OnceLock,
};

use vaultstore::time::{Clock as _, SystemClock};

use crate::own_file::{Trouble, checked};
use crate::platform::{is_ours, private, without_links};
use crate::shown;

/// The first line of every log.
const MAGIC: &[u8] = b"# log of vaultstore\n";

static LOG: OnceLock<File> = OnceLock::new();

/// Begins the log of this process, in a new file or at the end of one of ours.
pub(crate) fn begin(path: &Path) -> Result<(), Trouble> {
    // There is one per process.
    let _ = LOG.set(open(path)?);
    Ok(())
}

/// Appends a line, if there is a log.
pub(crate) fn append(kind: &str, what: &str) {
    let Some(mut log) = LOG.get() else { return };
    let line =
        format!("{} {} {kind}: {}\n", SystemClock.now(), std::process::id(), shown::line(what));
    // Standard error still gets the message. One write, so that processes never mix their lines.
    let _ = log.write_all(line.as_bytes());
}

fn open(path: &Path) -> Result<File, Trouble> {
    let options = |create| {
        let mut options = OpenOptions::new();
        private(without_links(options.read(true).append(true).create_new(create)));
        options
    };
    let mut log = match options(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            checked(options(false).open(path)?)?
        }
        created => created?,
    };
    if !is_ours(&log.metadata()?) {
        return Err(Trouble::Foreign);
    }
    let mut first = Vec::new();
    (&log).take(MAGIC.len() as u64).read_to_end(&mut first)?;
    // What rotates logs leaves an empty file.
    if first.is_empty() {
        log.write_all(MAGIC)?;
    } else if first != MAGIC {
        return Err(Trouble::Foreign);
    }
    Ok(log)
}

#[cfg(all(test, unix))]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn a_log_is_new_or_ours_and_never_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for _ in 0..2 {
            open(&path("log")).unwrap().write_all(b"line\n").unwrap();
        }
        assert_eq!(fs::read(path("log")).unwrap(), [MAGIC, b"line\nline\n"].concat());
        fs::write(path("empty"), "").unwrap();
        open(&path("empty")).unwrap();
        fs::write(path("foreign"), "theirs").unwrap();
        assert!(matches!(open(&path("foreign")), Err(Trouble::Foreign)));
        assert_eq!(fs::read(path("foreign")).unwrap(), b"theirs");
        for (target, link) in [("log", "link"), ("missing", "dangling")] {
            symlink(path(target), path(link)).unwrap();
            assert!(matches!(open(&path(link)), Err(Trouble::NotAFile)));
        }
        assert!(!path("missing").exists());
        assert!(matches!(open(folder.path()), Err(Trouble::NotAFile)));
    }
}
