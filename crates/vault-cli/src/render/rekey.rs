//! The output of `rekey`.

use std::{collections::BTreeMap, fmt::Write as _};

use serde::Serialize;
use vaultstore::rekey::{EnvelopeKind, MergeCheck, MergeReport, RekeyCounts, RunStatus};
use vaultstore::run::{Problem, ProblemAt, ProblemKind};
use vaultstore::{Password, RekeyReport};

use super::{
    figures,
    progress::{Progress, Step},
    table::{Table, row, row_with},
};
use crate::shown;

/// Reports another page.
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
    headline: String,
    end: &'static str,
    dry_run: bool,
    #[serde(flatten)]
    counts: Counts,
    problems: Vec<Listed<'a>>,
    failures: Vec<Refusal<'a>>,
    already_done: bool,
    not_checkable: u64,
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
    /// None where the row has no id that can be read.
    id: Option<&'a str>,
    /// The name of such a row in the database.
    row: Option<&'a str>,
    kind: &'static str,
    reason: String,
}

pub(crate) fn listed(problems: &[Problem]) -> Vec<Listed<'_>> {
    let listed = |problem: &'_ Problem| match &problem.kind {
        ProblemKind::Damaged => {
            ("damaged", "it changed since it was written, or was moved".to_owned())
        }
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

pub(crate) fn json(report: &RekeyReport, wording: Wording) -> Report<'_> {
    Report {
        headline: headline(report, wording),
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
        failures: report
            .failures
            .iter()
            .map(|failure| Refusal { reason: &failure.reason, records: failure.records })
            .collect(),
        already_done: report.already_done,
        not_checkable: report.not_checkable(),
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

/// What a headline has to know about the plan.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wording {
    several: bool,
    /// Whether a new password is also an old one: then it cannot be said what is left under the old
    /// ones.
    chains: bool,
}

impl Wording {
    pub(crate) fn of(pairs: &[(Password, Password)]) -> Self {
        let chains = pairs.iter().any(|(_, new)| pairs.iter().any(|(old, _)| old.is_same_as(new)));
        Self { several: pairs.len() > 1, chains }
    }

    fn the_old(self) -> &'static str {
        if self.several { "an old password" } else { "the old password" }
    }

    fn the_new(self) -> &'static str {
        if self.several { "a new password" } else { "the new one" }
    }
}

/// The first line: what a reader of nothing else must know.
pub(crate) fn headline(report: &RekeyReport, wording: Wording) -> String {
    let counts = &report.counts;
    let done = records(counts.rekeyed);
    let (old, new) = (wording.the_old(), wording.the_new());
    match report.end {
        RunStatus::Refused if report.merge.found + counts.already_new == 0 => {
            return "REFUSED, and nothing was written: the vault does not fit what is known of these pairs"
                .to_owned();
        }
        RunStatus::Refused => {
            return format!(
                "REFUSED, and nothing was written: {} already {} under the new password",
                records(report.merge.found.max(counts.already_new)),
                if report.merge.found.max(counts.already_new) == 1 { "opens" } else { "open" },
            );
        }
        RunStatus::Failed => return format!("FAILED after {done} were re-encrypted"),
        RunStatus::Stopped | RunStatus::Running if report.dry_run => {
            return "Rehearsal interrupted; nothing was written".to_owned();
        }
        RunStatus::Stopped | RunStatus::Running => {
            return format!(
                "Interrupted: {done} re-encrypted so far; run the same command again to resume"
            );
        }
        RunStatus::NotConverged => {
            return format!(
                "{done} re-encrypted, but records under {old} keep appearing: another writer is still using it. Stop that \
                 writer and run the same command again"
            );
        }
        RunStatus::Complete => {}
    }
    let unwritten = counts.failed + counts.conflict;
    if report.already_done && report.rekeyed_now() == 0 && unwritten == 0 {
        let before = records(report.earlier.counts.rekeyed);
        return if wording.chains {
            format!(
                "Already done: an earlier run of these pairs re-encrypted {before}; none was moved again"
            )
        } else {
            format!("Already done: an earlier run re-encrypted {before}; 0 open under {old} now")
        };
    }
    if counts.rekeyed == 0 && unwritten > 0 {
        return format!(
            "NOTHING WAS REKEYED: {} under {old}, and the store refused every write",
            open(unwritten)
        );
    }
    if counts.rekeyed == 0 {
        let head = if report.dry_run { "NOTHING WOULD BE REKEYED" } else { "NOTHING WAS REKEYED" };
        let already = counts.already_new.max(report.merge.found);
        return match (counts.scanned, already) {
            (0, _) => format!("{head}: there are no records"),
            (_, 0) => format!("{head}: no record opens under {old}"),
            (_, already) => format!(
                "{head}: no record opens under {old}; {} under {new} already. Are the two swapped?",
                open(already)
            ),
        };
    }
    if report.dry_run {
        return format!("Rehearsal: {done} would be re-encrypted; nothing was written");
    }
    match (unwritten, wording.chains) {
        (0, true) => format!("{done} re-encrypted"),
        (0, false) => format!("{done} re-encrypted; 0 open under {old}"),
        (left, _) => format!(
            "{done} re-encrypted; {left} could not be written and stay under {old}",
            left = records(left)
        ),
    }
}

fn records(count: u64) -> String {
    format!("{} record{}", figures::count(count), if count == 1 { "" } else { "s" })
}

/// `1 opens`, `2 open`.
fn open(count: u64) -> String {
    format!("{} open{}", figures::count(count), if count == 1 { "s" } else { "" })
}

/// The report as text: the counts that are not zero, and what needs attention.
pub(crate) fn text(report: &RekeyReport, wording: Wording) -> String {
    let counts = &report.counts;
    let rekeyed = if report.dry_run { "would be rekeyed" } else { "rekeyed" };
    let mut text = Table::default();
    // Writing into a table cannot fail.
    let _ = writeln!(text, "{}", headline(report, wording));
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
    super::census::not_checkable(&mut text, report.not_checkable(), true);
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
    problems(&mut text, &report.problems, counts.damaged + counts.malformed);
    text.to_string()
}

/// The records that no password opens, and how many of them are not listed.
pub(crate) fn problems(text: &mut Table, problems: &[Problem], all: u64) {
    for listed in listed(problems) {
        let at = listed.id.or(listed.row).unwrap_or_default();
        let _ = writeln!(text, "  {}: {} ({})", shown::line(at), listed.kind, listed.reason);
    }
    let hidden = all.saturating_sub(problems.len() as u64);
    if hidden > 0 {
        let _ =
            writeln!(text, "  and {} more that are damaged or malformed", figures::count(hidden));
    }
}
