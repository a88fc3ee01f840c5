//! `cargo xtask pg -- COMMAND`: runs a command with a Postgres server for its tests.

use std::{env, process::Command};

use pg_cluster::{Cluster, VARIABLE};

use crate::command::Run as _;

/// Runs the command, and with it a throw-away server where the environment names none; the server goes with this process,
/// also when the command fails or Ctrl-C ends both.
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

/// The server that tests use: the one that the environment names, else one of our own.
pub(crate) struct Server(Option<Cluster>);

impl Server {
    pub(crate) fn of_environment_or_own() -> Result<Self, String> {
        let named = env::var_os(VARIABLE).is_some();
        Ok(Self(if named { None } else { Some(Cluster::start()?) }))
    }

    /// Names the server to a command.
    pub(crate) fn tell(&self, command: &mut Command) {
        if let Some(cluster) = &self.0 {
            command.env(VARIABLE, cluster.url());
        }
    }
}
