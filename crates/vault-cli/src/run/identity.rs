//! `identity status` and `identity purge`, and what other commands say of password identities.

use serde::Serialize;
use vaultstore::VaultStore;
use vaultstore::store::PasswordIdentities;

use super::Context;
use crate::args::IdentityCommand;
use crate::exit::{self, Exit, Failure};
use crate::render;
use crate::render::identities::named;

#[derive(Serialize)]
struct Status {
    identities: u64,
    links: u64,
}

#[derive(Serialize)]
struct Purged {
    removed: Status,
    /// Where the removed rows may still be read.
    remains: Vec<String>,
    /// What was written again meanwhile.
    left: Status,
}

impl From<PasswordIdentities> for Status {
    fn from(found: PasswordIdentities) -> Self {
        Self { identities: found.identities, links: found.links }
    }
}

pub(super) async fn run(context: &Context, command: IdentityCommand) -> Result<Exit, Failure> {
    let store = context.open_store().await?;
    match command {
        IdentityCommand::Status { expect_none, json } => {
            let found = store.password_identities().await?;
            if json {
                render::print_json(&Status::from(found))?;
            } else {
                render::print_line(&render::identities::status(&found))?;
            }
            if !found.is_empty() {
                advise_purge();
            }
            Ok(if expect_none && !found.is_empty() { Exit::Remains } else { Exit::Done })
        }
        IdentityCommand::Purge { json } => purge(&*store, json).await,
    }
}

async fn purge(store: &dyn VaultStore, json: bool) -> Result<Exit, Failure> {
    let purged = store.purge_password_identities().await?;
    let left = store.password_identities().await?;
    if json {
        render::print_json(&Purged {
            removed: purged.removed.into(),
            remains: purged.remains.iter().map(|remains| remains.what.clone()).collect(),
            left: left.into(),
        })?;
    } else {
        render::print_line(&render::identities::purged(&purged.removed))?;
    }
    for remains in &purged.remains {
        exit::warn(&remains.what);
        remains.remedy.iter().for_each(|remedy| exit::hint(remedy));
    }
    if !left.is_empty() {
        exit::warn(&format!("another program has written {} since", named(&left)));
        exit::hint("stop that program, then run the same command again");
    }
    if !purged.removed.is_empty() {
        exit::note("backups and copies of the database that were made before still contain them");
    }
    let is_clean = purged.remains.is_empty() && left.is_empty();
    Ok(if is_clean { Exit::Done } else { Exit::Remains })
}

/// What a rekey leaves behind in a vault of that time.
pub(super) async fn warn_of_links(store: &dyn VaultStore) -> Result<(), Failure> {
    let found = store.password_identities().await?;
    if !found.is_empty() {
        exit::warn(&format!(
            "the vault contains {}, which a rekey does not change: they keep saying which records had the old password, \
             and allow guesses at it",
            named(&found)
        ));
        advise_purge();
    }
    Ok(())
}

pub(super) fn advise_purge() {
    exit::hint(
        "remove them with `vaultstore identity purge`, once no program that uses them is left",
    );
}
