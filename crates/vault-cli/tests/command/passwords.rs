//! Where passwords come from.

use crate::sandbox::{CANARY, Sandbox};

/// A record under the password `hunter2`.
fn with_record() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    sandbox.write("pw", CANARY);
    sandbox.create("t", "pw", b"value");
    sandbox
}

#[test]
fn every_source_gives_the_same_password() {
    let sandbox = with_record();
    sandbox.write("newline", format!("{CANARY}\n"));
    sandbox.write("crlf", format!("{CANARY}\r\n"));
    for file in ["pw", "newline", "crlf"] {
        sandbox.still_reads("t", file, b"value");
    }
    let from_stdin = sandbox
        .run_with(&["read", "t", "--password-file", "-"], format!("{CANARY}\nmore").as_bytes());
    assert_eq!(from_stdin.succeeds().stdout, b"value");
    let from_env =
        sandbox.command(&["read", "t", "--password-env", "PW"]).env("PW", CANARY).output().unwrap();
    assert_eq!(from_env.stdout, b"value");
    let from_command = sandbox.run(&["read", "t", "--password-command", "cat newline"]);
    assert_eq!(from_command.succeeds().stdout, b"value");
}

#[test]
fn exactly_one_newline_is_dropped_and_nothing_else() {
    let sandbox = with_record();
    for wrong in [format!("{CANARY}\n\n"), format!(" {CANARY}"), format!("{CANARY} \n")] {
        sandbox.write("wrong", wrong);
        sandbox.read("t", "wrong").fails(1);
    }
}

#[test]
fn passwords_are_bytes() {
    let sandbox = with_record();
    sandbox.write("bytes", [0xff, 0xfe, 0x00, b'\n', b'x']);
    sandbox.write("nfc", "é");
    sandbox.write("nfd", "e\u{301}");
    sandbox.create("bytes", "bytes", b"1");
    sandbox.still_reads("bytes", "bytes", b"1");
    sandbox.create("nfc", "nfc", b"2");
    sandbox.read("nfc", "nfd").fails(1);
}

#[test]
fn a_password_on_the_command_line_works_and_warns() {
    let sandbox = with_record();
    let answer = sandbox.run(&["read", "t", "--password", CANARY]).succeeds();
    assert_eq!(answer.stdout, b"value");
    assert!(answer.stderr.starts_with("vaultstore: warning: --password "), "{}", answer.stderr);
}

#[test]
fn a_source_that_gives_nothing_says_so() {
    let sandbox = with_record();
    for (source, code) in [
        (["--password-file", "no-such-file"], 1),
        (["--password-file", "."], 1),
        (["--password-env", "NO_SUCH_VARIABLE"], 2),
        (["--password-env", "A=B"], 2),
        (["--password-command", "exit 7"], 1),
    ] {
        sandbox.run(&[&["read", "t"][..], &source].concat()).fails(code);
    }
    sandbox.write("long", vec![b'x'; (1 << 20) + 1]);
    sandbox.read("t", "long").fails(1);
    sandbox.still_reads("t", "pw", b"value");
}

#[test]
fn standard_input_gives_one_thing_only() {
    let sandbox = with_record();
    sandbox.run_with(&["update", "t", "--password-file", "-"], CANARY.as_bytes()).fails(2);
    sandbox
        .run_with(&["rekey", "--old-password-file", "-", "--new-password-file", "-"], b"a\nb\n")
        .fails(2);
    sandbox.run(&["read", "t", "--password-file", "pw", "--password-env", "PW"]).fails(2);
    sandbox.still_reads("t", "pw", b"value");
}

#[cfg(target_os = "linux")]
mod prompt {
    //! The prompt, on a terminal of its own.

    use std::{
        fs::File,
        io::{Read, Write},
        process::{Child, Command, Stdio},
        time::{Duration, Instant},
    };

    use rustix::{
        pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
        termios::{LocalModes, tcgetattr},
    };

    use super::with_record;
    use crate::sandbox::{CANARY, Sandbox};

    struct Terminal {
        ours: File,
        theirs: File,
    }

    impl Terminal {
        fn open() -> Self {
            let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
            grantpt(&ours).unwrap();
            unlockpt(&ours).unwrap();
            let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
            let mut options = File::options();
            std::os::unix::fs::OpenOptionsExt::custom_flags(options.read(true).write(true), 0o400);
            Self { ours: File::from(ours), theirs: options.open(name).unwrap() }
        }

        /// Runs the command with this terminal as its own (setsid of util-linux).
        fn run(&self, sandbox: &Sandbox, args: &[&str]) -> Child {
            let mut command = Command::new("setsid");
            command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_vaultstore")]).args(args);
            command.current_dir(sandbox.path("")).stdin(self.theirs.try_clone().unwrap());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        }

        fn echoes(&self) -> bool {
            tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO)
        }

        fn wait_for_silence(&self) {
            let begun = Instant::now();
            while self.echoes() {
                assert!(begun.elapsed() < Duration::from_secs(20), "no prompt came");
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        fn shown_until(&mut self, end: &str) -> String {
            let mut shown = String::new();
            while !shown.contains(end) {
                let mut buffer = [0; 256];
                let read = self.ours.read(&mut buffer).unwrap();
                shown.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            shown
        }

        fn type_keys(&mut self, keys: &str) {
            self.wait_for_silence();
            self.ours.write_all(keys.as_bytes()).unwrap();
        }
    }

    #[test]
    fn a_typed_password_is_not_shown_and_the_echo_comes_back() {
        let (sandbox, mut terminal) = (with_record(), Terminal::open());
        let child = terminal.run(&sandbox, &["read", "t"]);
        let mut shown = terminal.shown_until("Password: ");
        terminal.type_keys(&format!("{CANARY}\n"));
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"value");
        shown.push_str(&terminal.shown_until("\n"));
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(terminal.echoes());
    }

    #[test]
    fn a_new_password_is_asked_twice_though_the_old_one_has_a_source() {
        let (sandbox, mut terminal) = (with_record(), Terminal::open());
        for (second, code) in [("other", 2), ("new", 0)] {
            let child = terminal.run(&sandbox, &["rekey", "--old-password-file", "pw"]);
            terminal.shown_until("New password: ");
            terminal.type_keys("new\n");
            terminal.shown_until("New password (again): ");
            terminal.type_keys(&format!("{second}\n"));
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(code));
        }
        sandbox.write("new", "new");
        sandbox.still_reads("t", "new", b"value");
    }

    #[test]
    fn ctrl_c_and_a_signal_bring_the_echo_back() {
        let (sandbox, mut terminal) = (with_record(), Terminal::open());
        let child = terminal.run(&sandbox, &["read", "t"]);
        terminal.shown_until("Password: ");
        terminal.type_keys(&format!("{CANARY}\u{3}"));
        assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
        assert!(terminal.echoes());

        let child = terminal.run(&sandbox, &["read", "t"]);
        terminal.shown_until("Password: ");
        terminal.wait_for_silence();
        let group = format!("-{}", child.id());
        let kill = Command::new("kill").args(["-TERM", "--", &group]).status().unwrap();
        assert!(kill.success());
        let _ = child.wait_with_output().unwrap();
        let begun = Instant::now();
        while !terminal.echoes() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the echo stayed off");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
