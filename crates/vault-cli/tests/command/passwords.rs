//! Where passwords come from.

use crate::sandbox::{Answer, CANARY, Sandbox};

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
    assert!(answer.stderr.starts_with("warning: --password "), "{}", answer.stderr);
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

/// The command with variables, of which a password command must not see one.
fn with_variables(sandbox: &Sandbox, args: &[&str], variables: &[(&str, &str)]) -> Answer {
    let mut command = sandbox.command(args);
    command.envs(variables.iter().copied()).output().unwrap().into()
}

#[test]
fn a_variable_stands_in_for_the_prompt() {
    let sandbox = with_record();
    let read = ["read", "t"];
    for variable in [("VAULTSTORE_PASSWORD_FILE", "pw"), ("VAULTSTORE_PASSWORD_COMMAND", "cat pw")]
    {
        assert_eq!(with_variables(&sandbox, &read, &[variable]).succeeds().stdout, b"value");
    }
    let both = [("VAULTSTORE_PASSWORD_FILE", "pw"), ("VAULTSTORE_PASSWORD_COMMAND", "cat pw")];
    let refused = with_variables(&sandbox, &read, &both).fails(2);
    for (name, _) in both {
        assert!(refused.stderr.contains(name), "{refused:?}");
    }
    // An option says it for this command.
    let option = ["read", "t", "--password-file", "pw"];
    let wrong = [("VAULTSTORE_PASSWORD_FILE", "other")];
    assert_eq!(with_variables(&sandbox, &option, &wrong).succeeds().stdout, b"value");
    let missing =
        with_variables(&sandbox, &read, &[("VAULTSTORE_PASSWORD_FILE", "nothing")]).fails(1);
    assert!(missing.stderr.contains("VAULTSTORE_PASSWORD_FILE"), "{missing:?}");
    let verify = with_variables(&sandbox, &["verify"], &[("VAULTSTORE_PASSWORD_FILE", "pw")]);
    assert!(verify.succeeds().text().contains("VAULTSTORE_PASSWORD_FILE"));
}

#[test]
fn no_variable_stands_in_for_one_of_another_role() {
    let sandbox = with_record();
    let rekey = ["rekey"];
    for set in [
        &[("VAULTSTORE_PASSWORD_FILE", "pw")][..],
        &[("VAULTSTORE_OLD_PASSWORD_FILE", "pw"), ("VAULTSTORE_PASSWORD_FILE", "new")],
        &[("VAULTSTORE_NEW_PASSWORD_FILE", "new"), ("VAULTSTORE_PASSWORD_FILE", "pw")],
    ] {
        let command = sandbox.shell(
            "exec setsid vaultstore rekey",
            &[set, &[("VAULTSTORE_VAULT", "redb:vault.redb")]].concat(),
        );
        assert_eq!(command.code, Some(2), "{command:?}");
    }
    sandbox.still_reads("t", "pw", b"value");
    let both =
        [("VAULTSTORE_OLD_PASSWORD_FILE", "pw"), ("VAULTSTORE_NEW_PASSWORD_COMMAND", "cat new")];
    with_variables(&sandbox, &rekey, &both).succeeds();
    sandbox.still_reads("t", "new", b"value");
}

#[test]
fn a_password_command_sees_no_other_secret() {
    let sandbox = with_record();
    let see = "env > seen; cat pw";
    let variables = [
        ("VAULTSTORE_OLD_PASSWORD_COMMAND", see),
        ("VAULTSTORE_NEW_PASSWORD_COMMAND", "echo hunter2-new"),
        ("VAULTSTORE_VAULT", "redb:vault.redb"),
        ("PGPASSWORD", "hunter2-server"),
    ];
    with_variables(&sandbox, &["rekey"], &variables).succeeds();
    let seen = std::fs::read_to_string(sandbox.path("seen")).unwrap();
    assert!(!seen.contains("hunter2") && !seen.contains("VAULTSTORE_"), "{seen}");
    assert!(seen.contains("PATH="), "{seen}");
}
