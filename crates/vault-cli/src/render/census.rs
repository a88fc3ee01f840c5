//! The output of `census`, and the totals of `verify`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use vaultstore::RecordId;
use vaultstore::census::CensusReport;
use vaultstore::kdf::KdfSetting;
use vaultstore::run::Problem;
use vaultstore::store::PasswordIdentities;

use super::{
    End, figures, identities,
    progress::{Progress, Step},
    rekey::{Listed, listed},
    table::{Table, row, row_with},
    unchecked::not_checkable,
};
use crate::shown;

#[derive(Serialize)]
struct Detail {
    opened: u64,
    damaged: u64,
    malformed: u64,
    unopened: u64,
}

/// Reports another page.
pub(crate) fn step(progress: &mut Progress, report: &CensusReport) {
    let CensusReport { scanned, damaged, malformed, unopened, .. } = *report;
    let opened = report.opened.iter().sum();
    let note = format!("{} damaged or malformed", figures::count(damaged + malformed));
    progress.step(&Step {
        done: scanned,
        before: 0,
        note,
        detail: &Detail { opened, damaged, malformed, unopened },
    });
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
    v1_not_tried: u64,
    below_floor: u64,
    other_salts: u64,
    /// `null` for `verify`, which does not look at them.
    identities: Option<Identities>,
    problems: Vec<Listed<'a>>,
    unopened_ids: Vec<&'a str>,
    derivations: u64,
    elapsed_seconds: f64,
    records_per_second: f64,
}

impl<'a> Report<'a> {
    /// The same for a part of the passwords only.
    pub(super) fn with_opened(self, opened: Vec<Opened<'a>>, unopened: Option<u64>) -> Self {
        Self { opened, unopened, ..self }
    }

    /// The same with the password identities of the vault.
    pub(crate) fn with_identities(self, found: &PasswordIdentities) -> Self {
        let PasswordIdentities { identities, links } = *found;
        Self { identities: Some(Identities { identities, links }), ..self }
    }
}

#[derive(Clone, Copy, Serialize)]
struct Identities {
    identities: u64,
    links: u64,
}

#[derive(Serialize)]
struct Kdf {
    kdf: String,
    records: u64,
}

#[derive(Serialize)]
pub(super) struct Opened<'a> {
    password: &'a str,
    records: u64,
}

/// `names` identify the passwords without revealing them.
pub(crate) fn json<'a>(report: &'a CensusReport, names: &'a [String], end: End) -> Report<'a> {
    Report {
        end: end.name(),
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
        opened: opened(names, &report.opened),
        unopened: (!names.is_empty()).then_some(report.unopened),
        v1_not_tried: report.not_tried.v1,
        below_floor: report.not_tried.below_floor,
        other_salts: report.not_tried.other_salts,
        identities: None,
        problems: listed(&report.problems),
        unopened_ids: report.unopened_ids.iter().map(vaultstore::RecordId::as_str).collect(),
        derivations: report.derivations,
        elapsed_seconds: report.elapsed.as_secs_f64(),
        records_per_second: figures::per_second(report.scanned, report.elapsed),
    }
}

/// How many records each password opened; the names tell them apart.
pub(super) fn opened<'a>(names: &'a [String], records: &[u64]) -> Vec<Opened<'a>> {
    let opened = names.iter().zip(records);
    opened.map(|(password, records)| Opened { password, records: *records }).collect()
}

/// The totals for people.
pub(crate) fn text(
    report: &CensusReport,
    names: &[String],
    identities: Option<&PasswordIdentities>,
    end: End,
) -> String {
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
    for (name, records) in [
        ("v1, not tried", report.not_tried.v1),
        ("below the floor", report.not_tried.below_floor),
        ("other salts", report.not_tried.other_salts),
    ] {
        if records > 0 {
            row(&mut text, name, &figures::count(records));
        }
    }
    for Kdf { kdf, records } in kdfs(report) {
        row_with(&mut text, "v3", &figures::count(records), &format!("under {kdf}"));
    }
    if let Some(found) = identities {
        row(&mut text, "password identities", &identities::in_a_table(found));
    }
    row(&mut text, "Argon2id calls", &figures::count(report.derivations));
    let rate = figures::rate(report.scanned, report.elapsed);
    row_with(&mut text, "time", &figures::seconds(report.elapsed), &format!("{rate} records/s"));
    text.to_string()
}

/// Most frequent first.
fn kdfs(report: &CensusReport) -> Vec<Kdf> {
    let kdf = |(kdf, records): (&KdfSetting, &u64)| Kdf { kdf: kdf.to_string(), records: *records };
    let mut kdfs: Vec<Kdf> = report.kdfs.iter().map(kdf).collect();
    kdfs.sort_by(|one, other| (other.records, &one.kdf).cmp(&(one.records, &other.kdf)));
    kdfs
}

/// Lists up to this many of the damaged and malformed records, and of those that none of the
/// passwords opens.
pub(crate) fn lists(problems: &[Problem], unopened: &[RecordId], most: usize) -> String {
    let mut text = String::new();
    for listed in listed(problems).into_iter().take(most) {
        listed.write(&mut text);
    }
    for id in unopened.iter().take(most) {
        let _ = writeln!(text, "  {}: none of the passwords opens it", shown::id(id.as_str()));
    }
    text
}

/// Reports how many more there are. A census that lists no unopened records only counts them.
pub(crate) fn hidden(report: &CensusReport, most: usize) -> String {
    let (mut text, most) = (String::new(), most as u64);
    let broken = (report.damaged + report.malformed).saturating_sub(most);
    if broken > 0 {
        let _ =
            writeln!(text, "  and {} more that are damaged or malformed", figures::count(broken));
    }
    let unopened = report.unopened.saturating_sub(most);
    if !report.unopened_ids.is_empty() && unopened > 0 {
        let _ = writeln!(text, "  and {} more that none opens", figures::count(unopened));
    }
    text
}
