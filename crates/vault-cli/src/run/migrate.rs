//! `migrate`.

use super::Context;
use crate::exit::{self, Exit, Failure};
use crate::render;

pub(super) async fn run(context: &Context, create: bool, json: bool) -> Result<Exit, Failure> {
    let migrated =
        if create { context.url.migrate_or_create().await } else { context.url.migrate().await };
    let migrated = migrated.map_err(|error| context.not_opened(error))?;
    if json {
        render::print_json(&render::migrate::json(&migrated))?;
    } else {
        render::print_text(&render::migrate::text(&migrated))?;
    }
    for sentence in render::migrate::warnings(&migrated) {
        exit::warn(&sentence);
    }
    Ok(Exit::Done)
}
