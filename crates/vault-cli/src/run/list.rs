//! `list`.

use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;
use vaultstore::records::RecordInfo;
use vaultstore::run::RunOptions;
use vaultstore::store::PageLimit;
use vaultstore::{Query, RecordId, Vault};

use super::Context;
use crate::args::{ListArgs, Sort};
use crate::exit::{self, Exit, Failure};
use crate::{plan, render};

/// Records per read; a list is small and a page contains whole envelopes.
const PAGE_RECORDS: usize = 1000;

#[derive(Serialize)]
struct Count {
    count: u64,
}

pub(super) async fn run(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let query = plan::query(&args);
    if args.count {
        let count = vault.records().count(&query).await?;
        if args.json {
            render::print_json(&Count { count })?;
        } else {
            render::print_line(&count.to_string())?;
        }
        return Ok(Exit::Done);
    }
    let page = args.limit.get().min(PAGE_RECORDS);
    let query = begin(&vault, query, &args)
        .await?
        .offset(args.offset)
        .page(PageLimit::new(page, RunOptions::DEFAULT_PAGE_BYTES));
    let limit = args.limit.get();
    // One more than is shown, to know whether more records match.
    let stream = vault.records().stream(query).take(limit.saturating_add(1));
    let mut records: Vec<RecordInfo> = stream.try_collect().await?;
    let more = records.len() > limit;
    records.truncate(limit);
    if args.json {
        render::print_json(&render::list::json(&records))?;
    } else {
        render::print_text(&render::list::table(&records))?;
    }
    if more {
        exit::warn(&format!(
            "the list stops at its limit of {}; more records match (--limit, --after; --count counts them)",
            render::figures::count(limit as u64)
        ));
    }
    Ok(Exit::Done)
}

/// Starts the list after the named record. For any order but that of the ids, its position is that
/// of the record itself.
async fn begin(vault: &Vault, query: Query, args: &ListArgs) -> Result<Query, Failure> {
    let Some(id) = &args.after else { return Ok(query) };
    let id = RecordId::from_stored(id.as_str());
    if args.sort == Sort::Id {
        return Ok(query.after_id(id));
    }
    match vault.records().find(&id).await? {
        Some(record) => Ok(query.after(&record)),
        None => Err(Failure::failed(
            "no record has the id that --after names, so its place in this order is not known",
        )
        .hint("use --sort id or --offset")),
    }
}
