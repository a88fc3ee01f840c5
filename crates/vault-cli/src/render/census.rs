//! The output of `census` and `verify`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use vaultstore::census::CensusReport;
use vaultstore::kdf::KdfSetting;

use super::{
    figures,
    progress::{Progress, Step},
    rekey::{Listed, listed, problems},
    table::{Table, row, row_with},
};
use crate::shown;

#[derive(Serialize)]
struct Detail {
    damaged: u64,
    malformed: u64,
    unopened: u64,
}

/// Reports another page.
pub(crate) fn step(progress: &mut Progress, report: &CensusReport) {
    let CensusReport { scanned, damaged, malformed, unopened, .. } = *report;
    let note = format!("{} damaged or malformed", figures::count(damaged + malformed));
    progress.step(&Step { done: scanned, note, detail: &Detail { damaged, malformed, unopened } });
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    end: &'static str,
    scanned: u64,
    formats: BTreeMap<String, u64>,
    kdfs: Vec<Kdf>,
    envelope_bytes: u64,
    longest_envelope: u64,
    damaged: u64,
    malformed: u64,
    not_checkable: u64,
    opened: Vec<Opened<'a>>,
    unopened: Option<u64>,
    problems: Vec<Listed<'a>>,
    unopened_ids: Vec<&'a str>,
    derivations: u64,
    elapsed_seconds: f64,
    records_per_second: f64,
}

#[derive(Serialize)]
struct Kdf {
    kdf: String,
    records: u64,
}

#[derive(Serialize)]
struct Opened<'a> {
    password: &'a str,
    records: u64,
}

/// How a census ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Stopped,
}

/// `names` identify the passwords without revealing them.
pub(crate) fn json<'a>(report: &'a CensusReport, names: &'a [String], end: End) -> Report<'a> {
    let opened = names.iter().zip(&report.opened);
    Report {
        end: match end {
            End::Complete => "complete",
            End::Stopped => "stopped",
        },
        scanned: report.scanned,
        formats: report
            .formats
            .iter()
            .map(|(format, records)| (format.to_string(), *records))
            .collect(),
        kdfs: kdfs(report),
        envelope_bytes: report.envelope_bytes,
        longest_envelope: report.longest_envelope,
        damaged: report.damaged,
        malformed: report.malformed,
        not_checkable: report.unchecked,
        opened: opened.map(|(password, records)| Opened { password, records: *records }).collect(),
        unopened: (!names.is_empty()).then_some(report.unopened),
        problems: listed(&report.problems),
        unopened_ids: report.unopened_ids.iter().map(vaultstore::RecordId::as_str).collect(),
        derivations: report.derivations,
        elapsed_seconds: report.elapsed.as_secs_f64(),
        records_per_second: figures::per_second(report.scanned, report.elapsed),
    }
}

/// The report for people.
pub(crate) fn text(report: &CensusReport, names: &[String], end: End) -> String {
    let mut text = Table::default();
    if end == End::Stopped {
        // Writing into a table cannot fail.
        let _ = writeln!(text, "interrupted; this is what was seen until then");
    }
    row(&mut text, "records", &figures::count(report.scanned));
    for (format, records) in &report.formats {
        row(&mut text, &format.to_string(), &figures::count(*records));
    }
    // Nothing is known about records that could not be checked.
    if report.damaged > 0 || report.unchecked == 0 {
        row(&mut text, "damaged", &figures::count(report.damaged));
    }
    row(&mut text, "malformed", &figures::count(report.malformed));
    not_checkable(&mut text, report.unchecked, !names.is_empty());
    row(&mut text, "envelopes", &figures::bytes(report.envelope_bytes));
    row(&mut text, "longest envelope", &figures::bytes(report.longest_envelope));
    for (name, records) in names.iter().zip(&report.opened) {
        let by = format!("by {}", shown::line(name));
        row_with(&mut text, "opened", &figures::count(*records), &by);
    }
    if !names.is_empty() {
        row(&mut text, "opened by none", &figures::count(report.unopened));
    }
    for Kdf { kdf, records } in kdfs(report) {
        row_with(&mut text, "v3", &figures::count(records), &format!("under {kdf}"));
    }
    row(&mut text, "Argon2id calls", &figures::count(report.derivations));
    let rate = figures::rate(report.scanned, report.elapsed);
    row_with(&mut text, "time", &figures::seconds(report.elapsed), &format!("{rate} records/s"));
    problems(&mut text, &report.problems, report.damaged + report.malformed);
    unopened(&mut text, report);
    text.to_string()
}

/// The verdict with which `verify` ends.
pub(crate) fn verdict(report: &CensusReport, end: End) -> String {
    let CensusReport { scanned, damaged, malformed, unopened, .. } = *report;
    let opened = scanned.saturating_sub(damaged + malformed + unopened);
    let found = format!(
        "{} of {} records open under the given passwords; {} do not, {} are damaged or malformed\n",
        figures::count(opened),
        figures::count(scanned),
        figures::count(unopened),
        figures::count(damaged + malformed)
    );
    match end {
        End::Stopped => format!("NOT VERIFIED, interrupted: so far {found}"),
        End::Complete if opened == scanned => format!("VERIFIED: {found}"),
        End::Complete => format!("NOT VERIFIED: {found}"),
    }
}

/// v1 and v2 records do not reveal whether they are intact; only their password can tell.
pub(crate) fn not_checkable(text: &mut Table, records: u64, with_passwords: bool) {
    if records > 0 {
        let a = if with_passwords { "their" } else { "a" };
        // Writing into a table cannot fail.
        let _ = writeln!(text, "  not checkable without {a} password: {}", figures::count(records));
    }
}

/// Most frequent first.
fn kdfs(report: &CensusReport) -> Vec<Kdf> {
    let kdf = |(kdf, records): (&KdfSetting, &u64)| Kdf { kdf: kdf.to_string(), records: *records };
    let mut kdfs: Vec<Kdf> = report.kdfs.iter().map(kdf).collect();
    kdfs.sort_by(|one, other| (other.records, &one.kdf).cmp(&(one.records, &other.kdf)));
    kdfs
}

/// Maximum number of ids in the text; `--json` has all that the census kept.
const SHOWN_IDS: usize = 10;

fn unopened(text: &mut Table, report: &CensusReport) {
    let shown = report.unopened_ids.len().min(SHOWN_IDS);
    for id in &report.unopened_ids[..shown] {
        let _ = writeln!(text, "  {}: none of the passwords opens it", shown::line(id.as_str()));
    }
    let hidden = report.unopened.saturating_sub(shown as u64);
    if shown > 0 && hidden > 0 {
        let _ = writeln!(text, "  and {} more that none opens", figures::count(hidden));
    }
}
