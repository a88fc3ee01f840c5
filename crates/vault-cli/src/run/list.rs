//! `list`.

use vaultstore::{PageLimit, RecordId, RecordInfo, RunOptions};

use super::Context;
use crate::{
    args::ListArgs,
    exit::{Exit, Failure},
    render,
};

/// Records read at a time; a list is small and a page holds whole envelopes.
const PAGE_RECORDS: usize = 1000;

pub(super) async fn run(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let vault = context.open().await?;
    let mut after = args.after.map(RecordId::from_stored);
    let mut records: Vec<RecordInfo> = Vec::new();
    while records.len() < args.limit.get() {
        let wanted = (args.limit.get() - records.len()).min(PAGE_RECORDS);
        let page = vault
            .list(after.as_ref(), PageLimit::new(wanted, RunOptions::DEFAULT_PAGE_BYTES))
            .await?;
        let Some(last) = page.last() else { break };
        after = Some(last.id.clone());
        records.extend(page);
    }
    if args.json {
        render::print_json(&render::list::json(&records))?;
    } else {
        render::print(render::list::table(&records).as_bytes())?;
    }
    Ok(Exit::Done)
}
