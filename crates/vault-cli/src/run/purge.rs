//! `purge-expired`.

use serde::Serialize;

use vaultstore::store::Purge;

use super::Context;
use super::confirm::confirm;
use crate::args::PurgeArgs;
use crate::exit::{self, Exit, Failure};
use crate::render::{self, figures};
use crate::shown;

#[derive(Serialize)]
struct Report {
    purged: u64,
    /// Expired records that the database would not change; the first ones are named.
    refused: u64,
    held: Vec<Held>,
    hard: bool,
}

#[derive(Serialize)]
struct Held {
    id: String,
    reason: String,
}

/// How many records that stay are named in the text; `--json` has up to 1,000.
const SHOWN_HELD: usize = 10;

pub(super) async fn run(context: &Context, args: &PurgeArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let (purge, done) =
        if args.hard { (Purge::Delete, "removed for good") } else { (Purge::SoftDelete, "hidden") };
    if args.hard {
        confirm(
            args.yes,
            "All expired records, soft-deleted ones among them, are deleted permanently",
        )
        .await?;
    }
    let report = vault.purge_expired(purge).await?;
    let held = report
        .held
        .iter()
        .map(|held| Held { id: held.id.as_str().to_owned(), reason: exit::reason(&held.error) });
    let held: Vec<Held> = held.collect();
    for held in held.iter().take(SHOWN_HELD) {
        let stays = format!("{} stays: {}", shown::id(&held.id), held.reason);
        exit::error_for_people(&stays, "a record stays");
    }
    if report.refused > 0 {
        exit::error(&format!(
            "the database refused to change {}",
            figures::expired(report.refused)
        ));
        exit::hint("remove what refers to them, then run the same command again");
    }
    if args.json {
        let (purged, refused) = (report.purged, report.refused);
        render::print_json(&Report { purged, refused, held, hard: args.hard })?;
    } else {
        render::print_line(&format!("{} {done}", figures::expired(report.purged)))?;
    }
    Ok(if report.refused > 0 { Exit::Remains } else { Exit::Done })
}
