//! Removes a cluster when its owner ends, however that happens.

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::binaries::Binaries;
use crate::user::User;

/// Waits for the end of its standard input, which the owner holds open and the kernel closes when
/// the owner is gone; then stops the server and removes the directory. `$1` is `pg_ctl`, `$2` the
/// directory.
const SCRIPT: &str = r#"
cat
"$1" stop -s -m immediate -D "$2/data"
cd / && rm -rf "$2"
"#;

/// The guard process of one cluster. Dropping it removes the cluster and waits until that is done.
#[derive(Debug)]
pub(crate) struct Guard(Child);

impl Guard {
    pub(crate) fn over(
        binaries: &Binaries,
        folder: &Path,
        user: Option<&User>,
    ) -> Result<Self, String> {
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", SCRIPT, "guard"])
            .arg(binaries.path("pg_ctl"))
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A separate process group: Ctrl-C reaches the owner and its command, but not the guard
            // that cleans up after them.
            .process_group(0);
        if let Some(user) = user {
            user.run(&mut command);
        }
        command.spawn().map(Self).map_err(|error| format!("/bin/sh could not be started: {error}"))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // If the guard is gone, there is nothing to wait for.
        let _ = self.0.wait();
    }
}
