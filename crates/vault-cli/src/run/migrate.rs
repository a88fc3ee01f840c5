//! `migrate`.

use super::Context;
use crate::exit::{self, Exit, Failure};
use crate::render;

pub(super) async fn run(context: &Context, json: bool) -> Result<Exit, Failure> {
    let migrated = context.url.migrate().await?;
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
