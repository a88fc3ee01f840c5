//! A temporary `PgBouncer` in front of a server, which pools by transaction.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::binaries;
use crate::user::User;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the program `$1` with the file `$2` until standard input ends, which the kernel closes when
/// its owner is gone.
const SCRIPT: &str = r#"
"$1" -q "$2" </dev/null &
bouncer=$!
cat
kill "$bouncer"
wait "$bouncer"
"#;

/// A running `PgBouncer`. Dropping it stops it.
#[derive(Debug)]
pub struct Bouncer {
    port: u16,
    child: Child,
    _folder: TempDir,
}

impl Bouncer {
    /// Starts one in front of a server, as whose user `user` with this password every client works,
    /// with that many connections to the server. `settings` are further lines of its file.
    ///
    /// # Errors
    /// A sentence that says what is missing or failed.
    pub fn before(
        server: (&str, u16),
        (user, password): (&str, &str),
        pool: u32,
        settings: &str,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("PgBouncer could not be prepared: {error}");
        let program = find()?;
        let folder = tempfile::Builder::new().prefix("vaultstore-bouncer-").tempdir();
        let folder = folder.map_err(failed)?;
        let runs_as = User::to_drop_to(folder.path())?;
        let port = TcpListener::bind(("127.0.0.1", 0)).and_then(|free| free.local_addr());
        let port = port.map_err(failed)?.port();
        let (host, server_port) = server;
        let file = folder.path().join("bouncer.ini");
        let text = format!(
            "[databases]\n* = host={host} port={server_port} user={user} password={password}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = {pool}\nmax_client_conn = 500\n{settings}\n"
        );
        fs::write(&file, text).map_err(failed)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "guard"]).arg(program).arg(&file);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        if let Some(user) = runs_as {
            user.own(folder.path())?;
            user.own(&file)?;
            user.run(&mut command);
        }
        let child = command.spawn().map_err(failed)?;
        let bouncer = Self { port, child, _folder: folder };
        bouncer.wait()?;
        Ok(bouncer)
    }

    /// Returns the port of the loopback interface at which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait(&self) -> Result<(), String> {
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Err("PgBouncer does not start".to_owned())
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // If it is gone, there is nothing to wait for.
        let _ = self.child.wait();
    }
}

fn find() -> Result<PathBuf, String> {
    let installed = || {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([Path::new("/usr/sbin").to_owned()]);
        folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
    };
    let advice = "PgBouncer was not found on the PATH or in /usr/sbin: install it \
                  (Debian: apt-get install pgbouncer)";
    if let Some(found) = installed() {
        return Ok(found);
    }
    binaries::install("pgbouncer")
        .map_err(|error| format!("{advice}; installing it here failed: {error}"))?;
    installed().ok_or_else(|| advice.to_owned())
}
