//! `cargo xtask pg -- COMMAND`: runs a command with a Postgres server for its tests.

use std::{env, process::Command};

use pg_cluster::{Cluster, VARIABLE};

/// Runs the command with the variable that names the server: as it is where it is set, else for a throw-away cluster that
/// goes with this process, also when the command fails or Ctrl-C ends both.
pub(crate) fn run(command: &[&str]) -> Result<(), String> {
    let [program, arguments @ ..] = command else {
        return Err("pg needs a command to run: cargo xtask pg -- COMMAND".to_owned());
    };
    let mut child = Command::new(program);
    child.args(arguments);
    let cluster = if env::var_os(VARIABLE).is_some() { None } else { Some(Cluster::start()?) };
    if let Some(cluster) = &cluster {
        child.env(VARIABLE, cluster.url());
    }
    let status = child.status().map_err(|error| format!("{program} cannot be run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{program} failed ({status})")) }
}
