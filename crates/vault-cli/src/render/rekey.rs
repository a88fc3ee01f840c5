//! What `rekey` shows.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use vaultstore::RekeyReport;
use vaultstore::rekey::{EnvelopeKind, MergeCheck, MergeReport, RekeyCounts, RunStatus};
use vaultstore::run::{Problem, ProblemKind};

use super::{
    figures,
    progress::{Progress, Step},
};

/// One page further.
pub(crate) fn step(progress: &mut Progress, report: &RekeyReport) {
    let counts = &report.counts;
    let note = if counts.scanned == 0 && report.merge.asked > 0 {
        let asked = figures::count(report.merge.asked);
        format!("asked {asked} whether the new password is in use already")
    } else {
        format!("{} rekeyed", figures::count(counts.rekeyed))
    };
    progress.step(&Step { done: counts.scanned, note, detail: &Counts::of(counts) });
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
        }
    }
}

#[derive(Serialize)]
pub(crate) struct Report<'a> {
    end: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    problems: Vec<Listed<'a>>,
    before: Vec<Sealed>,
    after: Vec<Sealed>,
    merge_check: Merge,
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
}

/// How many records are sealed in one way.
#[derive(Serialize)]
struct Sealed {
    format: String,
    kdf: Option<String>,
    records: u64,
}

/// What the vault was asked before the first write.
#[derive(Serialize)]
struct Merge {
    asked: &'static str,
    found: u64,
    unasked: u64,
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
    id: &'a str,
    kind: &'static str,
    reason: String,
}

pub(crate) fn listed(problems: &[Problem]) -> Vec<Listed<'_>> {
    let listed = |problem: &'_ Problem| match &problem.kind {
        ProblemKind::Damaged => {
            ("damaged", "it changed since it was written, or was moved".to_owned())
        }
        ProblemKind::Malformed(malformed) => ("malformed", malformed.to_string()),
    };
    let entry = |problem| {
        let (kind, reason) = listed(problem);
        Listed { id: problem.id.as_str(), kind, reason }
    };
    problems.iter().map(entry).collect()
}

pub(crate) fn json(report: &RekeyReport) -> Report<'_> {
    Report {
        end: match report.end {
            RunStatus::Running => "running",
            RunStatus::Complete => "complete",
            RunStatus::NotConverged => "still_written",
            RunStatus::Stopped => "stopped",
            RunStatus::Refused => "refused",
            RunStatus::Failed => "failed",
        },
        dry_run: report.dry_run,
        counts: Counts::of(&report.counts),
        problems: listed(&report.problems),
        before: sealed(&report.before),
        after: sealed(&report.after),
        merge_check: merge(&report.merge),
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
        MergeCheck::Off => "none",
        MergeCheck::Fast => "cheap",
        MergeCheck::Full => "all",
    };
    Merge { asked, found: report.found, unasked: report.unasked }
}

/// By this run, without those before it.
fn scanned_now(report: &RekeyReport) -> u64 {
    report.counts.scanned.saturating_sub(report.earlier.counts.scanned)
}

/// The report for people: the counts that are not zero, and what needs an eye.
pub(crate) fn text(report: &RekeyReport) -> String {
    let counts = &report.counts;
    let head = match (report.end, report.dry_run) {
        (RunStatus::Complete, false) => "rekey complete",
        (RunStatus::Complete, true) => "dry run complete, nothing was written",
        (RunStatus::NotConverged, _) => {
            "rekey done, but somebody still writes under the old password"
        }
        (RunStatus::Refused, _) => "rekey refused, nothing was written",
        (RunStatus::Failed, _) => "rekey broken off; what is counted was committed",
        (RunStatus::Stopped | RunStatus::Running, false) => {
            "rekey interrupted; what is counted was committed, and the same command does the rest"
        }
        (RunStatus::Stopped | RunStatus::Running, true) => {
            "dry run interrupted, nothing was written"
        }
    };
    let rekeyed = if report.dry_run { "would be rekeyed" } else { "rekeyed" };
    let mut text = format!("{head}\n");
    let always = [
        ("scanned", counts.scanned),
        (rekeyed, counts.rekeyed),
        ("other password", counts.other_password),
    ];
    let seldom = [
        ("already new", counts.already_new),
        ("damaged", counts.damaged),
        ("malformed", counts.malformed),
        ("conflict", counts.conflict),
        ("deleted meanwhile", counts.missing),
        ("failed", counts.failed),
    ];
    for (name, number) in
        always.into_iter().chain(seldom.into_iter().filter(|(_, number)| *number > 0))
    {
        row(&mut text, name, &figures::count(number));
    }
    for (name, sealings) in [("before", &report.before), ("after", &report.after)] {
        for (sealing, number) in sealings {
            let cost = sealing.cost.map(|cost| format!(" {cost}")).unwrap_or_default();
            row(&mut text, &format!("{name} {}{cost}", sealing.format), &figures::count(*number));
        }
    }
    if report.merge.unasked > 0 {
        // Said, because the answer "none" is of the others only.
        row(&mut text, "v2 not asked whether new", &figures::count(report.merge.unasked));
    }
    if report.conflicts_settled > 0 {
        row(&mut text, "conflicts settled", &figures::count(report.conflicts_settled));
    }
    row(&mut text, "catch-up passes", &figures::count(report.catch_up_passes.into()));
    row(&mut text, "Argon2id calls", &figures::count(report.derivations));
    let rate = figures::rate(scanned_now(report), report.elapsed);
    row(&mut text, "time", &format!("{}, {rate} records/s", figures::seconds(report.elapsed)));
    problems(&mut text, &report.problems, counts.damaged + counts.malformed);
    text
}

/// One aligned line.
pub(crate) fn row(text: &mut String, name: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "  {name:<17} {value:>12}");
}

/// The records that nobody can open, and how many of them are not listed.
pub(crate) fn problems(text: &mut String, problems: &[Problem], all: u64) {
    for listed in listed(problems) {
        let _ = writeln!(
            text,
            "  {}: {} ({})",
            super::list::shown(listed.id),
            listed.kind,
            listed.reason
        );
    }
    let hidden = all.saturating_sub(problems.len() as u64);
    if hidden > 0 {
        let _ =
            writeln!(text, "  and {} more that are damaged or malformed", figures::count(hidden));
    }
}
