//! Windows: access rights are inherited from the directory, there are no core files, and Ctrl-C,
//! Ctrl-Break and closing the console ask the process to end.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::windows::fs::{MetadataExt as _, OpenOptionsExt as _},
    os::windows::io::AsHandle as _,
    path::{Path, PathBuf},
};

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};

/// `FILE_FLAG_OPEN_REPARSE_POINT`: opens a link itself, which is not a regular file.
const OPEN_LINK_ITSELF: u32 = 0x0020_0000;

/// Windows writes no core files.
pub(crate) fn forbid_core_dumps() {}

/// The identity of a file: its canonical path and its time of creation.
///
/// The standard library does not provide the file index. A file with two names (hard links) has two
/// identities here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    path: PathBuf,
    created: u64,
}

impl Identity {
    /// Returns that of what a path leads to, following links; `None` if there is nothing.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        let identity = || {
            let path = fs::canonicalize(path)?;
            let created = fs::metadata(&path)?.creation_time();
            Ok(Self { path, created })
        };
        match identity() {
            Ok(identity) => Ok(Some(identity)),
            Err(error) if io::Error::kind(&error) == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens a link itself and not what it leads to.
pub(crate) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    options.custom_flags(OPEN_LINK_ITSELF)
}

/// Opening a link itself does not fail; it is not a regular file, which callers check.
pub(crate) fn is_no_file(_error: &io::Error) -> bool {
    false
}

/// A new file inherits the access rights of its directory.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// The rights of its directory decide who may write to a file.
pub(crate) fn is_ours(_file: &std::fs::Metadata) -> bool {
    true
}

/// Not asked for: tables and bars are as wide as they are.
pub(crate) fn columns(_stream: impl std::os::windows::io::AsHandle) -> Option<usize> {
    None
}

/// Standard input without the library's buffer.
pub(crate) fn raw_stdin() -> io::Result<File> {
    io::stdin().as_handle().try_clone_to_owned().map(File::from)
}

/// Standard output without the library's buffer.
pub(crate) fn raw_stdout() -> io::Result<File> {
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}

/// Returns whether the command was started with standard output closed.
pub(crate) fn stdout_was_closed() -> bool {
    raw_stdout().is_err()
}

/// Windows has no limit of open files that a runtime could run into.
pub(crate) fn check_descriptors() -> io::Result<()> {
    Ok(())
}

/// Windows has no such error.
pub(crate) fn is_out_of_files(_error: &io::Error) -> bool {
    false
}

/// The events that ask the process to end.
pub(crate) struct EndSignals {
    interrupt: CtrlC,
    stop: CtrlBreak,
    close: CtrlClose,
}

impl EndSignals {
    /// Handles them for the rest of the process.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: ctrl_c()?, stop: ctrl_break()?, close: ctrl_close()? })
    }

    /// Resolves when one was received; `None` if none can be received any more.
    pub(crate) async fn recv(&mut self) -> Option<()> {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Some(()),
            Some(()) = self.stop.recv() => Some(()),
            Some(()) = self.close.recv() => Some(()),
            else => None,
        }
    }
}
