//! `purge-expired`.

use serde::Serialize;

use super::Context;
use crate::args::PurgeArgs;
use crate::exit::{Exit, Failure};
use crate::render;

#[derive(Serialize)]
struct Purged {
    purged: u64,
    hard: bool,
}

pub(super) async fn run(context: &Context, args: &PurgeArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let (purged, done) = if args.hard {
        (vault.delete_expired().await?, "removed for good")
    } else {
        (vault.soft_delete_expired().await?, "hidden")
    };
    if args.json {
        render::print_json(&Purged { purged, hard: args.hard })?;
    } else {
        render::print_line(&format!("{purged} expired records {done}"))?;
    }
    Ok(Exit::Done)
}
