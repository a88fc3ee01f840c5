//! A folder with a vault, and the command run in it.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::Arc,
};

use futures::executor::block_on;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};
use tempfile::TempDir;
use vaultstore::store::EnvelopeText;
use vaultstore::{Record, RecordId, StoreUrl, Timestamp, Token, VaultStore};

/// Part of every secret of these tests: it must never be shown.
pub(crate) const CANARY: &str = "hunter2";

/// The cheapest cost that a vault takes for new records.
pub(crate) const CHEAP: &str = "t=2,m=19456,p=1";

pub(crate) struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// An empty folder with three password files: `old`, `new` and `other`.
    pub(crate) fn empty() -> Self {
        let sandbox = Self { folder: tempfile::tempdir().unwrap() };
        for name in ["old", "new", "other"] {
            sandbox.write(name, format!("{CANARY} {name}\n"));
        }
        sandbox
    }

    /// The same with a vault in `vault.redb`.
    pub(crate) fn with_vault() -> Self {
        let sandbox = Self::empty();
        sandbox.run(&["init", "--kdf", CHEAP]).succeeds();
        sandbox
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vaultstore"));
        command.args(args).current_dir(self.folder.path()).env_remove("VAULTSTORE_VAULT");
        command.env("XDG_STATE_HOME", self.folder.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Answer {
        self.command(args).output().unwrap().into()
    }

    /// Runs a script in which `vaultstore` is this command.
    pub(crate) fn shell(&self, script: &str, variables: &[(&str, &str)]) -> Answer {
        let bin = Path::new(env!("CARGO_BIN_EXE_vaultstore")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", script]).current_dir(self.folder.path());
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.env("XDG_STATE_HOME", self.folder.path().join("state"));
        command.envs(variables.iter().copied()).stdin(Stdio::null());
        command.output().unwrap().into()
    }

    pub(crate) fn run_with(&self, args: &[&str], stdin: &[u8]) -> Answer {
        let mut child = self.spawn(args, Stdio::piped());
        // A command that fails before it reads closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(stdin);
        child.wait_with_output().unwrap().into()
    }

    pub(crate) fn spawn(&self, args: &[&str], stdin: Stdio) -> Child {
        self.command(args).stdin(stdin).spawn().unwrap()
    }

    /// Runs statements in the database `vault.db`.
    pub(crate) fn sqlite(&self, statements: &'static str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let options = SqliteConnectOptions::new().filename(self.path("vault.db"));
            let mut connection = options.connect().await.unwrap();
            sqlx::raw_sql(statements).execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        });
    }

    /// Stores a value under the password in a file, with a token of that name.
    pub(crate) fn create(&self, token: &str, password: &str, value: &[u8]) {
        let answer =
            self.run_with(&["create", "--token", token, "--password-file", password], value);
        assert_eq!(answer.succeeds().stdout, format!("{token}\n").into_bytes());
    }

    pub(crate) fn read(&self, token: &str, password: &str) -> Answer {
        self.run(&["read", token, "--password-file", password])
    }

    /// The vault still works, and this record is as it was.
    pub(crate) fn still_reads(&self, token: &str, password: &str, value: &[u8]) {
        assert_eq!(self.read(token, password).succeeds().stdout, value);
    }

    /// Puts a text where an envelope belongs.
    pub(crate) fn plant(&self, token: &str, envelope: &[u8]) {
        let now = Timestamp::from_micros(1);
        let record = Record {
            id: RecordId::from_stored(format!("planted {token}")),
            token: Token::new(token).unwrap(),
            envelope: EnvelopeText::from_stored(envelope),
            created_at: now,
            updated_at: now,
            expires_at: None,
            soft_deleted_at: None,
        };
        block_on(self.store().insert(vec![record])).unwrap();
    }

    /// The envelope of a record.
    pub(crate) fn envelope(&self, token: &str) -> Vec<u8> {
        let found = block_on(self.store().find(&[Token::new(token).unwrap()])).unwrap();
        found[0].as_ref().unwrap().envelope.as_bytes().unwrap().to_vec()
    }

    /// The vault's store, opened by this process.
    pub(crate) fn store(&self) -> Arc<dyn VaultStore> {
        block_on(StoreUrl::Redb { path: self.path("vault.redb") }.open()).unwrap()
    }
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Answer {
    fn from(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains(CANARY), "a secret on standard error: {stderr}");
        Self { code: output.status.code(), stdout: output.stdout, stderr }
    }
}

impl Answer {
    pub(crate) fn succeeds(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with this code and one line about what failed, perhaps with one about what to do.
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut lines = self.stderr.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("error: ")), "{self:?}");
        assert!(lines.next().is_none_or(|line| line.starts_with("hint: ")), "{self:?}");
        assert!(lines.next().is_none() && self.stderr.ends_with('\n'), "{self:?}");
        self
    }

    /// Standard output.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// Standard output as JSON, after a run that ended with this code.
    pub(crate) fn json(self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{self:?}");
        serde_json::from_slice(&self.stdout).unwrap()
    }
}

/// The commands of a page of the documentation, block by block.
pub(crate) fn commands_of(page: &str) -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let page = fs::read_to_string(docs.join(page)).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

/// Everything below a folder's path, for comparing before and after.
pub(crate) fn bytes_of(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    fs::File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}
