//! What `rekey` shows.

use std::fmt::Write as _;

use serde::Serialize;
use vaultstore::{Problem, ProblemKind, RekeyCounts, RekeyReport, RunEnd};

use super::{
    figures,
    progress::{Progress, Step},
};

/// One page further.
pub(crate) fn step(progress: &mut Progress, report: &RekeyReport) {
    let counts = &report.counts;
    let note = format!("{} rekeyed", figures::count(counts.rekeyed));
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
    conflicts_settled: u64,
    retries: u64,
    pages: u64,
    derivations: u64,
    workers: usize,
    elapsed_seconds: f64,
    crypto_seconds: f64,
    commit_seconds: f64,
    records_per_second: f64,
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
            RunEnd::Running => "running",
            RunEnd::Complete => "complete",
            RunEnd::Stopped => "stopped",
            RunEnd::Failed => "failed",
        },
        dry_run: report.dry_run,
        counts: Counts::of(&report.counts),
        problems: listed(&report.problems),
        conflicts_settled: report.conflicts_settled,
        retries: report.retries,
        pages: report.pages,
        derivations: report.derivations,
        workers: report.workers,
        elapsed_seconds: report.elapsed.as_secs_f64(),
        crypto_seconds: report.crypto_time.as_secs_f64(),
        commit_seconds: report.commit_time.as_secs_f64(),
        records_per_second: figures::per_second(report.counts.scanned, report.elapsed),
    }
}

/// The report for people: the counts that are not zero, and what needs an eye.
pub(crate) fn text(report: &RekeyReport) -> String {
    let counts = &report.counts;
    let head = match (report.end, report.dry_run) {
        (RunEnd::Complete, false) => "rekey complete",
        (RunEnd::Complete, true) => "dry run complete, nothing was written",
        (RunEnd::Failed, _) => "rekey broken off; what is counted was committed",
        (RunEnd::Stopped | RunEnd::Running, false) => {
            "rekey interrupted; what is counted was committed, and the same command does the rest"
        }
        (RunEnd::Stopped | RunEnd::Running, true) => "dry run interrupted, nothing was written",
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
    row(&mut text, "Argon2id calls", &figures::count(report.derivations));
    let rate = figures::rate(counts.scanned, report.elapsed);
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
