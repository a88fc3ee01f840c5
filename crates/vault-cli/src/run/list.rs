//! `list`.

use std::{collections::HashSet, io};

use serde::Serialize;
use vaultstore::query::HasCursor as _;
use vaultstore::records::RecordInfo;
use vaultstore::run::RunOptions;
use vaultstore::store::{PageLimit, UnreadableRow};
use vaultstore::{Query, RecordId, Vault};

use super::Context;
use crate::args::{ListArgs, Sort};
use crate::exit::{self, Exit, Failure};
use crate::{plan, platform, render};

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
    let Found { mut records, unreadable } = read(&vault, query, limit).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    if args.json {
        render::print_json(&render::list::json(&records, &unreadable))?;
    } else {
        render::print_text(&render::list::table(&records, platform::columns(io::stdout())))?;
    }
    if more {
        exit::warn(&format!(
            "the list stops at its limit of {}; more records match (--limit, --after; --count counts them)",
            render::figures::count(limit as u64)
        ));
    }
    if unreadable.is_empty() {
        return Ok(Exit::Done);
    }
    let count = unreadable.iter().map(UnreadableRow::rows).sum();
    let mut text =
        format!("unreadable rows, which are not in the list: {}\n", render::figures::count(count));
    render::unreadable::rows(&mut text, &unreadable, count);
    for line in text.lines() {
        exit::warn(line.trim_start());
    }
    Ok(Exit::Remains)
}

/// The contents of a list.
#[derive(Default)]
struct Found {
    /// One more than is shown, to know whether more records match.
    records: Vec<RecordInfo>,
    /// The unreadable rows that the store found on the way, each once.
    unreadable: Vec<UnreadableRow>,
}

/// Maximum number of unreadable rows that are distinguished.
const MAX_ROWS: usize = 1000;

/// Reads page by page, by keyset.
async fn read(vault: &Vault, mut query: Query, limit: usize) -> Result<Found, Failure> {
    let (mut found, mut named) = (Found::default(), HashSet::new());
    loop {
        let page = vault.records().list(&query).await?;
        for row in page.unreadable {
            if named.len() < MAX_ROWS && named.insert(row.name.clone()) {
                found.unreadable.push(row);
            }
        }
        let Some(last) = page.records.last() else { return Ok(found) };
        let position = last.position(query.order());
        if !query.is_ahead(&position) {
            return Err(Failure::failed(
                "store contract violation: a page began before its position",
            )
            .hint("this is a bug in the storage backend; please report it"));
        }
        query = query.after(last).offset(0);
        found.records.extend(page.records);
        if found.records.len() > limit {
            return Ok(found);
        }
    }
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
