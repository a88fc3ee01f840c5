//! The memory of a running command stays private: no core file is written of it, and no
//! other process of its user may look into it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test that fails panics, in its helpers too")]

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Some user who is not root: to root everything of `/proc` belongs, hidden or not.
const NOBODY: u32 = 65_534;

/// Starts a program that waits for its standard input, not as root.
fn start(program: &Path, arguments: &[&str], folder: &Path) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("XDG_STATE_HOME", folder);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        command.uid(NOBODY);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether root owns what `/proc` says about a process: so it is for one that hides its memory.
fn is_hidden(child: &Child) -> bool {
    fs::metadata(format!("/proc/{}/mem", child.id())).unwrap().uid() == 0
}

fn may_dump_core(child: &Child) -> bool {
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    !limit.split_ascii_whitespace().take(2).eq(["0", "0"])
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_running_command_hides_its_memory_and_dumps_no_core() {
    let folder = tempfile::tempdir().unwrap();
    // Where another user may run it.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let program = folder.path().join("vaultstore");
    fs::copy(env!("CARGO_BIN_EXE_vaultstore"), &program).unwrap();
    let made = start(&program, &["init", "--kdf", "t=2,m=19456,p=1"], folder.path()).wait();
    assert!(made.unwrap().success());
    fs::write(folder.path().join("password"), "a password\n").unwrap();

    // Waits for the value.
    let arguments = ["create", "--password-file", "password"];
    let command = start(&program, &arguments, folder.path());
    let hides = (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        is_hidden(&command)
    });
    assert!(hides, "other processes of its user may read its memory");
    assert!(!may_dump_core(&command));
    end(command);

    // The check can fail: another program that waits hides nothing.
    let other = start(Path::new("/bin/cat"), &[], folder.path());
    thread::sleep(Duration::from_millis(200));
    assert!(!is_hidden(&other));
    end(other);
}
