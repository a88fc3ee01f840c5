//! The output of `scrub`.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::store::{OldBlocks, ScrubReport};

use super::{
    figures,
    table::{Table, row},
};

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    headline: String,
    complete: bool,
    rows: u64,
    bytes_before: Option<u64>,
    bytes_after: Option<u64>,
    old_blocks: Option<&'static str>,
    remains: Vec<Remaining<'a>>,
}

#[derive(Serialize)]
struct Remaining<'a> {
    kind: &'static str,
    what: &'a str,
    remedy: Option<&'a str>,
}

pub(crate) fn json(report: &ScrubReport) -> Report<'_> {
    Report {
        headline: headline(report),
        complete: report.is_complete(),
        rows: report.rows,
        bytes_before: report.bytes_before,
        bytes_after: report.bytes_after,
        old_blocks: report.old_blocks.map(name),
        remains: report
            .remains
            .iter()
            .map(|remains| Remaining {
                kind: remains.kind.name(),
                what: &remains.what,
                remedy: remains.remedy.as_deref(),
            })
            .collect(),
    }
}

/// The headline, the figures, and what remains, with what ends it.
pub(crate) fn text(report: &ScrubReport) -> String {
    let mut text = Table::default();
    // Writing into a table cannot fail.
    let _ = writeln!(text, "{}", headline(report));
    rows(&mut text, report);
    text.to_string()
}

/// The figures, and what remains.
pub(crate) fn rows(text: &mut Table, report: &ScrubReport) {
    row(text, "records written", &figures::count(report.rows));
    for (name, bytes) in
        [("bytes before", report.bytes_before), ("bytes after", report.bytes_after)]
    {
        if let Some(bytes) = bytes {
            row(text, name, &figures::count(bytes));
        }
    }
    if let Some(done) = report.old_blocks {
        row(text, "old blocks", name(done));
    }
    for remains in &report.remains {
        let _ = writeln!(text, "  {}", remains.what);
        if let Some(remedy) = &remains.remedy {
            let _ = writeln!(text, "    {remedy}");
        }
    }
    let _ = writeln!(text, "  backups, snapshots and other copies were not reached");
}

fn headline(report: &ScrubReport) -> String {
    let records = figures::count(report.rows);
    let records = format!("{records} record{}", if report.rows == 1 { "" } else { "s" });
    if report.is_complete() {
        format!(
            "scrub complete: {records} written again, none changed; where they lie no longer tells which were rekeyed"
        )
    } else {
        format!(
            "scrub INCOMPLETE: {records} written again, none changed; what is left still tells which were rekeyed"
        )
    }
}

fn name(blocks: OldBlocks) -> &'static str {
    match blocks {
        OldBlocks::Overwrite => "overwritten",
        OldBlocks::Punch => "punched",
        _ => "left",
    }
}
