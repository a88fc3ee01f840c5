//! Unix: modes, `O_NOFOLLOW`, SIGINT and SIGTERM, resource limits.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::fd::AsFd as _,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    os::unix::net::UnixStream,
    path::Path,
};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Disables core dumps.
pub(crate) fn forbid_core_dumps() {
    // This fails only under a policy that is already stricter.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

/// The identity of a file, whatever its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns that of what a path leads to, following links; `None` if there is nothing.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Self>> {
        match fs::metadata(path) {
            Ok(metadata) => Ok(Some(Self { device: metadata.dev(), inode: metadata.ino() })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Opens no symbolic link, and does not wait for the other end of a pipe.
pub(crate) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
}

/// Returns whether opening [without links](without_links) failed because of a link, a directory, or
/// a pipe that nobody reads.
pub(crate) fn is_no_file(error: &io::Error) -> bool {
    let no_files = [Errno::LOOP, Errno::ISDIR, Errno::NXIO].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|error| no_files.contains(&error))
}

/// Makes a new file accessible only to its owner.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

/// Returns whether this user owns a file.
pub(crate) fn is_ours(file: &fs::Metadata) -> bool {
    file.uid() == rustix::process::geteuid().as_raw()
}

/// Standard input without the library's buffer.
pub(crate) fn raw_stdin() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// Standard output without the library's buffer.
pub(crate) fn raw_stdout() -> io::Result<File> {
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

/// The columns of the terminal on a stream, if it is one.
pub(crate) fn columns(stream: impl std::os::fd::AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Returns whether the command was started with standard output closed.
///
/// The standard library then opens `/dev/null` there for reading and writing; a shell's
/// `>/dev/null` is open for writing only.
pub(crate) fn stdout_was_closed() -> bool {
    let stdout = io::stdout();
    let Ok(flags) = rustix::fs::fcntl_getfl(&stdout) else { return true };
    let null = || -> io::Result<bool> {
        let output = rustix::fs::fstat(&stdout)?;
        let null = rustix::fs::stat("/dev/null")?;
        Ok((output.st_dev, output.st_ino) == (null.st_dev, null.st_ino))
    };
    flags.contains(OFlags::RDWR) && null().unwrap_or(false)
}

/// Fails if the system opens too few files for tokio's runtime, which would panic over its pipe for
/// signals. To be called right before the runtime is built, while there is no other thread.
pub(crate) fn check_descriptors() -> io::Result<()> {
    // Two descriptors for polling, two for the pipe, and a copy of one of these.
    let pairs: io::Result<Vec<_>> = (0..3).map(|_| UnixStream::pair()).collect();
    pairs.map(drop)
}

/// Returns whether the process, or the whole system, has too many open files.
pub(crate) fn is_out_of_files(error: &io::Error) -> bool {
    let codes = [Errno::MFILE, Errno::NFILE].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// The signals that ask the process to end: SIGINT (Ctrl-C) and SIGTERM.
pub(crate) struct EndSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl EndSignals {
    /// Handles both for the rest of the process.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Resolves when one was received; `None` if none can be received any more.
    pub(crate) async fn recv(&mut self) -> Option<()> {
        tokio::select! {
            Some(()) = self.interrupt.recv() => Some(()),
            Some(()) = self.terminate.recv() => Some(()),
            else => None,
        }
    }
}
