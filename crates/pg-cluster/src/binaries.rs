//! Finds Postgres's server programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// The programs that a cluster needs.
const NEEDED: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Where Debian and its derivatives put one directory per version; the server's programs are not on
/// the PATH there.
const DEBIAN: &str = "/usr/lib/postgresql";

/// A directory with all of them.
#[derive(Clone, Debug)]
pub(crate) struct Binaries(PathBuf);

impl Binaries {
    /// Searches the PATH and the usual directories, and installs the Debian package where possible.
    pub(crate) fn find() -> Result<Self, String> {
        if let Some(found) = Self::installed() {
            return Ok(found);
        }
        let advice = "no Postgres server was found on the PATH or in /usr/lib/postgresql: install it \
                      (Debian: apt-get install postgresql; Fedora: dnf install postgresql-server; \
                      macOS: brew install postgresql)";
        if !Path::new("/usr/bin/apt-get").exists() {
            return Err(advice.to_owned());
        }
        install("postgresql")
            .map_err(|error| format!("{advice}; installing it here failed: {error}"))?;
        Self::installed().ok_or_else(|| advice.to_owned())
    }

    pub(crate) fn path(&self, program: &str) -> PathBuf {
        self.0.join(program)
    }

    fn installed() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let usual = ["/usr/local/bin", "/usr/local/pgsql/bin", "/opt/homebrew/bin"];
        env::split_paths(&path)
            .chain(debian_folders())
            .chain(usual.map(PathBuf::from))
            .find(|folder| is_complete(folder))
            .map(|folder| Self(behind_links(&folder).unwrap_or(folder)))
    }
}

fn is_complete(folder: &Path) -> bool {
    NEEDED.iter().all(|program| folder.join(program).is_file())
}

/// Debian's directories, newest version first.
fn debian_folders() -> Vec<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let number = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let mut folders: Vec<_> = versions.map(|version| version.path()).collect();
    folders.sort_by_key(|path| std::cmp::Reverse(number(path)));
    folders.into_iter().map(|folder| folder.join("bin")).collect()
}

/// The directory that the programs are links into: more of them are there.
fn behind_links(folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder.join("postgres")).ok()?.parent()?.to_owned();
    is_complete(&folder).then_some(folder)
}

/// Installs a Debian package, which requires root. Tests of one process take turns, and those of
/// several wait for each other's lock.
pub(crate) fn install(package: &str) -> Result<(), String> {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    if !Path::new("/usr/bin/apt-get").exists() {
        return Err("there is no apt-get".to_owned());
    }
    let run = |arguments: &[&str]| {
        let mut apt = Command::new("/usr/bin/apt-get");
        apt.env("DEBIAN_FRONTEND", "noninteractive").args(["-o", "DPkg::Lock::Timeout=300"]);
        let output = apt.args(arguments).output();
        let output = output.map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    };
    let install = ["install", "--yes", "--no-install-recommends", package];
    // The package lists may be missing or outdated: update them and retry once.
    run(&install).or_else(|_| run(&["update"]).and_then(|()| run(&install)))
}
