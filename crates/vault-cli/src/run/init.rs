//! `init`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use vaultstore::{StoreErrorKind, Vault, VaultOptions};

use super::Context;
use crate::{
    args::InitArgs,
    exit::{Exit, Failure},
    plan, render,
};

pub(super) async fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    make(context, args).await?;
    let kdf = args.kdf;
    render::print_line(&format!(
        "made the vault {} (new records: {}, Argon2id {kdf})",
        context.url, args.format
    ))?;
    Ok(Exit::Done)
}

async fn make(context: &Context, args: &InitArgs) -> Result<(), Failure> {
    let store = vaultstore::create(&context.url).await.map_err(|error| match error.kind() {
        StoreErrorKind::AlreadyExists => Failure::failed(format!(
            "there is something at {} already, and it was left alone; use it, or name another place with --vault",
            context.url
        )),
        _ => error.into(),
    })?;
    let half_made = HalfMade(context.url.file().map(Path::to_owned));
    Vault::init(store, plan::new_vault(args), VaultOptions::default()).await?;
    half_made.keep();
    Ok(())
}

/// A file made by this command that is not a vault yet, and must not stay in the way of the next `init`.
struct HalfMade(Option<PathBuf>);

impl HalfMade {
    fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for HalfMade {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // The failure that led here is the one to tell.
            let _ = fs::remove_file(path);
        }
    }
}
