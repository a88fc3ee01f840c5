//! The output of `copy`.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::copy::{CopyReport, IdList};

use super::{
    End, figures,
    progress::{Progress, Step},
    table::{Table, row},
    unreadable::UnreadableRow,
};
use crate::shown;

#[derive(Serialize)]
struct Detail {
    copied: u64,
    already_there: u64,
    verified: u64,
}

/// Reports another page.
pub(crate) fn step(progress: &mut Progress, report: &CopyReport) {
    let CopyReport { copied, already_there, .. } = *report;
    let verified = report
        .verified
        .as_ref()
        .map_or(0, |verified| verified.same + verified.different.count + verified.missing.count);
    let (done, note) = match report.verified {
        Some(_) => (verified, "comparing".to_owned()),
        None => (copied + already_there, format!("{} copied", figures::count(copied))),
    };
    progress.step(&Step {
        done,
        before: if report.verified.is_some() { copied + already_there } else { 0 },
        note,
        detail: &Detail { copied, already_there, verified },
    });
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    end: &'static str,
    complete: bool,
    copied: u64,
    already_there: u64,
    tokens_taken: u64,
    tokens_taken_ids: Vec<&'a str>,
    refused: u64,
    refused_ids: Vec<&'a str>,
    unreadable: u64,
    unreadable_rows: Vec<UnreadableRow<'a>>,
    settings_kept: &'a [String],
    verified: Option<Verified<'a>>,
}

#[derive(Serialize)]
struct Verified<'a> {
    same: u64,
    different: u64,
    different_ids: Vec<&'a str>,
    missing: u64,
    missing_ids: Vec<&'a str>,
    only_in_target: u64,
}

pub(crate) fn json(report: &CopyReport, end: End) -> Report<'_> {
    Report {
        end: end.name(),
        complete: report.is_complete(),
        copied: report.copied,
        already_there: report.already_there,
        tokens_taken: report.tokens_taken.count,
        tokens_taken_ids: ids(&report.tokens_taken),
        refused: report.refused.count,
        refused_ids: ids(&report.refused),
        unreadable: report.unreadable.count,
        unreadable_rows: report.unreadable.rows.iter().map(UnreadableRow::of).collect(),
        settings_kept: &report.settings_kept,
        verified: report.verified.as_ref().map(|verified| Verified {
            same: verified.same,
            different: verified.different.count,
            different_ids: ids(&verified.different),
            missing: verified.missing.count,
            missing_ids: ids(&verified.missing),
            only_in_target: verified.only_in_target,
        }),
    }
}

fn ids(named: &IdList) -> Vec<&str> {
    named.ids.iter().map(vaultstore::RecordId::as_str).collect()
}

/// The report as text: the counts that are not zero, and what needs attention.
pub(crate) fn text(report: &CopyReport, end: End) -> String {
    let head = match (end, report.is_complete()) {
        (End::Stopped, _) => "copy interrupted; the same command does the rest",
        (End::Complete, true) => "copy complete: the target holds every record, byte for byte",
        (End::Complete, false) => {
            "copy complete, but not every record is in the target as it is here"
        }
    };
    let mut text = Table::default();
    // Writing into a table cannot fail.
    let _ = writeln!(text, "{head}");
    row(&mut text, "copied", &figures::count(report.copied));
    let verified = report.verified.clone().unwrap_or_default();
    for (name, number) in [
        ("there already", report.already_there),
        ("compared, same", verified.same),
        ("only in target", verified.only_in_target),
        ("token taken", report.tokens_taken.count),
        ("refused", report.refused.count),
        ("unreadable", report.unreadable.count),
        ("different", verified.different.count),
        ("missing", verified.missing.count),
    ] {
        if number > 0 {
            row(&mut text, name, &figures::count(number));
        }
    }
    for name in &report.settings_kept {
        let _ = writeln!(text, "  the target keeps its own setting {}", shown::line(name));
    }
    super::unreadable::rows(&mut text, &report.unreadable.rows, report.unreadable.count);
    for (named, reason) in [
        (&report.tokens_taken, "left out: another record of the target has its token"),
        (&report.refused, "left out: the target cannot hold it, or it is too long to load"),
        (
            &verified.different,
            "the target holds another record of this id, which was left as it is",
        ),
    ] {
        for id in &named.ids {
            let _ = writeln!(text, "  {}: {reason}", shown::id(id.as_str()));
        }
        let hidden = named.count - named.ids.len() as u64;
        if hidden > 0 {
            let _ = writeln!(text, "  and {} more: {reason}", figures::count(hidden));
        }
    }
    text.to_string()
}
