//! The output of `rekey`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use vaultstore::envelope::Malformed;
use vaultstore::rekey::{
    EnvelopeKind, Mark, MarkReason, MergeCheck, MergeReport, RekeyCounts, RunStatus,
};
use vaultstore::run::{Problem, ProblemAt, ProblemKind};
use vaultstore::{RecordId, RekeyReport};

use crate::exit::limit_option;

use super::{
    figures,
    headline::{Wording, headline},
    progress::{Progress, Step},
    table::{Table, row, row_with},
    unchecked::{self, SHOWN, not_checkable},
};
use crate::shown;

/// How many records that an upgrade leaves are listed; `--json` has up to 1,000.
const SHOWN_LEFT: usize = 10;

/// Reports another page.
pub(crate) fn step(progress: &mut Progress, report: &RekeyReport) {
    let counts = &report.counts;
    let note = if counts.scanned == 0 && report.merge.asked > 0 {
        let asked = figures::count(report.merge.asked);
        format!("asked {asked} whether the new password is in use already")
    } else {
        format!("{} rekeyed", figures::count(counts.rekeyed))
    };
    progress.step(&Step {
        done: counts.scanned,
        before: report.merge.asked,
        note,
        detail: &Counts::of(counts),
    });
}

/// The records by outcome.
#[derive(Debug, Serialize)]
pub(crate) struct Counts {
    scanned: u64,
    rekeyed: u64,
    other_password: u64,
    already_new: u64,
    damaged: u64,
    malformed: u64,
    conflict: u64,
    missing: u64,
    failed: u64,
    v1_not_tried: u64,
    below_floor: u64,
    other_salts: u64,
}

impl Counts {
    pub(crate) fn of(counts: &RekeyCounts) -> Self {
        Self {
            scanned: counts.scanned,
            rekeyed: counts.rekeyed,
            other_password: counts.other_password,
            already_new: counts.already_new,
            damaged: counts.damaged,
            malformed: counts.malformed,
            conflict: counts.conflict,
            missing: counts.missing,
            failed: counts.failed,
            v1_not_tried: counts.not_tried.v1,
            below_floor: counts.not_tried.below_floor,
            other_salts: counts.not_tried.other_salts,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    headline: String,
    end: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    problems: Vec<Listed<'a>>,
    failures: Vec<Refusal<'a>>,
    already_done: bool,
    /// By finished runs with the same passwords and other options.
    rekeyed_with_other_options: u64,
    /// The records re-encrypted from each pair, in the order of the pairs.
    rekeyed_by_pair: &'a [u64],
    not_checkable: u64,
    bodies_not_checked: u64,
    before: Vec<Sealed>,
    after: Vec<Sealed>,
    merge_check: Merge,
    marks: Vec<Marked>,
    left: Vec<&'a str>,
    earlier: PreviousRuns,
    catch_up_passes: u32,
    conflicts_settled: u64,
    retries: u64,
    pages: u64,
    derivations: u64,
    workers: usize,
    elapsed_seconds: f64,
    prepare_seconds: f64,
    merge_check_seconds: f64,
    first_pass_seconds: f64,
    catch_up_seconds: f64,
    read_seconds: f64,
    crypto_seconds: f64,
    commit_seconds: f64,
    records_per_second: f64,
    /// Null without `--rebuild`, and if nothing was changed.
    rebuilt: Option<super::scrub::Report<'a>>,
    still_shown: Option<&'static str>,
    remedy: Option<String>,
}

/// Why the store refused records.
#[derive(Serialize)]
struct Refusal<'a> {
    reason: &'a str,
    records: u64,
}

/// The number of records that are sealed in one way.
#[derive(Serialize)]
struct Sealed {
    format: String,
    kdf: Option<String>,
    records: u64,
}

/// The result of the merge check.
#[derive(Serialize)]
struct Merge {
    asked: &'static str,
    found: u64,
    unasked: u64,
}

/// Records that are written in another form than others of theirs.
#[derive(Serialize)]
struct Marked {
    reason: &'static str,
    records: u64,
}

fn marked(mark: &Mark) -> Marked {
    let reason = match mark.reason {
        MarkReason::V1 => "v1",
        MarkReason::BelowFloor => "below_floor",
        MarkReason::Spelling => "spelling",
        MarkReason::Asked => "asked",
        MarkReason::Left => "left",
        MarkReason::NotTried => "not_tried",
    };
    Marked { reason, records: mark.records }
}

/// What earlier runs of the same job did.
#[derive(Serialize)]
struct PreviousRuns {
    runs: u32,
    #[serde(flatten)]
    counts: Counts,
    derivations: u64,
    elapsed_seconds: f64,
}

/// A record that no password opens.
#[derive(Serialize)]
pub(crate) struct Listed<'a> {
    /// `None` if the id of the row cannot be read.
    id: Option<&'a str>,
    /// The name of such a row in the database.
    row: Option<&'a str>,
    kind: &'static str,
    reason: String,
}

impl Listed<'_> {
    /// A line for people.
    pub(crate) fn write(&self, text: &mut impl std::fmt::Write) {
        let Self { id, row, kind, reason } = self;
        let at = match (id, row) {
            (Some(id), _) => shown::id(id),
            (None, row) => shown::line(row.unwrap_or_default()),
        };
        // Writing into a text cannot fail.
        let _ = writeln!(text, "  {at}: {kind} ({reason})");
    }
}

pub(crate) fn listed(problems: &[Problem]) -> Vec<Listed<'_>> {
    let listed = |problem: &'_ Problem| match &problem.kind {
        ProblemKind::Damaged => {
            ("damaged", "it changed since it was written, or was moved".to_owned())
        }
        ProblemKind::Malformed(Malformed::CostOverLimit(over)) => (
            "malformed",
            match limit_option(over) {
                Some(option) => format!("{over} ({option})"),
                None => over.to_string(),
            },
        ),
        ProblemKind::Malformed(malformed) => ("malformed", malformed.to_string()),
        ProblemKind::Unreadable(reason) => ("malformed", reason.to_string()),
    };
    let entry = |problem| {
        let (kind, reason) = listed(problem);
        let (id, row) = match &problem.at {
            ProblemAt::Record(id) => (Some(id.as_str()), None),
            ProblemAt::Row(name) => (None, Some(name.as_str())),
        };
        Listed { id, row, kind, reason }
    };
    problems.iter().map(entry).collect()
}

/// The figures of a report for managers and auditors.
#[derive(Serialize)]
pub(crate) struct Figures {
    pub(crate) headline: String,
    pub(crate) end: &'static str,
    pub(crate) outcomes: Vec<(&'static str, u64)>,
    pub(crate) before: Vec<(String, u64)>,
    pub(crate) after: Vec<(String, u64)>,
    pub(crate) earlier_runs: u32,
    pub(crate) catch_up_passes: u32,
    pub(crate) conflicts_settled: u64,
    pub(crate) retries: u64,
    pub(crate) derivations: u64,
    pub(crate) elapsed_seconds: f64,
}

pub(crate) fn figures(report: &RekeyReport, wording: &Wording) -> Figures {
    let counts = Counts::of(&report.counts);
    let kinds = |kinds| {
        let name = |sealed: Sealed| match sealed.kdf {
            Some(kdf) => (format!("{} {kdf}", sealed.format), sealed.records),
            None => (sealed.format, sealed.records),
        };
        sealed(kinds).into_iter().map(name).collect()
    };
    Figures {
        headline: headline(report, wording),
        end: end_name(report.end),
        outcomes: vec![
            ("scanned", counts.scanned),
            ("rekeyed", counts.rekeyed),
            ("other password", counts.other_password),
            ("already under the new one", counts.already_new),
            ("damaged", counts.damaged),
            ("malformed", counts.malformed),
            ("conflicts", counts.conflict),
            ("deleted meanwhile", counts.missing),
            ("failed", counts.failed),
            ("not tried", report.counts.not_tried.total()),
        ],
        before: kinds(&report.before),
        after: kinds(&report.after),
        earlier_runs: report.earlier.runs,
        catch_up_passes: report.catch_up_passes,
        conflicts_settled: report.conflicts_settled,
        retries: report.retries,
        derivations: report.derivations,
        elapsed_seconds: report.elapsed.as_secs_f64(),
    }
}

fn end_name(end: RunStatus) -> &'static str {
    match end {
        RunStatus::Running => "running",
        RunStatus::Complete => "complete",
        RunStatus::NotConverged => "still_written",
        RunStatus::Stopped => "stopped",
        RunStatus::Refused => "refused",
        RunStatus::Failed => "failed",
    }
}

pub(crate) fn json<'a>(report: &'a RekeyReport, wording: &'a Wording) -> Report<'a> {
    Report {
        headline: headline(report, wording),
        end: end_name(report.end),
        dry_run: report.dry_run,
        counts: Counts::of(&report.counts),
        problems: listed(&report.problems),
        failures: report
            .failures
            .iter()
            .map(|failure| Refusal { reason: &failure.reason, records: failure.records })
            .collect(),
        already_done: report.already_done,
        rekeyed_with_other_options: report.moved_before,
        rekeyed_by_pair: &report.by_pair,
        not_checkable: report.not_checkable(),
        bodies_not_checked: report.bodies_not_checked,
        before: sealed(&report.before),
        after: sealed(&report.after),
        merge_check: merge(&report.merge),
        marks: report.marks.0.iter().map(marked).collect(),
        left: report.left.iter().map(RecordId::as_str).collect(),
        earlier: PreviousRuns {
            runs: report.earlier.runs,
            counts: Counts::of(&report.earlier.counts),
            derivations: report.earlier.derivations,
            elapsed_seconds: report.earlier.elapsed.as_secs_f64(),
        },
        catch_up_passes: report.catch_up_passes,
        conflicts_settled: report.conflicts_settled,
        retries: report.retries,
        pages: report.pages,
        derivations: report.derivations,
        workers: report.workers,
        elapsed_seconds: report.elapsed.as_secs_f64(),
        prepare_seconds: report.stages.prepare.as_secs_f64(),
        merge_check_seconds: report.stages.merge_check.as_secs_f64(),
        first_pass_seconds: report.stages.first_pass.as_secs_f64(),
        catch_up_seconds: report.stages.catch_up.as_secs_f64(),
        read_seconds: report.read_time.as_secs_f64(),
        crypto_seconds: report.crypto_time.as_secs_f64(),
        commit_seconds: report.commit_time.as_secs_f64(),
        records_per_second: figures::per_second(scanned_now(report), report.elapsed),
        rebuilt: wording.published.as_ref().map(super::scrub::json),
        still_shown: wording.traces.as_ref().map(|traces| traces.what),
        remedy: wording.traces.as_ref().map(|traces| traces.remedy.clone()),
    }
}

fn sealed(sealings: &BTreeMap<EnvelopeKind, u64>) -> Vec<Sealed> {
    let sealed = |(sealing, records): (&EnvelopeKind, &u64)| Sealed {
        format: sealing.format.to_string(),
        kdf: sealing.cost.map(|cost| cost.to_string()),
        records: *records,
    };
    sealings.iter().map(sealed).collect()
}

fn merge(report: &MergeReport) -> Merge {
    let asked = match report.check {
        MergeCheck::Off => "off",
        MergeCheck::Fast => "fast",
        MergeCheck::Full => "full",
    };
    Merge { asked, found: report.found, unasked: report.unasked }
}

/// Scanned by this run, without earlier ones.
fn scanned_now(report: &RekeyReport) -> u64 {
    report.counts.scanned.saturating_sub(report.earlier.counts.scanned)
}

/// The report as text: the counts that are not zero, and what needs attention.
pub(crate) fn text(report: &RekeyReport, wording: &Wording) -> String {
    let counts = &report.counts;
    let mut text = Table::default();
    // Writing into a table cannot fail.
    let _ = writeln!(text, "{}", headline(report, wording));
    let (rekeyed, before) = if report.dry_run {
        (("would be rekeyed", report.rekeyed_now()), report.earlier.counts.rekeyed)
    } else {
        (("rekeyed", counts.rekeyed), 0)
    };
    let always = [("scanned", counts.scanned), rekeyed, ("other password", counts.other_password)];
    let seldom = [
        ("rekeyed before", before),
        ("already new", counts.already_new),
        ("damaged", counts.damaged),
        ("malformed", counts.malformed),
        ("conflict", counts.conflict),
        ("deleted meanwhile", counts.missing),
        ("failed", counts.failed),
        ("v1, not tried", counts.not_tried.v1),
        ("below the floor", counts.not_tried.below_floor),
        ("other salts", counts.not_tried.other_salts),
    ];
    for (name, number) in
        always.into_iter().chain(seldom.into_iter().filter(|(_, number)| *number > 0))
    {
        row(&mut text, name, &figures::count(number));
    }
    if report.by_pair.len() > 1 && !report.upgrades {
        let verb = if report.dry_run { "would be rekeyed" } else { "rekeyed" };
        for (number, count) in report.by_pair.iter().enumerate() {
            row(&mut text, &format!("{verb}, pair {}", number + 1), &figures::count(*count));
        }
    }
    not_checkable(&mut text, report.not_checkable(), true);
    unchecked::bodies(&mut text, report.bodies_not_checked);
    for (name, sealings) in [("before", &report.before), ("after", &report.after)] {
        for (sealing, number) in sealings {
            let cost = sealing.cost.map(|cost| format!(" {cost}")).unwrap_or_default();
            row(&mut text, &format!("{name} {}{cost}", sealing.format), &figures::count(*number));
        }
    }
    if report.merge.unasked > 0 {
        // Reported, because "none" refers only to the others.
        row(&mut text, "v2 not asked whether new", &figures::count(report.merge.unasked));
    }
    for id in report.left.iter().take(SHOWN_LEFT) {
        let _ = writeln!(text, "  {}: left, of another form", shown::id(id.as_str()));
    }
    for mark in report.marks.0.iter().map(marked) {
        row(&mut text, &format!("marked ({})", mark.reason), &figures::count(mark.records));
    }
    for failure in &report.failures {
        let _ = writeln!(
            text,
            "  failed: {} ({})",
            shown::line(&failure.reason),
            figures::count(failure.records)
        );
    }
    if report.conflicts_settled > 0 {
        row(&mut text, "conflicts settled", &figures::count(report.conflicts_settled));
    }
    row(&mut text, "catch-up passes", &figures::count(report.catch_up_passes.into()));
    row(&mut text, "Argon2id calls", &figures::count(report.derivations));
    let rate = figures::rate(scanned_now(report), report.elapsed);
    row_with(&mut text, "time", &figures::seconds(report.elapsed), &format!("{rate} records/s"));
    if let Some(published) = &wording.published {
        super::scrub::rows(&mut text, published);
    }
    problems(&mut text, &report.problems, counts.damaged + counts.malformed);
    if let Some(traces) = &wording.traces {
        let _ = writeln!(text, "{}\nTo end it: {}", traces.what, traces.remedy);
    }
    text.to_string()
}

/// The records that no password opens, and how many of them are not listed.
fn problems(text: &mut Table, problems: &[Problem], all: u64) {
    for listed in listed(problems).into_iter().take(SHOWN) {
        listed.write(text);
    }
    let hidden = all.saturating_sub(SHOWN.min(problems.len()) as u64);
    if hidden > 0 {
        let _ =
            writeln!(text, "  and {} more that are damaged or malformed", figures::count(hidden));
    }
}
