//! The file in which a rekey keeps its position, outside the vault.

use std::{
    env,
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use sha2::{Digest as _, Sha256};
use vaultstore::StoreUrl;
use vaultstore::rekey::{JobInfo, RekeyState, ResumeError, Shard};

use crate::elsewhere;
use crate::exit::{self, Failure};
use crate::own_file::{self, Trouble};

/// The maximum size of a state, in bytes: the tags of 100 million records.
const MAX_STATE: u64 = 1 << 30;

/// A locked state file: no two rekeys can write to it.
pub(crate) struct StateFile {
    path: PathBuf,
    /// The note that names it, if it is not where states are looked for.
    note: Option<PathBuf>,
    is_noted: AtomicBool,
    _lock: File,
}

impl StateFile {
    /// Locks the file for this process; it need not exist.
    pub(crate) fn lock(path: PathBuf) -> Result<Self, Failure> {
        let lock =
            own_file::open_lock(&lock_of(&path)).map_err(|why| unusable(&lock_of(&path), why))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path, note: None, is_noted: false.into(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let what = format!("{}: another rekey is using this state file", path.display());
                Err(Failure::failed(what)
                    .hint("wait for it to end, or name another file with --state"))
            }
            Err(TryLockError::Error(error)) => Err(unusable(&path, error.into())),
        }
    }

    /// Reads what an earlier run left.
    pub(crate) fn read(&self) -> Result<Option<RekeyState>, Failure> {
        read(&self.path)
    }

    /// From the first write on, and until the rekey is finished, keeps a note about this file with
    /// the states of the vault.
    pub(crate) fn note_in(&mut self, vault: [u8; 16], url: &StoreUrl) -> Result<(), Failure> {
        self.note = Some(note_path(vault, url, &self.path)?);
        Ok(())
    }

    /// Replaces the file by a complete and durable one.
    pub(crate) fn write(&self, state: &RekeyState) -> Result<(), Failure> {
        self.write_state(state)?;
        if state.info().finished {
            return self.forget_note();
        }
        // The first state is written before the first record.
        if let Some(note) = self.note.as_ref().filter(|_| !self.is_noted.swap(true, Relaxed))
            && let Err(why) = elsewhere::note(note, &self.path)
        {
            tell_unnoted(unusable(note, why));
        }
        Ok(())
    }

    fn forget_note(&self) -> Result<(), Failure> {
        let Some(note) = &self.note else { return Ok(()) };
        elsewhere::forget(note).map_err(|why| unusable(note, why))
    }

    fn write_state(&self, state: &RekeyState) -> Result<(), Failure> {
        own_file::replace(&self.path, RekeyState::MAGIC, state.as_bytes()).map_err(
            |why| match why {
                Trouble::Io(error) => Failure::failed(format!(
                    "{}: the state could not be written, so the rekey stopped",
                    self.path.display()
                ))
                .hint("free some space, or name another file with --state")
                .because(error),
                why => unusable(&self.path, why),
            },
        )
    }

    /// Removes what an earlier run left. A file that is not a state of a rekey stays.
    pub(crate) fn remove(&self) -> Result<(), Failure> {
        own_file::remove(&self.path, RekeyState::MAGIC).map_err(|why| unusable(&self.path, why))?;
        self.forget_note()
    }
}

/// Says that a rekey goes on without a note about its state.
pub(crate) fn tell_unnoted(why: Failure) {
    let why = why.sentence_of();
    exit::warn(&format!("`scrub` and `status` will not know of this rekey without --state: {why}"));
}

/// Reads the state in a file without locking the file.
pub(crate) fn read(path: &Path) -> Result<Option<RekeyState>, Failure> {
    let bytes = match own_file::open(path) {
        Err(Trouble::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(why) => return Err(unusable(path, why)),
        Ok(file) => bytes_of(file).map_err(|error| unusable(path, error.into()))?,
    };
    RekeyState::from_bytes(bytes).map(Some).map_err(|why| refused(path, why, false))
}

/// The bytes of a state. Of a file that does not begin like one, no more is read.
fn bytes_of(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut file = file.take(RekeyState::MAGIC.len() as u64);
    file.read_to_end(&mut bytes)?;
    if bytes == RekeyState::MAGIC {
        file.set_limit(MAX_STATE);
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// A state that cannot be resumed from. A file that is not ours must not be removed by `--restart`,
/// nor a state that alone tells which records of chained pairs were moved.
pub(crate) fn refused(path: &Path, why: ResumeError, chains: bool) -> Failure {
    let hint = match why {
        ResumeError::OtherPlan if chains => {
            "give the options of that rekey again: without its state, records of chained pairs would be moved twice"
        }
        ResumeError::NotAState => "name another file with --state",
        ResumeError::OtherPasswords => {
            "give the passwords of that rekey, or start over with --restart"
        }
        ResumeError::OtherVault => {
            "name the state of this vault with --state, or start over with --restart"
        }
        ResumeError::OtherPlan => {
            "give the options of that rekey again (such as --shard, --format, --v2-preset, --allow-v1), or start over with \
             --restart"
        }
        ResumeError::OtherVersion { .. } => {
            "resume with the version of vaultstore that wrote it, or start over with --restart"
        }
        _ => "start over with --restart",
    };
    Failure::usage(format!("{}: {why}", path.display())).hint(hint)
}

/// The directory of the states of a vault: in the user's state directory, created on demand.
///
/// They are named by the vault's id and not by the spelling of its address, and for a file also by
/// its path, so that a copy of a vault has its own states.
pub(crate) fn default_path(
    vault: [u8; 16],
    url: &StoreUrl,
    shard: Shard,
) -> Result<PathBuf, Failure> {
    let folder = default_folder()?;
    own_file::create_folder(&folder).map_err(|error| unusable(&folder, error.into()))?;
    path_of(vault, url, shard)
}

/// The same path, and no folder is created.
pub(crate) fn path_of(vault: [u8; 16], url: &StoreUrl, shard: Shard) -> Result<PathBuf, Failure> {
    let folder = default_folder()?;
    Ok(folder.join(format!("{}{:016x}.state", prefix(vault, url), hash(&shard.to_string()))))
}

/// The path of the note about a state that is kept elsewhere, in a folder that is created on
/// demand.
pub(crate) fn note_path(vault: [u8; 16], url: &StoreUrl, state: &Path) -> Result<PathBuf, Failure> {
    let folder = default_folder()?;
    own_file::create_folder(&folder).map_err(|error| unusable(&folder, error.into()))?;
    let state = std::path::absolute(state).map_err(|error| unusable(state, error.into()))?;
    let name = hash(&state.to_string_lossy());
    Ok(folder.join(format!("{}{name:016x}.{}", prefix(vault, url), elsewhere::ENDING)))
}

/// Returns the state files of a vault by path, with what they reveal and whether a rekey is using
/// them.
pub(crate) fn list(vault: [u8; 16], url: &StoreUrl) -> Result<Vec<Listed>, Failure> {
    let folder = default_folder()?;
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| unusable(&folder, error.into()))?,
    };
    let prefix = prefix(vault, url);
    let mut listed = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unusable(&folder, error.into()))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.starts_with(&prefix) {
            continue;
        }
        let ends = |ending| path.extension().is_some_and(|extension| extension == ending);
        if ends("state") {
            listed.push(look(path));
        } else if ends(elsewhere::ENDING) {
            let state = elsewhere::read(&path).map_err(|why| unusable(&path, why))?;
            listed.push(Listed { note: Some(path), ..look(state) });
        }
    }
    listed.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(listed)
}

/// The same with one more, which must exist.
pub(crate) fn list_with(
    vault: [u8; 16],
    url: &StoreUrl,
    more: Option<PathBuf>,
) -> Result<Vec<Listed>, Failure> {
    let mut listed = match list(vault, url) {
        // Without such a folder, only the named state can be known.
        Err(_) if more.is_some() && default_folder().is_err() => Vec::new(),
        listed => listed?,
    };
    if let Some(path) = more {
        let path = std::path::absolute(&path).map_err(|error| unusable(&path, error.into()))?;
        if read(&path)?.is_none() {
            return Err(Failure::usage(format!("{}: no such file", path.display()))
                .hint("name the state of a rekey with --state"));
        }
        if !listed.iter().any(|other| other.path == path) {
            listed.push(look(path));
        }
    }
    Ok(listed)
}

/// Examines a state file.
pub(crate) fn look(path: PathBuf) -> Listed {
    let in_use = own_file::open(&lock_of(&path))
        .is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    let info = read(&path).ok().flatten().map(|state| state.info());
    Listed { path, info, in_use, note: None }
}

/// A state file of a vault.
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    /// `None` if it cannot be read.
    pub(crate) info: Option<JobInfo>,
    pub(crate) in_use: bool,
    /// The note that names it, if the rekey was started with `--state`.
    pub(crate) note: Option<PathBuf>,
}

impl Listed {
    /// Removes the state and the note about it.
    pub(crate) fn discard(self) -> Result<(), Failure> {
        if self.path.exists() || self.note.is_none() {
            StateFile::lock(self.path)?.remove()?;
        }
        self.note
            .map_or(Ok(()), |note| elsewhere::forget(&note).map_err(|why| unusable(&note, why)))
    }
}

fn prefix(vault: [u8; 16], url: &StoreUrl) -> String {
    let place = match url.file() {
        Some(file) => file.canonicalize().unwrap_or_else(|_| file.to_owned()).display().to_string(),
        None => String::new(),
    };
    let vault = u128::from_be_bytes(vault);
    format!("rekey-{vault:032x}-{:016x}-", hash(&place))
}

fn hash(text: &str) -> u64 {
    let hash: [u8; 32] = Sha256::digest(text).into();
    hash.first_chunk().copied().map_or(0, u64::from_be_bytes)
}

fn default_folder() -> Result<PathBuf, Failure> {
    let home = state_home().ok_or_else(|| {
        Failure::usage(
            "there is no folder for the rekey's state: neither XDG_STATE_HOME nor HOME is set",
        )
        .hint("name a file with --state")
    })?;
    Ok(home.join("vaultstore"))
}

/// XDG Base Directory Specification: `$XDG_STATE_HOME`, or `.local/state` at home; a relative one
/// does not count.
fn state_home() -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let home = || env::var_os("HOME").and_then(absolute);
    let named = env::var_os("XDG_STATE_HOME").and_then(absolute);
    named.or_else(|| Some(home()?.join(".local/state")))
}

fn lock_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn unusable(path: &Path, why: Trouble) -> Failure {
    match why {
        Trouble::NotAFile => Failure::usage(format!(
            "{}: not a regular file, so it cannot hold the state of a rekey",
            path.display()
        )),
        Trouble::Foreign => Failure::usage(format!(
            "{}: not the state of a rekey; the file was left as it is",
            path.display()
        )),
        Trouble::Io(error) => {
            Failure::failed(format!("{}: the rekey's state cannot be kept here", path.display()))
                .because(error)
        }
    }
    .hint("name another file with --state")
}
