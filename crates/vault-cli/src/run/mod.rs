//! One module per group of commands.

mod benchmark;
mod census;
mod init;
mod list;
mod packaging;
mod records;
mod rekey;
mod settings;

use std::sync::Arc;

use vaultstore::{StoreErrorKind, StoreUrl, Vault, VaultOptions, VaultStore};

use crate::{
    args::{Cli, Command, OpenArgs},
    exit::{Exit, Failure},
    interrupt::Interrupts,
    plan,
};

/// Runs the command that was typed.
pub(crate) async fn run(cli: Cli, interrupts: Interrupts) -> Result<Exit, Failure> {
    let context = Context { url: cli.vault, interrupts };
    match cli.command {
        Command::Init(args) => init::run(&context, &args).await,
        Command::Create(args) => records::create(&context, args).await,
        Command::Read(args) => records::read(&context, args).await,
        Command::Update(args) => records::update(&context, args).await,
        Command::Delete(args) => records::delete(&context, &args).await,
        Command::Exists(args) => records::exists(&context, &args).await,
        Command::List(args) => list::run(&context, args).await,
        Command::Rekey(args) => rekey::run(&context, args).await,
        Command::TestRekey(args) => rekey::test(&context, args).await,
        Command::Census(args) => census::census(&context, args).await,
        Command::Verify(args) => census::verify(&context, args).await,
        Command::BenchmarkRekey(args) => benchmark::run(&context, args).await,
        Command::Settings(command) => settings::run(&context, command).await,
        Command::Completions { shell } => packaging::completions(shell),
        Command::Man => packaging::man(),
    }
}

/// What every command is given.
struct Context {
    url: StoreUrl,
    interrupts: Interrupts,
}

impl Context {
    /// The store of a vault that exists.
    async fn open_store(&self) -> Result<Arc<dyn VaultStore>, Failure> {
        vaultstore::open(&self.url).await.map_err(|error| match error.kind() {
            StoreErrorKind::NotFound => Failure::failed(format!(
                "there is no vault at {}; make one with \"vaultstore init\" or name another with --vault",
                self.url
            )),
            _ => error.into(),
        })
    }

    /// The vault, for commands that open no record.
    async fn open(&self) -> Result<Vault, Failure> {
        Ok(Vault::open(self.open_store().await?, VaultOptions::default()))
    }

    /// The vault, for commands that open records.
    async fn open_for(&self, args: &OpenArgs) -> Result<Vault, Failure> {
        let store = self.open_store().await?;
        let own = settings::own_v2_cost(&*store).await?;
        Ok(Vault::open(store, plan::vault_options(args, own)))
    }
}

/// Runs what blocks where it holds nothing up: a signal still gets through.
async fn blocking<T: Send + 'static>(
    task: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(task).await {
        Ok(result) => result,
        Err(error) => {
            Err(Failure::failed("a task of this program broke off; please report this")
                .because(error))
        }
    }
}
