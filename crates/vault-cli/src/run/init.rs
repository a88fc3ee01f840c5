//! `init`.

use std::sync::Arc;

use vaultstore::{StoreErrorKind, Vault, VaultOptions, VaultStore};

use super::{Context, settings};
use crate::args::InitArgs;
use crate::exit::{Exit, Failure};
use crate::{plan, render};

pub(super) async fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    make(context, args).await?;
    let kdf = args.kdf;
    render::print_line(&format!(
        "created the vault {} (new records: {}, Argon2id {kdf})",
        context.url, args.format
    ))?;
    if let Some(line) = settings::readers_need(&kdf) {
        render::print_line(&line)?;
    }
    Ok(Exit::Done)
}

async fn make(context: &Context, args: &InitArgs) -> Result<(), Failure> {
    let new = plan::new_vault(args);
    let options = VaultOptions::default().limits(settings::limits_for(context, &args.kdf));
    // The vault appears with its settings or not at all.
    match context.url.create_with(&new.settings(&options)?).await {
        Ok(store) => drop(context.to_be_closed(store)),
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            let store = context.to_be_closed(untouched_store(context).await?);
            Vault::init(store, new, options).await?;
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// A store whose tables exist and are empty, as left by `migrate`.
async fn untouched_store(context: &Context) -> Result<Arc<dyn VaultStore>, Failure> {
    let taken = || {
        Failure::failed(format!("{}: exists already, and was left as it is", context.url))
            .hint("use it, or name another place with --vault")
    };
    let store = context.url.open().await.map_err(|error| match error.kind() {
        StoreErrorKind::NotAVault => Failure::failed(format!(
            "{}: something other than a vault exists there, and was left as it is",
            context.url
        ))
        .hint("name another place with --vault"),
        _ => error.into(),
    })?;
    if store.count().await? == 0 && store.settings().await?.is_empty() {
        return Ok(store);
    }
    Err(taken())
}
