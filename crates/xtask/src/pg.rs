//! `cargo xtask pg -- COMMAND`: runs a command with a Postgres server for its tests.

use std::{env, process::Command};

use pg_cluster::{Cluster, VARIABLE};

use crate::command::Run as _;

/// Runs the command with a temporary server unless the environment names one. The server disappears
/// with this process, even if the command fails or Ctrl-C ends both.
pub(crate) fn run(command: &[&str]) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("pg needs a command to run: cargo xtask pg -- COMMAND".to_owned());
    };
    let server = Server::of_environment_or_own()?;
    let mut child = Command::new(program);
    child.args(arguments);
    server.tell(&mut child);
    child.run()
}

/// The server for tests: the one that the environment names, or else a temporary one.
pub(crate) struct Server(Option<Cluster>);

impl Server {
    pub(crate) fn of_environment_or_own() -> Result<Self, String> {
        let named = env::var_os(VARIABLE).is_some();
        Ok(Self(if named { None } else { Some(Cluster::start()?) }))
    }

    /// Passes the server to a command.
    pub(crate) fn tell(&self, command: &mut Command) {
        if let Some(cluster) = &self.0 {
            command.env(VARIABLE, cluster.url());
        }
    }
}
