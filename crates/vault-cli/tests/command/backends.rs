//! The same life on every backend, and copies between them.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use serde_json::Value;

use crate::sandbox::{Answer, CANARY, CHEAP, Sandbox};

/// The address of a vault that does not exist yet, on each backend that needs no server, and on
/// Postgres where there is one.
pub(crate) const BACKENDS: &[fn(&Sandbox) -> String] = &[
    redb,
    sqlite,
    #[cfg(feature = "server-tests")]
    postgres,
];

fn redb(sandbox: &Sandbox) -> String {
    format!("redb:{}", sandbox.path(&unique("redb")).display())
}

fn sqlite(sandbox: &Sandbox) -> String {
    format!("sqlite:{}", sandbox.path(&unique("sqlite")).display())
}

#[cfg(feature = "server-tests")]
/// Tables of their own in the database that the environment names.
fn postgres(_: &Sandbox) -> String {
    let server = pg_cluster::url_from_environment().unwrap();
    let (table, meta) = (unique("vault"), unique("meta"));
    let separator = if server.contains('?') { '&' } else { '?' };
    format!("{server}{separator}table={table}&meta={meta}")
}

/// A name that no other test, and no other run on the same server, uses.
fn unique(name: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{name}_{}_{}", uuid::Uuid::now_v7().simple(), COUNT.fetch_add(1, Relaxed))
}

/// Runs a command on the vault at an address.
pub(crate) struct At<'a> {
    pub(crate) sandbox: &'a Sandbox,
    pub(crate) url: String,
}

impl At<'_> {
    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        self.sandbox.run(&[args, &["--vault", &self.url]].concat())
    }

    pub(crate) fn init(&self, more: &[&str]) {
        self.run(&[&["init", "--kdf", CHEAP], more].concat()).succeeds();
    }

    pub(crate) fn create(&self, token: &str, password: &str, value: &[u8]) {
        let args = ["create", "--token", token, "--password-file", password, "--vault", &self.url];
        self.sandbox.run_with(&args, value).succeeds();
    }

    pub(crate) fn read(&self, token: &str, password: &str) -> Answer {
        self.run(&["read", token, "--password-file", password])
    }

    fn rekey(&self, more: &[&str]) -> Answer {
        let args = ["rekey", "--old-password-file", "old", "--new-password-file", "new", "--json"];
        self.run(&[&args, more].concat())
    }

    fn list(&self) -> Value {
        self.run(&["list", "--json"]).json(0)
    }

    /// Some records under two passwords, one of them binary.
    fn filled(self) -> Self {
        self.init(&[]);
        self.create("one", "old", b"first");
        self.create("two", "other", b"second");
        self.create("three", "old", &[0, 255, 10, 13]);
        self
    }
}

#[test]
fn a_vault_lives_its_life_on_every_backend() {
    for url in BACKENDS {
        let sandbox = Sandbox::empty();
        let vault = At { sandbox: &sandbox, url: url(&sandbox) }.filled();
        vault.run(&["init"]).fails(1);
        assert_eq!(vault.read("three", "old").succeeds().stdout, [0, 255, 10, 13]);
        vault.read("one", "other").fails(1);

        let report = vault.rekey(&[]).json(0);
        assert_eq!(
            (&report["rekeyed"], &report["other_password"]),
            (&2.into(), &1.into()),
            "{report}"
        );
        assert_eq!(vault.read("one", "new").succeeds().stdout, b"first");
        assert_eq!(vault.read("two", "other").succeeds().stdout, b"second");
        vault.read("one", "old").fails(1);
        let again = vault.rekey(&[]).json(0);
        // The finished job is known by its state, and its counts are those of the whole job.
        assert_eq!((&again["rekeyed"], &again["already_done"]), (&2.into(), &true.into()));

        vault.run(&["delete", "one"]).succeeds();
        assert_eq!(vault.list()["records"].as_array().unwrap().len(), 3);
        vault.run(&["delete", "one", "--hard"]).succeeds();
        assert_eq!(vault.list()["records"].as_array().unwrap().len(), 2);
        let verify = ["verify", "--password-file", "new", "--password-file", "other"];
        vault.run(&verify).succeeds();
        vault.run(&["migrate"]).succeeds();
        assert_eq!(vault.read("two", "other").succeeds().stdout, b"second");
    }
}

#[test]
fn a_copy_goes_from_any_backend_to_any_and_opens_as_before() {
    let sandbox = Sandbox::empty();
    let mut vault = At { sandbox: &sandbox, url: redb(&sandbox) }.filled();
    let original = vault.list();
    let order: &[fn(&Sandbox) -> String] = &[
        sqlite,
        #[cfg(feature = "server-tests")]
        postgres,
        redb,
        #[cfg(feature = "server-tests")]
        postgres,
        sqlite,
        redb,
    ];
    for target in order {
        let target = At { sandbox: &sandbox, url: target(&sandbox) };
        let report = vault.run(&["copy", "--to", &target.url, "--json"]).json(0);
        assert_eq!((&report["copied"], &report["verified"]["same"]), (&3.into(), &3.into()));
        let again = vault.run(&["copy", "--to", &target.url, "--json"]).json(0);
        assert_eq!((&again["copied"], &again["already_there"]), (&0.into(), &3.into()));

        let settings = |vault: &At<'_>| vault.run(&["settings", "list", "--json"]).json(0);
        assert_eq!(settings(&target), settings(&vault));
        vault = target;
    }
    // SQLite keeps whole seconds, so the times are not compared to the last digit.
    let names = |list: &Value| -> Vec<(String, String)> {
        let records = list["records"].as_array().unwrap().iter();
        records.map(|record| (record["id"].to_string(), record["token"].to_string())).collect()
    };
    assert_eq!(names(&vault.list()), names(&original));
    assert_eq!(vault.read("three", "old").succeeds().stdout, [0, 255, 10, 13]);
    assert_eq!(vault.rekey(&[]).json(0)["rekeyed"], 2);
}

#[test]
fn a_copy_overwrites_nothing() {
    let sandbox = Sandbox::empty();
    let vault = At { sandbox: &sandbox, url: redb(&sandbox) }.filled();
    let target = At { sandbox: &sandbox, url: sqlite(&sandbox) };
    target.init(&[]);
    target.create("one", "other", b"mine");
    vault.run(&["copy", "--to", &target.url]).fails(1);
    assert_eq!(target.list()["records"].as_array().unwrap().len(), 1);

    let report = vault.run(&["copy", "--to", &target.url, "--merge", "--json"]).json(3);
    assert_eq!((&report["copied"], &report["tokens_taken"]), (&2.into(), &1.into()));
    assert_eq!(target.read("one", "other").succeeds().stdout, b"mine");
    assert_eq!(target.read("two", "other").succeeds().stdout, b"second");

    vault.run(&["copy", "--to", &vault.url]).fails(2);
}

#[test]
fn closing_takes_the_log_and_the_old_envelopes_with_it() {
    let sandbox = Sandbox::empty();
    let vault = At { sandbox: &sandbox, url: "sqlite:vault.sqlite".to_owned() }.filled();
    let old = |name: &str| std::fs::read(sandbox.path(name)).unwrap_or_default();
    let envelope_of = |bytes: &[u8]| {
        let start = bytes.windows(3).position(|window| window == b"v3:").unwrap();
        bytes[start..start + 100].to_vec()
    };
    let database = old("vault.sqlite");
    let mut before: Vec<Vec<u8>> = Vec::new();
    let mut rest = &database[..];
    while let Some(at) = rest.windows(3).position(|window| window == b"v3:") {
        before.push(envelope_of(&rest[at..]));
        rest = &rest[at + 3..];
    }
    assert_eq!(before.len(), 3);
    assert_eq!(vault.rekey(&[]).json(0)["rekeyed"], 2);
    assert!(!sandbox.path("vault.sqlite-wal").exists());
    let database = old("vault.sqlite");
    let left = before.iter().filter(|envelope| {
        database.windows(envelope.len()).any(|window| window == envelope.as_slice())
    });
    assert_eq!(left.count(), 1, "only the record of the other password stays as it was");
}

#[test]
fn a_server_that_is_not_there_is_one_sentence_without_the_password() {
    let sandbox = Sandbox::empty();
    // Nothing listens on port 1.
    let url = format!("postgres://ann:{CANARY}@127.0.0.1:1/vault");
    let answer = sandbox.run(&["list", "--vault", &url]).fails(75);
    assert!(answer.stderr.contains("127.0.0.1:1"), "{answer:?}");
    sandbox.run(&["list", "--vault", "postgres://host:port:word/x"]).fails(2);
    sandbox.run(&["list", "--vault", "sqlite:vault.sqlite?table=a;b"]).fails(2);
}

#[cfg(feature = "server-tests")]
#[test]
fn a_wrong_password_and_missing_tables_are_one_sentence_without_the_password() {
    let sandbox = Sandbox::empty();
    let wrong = pg_cluster::url_from_environment().unwrap();
    let (_, place) = wrong.split_once('@').unwrap();
    let url = format!("postgres://vaultstore:{CANARY}@{place}");
    sandbox.run(&["list", "--vault", &url]).fails(1);
    let nothing = postgres(&sandbox);
    sandbox.run(&["list", "--vault", &nothing]).fails(1);
}
