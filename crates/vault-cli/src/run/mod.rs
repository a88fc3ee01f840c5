//! One module per group of commands.

mod benchmark;
mod census;
mod confirm;
mod copy;
mod demo;
mod drive;
mod identity;
mod info;
mod init;
mod leaks;
mod lines;
mod list;
mod migrate;
mod packaging;
mod purge;
mod read;
mod records;
mod rekey;
mod scrub;
mod settings;
mod status;
mod temporary;
mod throttle;
mod v2_cost;
mod verify;

use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use vaultstore::kdf::KdfLimits;
use vaultstore::{StoreError, StoreErrorKind, StoreUrl, Vault, VaultOptions, VaultStore};

use crate::args::{Cli, Command, OpenArgs, SettingsCommand};
use crate::exit::{self, Exit, Failure};
use crate::interrupt::Interrupts;
use crate::{plan, render};

/// Runs the command.
///
/// `vault_named` says that the command line itself names the vault.
pub(crate) async fn run(
    cli: Cli,
    vault_named: bool,
    interrupts: Interrupts,
) -> Result<Exit, Failure> {
    let limits = cli.kdf_limit.map_or_else(KdfLimits::default, KdfLimits::up_to);
    let opened = Mutex::default();
    let server = Server {
        max_connections: cli.max_connections,
        patience: cli.wait_for_server.unwrap_or_default(),
    };
    let url = server.of(cli.vault);
    let context = Context { url, limits, vault_named, server, interrupts, opened };
    let outcome = run_command(&context, cli.command).await;
    context.close().await;
    outcome
}

async fn run_command(context: &Context, command: Command) -> Result<Exit, Failure> {
    let is_one_change = matches!(
        command,
        Command::Create(_)
            | Command::Update(_)
            | Command::Delete(_)
            | Command::Restore(_)
            | Command::Renew(_)
            | Command::Settings(SettingsCommand::Set { .. })
    );
    let outcome = match command {
        Command::Init(args) => init::run(context, &args).await,
        Command::Create(args) => records::create(context, args).await,
        Command::Read(args) => read::run(context, args).await,
        Command::Update(args) => records::update(context, args).await,
        Command::Delete(args) => records::delete(context, &args).await,
        Command::Restore(args) => records::restore(context, &args).await,
        Command::Renew(args) => records::renew(context, &args).await,
        Command::Exists(args) => records::exists(context, &args).await,
        Command::PurgeExpired(args) => purge::run(context, &args).await,
        Command::List(args) => list::run(context, args).await,
        Command::Rekey(args) => rekey::run(context, args).await,
        Command::TestRekey(args) => rekey::test(context, args).await,
        Command::Census(args) => census::run(context, args).await,
        Command::Verify(args) => verify::run(context, args).await,
        Command::Copy(args) => copy::run(context, args).await,
        Command::Scrub(args) => scrub::run(context, &args).await,
        Command::Import(args) => lines::import::run(context, args).await,
        Command::Export(args) => lines::export::run(context, args).await,
        Command::Upgrade(args) => rekey::upgrade(context, args).await,
        Command::Leaks(args) => leaks::run(context, args).await,
        Command::Migrate { create, json } => migrate::run(context, create, json).await,
        Command::BenchmarkRekey(args) => benchmark::run(context, args).await,
        Command::Status { state, json } => status::run(context, state, json).await,
        Command::Info { json } => info::run(context, json).await,
        Command::Demo => demo::run(context).await,
        Command::Identity(command) => identity::run(context, command).await,
        Command::Settings(command) => settings::run(context, command).await,
        Command::Completions { shell } => packaging::completions(shell),
        Command::Man(args) => packaging::man(&args),
    };
    if is_one_change { outcome.map_err(Failure::of_one_change) } else { outcome }
}

/// What every command gets.
struct Context {
    url: StoreUrl,
    /// What the vault may ask of Argon2id.
    limits: KdfLimits,
    /// Whether the command line itself names the vault.
    vault_named: bool,
    /// How a server is used.
    server: Server,
    interrupts: Interrupts,
    /// Every opened store, to be closed at the end.
    opened: Mutex<Vec<Arc<dyn VaultStore>>>,
}

impl Context {
    /// Opens the store of an existing vault.
    async fn open_store(&self) -> Result<Arc<dyn VaultStore>, Failure> {
        let started = Instant::now();
        let store = self.url.open().await.map_err(|error| self.not_opened(error))?;
        let took = render::figures::seconds(started.elapsed());
        exit::step(&format!("opened {} in {took}", self.url));
        Ok(self.to_be_closed(store))
    }

    /// Says that nothing is there, with what helps: `init` creates a file, and no server's
    /// database.
    fn not_opened(&self, error: StoreError) -> Failure {
        let Some(path) = self.url.file().filter(|_| error.kind() == StoreErrorKind::NotFound)
        else {
            return error.into();
        };
        if path.is_symlink() {
            return Failure::failed(format!("{}: a symbolic link that leads nowhere", self.url))
                .hint("check the link, or name another vault with --vault");
        }
        let folder = path.parent().filter(|folder| *folder != Path::new(""));
        if folder.is_some_and(|folder| !folder.is_dir()) {
            return error.into();
        }
        Failure::failed(format!("there is no vault at {}", self.url))
            .hint("create one with `vaultstore init`, or name another with --vault")
    }

    /// Ensures that a store is closed before the process ends, which moves an SQLite log, with the
    /// replaced envelopes that it still contains, into the file.
    fn to_be_closed(&self, store: Arc<dyn VaultStore>) -> Arc<dyn VaultStore> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&store));
        store
    }

    async fn close(&self) {
        let opened =
            std::mem::take(&mut *self.opened.lock().unwrap_or_else(PoisonError::into_inner));
        for store in opened {
            store.close().await;
        }
    }

    /// Opens the vault, for commands that open no record.
    async fn open(&self) -> Result<Vault, Failure> {
        let options = VaultOptions::default().limits(self.limits);
        Ok(Vault::new(self.open_store().await?, options))
    }

    /// Opens the vault, for commands that open records.
    async fn open_for(&self, args: &OpenArgs) -> Result<Vault, Failure> {
        self.vault_on(self.open_store().await?, args).await
    }

    /// The vault in a store, for commands that open records.
    async fn vault_on<S>(&self, store: S, args: &OpenArgs) -> Result<Vault, Failure>
    where
        S: VaultStore + 'static,
    {
        let own = settings::own_v2_cost(&store, &self.limits).await?;
        Ok(Vault::new(store, plan::vault_options(args, own, self.limits)))
    }
}

/// How a server is used, where the vault is on one.
#[derive(Clone, Copy)]
struct Server {
    max_connections: NonZeroU32,
    patience: Duration,
}

impl Server {
    /// The vault at this address, used like this.
    fn of(self, url: StoreUrl) -> StoreUrl {
        url.on_server(self.max_connections, self.patience)
    }
}

/// Runs blocking work on another thread, so that a signal still gets through.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let (answer, receiver) = tokio::sync::oneshot::channel();
    // tokio's own pool panics where the system starts no thread.
    let thread = std::thread::Builder::new().name("vaultstore-task".to_owned());
    thread.spawn(move || drop(answer.send(task()))).map_err(|error| {
        Failure::failed("the system started no thread")
            .hint("raise the limit of processes and threads (`ulimit -u`), or end other programs")
            .because(error)
    })?;
    receiver.await.unwrap_or_else(|lost| {
        Err(Failure::failed("a task of this program ended too early")
            .hint("this is a bug in vaultstore; please report it")
            .because(lost))
    })
}
