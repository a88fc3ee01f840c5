//! `scrub`.

use std::path::PathBuf;

use vaultstore::backend::BackendKind;
use vaultstore::store::{OldBlocks, ScrubOptions};

use super::{Context, blocking};
use crate::args::{OldBlocksChoice, ScrubArgs};
use crate::exit::{self, Exit, Failure};
use crate::render;
use crate::state_file;

pub(super) async fn run(context: &Context, args: &ScrubArgs) -> Result<Exit, Failure> {
    if args.old_blocks.is_some() && context.url.kind() != BackendKind::Redb {
        return Err(Failure::usage("--old-blocks is for redb vaults, whose file is replaced")
            .hint("leave the option out"));
    }
    let vault = context.open().await?;
    // A vault without an id was never rekeyed.
    if let Some(id) = vault.known_id().await? {
        settle_states(context, id, args.state.clone(), args.restart).await?;
    }
    let options = ScrubOptions::default().old_blocks(match args.old_blocks {
        None => OldBlocks::Auto,
        Some(OldBlocksChoice::Overwrite) => OldBlocks::Overwrite,
        Some(OldBlocksChoice::Punch) => OldBlocks::Punch,
        Some(OldBlocksChoice::Leave) => OldBlocks::Leave,
    });
    let report = vault.scrub(options).await?;
    if args.json {
        render::print_json(&render::scrub::json(&report))?;
    } else {
        render::print_text(&render::scrub::text(&report))?;
    }
    if report.is_complete() {
        return Ok(Exit::Done);
    }
    for remains in report.remains.iter().filter(|remains| remains.kind.needs_another_scrub()) {
        exit::error(&remains.what);
        if let Some(remedy) = &remains.remedy {
            exit::hint(remedy);
        }
    }
    Ok(Exit::Remains)
}

/// Refuses a vault with a rekey that is running or was interrupted: the rest of its records would
/// be moved later, and show again. `restart` discards the state of an interrupted one. `more` is a
/// state that is not in the user's state directory.
pub(super) async fn settle_states(
    context: &Context,
    id: [u8; 16],
    more: Option<PathBuf>,
    restart: bool,
) -> Result<(), Failure> {
    for listed in state_file::list_with(id, &context.url, more)? {
        let shown = listed.path.display().to_string();
        if listed.in_use {
            return Err(Failure::failed(format!("{shown}: a rekey of this vault is running"))
                .hint("wait for it to end, then run the same command again"));
        }
        if listed.info.is_some_and(|info| info.finished) {
            continue;
        }
        if !restart {
            return Err(Failure::usage(format!(
                "{shown}: a rekey of this vault was interrupted, and what it has left to do would show again"
            ))
            .hint("run that rekey again to finish it, or give it up: add --restart to this command"));
        }
        blocking(move || listed.discard()).await?;
    }
    Ok(())
}
