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

/// What earlier versions, which created the file in place, left behind a kill or a power cut.
fn leftovers(kind: &str, sandbox: &Sandbox) -> Vec<(&'static str, Vec<u8>)> {
    let whole = fs::read(sandbox.path("from")).unwrap();
    let zeros = vec![0; whole.len()];
    let torn = |header: usize| [&whole[..header], &zeros[header..]].concat();
    let mut left = vec![
        ("empty", Vec::new()),
        ("zeros", zeros.clone()),
        ("one zero", vec![0]),
        ("one page of zeros", vec![0; 4096]),
        ("a sector of the header", torn(512)),
        ("a header", torn(4096)),
        ("half a page", whole[..2048].to_vec()),
    ];
    if kind == "redb" {
        let mut no_magic = torn(320);
        no_magic[..9].fill(0);
        left.push(("a header without its magic number", no_magic));
    }
    left
}

#[test]
fn what_a_broken_creation_has_left_is_taken_up() {
    for kind in ["redb", "sqlite"] {
        let sandbox = Sandbox::empty();
        let (from, made) = (format!("{kind}:from"), format!("{kind}:made"));
        sandbox.run(&["init", "--vault", &from, "--kdf", CHEAP]).succeeds();
        for (what, left) in leftovers(kind, &sandbox) {
            for command in ["init", "copy"] {
                sandbox.write("made", "");
                fs::write(sandbox.path("made"), &left).unwrap();
                let run = if command == "init" {
                    sandbox.run(&["init", "--vault", &made, "--kdf", CHEAP])
                } else {
                    sandbox.run(&["copy", "--vault", &from, "--to", &made])
                };
                assert_eq!(run.code, Some(0), "{command} over {kind}, {what}: {run:?}");
                sandbox.run(&["status", "--vault", &made]).succeeds();
                sandbox.run(&["settings", "list", "--vault", &made]).succeeds();
                fs::remove_file(sandbox.path("made")).unwrap();
                assert_eq!(names(&sandbox), ["from", "new", "old", "other"], "{kind}, {what}");
            }
        }
    }
}

#[test]
fn a_damaged_vault_is_never_taken_for_the_rest_of_a_creation() {
    for kind in ["redb", "sqlite"] {
        let sandbox = Sandbox::empty();
        let made = format!("{kind}:made");
        sandbox.run(&["init", "--vault", &made, "--kdf", CHEAP]).succeeds();
        let whole = fs::read(sandbox.path("made")).unwrap();
        let last = whole.iter().rposition(|byte| *byte != 0).unwrap();
        assert!(last > 4096);
        let mut damaged = Vec::new();
        // One byte of data behind a torn header, cut short, and without its header.
        let mut one_byte = vec![0; whole.len()];
        one_byte[..4096].copy_from_slice(&whole[..4096]);
        one_byte[last] = whole[last];
        damaged.push(one_byte);
        damaged.push(whole[..last].to_vec());
        damaged.push([&[0; 4096], &whole[4096..]].concat());
        damaged.push([b"text, and then ", &vec![0; 8192][..]].concat());
        damaged.push(b"\n".to_vec());
        for left in damaged {
            fs::write(sandbox.path("made"), &left).unwrap();
            sandbox.run(&["init", "--vault", &made, "--kdf", CHEAP]).fails(1);
            assert!(
                fs::read(sandbox.path("made")).unwrap() == left,
                "{kind}: {} bytes",
                left.len()
            );
        }
    }
}
