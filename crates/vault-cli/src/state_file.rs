//! The file in which a rekey keeps where it is, outside the vault.

use std::{
    env,
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};
use vaultstore::StoreUrl;
use vaultstore::rekey::{RekeyState, Shard};

use crate::exit::Failure;

/// The longest state that is read, in bytes: the marks of 100 million records.
const MAX_STATE: u64 = 1 << 30;

/// A state file, locked: no two rekeys write one.
pub(crate) struct StateFile {
    path: PathBuf,
    _lock: File,
}

impl StateFile {
    /// Takes the file for this process; it need not exist.
    pub(crate) fn lock(path: PathBuf) -> Result<Self, Failure> {
        let lock_path = beside(&path, ".lock");
        let lock = own(OpenOptions::new().write(true).create(true)).open(&lock_path);
        let lock = lock.map_err(|error| unusable(&path, error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::failed(format!(
                "another rekey uses the state file {}; wait for it, or name another file with --state",
                path.display()
            ))),
            Err(TryLockError::Error(error)) => Err(unusable(&path, error)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// What an earlier run left.
    pub(crate) fn read(&self) -> Result<Option<RekeyState>, Failure> {
        let mut bytes = Vec::new();
        match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened
                .and_then(|file| file.take(MAX_STATE).read_to_end(&mut bytes))
                .map_err(|error| unusable(&self.path, error))?,
        };
        RekeyState::from_bytes(bytes).map(Some).map_err(|refused| self.refused(refused))
    }

    /// Replaces the file by one that is whole and durable: whoever reads it, even after a power cut, reads the old
    /// state or the new one.
    pub(crate) fn write(&self, state: &RekeyState) -> Result<(), Failure> {
        self.replace(state.as_bytes()).map_err(|error| {
            Failure::failed(format!(
                "the state could not be written to {}, so the rekey stopped; free space or name another file with --state",
                self.path.display()
            ))
            .because(error)
        })
    }

    /// Forgets what an earlier run left.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(unusable(&self.path, error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn refused(&self, why: vaultstore::rekey::ResumeError) -> Failure {
        Failure::Usage(format!("{}: {why} (--restart)", self.path.display()))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let fresh = beside(&self.path, ".new");
        // Left by a run that was killed.
        let _ = fs::remove_file(&fresh);
        let mut file = own(OpenOptions::new().write(true).create_new(true)).open(&fresh)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)?;
        File::open(folder_of(&self.path))?.sync_all()
    }
}

/// The state file of a vault and shard in the user's own folder for such, which is made.
pub(crate) fn default_path(url: &StoreUrl, shard: Shard) -> Result<PathBuf, Failure> {
    let folder = state_home()
        .ok_or_else(|| {
            Failure::Usage(
                "there is no folder to keep the rekey's state in, since neither XDG_STATE_HOME nor HOME is set; name a \
                 file with --state"
                    .into(),
            )
        })?
        .join("vaultstore");
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(|error| unusable(&folder, error))?;
    let vault = match url.file().and_then(|file| file.canonicalize().ok()) {
        Some(file) => format!("{}", file.display()),
        None => String::new(),
    };
    // An address shows no password, and a hash of it not even a host.
    let name: [u8; 32] = Sha256::digest(format!("{url}\n{vault}\n{shard}")).into();
    let name = name.first_chunk().copied().map_or(0, u128::from_be_bytes);
    Ok(folder.join(format!("rekey-{name:032x}.state")))
}

/// XDG Base Directory Specification: `$XDG_STATE_HOME`, or `.local/state` at home; a relative one does not count.
fn state_home() -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").and_then(absolute);
    let named = env::var_os("XDG_STATE_HOME").and_then(absolute);
    named.or_else(|| Some(home()?.join(".local/state")))
}

/// For nobody else's eyes.
fn own(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(0o600)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

fn unusable(path: &Path, error: io::Error) -> Failure {
    Failure::failed(format!(
        "the rekey's state cannot be kept in {}; name another file with --state",
        path.display()
    ))
    .because(error)
}
