//! What a person sees: prompts and values on a terminal of its own, and text from elsewhere that a
//! terminal must not obey.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use rustix::{
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{LocalModes, tcgetattr},
};
use vaultstore::store::{EnvelopeText, PutSetting};
use vaultstore::{Record, RecordId, Timestamp, Token};

use crate::sandbox::{CANARY, Sandbox};

/// A record under the password `hunter2`.
fn with_record() -> Sandbox {
    let sandbox = Sandbox::with_vault();
    sandbox.write("pw", CANARY);
    sandbox.create("t", "pw", b"value");
    sandbox
}

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
        self.command(sandbox, args).stdout(Stdio::piped()).spawn().unwrap()
    }

    /// The same with standard output on the terminal too.
    fn show(&self, sandbox: &Sandbox, args: &[&str]) -> Child {
        self.command(sandbox, args).stdout(self.theirs.try_clone().unwrap()).spawn().unwrap()
    }

    fn command(&self, sandbox: &Sandbox, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_vaultstore")]).args(args);
        command.env("XDG_STATE_HOME", sandbox.path("state"));
        command.current_dir(sandbox.path("")).stdin(self.theirs.try_clone().unwrap());
        command.stderr(Stdio::piped());
        command
    }

    fn echoes(&self) -> bool {
        tcgetattr(&self.theirs).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    fn wait_for_silence(&self) {
        let started = Instant::now();
        while self.echoes() {
            assert!(started.elapsed() < Duration::from_secs(20), "no prompt came");
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
fn a_new_password_is_asked_twice_though_the_old_one_has_a_source_and_again_where_the_two_differ() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    let child = terminal.run(&sandbox, &["rekey", "--old-password-file", "pw"]);
    for typed in ["one", "other", "new", "new"] {
        terminal.shown_until(": ");
        terminal.type_keys(&format!("{typed}\n"));
    }
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    sandbox.write("new", "new");
    sandbox.still_reads("t", "new", b"value");
}

#[test]
fn two_passwords_that_keep_differing_change_nothing() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    let child = terminal.run(&sandbox, &["rekey", "--old-password-file", "pw"]);
    for typed in ["", "one", "other", "one", "other"] {
        terminal.shown_until(": ");
        terminal.type_keys(&format!("{typed}\n"));
    }
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
    sandbox.still_reads("t", "pw", b"value");
}

#[test]
fn editing_keys_edit_and_no_control_character_becomes_part_of_a_password() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    for keys in [
        format!("wrong\u{17}{CANARY}"),
        format!("{CANARY}x\u{7f}"),
        format!("{CANARY}\u{1b}[D"),
        format!("\u{1b}[200~{CANARY}\u{1b}[201~"),
        format!("{CANARY}\u{1a}"),
    ] {
        let child = terminal.run(&sandbox, &["read", "t"]);
        terminal.shown_until("Password: ");
        terminal.type_keys(&format!("{keys}\n"));
        assert_eq!(child.wait_with_output().unwrap().stdout, b"value", "{keys:?}");
    }
}

#[test]
fn create_says_what_it_waits_for() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    let child = terminal.run(&sandbox, &["create", "--token", "typed", "--password-file", "pw"]);
    // The value is typed into the terminal's own line, and ended.
    terminal.ours.write_all(b"a value\n\x04").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stdout, b"typed\n");
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("note: "));
    sandbox.still_reads("typed", "pw", b"a value\n");
}

#[test]
fn a_value_on_a_terminal_is_shown_and_not_obeyed() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    let value = b"two\nlines\x1b[2J\xff";
    sandbox.create("hostile", "pw", value);
    let read = ["read", "hostile", "--password-file", "pw"];
    let child = terminal.show(&sandbox, &read);
    assert_eq!(terminal.shown_until("\\xff\r\n"), "two\r\nlines\\u{1b}[2J\\xff\r\n");
    assert!(child.wait_with_output().unwrap().status.success());
    // Through a pipe, and with --raw, every byte is as it is.
    sandbox.still_reads("hostile", "pw", value);
    let child = terminal.show(&sandbox, &[&read[..], &["--raw"]].concat());
    let mut shown = Vec::new();
    while !shown.ends_with(b"\xff") {
        let mut byte = [0];
        terminal.ours.read_exact(&mut byte).unwrap();
        shown.push(byte[0]);
    }
    assert_eq!(shown, b"two\r\nlines\x1b[2J\xff");
    assert!(child.wait_with_output().unwrap().status.success());
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
    let started = Instant::now();
    while !terminal.echoes() {
        assert!(started.elapsed() < Duration::from_secs(20), "the echo stayed off");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Clears the screen, sets the window's title, turns the reading direction, ends a line.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{9d}0;owned\u{7}\u{202e}\u{2028}\u{200b}\r\n";

#[test]
fn what_the_database_holds_is_shown_and_never_obeyed() {
    let sandbox = with_record();
    let store = sandbox.store();
    let record = Record {
        id: RecordId::from_stored(format!("id{HOSTILE}")),
        token: Token::new(format!("tk{HOSTILE}")).unwrap(),
        envelope: EnvelopeText::from_stored(*b"v9:x"),
        created_at: Timestamp::from_micros(1),
        updated_at: Timestamp::from_micros(1),
        expires_at: None,
        soft_deleted_at: None,
    };
    block_on(store.insert(vec![record])).unwrap();
    let (name, value) = (format!("color{HOSTILE}"), format!("red{HOSTILE}"));
    block_on(store.put_setting(&name, &value, PutSetting::Always)).unwrap();
    drop(store);
    for args in [
        &["settings", "list"][..],
        &["settings", "list", "--json"],
        &["settings", "get", &name],
        &["list"],
        &["list", "--json"],
        &["census", "--password-file", "pw"],
        &["census", "--json", "--progress", "json"],
        &["verify", "--password-file", "pw"],
        &["rekey", "--old-password-file", "pw", "--new-password-file", "new", "--progress", "json"],
        &["copy", "--to", "redb:copy.redb"],
        &["exists", &format!("tk{HOSTILE}"), "--json"],
        &["read", &format!("no{HOSTILE}"), "--password-file", "pw"],
        &["--vault", "redb:\u{202e}.redb", "list"],
    ] {
        let answer = sandbox.run(args);
        let shown = String::from_utf8(answer.stdout).unwrap() + &answer.stderr;
        let hostile =
            |text: &str| text.chars().any(|c| c.is_control() && c != '\n' || !c.is_ascii());
        assert!(!hostile(&shown), "{args:?}: {shown:?}");
    }
    // JSON gives back what is stored.
    let list = sandbox.run(&["list", "--json"]).json(0);
    let ids: Vec<_> = list["records"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
    assert!(ids.contains(&format!("id{HOSTILE}").into()), "{ids:?}");
}

#[test]
fn an_error_says_what_failed_and_a_hint_what_to_do() {
    let sandbox = with_record();
    for (args, code, error, hint) in [
        (&["cencus"][..], 2, "", "`census`"),
        (&["rekey", "--dryrun"], 2, "`vaultstore rekey`", "`--dry-run`"),
        (&["list", "--vault", "postgre://h/d"], 2, "--vault", "`vaultstore list --help`"),
        (&["list", "--vault", "redb:nothing"], 1, "redb:nothing", "vaultstore init"),
        (&["create", "--token", "t", "--password-file", "pw"], 2, "no value", "--value-file"),
    ] {
        let answer = sandbox.run(args).fails(code);
        let lines: Vec<&str> = answer.stderr.lines().collect();
        assert!(lines[0].contains(error) && lines[1].contains(hint), "{answer:?}");
    }
}

#[test]
fn an_export_is_not_shown_unless_that_is_asked_for() {
    let sandbox = with_record();
    let export = ["export", "--password-file", "pw"];
    let mut terminal = Terminal::open();
    let mut child = terminal.show(&sandbox, &export);
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let mut child = terminal.show(&sandbox, &[&export[..], &["--to-terminal"]].concat());
    let shown = terminal.shown_until("}\r\n");
    assert!(shown.contains("\"value\":"), "{shown}");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn what_cannot_be_undone_is_confirmed_where_somebody_can_answer() {
    let (sandbox, mut terminal) = (with_record(), Terminal::open());
    let on_terminal = |terminal: &Terminal, args: &[&str]| {
        let mut command = terminal.command(&sandbox, args);
        command.stderr(terminal.theirs.try_clone().unwrap()).stdout(Stdio::piped()).spawn().unwrap()
    };
    let hard = ["delete", "t", "--hard"];
    for (answer, code) in [("no\n", 1), ("\n", 1), ("yes\n", 0)] {
        let mut child = on_terminal(&terminal, &hard);
        terminal.shown_until("Type yes to go on: ");
        terminal.ours.write_all(answer.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{answer:?}");
    }
    sandbox.create("t", "pw", b"value");
    let asked = |args: &[&str]| {
        let terminal = Terminal::open();
        on_terminal(&terminal, args).wait().unwrap().code()
    };
    assert_eq!(asked(&["purge-expired", "--hard", "--yes"]), Some(0));
    let merge = ["rekey", "--merge-check", "off", "--old-password-file", "pw"];
    let merge = [&merge[..], &["--new-password-file", "new"]].concat();
    assert_eq!(asked(&[&merge[..], &["--dry-run"]].concat()), Some(0));
    let mut child = on_terminal(&terminal, &merge);
    terminal.shown_until("Type yes to go on: ");
    terminal.ours.write_all(b"no\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    sandbox.still_reads("t", "pw", b"value");
    // Without a terminal there is nobody to ask.
    sandbox.run(&hard).succeeds();
}
