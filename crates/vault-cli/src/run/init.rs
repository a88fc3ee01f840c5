//! `init`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

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
    let (store, half_made) = match context.url.create().await {
        Ok(store) => (store, HalfMade(context.url.file().map(Path::to_owned))),
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            (untouched_store(context).await?, HalfMade(None))
        }
        Err(error) => return Err(error.into()),
    };
    let store = context.to_be_closed(store);
    let options = VaultOptions::default().with_limits(settings::limits_for(context, &args.kdf));
    Vault::init(store, plan::new_vault(args), options).await?;
    half_made.keep();
    Ok(())
}

/// A store whose tables exist and are empty, as left by `migrate` or by an `init` that was killed.
async fn untouched_store(context: &Context) -> Result<Arc<dyn VaultStore>, Failure> {
    let taken = || {
        Failure::failed(format!("{}: exists already, and was left as it is", context.url))
            .hint("use it, or name another place with --vault")
    };
    let store = context.url.open().await.map_err(|error| match error.kind() {
        StoreErrorKind::NotAVault => taken(),
        _ => error.into(),
    })?;
    if store.count().await? == 0 && store.settings().await?.is_empty() {
        return Ok(store);
    }
    Err(taken())
}

/// A file created by this command that is not a vault yet, and must not get in the way of the next
/// `init`.
struct HalfMade(Option<PathBuf>);

impl HalfMade {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // Report the original failure.
            for suffix in ["", "-wal", "-shm"] {
                let mut path = path.clone().into_os_string();
                path.push(suffix);
                let _ = fs::remove_file(path);
            }
        }
    }
}
