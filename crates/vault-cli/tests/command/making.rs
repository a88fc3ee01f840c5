//! What is created appears whole or not at all: `init` and `copy`, killed at every size of their
//! files, then run again.

use std::fs;

use crate::sandbox::{CHEAP, Sandbox};

/// How many KiB a file may have before the system kills the process.
const LIMITS: [u32; 9] = [0, 1, 2, 4, 8, 16, 32, 64, 1024];

fn names(sandbox: &Sandbox) -> Vec<String> {
    let entries = fs::read_dir(sandbox.path("")).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Runs a command with each limit and then without, and gives how often it was killed.
fn kill_and_repeat(kind: &str, command: &str, mut check: impl FnMut(&Sandbox)) -> usize {
    let mut killed = 0;
    for limit in LIMITS {
        let sandbox = Sandbox::empty();
        sandbox
            .shell(
                "vaultstore init --vault $KIND:from --kdf $KDF",
                &[("KIND", kind), ("KDF", CHEAP)],
            )
            .succeeds();
        let variables = [("KIND", kind), ("KDF", CHEAP), ("COMMAND", command)];
        let limited = format!(
            "set +e; (ulimit -c 0; ulimit -f {limit}; eval \"exec vaultstore $COMMAND\") >/dev/null 2>&1; echo $?"
        );
        let code = sandbox.shell(&limited, &variables).succeeds().stdout;
        if String::from_utf8(code).unwrap().trim().parse::<u32>().unwrap() <= 128 {
            continue;
        }
        killed += 1;
        assert!(!sandbox.path("made").exists(), "{kind}: a file after a kill at {limit} KiB");
        sandbox.shell("eval \"vaultstore $COMMAND\"", &variables).succeeds();
        check(&sandbox);
        let expected = ["from", "made", "new", "old", "other"];
        assert_eq!(names(&sandbox), expected, "{kind}: killed at {limit} KiB");
    }
    killed
}

#[test]
fn an_init_that_is_killed_at_any_moment_is_run_again() {
    for kind in ["redb", "sqlite"] {
        // Another cost than the default: it must not be lost.
        let cost = "t=3,m=20000,p=1";
        let command = format!("init --vault $KIND:made --kdf {cost} --format v3+padme");
        let killed = kill_and_repeat(kind, &command, |sandbox| {
            let vault = format!("{kind}:made");
            let settings = sandbox.run(&["settings", "list", "--vault", &vault]).succeeds();
            let settings = String::from_utf8(settings.stdout).unwrap();
            assert!(settings.contains("m=20000,t=3,p=1"), "{settings}");
            assert!(settings.contains("v3+padme"), "{settings}");
        });
        assert!(killed > 1, "{kind}: no init was killed");
    }
}

#[test]
fn a_copy_whose_target_is_half_made_is_run_again() {
    for kind in ["redb", "sqlite"] {
        let command = "copy --vault $KIND:from --to $KIND:made --progress none";
        let killed = kill_and_repeat(kind, command, |sandbox| {
            let settings = |vault: String| {
                sandbox.run(&["settings", "list", "--vault", &vault]).succeeds().stdout
            };
            assert_eq!(settings(format!("{kind}:made")), settings(format!("{kind}:from")));
        });
        assert!(killed > 1, "{kind}: no copy was killed");
    }
}

#[test]
fn init_and_copy_leave_what_is_there_alone() {
    for kind in ["redb", "sqlite"] {
        let sandbox = Sandbox::empty();
        let vault = format!("{kind}:made");
        sandbox.write("made", "theirs");
        sandbox.run(&["init", "--vault", &vault, "--kdf", CHEAP]).fails(1);
        sandbox.run(&["init", "--vault", &format!("{kind}:from"), "--kdf", CHEAP]).succeeds();
        sandbox.run(&["copy", "--vault", &format!("{kind}:from"), "--to", &vault]).fails(1);
        assert_eq!(fs::read(sandbox.path("made")).unwrap(), b"theirs");
        assert_eq!(names(&sandbox), ["from", "made", "new", "old", "other"]);
    }
}
