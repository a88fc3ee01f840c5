//! Addresses of vaults that are not understood: exit code 2 before anything is opened, and never
//! another place.

use std::net::TcpListener;

use crate::sandbox::{CANARY, CHEAP, Sandbox};

#[test]
fn an_unknown_parameter_is_refused_with_a_suggestion_and_without_its_value() {
    let sandbox = Sandbox::empty();
    for (parameter, suggestion) in
        [("sslmod=hunter2", "sslmode"), ("tabel=hunter2", "table"), ("hunter2=hunter2", "")]
    {
        let vault = format!("postgres://localhost/db?{parameter}");
        let said = sandbox.run(&["list", "--vault", &vault]).fails(2).stderr;
        assert!(said.contains(suggestion), "{said}");
        assert!(!said.contains(CANARY), "{said}");
    }
    let said = sandbox.run(&["list", "--vault", "postgre://localhost/db"]).fails(2).stderr;
    assert!(said.contains("\"postgres\""), "{said}");
}

#[test]
fn a_variable_of_libpq_is_understood_or_refused_by_its_name() {
    let sandbox = Sandbox::empty();
    for (variable, value) in [
        ("PGSSLMODE", "requre"),
        ("PGSSLMODE", "verify_full"),
        ("PGSERVICE", "hunter2"),
        ("PGHOST", "a b"),
        ("PGPORT", "hunter2"),
        ("PGPASSFILE", "no such file"),
        ("PGSSLCRL", "revoked.pem"),
    ] {
        let mut command = sandbox.command(&["list", "--vault", "postgres:///db"]);
        let code = if variable == "PGPASSFILE" { 1 } else { 2 };
        let answer: crate::sandbox::Answer = command.env(variable, value).output().unwrap().into();
        let said = answer.fails(code).stderr;
        assert!(said.contains(variable), "{said}");
    }
}

#[test]
fn a_variable_that_is_empty_does_not_switch_the_check_of_certificates_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    // A name that is not one of the loopback interface and leads there all the same.
    let vault = format!("postgres://me@127.1:{}/db", listener.local_addr().unwrap().port());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = [0; 8];
        std::io::Read::read_exact(&mut stream, &mut asked).unwrap();
        // "No TLS here": libpq's default would continue in clear text.
        std::io::Write::write_all(&mut stream, b"N").unwrap();
        let mut rest = Vec::new();
        std::io::Read::read_to_end(&mut stream, &mut rest).unwrap();
        (asked, rest)
    });
    let sandbox = Sandbox::empty();
    let mut command = sandbox.command(&["list", "--vault", &vault]);
    let answer: crate::sandbox::Answer = command.env("PGSSLMODE", "").output().unwrap().into();
    let said = answer.fails(1).stderr;
    assert!(said.contains("TLS"), "{said}");
    let (asked, rest) = server.join().unwrap();
    assert_eq!(asked[4..], 80_877_103_u32.to_be_bytes(), "TLS was not asked for");
    assert_eq!(rest, b"", "something was sent in clear");
}

#[test]
fn two_slashes_lead_to_no_other_place() {
    let sandbox = Sandbox::empty();
    for vault in ["sqlite://v.db", "redb://v.redb", "sqlite:///v.db", "redb:v.redb?table=a"] {
        sandbox.run(&["init", "--kdf", CHEAP, "--vault", vault]).fails(2);
    }
    assert!(!sandbox.path("v.db").exists());
}

#[cfg(unix)]
#[test]
fn a_variable_with_a_wrong_value_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let no_text = std::ffi::OsStr::from_bytes(b"redb:\xff");
    let sandbox = Sandbox::with_vault();
    for (variable, value) in [
        ("VAULTSTORE_VAULT", "v.redb".as_ref()),
        ("VAULTSTORE_VAULT", no_text),
        ("VAULTSTORE_KDF_LIMIT", "much".as_ref()),
        ("VAULTSTORE_KDF_LIMIT", "1GiB\n".as_ref()),
        ("VAULTSTORE_KDF_LIMIT", no_text),
    ] {
        let mut command = sandbox.command(&["list"]);
        let answer: crate::sandbox::Answer = command.env(variable, value).output().unwrap().into();
        let said = answer.fails(2).stderr;
        assert!(said.starts_with(&format!("error: {variable}: ")), "{said}");
    }
    let answer = sandbox.run(&["list", "--kdf-limit", "much"]).fails(2);
    assert!(answer.stderr.starts_with("error: --kdf-limit"), "{answer:?}");
}

#[test]
fn a_control_character_is_refused_and_the_variable_that_has_it_named() {
    let sandbox = Sandbox::empty();
    for end in ["\n", "\r", "\r\n", "\u{9b}"] {
        for vault in ["redb:v.redb", "sqlite:v.db", "postgres://localhost/db"] {
            let mut command = sandbox.command(&["init", "--kdf", CHEAP]);
            command.env("VAULTSTORE_VAULT", format!("{vault}{end}"));
            let answer: crate::sandbox::Answer = command.output().unwrap().into();
            let said = answer.fails(2).stderr;
            assert!(said.contains("VAULTSTORE_VAULT"), "{said}");
        }
        assert!(!sandbox.path(&format!("v.redb{end}")).exists());
        assert!(!sandbox.path(&format!("v.db{end}")).exists());
    }
}
