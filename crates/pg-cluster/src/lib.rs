//! Temporary Postgres clusters for tests: real servers with `fsync` on, each in a temporary
//! directory.
//!
//! A cluster listens on a free port of the loopback interface and requires a random password. It
//! disappears with the process that started it, however that ends: a guard process waits for the
//! end of a pipe, stops the server and removes the directory.

mod binaries;
mod bouncer;
mod guard;
mod user;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

pub use crate::bouncer::Bouncer;

use crate::binaries::Binaries;
use crate::guard::Guard;
use crate::user::User;

/// The environment variable that names the server for tests; `cargo xtask pg -- COMMAND` sets it.
pub const VARIABLE: &str = "VAULTSTORE_TEST_POSTGRES_URL";

/// How often to try another free port if someone else took it first.
const PORTS_TRIED: usize = 5;

/// Returns the server that the environment names.
///
/// # Errors
/// A sentence that says how to get one.
pub fn url_from_environment() -> Result<String, String> {
    std::env::var(VARIABLE).map_err(|_| {
        format!(
            "{VARIABLE} is not set: run the tests under `cargo xtask pg -- cargo test`, which starts a temporary \
             server, or set it to the URL of a server whose user may create schemas, roles and databases"
        )
    })
}

/// A running Postgres server with one database. Dropping it stops the server and removes all its
/// files.
#[derive(Debug)]
pub struct Cluster {
    url: String,
    password: String,
    server: Server,
    // Last, so that what it removes is no longer in use.
    _guard: Guard,
}

#[derive(Debug)]
struct Server {
    binaries: Binaries,
    folder: PathBuf,
    user: Option<User>,
    port: u16,
}

impl Cluster {
    /// Creates and starts a cluster, which takes a few seconds.
    ///
    /// # Errors
    /// A sentence that says what is missing or failed.
    pub fn start() -> Result<Self, String> {
        let (mut server, guard) = Server::in_a_new_folder()?;
        let password = random_password()?;
        server.initialize(&password)?;
        server.start_on_a_free_port()?;
        Ok(Self { url: server.url(&password), password, server, _guard: guard })
    }

    /// Starts a standby that streams from this server, whose commits wait for it from then on. It
    /// is a cluster of its own: it stays when this one crashes, and takes writes once it is
    /// [promoted](Self::promote).
    ///
    /// # Errors
    /// The message of `pg_basebackup` or `pg_ctl`.
    pub fn standby(&self) -> Result<Self, String> {
        let (mut server, guard) = Server::in_a_new_folder()?;
        let mut backup = server.command("pg_basebackup");
        backup.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast"]);
        backup.args(["--create-slot", "--slot=standby", "--dbname", &self.url]);
        captured(backup.arg("--pgdata").arg(server.data()))?;
        server.start_on_a_free_port()?;
        let settings = self.server.data().join("postgresql.auto.conf");
        write(&settings, "synchronous_standby_names = '*'\n")?;
        self.server.pg_ctl(&["reload"])?;
        let password = self.password.clone();
        Ok(Self { url: server.url(&password), password, server, _guard: guard })
    }

    /// Makes a standby a primary.
    ///
    /// # Errors
    /// The message of `pg_ctl`.
    pub fn promote(&self) -> Result<(), String> {
        self.server.pg_ctl(&["promote", "-w"])
    }

    /// Returns a URL with these servers, in their order, with user and password.
    #[must_use]
    pub fn url_of(servers: &[&Self]) -> String {
        let hosts: Vec<_> =
            servers.iter().map(|it| format!("127.0.0.1:{}", it.server.port)).collect();
        match servers {
            [] => String::new(),
            [first, ..] => first.url.replace(&hosts[0], &hosts.join(",")),
        }
    }

    /// Returns its URL, including user and password.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the directory that contains everything the cluster writes.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.server.folder
    }

    /// Restarts the server with encrypted connections enabled, with this certificate and its key,
    /// both in PEM.
    ///
    /// # Errors
    /// The message of `pg_ctl`, or that the files could not be written.
    pub fn encrypt(&self, certificate: &str, key: &str) -> Result<(), String> {
        self.server.encrypt(certificate, key)
    }

    /// Stops the server immediately, as a crash does. What was committed is there after
    /// [`start_again`](Self::start_again).
    ///
    /// # Errors
    /// The message of `pg_ctl`.
    pub fn crash(&self) -> Result<(), String> {
        self.server.pg_ctl(&["stop", "-m", "immediate", "-w"])
    }

    /// Restarts the stopped server on the same port.
    ///
    /// # Errors
    /// The message of `pg_ctl`.
    pub fn start_again(&self) -> Result<(), String> {
        self.server.start()
    }
}

impl Server {
    fn in_a_new_folder() -> Result<(Self, Guard), String> {
        let binaries = Binaries::find()?;
        let folder = tempfile::Builder::new()
            .prefix("vaultstore-pg-")
            .tempdir()
            .map_err(|error| format!("no temporary folder could be made: {error}"))?
            .keep();
        let user = User::to_drop_to(&folder)?;
        if let Some(user) = &user {
            user.own(&folder)?;
        }
        let guard = Guard::over(&binaries, &folder, user.as_ref())?;
        Ok((Self { binaries, folder, user, port: 0 }, guard))
    }

    fn url(&self, password: &str) -> String {
        format!("postgres://vaultstore:{password}@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs `initdb`: one superuser with a password, UTF-8, byte order, and no safety setting
    /// disabled.
    fn initialize(&self, password: &str) -> Result<(), String> {
        let password_file = self.folder.join("password");
        write(&password_file, password)?;
        if let Some(user) = &self.user {
            user.own(&password_file)?;
        }
        let mut initdb = self.command("initdb");
        initdb
            .args([
                "--username=vaultstore",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .arg(format!("--pwfile={}", password_file.display()))
            .arg("--pgdata")
            .arg(self.data());
        captured(&mut initdb)?;
        fs::remove_file(&password_file).map_err(|error| error.to_string())
    }

    fn encrypt(&self, certificate: &str, key: &str) -> Result<(), String> {
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("postgresql.auto.conf", "ssl = on\n"),
        ] {
            let path = self.data().join(name);
            write(&path, text)?;
            // Postgres refuses a key that others may read.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            if let Some(user) = &self.user {
                user.own(&path)?;
            }
        }
        self.pg_ctl(&["stop", "-m", "fast", "-w"])?;
        self.start()
    }

    fn start_on_a_free_port(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..PORTS_TRIED {
            // The port is free until the listener is dropped; this repeats in case someone takes it
            // just then.
            let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|it| it.local_addr());
            self.port = free.map_err(|error| format!("no port is free: {error}"))?.port();
            match self.start() {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        Err(format!("{last}\n{log}"))
    }

    fn start(&self) -> Result<(), String> {
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={} -c unix_socket_directories= -c max_connections=200",
            self.port
        );
        let log = self.log();
        self.pg_ctl(&["start", "-w", "-t", "60", "-o", &options, "-l", &log.to_string_lossy()])
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), String> {
        captured(self.command("pg_ctl").args(arguments).arg("-D").arg(self.data()))
    }

    /// One of Postgres's programs, with the user and directory that it accepts.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.path(program));
        command.current_dir(&self.folder).env("LC_ALL", "C");
        for (name, _) in std::env::vars_os() {
            // PGDATA, PGPORT and so on refer to another server.
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        if let Some(user) = &self.user {
            user.run(&mut command);
        }
        command
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }
}

/// Runs a program; its output becomes part of the error.
///
/// The output goes through files, because a started server inherits them and would keep a pipe
/// open.
fn captured(command: &mut Command) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{} failed: {error}", shown(command));
    let output = tempfile::NamedTempFile::new().map_err(failed)?;
    let failed = |error: std::io::Error| format!("a program's output cannot be kept: {error}");
    let (stdout, stderr) = (output.reopen().map_err(failed)?, output.reopen().map_err(failed)?);
    command.stdin(std::process::Stdio::null()).stdout(stdout).stderr(stderr);
    let status = command.status().map_err(|error| format!("{}: {error}", shown(command)))?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(output.path()).unwrap_or_default();
    Err(format!("{} failed ({status}): {}", shown(command), said.trim()))
}

fn shown(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

/// 128 random bits in hexadecimal: every user of the machine can reach the port.
fn random_password() -> Result<String, String> {
    let mut random = [0u8; 16];
    getrandom::fill(&mut random).map_err(|error| format!("no randomness: {error}"))?;
    Ok(format!("{:032x}", u128::from_be_bytes(random)))
}

#[cfg(test)]
mod tests;
